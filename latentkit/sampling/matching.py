"""Latents that follow the data: each training sample's nearest generated one, and proposals between those.

A GAN's latent space holds good and bad samples in proportions that nobody chose. Matching chooses them: of a large
pool of generated samples that lie where data lie, it takes the nearest one to every training sample. Drawing one of
their latents and moving a little towards a neighbour gives new samples in the proportions of the data, at one
evaluation of the generator each.

References:
    Li, Malik (2018), "Implicit maximum likelihood estimation", section 3: the nearest generated sample of each real
    one. Here the generator stays as it is, and the latents are what is learned.
"""

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from latentkit import streams
from latentkit.checks import as_count, as_number, as_seed, floating
from latentkit.errors import ArgumentError, ShapeError
from latentkit.neighbours import Neighbours
from latentkit.priors import Prior, from_normal_scores, normal_scores
from latentkit.protocols import Generator
from latentkit.sampling.generate import generate, stream
from latentkit.support import Features, Support, fit_support, flat

__all__ = ["Matching", "match_latents"]

#: A training sample farther from its match than so many typical distances between real samples is not reached.
FAR = 3.0

#: Moves go towards one of so many neighbours, at most half-way, and not across a gap of so many median ones.
NEIGHBOURS, WAY, GAP = 5, 0.5, 4.0

#: The jitter of a move, as a share of the gap.
JITTER = 0.2

#: Moves are tried from the least on, on so many samples. They are wide enough when samples lie as far from the training
#: samples as so many times what held-out ones do, and too wide when so many fewer lie where data lie.
SPREADS, TRIAL, NEW, STILL = (0.0, 0.25, 0.5, 0.75, 1.0, 1.5, 2.0), 2000, 0.95, 0.99


@dataclass(frozen=True, eq=False)
class Matching:
    """Latents matched to training samples: a proposal, `matching.sample(n, seed=..., start=...)`.

    Attributes: `latents` (K, D), the distinct ones; `match` (M,), for each training sample that is reached, which of
    them; `distance` (N,), how far each training sample is from its match, in the features' unit; `holes` (N,),
    whether it is too far to count, so that the generator does not reach it; `near` (K, 5), each latent's nearest
    ones, and `joined` (K, 5), whether a move may go there; `support`, where data lie; `passed`, the share of the pool
    that lies there; `pool`, how many generated samples there were; `spread`, how far moves go: 0 gives the matched
    latents themselves, each of the M in turn before one comes again, 1 moves up to half-way; `prior` of the generator.
    """

    latents: Tensor
    match: Tensor
    distance: Tensor
    holes: Tensor
    near: Tensor
    joined: Tensor
    support: Support
    passed: float
    pool: int
    spread: float
    prior: Prior

    @property
    def dim(self) -> int:
        """Size D of one latent."""
        return self.prior.dim

    def sample(self, n: int, *, seed: int, start: int = 0) -> Tensor:
        """Return latents `start` to `start + n - 1` of `seed`: (n, D) float32, in the proportions of the data."""
        n = as_count(n, "n", least=0)
        draws = torch.from_numpy(streams.uniform(n, 3, seed=seed, start=start, stream=streams.MATCHED))
        if not self.spread:
            return self.latents[self.match[self._turns(n, seed, start)]]
        own = self.match[(draws[:, 0] * len(self.match)).long()]
        noise = torch.from_numpy(streams.normal(n, self.dim, seed=seed, start=start, stream=streams.MOVES))
        side = (draws[:, 1] * self.near.shape[1]).long()
        other, open_ = self.near[own, side], self.joined[own, side]
        here = normal_scores(self.prior, self.latents[own])
        way = (normal_scores(self.prior, self.latents[other]) - here) * open_[:, None]
        gap = way.norm(dim=1, keepdim=True)
        jitter = JITTER * self.spread * gap / self.dim**0.5
        moved = here + WAY * self.spread * draws[:, 2:] * way
        # In many dimensions a chord lies inside of the shell where latents are: the norm goes the straight way.
        norms = here.norm(dim=1, keepdim=True), (here + way).norm(dim=1, keepdim=True)
        wanted = norms[0] + WAY * self.spread * draws[:, 2:] * (norms[1] - norms[0])
        moved = moved * (wanted / moved.norm(dim=1, keepdim=True).clamp(min=1e-12))
        moved = (moved + jitter * noise) / (1.0 + jitter.square()).sqrt()
        return from_normal_scores(self.prior, moved).float()

    def _turns(self, n: int, seed: int, start: int) -> Tensor:
        """Return which matches (n,) draws from `start` on take: all M of them in a random order, then in another."""
        # Where nothing moves, independent draws would give the same sample again while others wait.
        size, own = len(self.match), streams.derived_seed(seed, streams.MATCHED)
        first = start // size
        orders = [
            streams.uniform(size, 1, seed=own, start=k * size, stream=streams.MATCHED)[:, 0].argsort(kind="stable")
            for k in range(first, (start + n - 1) // size + 1)
        ]
        if not orders:
            return torch.empty(0, dtype=torch.long)
        return torch.cat([torch.from_numpy(order) for order in orders])[start - first * size :][:n]

    def with_spread(self, spread: float) -> "Matching":
        """Return the same matching with moves of another size, 0 to 2."""
        return replace(self, spread=as_number(spread, "spread", least=0.0, most=2.0))


def match_latents(
    generator: Generator,
    train: Tensor,
    held_out: Tensor,
    *,
    pool: int = 100_000,
    choices: int = 1,
    spread: float | None = None,
    support: Support | None = None,
    features: Features = flat,
    seed: int = 0,
    batch_size: int = 256,
    progress: bool = False,
) -> Matching:
    """Find latents whose samples follow the training data.

    Of `pool` draws from the prior those count that lie where data lie; each training sample is matched to the
    nearest. Matches that share a latent keep their number, so that weights stay those of the data. In many dimensions
    a few typical samples are nearest to many training samples: there `choices` spreads the matches over distinct
    ones, with a pool of several times as many samples as there are training samples.

    Args:
        generator: the model.
        train: (N, *S) its training samples, at least 50.
        held_out: (M, *S) real samples that it was not trained on, at least 20.
        pool: how many samples to draw; only their latents and one batch are held.
        choices: how many of its nearest a training sample can be matched to. Pairs are taken in the order of their
            distance, each generated sample once; a training sample whose choices are all taken shares its nearest.
            1 lets all share.
        spread: how far proposals move from a matched latent, 0 to 2; None for the least with which samples are as
            far from the training samples as held-out ones are, or else the largest with which 99% as many lie where
            data lie as without moving.
        support: where data lie; None to learn it from the samples.
        features: samples to what is compared (N, F), if `support` is None; else the support's.
        seed: 0 to 2**64 - 1.
        batch_size: latents a call; changes nothing beyond float rounding.
        progress: show a progress bar on standard error.

    Raises:
        ShapeError: if there are too few samples, or they are not of the generator's shape.
        ArgumentError: if hardly any generated sample lies where data lie, or an argument is out of range.
        NonFiniteError: if a sample is not finite.
    """
    from tqdm import tqdm

    pool, choices, seed = as_count(pool, "pool"), as_count(choices, "choices"), as_seed(seed)
    spread = None if spread is None else as_number(spread, "spread", least=0.0, most=2.0)
    support = support or fit_support(train, held_out, features=features)
    rows = support.rows(floating(train, "train"))
    prior, nearest = generator.prior, torch.full((len(rows), choices), torch.inf)
    numbers, passed = torch.zeros(nearest.shape, dtype=torch.long), 0
    block = max(batch_size, 10_000)
    with tqdm(total=pool, desc="matching", unit="sample", disable=not progress, leave=False) as bar:
        for first in range(0, pool, block):
            latents = prior.sample(min(block, pool - first), seed=seed, start=first)
            found, inside = _inside(generator, latents, support, rows.shape[1], batch_size)
            passed += len(inside)
            if len(inside):
                distance, index = Neighbours(found).nearest(rows, min(choices, len(inside)))
                nearest, order = torch.cat([nearest, distance], dim=1).sort(dim=1, stable=True)
                numbers = torch.cat([numbers, first + inside[index]], dim=1).gather(1, order)[:, :choices]
                nearest = nearest[:, :choices]
            bar.update(len(latents))
    column = _assigned(nearest, numbers)
    best, chosen = (values.gather(1, column[:, None])[:, 0] for values in (nearest, numbers))
    holes = nearest[:, 0] > FAR * support.typical
    if passed < 50 or bool(holes.all()):
        raise ArgumentError(
            f"of {pool} generated samples {passed} lie where the data lie, and they reach {int((~holes).sum())} of "
            f"{len(holes)} training samples; train the generator longer, or see whether both are of one range"
        )
    distinct, matched = chosen[~holes].unique(return_inverse=True)
    latents = _drawn(prior, distinct, seed, pool, block)
    near, joined = _neighbours(generator, latents, support, batch_size)
    matching = Matching(
        latents,
        matched,
        best,
        holes,
        near,
        joined,
        support,
        passed / pool,
        pool,
        1.0 if spread is None else spread,
        prior,
    )
    return matching if spread is not None else _spread(generator, matching, seed, batch_size)


def _assigned(distance: Tensor, numbers: Tensor) -> Tensor:
    """Return which of its choices (N, C), at rising distances, each row takes, (N,): the nearest pairs first.

    A row whose choices are all taken has the first.
    """
    rows, choices = distance.shape
    column = torch.zeros(rows, dtype=torch.long)
    if choices == 1:
        return column
    taken, served, wanted = set(), [False] * rows, numbers.flatten().tolist()
    finite = distance.flatten().argsort(stable=True)[: int(torch.isfinite(distance).sum())]
    for pair in finite.tolist():
        row = pair // choices
        if not served[row] and wanted[pair] not in taken:
            taken.add(wanted[pair])
            served[row], column[row] = True, pair % choices
    return column


def _inside(
    generator: Generator, latents: Tensor, support: Support, width: int, batch_size: int
) -> tuple[Tensor, Tensor]:
    """Return the features (P, F) of those samples that lie where data lie, and which they are (P,)."""
    kept, index, done = [], [], 0
    for samples in stream(generator, latents, batch_size=batch_size):
        features = support.rows(samples)
        if features.shape[1] != width:
            raise ShapeError(f"generated samples have {features.shape[1]} numbers to compare, the real ones {width}")
        good = (support.of_rows(features) >= 0).nonzero()[:, 0]
        kept.append(features[good])
        index.append(good + done)
        done += len(samples)
    return torch.cat(kept), torch.cat(index)


def _drawn(prior: Prior, numbers: Tensor, seed: int, pool: int, block: int) -> Tensor:
    """Return the latents (K, D) with these sorted numbers (K,) of the pool."""
    parts = []
    for first in range(0, pool, block):
        here = numbers[(numbers >= first) & (numbers < first + block)]
        if len(here):
            parts.append(prior.sample(min(block, pool - first), seed=seed, start=first)[here - first])
    return torch.cat(parts)


def _neighbours(generator: Generator, latents: Tensor, support: Support, batch_size: int) -> tuple[Tensor, Tensor]:
    """Return each latent's nearest ones (K, 5), and whether their samples are near, too, (K, 5)."""
    count = min(NEIGHBOURS, len(latents) - 1)
    if not count:
        return torch.zeros((1, 1), dtype=torch.long), torch.zeros((1, 1), dtype=torch.bool)
    scores = normal_scores(generator.prior, latents).float()
    near = Neighbours(scores).nearest(scores, count, same=True)[1]
    rows = support.rows(generate(generator, latents, batch_size=batch_size))
    gaps = torch.stack([(rows - rows[near[:, k]]).norm(dim=1) for k in range(count)], dim=1)
    return near, gaps <= GAP * gaps.median()


def _spread(generator: Generator, matching: Matching, seed: int, batch_size: int) -> Matching:
    """Return the matching with the least moves that make samples new, or with the widest that keep them good."""
    trial, support = streams.derived_seed(seed, streams.MATCHED), matching.support
    best, least = matching.with_spread(0.0), 0.0
    for spread in SPREADS:
        moved = matching.with_spread(spread)
        inside, distances = [], []
        for x in stream(generator, moved.sample(TRIAL, seed=trial), batch_size=batch_size):
            rows = support.rows(x)
            inside.append(support.of_rows(rows) >= 0)
            distances.append(support.neighbours.nearest(rows, 1)[0][:, 0])
        share = float(torch.cat(inside).double().mean())
        least = least or STILL * share
        if share < least:
            break
        best = moved
        if float(torch.cat(distances).median()) >= NEW * support.apart:
            break
    return best
