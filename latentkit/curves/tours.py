"""Curves through keyframes, piece by piece."""

from collections.abc import Sequence

import torch
from torch import Tensor

from latentkit.checks import as_latents, floating, require_finite
from latentkit.curves.between import interpolate
from latentkit.curves.curve import Curve
from latentkit.errors import ArgumentError, CurveError, ShapeError
from latentkit.priors import Prior

__all__ = ["joined_curves", "keyframes", "loop", "refuse_equal", "tour"]

#: Two latents nearer than this share of their lengths are equal up to float32's rounding.
EQUAL = 1e-6


def tour(keys: Tensor, *, prior: Prior | None = None) -> Curve:
    """Return the open curve through keyframes (K, D) in order, prior-matched between neighbours.

    `tour(keys).steps_per_segment(n)` gives (K - 1) n + 1 latents, each keyframe once.

    Args:
        keys: (K, D) keyframes, or (K, N, D) for N tours side by side, whose curve gives (T, N, D).
        prior: the generator's prior; by default the standard normal one of that dimension.

    Raises:
        ShapeError: if the keyframes are not (K, D) or (K, N, D).
        CurveError: if there are fewer than 2, or two neighbours are equal or opposite.
    """
    return _through(keys, prior, closed=False)


def loop(keys: Tensor, *, prior: Prior | None = None) -> Curve:
    """Return the closed curve through keyframes (K, D) and back to the first, prior-matched.

    `loop(keys).steps_per_segment(n)` gives K n latents; the last is a step before the first, so a
    film of them loops evenly.

    Args:
        keys: (K, D) keyframes, or (K, N, D) for N loops side by side, whose curve gives (T, N, D).
        prior: the generator's prior; by default the standard normal one of that dimension.

    Raises:
        ShapeError: if the keyframes are not (K, D) or (K, N, D).
        CurveError: if there are fewer than 3, or two neighbours (first and last too) are equal or
            opposite.
    """
    return _through(keys, prior, closed=True)


def joined_curves(curves: Sequence[Curve]) -> Curve:
    """Return open curves one after the other: each must begin where the one before it ends.

    A curve of s segments takes s parts of the time, so `steps_per_segment` keeps every keyframe of them all. The
    result is closed if the last one ends where the first begins.

    Args:
        curves: at least 1, of one shape of latents.

    Raises:
        ArgumentError: if there are none.
        ShapeError: if their latents differ in shape.
        CurveError: if one is closed, or does not begin where the one before it ends.
    """
    curves = list(curves)
    if not curves:
        raise ArgumentError("joined_curves needs at least one curve, got none")
    ends = [curve([0.0, 1.0]) for curve in curves]
    for k, (curve, end) in enumerate(zip(curves, ends, strict=True)):
        if curve.closed:
            raise CurveError(f"curve {k} is closed, so it has no end to go on from; join open ones")
        if end.shape != ends[0].shape:
            raise ShapeError(f"curves must have one shape, got {tuple(ends[0].shape[1:])} and {tuple(end.shape[1:])}")
        if k and not _equal(ends[k - 1][1], end[0]).all():
            raise CurveError(
                f"curve {k} does not begin where curve {k - 1} ends; put interpolate(end, start) between the two"
            )
    closed = bool(_equal(ends[-1][1], ends[0][0]).all())
    prior = curves[0].prior if all(curve.prior == curves[0].prior for curve in curves) else None
    return _in_turn(curves, " + ".join(dict.fromkeys(curve.kind for curve in curves)), closed, prior)


def keyframes(keys: Tensor, prior: Prior | None, name: str, *, least: int) -> Tensor:
    """Return checked keyframes (K, D) or (K, N, D) for a curve that is called `name` in errors.

    Raises:
        ShapeError: if they have another shape, or not the prior's dimension.
        NonFiniteError: if one holds NaN or infinity.
        CurveError: if there are fewer than `least`.
    """
    checked = floating(keys, "keyframes")
    if checked.ndim == 3 and checked.numel() > 0 and (prior is None or checked.shape[2] == prior.dim):
        require_finite(checked, "keyframes")
    else:
        as_latents(checked, None if prior is None else prior.dim, "keyframes")
    if len(checked) < least:
        raise CurveError(f"{name} needs at least {least} keyframes, got {len(checked)}")
    return checked


def refuse_equal(starts: Tensor, ends: Tensor, names: Sequence[tuple[int, int]], what: str, cure: str) -> None:
    """Raise `CurveError` if a start (M, ..., D) equals its end: the frames between them would be equal too."""
    equal = _equal(starts, ends).reshape(len(starts), -1).any(1)
    if bool(equal.any()):
        first, second = names[int(equal.nonzero()[0])]
        raise CurveError(f"{what} {first} and {second} are equal, {cure}")


def _equal(a: Tensor, b: Tensor) -> Tensor:
    a, b = a.double(), b.double()
    return (a - b).norm(dim=-1) <= EQUAL * (a.norm(dim=-1) + b.norm(dim=-1))


def _through(keys: Tensor, prior: Prior | None, *, closed: bool) -> Curve:
    kind = "loop" if closed else "tour"
    keys = keyframes(keys, prior, f"a {kind}", least=3 if closed else 2)
    starts, ends, names = neighbours(keys, closed=closed)
    pieces = []
    for a, b, (first, second) in zip(starts, ends, names, strict=True):
        try:
            pieces.append(interpolate(a, b, prior))
        except CurveError as error:
            raise CurveError(f"between keyframes {first} and {second}: {error}") from error
    return _in_turn(pieces, kind, closed, pieces[0].prior)


def neighbours(keys: Tensor, *, closed: bool) -> tuple[Tensor, Tensor, list[tuple[int, int]]]:
    """Return where each piece through keyframes (K, ..., D) starts and ends, and the numbers of its two keyframes.

    Raises:
        CurveError: if two neighbours are equal.
    """
    starts = keys if closed else keys[:-1]
    ends = keys.roll(-1, 0) if closed else keys[1:]
    names = [(k, (k + 1) % len(keys)) for k in range(len(starts))]
    refuse_equal(
        starts,
        ends,
        names,
        "keyframes",
        "so frames between them would stand still; leave one out (to pause, use the animation's hold)",
    )
    return starts, ends, names


def snapped(times: Tensor, segments: int) -> Tensor:
    """Return times (T,) in segments, with those of keyframes exact: a keyframe's time is a rounded quotient."""
    scaled = times * segments
    return torch.where((scaled - scaled.round()).abs() < 1e-9, scaled.round(), scaled)


def _in_turn(pieces: Sequence[Curve], kind: str, closed: bool, prior: Prior | None) -> Curve:
    """Return curves one after the other, each with as much time as it has segments."""
    counts = torch.tensor([piece.segments for piece in pieces])
    firsts, segments = counts.cumsum(0) - counts, int(counts.sum())

    def at(times: Tensor) -> Tensor:
        scaled = snapped(times, segments)
        index = torch.searchsorted(firsts.double(), scaled, right=True) - 1
        local = (scaled - firsts[index]) / counts[index]
        if not len(times):
            return pieces[0].at(times)
        # Only the pieces in use, each with its own times.
        used = index.unique().tolist()
        parts = [pieces[k].at(local[index == k]) for k in used]
        back = torch.cat([(index == k).nonzero()[:, 0] for k in used]).argsort()
        return torch.cat(parts)[back.to(parts[0].device)]

    return Curve(at, kind, pieces[0].dim, segments, closed, prior)
