"""Claim: `project` lays the same rows out in a fraction of umap-learn's processor time, as faithfully.

    python -m benchmarks.projection [--rows 10000 50000] [--data manifold critic] [--null] [--json FILE]

Each layout is made in a process of its own, with one thread, and what counts is all processor time of that process
(user and system), imports and compiling included. umap-learn is called as people call it,
`umap.UMAP(random_state=0).fit_transform(x)`; ours is `project(x)`, which also judges the layout. latentkit keeps
compiled kernels on disk: `first` is a process that finds none, `later` one that finds them. Both layouts are judged by
the same code: trustworthiness and neighbour preservation over 15 neighbours of 1,000 rows.

`manifold` is a mixture of ten normal distributions in 8 dimensions, bent into 128 by a random network with a little
noise. `critic` is the 128 last features in which the bundled generator's critic sees its samples.

With `--null` it prints instead what a layout of nothing looks like: trustworthiness of layouts of normal and uniform
rows in 2 to 512 dimensions, beside those of real structure. The limit below which `Projection.shows_nothing` is set
from this table.
"""

import argparse
import os
import resource
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from latentkit import streams
from latentkit.bundled import BUNDLED
from latentkit.checkpoint import load
from latentkit.conditional import marginal
from latentkit.files import write_json
from latentkit.priors import Normal, Uniform
from latentkit.projection import faithfulness, project, sample_features
from latentkit.projection.faith import sampled

NEIGHBOURS, MODES, INNER, WIDTH = 15, 10, 8, 128

#: Processor time is to fall by so much: rows to factor.
TARGETS = {10_000: 4.0, 50_000: 1.8}

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
np.save(sys.argv[2], lk.project(torch.from_numpy(np.load(sys.argv[1]))).points.numpy())
"""


def manifold(rows: int, seed: int = 0) -> Tensor:
    """Return rows (N, 128) float32 of ten clusters, each a bent sheet of 8 dimensions."""
    inner = streams.normal(rows, INNER, seed=seed, stream=streams.DATA)
    centres = 1.5 * streams.normal(MODES, INNER, seed=seed, stream=streams.MEASURES)
    first = streams.normal(INNER, 64, seed=seed + 1, stream=streams.MEASURES) / INNER**0.5
    second = streams.normal(64, WIDTH, seed=seed + 2, stream=streams.MEASURES) / 8.0
    noise = streams.normal(rows, WIDTH, seed=seed + 1, stream=streams.DATA)
    bent = np.tanh((0.5 * inner + centres[np.arange(rows) % MODES]) @ first) @ second
    return torch.from_numpy((bent + 0.02 * noise).astype(np.float32))


def critic(rows: int, seed: int = 0) -> Tensor:
    """Return the features (N, 128) of the bundled generator's samples, of all its classes."""
    checkpoint = marginal(load(BUNDLED[0]))
    latents = checkpoint.generator.prior.sample(rows, seed=seed)
    return sample_features(checkpoint.generator, latents, "critic", critic=checkpoint.critic)


DATA = {"manifold": manifold, "critic": critic}


def seconds(script: str, rows: Path, out: Path, cache: Path) -> float:
    """Run a script in a process of its own, on one thread, and return its processor seconds."""
    threads = {f"{name}_NUM_THREADS": "1" for name in ("OMP", "MKL", "OPENBLAS", "NUMBA")}
    root = str(Path(__file__).resolve().parent.parent)
    environment = {**os.environ, **threads, "NUMBA_CACHE_DIR": str(cache), "PYTHONPATH": root}
    environment["PYTHONWARNINGS"] = "ignore"
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, "-c", script, str(rows), str(out)], env=environment, check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def compare(name: str, count: int, folder: Path) -> list[dict[str, Any]]:
    """Return what umap-learn and we need for `count` rows of a kind, and how well it is done."""
    rows, found = DATA[name](count), []
    np.save(folder / "rows.npy", rows.numpy())
    for who, script, cache in (
        ("umap-learn", THEIRS, "theirs"),
        ("umap-learn", THEIRS, "theirs"),
        ("latentkit, first", OURS, f"ours-{name}-{count}"),
        ("latentkit, later", OURS, f"ours-{name}-{count}"),
    ):
        took = seconds(script, folder / "rows.npy", folder / "points.npy", folder / cache)
        points = torch.from_numpy(np.load(folder / "points.npy"))
        trust, kept = faithfulness(rows, points, sampled(count, 0), k=NEIGHBOURS)
        found.append(
            {
                "data": name,
                "rows": count,
                "who": who,
                "cpu_seconds": took,
                "trustworthiness": float(trust.mean()),
                "preservation": float(kept.mean()),
            }
        )
        print(
            f"{name:9} {count:7,}  {who:17} {took:7.1f} s  {float(trust.mean()):.4f}  {float(kept.mean()):.3f}",
            flush=True,
        )
    # The better of umap-learn's two processes: the first may compile what it keeps as well.
    factor = min(found[0]["cpu_seconds"], found[1]["cpu_seconds"]) / found[3]["cpu_seconds"]
    wanted = f", wanted at least {TARGETS[count]:g}" if count in TARGETS else ""
    print(f"{name:9} {count:7,}  {factor:.2f} times less{wanted}\n", flush=True)
    return found


def null_table() -> list[dict[str, Any]]:
    """Return the trustworthiness of layouts of structureless rows, and of rows with structure."""
    from sklearn.datasets import load_digits

    pixels, _ = load_digits(return_X_y=True)
    cases: list[tuple[str, Tensor]] = [
        ("digits' pixels", torch.from_numpy(pixels).float()),
        ("critic features", critic(2000)),
    ]
    for kind, prior in (("normal", Normal), ("uniform", Uniform)):
        for count in (500, 1000, 2000, 4000):
            cases += [(f"{kind} {d}-D", prior(d).sample(count, seed=1)) for d in (2, 4, 8, 12, 16, 32, 64, 128, 512)]
    found = []
    for name, rows in cases:
        row: dict[str, Any] = {"rows": name, "count": len(rows)}
        for method in ("umap", "pca", "tsne"):
            if method != "tsne" or len(rows) <= 2000:
                row[method] = project(rows, method).trustworthiness
        found.append(row)
        figures = "  ".join(f"{method} {row[method]:.3f}" for method in ("umap", "pca", "tsne") if method in row)
        print(f"{name:16} {len(rows):5,}  {figures}", flush=True)
    return found


def main(argv: list[str] | None = None) -> int:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, nargs="+", default=[10_000, 50_000])
    parser.add_argument("--data", choices=sorted(DATA), nargs="+", default=["manifold"])
    parser.add_argument("--null", action="store_true", help="what layouts of structureless rows reach, instead")
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args(argv)
    torch.set_num_threads(1)
    if arguments.null:
        found = null_table()
    else:
        with tempfile.TemporaryDirectory() as folder:
            found = [
                row for name in arguments.data for count in arguments.rows for row in compare(name, count, Path(folder))
            ]
    if arguments.json:
        write_json(arguments.json, found)
    return 0


if __name__ == "__main__":
    sys.exit(main())
