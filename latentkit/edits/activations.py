"""What the layers inside a generator put out, read by forward hooks that never outlive a call."""

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from latentkit.checks import as_count, as_latents
from latentkit.errors import ArgumentError
from latentkit.protocols import Generator, evaluating, modules_of, place_of
from latentkit.sampling.generate import generate

__all__ = ["activations", "affine_layers", "called_layers", "hooked", "layer_of", "layers_of"]

#: Latents that a generator is tried on, to see which layers it calls.
TRIED = 3

#: What hangs below this is part of how a weight is made, not a layer.
_PARAMETRIZATIONS = "parametrizations"


class _Reached(BaseException):
    """The layer that was asked for has put out its activation: the rest of the call is not needed."""


def layers_of(generator: Generator) -> tuple[str, ...]:
    """Return the names of the layers inside a generator that can be read and edited, in the order of their calls.

    They are the submodules that the generator calls and that return one tensor (N, ...) a call, by their names in
    `named_modules()`; where a generator consists of several modules, behind the number of theirs.

    Raises:
        ArgumentError: if the generator holds no torch module.

    Examples:
        >>> import latentkit as lk
        >>> layers_of(lk.condition(lk.load("fashion-mnist").generator, "bag"))[:3]
        ('start', 'start_norm.0', 'start_norm.1')
    """
    return tuple(called_layers(generator))


def called_layers(generator: Generator) -> dict[str, nn.Module]:
    """Return the layers that a generator calls, by name and in the order of their calls; see `layers_of`."""
    named = _named(generator)
    called: list[str] = []

    def note(name: str) -> Callable[..., None]:
        def hook(module: nn.Module, args: Any, output: Any) -> None:
            if isinstance(output, Tensor) and output.ndim >= 2 and len(output) == TRIED:
                called.append(name)

        return hook

    with hooked({module: note(name) for name, module in named.items()}):
        generate(generator, generator.prior.sample(TRIED, seed=0))
    return {name: named[name] for name in dict.fromkeys(called)}


def affine_layers(generator: Generator) -> dict[str, nn.Module]:
    """Return the linear and convolutional layers, by name and in the order of their calls.

    They are those whose weight has two axes or more, whichever library they come from.
    """
    layers = called_layers(generator)
    return {name: module for name, module in layers.items() if getattr(getattr(module, "weight", None), "ndim", 0) > 1}


def layer_of(generator: Generator, layer: str) -> nn.Module:
    """Return a layer of a generator by its name.

    Raises:
        ArgumentError: if there is no such layer, or the generator never calls it.
    """
    layers = called_layers(generator)
    if layer not in layers:
        names = ", ".join(list(layers)[:12]) + (f", ... ({len(layers)} in all)" if len(layers) > 12 else "")
        raise ArgumentError(f"layer must be one that the generator calls: {names}; got {layer!r}")
    return layers[layer]


def activations(generator: Generator, latents: Tensor, layer: str, *, batch_size: int = 64) -> Tensor:
    """Return what a layer puts out (N, *F) for latents (N, D), on the CPU; what comes after it is not computed.

    Of a layer that is called more than once for a sample it is the first call's.

    Args:
        generator: the model; it runs where it is, in eval mode.
        latents: (N, D).
        layer: one of `layers_of(generator)`.
        batch_size: latents a call.

    Raises:
        ShapeError: if the latents are not (N, D).
        ArgumentError: if there is no such layer.
    """
    latents, batch_size = as_latents(latents, generator.prior.dim), as_count(batch_size, "batch_size")
    module = layer_of(generator, layer)
    device, dtype = place_of(generator)
    found: list[Tensor] = []

    def keep(module: nn.Module, args: Any, output: Any) -> None:
        found.append(output.detach().cpu())
        raise _Reached

    for part in latents.split(batch_size):
        with evaluating(generator), torch.no_grad(), hooked({module: keep}):
            try:
                generator(part.to(device, dtype))
            except _Reached:
                continue
            raise ArgumentError(f"the generator did not call its layer {layer} for these latents")
    return torch.cat(found)


@contextmanager
def hooked(hooks: Mapping[nn.Module, Callable[..., Any]], *, before: bool = False) -> Iterator[None]:
    """Call `hook(module, args, output)` after each call of a module within the block, in this thread only.

    What a hook returns takes the output's place, unless it is None. With `before`, `hook(module, args)` is called
    before the module. The hooks are gone after the block, whatever happens in it.
    """
    thread = threading.get_ident()

    def ours(hook: Callable[..., Any]) -> Callable[..., Any]:
        def call(*seen: Any) -> Any:
            return hook(*seen) if threading.get_ident() == thread else None

        return call

    handles = []
    try:
        for module, hook in hooks.items():
            register = module.register_forward_pre_hook if before else module.register_forward_hook
            handles.append(register(ours(hook)))
        yield
    finally:
        for handle in handles:
            handle.remove()


def _named(generator: Generator) -> dict[str, nn.Module]:
    """Return the modules inside a generator by name; one without parts counts as a layer itself."""
    roots = list(dict.fromkeys(modules_of(generator)))
    if not roots:
        raise ArgumentError(
            "layers are those of torch modules, and this generator holds none that can be seen; wrap the module "
            "itself, or its method"
        )
    found: dict[str, nn.Module] = {}
    for i, root in enumerate(roots):
        lead = [str(i)] if len(roots) > 1 else []
        for name, module in root.named_modules():
            parts = name.split(".")
            if _PARAMETRIZATIONS in parts or (not name and any(True for _ in root.children())):
                continue
            own = ".".join(lead + (parts if name else [] if lead else ["module"]))
            found.setdefault(own, module)
    return found
