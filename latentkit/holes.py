"""What a generator does not reach: the holes in its samples, named, and a repair that fills them.

No choice of latents adds what the generator never makes. Training samples that have no generated one near are the
list of what is missing; `repair` fine-tunes a copy of the generator on them.
"""

import copy
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from latentkit import streams
from latentkit.checks import as_count, as_number, as_seed, floating, require_finite
from latentkit.errors import ArgumentError, ShapeError
from latentkit.graphs import neighbour_graph
from latentkit.neighbours import Neighbours
from latentkit.protocols import Generator, evaluating, modules_of, place_of
from latentkit.sampling.generate import generate
from latentkit.sampling.matching import Matching
from latentkit.support import Features, compared, flat

__all__ = ["Hole", "Holes", "find_holes", "repair"]

#: A hole holds at least this share of the training samples; fewer are stragglers, which every generator misses.
LEAST_SHARE = 0.002

#: Of the repair: how often real samples are matched anew, how many steps each time, and how much more an unreached
#: sample weighs.
ROUNDS, STEPS, WEIGHT = 12, 60, 8.0
_BATCH = 256


@dataclass(frozen=True, eq=False)
class Hole:
    """A connected group of training samples that the generator does not reach.

    Attributes: `rows` (M,), which training samples; `share` of all of them; `representative`, the row whose sample is
    nearest to the group's mean; `distance`, the median distance to the nearest usable generated sample.
    """

    rows: Tensor
    share: float
    representative: int
    distance: float


@dataclass(frozen=True, eq=False)
class Holes:
    """What a generator does not reach.

    Attributes: `holes`, the largest first; `unreached` (N,), whether each training sample has no generated one near,
    stragglers included; `share` of the training samples in holes; `typical`, how near real samples usually are.
    """

    holes: tuple[Hole, ...]
    unreached: Tensor
    share: float
    typical: float

    def __len__(self) -> int:
        """Return how many holes there are."""
        return len(self.holes)

    @property
    def verdict(self) -> str:
        """What is missing, in one or two sentences."""
        stray = float(self.unreached.double().mean()) - self.share
        if not self.holes:
            return f"The generator reaches all groups of the training samples ({stray:.1%} stragglers lie apart)."
        first = self.holes[0]
        return (
            f"The generator does not reach {self.share:.1%} of the training samples, in {len(self.holes)} "
            f"{'group' if len(self.holes) == 1 else 'groups'}; the largest holds {first.share:.1%} (such as training "
            f"sample {first.representative}), and its nearest usable generated sample is "
            f"{first.distance / max(self.typical, 1e-30):.1f} times as far as real samples lie from each other. No "
            "choice of latents adds them: repair the generator, or train it longer."
        )


def _as_samples(train: Tensor) -> Tensor:
    """Return training samples (N, *S), floats, if they are that."""
    rows = floating(train, "train")
    if rows.ndim < 2 or rows.numel() == 0:
        raise ShapeError(f"train must be (N, *S), at least one sample, got {tuple(rows.shape)}")
    return require_finite(rows, "train")


def find_holes(matching: Matching, train: Tensor, *, least_share: float = LEAST_SHARE) -> Holes:
    """Group the training samples that a generator does not reach.

    Args:
        matching: of the generator, from `match_latents`.
        train: (N, *S), the training samples that were matched.
        least_share: the share of them from which a group counts as a hole, 0 to 1.

    Raises:
        ShapeError: if these are not as many samples as were matched.
        ArgumentError: if the share is out of range.
    """
    least = as_number(least_share, "least_share", least=0.0, most=1.0)
    train = _as_samples(train)
    if len(train) != len(matching.holes):
        raise ShapeError(f"train must be the {len(matching.holes)} samples that were matched, got {len(train)}")
    rows = matching.holes.nonzero()[:, 0]
    fewest = max(2, round(least * len(train)))
    found: list[Hole] = []
    if len(rows) >= fewest:
        features = matching.support.rows(train[rows])
        labels = neighbour_graph(features).components(least=fewest)
        for k in range(int(labels.max()) + 1):
            own = (labels == k).nonzero()[:, 0]
            middle = features[own].mean(0, keepdim=True)
            found.append(
                Hole(
                    rows=rows[own],
                    share=len(own) / len(train),
                    representative=int(rows[own[(features[own] - middle).norm(dim=1).argmin()]]),
                    distance=float(matching.distance[rows[own]].median()),
                )
            )
    share = sum(hole.share for hole in found)
    return Holes(tuple(found), matching.holes, share, matching.support.typical)


def repair(
    generator: Generator,
    train: Tensor,
    unreached: Tensor,
    *,
    rounds: int = ROUNDS,
    steps: int = STEPS,
    weight: float = WEIGHT,
    lr: float = 1e-3,
    pool: int = 20_000,
    features: Features = flat,
    seed: int = 0,
    progress: bool = False,
) -> Any:
    """Return a copy of the generator that was fine-tuned until it reaches what it did not.

    In each round a batch of real samples, of which unreached ones are drawn `weight` times as often, are matched to
    their nearest of a pool of generated samples, and the generator learns to make each from its match's latent. The
    generator that is given stays as it is.

    Args:
        generator: the model; its parameters must be found (a module, or `wrap` of one).
        train: (N, *S) training samples.
        unreached: (N,) bool: `holes.unreached`, or all that a matching is coarse at,
            `matching.distance > matching.support.apart`.
        rounds: how often samples are matched anew.
        steps: optimiser steps a round.
        weight: how much more often an unreached sample is drawn, at least 1.
        lr: learning rate of Adam.
        pool: generated samples to match with, each round.
        features: samples to what is compared (N, F) when matching; the loss is the mean square in samples.
        seed: 0 to 2**64 - 1.
        progress: show a progress bar on standard error.

    Raises:
        ShapeError: if `unreached` is not (N,), or the samples are not of the generator's shape.
        ArgumentError: if nothing is unreached, an argument is out of range, or the generator has no parameters.

    References:
        Li, Malik (2018), "Implicit maximum likelihood estimation", algorithm 1.
    """
    from tqdm import tqdm

    rounds, steps, pool = as_count(rounds, "rounds"), as_count(steps, "steps"), as_count(pool, "pool")
    weight, lr = as_number(weight, "weight", least=1.0), as_number(lr, "lr", least=0.0, open_least=True)
    seed = as_seed(seed)
    train = _as_samples(train)
    if unreached.shape != (len(train),):
        raise ShapeError(
            f"unreached must be ({len(train)},), one for each training sample, got {tuple(unreached.shape)}"
        )
    if not bool(unreached.any()):
        raise ArgumentError("there is nothing to repair: every training sample is reached")
    mended: Any = copy.deepcopy(generator)
    parameters = [p for module in modules_of(mended) for p in module.parameters() if p.is_floating_point()]
    if not parameters:
        raise ArgumentError("the generator has no parameters to fine-tune; give a module, or wrap() of one")
    wanted = [p.requires_grad for p in parameters]
    for p in parameters:
        p.requires_grad_(True)
    device, dtype = place_of(mended)
    chances = torch.where(unreached, weight, 1.0).double().cumsum(0)
    optimiser = torch.optim.Adam(parameters, lr)
    with tqdm(total=rounds * steps, desc="repairing", unit="step", disable=not progress, leave=False) as bar:
        for number in range(rounds):
            draws = torch.from_numpy(
                streams.uniform(steps * _BATCH, 1, seed=seed, start=number * steps * _BATCH, stream=streams.REPAIR)
            )
            rows = torch.searchsorted(chances, draws[:, 0] * chances[-1]).clamp(max=len(train) - 1)
            distinct, place = rows.unique(return_inverse=True)
            latents = mended.prior.sample(pool, seed=streams.derived_seed(seed, streams.REPAIR), start=number * pool)
            samples = generate(mended, latents, batch_size=1024)
            if samples.shape[1:] != train.shape[1:]:
                raise ShapeError(f"train must be samples {tuple(samples.shape[1:])}, got {tuple(train.shape[1:])}")
            made = compared(features, samples)
            nearest = Neighbours(made).nearest(compared(features, train[distinct]), 1)[1][:, 0]
            inputs, targets = latents[nearest[place]], train[rows]
            with evaluating(mended), torch.inference_mode(False), torch.enable_grad():
                for z, x in zip(inputs.split(_BATCH), targets.split(_BATCH), strict=True):
                    loss = (mended(z.to(device, dtype)) - x.to(device, dtype)).square().flatten(1).sum(1).mean()
                    optimiser.zero_grad()
                    loss.backward()
                    optimiser.step()
                    bar.update()
    for p, was in zip(parameters, wanted, strict=True):
        p.requires_grad_(was)
        p.grad = None
    return mended
