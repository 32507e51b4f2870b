"""Two processes on the CPU, started by torchrun, make the same training as one with the same global batch."""

import json
import os
import subprocess
import sys

import pytest
import torch
from torch import nn

from latentkit import load
from latentkit.errors import ArgumentError
from latentkit.priors import Empirical
from trainers.__main__ import main
from trainers.distributed import Group, SharedBatchNorm2d, alone, share_batch_norm

DIGITS = ["--data", "digits", "--width", "4", "--batch-size", "8"]
RING = ["--data", "ring", "--width", "16", "--batch-size", "32"]
COMMON = ["--threads", "1", "--precision", "float32", "--quiet", "--latent-dim", "8", "--seed", "3", "--json"]

# One of each family and of each kind of network, a few steps of each.
RUNS = {
    "gan, ring": ["gan", *RING, "--steps", "30"],
    # Batch norm, whose statistics must be those of the whole batch, features that are compared, and a penalty.
    "gan, digits": ["gan", *DIGITS, "--steps", "9", "--feature-matching"],
    "gan, penalty": ["gan", *RING, "--steps", "10", "--gradient-penalty", "1"],
    # All sides, some of them fading in; its critic compares the samples of a batch.
    "progressive, digits": ["progressive", *DIGITS, "--widest", "16", "--steps", "8", "--phase-steps", "1"],
    "semi, ring": ["semi", *RING, "--labels-per-class", "2", "--steps", "10"],
    "glo, ring": ["glo", *RING, "--steps", "10"],
    "glo, digits": ["glo", *DIGITS, "--steps", "5"],
    "vae, ring": ["vae", *RING, "--steps", "10"],
    "vae, digits": ["vae", *DIGITS, "--steps", "5"],
}

# Runs this short make samples that are all alike, and say so.
pytestmark = pytest.mark.filterwarnings("ignore:the samples are nearly identical")

SCRIPT = """
import json, sys
from trainers.__main__ import main
from trainers.distributed import joined_group

with joined_group():
    sys.exit(max(main(argv) for argv in json.loads(sys.argv[1])))
"""


def options(name, out, changes=()):
    return [*RUNS[name], *COMMON, *changes, "--out", str(out / name)]


@pytest.fixture(scope="module")
def two(tmp_path_factory):
    """The folder of all runs, each made by two processes that one torchrun started."""
    out = tmp_path_factory.mktemp("two")
    (out / "all.py").write_text(SCRIPT)
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    arguments = [str(out / "all.py"), json.dumps([options(name, out) for name in RUNS])]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONWARNINGS": "ignore"}
    done = subprocess.run([*torchrun, *arguments], capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 0, done.stderr[-4000:]
    return out


def weights(checkpoint):
    """All weights and buffers, and the prior where it was fitted."""
    parts = {"generator": checkpoint.generator.module, "critic": checkpoint.critic, "encoder": checkpoint.encoder}
    found = {role: part.state_dict() for role, part in parts.items() if part is not None}
    if isinstance(checkpoint.generator.prior, Empirical):
        found["prior"] = {name: getattr(checkpoint.generator.prior, name) for name in ("weights", "means", "scales")}
    return {f"{role}.{name}": value for role, state in found.items() for name, value in state.items()}


def apart(one, other):
    """The largest difference of two runs' numbers, step by step, and of their weights, of those of usual size."""
    assert one.history.keys() == other.history.keys()
    ours, theirs = weights(one), weights(other)
    assert ours.keys() == theirs.keys()
    pairs = [
        (torch.tensor(one.history[name]), torch.tensor(other.history[name]))
        for name in one.history.keys() - {"seconds"}
    ]
    pairs += [(ours[name].double(), theirs[name].double()) for name in ours]
    return max(float((a - b).abs().max() / a.abs().mean().clamp(min=0.1)) for a, b in pairs)


@pytest.mark.parametrize("name", RUNS)
def test_two_processes_are_one_up_to_rounding(name, two, tmp_path):
    assert main(options(name, tmp_path)) == 0
    assert main(options(name, tmp_path / "half", ["--batch-size", str(int(RUNS[name][6]) // 2)])) == 0
    one = load(tmp_path / name)
    assert apart(one, load(two / name)) < 2e-3
    assert apart(one, load(tmp_path / "half" / name)) > 2e-2, "and they are no copies of half the batch"


def test_a_batch_must_be_shared_evenly():
    group = Group()
    assert (group.rank, group.size, group.leads) == (0, 1, True)
    assert group.share(8) == slice(0, 8)
    group.size, group.rank = 4, 2
    assert group.share(8) == slice(4, 6)
    with pytest.raises(ArgumentError, match="multiple of the 4 processes, got 6"):
        group.share(6)


def test_shared_batch_norm_is_batch_norm_for_one_process(draw):
    plain, shared = nn.Sequential(nn.BatchNorm2d(3)), nn.Sequential(nn.BatchNorm2d(3))
    share_batch_norm(shared)
    assert isinstance(shared[0], SharedBatchNorm2d)
    x = draw(4, 3, 5, 5)
    torch.testing.assert_close(shared(x), plain(x))
    assert type(alone(shared)[0]) is nn.BatchNorm2d
    assert isinstance(shared[0], SharedBatchNorm2d)
