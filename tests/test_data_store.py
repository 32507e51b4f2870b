"""Where samples are kept: memory, a temporary file, or a cache that the next start takes."""

import copy
import gc
import json
import os
import pickle
import shutil
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from latentkit.errors import DataError, OutputError
from trainers import image_folder
from trainers.data.mapped import MappedSamples

COUNT = 45


@pytest.fixture
def folder(tmp_path):
    """45 images in two classes."""
    for k in range(COUNT):
        file = tmp_path / "in" / ("even" if k % 2 == 0 else "odd") / f"{k:03}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.random.default_rng(k).integers(0, 256, (20, 20, 3), np.uint8)).save(file)
    return tmp_path / "in"


@pytest.fixture
def little_memory(monkeypatch):
    """A machine whose memory holds no data set."""
    monkeypatch.setattr("trainers.data.store.machine_memory", lambda: 1000)


@pytest.fixture
def decodings(monkeypatch):
    """The files that are decoded."""
    from trainers.data import folder

    seen, decode = [], folder.decode

    def watch(file, *rest):
        seen.append(file.name)
        return decode(file, *rest)

    monkeypatch.setattr(folder, "decode", watch)
    return seen


def mapped(path, count=10):
    """Samples in a file with a header of 4 bytes, and the same samples in memory."""
    values = np.random.default_rng(0).integers(0, 256, (count, 3, 4, 5), np.uint8)
    path.write_bytes(b"head" + values.tobytes())
    return MappedSamples.of_file(path, values.shape, offset=4), torch.from_numpy(values)


KEYS = {
    "one": 0,
    "last": -1,
    "some": slice(1, 3),
    "backwards in steps": slice(0, 3, 2),
    "list": [2, 0],
    "rows": torch.tensor([1, 1, 0]),
    "mask": torch.tensor([True, False, True]),
    "all": slice(None),
    "ellipsis": ...,
    "a channel": (slice(None), 0),
    "a row's channel": (1, 2),
    "pixels of rows": (torch.tensor([0, 2]), slice(None), 1, 2),
    "pairs": (torch.tensor([0, 1]), torch.tensor([2, 0])),
    "none": None,
    "dots": (..., 1),
}


class TestMapped:
    @pytest.mark.parametrize("key", KEYS)
    @pytest.mark.parametrize("part", [False, True])
    def test_indexing_is_that_of_a_tensor_in_memory(self, tmp_path, key, part):
        samples, values = mapped(tmp_path / "x", 10 if part else 3)
        if part:
            rows = torch.tensor([9, 1, 4])
            samples, values = samples.subset(torch.tensor([0, 9, 1, 4])).subset(torch.tensor([1, 2, 3])), values[rows]
        got = samples[KEYS[key]]
        assert type(got) is torch.Tensor
        assert torch.equal(got, values[KEYS[key]])

    def test_any_operation_gives_what_it_gives_in_memory(self, tmp_path):
        whole, stored = mapped(tmp_path / "x")
        rows = torch.tensor([3, 3, 7])
        for samples, values in ((whole, stored), (whole.subset(rows), stored[rows])):
            assert (samples.shape, samples.dtype, len(samples)) == (values.shape, values.dtype, len(values))
            assert samples.nbytes == values.nbytes
            assert torch.equal(samples.float().mean((0, 2, 3)), values.float().mean((0, 2, 3)))
            assert torch.equal(torch.cat([samples, samples]), torch.cat([values, values]))
            assert torch.equal(samples.permute(0, 2, 3, 1).flatten(1), values.permute(0, 2, 3, 1).flatten(1))
            assert torch.equal(torch.stack(list(samples)), values)
            assert np.array_equal(np.asarray(samples), values.numpy())
            assert samples.tolist() == values.tolist()
            assert "uint8" in repr(samples)

    def test_what_was_read_can_be_changed_and_the_file_stays(self, tmp_path):
        samples, values = mapped(tmp_path / "x")
        samples[:2].zero_()
        assert torch.equal(samples, values)

    def test_it_survives_pickling_by_its_path_alone(self, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        samples, values = mapped(Path("x"), 1000)
        part = samples.subset(torch.tensor([5, 2]))
        monkeypatch.chdir("/")
        data = pickle.dumps(part)
        assert len(data) < 2000
        assert torch.equal(pickle.loads(data), values[[5, 2]])
        assert torch.equal(copy.deepcopy(part), part)

    def test_a_file_that_changed_is_not_opened_again(self, tmp_path):
        data = pickle.dumps(mapped(tmp_path / "x")[0])
        os.utime(tmp_path / "x", (1, 1))
        with pytest.raises(DataError, match="has changed since it was mapped"):
            pickle.loads(data)
        (tmp_path / "x").unlink()
        with pytest.raises(DataError, match=r"cannot map .*x again"):
            pickle.loads(data)


class TestMemory:
    def test_a_quarter_of_the_memory_is_the_limit(self, folder, monkeypatch):
        size = COUNT * 3 * 16 * 16
        monkeypatch.setattr("trainers.data.store.machine_memory", lambda: 4 * size)
        inside = image_folder(folder, 16)
        assert type(inside.samples) is torch.Tensor
        monkeypatch.setattr("trainers.data.store.machine_memory", lambda: 4 * size - 1)
        outside = image_folder(folder, 16)
        assert isinstance(outside.samples, MappedSamples)
        assert torch.equal(inside.samples, outside.samples)
        assert torch.equal(inside.labels, outside.labels)
        assert inside.fingerprint == outside.fingerprint

    def test_parts_of_a_split_are_those_in_memory_and_copy_nothing(self, folder, tmp_path):
        here, there = image_folder(folder, 16), image_folder(folder, 16, cache=tmp_path / "cache")
        for a, b in zip(here.split(7, seed=3), there.split(7, seed=3), strict=True):
            assert isinstance(b.samples, MappedSamples)
            assert len(a) == len(b)
            assert torch.equal(a.samples, b.samples)
            assert torch.equal(a.labels, b.labels)
            assert a.fingerprint == b.fingerprint
            rows = torch.tensor([6, 0])
            assert torch.equal(a.floats(rows), b.floats(rows))
            assert torch.equal(a.floats(slice(2, 4)), b.floats(slice(2, 4)))
            assert torch.equal(a[3][0], b[3][0])
            assert len(pickle.dumps(b)) < 5000
            # A split of a split.
            assert torch.equal(a.split(2, seed=0)[1].samples, b.split(2, seed=0)[1].samples)

    def test_a_temporary_file_goes_with_the_last_use(self, folder, little_memory, monkeypatch, tmp_path):
        place = tmp_path / "temporary"
        place.mkdir()
        monkeypatch.setattr(tempfile, "tempdir", str(place))
        data = image_folder(folder, 16)
        part = data.split(5, seed=0)[1]
        (inside,) = place.iterdir()
        assert inside.stat().st_mode & 0o077 == 0  # nobody else looks at the images
        del data
        gc.collect()
        assert part.floats().shape == (5, 3, 16, 16)
        del part
        gc.collect()
        assert list(place.iterdir()) == []

    def test_a_process_that_was_forked_leaves_the_temporary_file(self, folder, little_memory, monkeypatch, tmp_path):
        place = tmp_path / "temporary"
        place.mkdir()
        monkeypatch.setattr(tempfile, "tempdir", str(place))
        data = image_folder(folder, 16)
        monkeypatch.setattr(os, "getpid", lambda: -1)
        del data
        gc.collect()
        assert len(list(place.iterdir())) == 1

    def test_nothing_is_left_of_a_temporary_file_that_failed(self, folder, little_memory, monkeypatch, tmp_path):
        place = tmp_path / "temporary"
        place.mkdir()
        monkeypatch.setattr(tempfile, "tempdir", str(place))
        for file in sorted(folder.rglob("*.png"))[:5]:
            file.write_bytes(b"")
        with pytest.raises(DataError, match="5 of 45"):
            image_folder(folder, 16)
        assert list(place.iterdir()) == []

    def test_space_is_counted_before_the_work(self, folder, little_memory, monkeypatch, decodings):
        usage = shutil.disk_usage("/")._replace(free=1000)
        monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)
        with pytest.raises(OutputError, match="MiB free; make room"):
            image_folder(folder, 16)
        assert decodings == []


class TestCache:
    def test_the_second_start_decodes_nothing(self, folder, tmp_path, decodings):
        first = image_folder(folder, 16, cache=tmp_path / "cache")
        assert sorted(decodings) == sorted(file.name for file in folder.rglob("*.png"))
        decodings.clear()
        second = image_folder(folder, 16, cache=tmp_path / "cache")
        assert decodings == []
        assert torch.equal(first.samples, second.samples)
        assert torch.equal(first.labels, second.labels)
        assert first.classes == second.classes == ("even", "odd")
        assert sorted(file.suffix for file in (tmp_path / "cache").iterdir()) == [".json", ".npy"]

    def test_the_file_is_an_ordinary_npy_file(self, folder, tmp_path):
        data = image_folder(folder, 16, cache=tmp_path / "cache")
        (file,) = (tmp_path / "cache").glob("*.npy")
        assert np.array_equal(np.load(file), data.samples.numpy())

    def test_what_was_skipped_and_warned_of_is_remembered(self, folder, tmp_path, decodings):
        file = folder / "odd" / "001.png"
        file.write_bytes(file.read_bytes()[:300])
        for name in [f"{k:03}" for k in range(40, 45)]:
            Image.new("L", (20, 20)).save(next(folder.rglob(f"{name}.png")))
        answers = []
        for _ in range(2):
            with pytest.warns(UserWarning, match=r"1 of 45 images .*001\.png: .*truncated"):
                answers.append(image_folder(folder, 16, cache=tmp_path / "cache"))
        assert len(decodings) == COUNT
        assert len(answers[1]) == COUNT - 1
        assert torch.equal(answers[0].samples, answers[1].samples)
        assert torch.equal(answers[0].labels, answers[1].labels)
        with pytest.warns(UserWarning, match="1 of 45"):
            assert torch.equal(image_folder(folder, 16).samples, answers[1].samples)

    @pytest.mark.parametrize("change", ["new", "gone", "touched", "renamed", "size", "grey"])
    def test_another_source_or_another_reading_is_decoded_anew(self, folder, tmp_path, decodings, change):
        image_folder(folder, 16, cache=tmp_path / "cache")
        decodings.clear()
        file = folder / "odd" / "003.png"
        size, grey = 16, False
        if change == "new":
            shutil.copy(file, folder / "odd" / "999.png")
        elif change == "gone":
            file.unlink()
        elif change == "touched":
            os.utime(file, ns=(1, 1))
        elif change == "renamed":
            file.rename(folder / "even" / "003.png")
        elif change == "size":
            size = 32
        else:
            grey = True
        again = image_folder(folder, size, grey, cache=tmp_path / "cache")
        assert len(decodings) == len(again)
        fresh = image_folder(folder, size, grey)
        assert torch.equal(again.samples, fresh.samples)
        assert torch.equal(again.labels, fresh.labels)

    @pytest.mark.parametrize(
        "damage",
        [
            lambda data, about: data.write_bytes(data.read_bytes()[:-1]),
            lambda data, about: data.write_bytes(data.read_bytes() + b"x"),
            lambda data, about: data.write_bytes(data.read_bytes()[:-9] + b"\xff" * 9),
            lambda data, about: data.write_bytes(b"x" * 128 + data.read_bytes()[128:]),
            lambda data, about: data.unlink(),
            lambda data, about: about.unlink(),
            lambda data, about: about.write_text("{"),
            lambda data, about: about.write_text("[]"),
            lambda data, about: about.write_text(json.dumps({**json.loads(about.read_text()), "shape": []})),
            lambda data, about: about.write_text(json.dumps({**json.loads(about.read_text()), "shape": [-1, "x"]})),
            lambda data, about: about.write_text(json.dumps({**json.loads(about.read_text()), "version": "x"})),
            lambda data, about: about.write_text(json.dumps({**json.loads(about.read_text()), "notes": {}})),
            lambda data, about: about.write_text(
                json.dumps({**json.loads(about.read_text()), "notes": {"unreadable": 3, "flat": "x"}})
            ),
            lambda data, about: about.write_bytes(b"\xff\xfe"),
        ],
    )
    def test_a_damaged_or_partial_cache_is_made_anew(self, folder, tmp_path, decodings, damage):
        first = image_folder(folder, 16, cache=tmp_path / "cache").samples.numpy().copy()
        (data,), (about,) = (tmp_path / "cache").glob("*.npy"), (tmp_path / "cache").glob("*.json")
        damage(data, about)
        decodings.clear()
        again = image_folder(folder, 16, cache=tmp_path / "cache")
        assert len(decodings) == COUNT
        assert np.array_equal(again.samples.numpy(), first)
        decodings.clear()
        image_folder(folder, 16, cache=tmp_path / "cache")
        assert decodings == []

    def test_a_failure_leaves_an_earlier_cache_as_it_was(self, folder, tmp_path):
        image_folder(folder, 16, cache=tmp_path / "cache")
        before = {file.name: file.read_bytes() for file in (tmp_path / "cache").iterdir()}
        for file in sorted(folder.rglob("*.png"))[:5]:
            file.write_bytes(b"")
        with pytest.raises(DataError, match="5 of 45"):
            image_folder(folder, 16, cache=tmp_path / "cache")
        assert {file.name: file.read_bytes() for file in (tmp_path / "cache").iterdir()} == before

    def test_one_folder_serves_several_sources(self, folder, tmp_path, decodings):
        both = {name: image_folder(folder / name, 16, cache=tmp_path / "cache") for name in ("even", "odd")}
        decodings.clear()
        for name, data in both.items():
            assert torch.equal(image_folder(folder / name, 16, cache=tmp_path / "cache").samples, data.samples)
        assert decodings == []

    def test_a_cache_that_cannot_be_written_is_said_before_the_work(self, folder, tmp_path, decodings):
        (tmp_path / "cache").write_text("a file")
        with pytest.raises(OutputError, match="cache"):
            image_folder(folder, 16, cache=tmp_path / "cache")
        assert decodings == []


class TestThreads:
    def test_the_order_is_that_of_the_paths_however_long_each_takes(self, folder, monkeypatch):
        import time

        from trainers.data import folder as module

        decode = module.decode

        def slow(file, *rest):
            time.sleep(0.01 if file.name.endswith("0.png") else 0.0)
            return decode(file, *rest)

        monkeypatch.setattr(os, "cpu_count", lambda: 8)
        monkeypatch.setattr(module, "decode", slow)
        many = image_folder(folder, 20)
        files = sorted(folder.rglob("*.png"))
        for image, file in zip(many.samples, files, strict=True):
            with Image.open(file) as opened:
                assert np.array_equal(image.permute(1, 2, 0), np.asarray(opened))

    def test_two_readers_at_once_keep_their_limits_apart(self, folder):
        """One reader's limit is too low for the images, the other's is not."""

        def attempt(limit):
            try:
                return len(image_folder(folder, 16, max_pixels=limit))
            except DataError:
                return 0

        before = Image.MAX_IMAGE_PIXELS
        with ThreadPoolExecutor(2) as pool:
            assert list(pool.map(attempt, [100, 10_000] * 3)) == [0, COUNT] * 3
        assert before == Image.MAX_IMAGE_PIXELS

    def test_an_interrupt_stops_at_once_and_restores_pillow(self, folder, monkeypatch):
        started = []

        def interrupted(file, *_):
            started.append(file)
            raise KeyboardInterrupt

        before = Image.MAX_IMAGE_PIXELS
        monkeypatch.setattr(os, "cpu_count", lambda: 1)
        monkeypatch.setattr("trainers.data.folder.decode", interrupted)
        with pytest.raises(KeyboardInterrupt):
            image_folder(folder, 16)
        assert len(started) < 10
        assert before == Image.MAX_IMAGE_PIXELS
