"""Directions that need no labels: from a generator's activations, its first layer's weights, and its derivatives."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from latentkit.checks import as_count, as_latents
from latentkit.directions import Direction, factorised, from_vectors, pca_directions, signed
from latentkit.edits.activations import activations, affine_layers, hooked, layer_of
from latentkit.edits.coordinates import class_numbers, free_part, free_prior, padded
from latentkit.errors import ArgumentError
from latentkit.geometry import jacobian
from latentkit.protocols import Generator, evaluating, place_of
from latentkit.sampling.generate import generate

__all__ = ["activation_directions", "jacobian_directions", "sefa"]

#: Latents whose way into the layers is followed.
FOLLOWED = 4

#: How far a number of a layer's input may lie from the latent's and still be it, as a share of the largest.
MATCH = 1e-3

#: Numbers of a Jacobian that are held at a time.
MOST_HELD = 2**24


def activation_directions(
    generator: Generator, k: int, *, layer: str | None = None, n: int = 4_000, seed: int = 0, batch_size: int = 64
) -> tuple[Direction, ...]:
    """Find the latent directions of the k principal components of a layer's activations.

    Latents are drawn, the layer's activations are decomposed, and latents are regressed on each component. Of a
    `Marginal` the activations are taken less the mean of their class, and only the other coordinates are moved.

    Args:
        generator: the model.
        k: how many directions, those of the largest variance first.
        layer: one of `layers_of(generator)`; by default the first linear or convolutional one.
        n: latents that are drawn; all their activations of the layer are held.
        seed: which latents.
        batch_size: latents a call.

    Raises:
        ArgumentError: if the generator has no such layer, or k is more than there are components.

    References:
        Härkönen, Hertzmann, Lehtinen, Paris (2020), "GANSpace: discovering interpretable GAN controls": the
            regression of latents on the components of a layer's activations.
    """
    k, n = as_count(k, "k"), as_count(n, "n", least=2)
    if layer is None:
        layer = next(iter(_affine(generator)))
    latents = generator.prior.sample(n, seed=seed)
    rows = activations(generator, latents, layer, batch_size=batch_size).flatten(1)
    classes = class_numbers(generator, latents)
    for number in classes.unique().tolist():
        own = classes == number
        rows[own] -= rows[own].mean(0)
    found = pca_directions(rows, k, latents=free_part(generator, latents), prior=free_prior(generator))
    return tuple(padded(generator, direction) for direction in found)


def sefa(generator: Generator, k: int, *, layer: str | Sequence[str] | None = None) -> tuple[Direction, ...]:
    """Find the k directions that change the first layer's output the most: closed-form factorisation.

    The directions are the eigenvectors of A^T A, A the weights through which the latent enters. Where it enters
    several layers, as a style does, their weights are stacked; of a layer that takes a class as well, only the
    latent's columns count. Which layers these are is found out by following latents: any linear or convolutional layer
    whose input holds the latent's numbers, possibly normalised. Nothing is random and nothing is generated but that.

    Args:
        generator: the model.
        k: how many directions, those of the largest eigenvalue first; at most D.
        layer: one or more layers that the latent enters, of `layers_of(generator)`; by default all of them.

    Raises:
        ArgumentError: if the latent enters no linear layer, or not this one, or k is more than D.

    References:
        Shen, Zhou (2021), "Closed-form factorization of latent semantics in GANs", equations 4 to 7.
    """
    k = as_count(k, "k")
    if layer is None:
        chosen = _affine(generator)
    else:
        names = [layer] if isinstance(layer, str) or not isinstance(layer, Sequence) else layer
        chosen = {name: layer_of(generator, name) for name in names}
    if not chosen:
        raise ArgumentError("layer must be one or more names of layers, got none")
    entering = _weights_of_latent(generator, chosen)
    missing = [name for name in chosen if name not in entering]
    if not entering or (layer is not None and missing):
        where = ", ".join(missing if layer is not None else chosen)
        raise ArgumentError(
            f"the latent itself does not enter {where} by a linear map, so there are no weights to factorise; name a "
            "layer that it enters, take the generator of a later latent space (w instead of z), or use "
            "activation_directions or jacobian_directions"
        )
    found = factorised(list(entering.values()), k, prior=free_prior(generator))
    return tuple(padded(generator, direction) for direction in found)


def jacobian_directions(
    generator: Generator,
    k: int,
    *,
    latents: Tensor | None = None,
    n: int = 64,
    seed: int = 0,
    batch_size: int = 64,
) -> tuple[Direction, ...]:
    """Find the k directions along which samples change the most: top eigenvectors of the mean of J^T J.

    J is the generator's Jacobian, and the mean is over latents of the prior; at one given latent the directions are
    the right singular vectors of its Jacobian. A direction's share is its eigenvalue's of their sum: the share of the
    squared change of samples under small steps the same in all directions.

    Args:
        generator: the model; it must be made of torch operations.
        k: how many directions, those of the largest change first; at most D.
        latents: (N, D) where the Jacobians are taken; by default `n` draws.
        n: draws, without `latents`.
        seed: which draws.
        batch_size: derivatives a call.

    Raises:
        ShapeError: if the latents are not (N, D).
        ArgumentError: if torch cannot follow the generator, no direction changes the samples, or k is more than D.

    References:
        Ramesh, Choi, LeCun (2019), "A spectral regularizer for unsupervised disentanglement", section 2: the right
            singular vectors of the Jacobian at a latent.
        Wang, Ponce (2021), "The geometry of deep generative image models and its applications", section 3: the
            eigenvectors of the metric, which agree over the latents.
    """
    k = as_count(k, "k")
    if latents is None:
        latents = generator.prior.sample(as_count(n, "n"), seed=seed)
    latents = as_latents(latents, generator.prior.dim)
    prior = free_prior(generator)
    if k > prior.dim:
        raise ArgumentError(f"k must be at most the {prior.dim} coordinates that can be moved, got {k}")
    total = torch.zeros(prior.dim, prior.dim, dtype=torch.float64)
    numbers = generate(generator, latents[:1]).numel() * latents.shape[1]
    for part in latents.split(max(MOST_HELD // max(numbers, 1), 1)):
        slopes = jacobian(generator, part, batch_size=batch_size)[..., : prior.dim].double().flatten(0, 1)
        total += slopes.mT @ slopes
    values, vectors = torch.linalg.eigh(total / len(latents))
    if not float(values[-1]) > 0.0:
        raise ArgumentError("no direction changes the samples at these latents, so there is none to find")
    shares = values.flip(0).clamp(min=0.0) / values.clamp(min=0.0).sum()
    names = [f"stretch {i + 1}" for i in range(k)]
    rows = signed(vectors.flip(1).T[:k]).float()
    found = from_vectors(rows, names, "Jacobian", prior, shares=shares[:k].tolist())
    return tuple(padded(generator, direction) for direction in found)


def _affine(generator: Generator) -> dict[str, nn.Module]:
    """Return the linear and convolutional layers by name, or raise `ArgumentError` if there are none."""
    layers = affine_layers(generator)
    if not layers:
        raise ArgumentError("the generator calls no linear or convolutional layer; use jacobian_directions")
    return layers


def _weights_of_latent(generator: Generator, layers: Mapping[str, nn.Module]) -> dict[str, Tensor]:
    """Return the weights (F, D) by which the latent enters each of some layers; those that it doesn't are left out."""
    latents = generator.prior.sample(FOLLOWED, seed=0)
    inputs: dict[str, Tensor] = {}

    def keep(name: str) -> Callable[..., None]:
        def hook(module: nn.Module, args: Any) -> None:
            if len(args) == 1 and isinstance(args[0], Tensor) and len(args[0]) == FOLLOWED:
                inputs.setdefault(name, args[0].detach())

        return hook

    with hooked({module: keep(name) for name, module in layers.items()}, before=True):
        generate(generator, latents)
    found = {}
    device, dtype = place_of(generator)
    z = free_part(generator, latents.to(device, dtype)).double()
    for name, given in inputs.items():
        sources = _sources(given.double().flatten(1), z)
        known = sources >= 0
        weight = _linear_part(generator, layers[name], given) if bool(known.any()) else None
        if weight is not None:
            held = torch.zeros(len(weight), z.shape[1], dtype=torch.float64, device=weight.device)
            found[name] = held.index_add_(1, sources[known], weight[:, known]).cpu()
    return found


def _sources(given: Tensor, z: Tensor) -> Tensor:
    """Return for each number of a layer's input (N, I) which coordinate of the latents (N, D) it is, -1 for none.

    Coordinates are recognised by their values, as they are or scaled to norm 1 or to mean square 1. All of the
    input that varies must be the latent's, or the whole latent be in it: one equal number may be chance.
    """
    norms = z.norm(dim=1, keepdim=True).clamp(min=1e-30)
    moving = given.std(0) > 0
    for scaled in (z, z / norms, z / norms * z.shape[1] ** 0.5):
        order = scaled[0].argsort()
        after = torch.searchsorted(scaled[0, order].contiguous(), given[0].contiguous())
        candidates = order[torch.stack([after - 1, after]).clamp(0, len(order) - 1)]
        gaps = (scaled[:, candidates] - given[:, None]).abs().amax(0)
        nearest = gaps.min(0)
        known = moving & (nearest.values <= MATCH * float(scaled.abs().max()))
        sources = torch.where(known, candidates.gather(0, nearest.indices[None])[0], -1)
        if bool(known.any()) and (bool(known[moving].all()) or len(sources[known].unique()) == z.shape[1]):
            return sources
    return torch.full((given.shape[1],), -1, device=given.device)


def _linear_part(generator: Generator, module: nn.Module, given: Tensor) -> Tensor | None:
    """Return the matrix (F, I) float64 of a layer for inputs like `given` (N, *I), or None if it is not affine."""
    size = given[0].numel()
    basis = torch.eye(size, device=given.device, dtype=given.dtype).reshape(size, *given.shape[1:])
    with evaluating(generator), torch.no_grad():
        none = module(torch.zeros_like(given[:1])).flatten(1).double()
        matrix = (module(basis).flatten(1).double() - none).T
        expected = given.flatten(1).double() @ matrix.T + none
        real = module(given).flatten(1).double()
    close = torch.allclose(real, expected, rtol=1e-2, atol=1e-2 * float(real.abs().max()))
    return matrix if close else None
