"""Claim: on the 25 Gaussians the default recipe reaches 25 of 25 modes (strict) in three of three seeds.

    python -m benchmarks.modes [--seeds 0 1 2] [--family gan] [--json FILE]

A sample is of high quality within 4 standard deviations (0.05) of a mean; a mode is reached, strictly, by
at least a fifth of its fair share of 10,000 samples that are of high quality. The standard deviation within
modes should be 0.05, the Jensen-Shannon divergence of the modes' weights from even ones and the sliced
Wasserstein distance to fresh real points as small as those of real points (the first row).
"""

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

import latentkit as lk
from trainers import grid25
from trainers.families import FAMILIES

SD, COUNT = 0.05, 10_000


def truth(points: Tensor, fresh: Tensor) -> dict[str, float]:
    """Return how points (N, 2) compare with the known mixture, and with fresh points of it."""
    means = torch.cartesian_prod(torch.arange(-2.0, 3.0), torch.arange(-2.0, 3.0))
    distance, mode = torch.cdist(points, means).min(1)
    good = distance <= 4 * SD
    counts = torch.bincount(mode[good], minlength=25).double()
    share = counts / counts.sum().clamp(min=1)
    even = torch.full((25,), 1 / 25, dtype=torch.float64)
    half = (share + even) / 2
    divergence = 0.5 * sum(torch.xlogy(p, p / half).sum() for p in (share, even))
    offsets = (points - means[mode])[good]
    angles = torch.arange(64) * (torch.pi / 64)
    onto = torch.stack([angles.cos(), angles.sin()])
    sliced = ((points @ onto).sort(0).values - (fresh @ onto).sort(0).values).abs().mean()
    return {
        "high quality %": 100 * float(good.float().mean()),
        "modes": float((counts >= COUNT / 25 / 5).sum()),
        "sd": float(offsets.square().mean().sqrt()),
        "JS": float(divergence),
        "sliced W": float(sliced),
    }


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--family", default="gan", help="gan, wgan-gp, ...")
    parser.add_argument("--set", nargs="*", default=[], metavar="NAME=VALUE", help="settings to change")
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    family = FAMILIES[arguments.family]
    changes = {name: json.loads(value) for name, value in (item.split("=") for item in arguments.set)}
    fresh = grid25(COUNT, seed=10**6).samples
    rows: dict[str, dict[str, Any]] = {"real": truth(grid25(COUNT, seed=10**6 + 1).samples, fresh)}
    for seed in arguments.seeds:
        ckpt = family.function()(grid25(), family.settings()(seed=seed, threads=1, **changes), progress=False)
        samples = lk.generate(ckpt.generator, ckpt.generator.prior.sample(COUNT, seed=1), batch_size=COUNT)
        rows[f"seed {seed}"] = {**truth(samples, fresh), "seconds": ckpt.history["seconds"][-1]}
        for name in ["real", f"seed {seed}"] if len(rows) == 2 else [f"seed {seed}"]:
            print(
                f"{name:10}" + "".join(f"{key} {value:.4g}".rjust(22) for key, value in rows[name].items()), flush=True
            )
    reached = np.array([row["modes"] for name, row in rows.items() if name != "real"])
    print(f"all 25 modes in {(reached == 25).sum()} of {len(reached)} seeds")
    if arguments.json:
        arguments.json.write_text(json.dumps(rows, indent=2), encoding="utf-8")


if __name__ == "__main__":
    main()
