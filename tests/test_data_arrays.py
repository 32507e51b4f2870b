"""Arrays: which axis is which and which value is black is decided by stated rules, or refused."""

import gzip
import pickle
import zipfile

import numpy as np
import pytest
import torch

from latentkit.errors import ArgumentError, DataError, LabelError, NonFiniteError
from trainers import array_file, idx_file
from trainers.data.labels import class_numbers
from trainers.data.mapped import MappedSamples

BYTES = np.random.default_rng(0).integers(0, 256, (6, 3, 10, 12), np.uint8)
GREY = BYTES[:, :1]
KINDS = {0x08: "u1", 0x09: "i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}


def npy(folder, array, name="a.npy"):
    np.save(folder / name, array)
    return folder / name


def idx(file, array, kind, *, zipped=False, cut=0, more=b""):
    header = bytes([0, 0, kind, array.ndim]) + np.array(array.shape, ">u4").tobytes()
    raw = header + array.astype(KINDS[kind]).tobytes() + more
    raw = raw[: len(raw) - cut]
    file.write_bytes(gzip.compress(raw) if zipped else raw)
    return file


@pytest.fixture
def little_memory(monkeypatch):
    monkeypatch.setattr("trainers.data.store.machine_memory", lambda: 1000)


class TestLayout:
    @pytest.mark.parametrize(
        ("array", "layout", "channels"),
        [
            (BYTES, None, 3),
            (BYTES.transpose(0, 2, 3, 1), None, 3),
            (np.asfortranarray(BYTES), None, 3),
            (BYTES[:, 0], None, 1),
            (GREY, None, 1),
            (GREY.transpose(0, 2, 3, 1), None, 1),
            (BYTES, "NCHW", 3),
            (BYTES[:, 0], "NHW", 1),
        ],
    )
    def test_bytes_are_taken_as_they_are(self, tmp_path, array, layout, channels):
        data = array_file(npy(tmp_path, array), layout=layout)
        assert np.array_equal(data.samples, BYTES[:, :channels])
        assert data.samples.is_contiguous()
        assert (data.name, data.labels) == ("a", None)

    @pytest.mark.parametrize(
        ("shape", "said"),
        [
            ((5, 3, 8, 3), "either of two axes"),
            ((5, 1, 8, 4), "either of two axes"),
            ((5, 7, 8, 9), "no axis is of 1, 3 or 4 channels"),
            ((5, 6), "points are floats"),
            ((40, 50, 3), "looks like one image"),
            ((5,), "wanted images"),
            ((), "wanted images"),
            ((1, 1, 1, 8, 8), "wanted images"),
            ((0, 8, 8), "is empty"),
        ],
    )
    def test_what_is_not_decided_is_refused(self, tmp_path, shape, said):
        with pytest.raises(DataError, match=said):
            array_file(npy(tmp_path, np.full(shape, 9, np.uint8)))

    def test_an_argument_decides_what_the_rules_leave_open(self, tmp_path):
        both = np.arange(5 * 3 * 8 * 3, dtype=np.uint8).reshape(5, 3, 8, 3)
        file = npy(tmp_path, both)
        assert np.array_equal(array_file(file, layout="NCHW").samples, both)
        assert np.array_equal(array_file(file, layout="NHWC").samples, both.transpose(0, 3, 1, 2))
        rows = npy(tmp_path, np.arange(40 * 50 * 3, dtype=np.uint8).reshape(40, 50, 3), "b.npy")
        assert array_file(rows, layout="NHW").samples.shape == (40, 1, 50, 3)
        with pytest.raises(DataError, match="not of the layout NHW"):
            array_file(file, layout="NHW")
        with pytest.raises(DataError, match="8 channels as NCHW"):
            array_file(npy(tmp_path, np.zeros((5, 8, 3, 3), np.uint8) + 9), layout="NCHW")
        with pytest.raises(ArgumentError, match="layout must be one of"):
            array_file(file, layout="CHW")

    def test_the_fourth_channel_is_opacity_over_white(self, tmp_path):
        values = np.concatenate([BYTES, np.full_like(GREY, 255)], axis=1)
        values[:, 3, :5] = 0
        data = array_file(npy(tmp_path, values))
        wanted = BYTES.copy()
        wanted[:, :, :5] = 255
        assert np.array_equal(data.samples, wanted)

    def test_size_and_grey_are_those_of_image_folder(self, tmp_path):
        from PIL import Image

        from trainers import image_folder

        for k, image in enumerate(BYTES):
            (tmp_path / "in").mkdir(exist_ok=True)
            Image.fromarray(image.transpose(1, 2, 0)).save(tmp_path / "in" / f"{k}.png")
        for grey in (False, True):
            wanted = image_folder(tmp_path / "in", 8, grey).samples
            assert torch.equal(array_file(npy(tmp_path, BYTES), size=8, grey=grey).samples, wanted)
        assert array_file(npy(tmp_path, BYTES), grey=True).samples.shape == (6, 1, 10, 12)
        assert array_file(npy(tmp_path, GREY), size=8).samples.shape == (6, 1, 8, 8)


LEVELS = np.tile(np.arange(256).reshape(16, 16), (2, 1, 1))


class TestValues:
    @pytest.mark.parametrize(
        ("array", "span"),
        [
            (LEVELS / 255, None),
            ((LEVELS / 255).astype(np.float32), None),
            ((LEVELS / 255).astype(">f4"), None),
            ((LEVELS / 255).astype(np.float16), None),
            (LEVELS / 127.5 - 1, None),
            (np.float32(LEVELS / 127.5 - 1), None),
            (LEVELS.astype(np.int64), None),
            (LEVELS.astype(">i2"), None),
            (LEVELS.astype(np.uint16) << 8, None),
            (LEVELS.astype(np.uint16), (0, 255)),
            (LEVELS.astype(np.float32), (0, 255)),
            (255 - LEVELS, (255, 0)),
            (LEVELS * 100 - 7, (-7, 25_493)),
        ],
    )
    def test_every_scale_gives_back_its_bytes(self, tmp_path, array, span):
        data = array_file(npy(tmp_path, array), span=span)
        assert data.samples.dtype == torch.uint8
        assert np.array_equal(data.samples[:, 0], LEVELS)

    def test_bytes_survive_the_way_through_floats(self, tmp_path):
        data = array_file(npy(tmp_path, LEVELS.astype(np.uint8)))
        again = array_file(npy(tmp_path, data.floats().numpy(), "b.npy"))
        assert torch.equal(again.samples, data.samples)

    def test_sixteen_bits_are_shifted(self, tmp_path):
        ramp = np.arange(65536, dtype=np.uint16).reshape(1, 256, 256)
        assert np.array_equal(array_file(npy(tmp_path, ramp)).samples[:, 0], ramp >> 8)

    def test_true_is_white(self, tmp_path):
        mask = LEVELS > 100
        assert np.array_equal(array_file(npy(tmp_path, mask)).samples[:, 0], mask * 255)

    @pytest.mark.parametrize(
        ("array", "said"),
        [
            (LEVELS.astype(np.float32), r"from 0 to 255, which may mean several things; pass span"),
            (LEVELS / 255 * 1.2 - 0.1, "several things"),
            (LEVELS / 255 - 0.2, "several things"),
            (LEVELS / 127.5 - 1.5, "several things"),
            (LEVELS.astype(np.int32) - 1, "several things"),
            (LEVELS.astype(np.int32) * 2, "several things"),
            ((LEVELS > 9).astype(np.int64), "several things"),
            (LEVELS * 0.0, "several things"),
            ((LEVELS > 9).astype(np.uint8), "no byte above 1"),
            (LEVELS.astype(np.uint16), "no value above 255"),
            (np.where(LEVELS == 7, np.nan, 0.5), "NaN or infinite"),
            (np.where(LEVELS == 7, np.inf, 0.5), "NaN or infinite"),
            (LEVELS * 1j, "must hold numbers"),
            (LEVELS.astype(str), "must hold numbers"),
        ],
    )
    def test_what_may_mean_several_things_is_refused(self, tmp_path, array, said):
        with pytest.raises(DataError, match=said):
            array_file(npy(tmp_path, array))

    @pytest.mark.parametrize("span", [(0, 0), (0,), (0, float("nan")), (0, "x"), (0, 1, 2)])
    def test_a_span_is_two_numbers(self, tmp_path, span):
        with pytest.raises(ArgumentError, match="span"):
            array_file(npy(tmp_path, LEVELS), span=span)

    def test_values_outside_of_a_given_span_are_refused(self, tmp_path):
        with pytest.raises(DataError, match=r"from 0 to 255, outside of span=\(0, 100\)"):
            array_file(npy(tmp_path, LEVELS), span=(0, 100))

    def test_nearly_black_images_are_warned_of(self, tmp_path):
        with pytest.warns(UserWarning, match="2 of 2 images .* one value"):
            array_file(npy(tmp_path, np.where(LEVELS < 3, 1.0, 0.0)))


class TestPoints:
    @pytest.mark.parametrize("dtype", ["f2", "f4", ">f4", "f8"])
    def test_floats_of_two_axes_are_points(self, tmp_path, dtype):
        points = np.array([[0.5, -3.0], [1000.0, 2.0]], dtype)
        data = array_file(npy(tmp_path, points))
        assert not data.is_images
        assert data.samples.tolist() == points.tolist()

    def test_rows_that_are_not_finite_are_named(self, tmp_path):
        with pytest.raises(NonFiniteError, match=r"2 of 3 rows \(1, 2\)"):
            array_file(npy(tmp_path, np.array([[0.0], [np.nan], [1e300]])))

    @pytest.mark.parametrize("options", [{"size": 8}, {"grey": True}, {"span": (0, 1)}, {"layout": "NHW"}])
    def test_options_of_images_do_not_go_with_points(self, tmp_path, options):
        with pytest.raises(ArgumentError, match=r"go with images.*points \(3, 2\)"):
            array_file(npy(tmp_path, np.zeros((3, 2))), **options)

    def test_more_than_memory_holds_are_refused(self, tmp_path, little_memory):
        with pytest.raises(DataError, match="memory"):
            array_file(npy(tmp_path, np.zeros((100, 2))))


class TestNpz:
    @pytest.mark.parametrize("key", ["samples", "images", "x", "arr_0"])
    @pytest.mark.parametrize("tags", ["labels", "y"])
    @pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
    def test_the_usual_names_are_found(self, tmp_path, key, tags, save):
        save(tmp_path / "a.npz", **{key: BYTES, tags: [0, 1, 0, 1, 1, 0], "other": [1]}, classes=["ü", "b"])
        data = array_file(tmp_path / "a.npz")
        assert np.array_equal(data.samples, BYTES)
        assert data.labels.tolist() == [0, 1, 0, 1, 1, 0]
        assert data.classes == ("ü", "b")

    def test_other_names_are_refused_with_those_that_are_there(self, tmp_path):
        np.savez(tmp_path / "a.npz", pictures=BYTES, kinds=[1])
        with pytest.raises(DataError, match=r"holds pictures, kinds; wanted the samples as one of samples, images, x"):
            array_file(tmp_path / "a.npz")

    def test_labels_that_are_given_win(self, tmp_path):
        np.savez(tmp_path / "a.npz", x=BYTES, y=[0] * 6)
        assert array_file(tmp_path / "a.npz", labels=[0, 1] * 3).labels.tolist() == [0, 1] * 3
        npy(tmp_path, np.array(list("abcabc")), "y.npy")
        assert array_file(tmp_path / "a.npz", labels=tmp_path / "y.npy").classes == ("a", "b", "c")

    def test_what_memory_cannot_hold_is_refused_before_it_is_read(self, tmp_path, little_memory):
        np.savez_compressed(tmp_path / "a.npz", x=np.zeros((100, 8, 8), np.uint8))
        with pytest.raises(DataError, match=r"save its 'x' as a \.npy file"):
            array_file(tmp_path / "a.npz")


class Trap:
    """Unpickling one would run code."""

    def __reduce__(self):
        return pytest.fail, ("code of a file was run",)


class TestForeignFiles:
    def test_nothing_in_a_file_is_run(self, tmp_path):
        traps = np.array([Trap(), Trap()], dtype=object)
        np.save(tmp_path / "a.npy", traps, allow_pickle=True)
        np.savez(tmp_path / "a.npz", x=traps)
        np.savez(tmp_path / "b.npz", x=BYTES, y=np.array([Trap()] * 6, dtype=object))
        (tmp_path / "b.npy").write_bytes(pickle.dumps(Trap()))
        for name in ("a.npy", "b.npy", "a.npz", "b.npz"):
            with pytest.raises(DataError, match="of numbers"):
                array_file(tmp_path / name)

    @pytest.mark.parametrize("suffix", ["npy", "npz"])
    @pytest.mark.parametrize("left", [0, 5, 60, -1, -100])
    def test_cut_files_are_refused_by_name(self, tmp_path, suffix, left):
        file = tmp_path / f"a.{suffix}"
        (np.save if suffix == "npy" else np.savez)(file, BYTES)
        file.write_bytes(file.read_bytes()[:left])
        with pytest.raises(DataError, match=rf"a\.{suffix}"):
            array_file(file)

    def test_a_flipped_byte_in_an_archive_is_noticed(self, tmp_path):
        np.savez(tmp_path / "a.npz", x=BYTES)
        raw = bytearray((tmp_path / "a.npz").read_bytes())
        raw[len(raw) // 2] ^= 1
        (tmp_path / "a.npz").write_bytes(raw)
        with pytest.raises(DataError, match=r"a\.npz"):
            array_file(tmp_path / "a.npz")

    def test_an_archive_of_something_else_is_refused(self, tmp_path):
        with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive:
            archive.writestr("x.npy", b"no array")
        with pytest.raises(DataError, match=r"a\.npz"):
            array_file(tmp_path / "a.npz")

    @pytest.mark.parametrize("name", ["none.npy", "none.npz"])
    def test_missing_files(self, tmp_path, name):
        with pytest.raises(DataError, match="there is no file"):
            array_file(tmp_path / name)


class TestMapping:
    @pytest.mark.parametrize("array", [BYTES, BYTES.transpose(0, 2, 3, 1), np.asfortranarray(BYTES), BYTES[:, 0]])
    def test_large_arrays_of_bytes_are_mapped_where_they_lie(self, tmp_path, little_memory, array):
        data = array_file(npy(tmp_path, array))
        assert isinstance(data.samples, MappedSamples)
        wanted = BYTES[:, :1] if array.ndim == 3 else BYTES
        assert np.array_equal(data.samples, wanted)
        held = data.split(2, seed=0)[1]
        assert torch.equal(pickle.loads(pickle.dumps(held)).samples, held.samples)
        assert [file.name for file in tmp_path.iterdir()] == ["a.npy"]

    @pytest.mark.parametrize("options", [{}, {"size": 8}])
    def test_what_is_converted_goes_to_the_cache(self, tmp_path, options):
        file = npy(tmp_path, BYTES / 255)
        here = array_file(file, **options)
        there = [array_file(file, cache=tmp_path / "cache", **options) for _ in range(2)]
        for data in there:
            assert isinstance(data.samples, MappedSamples)
            assert torch.equal(data.samples, here.samples)
        npy(tmp_path, 1 - BYTES / 255)
        changed = array_file(file, cache=tmp_path / "cache", **options)
        assert torch.equal(changed.samples, array_file(file, **options).samples)
        assert not torch.equal(changed.samples, here.samples)

    def test_large_idx_files_are_mapped_too(self, tmp_path, little_memory):
        data = idx_file(idx(tmp_path / "a", BYTES[:, 0], 0x08))
        assert isinstance(data.samples, MappedSamples)
        assert np.array_equal(data.samples[:, 0], BYTES[:, 0])
        with pytest.raises(DataError, match="gunzip"):
            idx_file(idx(tmp_path / "b.gz", BYTES[:, 0], 0x08, zipped=True))


class TestIdx:
    @pytest.mark.parametrize("zipped", [True, False])
    @pytest.mark.parametrize("kind", KINDS)
    def test_all_types_are_read(self, tmp_path, kind, zipped):
        values = LEVELS / 255 if kind >= 0x0D else LEVELS // 2 if kind == 0x09 else LEVELS
        data = idx_file(idx(tmp_path / "实验", values, kind, zipped=zipped))
        assert np.array_equal(data.samples[:, 0], LEVELS // 2 if kind == 0x09 else LEVELS)
        assert data.name == "实验"

    def test_labels_classes_and_size(self, tmp_path):
        images = idx(tmp_path / "a-images.gz", BYTES[:, 0], 0x08, zipped=True)
        labels = idx(tmp_path / "labels", np.array([0, 1, 2, 0, 1, 2]), 0x08)
        data = idx_file(images, labels, ("x", "y", "z"), size=16, name="letters")
        assert data.samples.shape == (6, 1, 16, 16)
        assert (data.labels.tolist(), data.classes, data.name) == ([0, 1, 2] * 2, ("x", "y", "z"), "letters")
        assert idx_file(images, labels).classes == ("0", "1", "2")
        with pytest.raises(LabelError, match="0 to 1 for 2 classes"):
            idx_file(images, labels, ("x", "y"))
        with pytest.raises(LabelError, match="one label a sample"):
            idx_file(images, idx(tmp_path / "few", np.array([0, 1]), 0x08))

    def test_floats_of_two_axes_are_points(self, tmp_path):
        assert idx_file(idx(tmp_path / "a", np.eye(3), 0x0E)).samples.tolist() == np.eye(3).tolist()

    @pytest.mark.parametrize("zipped", [True, False])
    @pytest.mark.parametrize(
        ("fault", "said"),
        [
            ({"cut": 1}, "damaged"),
            ({"more": b"x"}, "damaged"),
            ({"cut": 730}, "truncated"),
            ({"cut": 735}, "truncated"),
        ],
    )
    def test_files_are_right_to_the_byte(self, tmp_path, zipped, fault, said):
        with pytest.raises(DataError, match=said):
            idx_file(idx(tmp_path / "a", BYTES[:, 0], 0x08, zipped=zipped, **fault))

    @pytest.mark.parametrize("start", [b"\1\0\x08\3", b"\0\0\x07\3", b"\0\0\x08\0", b"\0\0\x08\x09"])
    def test_other_files_are_refused(self, tmp_path, start):
        (tmp_path / "a").write_bytes(start + bytes(100))
        with pytest.raises(DataError, match="no IDX file"):
            idx_file(tmp_path / "a")

    def test_a_missing_file(self, tmp_path):
        with pytest.raises(DataError, match="cannot read"):
            idx_file(tmp_path / "a")


class TestLabels:
    @pytest.mark.parametrize(
        ("labels", "numbers", "names"),
        [
            ([0, 1, 2], [0, 1, 2], ("0", "1", "2")),
            ([30, -10, 30], [1, 0, 1], ("-10", "30")),
            (["b", "a", "b"], [1, 0, 1], ("a", "b")),
            ([b"b", b"\xff", b"b"], [1, 0, 1], ("\\xff", "b")),
            ([True, False, True], [1, 0, 1], ("False", "True")),
            ([[5], [6], [5]], [0, 1, 0], ("5", "6")),
            (np.array([9, 10, 100], np.uint8), [0, 1, 2], ("9", "10", "100")),
        ],
    )
    def test_classes_are_the_distinct_labels_in_order(self, labels, numbers, names):
        got, classes = class_numbers(np.array(labels), 3, "y")
        assert (got.tolist(), classes, got.dtype) == (numbers, names, torch.int64)

    def test_names_decide_the_numbers(self):
        assert class_numbers(np.array(["b", "a"]), 2, "y", ("c", "b", "a"))[0].tolist() == [1, 2]
        assert class_numbers(np.array([2, 0]), 2, "y", ("c", "b", "a"))[0].tolist() == [2, 0]

    @pytest.mark.parametrize(
        ("labels", "classes", "said"),
        [
            ([0, 1], None, r"\(3,\), one label a sample"),
            (np.eye(3), None, "argmax"),
            ([0.0, 1.0, 2.0], None, "whole numbers or text"),
            ([0, 1, 3], ("a", "b", "c"), "0 to 2 for 3 classes"),
            ([0, 1, -1], ("a", "b", "c"), "got -1 to 1"),
            (["a", "x", "b"], ("a", "b"), "not among the classes .*: x"),
        ],
    )
    def test_labels_that_do_not_fit_are_refused(self, labels, classes, said):
        with pytest.raises(LabelError, match=said):
            class_numbers(np.array(labels), 3, "y", classes)
