"""Normalising flows with `sample` and `log_prob`, as in zuko: inversion and density are exact."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from latentkit.adapters.foreign import reason
from latentkit.errors import ArgumentError, ShapeError
from latentkit.priors import Normal, Prior, Uniform
from latentkit.protocols import evaluating

__all__ = ["FlowEncoder", "FlowGenerator", "from_flow"]


@dataclass(frozen=True, eq=False)
class FlowEncoder:
    """A flow from samples to latents: an `Encoder`, and the exact inverse of its generator.

    Attributes: `module`, the generator.
    """

    module: "FlowGenerator"

    def __call__(self, x: Tensor, /) -> Tensor:
        """Return the latents (N, D) that make samples (N, *S)."""
        return self.module.inverse(x)


@dataclass(frozen=True, eq=False)
class FlowGenerator:
    """A flow as a generator of the latents of its base distribution, with all that it knows of samples.

    Gradients flow in both directions as far as the flow's transformations have them; autoregressive ones take D
    calls of their network in one direction. Inversion is as exact as the flow's own: to rounding where it has a
    formula, to its tolerance where it searches or integrates. A continuous flow chooses its steps for a whole batch, so
    that its samples depend on their batch to within that tolerance.

    Attributes: `module`, the flow; `prior`; `context` (C,) that a conditional flow is held at, or None.
    """

    module: Any
    prior: Prior
    context: Tensor | None = None

    def __call__(self, z: Tensor, /) -> Tensor:
        """Return samples (N, *S) for latents (N, D)."""
        parts = _parts(self.module, self.context)
        return parts.to_data((z * parts.unit.to(z) + parts.origin.to(z)).unflatten(1, parts.shape))

    def inverse(self, x: Tensor) -> Tensor:
        """Return the latents (N, D) that make samples (N, *S)."""
        parts = _parts(self.module, self.context)
        z = _checked(parts.to_base(_fitting(x, parts.data_shape)), len(x)).flatten(1)
        return (z - parts.origin.to(z)) / parts.unit.to(z)

    def log_prob(self, x: Tensor) -> Tensor:
        """Return the log density (N,) of samples (N, *S), in the flow's dtype."""
        parts = _parts(self.module, self.context)
        return _checked(parts.distribution.log_prob(_fitting(x, parts.data_shape)), len(x))

    @property
    def encoder(self) -> FlowEncoder:
        """The encoder of the flow."""
        return FlowEncoder(self)


def from_flow(flow: Any, *, context: Tensor | None = None) -> FlowGenerator:
    """Make a generator of a normalising flow.

    Args:
        flow: a flow of zuko, any other module that returns a distribution with `transform` (from samples to the base)
            and `base`, or a `torch.distributions.TransformedDistribution`; its base is normal or uniform with
            independent coordinates.
        context: what a conditional flow is held at, (C,).

    Raises:
        ArgumentError: if it is nothing of that kind, its base is another, or the context does not fit.

    Examples:
        >>> from torch.distributions import AffineTransform, Independent, Normal, TransformedDistribution
        >>> base = Independent(Normal(torch.zeros(2), torch.ones(2)), 1)
        >>> flow = from_flow(TransformedDistribution(base, [AffineTransform(3.0, 2.0)]))
        >>> flow(torch.ones(1, 2)).tolist(), flow.inverse(torch.tensor([[5.0, 1.0]])).tolist()
        ([[5.0, 5.0]], [[1.0, -1.0]])
    """
    if context is not None:
        if not isinstance(context, Tensor) or context.ndim != 1 or not bool(torch.isfinite(context).all()):
            raise ArgumentError("context must be one finite vector (C,)")
        context = context.detach()
    parts = _parts(flow, context)
    dim = math.prod(parts.shape)
    made = FlowGenerator(flow, Uniform(dim) if parts.bounded else Normal(dim), context)
    place = parts.origin
    try:
        with evaluating(made), torch.no_grad():
            x = made(made.prior.sample(2, seed=0).to(place.device, place.dtype))
    except (TypeError, RuntimeError, ValueError) as error:
        raise ArgumentError(_uncalled(context, error)) from error
    if tuple(x.shape) != (2, *parts.data_shape):
        raise ArgumentError(f"this flow says that it makes points {parts.data_shape}, and makes {tuple(x.shape)} of 2")
    return made


@dataclass(frozen=True, eq=False)
class _Parts:
    """A flow as it is now: its parameters may have changed since it was wrapped.

    Attributes: `distribution`; `to_data` and `to_base`; `shape` and `data_shape` of one point; `origin` and `unit`
    (D,) of the base, which latents are standardised by; `bounded`, whether the base is uniform.
    """

    distribution: Any
    to_data: Callable[[Tensor], Tensor]
    to_base: Callable[[Tensor], Tensor]
    shape: tuple[int, ...]
    data_shape: tuple[int, ...]
    origin: Tensor
    unit: Tensor
    bounded: bool


def _parts(flow: Any, context: Tensor | None) -> _Parts:
    from torch.distributions import ComposeTransform, TransformedDistribution

    if isinstance(flow, TransformedDistribution):
        if context is not None:
            raise ArgumentError("a distribution takes no context; it is conditioned already")
        onwards: Any = ComposeTransform(flow.transforms)
        return _described(flow, onwards, onwards.inv, flow.base_dist)
    if not isinstance(flow, nn.Module):
        raise ArgumentError(
            f"from_flow takes a flow such as zuko's, or a TransformedDistribution, got {type(flow).__name__}"
        )
    try:
        distribution = flow() if context is None else flow(context)
    except (TypeError, RuntimeError, AttributeError) as error:
        raise ArgumentError(_uncalled(context, error)) from error
    if not all(hasattr(distribution, name) for name in ("transform", "base", "log_prob")):
        raise ArgumentError(
            f"a flow has a transform and a base, and {type(flow).__name__} has none; wrap its decoder with "
            "latentkit.wrap"
        )
    return _described(distribution, distribution.transform.inv, distribution.transform, distribution.base)


def _described(distribution: Any, to_data: Any, to_base: Any, base: Any) -> _Parts:
    from torch.distributions import Independent, Normal, Uniform

    inner = base
    while isinstance(inner, Independent):
        inner = inner.base_dist
    if isinstance(inner, Normal):
        origin, unit = inner.loc, inner.scale
    elif isinstance(inner, Uniform):
        origin, unit = (inner.low + inner.high) / 2, (inner.high - inner.low) / 2
    else:
        raise ArgumentError(
            f"a flow's base must be normal or uniform with independent coordinates, got {type(inner).__name__}"
        )
    shape = tuple(base.event_shape)
    if not shape or origin.shape != shape:
        raise ArgumentError(f"a flow's base must be one vector, got batches {tuple(base.batch_shape)} of {shape}")
    data_shape = tuple(distribution.event_shape)
    return _Parts(
        distribution, to_data, to_base, shape, data_shape, origin.flatten(), unit.flatten(), isinstance(inner, Uniform)
    )


def _uncalled(context: Tensor | None, error: BaseException) -> str:
    given = "without a context" if context is None else f"with a context of {len(context)} numbers"
    return f"this flow cannot be called {given} ({reason(error)}); a conditional one takes context=..., another none"


def _fitting(x: Tensor, shape: tuple[int, ...]) -> Tensor:
    if x.shape[1:] != shape:
        raise ShapeError(f"samples must be (N, {', '.join(map(str, shape))}), got {tuple(x.shape)}")
    return x


def _checked(values: Tensor, rows: int) -> Tensor:
    if values.shape[:1] != (rows,):
        raise ShapeError(f"the flow must return one row a sample ({rows}, ...), got {tuple(values.shape)}")
    return values
