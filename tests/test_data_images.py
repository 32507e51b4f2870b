"""Every kind of image is decided: what it becomes, or why it is refused."""

import io
import os
import struct
import zlib

import numpy as np
import pytest
import torch
from PIL import Image, ImageCms, ImageFile

from latentkit.errors import DataError
from trainers import image_folder

EXIF_ORIENTATION = 0x0112
NOISE = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
RAMP = np.arange(65536, dtype=np.uint16).reshape(256, 256)


def save(path, image, **options):
    image = Image.fromarray(image) if isinstance(image, np.ndarray) else image
    image.save(path, **options)
    return path


def read(path, **options):
    """Return the image of a folder of one, (C, H, W)."""
    (image,) = image_folder(path, **options).samples
    return image


def coloured(size=(32, 32)):
    """Four quarters: red, green, blue and white."""
    height, width = size
    values = np.zeros((height, width, 3), np.uint8)
    values[: height // 2, : width // 2, 0] = 255
    values[: height // 2, width // 2 :, 1] = 255
    values[height // 2 :, : width // 2, 2] = 255
    values[height // 2 :, width // 2 :] = 255
    return values


QUARTERS = {(4, 4): [255, 0, 0], (4, 28): [0, 255, 0], (28, 4): [0, 0, 255], (28, 28): [255, 255, 255]}


def quarters_of(image):
    return {place: image[:, place[0], place[1]].tolist() for place in QUARTERS}


class TestModes:
    @pytest.mark.parametrize("suffix", ["png", "bmp", "gif", "tif", "ppm", "tga", "webp"])
    def test_kinds_of_file_give_the_same_pixels(self, tmp_path, suffix):
        save(tmp_path / f"a.{suffix}", coloured(), **({"lossless": True} if suffix == "webp" else {}))
        assert quarters_of(read(tmp_path)) == QUARTERS

    @pytest.mark.parametrize("mode", ["P", "RGBA", "CMYK", "YCbCr"])
    def test_colours_survive_the_mode(self, tmp_path, mode):
        image = Image.fromarray(coloured())
        image = image.quantize() if mode == "P" else image.convert(mode)
        save(tmp_path / f"a.{'tif' if mode in ('CMYK', 'YCbCr') else 'png'}", image)
        for place, colour in quarters_of(read(tmp_path)).items():
            assert colour == pytest.approx(QUARTERS[place], abs=2)

    @pytest.mark.parametrize("mode", ["1", "L", "LA"])
    def test_grey_is_three_equal_channels_or_one(self, tmp_path, mode):
        values = np.zeros((32, 32), np.uint8)
        values[:, 16:] = 255
        save(tmp_path / "a.png", Image.fromarray(values).convert(mode))
        for grey, channels in ((False, 3), (True, 1)):
            image = read(tmp_path, grey=grey)
            assert image.shape == (channels, 32, 32)
            assert torch.equal(image, torch.from_numpy(values).expand(channels, 32, 32))

    def test_what_is_transparent_is_white(self, tmp_path):
        values = np.full((32, 32, 4), 255, np.uint8)
        values[..., 1:3] = 0
        values[:, :16, 3] = 0
        values[16:, :, 3] //= 2
        rgba = Image.fromarray(values)
        save(tmp_path / "a rgba.png", rgba)
        save(tmp_path / "b palette.png", rgba.quantize())
        save(tmp_path / "c webp.webp", rgba, lossless=True, exact=True)
        for image in image_folder(tmp_path).samples:
            assert image[:, 4, 4].tolist() == [255, 255, 255]
            assert image[:, 4, 28].tolist() == [255, 0, 0]
            # Half opaque red over white: 255 stays, 0 becomes the white that shines through.
            assert image[:, 28, 28].tolist() == pytest.approx([255, 128, 128], abs=1)

    def test_one_colour_that_stands_for_transparency_is_white(self, tmp_path):
        save(tmp_path / "a.png", coloured(), transparency=(255, 0, 0))
        palette = Image.fromarray(coloured()).quantize()
        save(tmp_path / "b.gif", palette, transparency=palette.getpixel((28, 4)))
        png, gif = image_folder(tmp_path).samples
        assert quarters_of(png) == {**QUARTERS, (4, 4): [255, 255, 255]}
        assert quarters_of(gif) == {**QUARTERS, (4, 28): [255, 255, 255]}

    def test_grey_with_opacity(self, tmp_path):
        values = np.zeros((32, 32, 2), np.uint8)
        values[:, :16, 1] = 255
        save(tmp_path / "la.png", Image.fromarray(values, "LA"))
        image = read(tmp_path, grey=True)
        assert (image[0, 5, 5], image[0, 5, 28]) == (0, 255)

    def test_lab(self, tmp_path):
        colours = 96 + coloured() // 4  # soft ones, which 8 bits of Lab hold well
        change = ImageCms.buildTransform(ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB"), "RGB", "LAB")
        save(tmp_path / "a.tif", change.apply(Image.fromarray(colours)))
        for place, colour in quarters_of(read(tmp_path)).items():
            assert colour == pytest.approx(colours[place].tolist(), abs=3)

    def test_cmyk_of_adobe_is_inverted_in_the_file_and_not_in_the_data(self, tmp_path):
        plates = np.zeros((32, 32, 4), np.uint8)
        plates[:16, :, 0] = 255  # cyan ink
        plates[16:, :, 3] = 255  # black ink
        file = save(tmp_path / "a.jpg", Image.frombytes("CMYK", (32, 32), plates.tobytes()), quality=100)
        raw = file.read_bytes()
        marker = raw.index(b"Adobe")
        assert raw[marker - 4 : marker - 2] == b"\xff\xee"
        image = read(tmp_path)
        assert image[:, 4, 16].tolist() == pytest.approx([0, 255, 255], abs=3)
        assert image[:, 28, 16].tolist() == pytest.approx([0, 0, 0], abs=3)
        # Without the marker it is read in the same way, as other readers do.
        length = struct.unpack(">H", raw[marker - 2 : marker])[0]
        file.write_bytes(raw[: marker - 4] + raw[marker - 2 + length :])
        assert torch.equal(read(tmp_path), image)


class TestDepth:
    @pytest.mark.parametrize("form", ["png", "tif", "big-endian.tif", "pgm", "32 bits.tif"])
    def test_sixteen_bits_are_shifted_by_eight(self, tmp_path, form):
        values = {"big-endian.tif": RAMP.astype(">u2"), "32 bits.tif": RAMP.astype(np.int32)}.get(form, RAMP)
        image = Image.fromarray(values)
        save(tmp_path / f"a.{form}", image)
        assert np.array_equal(read(tmp_path, size=256, grey=True)[0], RAMP >> 8)

    def test_of_deep_colours_the_upper_bits_count(self, tmp_path):
        values = np.random.default_rng(0).integers(0, 65536, (16, 16, 3)).astype(">u2")
        lines = b"".join(b"\0" + line.tobytes() for line in values)  # each preceded by its filter, none

        def chunk(kind, data):
            return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

        header = chunk(b"IHDR", struct.pack(">IIBBBBB", 16, 16, 16, 2, 0, 0, 0))
        body = chunk(b"IDAT", zlib.compress(lines)) + chunk(b"IEND", b"")
        (tmp_path / "a.png").write_bytes(b"\x89PNG\r\n\x1a\n" + header + body)
        assert np.array_equal(read(tmp_path, size=16).permute(1, 2, 0), values >> 8)

    def test_deep_greys_beyond_sixteen_bits_are_refused(self, tmp_path):
        save(tmp_path / "a.tif", np.array([[0, 70_000], [1, 2]], np.int32))
        with pytest.raises(DataError, match="must lie in 0 to 65535, got 0 to 70000"):
            image_folder(tmp_path)

    def test_floating_point_pixels_are_refused(self, tmp_path):
        save(tmp_path / "depth.tif", np.zeros((8, 8), np.float32))
        with pytest.raises(DataError, match="no stated range"):
            image_folder(tmp_path)

    def test_a_set_that_was_clipped_is_noticed(self, tmp_path):
        # What converting 16 bits to 8 without a shift gives, in two of three images.
        clipped = np.minimum(RAMP, 255).astype(np.uint8)
        for k, values in enumerate([clipped, clipped, NOISE]):
            save(tmp_path / f"{k}.png", values)
        with pytest.warns(UserWarning, match=r"2 of 3 images .* one value in more than 95% of their pixels"):
            image_folder(tmp_path)
        (tmp_path / "0.png").unlink()
        image_folder(tmp_path)  # half is not more than half; a warning would be an error


def profile(*, swapped=False):
    """The bytes of sRGB's ICC profile, or of one whose red is sRGB's green and whose green is its red."""
    data = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    (count,) = struct.unpack(">I", data[128:132])
    other = {b"rXYZ": b"gXYZ", b"gXYZ": b"rXYZ"}
    for entry in range(132, 132 + 12 * count, 12):
        tag = bytes(data[entry : entry + 4])
        if swapped:
            data[entry : entry + 4] = other.get(tag, tag)
    return bytes(data)


class TestProfiles:
    def test_colours_are_taken_to_srgb(self, tmp_path):
        save(tmp_path / "a srgb.png", NOISE, icc_profile=profile())
        save(tmp_path / "b swapped.png", NOISE, icc_profile=profile(swapped=True))
        save(tmp_path / "c none.png", NOISE)
        srgb, swapped, plain = image_folder(tmp_path, size=64).samples
        assert np.array_equal(plain, NOISE.transpose(2, 0, 1))
        assert (srgb.int() - plain.int()).abs().max() <= 1
        assert (swapped.int() - plain[[1, 0, 2]].int()).abs().max() <= 1

    def test_transparent_images_too(self, tmp_path):
        image = Image.fromarray(NOISE)
        image.putalpha(255)
        save(tmp_path / "a.png", image, icc_profile=profile(swapped=True))
        assert (
            read(tmp_path, size=64).int() - torch.from_numpy(NOISE[..., [1, 0, 2]]).permute(2, 0, 1)
        ).abs().max() <= 1

    @pytest.mark.parametrize("broken", [b"nonsense", profile()[:300]])
    def test_a_profile_that_cannot_be_used_is_ignored(self, tmp_path, broken):
        save(tmp_path / "a.png", NOISE, icc_profile=broken)
        assert np.array_equal(read(tmp_path, size=64), NOISE.transpose(2, 0, 1))

    def test_one_for_other_pixels_is_ignored(self, tmp_path):
        save(tmp_path / "a.png", NOISE[..., 0], icc_profile=profile())
        assert np.array_equal(read(tmp_path, size=64, grey=True)[0], NOISE[..., 0])


class TestShape:
    @pytest.mark.parametrize("suffix", ["png", "jpg", "tif", "webp"])
    def test_all_eight_orientations_show_the_same_picture(self, tmp_path, suffix):
        upright = Image.fromarray(coloured((64, 96)))
        # How the pixels must lie so that the tag's turn makes them upright: the inverse of that turn.
        turn = Image.Transpose
        inverse = {
            2: turn.FLIP_LEFT_RIGHT, 3: turn.ROTATE_180, 4: turn.FLIP_TOP_BOTTOM, 5: turn.TRANSPOSE,
            6: turn.ROTATE_90, 7: turn.TRANSVERSE, 8: turn.ROTATE_270,
        }  # fmt: skip
        for tag in range(1, 9):
            exif = Image.Exif()
            exif[EXIF_ORIENTATION] = tag
            stored = upright.transpose(inverse[tag]) if tag in inverse else upright
            options = {"quality": 95, "subsampling": 0} if suffix == "jpg" else {}
            save(tmp_path / f"{tag}.{suffix}", stored, exif=exif, **options)
        for image in image_folder(tmp_path).samples:
            for place, colour in quarters_of(image).items():
                assert colour == pytest.approx(QUARTERS[place], abs=12)

    @pytest.mark.parametrize("value", [0, 9, 77])
    def test_orientations_that_do_not_exist_turn_nothing(self, tmp_path, value):
        exif = Image.Exif()
        exif[EXIF_ORIENTATION] = value
        save(tmp_path / "a.png", coloured(), exif=exif)
        assert quarters_of(read(tmp_path)) == QUARTERS

    def test_damaged_exif_data_turn_nothing(self, tmp_path):
        save(tmp_path / "a.png", coloured(), exif=b"Exif\0\0MM\0*\0\0\xff\xff")
        assert quarters_of(read(tmp_path)) == QUARTERS

    @pytest.mark.parametrize(("height", "width"), [(33, 47), (47, 33), (31, 200), (8, 12), (500, 501)])
    def test_odd_sizes_give_their_centre_square(self, tmp_path, height, width):
        values = np.zeros((height, width), np.uint8)
        side = min(height, width)
        top, left = (height - side) // 2, (width - side) // 2
        values[top : top + side, left : left + side] = 200
        values[top : top + side // 2, left : left + side // 2] = 100
        save(tmp_path / "a.png", values)
        image = read(tmp_path, grey=True)
        assert image.shape == (1, 32, 32)
        assert [int(image[0, 8, 8]), int(image[0, 24, 24])] == pytest.approx([100, 200], abs=8)  # Lanczos rings
        assert image[0, 1:-1, 1:-1].min() >= 60  # nothing from outside the square

    @pytest.mark.parametrize("size", [(1, 50), (50, 1), (1, 1)])
    def test_a_line_of_pixels_is_no_picture(self, tmp_path, size):
        save(tmp_path / "a.png", Image.new("L", size))
        with pytest.raises(DataError, match=f"{size[0]} x {size[1]} pixels hold no picture"):
            image_folder(tmp_path)

    @pytest.mark.parametrize("suffix", ["gif", "png", "webp", "tif"])
    def test_of_animations_the_first_frame_counts(self, tmp_path, suffix):
        first, second = Image.fromarray(coloured()), Image.fromarray(255 - coloured())
        options = {"lossless": True} if suffix == "webp" else {}
        save(tmp_path / f"a.{suffix}", first, save_all=True, append_images=[second], **options)
        assert quarters_of(read(tmp_path)) == QUARTERS

    def test_the_name_need_not_say_what_is_in_it(self, tmp_path):
        save(tmp_path / "a.png", coloured(), format="GIF")
        assert quarters_of(read(tmp_path)) == QUARTERS

    def test_any_name_will_do(self, tmp_path):
        folder = tmp_path / "实验 ü 😀 'a\nb'"
        folder.mkdir()
        names = [b"\xff\xfe.png", "é.PNG".encode(), b"x" * 240 + b".png", "猫.png".encode()]
        for name in names:
            save(folder / os.fsdecode(name), coloured())
        data = image_folder(folder, cache=tmp_path / "cache")
        assert len(data) == len(names)
        for name in (b"\xff", "猫".encode()):
            (tmp_path / os.fsdecode(b"\xfe") / os.fsdecode(name)).mkdir(parents=True)
            save(tmp_path / os.fsdecode(b"\xfe") / os.fsdecode(name) / "a.png", coloured())
        named = image_folder(tmp_path / os.fsdecode(b"\xfe"))
        # As a checkpoint writes them, in UTF-8.
        assert (named.name.encode(), [name.encode() for name in named.classes]) == (
            b"\\udcfe",
            ["猫".encode(), b"\\udcff"],
        )
        (folder / os.fsdecode(names[0])).write_bytes(b"")
        with pytest.raises(DataError, match="1 of 4 images"):
            image_folder(folder, cache=tmp_path / "cache")


class TestDamage:
    def whole(self, folder, suffix):
        file = save(folder / f"00.{suffix}", NOISE)
        for k in range(1, 25):
            save(folder / f"{k:02}.png", NOISE)
        return file, file.read_bytes()

    @pytest.mark.parametrize(
        ("suffix", "left"),
        [
            *(("jpg", left) for left in (-1, 0.5, 100)),
            *(("png", left) for left in (-100, 0.5, 100, 8)),
            *((suffix, left) for suffix in ("gif", "webp", "tif", "bmp", "ppm", "avif", "jp2") for left in (-20, 0.5)),
        ],
    )
    def test_what_was_cut_is_skipped_by_name(self, tmp_path, suffix, left):
        file, data = self.whole(tmp_path, suffix)
        file.write_bytes(data[: int(len(data) * left) if left == 0.5 else left])
        with pytest.warns(UserWarning, match=rf"1 of 25 images .*00\.{suffix}"):
            assert len(image_folder(tmp_path)) == 24

    @pytest.mark.parametrize("suffix", ["png", "jpg", "gif", "tga"])
    def test_pixels_are_never_invented(self, tmp_path, suffix):
        """However many bytes are cut off, an image is refused or is what it was."""
        file = save(tmp_path / f"a.{suffix}", NOISE)
        data = file.read_bytes()
        before = read(tmp_path, size=64)
        refused = 0
        for cut in range(1, 60):
            file.write_bytes(data[:-cut])
            try:
                assert torch.equal(read(tmp_path, size=64), before)
            except DataError:
                refused += 1
        assert refused > 30

    @pytest.mark.parametrize("content", [b"", b"not an image", b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff"])
    def test_what_is_no_image_is_skipped_by_name(self, tmp_path, content):
        file, _ = self.whole(tmp_path, "jpg")
        file.write_bytes(content)
        with pytest.warns(UserWarning, match=r"1 of 25 images .*00\.jpg"):
            assert len(image_folder(tmp_path)) == 24

    def test_a_flipped_byte_of_a_png_is_noticed(self, tmp_path):
        file, data = self.whole(tmp_path, "png")
        place = data.index(b"IDAT") + 500
        file.write_bytes(data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :])
        with pytest.warns(UserWarning, match=r"1 of 25 images .*00\.png"):
            image_folder(tmp_path)

    def test_more_than_one_in_twenty_is_an_error_that_names_them(self, tmp_path):
        for k in range(20):
            save(tmp_path / f"{k:02}.jpg", NOISE)
        (tmp_path / "00.jpg").write_bytes(b"")
        with pytest.warns(UserWarning, match=r"1 of 20 images .*00\.jpg"):
            assert len(image_folder(tmp_path)) == 19
        (tmp_path / "01.jpg").write_bytes(b"")
        (tmp_path / "02.jpg").write_text("not an image")
        with pytest.raises(DataError, match=r"3 of 20 images .*00\.jpg.*01\.jpg.*02\.jpg"):
            image_folder(tmp_path)

    def test_the_reader_s_settings_hold_whatever_the_caller_has_set(self, tmp_path, monkeypatch):
        monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", True)
        monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", None)
        file = save(tmp_path / "a.jpg", NOISE)
        file.write_bytes(file.read_bytes()[:-200])
        with pytest.raises(DataError, match=r"a\.jpg"):
            image_folder(tmp_path)
        assert (ImageFile.LOAD_TRUNCATED_IMAGES, Image.MAX_IMAGE_PIXELS) == (True, None)

    @pytest.mark.parametrize("limit", [900_000, 400_000])  # Pillow would only warn of the first
    def test_huge_images_are_an_error_by_name_and_the_limit_is_a_number(self, tmp_path, limit):
        save(tmp_path / "fine.png", NOISE)
        buffer = io.BytesIO()
        Image.fromarray(np.tile(RAMP, (4, 4))[:1000, :1000] > 30_000).save(buffer, "PNG")
        (tmp_path / "large.png").write_bytes(buffer.getvalue())
        before = Image.MAX_IMAGE_PIXELS
        with pytest.raises(DataError, match=rf"large\.png has more than {limit:,} pixels .*max_pixels"):
            image_folder(tmp_path, max_pixels=limit)
        assert before == Image.MAX_IMAGE_PIXELS
        assert len(image_folder(tmp_path, max_pixels=1_000_000)) == 2

    def test_a_file_that_goes_while_it_is_read_is_skipped_by_name(self, tmp_path, monkeypatch):
        from trainers.data import folder

        found = folder._find

        def and_then_it_goes(root):
            files = found(root)
            files[0].unlink()
            return files

        self.whole(tmp_path, "png")
        monkeypatch.setattr(folder, "_find", and_then_it_goes)
        with pytest.warns(UserWarning, match=r"1 of 25 images .*00\.png: .*No such file"):
            image_folder(tmp_path)

    def test_memory_that_runs_out_is_no_damage(self, tmp_path, monkeypatch):
        def fail(*_):
            raise MemoryError

        monkeypatch.setattr("trainers.data.folder.decode", fail)
        save(tmp_path / "a.png", NOISE)
        with pytest.raises(MemoryError):
            image_folder(tmp_path)
