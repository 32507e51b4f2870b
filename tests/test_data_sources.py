"""A name or a path is all that it takes; every kind of data goes to worker processes of any kind."""

import gzip

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import ConcatDataset, DataLoader

from latentkit.errors import ArgumentError, DataError
from trainers import DATA, Data, array_file, digits, fashion_mnist, from_path, image_folder
from trainers.data import named
from trainers.data.fashion import DEBIAN_FOLDER
from trainers.data.mapped import MappedSamples

BYTES = np.random.default_rng(0).integers(0, 256, (8, 20, 20), np.uint8)
LABELS = np.arange(8) % 2


def idx(file, array):
    raw = bytes([0, 0, 8, array.ndim]) + np.array(array.shape, ">u4").tobytes() + array.astype("u1").tobytes()
    file.write_bytes(gzip.compress(raw) if file.suffix == ".gz" else raw)


def pictures(folder):
    for k, image in enumerate(BYTES):
        file = folder / "ab"[k % 2] / f"{k}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(file)
    return folder


def mnist(folder, images="train-images-idx3-ubyte", labels="train-labels-idx1-ubyte"):
    folder.mkdir(exist_ok=True)
    idx(folder / images, BYTES)
    if labels:
        idx(folder / labels, LABELS)
    return folder


def saved(folder):
    datasets = pytest.importorskip("datasets")
    files = sorted(pictures(folder.with_name("files")).rglob("*.png"))
    features = datasets.Features({"image": datasets.Image(), "label": datasets.ClassLabel(names=["a", "b"])})
    rows = {"image": [str(file) for file in files], "label": [0] * 4 + [1] * 4}
    datasets.disable_progress_bars()
    datasets.Dataset.from_dict(rows, features=features).save_to_disk(folder)
    datasets.enable_progress_bars()
    return folder


def archive(file):
    np.savez(file, x=BYTES, y=LABELS)
    return file


# What is at a path, and the shape and the classes that it has by itself.
KINDS = {
    "in": (pictures, (3, 32, 32), ("a", "b")),
    "mnist": (mnist, (1, 20, 20), ("0", "1")),
    "saved": (saved, (3, 32, 32), ("a", "b")),
    "a.npz": (archive, (1, 20, 20), ("0", "1")),
}


class TestPath:
    @pytest.mark.parametrize("kind", KINDS)
    def test_each_kind_is_recognised(self, tmp_path, kind):
        make, shape, classes = KINDS[kind]
        path = make(tmp_path / kind)
        data = from_path(path)
        assert data.samples.shape[1:] == shape
        assert data.classes == classes
        assert torch.bincount(data.labels).tolist() == [4, 4]
        assert data.name == kind.removesuffix(".npz")
        assert from_path(str(path), size=16, grey=True).samples.shape == (8, 1, 16, 16)

    @pytest.mark.parametrize(
        ("images", "labels"),
        [
            ("train-images-idx3-ubyte.gz", "train-labels-idx1-ubyte"),
            ("train-images.idx3-ubyte", "train-labels.idx1-ubyte.gz"),
        ],
    )
    def test_idx_files_are_found_under_their_usual_names(self, tmp_path, images, labels):
        folder = mnist(tmp_path / "mnist", images, labels)
        for path in (folder, folder / images):
            data = from_path(path)
            assert np.array_equal(data.samples[:, 0], BYTES)
            assert data.labels.tolist() == LABELS.tolist()

    def test_idx_files_without_labels(self, tmp_path):
        assert from_path(mnist(tmp_path / "a", labels=None)).labels is None
        idx(tmp_path / "faces", BYTES)
        assert from_path(tmp_path / "faces").labels is None

    def test_npy(self, tmp_path):
        np.save(tmp_path / "a.NPY", BYTES)
        (tmp_path / "a.NPY.npy").rename(tmp_path / "a.NPY")
        assert np.array_equal(from_path(tmp_path / "a.NPY").samples[:, 0], BYTES)

    @pytest.mark.parametrize("name", ["notes.txt", "photo.jpg", "empty", "train.gz"])
    def test_other_files_are_answered_with_what_is_understood(self, tmp_path, name):
        (tmp_path / name).write_bytes(b"" if name == "empty" else b"\x1f\x8b x" if name == "train.gz" else b"some text")
        with pytest.raises(
            DataError, match=r"of no kind that is understood: a folder of images.*\.npz file, or an IDX"
        ):
            from_path(tmp_path / name)

    def test_nothing_there(self, tmp_path):
        with pytest.raises(DataError, match=r"no file or folder .*nowhere.*wanted a folder of images"):
            from_path(tmp_path / "nowhere")
        (tmp_path / "empty").mkdir()
        with pytest.raises(DataError, match="nothing is in it"):
            from_path(tmp_path / "empty")

    def test_the_cache_is_handed_on(self, tmp_path):
        np.save(tmp_path / "a.npy", BYTES / 255)
        for path in (pictures(tmp_path / "in"), tmp_path / "a.npy"):
            assert isinstance(from_path(path, cache=tmp_path / "cache").samples, MappedSamples)


class TestNamed:
    def test_names_are_those_of_the_functions(self):
        assert torch.equal(named("digits").samples, digits().samples)
        assert torch.equal(named("ring").samples, DATA["ring"]().samples)

    def test_folder_and_paths(self, tmp_path):
        folder = pictures(tmp_path / "in")
        wanted = image_folder(folder, 16, True).samples
        assert torch.equal(named("folder", folder=folder, size=16, grey=True).samples, wanted)
        assert torch.equal(named(str(folder), size=16, grey=True).samples, wanted)
        assert named("folder", folder=folder).samples.shape == (8, 3, 32, 32)
        assert named(str(folder)).samples.shape == (8, 3, 32, 32)

    def test_a_name_of_the_library(self, tmp_path):
        assert named(f"hf:{saved(tmp_path / 'saved')}", size=16).samples.shape == (8, 3, 16, 16)

    @pytest.mark.parametrize(
        ("name", "options", "said"),
        [
            ("ring", {"size": 64}, "--size and --grey go with"),
            ("fashion-mnist", {"grey": True}, "--size and --grey go with"),
            ("ring", {"folder": "x"}, "--data-dir goes with --data folder or fashion-mnist, not with --data ring"),
            ("/", {"folder": "x"}, "--data-dir goes with"),
            ("hf:x", {"folder": "x"}, "--data-dir goes with"),
            ("folder", {}, "--data folder needs --data-dir"),
            ("folder", {"folder": "/nowhere", "size": 48}, "--size must be a power of two"),
            ("/nowhere", {"size": 8}, "--size must be a power of two"),
            ("nothing", {}, "--data must be digits, .*, folder, hf:NAME, or the path of .*; got 'nothing'"),
            ("", {}, "--data must be"),
            ("a\0b", {}, "--data must be"),
            ("x" * 5000, {}, "--data must be"),
        ],
    )
    def test_mistakes_are_told_in_the_words_of_the_command(self, name, options, said):
        with pytest.raises(ArgumentError, match=said):
            named(name, **options)

    def test_missing_folders_are_those_of_the_readers(self):
        with pytest.raises(DataError, match="apt-get"):
            named("fashion-mnist", folder="/nowhere")
        with pytest.raises(DataError, match="/nowhere"):
            named("folder", folder="/nowhere")

    def test_images_that_no_network_makes_ask_for_a_size(self, tmp_path):
        folder = mnist(tmp_path / "mnist")
        with pytest.raises(ArgumentError, match=r"--data .*mnist has images of 20x20; pass --size N, a power of two"):
            named(str(folder))
        assert named(str(folder), size=16).samples.shape == (8, 1, 16, 16)

    def test_points_have_no_size(self, tmp_path):
        np.save(tmp_path / "a.npy", np.zeros((5, 2)))
        assert not named(str(tmp_path / "a.npy")).is_images
        with pytest.raises(ArgumentError, match=r"--data .*a\.npy: size.* go with images"):
            named(str(tmp_path / "a.npy"), size=16)


def test_all_kinds_go_to_spawned_workers(tmp_path, monkeypatch):
    paths = [make(tmp_path / kind) for kind, (make, _, _) in KINDS.items()]
    sets = [from_path(path, size=16) for path in paths]
    sets += [image_folder(tmp_path / "in", 16, cache=tmp_path / "cache").split(3, seed=0)[0], DATA["ring"](n=5)]
    sets += [Data("parabola", DATA["parabola"](n=3).samples), digits().split(6, seed=0)[1]]
    monkeypatch.setattr("trainers.data.store.machine_memory", lambda: 1000)
    np.save(tmp_path / "b.npy", BYTES)
    sets += [array_file(tmp_path / "b.npy"), image_folder(tmp_path / "in", 16)]
    assert sum(isinstance(data.samples, MappedSamples) for data in sets) == 3
    both = ConcatDataset(sets)
    workers = {"num_workers": 2, "multiprocessing_context": "spawn"}
    answers = list(DataLoader(both, batch_size=None, generator=torch.Generator(), **workers))
    assert len(answers) == sum(map(len, sets))
    for (sample, label), (wanted, number) in zip(answers, both, strict=True):
        assert torch.equal(sample, wanted)
        assert label == number


def test_a_set_is_one_that_a_loader_takes():
    data = digits()
    images, labels = next(iter(DataLoader(data, batch_size=5, generator=torch.Generator())))
    assert torch.equal(images, data.floats(slice(5)))
    assert torch.equal(labels, data.labels[:5])


@pytest.mark.skipif(not DEBIAN_FOLDER.is_dir(), reason="Debian's dataset-fashion-mnist is not installed")
def test_fashion_mnist_is_one_of_the_idx_sets():
    padded, plain = fashion_mnist(), from_path(DEBIAN_FOLDER)
    assert torch.equal(padded.samples[:, :, 2:-2, 2:-2], plain.samples)
    assert torch.equal(padded.labels, plain.labels)
    assert torch.bincount(plain.labels).tolist() == [6000] * 10
    assert padded.fingerprint != plain.fingerprint
