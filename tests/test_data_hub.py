"""Data sets of the Hugging Face library, from memory and from disk; nothing here asks the network."""

import io
import sys

import numpy as np
import pytest
import torch
from PIL import Image

from latentkit.errors import ArgumentError, DataError, LabelError, MissingDependencyError
from trainers import hugging_face, image_folder

datasets = pytest.importorskip("datasets")
COUNT = 24
CLASSES = ["cat", "dog", "eel"]


@pytest.fixture(autouse=True)
def _quiet():
    shown = datasets.utils.logging.is_progress_bar_enabled()
    datasets.disable_progress_bars()
    yield
    if shown:
        datasets.enable_progress_bars()


def pictures(count=COUNT):
    return [Image.fromarray(np.random.default_rng(k).integers(0, 256, (20, 24, 3), np.uint8)) for k in range(count)]


def table(images=None, **columns):
    images = pictures() if images is None else images
    features = {"picture": datasets.Image()}
    given = {"picture": images}
    for name, (feature, values) in columns.items():
        features[name], given[name] = feature, values
    return datasets.Dataset.from_dict(given, features=datasets.Features(features))


def labelled(count=COUNT):
    return table(pictures(count), kind=(datasets.ClassLabel(names=CLASSES), [k % 3 for k in range(count)]))


def numbers(values, kind="int64"):
    return datasets.Value(kind), values


class TestReading:
    def test_images_are_what_image_folder_makes_of_the_same_files(self, tmp_path):
        for k, image in enumerate(pictures()):
            (tmp_path / "in").mkdir(exist_ok=True)
            image.save(tmp_path / "in" / f"{k:02}.png")
        for grey in (False, True):
            data = hugging_face(labelled(), size=16, grey=grey)
            assert torch.equal(data.samples, image_folder(tmp_path / "in", 16, grey).samples)
        assert data.classes == tuple(CLASSES)
        assert data.labels.tolist() == [k % 3 for k in range(COUNT)]

    def test_files_are_decoded_by_the_one_set_of_rules(self):
        exif = Image.Exif()
        exif[0x0112] = 3
        buffers = []
        deep = np.arange(65536, dtype=np.uint16).reshape(256, 256)
        for image, options in ((Image.fromarray(deep), {}), (pictures(1)[0], {"exif": exif})):
            buffers.append(io.BytesIO())
            image.save(buffers[-1], "PNG", **options)
        rows = [{"bytes": buffer.getvalue(), "path": None} for buffer in buffers]
        deep_read, turned = hugging_face(table(rows), size=256, grey=True).samples
        assert np.array_equal(deep_read[0], deep >> 8)
        plain = hugging_face(table(pictures(1)), size=256, grey=True).samples[0]
        assert (turned.int() - plain.rot90(2, (1, 2)).int()).abs().max() <= 1

    def test_a_selection_and_a_format_change_nothing_else(self):
        whole = hugging_face(labelled(), size=16)
        rows = [7, 3, 11]
        part = hugging_face(labelled().select(rows).with_format("numpy"), size=16)
        assert torch.equal(part.samples, whole.samples[rows])
        assert torch.equal(part.labels, whole.labels[rows])

    def test_rows_without_an_image_are_skipped_with_their_labels(self):
        images = pictures()
        images[5] = None
        data = table(images, kind=(datasets.ClassLabel(names=CLASSES), [k % 3 for k in range(COUNT)]))
        with pytest.warns(UserWarning, match="1 of 24 images .* row 5: there is no image"):
            read = hugging_face(data, size=16)
        assert read.labels.tolist() == [k % 3 for k in range(COUNT) if k != 5]
        images[6] = None
        with pytest.raises(DataError, match=r"2 of 24 images .*row 5.*row 6"):
            hugging_face(table(images), size=16)

    def test_huge_images_are_an_error_by_row(self):
        with pytest.raises(DataError, match="row 0 has more than 100 pixels"):
            hugging_face(table(), max_pixels=100)


class TestColumns:
    def test_the_only_columns_of_their_kind_are_found(self):
        data = table(number=numbers(list(range(COUNT))))
        assert hugging_face(data, size=16).labels is None

    @pytest.mark.parametrize(
        ("values", "kind", "classes"),
        [(["b", "a"] * 12, "string", ("a", "b")), ([10, 20] * 12, "int32", ("10", "20"))],
    )
    def test_text_and_numbers_are_classes_when_asked(self, values, kind, classes):
        read = hugging_face(table(tag=numbers(values, kind)), label="tag", size=16)
        assert read.classes == classes
        assert [read.classes[number] for number in read.labels] == [str(value) for value in values]

    def test_several_of_a_kind_must_be_chosen_from(self):
        kinds = {name: (datasets.ClassLabel(names=CLASSES), [0] * COUNT) for name in ("fine", "coarse")}
        data = table(other=(datasets.Image(), pictures()), **kinds)
        with pytest.raises(ArgumentError, match="picture and other may each be the image; pass image='picture'"):
            hugging_face(data)
        with pytest.raises(ArgumentError, match="fine and coarse may each be the label"):
            hugging_face(data, image="other", size=16)
        assert hugging_face(data, image="other", label="fine", size=16).classes == tuple(CLASSES)

    @pytest.mark.parametrize("options", [{"image": "nothing"}, {"label": "nothing"}, {"image": "number"}])
    def test_wrong_names_are_answered_with_the_right_ones(self, options):
        with pytest.raises(ArgumentError, match=r"picture \(Image\), number \(Value\)"):
            hugging_face(table(number=numbers([0] * COUNT)), **options)

    def test_no_images_at_all(self):
        with pytest.raises(DataError, match=r"no column of images; its columns are text \(Value\)"):
            hugging_face(datasets.Dataset.from_dict({"text": ["a"]}))
        with pytest.raises(DataError, match="has no rows"):
            hugging_face(labelled().select([]))

    def test_missing_labels(self):
        kind = datasets.ClassLabel(names=CLASSES)
        assert hugging_face(table(kind=(kind, [-1] * COUNT)), size=16).labels is None
        for missing in (-1, None):
            with pytest.raises(LabelError, match=r"1 of 24 rows .* have no 'kind'"):
                hugging_face(table(kind=(kind, [missing, *[1] * (COUNT - 1)])), size=16)


class TestSources:
    def test_a_saved_set_and_a_saved_dictionary(self, tmp_path):
        data = labelled()
        data.save_to_disk(tmp_path / "one")
        datasets.DatasetDict({"train": data, "test": data.select([0, 1])}).save_to_disk(tmp_path / "实验")
        one, both = hugging_face(tmp_path / "one", size=16), hugging_face(str(tmp_path / "实验"), size=16)
        assert (one.name, both.name) == ("one", "实验")
        assert torch.equal(one.samples, both.samples)
        assert len(hugging_face(tmp_path / "实验", split="test", size=16)) == 2
        with pytest.raises(DataError, match="no split 'valid'; it has train, test"):
            hugging_face(tmp_path / "实验", split="valid")

    def test_a_cache_serves_the_same_rows_and_no_others(self, tmp_path, monkeypatch):
        labelled().save_to_disk(tmp_path / "one")
        first = hugging_face(tmp_path / "one", size=16, cache=tmp_path / "cache")
        labelled().select(range(20)).save_to_disk(tmp_path / "two")
        other = hugging_face(tmp_path / "two", size=16, cache=tmp_path / "cache")
        monkeypatch.setattr("trainers.data.hub.decode", None)
        again = hugging_face(tmp_path / "one", size=16, cache=tmp_path / "cache")
        assert torch.equal(again.samples, first.samples)
        assert torch.equal(again.labels, first.labels)
        assert len(other) == 20

    def test_a_saved_set_that_changed_is_read_anew(self, tmp_path):
        for count in (COUNT, 20):
            labelled(count).save_to_disk(tmp_path / "one")
            assert len(hugging_face(tmp_path / "one", size=16, cache=tmp_path / "cache")) == count

    def test_a_folder_that_the_library_reads_by_itself(self, tmp_path, monkeypatch):
        monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "library")
        for k, image in enumerate(pictures(6)):
            file = tmp_path / "animals" / "train" / CLASSES[k % 3] / f"{k}.png"
            file.parent.mkdir(parents=True, exist_ok=True)
            image.save(file)
        data = hugging_face(tmp_path / "animals", size=16)
        assert (data.name, data.classes, len(data)) == ("animals", tuple(CLASSES), 6)
        wanted = image_folder(tmp_path / "animals" / "train", 16)
        assert torch.equal(data.samples, wanted.samples)
        assert torch.equal(data.labels, wanted.labels)

    def test_what_cannot_be_loaded_is_named(self, tmp_path):
        (tmp_path / "empty").mkdir()
        with pytest.raises(DataError, match=r"cannot load .*empty"):
            hugging_face(tmp_path / "empty")
        labelled().save_to_disk(tmp_path / "cut")
        for file in (tmp_path / "cut").glob("*.arrow"):
            file.write_bytes(file.read_bytes()[:100])
        with pytest.raises(DataError, match=r"cannot load .*cut"):
            hugging_face(tmp_path / "cut")

    def test_what_is_no_data_set(self):
        with pytest.raises(DataError, match="streaming=True"):
            hugging_face(labelled().to_iterable_dataset())
        with pytest.raises(DataError, match="got dict"):
            hugging_face({})

    def test_the_library_is_an_extra(self, monkeypatch):
        monkeypatch.setitem(sys.modules, "datasets", None)
        with pytest.raises(MissingDependencyError, match=r'pip install "latentkit\[datasets\]"'):
            hugging_face("anything")

    def test_versions_that_run_code_of_the_data_are_refused(self, monkeypatch):
        monkeypatch.setattr(datasets, "__version__", "3.6.0")
        with pytest.raises(MissingDependencyError, match=r"datasets 4 or newer, got 3\.6\.0"):
            hugging_face(labelled())
