"""Attributes of samples, measured while they are generated: nothing but the numbers is kept."""

from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from latentkit.errors import ArgumentError, NonFiniteError, ShapeError
from latentkit.protocols import Generator
from latentkit.sampling.generate import stream

__all__ = ["Attribute", "as_attributes", "attribute_name", "measured", "measured_all"]

#: Samples (N, *S) to one number, or one bool, a sample (N,).
Attribute = Callable[[Tensor], Tensor]


def attribute_name(attribute: Attribute) -> str:
    """Return what a function is called, or "attribute" if it has no name of its own."""
    name = getattr(attribute, "__name__", "attribute")
    return "attribute" if name == "<lambda>" else name


def as_attributes(attributes: Mapping[str, Attribute]) -> dict[str, Attribute]:
    """Return attributes by name, or raise `ArgumentError` if there are none or one cannot be called."""
    if not isinstance(attributes, Mapping) or not attributes:
        raise ArgumentError(
            'attributes must be functions of samples by name, such as {"brightness": brightness}, at least one, got '
            f"{attributes!r}"
        )
    for name, attribute in attributes.items():
        if not callable(attribute):
            raise ArgumentError(f"the attribute {name} must be a function of samples (N, *S), got {attribute!r}")
    return {str(name): attribute for name, attribute in attributes.items()}


def measured(
    generator: Generator, latents: Tensor, attribute: Attribute, *, name: str | None = None, batch_size: int = 64
) -> Tensor:
    """Return an attribute (N,) of the samples of latents (N, D), holding one batch of samples at a time.

    Args:
        generator: the model.
        latents: (N, D).
        attribute: takes samples (N, *S) and returns one number or one bool a sample.
        name: what the attribute is called in an error.
        batch_size: latents a call.

    Returns:
        (N,) float64, or bool where the attribute says yes or no; on the CPU.

    Raises:
        ArgumentError: if the attribute cannot be called.
        ShapeError: if it does not return one number a sample, or the latents are not (N, D).
        NonFiniteError: if it returns NaN or infinity, or a latent holds one.
    """
    name = attribute_name(attribute) if name is None else name
    attribute = as_attributes({name: attribute})[name]
    batches = stream(generator, latents, batch_size=batch_size)
    parts = [_values(attribute, batch, name) for batch in batches]
    return _finite(torch.cat(parts), name)


def measured_all(
    generator: Generator, latents: Tensor, attributes: Mapping[str, Attribute], *, batch_size: int = 64
) -> Tensor:
    """Return several attributes (N, A) float64 of the samples of latents (N, D); a bool counts as 0 or 1.

    Raises:
        ShapeError: if an attribute does not return one number a sample.
        NonFiniteError: if one returns NaN or infinity.
    """
    rows = [
        torch.stack([_values(attribute, batch, name).double() for name, attribute in attributes.items()], dim=1)
        for batch in stream(generator, latents, batch_size=batch_size)
    ]
    values = torch.cat(rows)
    for column, name in zip(values.T, attributes, strict=True):
        _finite(column, name)
    return values


def _values(attribute: Attribute, samples: Tensor, name: str) -> Tensor:
    """Return an attribute's values (N,), float64 or bool, of one batch."""
    with torch.no_grad():
        found = attribute(samples)
    try:
        values = torch.as_tensor(found).detach().cpu()
    except (TypeError, ValueError, RuntimeError):
        raise ShapeError(
            f"the attribute {name} must return one number a sample ({len(samples)},), got {type(found).__name__}"
        ) from None
    if values.ndim == 0 or values.shape[0] != len(samples) or values.numel() != len(samples) or values.is_complex():
        raise ShapeError(
            f"the attribute {name} must return one number a sample ({len(samples)},), got {tuple(values.shape)}"
        )
    values = values.reshape(-1)
    return values if values.dtype == torch.bool else values.double()


def _finite(values: Tensor, name: str) -> Tensor:
    """Return values (N,) unchanged, or raise `NonFiniteError` that names the attribute."""
    bad = (~torch.isfinite(values)).nonzero().flatten().tolist()
    if bad:
        raise NonFiniteError(
            f"the attribute {name} must be finite, got NaN or infinity for {len(bad)} of {len(values)} samples (the "
            f"first is number {bad[0]}); let it return a number for every sample"
        )
    return values
