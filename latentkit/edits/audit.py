"""The audit of directions: what each changes beside what it should, and how far that can be believed."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

import torch
from torch import Tensor

from latentkit import streams
from latentkit.attributes import attributes_of
from latentkit.checks import as_count
from latentkit.directions import Audit, Direction, stability
from latentkit.edits.audited import Audited, verdict
from latentkit.edits.coordinates import class_numbers, free_part, free_prior, padded
from latentkit.edits.learning import Fit, labels_within
from latentkit.edits.measuring import Attribute, as_attributes, measured_all
from latentkit.edits.ranges import held_ranges, safe_strengths
from latentkit.errors import ArgumentError, ShapeError
from latentkit.protocols import Critic, Generator
from latentkit.roc import auc
from latentkit.sampling.generate import generate

__all__ = ["audit"]

#: Latents that quality is averaged over at each strength, and how many strengths are tried.
SCORED, TRIED = 128, 17


def audit(
    generator: Generator,
    directions: Direction | Sequence[Direction],
    *,
    attributes: Mapping[str, Attribute] | None = None,
    critic: Critic | None = None,
    n: int = 512,
    draws: int = 2_000,
    seed: int = 0,
    random: int = 20,
    refit: Fit | None = None,
    extreme: float | None = None,
    resamples: int = 20,
    strengths: Sequence[float] | Tensor | None = None,
    batch_size: int = 64,
) -> Audited:
    """Measure what directions do: to every attribute, beside random directions, and to quality and typicality.

    Latents that no direction was found on are drawn from the prior. Each is moved half a step back and half a step
    ahead along each direction, a step being one standard deviation of the latents' coordinates, and kept on the
    prior's support; an effect is the mean change of an attribute between the two, in standard deviations of that
    attribute over the prior (over all classes, of a `Marginal`). The directions' own attributes are those of their
    names; held-out scores compare samples with more of it than the median with the others, of the same class each.

    Args:
        generator: the model.
        directions: one or more, of distinct names.
        attributes: functions of samples (N, *S) to numbers (N,), by name; by default those of
            `latentkit.attributes` that apply. One that is the same for all samples is left out.
        critic: a calibrated one, as `Calibration.applied` makes it, or a function of samples that returns
            probabilities; or None.
        n: latents that are moved; along the random directions a quarter of them, for there are more of these.
        draws: latents that the attributes' spreads, the held-out scores and the refits are taken from, at least n.
        seed: which latents and random directions; others than those of the same seed elsewhere.
        random: how many random directions.
        refit: what found the directions of labelled latents, the `fit` of `learn_direction`; without it their
            stability is not known.
        extreme: as it was given to `learn_direction`, for the refits.
        resamples: bootstrap resamples that each direction is refitted on.
        strengths: (T,) that quality and typicality are tried at, in the latents' units; by default 8 on each side, up
            to where the direction's own safe range ends.
        batch_size: latents a call.

    Returns:
        The directions with their `audit` set, and the cross-effect matrix with its standard errors.

    Raises:
        ArgumentError: if there is no direction, two have one name, an attribute cannot be called, all of them are the
            same for all samples, or a number is out of range.
        ShapeError: if a direction has another size than the latents.
        NonFiniteError: if an attribute returns NaN or infinity.

    References:
        Shen, Gu, Tang, Zhou (2020), "Interpreting the latent space of GANs for semantic face editing": the
            re-scoring of all attributes when one is edited.
        Efron, Tibshirani (1993), "An introduction to the bootstrap", chapter 6.
    """
    asked = _asked(generator, directions)
    n, draws = as_count(n, "n", least=2), as_count(draws, "draws", least=2)
    random, resamples = as_count(random, "random", least=0), as_count(resamples, "resamples")
    pool = generator.prior.sample(max(n, draws), seed=streams.derived_seed(seed, streams.MEASURES))
    named = _named(generator, attributes, pool[:2])
    values = measured_all(generator, pool, named, batch_size=batch_size)
    spread = values.std(0)
    moving = spread > 1e-9 * values.abs().amax(0)
    if not bool(moving.any()):
        raise ArgumentError(
            f"the attributes {', '.join(named)} are the same for all {len(pool)} samples, so nothing can be seen to "
            "change; measure something that differs between samples"
        )
    named = {name: named[name] for name, keep in zip(list(named), moving.tolist(), strict=True) if keep}
    values, spread = values[:, moving], spread[moving]
    step = float(free_part(generator, pool).std(0).mean())
    scene = _Scene(generator, pool[:n], named, spread, step, batch_size)
    effects = [scene.effect(direction) for direction in asked]
    few = replace(scene, latents=pool[: max(n // 4, 2)])
    chance = [few.effect(direction)[0] for direction in _random_directions(generator, random, seed)]
    chance = torch.stack(chance) if chance else torch.zeros(0, len(named), dtype=torch.float64)
    names, classes = tuple(named), class_numbers(generator, pool)
    done = []
    for direction, (effect, _) in zip(asked, effects, strict=True):
        own = names.index(direction.name) if direction.name in named else None
        fresh = replace(direction, audit=None)
        tried = safe_strengths(fresh, generator.prior, TRIED) if strengths is None else strengths
        typical, quality = held_ranges(
            generator, direction, pool[: min(n, SCORED)], tried, critic, batch_size=batch_size
        )
        held = (direction.accuracy, direction.auc)
        if own is not None:
            held = _held_out(direction, pool, values[:, own], classes)
        found = Audit(
            attributes=names,
            effects=effect,
            random_effects=chance,
            own=own,
            accuracy=held[0],
            auc=held[1],
            typical_range=typical,
            quality_range=quality,
        )
        if refit is not None and own is not None:
            rows, labels = labels_within(values[:, own], classes, extreme, name=direction.name)
            again = partial(refit, prior=free_prior(generator))
            mean, low, high = stability(again, free_part(generator, pool)[rows], labels, resamples=resamples, seed=seed)
            found = replace(found, stability=mean, stability_range=(low, high))
        done.append(replace(direction, audit=replace(found, note=verdict(direction, found))))
    return Audited(
        directions=tuple(done),
        attributes=names,
        matrix=torch.stack([effect for effect, _ in effects]),
        errors=torch.stack([error for _, error in effects]),
        random=chance,
        step=step,
    )


@dataclass(frozen=True, eq=False)
class _Scene:
    """What every direction is measured on."""

    generator: Generator
    latents: Tensor
    attributes: dict[str, Attribute]
    spread: Tensor
    step: float
    batch_size: int

    def effect(self, direction: Direction) -> tuple[Tensor, Tensor]:
        """Return the mean changes (A,) of the attributes for a step, in standard deviations, and their errors (A,)."""
        ends = direction.moved(self.latents, [-0.5 * self.step, 0.5 * self.step], self.generator.prior)
        before, after = (measured_all(self.generator, end, self.attributes, batch_size=self.batch_size) for end in ends)
        changes = (after - before) / self.spread
        return changes.mean(0), changes.std(0) / math.sqrt(len(changes))


def _asked(generator: Generator, directions: Direction | Sequence[Direction]) -> list[Direction]:
    asked = [directions] if isinstance(directions, Direction) else list(directions)
    if not asked or not all(isinstance(direction, Direction) for direction in asked):
        raise ArgumentError(f"directions must be one Direction or several, got {directions!r}")
    names = [direction.name for direction in asked]
    if len(set(names)) < len(names):
        raise ArgumentError(f"directions must have distinct names, got {', '.join(names)}; rename with replace()")
    for direction in asked:
        if len(direction.vector) != generator.prior.dim:
            raise ShapeError(
                f"the direction {direction.name} must have the latents' {generator.prior.dim} coordinates, got "
                f"{len(direction.vector)}"
            )
    return asked


def _named(generator: Generator, attributes: Mapping[str, Attribute] | None, latents: Tensor) -> dict[str, Attribute]:
    if attributes is not None:
        return as_attributes(attributes)
    return attributes_of(generate(generator, latents))


def _random_directions(generator: Generator, count: int, seed: int) -> list[Direction]:
    """Return directions even over the sphere, of the coordinates that may be moved."""
    prior = free_prior(generator)
    rows = torch.from_numpy(streams.normal(count, prior.dim, seed=seed, stream=streams.MEASURES))
    rows = (rows / rows.norm(dim=1, keepdim=True)).float()
    return [padded(generator, Direction(row, f"random {i + 1}", "random", (0.0, 0.0))) for i, row in enumerate(rows)]


def _held_out(direction: Direction, latents: Tensor, values: Tensor, classes: Tensor) -> tuple[float, float]:
    """Return the balanced accuracy and the AUC of a direction on latents that it was not found on."""
    rows, labels = labels_within(values, classes, name=direction.name)
    scores = direction.score(latents[rows]).double().cpu()
    ranked = auc(scores[labels].numpy(), scores[~labels].numpy())
    if math.isnan(direction.intercept):
        return math.nan, ranked
    right = (scores > 0) == labels
    return 0.5 * float(right[labels].double().mean() + right[~labels].double().mean()), ranked
