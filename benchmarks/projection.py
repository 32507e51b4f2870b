"""Claim: `project` lays the same rows out in a fraction of umap-learn's processor time, as faithfully.

    python -m benchmarks.projection [--rows 10000 50000] [--data manifold critic] [--landmarks 10000] [--null]

Each layout is made in a process of its own, with one thread, and what counts is all processor time of that process
(user and system), imports and compiling included. umap-learn is called as people call it,
`umap.UMAP(random_state=0).fit_transform(x)`; ours is `project(x)`, which also judges the layout. latentkit keeps
compiled kernels on disk, as umap-learn does a few: `first` is a process that finds none. Both layouts are judged by
the same code: trustworthiness and neighbour preservation over 15 neighbours of 1,000 rows.

`manifold` is a mixture of ten normal distributions in 8 dimensions, bent into 128 by a random network with a little
noise. `critic` is the 128 last features in which the bundled generator's critic sees its samples, of the least number
of rows alone. Of the largest number of `manifold` a layout by landmarks is made, too, and judged in the same way: by
the neighbours of all rows.

With `--null` it prints as well what a layout of nothing looks like: trustworthiness of layouts of normal and uniform
rows in 8 to 64 dimensions, beside those of real structure. The limit below which `Projection.shows_nothing` lies
between: above that of 16 dimensions, and below that of structure.

All of it takes eight minutes of a processor, two of them for `--null`.
"""

import argparse
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from benchmarks.claims import Ratio, at_least, at_most, concluded, parsed, parser
from benchmarks.clocks import process, python
from latentkit import streams
from latentkit.bundled import BUNDLED
from latentkit.checkpoint import load
from latentkit.conditional import marginal
from latentkit.priors import Normal, Uniform
from latentkit.projection import faithfulness, project, sample_features
from latentkit.projection.faith import sampled
from latentkit.projection.projection import NOISE

NEIGHBOURS, MODES, INNER, WIDTH = 15, 10, 8, 128

#: Processor time is to fall by so much: rows to factor.
TARGETS = {10_000: 4.0, 50_000: 1.8}

#: Dimensions and numbers of structureless rows, and up to how many t-SNE lays out, which takes longest.
DIMENSIONS, COUNTS, TSNE = (8, 16, 64), (100, 1_000, 4_000), 2_000

THEIRS = """
import sys
import numpy as np
import umap
np.save(sys.argv[2], umap.UMAP(random_state=0).fit_transform(np.load(sys.argv[1])))
"""
OURS = """
import sys
import numpy as np
import torch
import latentkit as lk
torch.set_num_threads(1)
landmarks = int(sys.argv[3]) or None
plane = lk.project(np.load(sys.argv[1], mmap_mode="r"), landmarks=landmarks, engine="cpu")
np.save(sys.argv[2], plane.points.numpy())
"""


def manifold(rows: int, seed: int = 0, start: int = 0) -> Tensor:
    """Return rows (N, 128) float32 of ten clusters, each a bent sheet of 8 dimensions: those from `start` on."""
    inner = streams.normal(rows, INNER, seed=seed, start=start, stream=streams.DATA)
    centres = 1.5 * streams.normal(MODES, INNER, seed=seed, stream=streams.MEASURES)
    first = streams.normal(INNER, 64, seed=seed + 1, stream=streams.MEASURES) / INNER**0.5
    second = streams.normal(64, WIDTH, seed=seed + 2, stream=streams.MEASURES) / 8.0
    noise = streams.normal(rows, WIDTH, seed=seed + 1, start=start, stream=streams.DATA)
    bent = np.tanh((0.5 * inner + centres[np.arange(start, start + rows) % MODES]) @ first) @ second
    return torch.from_numpy((bent + 0.02 * noise).astype(np.float32))


def critic(rows: int, seed: int = 0) -> Tensor:
    """Return the features (N, 128) of the bundled generator's samples, of all its classes."""
    checkpoint = marginal(load(BUNDLED[0]))
    latents = checkpoint.generator.prior.sample(rows, seed=seed)
    return sample_features(checkpoint.generator, latents, "critic", critic=checkpoint.critic)


DATA = {"manifold": manifold, "critic": critic}


def cost(script: str, folder: Path, cache: str, landmarks: int = 0) -> tuple[float, Tensor]:
    """Lay the rows in a folder out in a process of its own, on one thread; return its processor seconds and places."""
    threads = {f"{name}_NUM_THREADS": "1" for name in ("OMP", "MKL", "OPENBLAS", "NUMBA")}
    environment = {**threads, "NUMBA_CACHE_DIR": str(folder / cache), "PYTHONWARNINGS": "ignore"}
    rows, points = folder / "rows.npy", folder / "points.npy"
    spent = process(python("-c", script, str(rows), str(points), str(landmarks)), environment=environment)
    return spent.cpu, torch.from_numpy(np.load(points))


def compare(name: str, count: int, folder: Path, landmarks: int) -> tuple[list[dict[str, Any]], list[Ratio]]:
    """Return what umap-learn and we need for `count` rows of a kind, and how well it is done.

    Args:
        name: of the rows.
        count: of them.
        folder: for files.
        landmarks: how many a further layout is made by, 0 for none.
    """
    rows, found = DATA[name](count), []
    np.save(folder / "rows.npy", rows.numpy())
    # What is compiled is kept, each by its own: the first process of either is told apart.
    tried = [] if (folder / "theirs").exists() else [("umap-learn, first", THEIRS, "theirs", 0)]
    tried += [("umap-learn", THEIRS, "theirs", 0)]
    tried += [] if (folder / "ours").exists() else [("latentkit, first", OURS, "ours", count)]
    tried += [("latentkit, later", OURS, "ours", count)]
    tried += [(f"{landmarks:,} landmarks", OURS, "ours", landmarks)] if landmarks else []
    for who, script, cache, fitted in tried:
        took, points = cost(script, folder, cache, max(fitted, NEIGHBOURS + 1))
        trust, kept = (float(one.mean()) for one in faithfulness(rows, points, sampled(count, 0), k=NEIGHBOURS))
        row = {"data": name, "rows": count, "who": who, "cpu_seconds": took}
        found.append({**row, "trustworthiness": trust, "preservation": kept})
        print(f"{name:9} {count:7,}  {who:17} {took:7.1f} s  {trust:.4f}  {kept:.3f}", flush=True)
    later = next(row for row in found if row["who"] == "latentkit, later")
    theirs = next(row for row in found if row["who"] == "umap-learn")
    told = f"{count:,} rows, {name}"
    ratios = [
        at_least(
            f"processor time of umap-learn / ours, {told}",
            theirs["cpu_seconds"] / later["cpu_seconds"],
            TARGETS.get(count, 1.0),
            limit="the descent over the graph's edges, which both make, and its epochs",
        ),
        at_least(
            f"trustworthiness of ours / umap-learn's, {told}",
            later["trustworthiness"] / theirs["trustworthiness"],
            0.99,
            limit="both descend the same graph",
        ),
    ]
    if landmarks:
        ratios.append(
            at_least(
                f"trustworthiness by {landmarks:,} landmarks / of all rows, {told}",
                found[-1]["trustworthiness"] / later["trustworthiness"],
                0.98,
                limit="a row is placed between its 15 nearest landmarks",
            )
        )
    return found, ratios


def null_table(counts: tuple[int, ...]) -> tuple[list[dict[str, Any]], list[Ratio]]:
    """Return the trustworthiness of layouts of structureless rows, and of rows with structure, and what is claimed."""
    from sklearn.datasets import load_digits

    pixels, _ = load_digits(return_X_y=True)
    cases: list[tuple[str, int, Tensor]] = [
        ("digits' pixels", 0, torch.from_numpy(pixels).float()),
        ("critic features", 0, critic(2000)),
    ]
    for kind, prior in (("normal", Normal), ("uniform", Uniform)):
        for count in counts:
            cases += [(f"{kind} {d}-D", d, prior(d).sample(count, seed=1)) for d in DIMENSIONS]
    found, lowest, highest = [], dict.fromkeys(NOISE, 1.0), dict.fromkeys(NOISE, 0.0)
    for name, width, rows in cases:
        row: dict[str, Any] = {"rows": name, "count": len(rows)}
        for method in NOISE:
            if method != "tsne" or len(rows) <= TSNE:
                row[method] = project(rows, method).trustworthiness
                if width == 0:
                    lowest[method] = min(lowest[method], row[method])
                elif width >= 16 and name.startswith("normal"):
                    highest[method] = max(highest[method], row[method])
        found.append(row)
        figures = "  ".join(f"{method} {row[method]:.3f}" for method in NOISE if method in row)
        print(f"{name:16} {len(rows):5,}  {figures}", flush=True)
    ratios = []
    for method, noise in NOISE.items():
        what = f"limit of {method}'s shows_nothing"
        near = "in few dimensions noise has neighbours, too"
        ratios += [
            at_most(f"normal rows of 16-D and more / {what}", highest[method] / noise, 1.0, limit=near),
            at_least(f"rows with structure / {what}", lowest[method] / noise, 1.0, limit=near),
        ]
    return found, ratios


def main(argv: list[str] | None = None) -> int:
    """Print the table."""
    options = parser(__doc__)
    options.add_argument("--rows", type=int, nargs="+", default=[10_000, 50_000])
    options.add_argument("--data", choices=sorted(DATA), nargs="+", default=["manifold", "critic"])
    options.add_argument("--landmarks", type=int, default=10_000, help="of the largest layout by landmarks")
    options.add_argument("--null", action="store_true", help="what layouts of structureless rows reach, as well")
    options.add_argument("--counts", type=int, nargs="+", default=COUNTS, help=argparse.SUPPRESS)
    arguments = parsed(options, argv, quick={"rows": [300], "landmarks": 100, "counts": [100]})
    torch.set_num_threads(1)
    found: list[dict[str, Any]] = []
    ratios: list[Ratio] = []
    nothing: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as folder:
        for name in arguments.data:
            for count in sorted(arguments.rows) if name == "manifold" else [min(arguments.rows)]:
                by = arguments.landmarks if (name, count) == ("manifold", max(arguments.rows)) else 0
                rows, claimed = compare(name, count, Path(folder), by)
                found, ratios = found + rows, ratios + claimed
    if arguments.null:
        nothing, claimed = null_table(tuple(arguments.counts))
        ratios += claimed
    return concluded(arguments, ratios, rows=found, null=nothing)


if __name__ == "__main__":
    sys.exit(main())
