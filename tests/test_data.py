import gzip
import warnings

import numpy as np
import pytest
import torch
from PIL import Image

import trainers
from latentkit.errors import ArgumentError, DataError, LabelError
from trainers import DATA, Data, digits, fashion_mnist, image_folder

RAMP = np.arange(40 * 40 * 3).reshape(40, 40, 3).astype(np.uint8)
POINTS = ["gaussian-curve", "grid25", "imbalanced-ring", "moons", "parabola", "ring", "swiss-roll"]


def save(path, values=None, **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    values = RAMP if values is None else values
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

    def test_the_imbalanced_ring_has_weights_of_1_to_8(self):
        data, even = DATA["imbalanced-ring"](n=36_000), DATA["ring"](n=200)
        counts = torch.bincount(data.labels, minlength=8)
        assert counts.tolist() == pytest.approx([1000 * k for k in range(1, 9)], rel=0.12)
        assert data.classes == even.classes
        for k in range(8):
            middle, place = data.samples[data.labels == k].mean(0), even.samples[even.labels == k].mean(0)
            assert (middle - place).norm() < 0.02

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

    def test_items_are_those_of_floats(self):
        labelled, bare = digits(), DATA["parabola"](n=3)
        image, label = labelled[-1]
        assert torch.equal(image, labelled.floats()[-1])
        assert label == labelled.labels[-1]
        assert [item[1] for item in bare] == [-1, -1, -1]  # an IndexError ends the loop
        assert torch.equal(torch.stack([item[0] for item in bare]), bare.samples)
        with pytest.raises(IndexError, match="no number 3"):
            bare[3]
        with pytest.raises(TypeError):
            bare[0:2]

    def test_the_fingerprint_is_of_what_is_learned_from(self):
        data = digits()
        again = Data("another name", data.samples.clone(), data.labels, data.classes)
        assert again.fingerprint == data.fingerprint
        assert len(bytes.fromhex(data.fingerprint)) == 8
        changed = data.samples.clone()
        changed[-1, 0, 3, 3] ^= 1
        others = [
            Data("x", changed, data.labels, data.classes),
            Data("x", data.samples, data.labels.flip(0), data.classes),
            Data("x", data.samples, data.labels, tuple("abcdefghij")),
            Data("x", data.samples),
            Data("x", data.samples.flip(0), data.labels, data.classes),
            Data("x", data.samples.reshape(1797, 1, 16, 64), data.labels, data.classes),
            data.split(10, seed=0)[0],
        ]
        assert len({data.fingerprint, *(other.fingerprint for other in others)}) == 1 + len(others)

    def test_the_fingerprint_of_much_data_sees_the_ends_and_stays_cheap(self):
        # 64 MiB that take none: one page stands for all images.
        samples = torch.zeros(1, 1, 1, 1, dtype=torch.uint8).expand(64, 1, 1024, 1024)
        before = Data("x", samples).fingerprint
        for end in (0, -1):
            changed = samples.clone()
            changed[end] = 1
            assert Data("x", changed).fingerprint != before


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


def test_public_names_are_there_and_warn_of_nothing():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert all(getattr(trainers, name) is not None for name in trainers.__all__)
    assert not hasattr(trainers, "gan_that_is_not_there")
