"""Claim: what one latent, sample, score, block and point costs here, and what a billion would on many machines.

    python -m benchmarks.unit_costs [--rounds 5] [--gpus 100] [--tflops 20] [--page docs/scale.md] [--json FILE]

Work is measured on one thread, in that thread's own processor time, so that a busy machine changes little; blocks in
wall time, since they wait for the disk and for Ray. What a GPU would take is worked out from the operations that a
network needs and the rate that is assumed for the card (`--tflops`, sustained), as the page says. `--page` puts both
tables between their markers in a page.
"""

import argparse
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.utils.flop_counter import FlopCounterMode

import latentkit as lk
from benchmarks.claims import concluded, number, parsed, parser
from benchmarks.clocks import interleaved, timed
from benchmarks.machine import machine, told, versions
from benchmarks.runner import put_tables
from latentkit.calibration import score
from latentkit.engines import run_blocks
from latentkit.nets import DCGANCritic, DCGANGenerator
from latentkit.nets.fitting import initialised
from latentkit.projection import project
from latentkit.quality.blocks import SCORES
from latentkit.sampling.prepared import prepared
from latentkit.sampling.stored import SampleWork, to_bytes
from latentkit.stores import Column, Store, create_store
from latentkit.stores.room import in_units
from latentkit.tables import aligned, markdown

#: What is worked out: so many latents, of blocks with so many rows.
BILLION, ROWS = 10**9, 2**16

KINDS = ("npy", "zarr", "parquet")


@dataclass(frozen=True)
class Case:
    """A generator with its critic, ready to run, and their operations a sample in GFLOP (a product and a sum are 2)."""

    name: str
    generator: lk.Generator
    critic: lk.Critic
    latents: int

    def gflops(self) -> tuple[float, float]:
        """Return the operations of a sample, and of its score."""
        z = self.generator.prior.sample(1, seed=0)
        found = []
        with torch.no_grad():
            x = self.generator(z)
            for run in (lambda: self.generator(z), lambda: self.critic(x)):
                with FlopCounterMode(display=False) as counter:
                    run()
                found.append(counter.get_total_flops() / 1e9)
        return found[0], found[1]


def dcgan(count: int) -> Case:
    """Return the published network for colour images of 64x64, untrained: what it costs does not depend on weights."""
    generator = initialised(lambda: DCGANGenerator(100, 3, 64, 64), 0).eval().requires_grad_(False)
    critic = initialised(lambda: DCGANCritic(3, 64, 64), 1).eval().requires_grad_(False)
    return Case("DCGAN 64x64x3", lk.wrap(generator, lk.Normal(100)), critic, count)


def bundled(count: int) -> Case:
    """Return the generator that comes with latentkit, of grey images 32x32 in ten classes."""
    checkpoint = lk.marginal(lk.load("fashion-mnist"))
    if checkpoint.critic is None:
        raise SystemExit("the bundled checkpoint has no critic")
    return Case("bundled 32x32", checkpoint.generator, checkpoint.critic, count)


def of_work(case: Case, rounds: int) -> dict[str, float]:
    """Return the seconds of one thread that a latent drawn, a sample, its score and its keeping take."""
    n, batch = case.latents, 64
    z = case.generator.prior.sample(n, seed=0)
    x = lk.generate(case.generator, z, batch_size=batch)
    quick = prepared(case.generator)
    judge = prepared(case.critic, probe=x[:4])
    drawn = 16 * n
    with tempfile.TemporaryDirectory() as folder:
        columns = SampleWork(case.generator, 0, batch, "uint8").columns(x[:1])
        stores = [
            create_store(Path(folder) / str(k), kind="npy", rows=n, block=n, columns=columns, plan={})
            for k in range(rounds + 1)
        ]
        left = iter(stores)
        labels = {"labels": np.zeros(n, np.int64)} if "labels" in columns else {}

        def keep() -> None:
            next(left).write(0, {"samples": to_bytes(x).numpy(), **labels})

        runs = {
            "draw": lambda: case.generator.prior.sample(drawn, seed=1),
            "generate": lambda: lk.generate(quick, z, batch_size=batch),
            "score": lambda: score(judge, x, batch_size=batch),
            "keep": keep,
        }
        found = interleaved({name: timed(run, time.process_time) for name, run in runs.items()}, rounds, warm_up=1)
    return {name: found.median(name) / (drawn if name == "draw" else n) for name in runs}


def of_bytes(case: Case, folder: Path) -> dict[str, float]:
    """Return the bytes on disk of a sample in each kind of store, and of a latent's scores, whose stores are npy."""
    n = case.latents
    x = to_bytes(lk.generate(case.generator, case.generator.prior.sample(n, seed=0))).numpy()
    numbers = np.random.default_rng(0).normal(size=n)
    scores = {name: (np.arange(n) if name == "index" else numbers).astype(c.dtype) for name, c in SCORES.items()}
    samples = {"samples": Column("uint8", x.shape[1:])}

    def size(name: str, kind: str, columns: Mapping[str, Column], arrays: Mapping[str, Any]) -> float:
        place = folder / f"{name}-{x.shape[-1]}"
        store = create_store(place, kind=kind, rows=n, block=n, columns=columns, plan={})
        store.write(0, arrays)
        store.finish()
        # What the store says of itself does not grow with the rows of a block.
        files = [path for path in place.rglob("*") if path.is_file() and not path.name.startswith("_")]
        return sum(path.stat().st_size for path in files) / n

    found = {kind: size(kind, kind, samples, {"samples": x}) for kind in KINDS}
    return found | {"scores": size("scores", "npy", SCORES, scores)}


class Nothing:
    """Work that costs nothing but says when it was done, so that what remains is the engine's."""

    def __call__(self, start: int, stop: int) -> Mapping[str, Any]:
        """Return the time."""
        return {"at": np.full(stop - start, time.time())}


def of_blocks(engine: str, blocks: int, folder: Path) -> dict[str, float]:
    """Return the seconds that an engine and the store add to a block, to a whole run, and to its end, a block."""
    store = create_store(
        folder / f"{engine}-blocks",
        kind="npy",
        rows=blocks,
        block=1,
        columns={"at": Column("float64")},
        plan={},
    )
    began = time.time()
    finished: list[float] = []

    class Closed(Store):
        """A store that says how long finishing took."""

        def finish(self) -> Store:
            start = time.time()
            done = super().finish()
            finished.append(time.time() - start)
            return done

    closing = Closed(store.path, store.kind, store.table, store.plan)
    done = run_blocks(closing, Nothing(), engine=engine, workers=2 if engine == "ray" else None)
    took, at = time.time() - began, np.sort(done["at"][:])
    span = float(at[-1] - at[0])
    return {
        "block": span / (blocks - 1),
        "run": max(took - span - finished[0], 0.0),
        "finish": finished[0] / blocks,
    }


def of_points(count: int, rounds: int) -> dict[str, float]:
    """Return the seconds of one thread that a new point's place in a fitted plane takes."""
    noise = torch.Generator().manual_seed(0)
    centres = 4.0 * torch.randn(10, 64, generator=noise)

    def features(n: int) -> torch.Tensor:
        return centres[torch.randint(10, (n,), generator=noise)] + torch.randn(n, 64, generator=noise)

    plane = project(features(count), "umap", seed=0)
    new = features(4 * count)
    found = interleaved({"place": timed(lambda: plane.transform(new), time.process_time)}, rounds, warm_up=1)
    return {"place": found.median("place") / len(new)}


def spelt(seconds: float) -> str:
    """Return seconds as people say them."""
    for unit, size in (("years", 365.25 * 86400), ("days", 86400), ("hours", 3600), ("minutes", 60), ("s", 1)):
        if seconds >= size:
            return f"{number(seconds / size)} {unit}"
    for unit, size in (("ms", 1e-3), ("\N{MICRO SIGN}s", 1e-6)):
        if seconds >= size:
            return f"{number(seconds / size)} {unit}"
    return f"{number(seconds / 1e-9)} ns"


def unit_rows(found: Mapping[str, Any]) -> list[list[str]]:
    """Return the table of unit costs."""
    rows = [["what", "symbol", *found["cases"]]]
    names = {
        "draw": ("a latent drawn", "d"),
        "generate": ("a sample generated", "g"),
        "score": ("a sample scored", "s"),
        "keep": ("a sample kept as bytes: rounded, hashed, written", "k"),
    }
    for name, (what, symbol) in names.items():
        rows.append([what, symbol, *(spelt(one[name]) for one in found["cases"].values())])
    rows.append(["operations of a sample, GFLOP", "", *(number(one["gflop"][0]) for one in found["cases"].values())])
    rows.append(["operations of a score, GFLOP", "", *(number(one["gflop"][1]) for one in found["cases"].values())])
    for kind in (*KINDS, "scores"):
        what = "a latent's scores on disk" if kind == "scores" else f"a sample on disk, {kind}"
        rows.append([what, "b", *(f"{one['bytes'][kind]:,.0f} bytes" for one in found["cases"].values())])
    both = [""] * (len(found["cases"]) - 1)
    for engine, costs in found["engines"].items():
        rows.append([f"a block, engine {engine} (wall)", "o", spelt(costs["block"]), *both])
        rows.append([f"a run's start and end, engine {engine} (wall)", "", spelt(costs["run"]), *both])
    rows.append(["the manifest at the end, a block (wall)", "", spelt(found["engines"]["local"]["finish"]), *both])
    rows.append(["a point placed in a fitted plane", "p", spelt(found["place"]), *both])
    return rows


def billion_rows(found: Mapping[str, Any], gpus: int, tflops: float) -> list[list[str]]:
    """Return what a billion latents would take on so many GPUs of a sustained rate, each with one thread beside it."""
    rows = [["a billion latents", *found["cases"]]]
    blocks = -(-BILLION // ROWS)
    overhead = found["engines"].get("ray", found["engines"]["local"])["block"]

    def add(what: str, value: Callable[[Mapping[str, Any]], str]) -> None:
        rows.append([what, *(value(one) for one in found["cases"].values())])

    def on_cpu(one: Mapping[str, Any], *parts: str) -> float:
        return BILLION * sum(one[part] for part in parts)

    def on_gpu(one: Mapping[str, Any], count: int) -> float:
        return BILLION * sum(one["gflop"][:count]) / (1e3 * tflops)

    def block_of(one: Mapping[str, Any]) -> float:
        """Return the seconds that a block of a map takes, whichever of the GPU and its thread is the slower."""
        return max(on_gpu(one, 2), on_cpu(one, "draw")) / blocks

    add("map, one thread of this machine: N (d + g + s)", lambda one: spelt(on_cpu(one, "draw", "generate", "score")))
    add(f"map, {gpus} such threads", lambda one: spelt(on_cpu(one, "draw", "generate", "score") / gpus))
    add(f"map, {gpus} GPUs: operations / rate", lambda one: spelt(on_gpu(one, 2) / gpus))
    add(f"meanwhile, latents drawn by {gpus} threads: N d / W", lambda one: spelt(on_cpu(one, "draw") / gpus))
    add("its scores on disk", lambda one: in_units(BILLION * one["bytes"]["scores"]))
    add(f"samples, {gpus} GPUs: operations / rate", lambda one: spelt(on_gpu(one, 1) / gpus))
    add(
        f"meanwhile, samples kept by {gpus} threads: N (d + k) / W",
        lambda one: spelt(on_cpu(one, "draw", "keep") / gpus),
    )
    for kind in KINDS:
        add(f"samples on disk, {kind}", lambda one, kind=kind: in_units(BILLION * one["bytes"][kind]))
    add(f"blocks of {ROWS:,} rows", lambda _: f"{blocks:,}")
    add("a block of a map on one GPU, or its thread if that is slower", lambda one: spelt(block_of(one)))
    add("all blocks handed out, one after another: B o", lambda _: spelt(blocks * overhead))
    add("work lost with a worker, at most: one block of all", lambda _: f"{100.0 / blocks:.4f} %")
    place = spelt(BILLION * found["place"] / gpus)
    add(f"all points placed in the plane, {gpus} threads: N p / W", lambda _: place)
    return rows


def main(argv: list[str] | None = None) -> int:
    """Measure and print."""
    options = parser(__doc__)
    options.add_argument("--rounds", type=int, default=5, help="how often each is measured (default 5)")
    options.add_argument(
        "--samples", type=int, default=1024, help="of the DCGAN; the bundled one makes 4 times as many"
    )
    options.add_argument("--blocks", type=int, default=200, help="of an engine (default 200)")
    options.add_argument("--points", type=int, default=4096, help="that the plane is fitted to (default 4096)")
    options.add_argument("--gpus", type=int, default=100, help="of the cluster on paper (default 100)")
    options.add_argument("--tflops", type=float, default=20.0, help="that each is assumed to sustain (default 20)")
    options.add_argument("--page", type=Path, metavar="FILE", help="put the tables between their markers there")
    options.add_argument("--without-ray", action="store_true", help="leave that engine out")
    quick = {"rounds": 1, "samples": 64, "blocks": 8, "points": 300, "without_ray": True}
    arguments = parsed(options, argv, quick=quick)
    torch.set_num_threads(1)
    found = measured(arguments)
    units, billion = unit_rows(found), billion_rows(found, arguments.gpus, arguments.tflops)
    about = told({"machine": machine(), "versions": versions()})
    print(aligned(units), aligned(billion), about, sep="\n\n", flush=True)
    if arguments.page is not None:
        assumed = f"Assumed: {arguments.gpus} GPUs that sustain {arguments.tflops:g} TFLOP/s each on these networks."
        tables = {
            "unit-costs": f"{markdown(units)}\n\nOne thread of {about}.",
            "a-billion": f"{markdown(billion)}\n\n{assumed}",
        }
        missing = put_tables(arguments.page, tables)
        if missing:
            raise SystemExit(f"{arguments.page} has no place for {', '.join(missing)}; add <!-- table NAME --> markers")
    return concluded(arguments, [], found=found, machine=machine(), versions=versions())


def measured(arguments: argparse.Namespace) -> dict[str, Any]:
    """Return all unit costs."""
    found: dict[str, Any] = {"cases": {}, "engines": {}}
    with tempfile.TemporaryDirectory() as home:
        for case in (dcgan(arguments.samples), bundled(4 * arguments.samples)):
            costs: dict[str, Any] = of_work(case, arguments.rounds)
            costs["gflop"] = case.gflops()
            costs["bytes"] = of_bytes(case, Path(home))
            found["cases"][case.name] = costs
        for engine in ("local",) if arguments.without_ray else ("local", "ray"):
            found["engines"][engine] = of_blocks(engine, arguments.blocks, Path(home))
    found |= of_points(arguments.points, arguments.rounds)
    return found


if __name__ == "__main__":
    raise SystemExit(main())
