import gzip
import multiprocessing
import os
import warnings

import numpy as np
import pytest
import torch
from PIL import Image, ImageFile

import trainers
from latentkit.errors import ArgumentError, DataError, LabelError
from trainers import DATA, Data, digits, fashion_mnist, image_folder

POINTS = ["gaussian-curve", "grid25", "moons", "parabola", "ring", "swiss-roll"]


def save(path, values=None, **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    values = np.full((40, 40, 3), 128, np.uint8) if values is None else values
    Image.fromarray(values).save(path, **options)
    return path


class TestPoints:
    @pytest.mark.parametrize("name", POINTS)
    def test_laws(self, name):
        few, many = DATA[name](n=50, seed=3), DATA[name](n=80, seed=3)
        assert few.name == name
        assert few.samples.dtype == torch.float32
        assert torch.equal(few.samples, many.samples[:50])
        assert not torch.equal(few.samples, DATA[name](n=50, seed=4).samples)
        assert DATA[name]().samples.abs().max() < 2.8

    @pytest.mark.parametrize(("name", "modes", "sd"), [("ring", 8, 0.02), ("grid25", 25, 0.05)])
    def test_modes_are_even_and_as_wide_as_stated(self, name, modes, sd):
        data = DATA[name](n=20_000)
        assert len(data.classes) == modes
        counts = torch.bincount(data.labels, minlength=modes)
        assert counts.min() > 0.8 * 20_000 / modes
        for k in (0, modes - 1):
            assert data.samples[data.labels == k].std(0).numpy() == pytest.approx(sd, rel=0.1)

    def test_curves_lie_where_they_are_said_to(self):
        x, y = DATA["parabola"]().samples.T
        torch.testing.assert_close(y, x**2 - 2, rtol=0, atol=1e-5)
        x, y = DATA["gaussian-curve"]().samples.T
        torch.testing.assert_close(y, 3 * torch.exp(-(x**2)) - 1.5, rtol=0, atol=1e-5)

    @pytest.mark.parametrize("n", [0, -1, 1.5])
    def test_wrong_counts(self, n):
        with pytest.raises(ArgumentError, match="n must be"):
            DATA["ring"](n=n)


class TestData:
    def test_split_is_a_repeatable_partition(self):
        data = DATA["grid25"](n=100)
        train, held = data.split(30, seed=1)
        assert (len(train), len(held)) == (70, 30)
        both = torch.cat([train.samples, held.samples])
        assert torch.equal(both.sort(0).values, data.samples.sort(0).values)
        assert torch.equal(held.samples, data.split(30, seed=1)[1].samples)
        assert not torch.equal(held.samples, data.split(30, seed=2)[1].samples)
        # The held-out part of a smaller split lies within that of a larger one, with its labels.
        assert torch.equal(data.split(10, seed=1)[1].labels, held.labels[:10])

    @pytest.mark.parametrize(("holdout", "error"), [(0, ArgumentError), (100, DataError), (1.5, ArgumentError)])
    def test_split_refuses(self, holdout, error):
        with pytest.raises(error, match=r"hold"):
            DATA["ring"](n=100).split(holdout, seed=0)

    def test_floats_span_the_range_and_go_back_to_bytes(self):
        levels = torch.arange(256, dtype=torch.uint8).reshape(1, 1, 16, 16)
        values = Data("ramp", levels).floats()
        assert (values.min(), values.max()) == (-1, 1)
        assert torch.equal(((values + 1) * 127.5).round().to(torch.uint8), levels)

    @pytest.mark.parametrize(
        "samples",
        [torch.zeros(3, 1, 8, 8), torch.zeros(0, 2), torch.zeros(3, 2, dtype=torch.float64), np.zeros((3, 2))],
    )
    def test_refuses_samples_of_no_kind(self, samples):
        with pytest.raises(DataError, match="samples must be"):
            Data("x", samples)

    def test_refuses_labels_that_do_not_fit(self):
        points = torch.zeros(3, 2)
        for labels, classes in (
            (torch.zeros(2, dtype=torch.int64), ("a",)),
            (torch.zeros(3), ("a",)),
            (torch.tensor([0, 1, 2]), ("a", "b")),
            (None, ("a",)),
        ):
            with pytest.raises(LabelError):
                Data("x", points, labels, classes)


def test_digits():
    data = digits()
    assert data.samples.shape == (1797, 1, 32, 32)
    assert data.samples.dtype == torch.uint8
    assert torch.bincount(data.labels).min() > 170
    assert data.samples.float().std() > 50


class TestFashion:
    def write(self, folder, *, images=3, labels=3, zipped=True, cut=0, magic=0x0803, say=None, side=28):
        folder.mkdir(exist_ok=True)
        body = np.random.default_rng(0).integers(0, 256, images * side * side, np.uint8).tobytes()
        header = np.array([magic, images if say is None else say, side, side], ">u4").tobytes()
        tags = np.array([0x0801, labels], ">u4").tobytes() + bytes(k % 10 for k in range(labels))
        raw = header + body
        raw = raw[: len(raw) - cut]
        suffix = ".gz" if zipped else ""
        (folder / f"train-images-idx3-ubyte{suffix}").write_bytes(gzip.compress(raw) if zipped else raw)
        (folder / f"train-labels-idx1-ubyte{suffix}").write_bytes(gzip.compress(tags) if zipped else tags)
        return folder

    @pytest.mark.parametrize("zipped", [True, False])
    def test_reads_and_pads(self, tmp_path, zipped):
        data = fashion_mnist(self.write(tmp_path / "实验 ü", zipped=zipped))
        assert data.samples.shape == (3, 1, 32, 32)
        assert data.labels.tolist() == [0, 1, 2]
        assert data.samples[:, :, :2].sum() == 0
        raw = np.random.default_rng(0).integers(0, 256, 3 * 784, np.uint8).reshape(3, 1, 28, 28)
        assert np.array_equal(data.samples[:, :, 2:-2, 2:-2], raw)

    @pytest.mark.parametrize(
        ("fault", "said"),
        [
            ({"cut": 5}, "damaged"),
            ({"cut": 3 * 784 + 10}, "truncated"),
            ({"magic": 0x0D03}, "must start with"),
            ({"say": 2**32 - 1}, "damaged"),
            ({"labels": 2}, "3 images but .* 2 labels"),
            ({"side": 27}, "28x28"),
            ({"images": 0, "labels": 0}, "classes 0 to 9"),
        ],
    )
    def test_refuses_damage(self, tmp_path, fault, said):
        with pytest.raises(DataError, match=said):
            fashion_mnist(self.write(tmp_path / "f", **fault))

    def test_a_cut_archive_is_named(self, tmp_path):
        file = self.write(tmp_path / "f") / "train-images-idx3-ubyte.gz"
        file.write_bytes(file.read_bytes()[:-20])
        with pytest.raises(DataError, match=r"train-images-idx3-ubyte\.gz"):
            fashion_mnist(tmp_path / "f")

    def test_missing_files_say_how_to_get_them(self, tmp_path):
        with pytest.raises(DataError, match="apt-get install dataset-fashion-mnist"):
            fashion_mnist(tmp_path)


class TestFolder:
    def test_finds_by_the_stated_rules(self, tmp_path):
        root = tmp_path / "fotos "
        save(root / "IMG_1.JPG", format="JPEG")
        save(root / "a" / "b" / "c" / "deep.png")
        save(root / "really a gif.png", format="GIF")
        save(root / ".ipynb_checkpoints" / "x.png")
        save(root / ".hidden.png")
        (root / "Thumbs.db").write_bytes(b"x")
        (root / "gone.png").symlink_to(tmp_path / "nowhere.png")
        (root / "a" / "loop").symlink_to(root)
        save(tmp_path / "elsewhere" / "linked.png")
        (root / "link").symlink_to(tmp_path / "elsewhere")
        data = image_folder(root, size=16)
        assert data.samples.shape == (4, 3, 16, 16)
        assert data.labels is None

    def test_sub_folders_are_classes(self, tmp_path):
        for k, name in enumerate(["犬", "قط", "قط"]):
            save(tmp_path / name / "deeper" / f"{k}.png")
        data = image_folder(tmp_path)
        assert sorted(data.classes) == sorted({"犬", "قط"})
        assert torch.bincount(data.labels).tolist() == [1 if name == "犬" else 2 for name in data.classes]

    @pytest.mark.parametrize(
        ("make", "said"),
        [
            (lambda p: None, "no folder"),
            (lambda p: p.mkdir(), "nothing is in it"),
            (lambda p: p.write_bytes(b""), "is a file"),
            (lambda p: (p.mkdir(), (p / "notes.txt").write_text("x")), "1 with suffix '.txt'"),
            (lambda p: save(p / ".hidden" / "x.png"), "1 hidden"),
        ],
    )
    def test_zero_images_says_why(self, tmp_path, make, said):
        make(tmp_path / "images")
        with pytest.raises(DataError, match=said) as caught:
            image_folder(tmp_path / "images")
        assert "images" in str(caught.value)

    def test_sixteen_bits_are_scaled(self, tmp_path):
        ramp = np.arange(65536, dtype=np.uint16).reshape(256, 256)
        save(tmp_path / "png.png", ramp)
        Image.fromarray(ramp.astype(">u2")).save(tmp_path / "tiff.tif")
        data = image_folder(tmp_path, size=256, grey=True)
        for image in data.samples:
            assert np.array_equal(image[0], ramp >> 8)

    def test_modes(self, tmp_path):
        red = np.zeros((32, 32, 4), np.uint8)
        red[..., 0], red[:, 16:, 3] = 255, 255
        save(tmp_path / "1 rgba.png", red)
        Image.fromarray(red).quantize().save(tmp_path / "2 palette.png")
        Image.new("CMYK", (32, 32), (0, 255, 255, 0)).save(tmp_path / "3 cmyk.jpg")
        Image.new("1", (32, 32), 1).save(tmp_path / "4 bits.png")
        Image.new("LA", (32, 32), (7, 0)).save(tmp_path / "5 la.png")
        samples = image_folder(tmp_path).samples
        for image in samples[:2]:
            assert image[:, 5, 5].tolist() == [255, 255, 255]
            assert image[:, 5, 28].tolist() == [255, 0, 0]
        assert samples[2][:, 5, 5].tolist() == pytest.approx([254, 0, 0], abs=3)
        assert samples[3].min() == 255
        assert samples[4].min() == 255

    def test_upright_centred_and_first_frame(self, tmp_path):
        values = np.zeros((32, 64, 3), np.uint8)
        values[:, 16:48] = 50
        values[:, 16:32, 0] = 250
        exif = Image.Exif()
        exif[0x0112] = 6  # to be turned clockwise for viewing
        save(tmp_path / "1.png", values, exif=exif)
        frames = [Image.new("L", (32, 32), grey) for grey in (10, 200)]
        frames[0].save(tmp_path / "2.gif", save_all=True, append_images=frames[1:])
        upright, first = image_folder(tmp_path).samples
        assert upright[0, 4, 16] == 250
        assert upright[0, 28, 16] == 50
        assert upright.min() == 0 or upright[2].min() == 50
        assert first.unique().tolist() == [10]

    def test_damage_is_named_and_counted(self, tmp_path):
        for k in range(20):
            save(tmp_path / f"{k:02}.jpg", np.random.default_rng(k).integers(0, 256, (64, 64, 3), np.uint8))
        whole = (tmp_path / "00.jpg").read_bytes()
        (tmp_path / "00.jpg").write_bytes(whole[: len(whole) // 2])
        with pytest.warns(UserWarning, match=r"1 of 20 images .*00\.jpg"):
            assert len(image_folder(tmp_path)) == 19
        (tmp_path / "01.jpg").write_bytes(b"")
        (tmp_path / "02.jpg").write_text("not an image")
        with pytest.raises(DataError, match=r"3 of 20 images .*00\.jpg.*01\.jpg.*02\.jpg"):
            image_folder(tmp_path)

    def test_truncated_images_stay_an_error_when_pillow_is_told_otherwise(self, tmp_path, monkeypatch):
        monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", True)
        monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", None)
        file = save(tmp_path / "a.jpg", np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8))
        file.write_bytes(file.read_bytes()[:-200])
        with pytest.raises(DataError, match=r"a\.jpg"):
            image_folder(tmp_path)
        assert (ImageFile.LOAD_TRUNCATED_IMAGES, Image.MAX_IMAGE_PIXELS) == (True, None)

    def test_bombs_are_refused_by_name_and_the_limit_is_a_number(self, tmp_path):
        save(tmp_path / "fine.png")
        Image.new("1", (1000, 1000)).save(tmp_path / "large.png")
        for limit in (900_000, 400_000):  # Pillow would only warn of the first
            with pytest.raises(DataError, match=r"large\.png .*max_pixels"):
                image_folder(tmp_path, max_pixels=limit)
        assert len(image_folder(tmp_path, max_pixels=1_000_000)) == 2

    def test_floating_point_pixels_are_refused(self, tmp_path):
        Image.fromarray(np.zeros((8, 8), np.float32)).save(tmp_path / "depth.tif")
        with pytest.raises(DataError, match="no stated range"):
            image_folder(tmp_path)


def _names_and_sizes(data):
    return data.name, len(data), os.getpid()


def test_data_survive_a_spawned_process(tmp_path):
    save(tmp_path / "x" / "a.png")
    sets = [DATA["ring"](n=10), image_folder(tmp_path)]
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        answers = pool.map(_names_and_sizes, sets)
    assert [answer[:2] for answer in answers] == [("ring", 10), (tmp_path.name, 1)]
    assert answers[0][2] != os.getpid()


def test_public_names_are_there_and_warn_of_nothing():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert all(getattr(trainers, name) is not None for name in trainers.__all__)
    assert not hasattr(trainers, "gan_that_is_not_there")
