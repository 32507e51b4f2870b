"""Shortest ways between latents, measured by what they do to the samples."""

import torch
from torch import Tensor

from latentkit.checks import as_count, as_latents, as_vector
from latentkit.curves import Curve, interpolate, lerp
from latentkit.errors import ArgumentError, CurveError
from latentkit.protocols import Generator, check_rows, evaluating, place_of

__all__ = ["geodesic", "polyline"]


def polyline(points: Tensor, kind: str) -> Curve:
    """Return the curve through points (T, D), straight between neighbours, each taking the same time.

    Raises:
        ShapeError: if there are fewer than 2 points.
        NonFiniteError: if a point holds NaN or infinity.
    """
    points = as_latents(points, None, "points", least=2)
    segments = len(points) - 1

    def at(times: Tensor) -> Tensor:
        scaled = times.to(points.device) * segments
        first = scaled.floor().clamp(max=segments - 1).long()
        weight = (scaled - first)[:, None]
        found = torch.lerp(points[first].double(), points[first + 1].double(), weight)
        return found.to(points.dtype)

    return Curve(at, kind, points.shape[1], segments)


def geodesic(generator: Generator, a: Tensor, b: Tensor, *, points: int = 16, steps: int = 100) -> Curve:
    """Return the curve from a to b, each (D,), along which the samples change as little as they can.

    It is a shortest way in the metric that the generator pulls back to the latent space: the curve's `points` pieces
    minimise the energy, half of `points` times the sum of squared distances between the samples of neighbours, by
    L-BFGS from the prior-matched interpolation (from the straight line where the ends are opposite). Nothing is
    random. The energy is never above that of the start, and the speed at which samples change is nearly even. Where
    several ways are locally shortest it is the one that the start leads to; and a short way need not be a good one:
    it may well cross what the generator makes badly.

    Args:
        generator: the model; it must be made of torch operations.
        a: (D,), where the curve starts.
        b: (D,), where it ends.
        points: how many pieces, at least 1; all their samples are held with their gradients.
        steps: steps of L-BFGS, at most; each costs one or a few passes forwards and backwards for all pieces.

    Raises:
        ShapeError: if the ends are not (D,) with the prior's D.
        NonFiniteError: if an end holds NaN or infinity.
        CurveError: if the ends are equal.
        ArgumentError: if torch cannot follow the generator from its samples to its latents.

    References:
        Shao, Kumar, Fletcher (2018), "The Riemannian geometry of deep generative models", equation 4 and algorithm 1.
        Arvanitidis, Hansen, Hauberg (2018), "Latent space oddity", section 3.
    """
    dim = generator.prior.dim
    a, b = as_vector(a, dim, "the first end"), as_vector(b, dim, "the second end")
    points, steps = as_count(points, "points"), as_count(steps, "steps")
    if torch.equal(a, b):
        raise CurveError("the ends are equal, so there is no way between them; take two latents")
    try:
        start = interpolate(a, b, generator.prior).steps(points + 1)
    except CurveError:
        start = lerp(a, b).steps(points + 1)
    inner = start[1:-1]
    if len(inner):
        inner = _relaxed(generator, start, steps).to(start.dtype).to(start.device)
    return polyline(torch.cat([start[:1], inner, start[-1:]]), "geodesic")


def _relaxed(generator: Generator, start: Tensor, steps: int) -> Tensor:
    """Return the inner points (T - 2, D) of the polyline of least energy found from `start` (T, D)."""
    device, dtype = place_of(generator)
    line = start.detach().to(device, dtype)
    with evaluating(generator), torch.inference_mode(False), torch.enable_grad():
        free = line[1:-1].clone().requires_grad_()
        best: tuple[float, Tensor] = (torch.inf, line[1:-1])
        unit = 0.0

        def energy() -> Tensor:
            nonlocal best, unit
            z = torch.cat([line[:1], free, line[-1:]])
            samples = check_rows(generator(z), len(z), "the generator").flatten(1)
            if not samples.requires_grad:
                raise ArgumentError(
                    "the generator's samples do not depend on its latents by torch operations that keep gradients, "
                    "so there is no geodesic; use lerp or interpolate"
                )
            found = 0.5 * (len(z) - 1) * samples.diff(dim=0).square().sum()
            value = float(found.detach())
            if value < best[0]:
                best = value, free.detach().clone()
            # In units of the start's energy: L-BFGS's tolerances are absolute.
            unit = unit or max(value, 1e-30)
            return found / unit

        search = torch.optim.LBFGS(
            [free],
            max_iter=steps,
            history_size=20,
            tolerance_grad=1e-9,
            tolerance_change=1e-12,
            line_search_fn="strong_wolfe",
        )

        def closure() -> Tensor:
            search.zero_grad()
            found = energy()
            free.grad = torch.autograd.grad(found, free)[0].contiguous()
            return found

        search.step(closure)
    return best[1]
