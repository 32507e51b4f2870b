"""The same curve at another pace: easing, reversal, there and back, and re-timing by a table."""

import math
from collections.abc import Callable

import torch
from torch import Tensor

from latentkit.checks import floating, require_finite
from latentkit.curves.curve import Curve
from latentkit.errors import ArgumentError, ShapeError

__all__ = [
    "ease_in",
    "ease_in_out",
    "ease_out",
    "eased",
    "eased_keys",
    "retimed",
    "reversed_curve",
    "smootherstep",
    "smoothstep",
    "there_and_back",
]

#: Times at which an easing function is tried before it is used.
TRIALS = 1001

#: How far an easing function may miss its ends, leave [0, 1] or fall by rounding alone.
SLACK = 1e-6


def smoothstep(t: Tensor) -> Tensor:
    """Return 3 t^2 - 2 t^3 for times t (T,) in [0, 1]: it starts and ends at rest."""
    return t * t * (3.0 - 2.0 * t)


def smootherstep(t: Tensor) -> Tensor:
    """Return 6 t^5 - 15 t^4 + 10 t^3 for times t (T,) in [0, 1]: it starts and ends at rest and unaccelerated.

    References:
        Perlin (2002), "Improving noise", section 2.
    """
    return t**3 * (t * (6.0 * t - 15.0) + 10.0)


def ease_in(t: Tensor) -> Tensor:
    """Return 1 - cos(pi t / 2) for times t (T,) in [0, 1]: it starts at rest."""
    return 1.0 - torch.cos(0.5 * math.pi * t)


def ease_out(t: Tensor) -> Tensor:
    """Return sin(pi t / 2) for times t (T,) in [0, 1]: it ends at rest."""
    return torch.sin(0.5 * math.pi * t)


def ease_in_out(t: Tensor) -> Tensor:
    """Return (1 - cos(pi t)) / 2 for times t (T,) in [0, 1]: it starts and ends at rest, by a sine."""
    return 0.5 - 0.5 * torch.cos(math.pi * t)


def eased(curve: Curve, ease: Callable[[Tensor], Tensor]) -> Curve:
    """Return the curve run through at the pace of `ease`, from its start to its end.

    It shows the same latents at other times. `segments` stays where every keyframe keeps its time, and is 1 where
    not; to slow down at every keyframe use `eased_keys`.

    Args:
        curve: any curve; a closed one slows down at its seam.
        ease: times (T,) float64 in [0, 1] to places (T,) in [0, 1], rising from 0 to 1: `smoothstep`,
            `smootherstep`, `ease_in`, `ease_out`, `ease_in_out`, or any function like them.

    Raises:
        ArgumentError: if `ease` does not begin at 0, end at 1, stay between and never fall.

    Examples:
        >>> import torch
        >>> from latentkit.curves import eased, lerp, smoothstep
        >>> eased(lerp(torch.zeros(1), torch.ones(1)), smoothstep)([0.0, 0.25, 0.5, 1.0])[:, 0].tolist()
        [0.0, 0.15625, 0.5, 1.0]
    """
    return _run(curve, _checked(ease))


def eased_keys(curve: Curve, ease: Callable[[Tensor], Tensor]) -> Curve:
    """Return the curve with the pace of `ease` in each segment, so that a tour comes to rest at every keyframe.

    Args:
        curve: any curve; its keyframes keep their times.
        ease: as for `eased`.

    Raises:
        ArgumentError: if `ease` does not begin at 0, end at 1, stay between and never fall.
    """
    pace = _checked(ease)
    segments = curve.segments

    def place(t: Tensor) -> Tensor:
        first = (t * segments).floor().clamp(max=segments - 1)
        # A keyframe's time is a rounded quotient, so the rest may miss [0, 1] by a rounding.
        return (first + pace((t * segments - first).clamp(0.0, 1.0))) / segments

    return _run(curve, place)


def retimed(curve: Curve, times: Tensor, place: Tensor) -> Curve:
    """Return the curve re-timed by a table: at times[i] it shows what the curve has at place[i].

    Between the rows of the table the place goes evenly, so constant speed by any measure is the distance covered as
    `times` and the curve's own time as `place`. Where several rows share a time, what lies between them is passed
    over; where they share a place, the curve stands still.

    Args:
        curve: any curve.
        times: (T,) in [0, 1], from 0 to 1, never falling; T is at least 2.
        place: (T,) in [0, 1], from 0 to 1, never falling.

    Raises:
        ShapeError: if the two are not (T,) of one length.
        NonFiniteError: if one holds NaN or infinity.
        ArgumentError: if one does not go from 0 to 1 without falling.
    """
    table = []
    for name, values in (("times", times), ("place", place)):
        row = floating(values, name).double().cpu()
        if row.ndim != 1 or len(row) < 2:
            raise ShapeError(f"{name} must be (T,) with at least 2 entries, got {tuple(row.shape)}")
        require_finite(row, name)
        if float(row[0]) != 0.0 or float(row[-1]) != 1.0 or bool((row.diff() < 0).any()):
            raise ArgumentError(
                f"{name} must go from 0 to 1 without falling, got {row[0]:g} to {row[-1]:g}"
                + (f" with a fall after entry {int((row.diff() < 0).nonzero()[0])}" if (row.diff() < 0).any() else "")
            )
        table.append(row.contiguous())
    clock, places = table
    if len(clock) != len(places):
        raise ShapeError(f"times and place must have one length, got {len(clock)} and {len(places)}")

    def lookup(t: Tensor) -> Tensor:
        first = (torch.searchsorted(clock, t.contiguous(), right=True) - 1).clamp(0, len(clock) - 2)
        width = clock[first + 1] - clock[first]
        # At t = 1 the last rows may share their time: then the very last one counts.
        share = torch.where(width > 0, (t - clock[first]) / width.clamp(min=5e-324), torch.ones_like(t))
        return torch.lerp(places[first], places[first + 1], share.clamp(0.0, 1.0))

    return _run(curve, lookup)


def reversed_curve(curve: Curve) -> Curve:
    """Return the curve from its end to its start."""
    return _run(curve, lambda t: 1.0 - t)


def there_and_back(curve: Curve) -> Curve:
    """Return the closed curve that goes to the end of a curve and the same way back.

    `there_and_back(curve).steps_per_segment(n)` gives 2 s n latents for a curve of s segments. Take an even number
    with `steps`: an odd one passes the far end by half a step on both sides, so that two neighbours are equal.
    """
    back = _run(curve, lambda t: 1.0 - (2.0 * t - 1.0).abs())
    return Curve(back.at, f"{curve.kind} and back", curve.dim, 2 * curve.segments, True, curve.prior)


def _run(curve: Curve, place: Callable[[Tensor], Tensor]) -> Curve:
    """Return what the curve has at place(t (T,)) (T,), with its segments where every keyframe is kept."""
    keys = torch.arange(curve.segments + 1, dtype=torch.float64) / curve.segments
    kept = bool(torch.allclose(place(keys).sort().values, keys, rtol=0.0, atol=1e-9))
    segments = curve.segments if kept else 1
    return Curve(lambda t: curve.at(place(t)), curve.kind, curve.dim, segments, curve.closed, curve.prior)


def _checked(ease: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
    """Return an easing function that was tried and is held to its exact ends."""
    if not callable(ease):
        raise ArgumentError(f"ease must be a function of times (T,), such as smoothstep, got {ease!r}")

    def pace(t: Tensor) -> Tensor:
        s = floating(ease(t.clone()), "what ease returns").double().cpu()
        if s.shape != t.shape:
            raise ArgumentError(f"ease must return as many places as times, {tuple(t.shape)}, got {tuple(s.shape)}")
        return torch.where(t == 0.0, 0.0, torch.where(t == 1.0, 1.0, s.clamp(0.0, 1.0)))

    trial = torch.linspace(0.0, 1.0, TRIALS, dtype=torch.float64)
    pace(trial)
    s = torch.as_tensor(ease(trial)).double().cpu()
    faults = {
        "is not finite": not bool(s.isfinite().all()),
        f"begins at {s[0]:g}, not 0": not abs(float(s[0])) <= SLACK,
        f"ends at {s[-1]:g}, not 1": not abs(float(s[-1]) - 1.0) <= SLACK,
        "leaves [0, 1]": not bool(((s >= -SLACK) & (s <= 1.0 + SLACK)).all()),
        "falls": not bool((s.diff() >= -SLACK).all()),
    }
    for fault, found in faults.items():
        if found:
            raise ArgumentError(f"ease must rise from 0 to 1 over times 0 to 1, but it {fault}; see smoothstep")
    return pace
