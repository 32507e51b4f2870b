"""Priors as plain JSON values and back."""

from collections.abc import Callable
from typing import Any

import torch

from latentkit.errors import ArgumentError
from latentkit.priors.classes import OneHot
from latentkit.priors.empirical import Empirical
from latentkit.priors.joint import Joint
from latentkit.priors.normal import Normal
from latentkit.priors.prior import Prior
from latentkit.priors.sphere import Sphere
from latentkit.priors.tied import Tied
from latentkit.priors.uniform import Uniform

__all__ = ["prior_from_dict", "prior_to_dict"]

_FAMILIES: dict[str, Callable[..., Prior]] = {"normal": Normal, "uniform": Uniform, "sphere": Sphere, "one-hot": OneHot}


def prior_to_dict(prior: Prior) -> dict[str, Any]:
    """Return a prior as plain JSON values.

    Raises:
        ArgumentError: for a prior that is not one of latentkit's.
    """
    if isinstance(prior, Normal):
        return {"family": "normal", "dim": prior.dim, "mean": prior.mean, "std": prior.std}
    if isinstance(prior, Uniform):
        return {"family": "uniform", "dim": prior.dim, "low": prior.low, "high": prior.high}
    if isinstance(prior, Sphere):
        return {"family": "sphere", "dim": prior.dim, "radius": prior.radius}
    if isinstance(prior, Empirical):
        return {
            "family": "empirical",
            "weights": prior.weights.tolist(),
            "means": prior.means.tolist(),
            "scales": prior.scales.tolist(),
        }
    if isinstance(prior, OneHot):
        return {"family": "one-hot", "dim": prior.dim}
    if isinstance(prior, Joint):
        return {"family": "joint", "first": prior_to_dict(prior.first), "second": prior_to_dict(prior.second)}
    if isinstance(prior, Tied):
        return {"family": "tied", "single": prior_to_dict(prior.single), "layers": prior.layers}
    raise ArgumentError(f"cannot store a prior of type {type(prior).__name__}; use one of latentkit's")


def prior_from_dict(values: dict[str, Any]) -> Prior:
    """Return the prior that `prior_to_dict` described.

    Raises:
        ArgumentError: if the family or an argument is not known.
    """
    arguments = dict(values)
    family = arguments.pop("family", None)
    try:
        if family == "empirical":
            tensors = {key: torch.tensor(value, dtype=torch.float64) for key, value in arguments.items()}
            return Empirical(**tensors)
        if family == "joint":
            return Joint(**{part: prior_from_dict(values) for part, values in arguments.items()})
        if family == "tied":
            return Tied(prior_from_dict(arguments["single"]), arguments["layers"])
        return _FAMILIES[family](**arguments)
    except (KeyError, TypeError, ValueError) as error:
        raise ArgumentError(f"this is no prior that latentkit knows: {family!r} ({error})") from None
