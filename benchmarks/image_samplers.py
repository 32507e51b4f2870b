"""The samplers that `benchmarks.images` compares: each row's name, and what fits it."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

import latentkit as lk
from latentkit.calibration import CalibratedCritic, score
from latentkit.errors import CostError
from latentkit.sampling.guided import Cost, GuidedSample, drift
from latentkit.support import Support, fit_support

__all__ = ["MATCHED", "PAIRS", "SAMPLES", "Case", "Draw", "rows"]

SAMPLES, SEED = 3_000, 1
MATCHED, POOL, CHOICES = 6_000, 40_000, 10
COMPONENTS = 100  # of the pixels
PAIRS = 2_000  # a side, for calibration and copy ratios
BUDGET = 5.0  # evaluations a kept sample, where a cap is chosen for them

#: A draw: the number of the first candidate to a sample.
Draw = Callable[[int], GuidedSample]


@dataclass(frozen=True)
class Case:
    """A generator and what its samplers may use: its critic, training images, and images held out of its training."""

    name: str
    generator: Any
    critic: Any
    train: Tensor
    held_out: Tensor
    parts: tuple[tuple[Any, Any, Tensor], ...] = ()

    def critic_features(self, x: Tensor) -> Tensor:
        """Return what the critic's score is a linear function of, (N, F)."""
        with torch.no_grad():
            return torch.cat([self.critic.features(part) for part in x.split(64)])


@dataclass(frozen=True)
class Components:
    """The principal components of pixels: images to (N, 100)."""

    middle: Tensor
    axes: Tensor

    def __call__(self, x: Tensor, /) -> Tensor:
        """Return the components (N, 100) of images (N, 1, 32, 32)."""
        return (x.flatten(1) - self.middle) @ self.axes


def components(images: Tensor) -> Components:
    """Return the components of images (N, 1, 32, 32) that vary most."""
    flat = images.flatten(1)
    middle = flat.mean(0)
    _, axes = torch.linalg.eigh((flat - middle).T @ (flat - middle))
    return Components(middle, axes[:, -COMPONENTS:].contiguous())


@dataclass(frozen=True)
class Both:
    """Two feature spaces side by side, each scaled to the same mean square."""

    first: Callable[[Tensor], Tensor]
    second: Callable[[Tensor], Tensor]
    scales: tuple[float, float]

    def __call__(self, x: Tensor, /) -> Tensor:
        """Return features (N, F) of images."""
        return torch.cat([self.first(x) / self.scales[0], self.second(x) / self.scales[1]], dim=1)


def both(first: Callable[[Tensor], Tensor], second: Callable[[Tensor], Tensor], images: Tensor) -> Both:
    """Return both feature spaces, scaled on images."""
    one, other = (float(f(images).square().sum(1).mean().sqrt()) for f in (first, second))
    return Both(first, second, (one, other))


def plain(case: Case) -> Draw:
    """Return the generator's own draws, counted like those of a sampler."""

    def draw(start: int) -> GuidedSample:
        latents = case.generator.prior.sample(SAMPLES, seed=SEED, start=start)
        return drawn(case, latents, start)

    return draw


def drawn(case: Case, latents: Tensor, start: int) -> GuidedSample:
    """Return the samples of latents, one evaluation each."""
    return GuidedSample(
        latents=latents,
        samples=lk.generate(case.generator, latents),
        log_ratio=torch.zeros(len(latents)),
        method="plain",
        target="the candidates' law",
        seed=SEED,
        start=start,
        next=start + len(latents),
        acceptance=1.0,
        ess=float(len(latents)),
        cost=Cost(1.0, 0.0),
        drift=drift(case.generator.prior, latents),
    )


def gate(case: Case, critic: Any, threshold: float, proposal: Any = None) -> Draw:
    """Return draws that pass a gate."""
    return lambda start: lk.gated(
        case.generator, critic, SAMPLES, threshold=threshold, seed=SEED, start=start, proposal=proposal
    )


def gate_by_class(case: Case, quantile: float) -> Draw:
    """Return draws with a gate and an equal share for each class, as in the data."""
    each = SAMPLES // len(case.parts)
    thresholds = [lk.gate_threshold(critic, real, quantile) for _, critic, real in case.parts]

    def draw(start: int) -> GuidedSample:
        parts = [
            lk.gated(generator, critic, each, threshold=least, seed=SEED + k, start=start)
            for k, ((generator, critic, _), least) in enumerate(zip(case.parts, thresholds, strict=True))
        ]
        whole = lk.joined(parts, case.parts[0][0].prior)
        return replace(whole, next=max(part.next for part in parts))

    return draw


def budgeted_cap(case: Case, critic: CalibratedCritic) -> float:
    """Return the cap of the log ratio at which rejection takes `BUDGET` evaluations a kept sample (Verine et al.)."""
    latents = case.generator.prior.sample(PAIRS, seed=SEED + 1)
    logits = score(critic, lk.generate(case.generator, latents)).double()
    low, high = float(logits.min()), float(logits.max())
    for _ in range(50):
        cap = 0.5 * (low + high)
        cheap = float((logits.clamp(max=cap) - cap).exp().mean()) * BUDGET > 1.0
        low, high = (cap, high) if cheap else (low, cap)
    return 0.5 * (low + high)


def refused(reason: CostError) -> Draw:
    """Return draws that end in an error."""

    def draw(start: int) -> GuidedSample:
        raise reason

    return draw


def rows(case: Case) -> Iterator[tuple[str, Callable[[], Draw]]]:
    """Yield each row's name, and what fits its sampler."""
    own, generator = case.critic, case.generator

    def ratio() -> CalibratedCritic:
        fakes = lk.generate(generator, generator.prior.sample(PAIRS, seed=SEED + 2))
        return lk.calibrate(own, case.held_out, fakes).applied(own)

    def candidates(method: Callable[..., GuidedSample], critic: Any, **options: Any) -> Draw:
        return lambda start: method(generator, critic, SAMPLES, seed=SEED, start=start, **options)

    yield "plain", lambda: plain(case)
    for share in (0.01, 0.05, 0.2):
        yield (
            f"gate, own critic at {share:.0%}",
            lambda share=share: gate(case, own, lk.gate_threshold(own, case.held_out, share)),
        )
    if case.parts:
        yield "gate at 5%, by class", lambda: gate_by_class(case, 0.05)
    pixels = components(case.train)
    together = both(case.critic_features, pixels, case.held_out)
    spaces = {"critic's features": case.critic_features, "pixels": pixels, "both": together}
    supports: dict[str, Support] = {}

    def support(space: str) -> Support:
        if space not in supports:
            supports[space] = fit_support(case.train[:MATCHED], case.held_out, features=spaces[space])
        return supports[space]

    for space in ("critic's features", "pixels"):
        yield f"gate by support, {space}", lambda space=space: gate(case, support(space), 0.0)

    yield "own critic, rejection", lambda: candidates(lk.rejection, ratio())
    yield "own critic, resampling", lambda: candidates(lk.resampling, ratio())

    def amortised() -> Draw:
        critic = ratio()
        return candidates(lk.amortised, critic, weights=lk.fit_latent_weights(generator, critic, seed=SEED))

    yield "own critic, amortised", amortised

    def opinion() -> CalibratedCritic:
        fresh = lk.second_opinion(generator, case.train, seed=SEED, start=own, steps=400)
        # It knows its training images, so that others say what its logits are worth.
        fakes = lk.generate(generator, generator.prior.sample(PAIRS, seed=SEED + 2))
        calibration = lk.calibrate(fresh.critic, case.held_out, fakes)
        mine = lk.calibrate(own, case.held_out, fakes)
        print(f"  second opinion, {fresh.seconds:.0f} s: log loss {calibration.log_loss:.3f}, ", end="")
        print(f"own critic's {mine.log_loss:.3f}; {calibration.explanation}", flush=True)
        return calibration.applied(fresh.critic)

    kept: list[CalibratedCritic] = []

    def unbounded() -> Draw:
        kept.append(opinion())
        return candidates(lk.rejection, kept[0])

    yield "second opinion, rejection", unbounded
    yield (
        f"second opinion, {BUDGET:.0f} evaluations",
        lambda: candidates(lk.rejection, kept[0], cap=budgeted_cap(case, kept[0])),
    )

    matchings: dict[str, lk.Matching] = {}

    def matched(space: str, choices: int = CHOICES, again: bool = False, spread: float = 0.0) -> Draw:
        train = case.train[MATCHED : 2 * MATCHED] if again else case.train[:MATCHED]
        given = fit_support(train, case.held_out, features=spaces[space]) if again else support(space)
        matching = lk.match_latents(
            generator,
            train,
            case.held_out,
            pool=POOL,
            choices=choices,
            spread=0.0,
            support=given,
            seed=SEED + again,
            batch_size=64,
        )
        matchings.setdefault(space, matching)
        share = len(matching.latents) / len(matching.match)
        print(f"  matched: {share:.1%} distinct, holes {float(matching.holes.double().mean()):.1%}", flush=True)
        return moves(matching, spread)

    def moves(matching: lk.Matching, spread: float) -> Draw:
        moved = matching.with_spread(spread)
        return lambda start: drawn(case, moved.sample(SAMPLES, seed=SEED, start=start), start)

    yield "matched to the nearest, critic's features", lambda: matched("critic's features", choices=1)
    yield "matched one to one, critic's features", lambda: matched("critic's features")
    yield "matched one to one, pixels", lambda: matched("pixels")
    yield "matched one to one, both", lambda: matched("both")
    yield "the same, other images and pool", lambda: matched("both", again=True)
    yield "matched, both, moved a quarter as far", lambda: moves(matchings["both"], 0.25)
    for share in (0.01, 0.05):
        yield (
            f"matched, both, gate at {share:.0%}",
            lambda share=share: gate(case, own, lk.gate_threshold(own, case.held_out, share), matchings["both"]),
        )
