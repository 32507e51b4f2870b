"""The command line past one machine's memory: stores, how they are filled, gone on with, and refused."""

import json

import numpy as np
import pytest
import torch

from latentkit import console, generate, invert, load_quality, wrap
from latentkit.cli import main
from latentkit.errors import ArgumentError, DataError, ShapeError
from latentkit.inversion import InvertWork, invert_to, pixel_loss
from latentkit.priors import Normal
from latentkit.stores import Store, open_store


def run(capsys, *argv):
    code = main([str(a) for a in argv])
    out, err = capsys.readouterr()
    return code, out, err


@pytest.fixture
def small_blocks(monkeypatch):
    """Blocks of 16 images of 32x32 bytes, so that a few samples are several blocks."""
    monkeypatch.setattr("latentkit.sampling.stored.BLOCK_BYTES", 2**14)


@pytest.fixture
def interrupting(monkeypatch):
    """Return interrupting(k): from then on Ctrl-C is pressed when block k is to be written; None: no more."""
    write = Store.write

    def _interrupting(at):
        def written(self, k, arrays):
            if k == at:
                raise KeyboardInterrupt
            write(self, k, arrays)

        monkeypatch.setattr(Store, "write", written)

    return _interrupting


@pytest.mark.parametrize("name", ["samples", "samples.zarr", "samples.parquet"])
def test_a_store_holds_the_samples_of_the_seed(name, image_run, image_checkpoint, tmp_path, capsys):
    out = tmp_path / name
    argv = ["sample", image_run, "--out", out, "-n", 40, "--seed", 3, "--latents", "--float", "--json"]
    code, printed, err = run(capsys, *argv)
    assert (code, err) == (0, "")
    said = json.loads(printed)
    assert (said["wrote"], said["samples"]) == (str(out), 40)
    store, z = open_store(out), Normal(8).sample(40, seed=3)
    assert said["bytes"] == store.nbytes == 40 * 4 * (8 + 32 * 32)
    assert np.array_equal(store["latents"][:], z.numpy())
    assert np.allclose(store["samples"][:], generate(image_checkpoint.generator, z).numpy(), atol=1e-5)


def test_images_are_kept_as_bytes_and_classes_with_them(conditional_run, tmp_path, capsys):
    assert run(capsys, "sample", conditional_run, "--out", tmp_path / "all", "-n", 30)[0] == 0
    store = open_store(tmp_path / "all")
    assert store["samples"].dtype == np.uint8
    assert set(store["labels"][:].tolist()) == {0, 1, 2}


def test_an_interrupt_says_how_to_go_on_and_the_rest_is_made(image_run, tmp_path, capsys, small_blocks, interrupting):
    argv = ["sample", image_run, "-n", 100, "--batch-size", 16, "--threads", 1]
    assert run(capsys, *argv, "--out", tmp_path / "whole")[0] == 0
    interrupting(3)
    code, _, err = run(capsys, *argv, "--out", tmp_path / "half")
    assert code == 130
    assert err == (
        "latentkit: interrupted; the blocks that are done stay; give the same command with --resume to go on\n"
    )
    assert open_store(tmp_path / "half", partial=True).missing() == [3, 4, 5, 6]
    interrupting(None)
    code, _, err = run(capsys, *argv, "--out", tmp_path / "half")
    assert code == 2
    assert "a store is there, unfinished; go on with it by resume" in err
    code, _, err = run(capsys, *argv, "--out", tmp_path / "half", "--resume", "--seed", 1)
    assert code == 2
    assert "seed is 0, not 1" in err
    assert run(capsys, *argv, "--out", tmp_path / "half", "--resume")[0] == 0
    assert open_store(tmp_path / "half").sums == open_store(tmp_path / "whole").sums


REFUSED = {
    "a picture is no store": (["--out", "x.png", "--resume"], "--resume is for a store; let --out name a folder"),
    "nor are arrays": (["--out", "x.npz", "--engine", "ray"], "--engine ray is for a store"),
    "workers of whom": (["--out", "x", "--workers", "2"], "--workers goes with --engine ray; add that"),
    "no half GPUs backwards": (["--out", "x", "--engine", "ray", "--gpus", "-1"], "gpus must be"),
    "no workers": (["--out", "x", "--engine", "ray", "--workers", "0"], "workers must be"),
    "a choice": (["--out", "x", "--best", "0.5"], "--truncation, --best and --balanced choose latents"),
    "a cut": (["--out", "x.zarr", "--truncation", "1"], "--truncation, --best and --balanced choose latents"),
    "floats anyhow": (["--out", "x.npz", "--float"], "--float is for a store"),
    "latents anyhow": (["--out", "x.npz", "--latents"], "--latents is for a store"),
    "another name": (["--out", "x.tar"], "or name a store"),
    "more than the disk": (["--out", "x.parquet", "-n", "1000000000000"], "cannot write .*x.parquet: it needs"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_done_is_refused_in_one_line_before_any_work(case, image_run, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    options, why = REFUSED[case]
    code, out, err = run(capsys, "sample", image_run, *options)
    assert (code, out) == (2, "")
    assert err.count("\n") == 1
    with pytest.raises(ArgumentError, match=why):
        raise ArgumentError(err)
    assert not list(tmp_path.iterdir())


def test_who_watches_hears_what_a_run_needs(image_run, tmp_path, capsys, monkeypatch):
    for name in ("console", "drawn"):
        monkeypatch.setattr(f"latentkit.{name}.watched", lambda: True)
    _, _, err = run(capsys, "sample", image_run, "--out", tmp_path / "a", "-n", 2000)
    assert "latentkit: 2,000 rows: 1.95 MiB on disk, about" in err
    _, _, err = run(capsys, "sample", image_run, "--out", tmp_path / "b", "-n", 2000, "--json")
    assert err == "", "a script reads the result"


def test_a_map_in_a_store_is_the_map(image_run, tmp_path, capsys, interrupting):
    argv = ["quality", image_run, "-n", 300, "--allow-uninformative", "--threads", 1, "--json"]
    assert run(capsys, *argv, "--out", tmp_path / "map.npz")[0] == 0
    interrupting(0)
    code, _, err = run(capsys, *argv, "--store", tmp_path / "map")
    assert code == 130
    assert "--resume" in err
    interrupting(None)
    code, printed, _ = run(capsys, *argv, "--store", tmp_path / "map", "--resume")
    assert code == 0
    assert json.loads(printed)["store"] == str(tmp_path / "map")
    one, two = load_quality(tmp_path / "map.npz"), load_quality(tmp_path / "map")
    for name in ("logits", "probability", "typicality"):
        assert torch.equal(getattr(one, name), getattr(two, name)), name


def test_a_map_must_be_written_somewhere(image_run, tmp_path, capsys):
    assert "give --out FILE.npz, or --store DIR" in run(capsys, "quality", image_run)[2]
    assert "give --store DIR" in run(capsys, "quality", image_run, "--out", tmp_path / "x.npz", "--resume")[2]
    err = run(capsys, "quality", image_run, "--store", tmp_path / "x", "--best", "0.5")[2]
    assert "a store holds them all" in err
    assert not list(tmp_path.iterdir())


def test_many_samples_are_inverted_into_a_store(image_run, image_checkpoint, tmp_path, capsys):
    options = ["--steps", 5, "--pool", 50, "--starts", 1, "--threads", 1]
    argv = ["invert", image_run, "--held-out", 3, 1, 4, *options]
    code, printed, _ = run(capsys, *argv, "--out", tmp_path / "found", "--json")
    assert code == 0
    assert run(capsys, *argv, "--out", tmp_path / "found.npz", "--json")[0] == 0
    store, alone = open_store(tmp_path / "found"), np.load(tmp_path / "found.npz")
    assert np.array_equal(store["latents"][:], alone["latents"]), "one block is one call"
    assert np.array_equal(store["error"][:], alone["error"])
    assert json.loads(printed)["explained"] == pytest.approx(store["explained"][:].mean(), abs=1e-6)
    code, _, err = run(capsys, *argv, "--out", tmp_path / "other", "--editable")
    assert code == 2
    assert "--editable" in err


def test_files_are_read_block_by_block_and_a_missing_one_is_named_first(image_run, tmp_path, capsys):
    sheet = tmp_path / "sheet.png"
    assert run(capsys, "sample", image_run, "--out", sheet, "-n", 1)[0] == 0
    options = ["--steps", 2, "--pool", 50, "--starts", 1]
    assert run(capsys, "invert", image_run, "--files", sheet, sheet, "--out", tmp_path / "two", *options)[0] == 0
    found = open_store(tmp_path / "two")["latents"][:]
    assert np.allclose(found[0], found[1], atol=1e-4), "of one picture twice"
    code, _, err = run(capsys, "invert", image_run, "--files", sheet, "no.png", "--out", tmp_path / "x", *options)
    assert code == 2
    assert "no.png is not there; name image files" in err
    assert not (tmp_path / "x").exists()


def curved():
    return wrap(lambda z: z.sinh(), Normal(3))


def test_what_is_found_for_a_sample_does_not_depend_on_its_block(tmp_path, draw):
    samples = draw(12, 3)
    at_once = invert(curved(), samples, starts=2, pool=100, seed=1)
    for block in (12, 5, 1):
        store = invert_to(tmp_path / f"of {block}", curved(), samples, starts=2, pool=100, seed=1, block=block)
        assert np.allclose(store["latents"][:], at_once.latents.numpy(), atol=1e-3)
        assert np.allclose(store["typicality"][:], at_once.typicality.numpy(), atol=1e-2)
        for k in range(store.blocks):
            rows = slice(*store.span(k))
            again = invert(curved(), samples[rows], starts=2, pool=100, seed=1)
            assert np.array_equal(store["latents"][rows], again.latents.numpy()), "one block is one call, bit for bit"


def test_samples_of_a_store_are_inverted_without_reading_them_all(tmp_path, image_checkpoint):
    from latentkit.sampling.stored import sample_to

    generator = image_checkpoint.generator
    given = sample_to(tmp_path / "given", generator, 6, seed=2, dtype="uint8")
    work = InvertWork(generator, given["samples"], (1, 32, 32), None, pixel_loss, "gradient", 1, 1, 50, 0, 64)
    assert torch.equal(work.samples(2, 4), torch.from_numpy(given["samples"][2:4]).float() / 127.5 - 1.0)
    found = invert_to(tmp_path / "found", generator, given["samples"], steps=1, starts=1, pool=50, block=4)
    assert len(found) == 6


def test_wrong_samples_are_refused_before_the_store_is_made(tmp_path, image_checkpoint):
    for wrong, kind in ((torch.zeros(2, 5), ShapeError), ([], DataError), (["no.png"], DataError)):
        with pytest.raises(kind):
            invert_to(tmp_path / "x", image_checkpoint.generator, wrong)
    with pytest.raises(ArgumentError, match=r"a store is a folder without a suffix"):
        invert_to(tmp_path / "x.npz", image_checkpoint.generator, torch.zeros(1, 1, 32, 32))
    assert not list(tmp_path.iterdir())


def groups(tmp_path, lines, limits):
    (tmp_path / "cgroup").write_text(lines)
    for name, limit in limits.items():
        (tmp_path / "fs" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "fs" / name).write_text(f"{limit}\n")
    return sorted(console._allowed(tmp_path / "cgroup", tmp_path / "fs"))


GIB = 2**30


@pytest.mark.parametrize(
    ("lines", "limits", "allowed"),
    [
        ("0::/\n", {"memory.max": 2 * GIB}, [2 * GIB]),
        ("0::/a/b\n", {"a/b/memory.max": "max", "a/memory.max": 3 * GIB, "memory.max": 4 * GIB}, [3 * GIB, 4 * GIB]),
        ("0::/outside/of/it\n", {"memory.max": GIB}, [GIB]),  # a container sees its own root alone
        (
            "9:name=systemd:/\n4:memory:/run\n1:cpu:/\n0::/\n",
            {"memory/run/memory.limit_in_bytes": GIB, "memory/memory.limit_in_bytes": 2**63 - 4096},
            [GIB, 2**63 - 4096],
        ),
        ("3:cpu,memory:/\n", {"memory/memory.limit_in_bytes": 5 * GIB}, [5 * GIB]),
        ("2:cpu:/x\n", {"memory/memory.limit_in_bytes": GIB}, []),
        ("nonsense\n\n", {}, []),
    ],
)
def test_the_memory_that_a_container_may_use_is_what_its_groups_say(lines, limits, allowed, tmp_path):
    assert groups(tmp_path, lines, limits) == sorted(allowed)


def test_the_least_limit_counts_and_none_beyond_the_machine(monkeypatch, tmp_path):
    whole = console.machine_memory()
    monkeypatch.setattr(console, "_allowed", lambda: [2**62, GIB // 4, GIB])
    assert console.machine_memory() == GIB // 4
    monkeypatch.setattr(console, "_allowed", lambda: [2**62])
    assert whole <= console.machine_memory() < 2**62


def test_another_system_has_no_groups(tmp_path):
    assert console._allowed(tmp_path / "none", tmp_path) == []
