"""Claim: lk.generate and lk.score_latents are as fast as the best loop that is tuned by hand for one network.

    python -m benchmarks.generation [--threads 1] [--rounds 9] [--compile] [--json FILE]

Two generators, each with its critic: the published DCGAN for colour images of 64x64 (width 64, 100 latents, untrained,
which costs the same) and the bundled one of Fashion-MNIST over all its classes. For each, and for sampling alone and
sampling with scores, five loops make the same samples, into new memory each time:

- one latent at a time, as people write it, without gradients;
- 64 at a time, without gradients;
- tuned by hand: the fastest, found by a search, of each batch size of 16 to 256 with each of: the network as it is,
  with its weights channels last, with batch norm folded, that traced and frozen, with the last layer as a matrix
  product, with private kernels that fuse convolution and ReLU and take packed weights, and compiled (`--compile`),
  all in inference mode. Its preparation is not counted. With scores the generator runs in the way that was best for
  sampling, and the critic as it is, channels last, or folded and in place;
- ours, as it is called, preparation counted, with the batch size that `measured_batch` finds before;
- the last two in bfloat16, where the processor has it.

The loops take turns; a ratio is the median of the rounds' ratios. The first two, whose ratios are large, take a third
of the rounds. With one thread time is that of the processor, which neighbours on the machine spoil less; with more it
is the wall's. The floor is torch's count of operations over the rate of products of large matrices, measured in the
same run.
"""

import copy
import os
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

import latentkit as lk
from benchmarks.claims import Ratio, at_least, concluded, number, parsed, parser
from benchmarks.clocks import Rounds, interleaved, timed
from benchmarks.handtuned import Way, critic_ways, generator_ways
from benchmarks.profiles import operations_of
from benchmarks.rates import DTYPES, product_rate
from latentkit.errors import ArgumentError
from latentkit.nets import DCGANCritic, DCGANGenerator
from latentkit.nets.fitting import initialised
from latentkit.quality import score_latents
from latentkit.sampling.batches import measured_batch
from latentkit.sampling.prepared import prepared
from latentkit.tables import aligned

BATCHES = (16, 32, 64, 128, 256)
USUAL, WANTED, MANY = 64, 0.95, 2.0
#: Loops without tuning.
PLAIN = ("one at a time", "64 at a time")
#: One latent at a time is measured on so small a share of the latents.
ALONE = 16


@dataclass(frozen=True)
class Case:
    """A generator and a critic: the models, and what their networks take.

    Attributes: `name`; `generator`, a plain `Generator`; `critic`; `network`, the generator's; `latents` (N, D);
    `inputs` (N, D'), what the network's first layer takes for them.
    """

    name: str
    generator: Any
    critic: Any
    network: Any
    latents: Tensor
    inputs: Tensor


def dcgan(count: int) -> Case:
    """Return the published networks for 64x64x3, untrained but with statistics that batch norm cannot skip."""
    network = initialised(lambda: DCGANGenerator(100, 3, 64, 64), 0).eval().requires_grad_(False)
    critic = initialised(lambda: DCGANCritic(3, 64, 64), 1).eval().requires_grad_(False)
    generator = lk.wrap(network, lk.Normal(100))
    latents = generator.prior.sample(count, seed=0)
    return Case("DCGAN, 64x64x3", generator, critic, network, latents, latents)


def bundled(count: int) -> Case:
    """Return the bundled networks over all classes."""
    kept = lk.load("fashion-mnist")
    whole: Any = lk.marginal(kept).generator
    latents = whole.prior.sample(count, seed=0)
    columns = functional.one_hot(whole.labels(latents), len(whole.classes)).float()
    inputs = torch.cat([whole.inner(latents), columns], 1)
    return Case("bundled, 32x32x1", whole, kept.critic, whole.module.module, latents, inputs)


def looped(run: Callable[[Tensor], Tensor], inputs: Tensor, size: int) -> Callable[[], Tensor]:
    """Return a loop over batches that fills new memory, as whoever keeps the samples needs."""
    with torch.no_grad():
        shape = run(inputs[:size]).shape[1:]

    def loop() -> Tensor:
        out = torch.empty((len(inputs), *shape))
        with torch.no_grad():
            for start in range(0, len(inputs), size):
                out[start : start + size] = run(inputs[start : start + size])
        return out

    return loop


def tuned(ways: list[Way], inputs: Tensor, clock: Any, *, precision: str) -> tuple[str, int, Any]:
    """Search for the fastest way and batch size; return the way's name, the size, and a loop over all inputs."""

    def entered(run: Any) -> Any:
        def inside(x: Tensor) -> Tensor:
            with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16, enabled=precision == "bfloat16"):
                return run(x).float()

        return inside

    tried: dict[tuple[str, int], float] = {}
    part = inputs[: max(BATCHES)]
    runs: dict[str, Any] = {}
    for way in ways:
        try:
            with torch.no_grad():
                for size in sizes_of(way.name, len(part)):
                    entered(way.run)(part[:size])
        except Exception as error:  # private kernels and the compiler know their own limits
            print(f"  {way.name}: not here ({str(error).splitlines()[0][:80]})", flush=True)
            continue
        runs[way.name] = entered(way.run)
    loops = {(name, size): looped(run, part, size) for name, run in runs.items() for size in sizes_of(name, len(part))}
    for found in range(3):
        for key, loop in loops.items():
            if found and tried[key] > 1.3 * min(tried.values()):
                continue
            tried[key] = min(tried.get(key, float("inf")), timed(loop, clock)())
    name, size = min(tried, key=lambda key: tried[key])
    return name, size, looped(runs[name], inputs, size)


def sizes_of(name: str, most: int) -> tuple[int, ...]:
    """Return the batch sizes that a way is tried with: a compiled one with that which it is compiled for."""
    return (USUAL,) if "compiled" in name else tuple(size for size in BATCHES if size <= most)


def joined(generator: list[Way], critic: list[Way]) -> list[Way]:
    """Return the ways to sample and score, each of the one with each of the other."""

    def both(first: Any, second: Any) -> Any:
        return lambda x: second(first(x))

    return [Way(f"{a.name}; critic {b.name}", both(a.run, b.run)) for a in generator for b in critic]


def checked(ours: Tensor, theirs: Tensor, within: float) -> float:
    """Return how far apart two loops' results are, as a share of the largest, or raise if that is not rounding."""
    apart = float((ours - theirs).abs().max() / theirs.abs().max())
    if apart > within:
        raise ValueError(f"the loops disagree by {apart:.2g} of the largest number")
    return apart


def compare(case: Case, what: str, ways: list[Way], rounds: int, clock: Any, rate: dict[str, float]) -> dict[str, Any]:
    """Measure the loops of a case; `what` is "sampling" or "scoring", by hand in one of these ways."""
    scoring = what == "scoring"
    critic: Any = case.critic if scoring else None

    def plain(z: Tensor) -> Tensor:
        return critic(case.generator(z)) if scoring else case.generator(z)

    sizes: dict[str, int] = {}

    def ours(precision: str) -> Callable[[], Tensor]:
        size = sizes[precision] = measured_batch(case.generator, critic=critic, precision=precision)
        if scoring:
            return lambda: score_latents(case.generator, critic, case.latents, batch_size=size, precision=precision)
        return lambda: lk.generate(case.generator, case.latents, batch_size=size, precision=precision)

    hand = {"float32": tuned(ways, case.inputs, clock, precision="float32")}
    runs: dict[str, Any] = {
        "one at a time": looped(plain, case.latents[: len(case.latents) // ALONE], 1),
        "64 at a time": looped(plain, case.latents, USUAL),
        "by hand": hand["float32"][2],
        "ours": ours("float32"),
    }
    try:
        prepared(case.generator, precision="bfloat16")
        hand["bfloat16"] = tuned(ways, case.inputs, clock, precision="bfloat16")
        runs |= {"by hand, bfloat16": hand["bfloat16"][2], "ours, bfloat16": ours("bfloat16")}
    except ArgumentError as error:
        print(f"  {error}", flush=True)
    results = {name: run() for name, run in runs.items() if name != "one at a time"}
    rounding = checked(results["ours"], results["64 at a time"], 1e-4)
    clocked = {name: timed(run, clock) for name, run in runs.items()}
    slow = interleaved({name: clocked[name] for name in (*PLAIN, "ours")}, -(-rounds // 3))
    found = interleaved({name: run for name, run in clocked.items() if name not in PLAIN}, rounds)
    seconds = {name: (slow if name in PLAIN else found).median(name) for name in runs}
    seconds["one at a time"] *= ALONE
    with torch.no_grad():
        operations = operations_of(lambda: plain(case.latents[:8])) / 8
    rows = [[case.name, what, "loop", "a second", "of 64 at a time", "of the floor"]]
    for name, took in seconds.items():
        precision = "bfloat16" if "bfloat16" in name else "float32"
        floor = operations * len(case.latents) / rate[precision]
        way = f" ({hand[precision][0]}, {hand[precision][1]} at a time)" if name.startswith("by hand") else ""
        way = f" ({sizes[precision]} at a time)" if name.startswith("ours") else way
        figures = [len(case.latents) / took, seconds["64 at a time"] / took, floor / took]
        rows.append(["", "", name + way, f"{figures[0]:,.0f}", number(figures[1]), number(figures[2])])
    print("\n" + aligned(rows), flush=True)
    print(f"ours and 64 at a time differ by {rounding:.1g} of the largest number", flush=True)
    if "ours, bfloat16" in results:
        gap = (results["ours, bfloat16"] - results["ours"]).abs()
        print(f"bfloat16 differs by {float(gap.mean()):.2g} on average, {float(gap.max()):.2g} at most", flush=True)
    ratios = ratios_of(case, what, slow, found, seconds, operations * len(case.latents) / rate["float32"])
    return {
        "case": case.name,
        "what": what,
        "seconds": {**slow.seconds, **found.seconds},
        "by_hand": {precision: {"way": name, "batch_size": size} for precision, (name, size, _) in hand.items()},
        "measured_batch": sizes,
        "rounding": rounding,
        "operations_a_latent": operations,
        "ratios": ratios,
        "rows": rows,
    }


def ratios_of(
    case: Case, what: str, slow: Rounds, found: Rounds, seconds: dict[str, float], floor: float
) -> list[Ratio]:
    """Return what is claimed of a case: `slow` are the rounds against plain loops, `found` those against tuned ones."""
    function = "score_latents" if what == "scoring" else "generate"
    share = floor / seconds["ours"]
    arithmetic = (
        f"arithmetic: {share:.0%} of the time is what products of large matrices would take for as many operations"
    )
    small = "the rest is small layers whose products don't fill the processor's registers, and moving maps"
    limit = arithmetic if share > 0.8 else f"{arithmetic}; {small}"
    many = f"a call of a small layer costs as much as some of its work; {limit}"
    best = found.ratio("by hand", "ours")
    alone = slow.ratio("one at a time", "ours") * ALONE
    ratios = [
        at_least(f"{function} / tuned by hand, {case.name}", best, WANTED, limit=limit),
        at_least(f"{function} / one latent at a time, {case.name}", alone, MANY, limit=many),
    ]
    if "ours, bfloat16" in seconds:
        half = found.ratio("by hand, bfloat16", "ours, bfloat16")
        why = "products in bfloat16 run at 2 to 3 times the rate, all that moves numbers does not"
        ratios.append(at_least(f"{function} / tuned by hand, bfloat16, {case.name}", half, WANTED, limit=why))
    return ratios


def main(argv: list[str] | None = None) -> int:
    """Measure and print."""
    options = parser(__doc__)
    options.add_argument("--threads", type=int, default=1)
    options.add_argument("--rounds", type=int, default=9)
    options.add_argument("--count", type=int, default=1024, help="latents of the DCGAN; the bundled one gets 8 times")
    options.add_argument("--compile", action="store_true", help="try torch.compile too, which takes a minute")
    arguments = parsed(options, argv, quick={"rounds": 1, "count": 64})
    torch.set_num_threads(arguments.threads)
    clock = time.process_time if arguments.threads == 1 else time.perf_counter
    rate = {name: product_rate(getattr(torch, name), clock=clock) for name in DTYPES}
    print(", ".join(f"{name} products {value / 1e9:.0f} GFLOP/s" for name, value in rate.items()), flush=True)
    before = copy.copy(os.environ.get("XDG_CACHE_HOME"))
    found: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as folder:
        os.environ["XDG_CACHE_HOME"] = folder  # batch sizes are measured anew
        try:
            for case in (dcgan(arguments.count), bundled(8 * arguments.count)):
                ways = generator_ways(case.network, case.inputs[:16], compile_too=arguments.compile)
                found.append(compare(case, "sampling", ways, arguments.rounds, clock, rate))
                best = {one["way"] for one in found[-1]["by_hand"].values()}
                both = joined([way for way in ways if way.name in best], critic_ways(case.critic))
                found.append(compare(case, "scoring", both, arguments.rounds, clock, rate))
        finally:
            if before is None:
                del os.environ["XDG_CACHE_HOME"]
            else:
                os.environ["XDG_CACHE_HOME"] = before
    ratios = [ratio for one in found for ratio in one.pop("ratios")]
    rows = [["generator", "work", *found[0]["rows"][0][2:]]]
    for one in found:
        rows += [[one["case"], one["what"], *row[2:]] for row in one.pop("rows")[1:]]
    return concluded(arguments, ratios, tables={"generation": rows}, rates=rate, cases=found)


if __name__ == "__main__":
    sys.exit(main())
