"""Perceptual path length: how fast samples change along curves through the latent space."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from latentkit import streams
from latentkit.checks import as_count, as_number, as_seed
from latentkit.curves import Curve, interpolate
from latentkit.errors import NonFiniteError, ShapeError
from latentkit.metrics.bootstrap import bootstrap_interval
from latentkit.protocols import Generator, check_rows, evaluating, place_of

__all__ = ["PathLength", "perceptual_path_length"]

_PAIRS = 8  # curves that are made together: each is evaluated at the times of all
_LEVELS = 256
_TOLD = 4_096  # so many numbers tell 8-bit samples from smooth ones


@dataclass(frozen=True, eq=False)
class PathLength:
    """The perceptual path length of a generator.

    Attributes: `mean`, of the values from the 1st to the 99th percentile; `interval`, its 95 % bootstrap interval
    over pairs of ends; `values` (N,) float64, of each pair, untrimmed; `epsilon`, the step; `curve`, the kind of
    curve between two ends.
    """

    mean: float
    interval: tuple[float, float]
    values: Tensor
    epsilon: float
    curve: str


def perceptual_path_length(
    generator: Generator,
    *,
    n: int = 1_000,
    seed: int,
    epsilon: float = 1e-4,
    curve: Callable[[Tensor, Tensor], Curve] | None = None,
    distance: Callable[[Tensor, Tensor], Tensor] | None = None,
    batch_size: int = 64,
    resamples: int = 1_000,
) -> PathLength:
    """Return the mean of d(G(p(t)), G(p(t + epsilon))) / epsilon^2 over curves p between two latents.

    The times are uniform on [0, 1 - epsilon]. With the default distance it is the mean squared speed, in units of
    the samples, at which a sample changes. It grows with the number of pixels; compare it only between generators
    of samples of one shape. Latents of a float32 generator are rounded to float32 last, which moves the value by
    less than a hundredth; samples of 8 bits would be rounding noise, and are refused. Pair i of a seed depends on
    (seed, i) alone.

    Args:
        generator: the model; it runs in eval mode and gets its mode back.
        n: pairs of latents.
        seed: decides the latents, the times and the resamples.
        epsilon: the step in t, in (0, 0.1].
        curve: makes the curves between latents (B, D) and (B, D): `slerp`, `lerp`; by default the prior-matched
            `interpolate`.
        distance: takes samples (B, *S) twice and returns their distances (B,). It must grow with the *square* of a
            small change, as the sum of squared differences of features does. By default that of the samples.
        batch_size: latents a call; changes nothing beyond float rounding.
        resamples: bootstrap resamples of the interval.

    Raises:
        ArgumentError: if an argument is out of range.
        CurveError: if the curve is not determined by two of the latents.
        ShapeError: if the samples are not floats of at least 32 bits, or hold no more than 256 values, or `distance`
            does not return one number a pair.
        NonFiniteError: if a distance is not finite.

    References:
        Karras, Laine, Aila (2019), "A style-based generator architecture for generative adversarial networks",
        section 4.1, equations 2 and 3; trimmed as in its published code.

    Examples:
        >>> import latentkit as lk
        >>> double = lk.wrap(lambda z: 2 * z, lk.Normal(2))
        >>> found = perceptual_path_length(double, n=4, seed=0, curve=lk.lerp)
        >>> z = double.prior.sample(8, seed=0)
        >>> torch.allclose(found.values, 4 * (z[1::2] - z[::2]).square().sum(1).double(), rtol=0.01)
        True
    """
    n, resamples = as_count(n, "n"), as_count(resamples, "resamples", least=20)
    pairs = max(as_count(batch_size, "batch_size") // 2, 1)
    seed = as_seed(seed)
    epsilon = as_number(epsilon, "epsilon", least=0.0, most=0.1, open_least=True)
    join = curve if curve is not None else lambda a, b: interpolate(a, b, generator.prior)
    # Neighbouring draws make a pair, so that more pairs begin with the fewer. In float64 a step keeps its digits.
    ends = generator.prior.sample(2 * n, seed=seed).double().reshape(n, 2, -1)
    times = torch.from_numpy(streams.uniform(n, 1, seed=seed, stream=streams.MEASURES)[:, 0]) * (1.0 - epsilon)
    device, dtype = place_of(generator)
    measure = distance if distance is not None else _squared_difference
    values, kind = torch.empty(n, dtype=torch.float64), ""
    for start in range(0, n, pairs):
        rows = slice(start, min(start + pairs, n))
        latents, kind = _steps(join, ends[rows], times[rows], epsilon)
        with evaluating(generator), torch.no_grad():
            samples = check_rows(generator(latents.to(device, dtype)), len(latents), "the generator")
            _refuse_rounded(samples)
            first, second = samples.split(len(samples) // 2)
            values[rows] = _distances(measure, first, second) / epsilon**2
    return PathLength(
        mean=_trimmed_mean(values.numpy()),
        interval=bootstrap_interval(_trimmed_mean, [values.numpy()], resamples=resamples, seed=seed),
        values=values,
        epsilon=epsilon,
        curve=kind,
    )


def _steps(join: Callable[[Tensor, Tensor], Curve], ends: Tensor, times: Tensor, epsilon: float) -> tuple[Tensor, str]:
    """Return latents (2B, D), at the times (B,) of the curves between ends (B, 2, D) and then a step later."""
    parts, kind = ([], []), ""
    for some, when in zip(ends.split(_PAIRS), times.split(_PAIRS), strict=True):
        curves, own = join(some[:, 0], some[:, 1]), torch.arange(len(some))
        kind = curves.kind
        for part, at in zip(parts, (when, when + epsilon), strict=True):
            part.append(curves(at)[own, own])  # of (T, B, D), each curve at its own time
    return torch.cat([*parts[0], *parts[1]]), kind


def _refuse_rounded(samples: Tensor) -> None:
    wanted = "perceptual path length needs smooth samples, floats of at least 32 bits"
    if not samples.is_floating_point() or torch.finfo(samples.dtype).eps > 1e-6:
        raise ShapeError(
            f"{wanted}, got {samples.dtype}: over a step of the curve rounding would be most of the difference; "
            "wrap the generator without its conversion to pictures or to low precision"
        )
    some = samples.flatten()[: 16 * _TOLD]
    if len(some) >= _TOLD and 2 <= len(some.unique()) <= _LEVELS:
        raise ShapeError(
            f"{wanted}, got samples of no more than {_LEVELS} different values, as of 8-bit images; "
            "wrap the generator without its conversion to pictures"
        )


def _squared_difference(a: Tensor, b: Tensor) -> Tensor:
    """Return the sums of squared differences (B,) of samples (B, *S)."""
    return (a.double() - b.double()).flatten(1).square().sum(1)


def _distances(measure: Callable[[Tensor, Tensor], Tensor], a: Tensor, b: Tensor) -> Tensor:
    found = check_rows(measure(a, b), len(a), "the distance")
    if found.shape != (len(a),):
        raise ShapeError(f"the distance must return one number a pair ({len(a)},), got {tuple(found.shape)}")
    found = found.double().cpu()
    if not bool(torch.isfinite(found).all()):
        raise NonFiniteError("the distance between two neighbouring samples is NaN or infinite; look at the samples")
    return found


def _trimmed_mean(values: NDArray[np.float64]) -> float:
    """Return the mean of the values (N,) from the 1st to the 99th percentile."""
    low, high = np.quantile(values, 0.01, method="lower"), np.quantile(values, 0.99, method="higher")
    return float(values[(values >= low) & (values <= high)].mean())
