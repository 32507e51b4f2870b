"""Directions from labels: the difference of means, and the normals of linear boundaries.

All three count both sides the same, whatever their sizes, and all are scored on latents that they were not fitted
on. They differ where the prior's coordinates do: a difference of means leans towards the coordinates that vary most,
since they go along with everything that they are correlated with. It is the direction that *goes with* the label. A
boundary's normal is corrected for that: it is the direction that the label *depends on*, and the one to use where
the prior's coordinates have different spreads or are correlated (codes of an encoder, w spaces). For an isotropic
prior all of them aim at the same direction; where the labels are clean, the boundaries come closer to it.
"""

from collections.abc import Callable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from latentkit.checks import as_latents, as_number
from latentkit.directions.direction import Direction, typical_range
from latentkit.directions.labels import split, two_sides
from latentkit.errors import LabelError, ShapeError
from latentkit.priors import Normal, Prior
from latentkit.roc import auc

__all__ = ["Labels", "logistic_boundary", "mean_difference", "svm_boundary"]

Array = NDArray[np.float64]

Labels = Tensor | Sequence[bool] | Sequence[int]

#: From latents (N, D) float64 and sides (N,) bool to a vector (D,) of any length and an intercept.
_Fit = Callable[[Tensor, Tensor], tuple[Tensor, float]]


def mean_difference(
    latents: Tensor, labels: Labels, *, name: str = "direction", prior: Prior | None = None
) -> Direction:
    """Return the direction from the mean of the negative latents to that of the positive ones.

    Each side counts the same whatever its size. For a Gaussian prior with equal spreads this is the direction along
    which the label changes fastest on average; with different spreads it is biased towards the wide coordinates,
    and `logistic_boundary` is not. Its boundary is where, along the vector, both sides are misjudged equally often.

    Args:
        latents: (N, D).
        labels: (N,) of bool, or of 0 and 1.
        name: what the direction is called.
        prior: the generator's prior, for the safe range; by default the standard normal one.

    Raises:
        ShapeError: if the latents are not (N, D).
        LabelError: if labels are of another length, not two-valued, or leave fewer than 5 latents on
            a side; or if both sides have one mean.

    References:
        Larsen et al. (2016), "Autoencoding beyond pixels using a learned similarity metric",
        section 4.1: attribute vectors as differences of means.
    """
    return _fitted(latents, labels, name, prior, "mean difference", _difference_of_means)


def svm_boundary(
    latents: Tensor, labels: Labels, *, name: str = "direction", prior: Prior | None = None, c: float = 1.0
) -> Direction:
    """Return the unit normal of a linear support vector machine's boundary, with its intercept.

    It minimises |w|^2 / 2 + c * sum_i a_i max(0, 1 - y_i (w . u_i + b))^2 in coordinates u that are centred and
    divided by their standard deviations; a_i = N / (2 N_side) makes the sides equal. Vector and intercept are mapped
    back exactly, so they do not depend on the latents' units or origin.

    Args:
        latents: (N, D).
        labels: (N,) of bool, or of 0 and 1; the extremes of an attribute (`extremes`) where it has values.
        name: what the direction is called.
        prior: the generator's prior, for the safe range; by default the standard normal one.
        c: weight of the errors against the width of the margin, above 0. Smaller is smoother.

    Raises:
        ShapeError: if the latents are not (N, D).
        LabelError: as in `mean_difference`.
        ArgumentError: if c is not above 0.

    References:
        Shen, Gu, Tang, Zhou (2020), "Interpreting the latent space of GANs for semantic face editing", section 3:
        the normal of a linear SVM's boundary as the direction of an attribute.
    """
    c = as_number(c, "c", least=0.0, open_least=True)

    return _fitted(latents, labels, name, prior, "linear SVM", _boundary(_squared_hinge, c))


def logistic_boundary(
    latents: Tensor, labels: Labels, *, name: str = "direction", prior: Prior | None = None, c: float = 1.0
) -> Direction:
    """Return the unit normal of a logistic regression's boundary, with its intercept.

    It minimises |w|^2 / 2 + c * sum_i a_i log(1 + exp(-y_i (w . u_i + b))) in coordinates u that are centred and
    divided by their standard deviations; a_i = N / (2 N_side) makes the sides equal, so the boundary is where a
    latent would be of either side with equal chance if the sides were equally frequent. Vector and intercept are
    mapped back exactly, so they do not depend on the latents' units or origin.

    Args:
        latents: (N, D).
        labels: (N,) of bool, or of 0 and 1.
        name: what the direction is called.
        prior: the generator's prior, for the safe range; by default the standard normal one.
        c: weight of the errors against the size of w, above 0. Smaller is smoother.

    Raises:
        ShapeError: if the latents are not (N, D).
        LabelError: as in `mean_difference`.
        ArgumentError: if c is not above 0.

    References:
        Cox (1958), "The regression analysis of binary sequences".
    """
    c = as_number(c, "c", least=0.0, open_least=True)

    return _fitted(latents, labels, name, prior, "logistic regression", _boundary(_log_loss, c))


def _fitted(latents: Tensor, labels: Labels, name: str, prior: Prior | None, method: str, fit: _Fit) -> Direction:
    """Return the direction fitted on all latents, with the held-out scores of one fitted on 70 % of them."""
    latents = as_latents(latents)
    prior = Normal(latents.shape[1]) if prior is None else prior
    if prior.dim != latents.shape[1]:
        raise ShapeError(f"latents must have the prior's {prior.dim} coordinates, got {latents.shape[1]}")
    positive = two_sides(labels, len(latents))
    z = latents.double().cpu()
    vector, intercept = _unit(*fit(z, positive))
    ranked, judged = _held_out(z, positive, fit)
    return Direction(
        vector.to(latents.device, latents.dtype),
        name,
        method,
        typical_range(z, vector, prior),
        (int((~positive).sum()), int(positive.sum())),
        ranked,
        judged,
        intercept,
    )


def _unit(vector: Tensor, intercept: float) -> tuple[Tensor, float]:
    norm = float(vector.norm())
    return vector / norm, intercept / norm


def _held_out(z: Tensor, positive: Tensor, fit: _Fit) -> tuple[float, float]:
    """Return the AUC and the balanced accuracy on the 30 % that a fit did not see."""
    fitted = split(positive)
    try:
        vector, intercept = _unit(*fit(z[fitted], positive[fitted]))
    except LabelError:
        return 0.5, 0.5
    scores, sides = z[~fitted] @ vector + intercept, positive[~fitted]
    # A score of exactly 0 lies on the boundary and is half right.
    right = 0.5 * (1.0 + torch.sign(torch.where(sides, scores, -scores)))
    accuracy = 0.5 * (right[sides].mean() + right[~sides].mean())
    return auc(scores[sides].numpy(), scores[~sides].numpy()), float(accuracy)


def _difference_of_means(z: Tensor, positive: Tensor) -> tuple[Tensor, float]:
    middle = z.mean(0)
    centred = z - middle
    vector = centred[positive].mean(0) - centred[~positive].mean(0)
    if not float(vector.norm()) > 1e-12 * float(z.norm(dim=1).mean()):
        raise LabelError("the labels say nothing about the latents: both sides have the same mean")
    return vector, -_equal_error(centred @ vector, positive) - float(middle @ vector)


def _equal_error(scores: Tensor, positive: Tensor) -> float:
    """Return the threshold at which as large a share of the positives lies below as of the negatives above."""
    order = torch.argsort(scores)
    ranked, sides = scores[order], positive[order].long()
    positives, negatives = int(sides.sum()), int((1 - sides).sum())
    # Share of positives below less that of negatives above, times both counts: exact, rising from below 0 to above.
    excess = sides.cumsum(0) * negatives - (negatives - (1 - sides).cumsum(0)) * positives
    first = int((excess < 0).sum())
    if int(excess[first]) == 0 and first + 1 < len(ranked):
        return float(0.5 * (ranked[first] + ranked[first + 1]))
    return float(ranked[first])


def _squared_hinge(margins: Array) -> tuple[Array, Array]:
    """Return the loss and its slope (N,) each at margins y (w . u + b) (N,)."""
    short = np.maximum(1.0 - margins, 0.0)
    return short * short, -2.0 * short


def _log_loss(margins: Array) -> tuple[Array, Array]:
    """Return the loss and its slope (N,) each at margins y (w . u + b) (N,)."""
    from scipy.special import expit

    return np.logaddexp(0.0, -margins), -expit(-margins)


def _boundary(loss: Callable[[Array], tuple[Array, Array]], c: float) -> _Fit:
    """Return the fit of a boundary by a convex loss, in coordinates of mean 0 and standard deviation 1.

    The intercept is not penalised, so that the boundary moves with the latents.
    """
    from scipy.optimize import minimize

    def fit(z: Tensor, positive: Tensor) -> tuple[Tensor, float]:
        middle, spread = z.mean(0), z.std(0)
        # A coordinate that never varies stays as it is: it gets no weight.
        spread = torch.where(spread > 1e-12 * (1.0 + middle.abs()), spread, torch.ones_like(spread))
        u, y = ((z - middle) / spread).numpy(), np.where(positive.numpy(), 1.0, -1.0)
        shares = c * len(y) / (2.0 * np.where(y > 0, np.sum(y > 0), np.sum(y < 0)))

        def objective(parameters: Array) -> tuple[float, Array]:
            w = parameters[:-1]
            losses, slopes = loss(y * (u @ w + parameters[-1]))
            pull = shares * y * slopes
            return 0.5 * float(w @ w) + float(shares @ losses), np.append(w + pull @ u, pull.sum())

        tight = {"maxiter": 5000, "maxfun": 10_000, "gtol": 1e-6 * c * len(y), "ftol": 1e-13}
        found = minimize(objective, np.zeros(u.shape[1] + 1), jac=True, method="L-BFGS-B", options=tight).x
        if not float(np.linalg.norm(found[:-1])) > 1e-9:
            raise LabelError("the labels say nothing about the latents: no boundary tells the sides apart")
        vector = torch.from_numpy(found[:-1]) / spread
        return vector, float(found[-1]) - float(vector @ middle)

    return fit
