"""The samplers that `benchmarks.toy_truth` compares: controls, published ones, and those that follow the data."""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor

import latentkit as lk
from latentkit import streams

__all__ = ["BATCH", "Drawn", "Setting", "controls", "ours", "published"]

COUNT, BATCH = 10_000, 4096


@dataclass(frozen=True)
class Setting:
    """One generator with its critic and real samples; `toy` is the truth, or None for the digits."""

    name: str
    generator: Any
    critic: Any
    train: Tensor
    held_out: Tensor
    toy: Any
    heavy: int


@dataclass(frozen=True)
class Drawn:
    """Samples with what they cost: evaluations each, seconds for 10,000, seconds to fit."""

    samples: Tensor
    evaluations: float
    seconds: float
    fit: float = 0.0
    note: dict[str, float] = field(default_factory=dict)


def timed(make: Callable[[], Any]) -> tuple[Any, float]:
    """Return what a function gives, and the CPU seconds that it took."""
    start = time.process_time()
    made = make()
    return made, time.process_time() - start


def taken(sample: Any, seconds: float, fit: float = 0.0) -> Drawn:
    """Return a sampler's result as a row."""
    return Drawn(sample.samples, sample.cost.generator, seconds * COUNT / len(sample), fit)


def controls(setting: Setting) -> Iterator[tuple[str, Callable[[], Drawn]]]:
    """Yield fresh real data, where there are more, and copies of the training data."""
    train = setting.train
    rows = torch.arange(COUNT) % len(train)
    jitter = 0.0005 * torch.from_numpy(streams.normal(COUNT, train.shape[1], seed=1)).float()
    if setting.toy is not None:
        yield "real data", lambda: Drawn(setting.toy.sample(COUNT, 12345), 0.0, 0.0)
    yield "copies of the training data", lambda: Drawn(train[rows] + jitter, 0.0, 0.0)


def published(setting: Setting) -> Iterator[tuple[str, Callable[[], Drawn]]]:
    """Yield the plain generator and the published samplers, with the GAN's own critic.

    Those that weigh by the density ratio get it calibrated on held-out samples, those that follow its gradient as it
    is, as their papers do.
    """
    generator, heavy = setting.generator, setting.heavy
    half = len(setting.held_out) // 2
    fakes = lk.generate(generator, generator.prior.sample(half, seed=21), batch_size=BATCH)

    def critic(method: str | None = None) -> Any:
        return lk.calibrate(setting.critic, setting.held_out[:half], fakes, method=method).applied(setting.critic)

    def run(method: Any, n: int, *, raw: bool = False, **options: Any) -> Drawn:
        judge, fit = timed(lambda: setting.critic if raw else critic())
        return taken(*timed(lambda: method(generator, judge, n, seed=5, batch_size=BATCH, **options)), fit)

    def plain(latents: Tensor) -> Drawn:
        samples, seconds = timed(lambda: lk.generate(generator, latents, batch_size=BATCH))
        return Drawn(samples, 1.0, seconds)

    def learned() -> Drawn:
        judge = critic("logistic")
        weights, fit = timed(lambda: lk.fit_latent_weights(generator, judge, seed=3))
        return taken(*timed(lambda: lk.amortised(generator, judge, COUNT, weights=weights, seed=5)), fit)

    def gate() -> Drawn:
        threshold = lk.gate_threshold(setting.critic, setting.held_out)
        return taken(
            *timed(lambda: lk.gated(generator, setting.critic, COUNT, threshold=threshold, seed=5, batch_size=BATCH))
        )

    logits = lk.score(critic(), setting.held_out[half:])
    yield "plain", lambda: plain(generator.prior.sample(COUNT, seed=5))
    yield "truncation at 1.5", lambda: plain(lk.truncated_sample(generator.prior, COUNT, threshold=1.5, seed=5))
    yield "rejection, 80th percentile", lambda: run(lk.rejection, COUNT, percentile=80.0)
    yield "Metropolis-Hastings, 640", lambda: run(lk.metropolis, heavy, real_logits=logits)
    yield "Langevin (MALA), 100", lambda: run(lk.langevin, heavy, raw=True)
    yield "gradient flow, 25", lambda: run(lk.gradient_flow, heavy, raw=True)
    yield "optimal transport, 100", lambda: run(lk.transport, heavy, raw=True)
    yield "importance resampling", lambda: run(lk.resampling, COUNT)
    yield "amortised weights", learned
    yield "gate of the own critic", gate


def ours(setting: Setting) -> Iterator[tuple[str, Callable[[], Drawn]]]:
    """Yield the samplers that follow the data."""
    generator, train, held_out = setting.generator, setting.train, setting.held_out
    shared: dict[str, Any] = {"seed": 7, "batch_size": BATCH}
    matching, fit = timed(lambda: lk.match_latents(generator, train, held_out, **shared))

    def gated(model: Any, found: Any, spent: float) -> Drawn:
        support = found.support if isinstance(found, lk.Matching) else found
        proposal = found if isinstance(found, lk.Matching) else None
        return taken(
            *timed(lambda: lk.gated(model, support, COUNT, threshold=0.0, proposal=proposal, seed=5, batch_size=BATCH)),
            spent,
        )

    def ungated(model: Any, found: Any, spent: float) -> Drawn:
        samples, seconds = timed(lambda: lk.generate(model, found.sample(COUNT, seed=5), batch_size=BATCH))
        return Drawn(samples, 1.0, seconds, spent)

    coarse = matching.distance > matching.support.apart

    def mend() -> tuple[Any, Any]:
        model = lk.repair(generator, train, coarse, seed=11)
        return model, lk.match_latents(model, train, held_out, **shared)

    (model, mended), spent = timed(mend)
    yield "gate of the support", lambda: gated(generator, matching.support, 0.0)
    yield "matched", lambda: ungated(generator, matching, fit)
    yield "matched, gated", lambda: gated(generator, matching, fit)
    yield "mended, plain", lambda: ungated(model, model.prior, spent)
    yield "mended, matched", lambda: ungated(model, mended, fit + spent)
    yield "mended, matched, gated", lambda: gated(model, mended, fit + spent)
    if setting.toy is None:
        return
    found, time_to_fit = timed(lambda: lk.refine(generator, train, held_out, seed=7, batch_size=BATCH))

    def refined() -> Drawn:
        drawn = taken(*timed(lambda: found.sample(COUNT, seed=5)), time_to_fit)
        # Judged on more fresh pairs than the held-out samples are: the fewer, the more the error is chance.
        fakes = found.proposal.sample(COUNT, seed=41)
        sides = setting.toy.sample(COUNT, 4242), lk.generate(found.generator, fakes, batch_size=BATCH)
        after = found.opinion.calibration.measured(*(lk.score(found.opinion.critic, side) for side in sides))
        note = {"Z": after.z, "ECE": after.ece, "ECE floor": after.ece_floor, "repairs": found.repairs}
        return replace(drawn, note={**note, "holes": len(found.holes), "noise": found.generator.tau})

    yield "refined", refined
