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
from trainers.distributed import Group, SharedBatchNorm2d, alone, share_batch_norm

SETTINGS = {
    "ring": ["--data", "ring", "--width", "16", "--batch-size", "32", "--steps", "30"],
    # Batch norm, whose statistics must be those of the whole batch, features that are compared, and a penalty.
    "digits": ["--data", "digits", "--width", "4", "--batch-size", "8", "--steps", "9", "--feature-matching"],
}


def weights(folder):
    checkpoint = load(folder)
    return {**checkpoint.generator.module.state_dict(), **checkpoint.critic.state_dict()}


def launch(out, options, *, processes):
    torchrun = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(processes)]
    launcher = torchrun if processes > 1 else []
    command = [sys.executable, *launcher, "-m", "trainers", "gan", *options, "--out", str(out), "--json"]
    common = ["--threads", "1", "--precision", "float32", "--quiet", "--latent-dim", "8", "--seed", "3"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONWARNINGS": "ignore"}
    done = subprocess.run([*command, *common], capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    return json.loads(done.stdout.strip().splitlines()[-1])


@pytest.mark.parametrize("data", SETTINGS)
def test_two_processes_are_one_up_to_rounding(data, tmp_path):
    one = launch(tmp_path / "one", SETTINGS[data], processes=1)
    two = launch(tmp_path / "two", SETTINGS[data], processes=2)
    assert two["critic_loss"] == pytest.approx(one["critic_loss"], rel=1e-3)
    ours, theirs = weights(tmp_path / "one"), weights(tmp_path / "two")
    assert ours.keys() == theirs.keys()
    for name, value in ours.items():
        torch.testing.assert_close(theirs[name], value, rtol=2e-3, atol=2e-4, msg=name)
    # And it is no copy of half the batch: other data give other weights.
    half = launch(tmp_path / "half", [*SETTINGS[data][:5], "16", *SETTINGS[data][6:]], processes=1)
    assert abs(half["critic_loss"] - one["critic_loss"]) > abs(two["critic_loss"] - one["critic_loss"])


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
