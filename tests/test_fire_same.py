"""The same everywhere: batch sizes, threads, processes and shares of the work change no latent and no picture."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest
import torch

import latentkit as lk
from latentkit.render import to_rgb

pytestmark = pytest.mark.promise("same")

COUNT, SEED = 48, 2**63 + 5
BATCHES = [1, 5, 16, 48]

SCRIPT = """
import json, sys
import numpy as np
import torch
import latentkit as lk
from latentkit.render import to_rgb

wanted = json.loads(sys.argv[1])
torch.set_num_threads(wanted["threads"])
found = {}
for name in wanted["models"]:
    generator = lk.marginal(lk.load(name)).generator if name == "fashion-mnist" else lk.load(name).generator
    share = wanted["count"] // wanted["shares"]
    for batch in wanted["batches"]:
        latents, pictures = [], []
        for k in range(wanted["shares"]):
            z = generator.prior.sample(share, seed=wanted["seed"], start=k * share)
            latents.append(z.numpy())
            pictures.append(to_rgb(lk.generate(generator, z, batch_size=batch)))
        found[f"{name} {batch} latents"] = np.concatenate(latents)
        found[f"{name} {batch} pictures"] = np.concatenate(pictures)
np.savez(sys.argv[2], **found)
"""


@pytest.fixture(scope="module")
def models(image_run):
    return {
        "fashion-mnist": lk.marginal(lk.load("fashion-mnist")).generator,
        str(image_run): lk.load(image_run).generator,
    }


@pytest.fixture(scope="module")
def here(models):
    """The latents of each model, and the pictures of all of them at once, in this process with one thread."""
    found = {}
    for name, generator in models.items():
        z = generator.prior.sample(COUNT, seed=SEED)
        found[name] = z, to_rgb(lk.generate(generator, z, batch_size=COUNT))
    return found


@pytest.fixture(scope="module")
def elsewhere(models, tmp_path_factory):
    """What other processes make of it, by threads and by the shares that the work is split into."""
    found = {}
    for threads, shares in ((1, 1), (2, 1), (1, 3), (2, 4)):
        out = tmp_path_factory.mktemp("same") / "found.npz"
        wanted = {"models": list(models), "threads": threads, "shares": shares, "batches": BATCHES}
        said = json.dumps({**wanted, "count": COUNT, "seed": SEED})
        subprocess.run(
            [sys.executable, "-c", SCRIPT, said, str(out)], check=True, env={**os.environ, "OMP_WAIT_POLICY": "PASSIVE"}
        )
        found[threads, shares] = dict(np.load(out))
    return found


@pytest.mark.parametrize("batch", BATCHES)
@pytest.mark.parametrize(("threads", "shares"), [(1, 1), (2, 1), (1, 3), (2, 4)])
@pytest.mark.parametrize("model", [0, 1], ids=["bundled", "untrained"])
def test_latents_are_bit_equal_and_pictures_to_the_last_level(model, threads, shares, batch, models, here, elsewhere):
    name = list(models)[model]
    latents, pictures = here[name]
    found = elsewhere[threads, shares]
    assert found[f"{name} {batch} latents"].tobytes() == latents.numpy().tobytes()
    off = np.abs(found[f"{name} {batch} pictures"].astype(int) - pictures.astype(int))
    assert off.max() <= 1
    # A level is passed now and then where a number lies on its border, not all over.
    assert (off > 0).mean() < 1e-3


def test_a_draw_does_not_depend_on_the_default_device_or_dtype(models):
    generator = next(iter(models.values()))
    wanted = generator.prior.sample(4, seed=SEED)
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    try:
        with torch.device("meta"):
            assert generator.prior.sample(4, seed=SEED).equal(wanted)
    finally:
        torch.set_default_dtype(before)
