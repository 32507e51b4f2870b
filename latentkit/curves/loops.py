"""Closed curves that need no keyframes: random loops, circles through two latents, orbits around one."""

import math

import torch
from torch import Tensor

from latentkit import streams
from latentkit.checks import as_count, as_number, as_seed, floating, require_finite
from latentkit.curves.between import paired_ends, rows_named
from latentkit.curves.blends import blended
from latentkit.curves.curve import Curve
from latentkit.errors import ArgumentError, CurveError, ShapeError
from latentkit.priors import Normal, Prior, from_normal_scores, has_normal_scores, normal_scores

__all__ = ["circle", "orbit", "random_loop"]

#: Ends within this angle (radians) of one line span no plane.
PARALLEL = 1e-5

#: Most places that a random loop may visit.
MOST_DETAIL = 1000.0

#: Harmonics with less than this share of a loop's variance are left out.
FAINTEST = 1e-12

#: Items of the stream at which those of orbits begin; random loops use the ones before.
ORBITS = 2**64


def random_loop(prior: Prior, *, seed: int, n: int | None = None, detail: float = 6.0) -> Curve:
    """Return a smooth closed curve through nowhere in particular, on which every latent is a draw from the prior.

    It is what comes of white noise over the time of one loop that is smoothed by a Gaussian filter with wrap and
    divided by its standard deviation: a periodic Gaussian process in the prior's normal scores. Here it is made
    without steps of time, as the Fourier series of that process: harmonic m has the variance
    exp(-(2 pi m s)^2) (twice that for m > 0), divided by the sum of them all, for a filter of standard deviation
    s = 1 / (2 sqrt(pi) detail) loops.

    Args:
        prior: the generator's prior. A mixture of several components keeps its mean and covariance only.
        seed: 0 to 2**64 - 1.
        n: how many loops side by side, whose curve gives (T, n, D); None gives one, (T, D). Loop i of a seed does not
            depend on n.
        detail: about how many different places the loop visits, 1 to 1000: its mean scatters about the prior's as the
            mean of so many independent draws does. More detail under the same seed leaves the coarse course as it is.

    Raises:
        ArgumentError: if `n`, `seed` or `detail` is out of range, or the prior has no normal
            scores (classes, a prior of your own).

    References:
        Karras, Aila, Laine, Lehtinen (2018), "Progressive growing of GANs for improved quality, stability, and
        variation" (arXiv 1710.10196): films along smoothed noise.
    """
    _require_scores(prior, "a random loop")
    detail = as_number(detail, "detail", least=1.0, most=MOST_DETAIL)
    seed, count = as_seed(seed), 1 if n is None else as_count(n, "n")
    rate = math.sqrt(math.pi) / detail  # 2 pi s
    harmonics = int(math.sqrt(-math.log(FAINTEST)) / rate) + 1
    m = torch.arange(harmonics + 1, dtype=torch.float64)
    variances = torch.exp(-(rate * m).square()) * torch.where(m > 0, 2.0, 1.0)
    sizes = (variances / variances.sum()).sqrt()
    numbers = streams.normal(count, (2 * harmonics + 1) * prior.dim, seed=seed, stream=streams.LOOPS)
    # The constant, then the cosine and the sine of each harmonic: (2 M + 1, count, D).
    waves = torch.from_numpy(numbers).reshape(count, -1, prior.dim).transpose(0, 1)
    waves = waves[:, 0] if n is None else waves

    def at(times: Tensor) -> Tensor:
        angles = 2.0 * math.pi * (times % 1.0)[:, None] * m[1:]
        parts = torch.stack([angles.cos(), angles.sin()], dim=2) * sizes[1:, None]
        series = torch.cat([sizes[0].expand(len(times), 1), parts.flatten(1)], dim=1)
        return from_normal_scores(prior, torch.einsum("tk,k...->t...", series, waves)).to(torch.float32)

    return Curve(at, "random loop", prior.dim, closed=True, prior=prior)


def circle(a: Tensor, b: Tensor, prior: Prior | None = None) -> Curve:
    """Return the closed curve cos(2 pi t) a + sin(2 pi t) b in normal scores, for ends (D,) or (N, D).

    It is at a at t = 0 and at b at t = 1/4, exactly, and then at their reflections in the prior's centre. For
    independent draws every point of it is distributed as the prior. It has four segments, so `steps_per_segment(n)`
    gives 4 n latents.

    Args:
        a: where the circle starts.
        b: where it is after a quarter of the time.
        prior: the generator's prior; by default the standard normal one of that dimension. A mixture of several
            components keeps its mean and covariance only.

    Raises:
        ShapeError: if the ends are not of one shape, or not of the prior's dimension.
        NonFiniteError: if an end holds NaN or infinity.
        ArgumentError: if the prior has no normal scores (classes, a prior of your own).
        CurveError: if the ends lie on one line through the prior's centre, so that they span no plane.
    """
    start, end, dtype = paired_ends(a, b)
    prior = _fitting(prior, start, "the ends")
    _require_scores(prior, "a circle")
    ga, gb = normal_scores(prior, start), normal_scores(prior, end)
    na, nb = ga.norm(dim=-1, keepdim=True), gb.norm(dim=-1, keepdim=True)
    ua, ub = ga / na.clamp(min=1e-300), gb / nb.clamp(min=1e-300)
    apart = torch.minimum((ua - ub).norm(dim=-1, keepdim=True), (ua + ub).norm(dim=-1, keepdim=True))
    good = (na > 0) & (nb > 0) & (apart > PARALLEL)
    if not bool(good.all()):
        raise CurveError(
            f"the ends lie on one line through the prior's centre, so they span no circle{rows_named(good)}; "
            "use another second end, or orbit around the first"
        )
    blend = blended(torch.stack([start, end]), prior)

    def at(times: Tensor) -> Tensor:
        # By quarters, so that the cosine and the sine are exactly 0 and 1 at a and at b.
        quarters = 4.0 * (times % 1.0)
        angles = 0.5 * math.pi * (quarters % 1.0)
        first, second = angles.cos(), angles.sin()
        quarter = quarters.long()
        cosines = torch.stack([first, -second, -first, second])
        sines = torch.stack([second, first, -second, -first])
        weights = torch.stack([cosines.gather(0, quarter[None])[0], sines.gather(0, quarter[None])[0]], dim=1)
        return blend(weights).to(dtype)

    return Curve(at, "circle", prior.dim, 4, True, prior)


def orbit(centre: Tensor, radius: float, *, seed: int, prior: Prior | None = None) -> Curve:
    """Return a closed curve around a latent (D,), every point of it equally far from it and on the prior.

    In normal scores it is (centre + radius n(t)) / sqrt(1 + radius^2), as in `vicinity`, with noise n(t) that turns
    once in a random plane at right angles to the centre: at every t it is distributed as a draw, and so is the point
    if the centre is one. The distance from the centre, in normal scores, is the same at all t, about
    sqrt(2 D (1 - 1 / sqrt(1 + radius^2))); in 2 dimensions no plane is left at right angles, and it is the distance
    from centre / sqrt(1 + radius^2) that is.

    Args:
        centre: (D,), or (N, D) for an orbit around each, whose curve gives (T, N, D); D is at least 2.
        radius: how much noise is added, in standard deviations of a normal score, above 0: 0.3 stays near, 1 forgets
            half of the centre.
        seed: 0 to 2**64 - 1; row i of a batch has its own plane.
        prior: the generator's prior; by default the standard normal one of that dimension. A mixture of several
            components keeps its mean and covariance only.

    Raises:
        ShapeError: if the centre is not (D,) or (N, D) with the prior's D, at least 2.
        NonFiniteError: if it holds NaN or infinity.
        ArgumentError: if the radius is not above 0 or the seed is out of range, or the prior has no normal
            scores (classes, a prior of your own).
    """
    middle = floating(centre, "centre")
    if middle.ndim not in (1, 2) or middle.numel() == 0 or middle.shape[-1] < 2:
        raise ShapeError(f"centre must be (D,) or (N, D) with D at least 2, got {tuple(middle.shape)}")
    require_finite(middle if middle.ndim == 2 else middle[None], "centre")
    radius, seed = as_number(radius, "radius", least=0.0, open_least=True), as_seed(seed)
    prior = _fitting(prior, middle, "centre")
    _require_scores(prior, "an orbit")
    scores = normal_scores(prior, middle).reshape(-1, prior.dim)
    numbers = streams.normal(len(scores), 2 * prior.dim, seed=seed, start=ORBITS, stream=streams.LOOPS)
    first, second = torch.from_numpy(numbers).to(scores).reshape(-1, 2, prior.dim).unbind(1)
    axis = scores / scores.norm(dim=1, keepdim=True).clamp(min=1e-300)
    if prior.dim == 2:
        axis = torch.zeros_like(axis)
    # What lies along the centre stays; the rest turns, at its own length, which keeps n(t) a standard Gaussian one.
    along = (first * axis).sum(1, keepdim=True) * axis
    u = first - along
    second = second - (second * axis).sum(1, keepdim=True) * axis
    size = u.norm(dim=1, keepdim=True)
    v = second - (second * u).sum(1, keepdim=True) / size.square() * u
    v = size * v / v.norm(dim=1, keepdim=True)
    length = math.hypot(1.0, radius)
    still, u, v = ((scores + radius * along) / length, radius * u / length, radius * v / length)

    def at(times: Tensor) -> Tensor:
        angles = (2.0 * math.pi * (times % 1.0)).reshape(-1, 1, 1).to(scores.device)
        turned = still + angles.cos() * u + angles.sin() * v
        return from_normal_scores(prior, turned.reshape(-1, *middle.shape)).to(middle.dtype)

    return Curve(at, "orbit", prior.dim, closed=True, prior=prior)


def _fitting(prior: Prior | None, latents: Tensor, name: str) -> Prior:
    """Return the prior, by default the standard normal one, or refuse latents (..., D) of another dimension."""
    prior = Normal(latents.shape[-1]) if prior is None else prior
    if prior.dim != latents.shape[-1]:
        raise ShapeError(f"{name} must have the prior's {prior.dim} coordinates, got {latents.shape[-1]}")
    return prior


def _require_scores(prior: Prior, name: str) -> None:
    if not has_normal_scores(prior):
        raise ArgumentError(
            f"{name} takes a prior with normal scores (normal, uniform, sphere, empirical), got {prior!r}; "
            "condition the generator on one class, or go through keyframes with loop"
        )
