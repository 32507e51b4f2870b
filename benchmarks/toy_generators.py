"""The generators that the benchmark of guided sampling works on: three kinds, three seeds, four sets of data.

    python -m benchmarks.toy_generators --cache DIR

trains those that DIR lacks (about an hour and a half on one thread in all) and prints how long each took.
"""

import argparse
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

import latentkit as lk
from trainers import Data, GANConfig, grid25, imbalanced_ring, swiss_roll, train_gan

KINDS = ("briefly trained", "long trained", "WGAN-GP")
NAMES = ("grid25", "imbalanced-ring", "swiss-roll", "digits-8x8")
SEEDS = (0, 1, 2)

_HELD_OUT = {"digits-8x8": 597}
_STEPS = {
    "grid25": (4000, 20000, 3000),
    "imbalanced-ring": (2000, 10000, 2000),
    "swiss-roll": (2000, 10000, 2000),
    "digits-8x8": (1500, 8000, 2000),
}


def small_digits() -> Data:
    """Return scikit-learn's 1,797 digits as they are, 8x8, as vectors of 64 numbers in [-1, 1]."""
    from sklearn.datasets import load_digits

    bunch: Any = load_digits()
    samples = torch.from_numpy((np.asarray(bunch["data"]) / 8.0 - 1.0).astype(np.float32))
    return Data("digits-8x8", samples, torch.from_numpy(bunch["target"].astype(np.int64)), tuple("0123456789"))


def data_of(name: str) -> Data:
    """Return a set of data: 66,000 points of the plane, 2,000 of them held out, or the digits, 597 of them."""
    if name == "digits-8x8":
        return small_digits()
    return {"grid25": grid25, "imbalanced-ring": imbalanced_ring, "swiss-roll": swiss_roll}[name](66_000)


def split_of(data: Data) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the samples that generators are trained on, and the held-out ones."""
    train, held_out = data.split(_HELD_OUT.get(data.name, 2000), seed=0)
    return train.samples, held_out.samples


def recipe(name: str, kind: str, seed: int) -> GANConfig:
    """Return the settings of a generator: no regularisation and no averaging for points, as in the trials."""
    digits = name == "digits-8x8"
    shared: dict[str, Any] = {
        "seed": seed,
        "steps": _STEPS[name][KINDS.index(kind)],
        "latent_dim": 16 if digits else 2,
        "width": 256 if name in ("grid25", "digits-8x8") else 128,
        "batch_size": 128 if digits else 256,
        "threads": 1,
        "check_every": 10**6,
        "holdout": _HELD_OUT.get(name, 2000),
    }
    if kind == "WGAN-GP":
        # A penalty of 10 is for images: in the plane, where slopes are small, it leaves 12% of the samples good.
        weight = 10.0 if digits else 0.1
        return GANConfig.wgan_gp(
            **{**shared, "generator_lr": 5e-4, "critic_lr": 5e-4, "ema": 0.0, "gradient_penalty": weight}
        )
    if digits:  # without R1 they collapse within these steps
        return GANConfig(**shared, r1=0.1)
    return GANConfig(**shared, r1=0.0, ema=0.0, beta1=0.5, beta2=0.999)


def checkpoint(name: str, kind: str, seed: int, cache: Path) -> Any:
    """Return a trained checkpoint, from the cache if it is there."""
    folder = cache / f"{name}-{kind.replace(' ', '-')}-{seed}"
    if not folder.exists():
        start = time.process_time()
        data = data_of(name)
        made = train_gan(data, recipe(name, kind, seed), progress=False)
        made.save(folder)
        print(f"{folder.name}: {time.process_time() - start:.0f} s of CPU", flush=True)
    return lk.load(folder)


def main(argv: list[str] | None = None) -> int:
    """Train what is not there."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cache", type=Path, required=True)
    parser.add_argument("--data", nargs="+", choices=NAMES, default=NAMES)
    arguments = parser.parse_args(argv)
    torch.set_num_threads(1)
    for seed in SEEDS:
        for name in arguments.data:
            for kind in KINDS:
                checkpoint(name, kind, seed, arguments.cache)
    return 0


if __name__ == "__main__":
    sys.exit(main())
