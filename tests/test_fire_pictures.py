"""A zoo of pictures, met by every reader of images: each comes out as it must look, or is refused by name.

How image folders decide is tested in detail in `test_data_images.py`; here all readers must decide alike.
"""

import io
import struct
import zlib

import numpy as np
import pytest
import torch
from PIL import Image, ImageCms, ImageDraw

from latentkit.adapters.reals import read_reals
from latentkit.errors import DataError, LatentkitError
from latentkit.images import fitted, read_images
from trainers import image_folder

pytestmark = pytest.mark.promise("pictures")

SIDE = 32
#: Red, green, blue and white quarters, and a pixel within each.
QUARTERS = {(7, 7): (255, 0, 0), (7, 24): (0, 255, 0), (24, 7): (0, 0, 255), (24, 24): (255, 255, 255)}
#: What luminance they have (ITU-R 601, as Pillow rounds it).
GREYS = {(7, 7): 76, (7, 24): 150, (24, 7): 29, (24, 24): 255}


def quarters(width=SIDE, height=SIDE):
    image = Image.new("RGB", (width, height))
    pen = ImageDraw.Draw(image)
    for (y, x), colour in QUARTERS.items():
        left, top = (x > 15) * (width // 2), (y > 15) * (height // 2)
        pen.rectangle((left, top, left + width // 2 - 1, top + height // 2 - 1), fill=colour)
    return image


def saved(image, form, **options):
    file = io.BytesIO()
    image.save(file, form, **options)
    return file.getvalue()


def looks(samples):
    """Return the values 0 to 255 at the four places of one sample (1, C, S, S)."""
    levels = (samples[0] + 1.0) * 127.5
    return {place: tuple(float(level) for level in levels[:, place[0], place[1]]) for place in QUARTERS}


def through_all(path, shape=(3, SIDE, SIDE)):
    """Return what the readers make of one file, which must be the same."""
    found = read_images([path], shape)
    data = image_folder(path.parent, size=shape[1], grey=shape[0] == 1)
    torch.testing.assert_close(data.floats(slice(0, 1)), found, rtol=0, atol=1e-6)
    torch.testing.assert_close(read_reals(path.parent, shape), found, rtol=0, atol=1e-6)
    assert bool(torch.isfinite(found).all())
    assert float(found.abs().max()) <= 1.0
    return found


def transparent():
    """Quarters of which the left ones are transparent."""
    image = quarters().convert("RGBA")
    image.putalpha(Image.fromarray(np.repeat(np.repeat([[0, 255]], SIDE, 0), SIDE // 2, 1).astype(np.uint8)))
    return image


def deep_png(values):
    """A PNG of 16 bits a channel: (H, W, 3) or (H, W, 4)."""

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    height, width, channels = values.shape
    head = struct.pack(">IIBBBBB", width, height, 16, {3: 2, 4: 6}[channels], 0, 0, 0)
    lines = b"".join(b"\0" + line.astype(">u2").tobytes() for line in values)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(lines)) + chunk(b"IEND", b"")


def turned(tag):
    """A JPEG whose EXIF tag says how its pixels lie, so that it looks like the quarters."""
    turn = Image.Transpose
    lies = {
        2: turn.FLIP_LEFT_RIGHT, 3: turn.ROTATE_180, 4: turn.FLIP_TOP_BOTTOM, 5: turn.TRANSPOSE,
        6: turn.ROTATE_90, 7: turn.TRANSVERSE, 8: turn.ROTATE_270,
    }  # fmt: skip
    exif = Image.Exif()
    exif[0x0112] = tag
    image = quarters(96, 64)
    return saved(image.transpose(lies[tag]) if tag in lies else image, "JPEG", exif=exif, quality=98, subsampling=0)


SOFT = {place: tuple(96 + level // 4 for level in colour) for place, colour in QUARTERS.items()}


def lab():
    """Soft quarters, which 8 bits of Lab hold well."""
    change = ImageCms.buildTransform(ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB"), "RGB", "LAB")
    return saved(change.apply(quarters().point(lambda level: 96 + level // 4)), "TIFF")


def inks():
    """Quarters by inks, as Adobe's programs write them: JPEG, inverted."""
    values = 255 - np.asarray(quarters())
    plates = np.concatenate([values, np.zeros((SIDE, SIDE, 1), np.uint8)], 2)
    return Image.frombytes("CMYK", (SIDE, SIDE), plates.tobytes())


def film(form, **options):
    others = [Image.new("RGB", (SIDE, SIDE), colour) for colour in ("black", "yellow")]
    return saved(quarters(), form, save_all=True, append_images=others, **options)


PALETTE = quarters().quantize(4)
SEE_THROUGH = {(7, 7): (255,) * 3, (7, 24): (0, 255, 0), (24, 7): (255,) * 3, (24, 24): (255,) * 3}
WELL = {"quality": 98, "subsampling": 0}
#: File's name: contents, what they look like, and by how many levels of 255 that may be off.
FAITHFUL = {
    "rgb.png": (lambda: saved(quarters(), "PNG"), QUARTERS, 0),
    "rgba.png": (lambda: saved(quarters().convert("RGBA"), "PNG"), QUARTERS, 0),
    "palette.png": (lambda: saved(PALETTE, "PNG"), QUARTERS, 0),
    "interlaced.gif": (lambda: saved(PALETTE, "GIF", interlace=1), QUARTERS, 0),
    "see through.png": (lambda: saved(transparent(), "PNG"), SEE_THROUGH, 0),
    "see through.webp": (lambda: saved(transparent(), "WEBP", lossless=True, exact=True), SEE_THROUGH, 0),
    "see through palette.png": (
        lambda: saved(PALETTE, "PNG", transparency=PALETTE.getpixel((7, 24))),
        {**QUARTERS, (24, 7): (255,) * 3},
        0,
    ),
    "see through palette.gif": (
        lambda: saved(PALETTE, "GIF", transparency=PALETTE.getpixel((7, 24))),
        {**QUARTERS, (24, 7): (255,) * 3},
        0,
    ),
    "16 bits.png": (lambda: deep_png(np.asarray(quarters()).astype(np.uint16) * 257), QUARTERS, 0),
    "16 bits and opacity.png": (
        lambda: deep_png(np.asarray(transparent()).astype(np.uint16) * 257),
        SEE_THROUGH,
        0,
    ),
    "grey of 16 bits.png": (
        lambda: saved(Image.fromarray(np.asarray(quarters().convert("L")).astype(np.uint16) << 8), "PNG"),
        GREYS,
        0,
    ),
    "grey of 16 bits, big end first.tif": (
        lambda: saved(
            Image.fromarray((np.asarray(quarters().convert("L")).astype(np.uint16) << 8).astype(">u2")), "TIFF"
        ),
        GREYS,
        0,
    ),
    "grey of 32 bits.tif": (
        lambda: saved(Image.fromarray(np.asarray(quarters().convert("L")).astype(np.int32) << 8), "TIFF"),
        GREYS,
        0,
    ),
    "grey.png": (lambda: saved(quarters().convert("L"), "PNG"), GREYS, 0),
    "grey and opacity.png": (
        lambda: saved(transparent().convert("LA"), "PNG"),
        {**GREYS, (7, 7): 255, (24, 7): 255},
        0,
    ),
    "one bit.png": (
        lambda: saved(quarters().convert("L").point(lambda value: 255 * (value > 99), "1"), "PNG"),
        {(7, 7): 0, (7, 24): 255, (24, 7): 0, (24, 24): 255},
        0,
    ),
    "inks.jpg": (lambda: saved(inks(), "JPEG", quality=98), QUARTERS, 3),
    "inks.tif": (lambda: saved(inks(), "TIFF"), QUARTERS, 0),
    "video colours.tif": (lambda: saved(quarters().convert("YCbCr"), "TIFF"), QUARTERS, 2),
    "lab.tif": (lab, SOFT, 3),
    "bmp.bmp": (lambda: saved(quarters(), "BMP"), QUARTERS, 0),
    "tga.tga": (lambda: saved(quarters(), "TGA", compression="tga_rle"), QUARTERS, 0),
    "ppm.ppm": (lambda: saved(quarters(), "PPM"), QUARTERS, 0),
    "packed.tif": (lambda: saved(quarters(), "TIFF", compression="tiff_lzw"), QUARTERS, 0),
    "jpeg 2000.jp2": (lambda: saved(quarters(), "JPEG2000"), QUARTERS, 1),
    "progressive.jpg": (lambda: saved(quarters(), "JPEG", progressive=True, **WELL), QUARTERS, 3),
    "a second frame.gif": (lambda: film("GIF"), QUARTERS, 0),
    "a second frame.webp": (lambda: film("WEBP", lossless=True), QUARTERS, 0),
    "a second frame.png": (lambda: film("PNG"), QUARTERS, 0),
    "a second page.tif": (lambda: film("TIFF"), QUARTERS, 0),
    "a gif as.png": (lambda: saved(PALETTE, "GIF"), QUARTERS, 0),
    "a png as.jpg": (lambda: saved(quarters(), "PNG"), QUARTERS, 0),
    "a jpeg as.gif": (lambda: saved(quarters(), "JPEG", **WELL), QUARTERS, 3),
    "LOUD.PNG": (lambda: saved(quarters(), "PNG"), QUARTERS, 0),
    **{f"turned {tag}.jpg": (lambda tag=tag: turned(tag), QUARTERS, 6) for tag in range(1, 9)},
    "turned in no way.jpg": (lambda: turned(9), QUARTERS, 6),
    "two pixels.png": (lambda: saved(quarters(2, 2), "PNG"), QUARTERS, 16),  # enlarged, edges ring
    "a strip.png": (lambda: saved(centred(3000, 4), "PNG"), QUARTERS, 16),
    "a large one.png": (lambda: saved(quarters(2400, 2400), "PNG"), QUARTERS, 0),
    "a large one.jpg": (lambda: saved(quarters(2400, 2400), "JPEG", **WELL), QUARTERS, 6),
}


def centred(width, height):
    """A long black image with the quarters in the middle."""
    image = Image.new("RGB", (width, height))
    image.paste(quarters(height, height), ((width - height) // 2, 0))
    return image


def colour_of(wanted):
    return wanted if isinstance(wanted, tuple) else (wanted,) * 3


@pytest.mark.parametrize("name", FAITHFUL)
def test_a_picture_comes_out_as_it_looks(name, tmp_path):
    make, wanted, slack = FAITHFUL[name]
    (tmp_path / name).write_bytes(make())
    for place, levels in looks(through_all(tmp_path / name)).items():
        assert levels == pytest.approx(colour_of(wanted[place]), abs=slack + 1e-3), place
    if isinstance(wanted[7, 7], int):  # and as one channel
        for place, levels in looks(through_all(tmp_path / name, (1, SIDE, SIDE))).items():
            assert levels == pytest.approx((wanted[place],), abs=slack + 1e-3)


@pytest.mark.parametrize("mode", ["PA", "RGBa", "RGBX", "HSV", "I;16L", "I;16B", "I;16N"])
def test_what_no_file_holds_is_decided_too(mode):
    """Modes that other programs hand over in memory."""
    plain = quarters()
    if mode.startswith("I;16"):
        image = Image.new(mode, plain.size)
        for (y, x), grey in GREYS.items():
            image.putpixel((x, y), grey << 8)
        wanted = {place: (grey,) * 3 for place, grey in GREYS.items()}
    else:
        way = {"RGBa": "RGBA", "PA": "RGBA"}.get(mode)
        image = (plain.quantize(4) if mode == "PA" else plain.convert(way) if way else plain).convert(mode)
        wanted = QUARTERS
    pixels = fitted(image, None, grey=False)
    for (y, x), colour in wanted.items():
        assert tuple(pixels[:, y, x].tolist()) == pytest.approx(colour, abs=1)


# ---- refusals


def refused(path, says=""):
    """Check that all readers refuse a file by name, and the line that says so."""
    for call in (
        lambda: read_images([path], (3, SIDE, SIDE)),
        lambda: image_folder(path.parent, size=SIDE),
        lambda: read_reals(path.parent, (3, SIDE, SIDE)),
    ):
        with pytest.raises(LatentkitError) as told:
            call()
        assert path.name in str(told.value)
        assert says in str(told.value)
        assert "\n" not in str(told.value)


NOISE = Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8))
WHOLE = {"png": "PNG", "jpg": "JPEG", "gif": "GIF", "webp": "WEBP", "tif": "TIFF", "bmp": "BMP", "ppm": "PPM"}


@pytest.mark.parametrize("suffix", WHOLE)
@pytest.mark.parametrize("left", [0.0, 0.02, 0.5, 0.9])
def test_what_was_cut_is_refused(suffix, left, tmp_path):
    data = saved(NOISE, WHOLE[suffix])
    (tmp_path / f"cut.{suffix}").write_bytes(data[: int(len(data) * left)])
    refused(tmp_path / f"cut.{suffix}")


def claims(form, width, height):
    """A small file that says it is a large picture."""
    if form == "bmp":
        return b"BM" + struct.pack("<IHHIIiiHHIIiiII", 54, 0, 0, 54, 40, width, height, 1, 24, 0, 0, 0, 0, 0, 0)
    if form == "gif":
        return b"GIF89a" + struct.pack("<HHBBB", width, height, 0, 0, 0) + b"\x2c" + bytes(8) + b"\0\2\0\x3b"
    head = struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)
    chunk = struct.pack(">I", 13) + b"IHDR" + head + struct.pack(">I", zlib.crc32(b"IHDR" + head))
    return b"\x89PNG\r\n\x1a\n" + chunk + struct.pack(">I", 0) + b"IDAT" + struct.pack(">I", zlib.crc32(b"IDAT"))


STRANGE = {
    "nothing.png": b"",
    "text.jpg": b"not a picture at all\n" * 99,
    "page.png": b"<html><body>404</body></html>",
    "drawing.png": b'<?xml version="1.0"?><svg xmlns="http://www.w3.org/2000/svg"/>',
    "pickle.png": b"\x80\x04cos\nsystem\n.",
    # A program, which Pillow alone would hand to Ghostscript.
    "program.png": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 64 64\n%%EndComments\n(x) (w) file\nshowpage\n%%EOF\n",
    "portable.png": b"%PDF-1.4\n%%EOF",
    "signature.png": b"\x89PNG\r\n\x1a\n",
    "start.jpg": b"\xff\xd8\xff",
    "negative.bmp": claims("bmp", -4, 4),
    "floats.tif": saved(Image.new("F", (64, 64), 0.5), "TIFF"),
    "deeper than 16 bits.tif": saved(Image.fromarray(np.full((64, 64), 70_000, np.int32)), "TIFF"),
    "below black.tif": saved(Image.fromarray(np.full((64, 64), -1, np.int32)), "TIFF"),
    "one pixel.png": saved(Image.new("RGB", (1, 1)), "PNG"),
    "a row.png": saved(Image.new("RGB", (5_000, 1)), "PNG"),
    "a column.png": saved(Image.new("RGB", (1, 5_000)), "PNG"),
}


@pytest.mark.parametrize("name", STRANGE)
def test_what_is_no_picture_is_refused(name, tmp_path):
    (tmp_path / name).write_bytes(STRANGE[name])
    refused(tmp_path / name)


BOMBS = {
    "a square.png": lambda: saved(Image.new("1", (20_000, 20_000)), "PNG"),
    "a smaller one.png": lambda: saved(Image.new("1", (10_000, 10_000)), "PNG"),
    "a photograph.png": lambda: saved(Image.new("1", (12_000, 8_000)), "PNG"),
    "a claim.png": lambda: claims("png", 2**31 - 1, 2**31 - 1),
    "a claim.bmp": lambda: claims("bmp", 60_000, 60_000),
    "a claim.gif": lambda: claims("gif", 65_535, 65_535),
}


@pytest.mark.parametrize("name", BOMBS)
def test_a_bomb_is_refused_by_its_size(name, tmp_path):
    """Before anything is unpacked: the limit of pixels is what Pillow begins to warn at, and is a number."""
    (tmp_path / name).write_bytes(BOMBS[name]())
    refused(tmp_path / name, says="89,478,485")


def test_the_limit_of_pixels_can_be_raised_by_a_number(tmp_path):
    (tmp_path / "a.png").write_bytes(saved(Image.new("1", (12_000, 8_000), 1), "PNG"))
    assert read_images([tmp_path / "a.png"], (1, 2, 2), max_pixels=96_000_000).eq(1.0).all()
    with pytest.raises(DataError, match="95,999,999"):
        read_images([tmp_path / "a.png"], (1, 2, 2), max_pixels=95_999_999)


def test_text_that_swells_is_no_picture(tmp_path):
    """A compressed text of a gigabyte beside the pixels: Pillow's limit is the house's."""
    data = saved(quarters(), "PNG")
    text = b"zTXtComment\0\0" + zlib.compress(bytes(2**26))
    chunk = struct.pack(">I", len(text) - 4) + text + struct.pack(">I", zlib.crc32(text))
    (tmp_path / "swells.png").write_bytes(data[:33] + chunk + data[33:])
    refused(tmp_path / "swells.png")
