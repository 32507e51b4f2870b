"""Directions learned from any function of the samples: latents are drawn, decoded, measured, and compared."""

from collections.abc import Callable

import torch
from torch import Tensor

from latentkit.checks import as_count, as_latents, as_number, floating
from latentkit.directions import Direction, extremes, mean_difference
from latentkit.edits.coordinates import class_numbers, free_part, free_prior, padded
from latentkit.edits.measuring import Attribute, attribute_name, measured
from latentkit.errors import LabelError, NonFiniteError
from latentkit.protocols import Generator

__all__ = ["Fit", "fit_direction", "labels_within", "learn_direction"]

#: Latents (N, D) and labels (N,) of bool to a direction: `mean_difference`, `svm_boundary`, `logistic_boundary`.
Fit = Callable[..., Direction]

#: Fewest latents of a class that both of its ends are taken from.
FEWEST_OF_A_CLASS = 10


def learn_direction(
    generator: Generator,
    attribute: Attribute,
    *,
    name: str | None = None,
    fit: Fit = mean_difference,
    n: int = 2_000,
    seed: int = 0,
    start: int = 0,
    extreme: float | None = None,
    batch_size: int = 64,
) -> Direction:
    """Find the direction along which an attribute of the samples grows, from nothing but the attribute.

    Latents are drawn and decoded, the attribute is measured on the samples, and `fit` compares the latents of those
    that have more of it with the others. Of a conditional generator over all its classes (`marginal`), samples count
    as having more of it than the others of their class, and the coordinates that choose the class are not moved.

    Args:
        generator: the model.
        attribute: takes samples (N, *S) and returns one number or one bool a sample (N,): one of
            `latentkit.attributes`, or any function, such as a classifier of your own.
        name: what the direction is called; by default the name of the function.
        fit: what makes a direction of latents and labels, called with `name=` and `prior=` as well.
        n: latents that are drawn.
        seed: which latents.
        start: the first of them.
        extreme: share of the latents with the least, and of those with the most, that are compared, above 0 and at
            most 0.5 (0.02 was published); by default all are, split at the median. Bools are used as they are.
        batch_size: latents a call.

    Raises:
        ArgumentError: if the attribute cannot be called, or a number is out of range.
        ShapeError: if the attribute does not return one number a sample.
        NonFiniteError: if it returns NaN or infinity.
        LabelError: if it is the same for all samples, or leaves too few latents on a side.

    References:
        Shen, Gu, Tang, Zhou (2020), "Interpreting the latent space of GANs for semantic face editing":
            scores of an off-the-shelf classifier as labels, the extreme ones only.

    Examples:
        >>> import latentkit as lk
        >>> stretch = lk.wrap(lambda z: z * torch.tensor([3.0, 1.0]), lk.Normal(2))
        >>> found = learn_direction(stretch, lambda x: x[:, 0] > 0, name="right")
        >>> bool(found.vector[0] > 0.99)
        True
    """
    n, start = as_count(n, "n", least=2), as_count(start, "start", least=0)
    name = attribute_name(attribute) if name is None else name
    latents = generator.prior.sample(n, seed=seed, start=start)
    values = measured(generator, latents, attribute, name=name, batch_size=batch_size)
    return fit_direction(generator, latents, values, name=name, fit=fit, extreme=extreme)


def fit_direction(
    generator: Generator,
    latents: Tensor,
    values: Tensor,
    *,
    name: str,
    fit: Fit = mean_difference,
    extreme: float | None = None,
) -> Direction:
    """Find the direction along which measured values grow; see `learn_direction`, which draws and measures.

    Args:
        generator: the model whose latents they are.
        latents: (N, D).
        values: (N,) numbers, or bools.
        name: what the direction is called.
        fit: what makes a direction of latents and labels.
        extreme: share of the latents on each side, or None for all, split at the median.

    Raises:
        ShapeError: if the latents are not (N, D).
        LabelError: if values are of another length, NaN, all the same, or leave too few latents on a side.
    """
    latents = as_latents(latents, generator.prior.dim)
    rows, labels = labels_within(values, class_numbers(generator, latents).cpu(), extreme, name=name)
    chosen = free_part(generator, latents)[rows.to(latents.device)]
    return padded(generator, fit(chosen, labels, name=name, prior=free_prior(generator)))


def labels_within(
    values: Tensor, classes: Tensor, extreme: float | None = None, *, name: str = "attribute"
) -> tuple[Tensor, Tensor]:
    """Return which latents are compared (M,), and whether each has more of an attribute than others of its class.

    Args:
        values: (N,) numbers, which are split at the median of each class, or bools, which are used as they are.
        classes: (N,) class numbers.
        extreme: share of each class's lowest and highest that are compared, above 0 and at most 0.5, or None for all.
        name: what the values are called in an error.

    Returns:
        rows (M,) long and labels (M,) bool. A class in which all values are equal is left out, for it says nothing.

    Raises:
        LabelError: if the values are not one a latent, hold NaN, or are all the same.
    """
    if isinstance(values, Tensor) and values.dtype == torch.bool:
        held = values.detach().cpu()
    else:
        try:
            held = floating(values, name).double().cpu()
        except ValueError as error:
            raise LabelError(f"the values of {name} must be numbers or bools: {error}") from None
    if held.shape != classes.shape:
        raise LabelError(f"the values of {name} must be one a latent, ({len(classes)},), got {tuple(held.shape)}")
    if held.dtype == torch.bool:
        return torch.arange(len(held)), held
    bad = int((~torch.isfinite(held)).sum())
    if bad:
        raise NonFiniteError(f"the values of {name} must be finite, got {bad} of {len(held)} that are not")
    share = None if extreme is None else as_number(extreme, "extreme", least=0.0, most=0.5, open_least=True)
    rows, labels = [], []
    for k in classes.unique().tolist():
        own = (classes == k).nonzero()[:, 0]
        some = held[own]
        if bool((some == some[0]).all()):
            continue
        if share is None:
            chosen, above = torch.arange(len(own)), _halves(some)
        elif len(own) < FEWEST_OF_A_CLASS:
            continue
        else:
            chosen, above = extremes(some, share)
        rows.append(own[chosen])
        labels.append(above)
    if not rows:
        raise LabelError(
            f"{name} is {float(held[0]) if len(held) else float('nan'):g} for all {len(held)} samples"
            f"{' of a class' if len(classes.unique()) > 1 else ''}, so there is no direction along which it grows; "
            "measure something that differs between samples"
        )
    return torch.cat(rows), torch.cat(labels)


def _halves(values: Tensor) -> Tensor:
    """Return which values (N,) are above the median; those that equal it go where the halves come out more even."""
    middle = values.median()
    without, with_equal = values > middle, values >= middle
    half = len(values) / 2
    return without if abs(int(without.sum()) - half) <= abs(int(with_equal.sum()) - half) else with_equal
