"""Claim: on the 25 Gaussians the default recipe reaches 25 of 25 modes (strict) in three of three seeds.

    python -m benchmarks.modes [--seeds 0 1 2] [--family gan] [--json FILE]

The columns are those of `latentkit.metrics.toy_truth` for 10,000 samples, and the copy ratio. The standard
deviation within modes should be 0.05, the Jensen-Shannon divergence of the modes' weights and the sliced
Wasserstein distance to fresh real points as small as those of real points (the first row), and the copy ratio 1.
The second row shows why that stands there: training points with a little noise pass all else.
"""

import json
import sys
from typing import Any

import torch
from torch import Tensor

import latentkit as lk
from benchmarks.claims import at_least, concluded, parsed, parser
from latentkit import streams
from latentkit.metrics import copy_ratio, grid25_mixture, toy_truth
from trainers import grid25
from trainers.families import FAMILIES

COUNT, JITTER = 10_000, 0.0005


def figures(points: Tensor, train: Tensor, held_out: Tensor) -> dict[str, float]:
    """Return how points (N, 2) compare with the known mixture, with the training points and with held-out ones."""
    truth = toy_truth(points, grid25_mixture())
    return {
        "high quality %": 100.0 * truth.high_quality,
        "within 3 sd %": 100.0 * truth.within_3_sd,
        "modes": truth.strict_modes,
        "sd": truth.sd,
        "JS": truth.js,
        "sliced W": truth.sliced_wasserstein,
        "copy ratio": copy_ratio(train, held_out, points).ratio,
    }


def copies(train: Tensor) -> Tensor:
    """Return training points with noise of a hundredth of the data's own."""
    rows = streams.permutation(len(train), seed=0)[:COUNT]
    return train[torch.from_numpy(rows)] + JITTER * torch.from_numpy(streams.normal(COUNT, 2, seed=0)).float()


def show(name: str, row: dict[str, Any]) -> None:
    """Print a row of the table."""
    print(f"{name:10}" + "".join(f"{key} {value:.4g}".rjust(22) for key, value in row.items()), flush=True)


def main(argv: list[str] | None = None) -> int:
    """Print the table."""
    options = parser(__doc__)
    options.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    options.add_argument("--family", default="gan", help="gan, wgan-gp, ...")
    options.add_argument("--set", nargs="*", default=[], metavar="NAME=VALUE", help="settings to change")
    arguments = parsed(options, argv)
    family = FAMILIES[arguments.family]
    changes = {name: json.loads(value) for name, value in (item.split("=") for item in arguments.set)}
    train, held_out = grid25(), grid25(COUNT, seed=10**6).samples
    rows: dict[str, dict[str, Any]] = {}
    for name, points in (("real", grid25(COUNT, seed=10**6 + 1).samples), ("copies", copies(train.samples))):
        rows[name] = figures(points, train.samples, held_out)
        show(name, rows[name])
    reached = []
    for seed in arguments.seeds:
        ckpt = family.function()(train, family.settings()(seed=seed, threads=1, **changes), progress=False)
        samples = lk.generate(ckpt.generator, ckpt.generator.prior.sample(COUNT, seed=1), batch_size=COUNT)
        row = {**figures(samples, train.samples, held_out), "seconds": ckpt.history["seconds"][-1]}
        rows[f"seed {seed}"] = row
        reached.append(row["modes"])
        show(f"seed {seed}", row)
    print(f"all 25 modes in {reached.count(25)} of {len(reached)} seeds")
    limit = "adversarial training may leave a mode; nothing in the loss counts them"
    claim = at_least("25 Gaussians: modes in the worst seed", min(reached), 25.0, unit="modes", limit=limit)
    return concluded(arguments, [claim], rows=rows)


if __name__ == "__main__":
    sys.exit(main())
