"""Samples in a store: those of `generate`, whatever ends the work in between."""

import os
import signal
import subprocess
import sys

import numpy as np
import pytest
import torch
from torch import nn

import latentkit as lk
from latentkit.errors import ArgumentError, LatentkitError, NonFiniteError, OutputError
from latentkit.sampling.estimates import Estimate
from latentkit.sampling.fingerprints import fingerprint
from latentkit.sampling.stored import SampleWork, block_rows, estimate_samples, sample_to, to_bytes
from latentkit.stores import Column, Table, open_store

SEED = 2**64 - 3
N, BATCH, BLOCK = 70, 8, 16


def images(z):
    """Images (N, 3, 4, 4) of latents (N, 5), some numbers beyond [-1, 1]. Its process ends where it is told to."""
    at = os.environ.get("LATENTKIT_TEST_KILL_AT")
    if at and bool((z == lk.Normal(5).sample(1, seed=SEED, start=int(at))).all(1).any()):
        os.kill(os.getpid(), signal.SIGKILL)
    return torch.stack([torch.sin(k * z.sum(1)) for k in range(48)], 1).reshape(-1, 3, 4, 4) * 1.1


G = lk.wrap(images, lk.Normal(5))


def stored(path, n=N, generator=G, **options):
    return sample_to(path, generator, n, **{"seed": SEED, "batch_size": BATCH, "block": BLOCK, **options})


def files_of(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


@pytest.mark.parametrize("name", ["x", "x.zarr", "x.parquet"])
@pytest.mark.parametrize("dtype", ["uint8", "float32"])
def test_the_store_holds_the_samples_of_the_seed(name, dtype, tmp_path):
    store = stored(tmp_path / name, dtype=dtype, latents=True)
    z = G.prior.sample(N, seed=SEED)
    wanted = lk.generate(G, z)
    assert store["latents"][:].tobytes() == z.numpy().tobytes()
    found = store["samples"][:]
    assert found.shape == (N, 3, 4, 4)
    if dtype == "float32":
        np.testing.assert_array_equal(found, wanted.numpy())
    else:
        exact = 127.5 * (wanted.double() + 1)
        assert np.abs(found - exact.clamp(0, 255).numpy()).max() <= 0.5 + 1e-4
        # Bytes are what a picture of the samples shows.
        np.testing.assert_array_equal(found, to_bytes(wanted).numpy())
    assert open_store(tmp_path / name).complete


def test_bytes_are_rounded_and_capped():
    values = torch.tensor([-2.0, -1.0, -1 + 0.49 / 127.5, -1 + 0.51 / 127.5, 0.0, 1.0, 3.0])
    assert to_bytes(values).tolist() == [0, 0, 0, 1, 128, 255, 255]
    levels = torch.arange(256)
    assert to_bytes(levels / 127.5 - 1).equal(levels.byte())


@pytest.mark.parametrize("block", [1, 8, 24, 1000])
def test_blocks_change_nothing_where_they_hold_whole_batches(block, tmp_path):
    whole = stored(tmp_path / "whole", block=N, dtype="float32")["samples"][:]
    parts = stored(tmp_path / "parts", block=block, dtype="float32")["samples"][:]
    np.testing.assert_allclose(parts, whole, atol=1e-6)
    if block % BATCH == 0:
        assert parts.tobytes() == whole.tobytes()


def test_the_default_is_bytes_for_images_and_floats_for_all_else(tmp_path):
    assert stored(tmp_path / "images").columns == {"samples": Column("uint8", (3, 4, 4))}
    points = lk.wrap(lambda z: z[:, :2], lk.Normal(5))
    assert stored(tmp_path / "points", generator=points).columns == {"samples": Column("float32", (2,))}
    with pytest.raises(ArgumentError, match=r"bytes are for images .* and these samples are \(2,\)"):
        stored(tmp_path / "bytes", generator=points, dtype="uint8")


def test_all_classes_at_once_come_with_their_labels(tmp_path):
    both = lk.marginal(lk.wrap(lambda z, y: z + 100.0 * y[:, None], lk.Normal(2), classes=["near", "far"]))
    store = stored(tmp_path / "x", generator=both)
    labels = store["labels"][:]
    assert labels.tolist() == both.labels(both.prior.sample(N, seed=SEED)).tolist()
    assert ((store["samples"][:][:, 0] > 50) == (labels == 1)).all()


class Patience(nn.Module):
    """Makes images for a user who loses patience after some batches."""

    def __init__(self, left):
        super().__init__()
        self.left = left

    def forward(self, z):
        self.left -= 1
        if self.left < 0:
            raise KeyboardInterrupt
        return images(z)


@pytest.mark.parametrize("name", ["x", "x.zarr", "x.parquet"])
def test_an_interrupted_run_goes_on_to_the_same_bytes(name, tmp_path):
    stored(tmp_path / "whole" / name)
    patience = Patience(6)
    generator = lk.wrap(patience, lk.Normal(5))
    with pytest.raises(KeyboardInterrupt):
        stored(tmp_path / name, generator=generator)
    begun = open_store(tmp_path / name, partial=True)
    assert 0 < len(begun.missing()) < begun.blocks
    with pytest.raises(OutputError, match="a store is there, unfinished; go on with it by resume"):
        stored(tmp_path / name, generator=generator)
    with pytest.raises(OutputError, match=r"generator is '.*', not '"):
        stored(tmp_path / name, resume=True)
    patience.left = 10**6
    store = stored(tmp_path / name, generator=generator, resume=True)
    store.verify()
    assert store["samples"][:].tobytes() == open_store(tmp_path / "whole" / name)["samples"][:].tobytes()
    assert stored(tmp_path / name, generator=generator, resume=True).complete


KILLED = """
import sys
sys.path.insert(0, sys.argv[1])
from test_sampling_stored import stored
stored(sys.argv[2])
"""


def test_a_killed_process_costs_the_block_in_work_alone(tmp_path):
    command = [sys.executable, "-c", KILLED, os.path.dirname(__file__), str(tmp_path / "x")]  # noqa: PTH120
    done = subprocess.run(command, env={**os.environ, "LATENTKIT_TEST_KILL_AT": "40"}, timeout=120, check=False)
    assert done.returncode == -signal.SIGKILL
    assert open_store(tmp_path / "x", partial=True).missing() == [2, 3, 4]
    stored(tmp_path / "x", resume=True, batch_size=None, block=None).verify()
    stored(tmp_path / "y")
    assert files_of(tmp_path / "x") == files_of(tmp_path / "y")


@pytest.mark.parametrize(
    ("call", "error", "text"),
    [
        (lambda path: stored(path / "x.png"), ArgumentError, r"without a suffix, or named .zarr or .parquet; .*x.png"),
        (lambda path: stored(path / "x", n=0), ArgumentError, "n must be a whole number of at least 1"),
        (lambda path: stored(path / "x", seed=-1), ArgumentError, "seed must be"),
        (lambda path: stored(path / "x", dtype="int8"), ArgumentError, "dtype must be one of uint8, float32"),
        (lambda path: stored(path / "x", precision="half"), ArgumentError, "precision must be one of"),
        (lambda path: stored(path / "x", batch_size=0), ArgumentError, "batch_size must be"),
        (lambda path: stored(path / "x", block=0), ArgumentError, "block must be"),
        (lambda path: stored(path / "x", workers=2), ArgumentError, "workers"),
        (lambda path: stored(path / "x", n=10**14, block=10**6), OutputError, "are free there; ask"),
        (lambda path: stored(path / "x", n=10**13, block=10**12), ArgumentError, "of memory, and this machine has"),
    ],
)
def test_what_cannot_be_is_refused_before_the_run(call, error, text, tmp_path):
    with pytest.raises(LatentkitError, match=text) as caught:
        call(tmp_path)
    assert isinstance(caught.value, error)
    assert list(tmp_path.iterdir()) == []


def test_samples_that_are_not_finite_are_never_written(tmp_path):
    broken = lk.wrap(lambda z: torch.where(z > 2.0, torch.nan, z), lk.Normal(5))
    first = int((broken.prior.sample(N, seed=SEED) > 2.0).any(1).nonzero()[0])
    with pytest.raises(NonFiniteError, match=f"the sample of latent {first} holds NaN"):
        stored(tmp_path / "x", generator=broken)
    assert first // BLOCK in open_store(tmp_path / "x", partial=True).missing()


def test_the_estimate_is_what_is_written(tmp_path):
    for name in ("x", "x.zarr", "x.parquet"):
        needed = estimate_samples(G, 4096, batch_size=64, latents=True)
        assert needed.disk == 4096 * (48 + 20)
        store = sample_to(tmp_path / name, G, 4096, batch_size=64, latents=True)
        assert store.nbytes == needed.disk
        written = sum(map(len, files_of(tmp_path / name).values()))
        numbered = 8 * 4096 if name.endswith("parquet") else 0  # the number of each row
        assert written == pytest.approx(needed.disk + numbered, rel=0.1), name
    assert "4,096 rows" in needed.summary
    assert Estimate.of(Table(10**6, 64, store.columns), 64, 0).memory < needed.memory + 2**20


def test_a_layer_is_counted_in_the_estimate(build):
    wide = build(lambda: nn.Sequential(nn.Linear(4, 100_000), nn.Linear(100_000, 4)))
    narrow = build(lambda: nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4)))
    one, other = (estimate_samples(lk.wrap(net, lk.Normal(4)), 10, batch_size=1000).memory for net in (wide, narrow))
    assert one - other > 1000 * 100_000 * 4


def test_blocks_are_whole_batches_of_a_size_that_is_worth_a_file():
    for row in (1, 100, 12_288, 2**22, 2**30):
        for batch in (1, 64, 1000):
            rows = block_rows(row, batch)
            assert rows % batch == 0
            assert rows == batch or rows * row <= 2**24
            assert rows <= max(2**16, batch)


def test_a_fingerprint_tells_models_apart(build):
    def net(seed=0, width=3):
        return build(lambda: nn.Sequential(nn.Linear(2, width), nn.ReLU(), nn.Linear(width, 2)), seed)

    def scaled(k):
        return lambda z: k * z

    flipped = net()
    with torch.no_grad():
        flipped[0].weight[0, 0] = torch.nextafter(flipped[0].weight[0, 0], torch.tensor(9.0))
    classes = lk.wrap(lambda z, y: z + y[:, None], lk.Normal(2), classes=["a", "b"])
    models = [
        lk.wrap(net(), lk.Normal(2)),
        lk.wrap(net(1), lk.Normal(2)),
        lk.wrap(net(width=4), lk.Normal(2)),
        lk.wrap(flipped, lk.Normal(2)),
        lk.wrap(net(), lk.Uniform(2)),
        lk.wrap(net(), lk.Normal(2, std=2.0)),
        lk.wrap(scaled(1.0), lk.Normal(2)),
        lk.wrap(scaled(2.0), lk.Normal(2)),
        lk.wrap(scaled(torch.ones(2)), lk.Normal(2)),
        lk.wrap(lambda z: z, lk.Normal(2)),
        lk.wrap(torch.tanh, lk.Normal(2)),
        lk.wrap(torch.sin, lk.Normal(2)),
        lk.condition(classes, "a"),
        lk.condition(classes, "b"),
        lk.marginal(classes),
    ]
    found = [fingerprint(model) for model in models]
    assert len(set(found)) == len(models)
    assert found[0] == fingerprint(lk.wrap(net().train(), lk.Normal(2)))
    assert found[7] == fingerprint(lk.wrap(scaled(2.0), lk.Normal(2)))
    assert fingerprint(models[0], 1) != fingerprint(models[0], 2)


def test_the_work_is_a_function_of_the_rows_alone():
    work = SampleWork(G, SEED, BATCH, "float32", latents=True)
    whole, part = work(0, 48), work(16, 32)
    for name, values in part.items():
        assert values.tobytes() == whole[name][16:32].tobytes()
    again = work.placed("cpu")(0, 48)
    assert all(again[name].tobytes() == values[:48].tobytes() for name, values in whole.items())
