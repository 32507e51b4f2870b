"""Anything that makes samples of latents, as a generator."""

import warnings
from collections.abc import Callable, Sequence
from typing import Any

from latentkit.errors import ArgumentError
from latentkit.priors import Prior
from latentkit.protocols.inspection import InspectionWarning, inspect_generator
from latentkit.protocols.kinds import ConditionalGenerator, Wrapped
from latentkit.protocols.outputs import Converted, Output

__all__ = ["wrap"]


def wrap(
    module: Callable[..., Any],
    prior: Prior,
    *,
    output: Output | str | None = None,
    classes: Sequence[str] | int | None = None,
) -> Any:
    """Make any module or function a generator.

    Args:
        module: takes latents (N, D), or latents and class numbers (N,) if `classes` is given. Modules run in
            eval mode, also those whose method is given or that a function closes over; one that a function
            only finds in a global variable must be put into eval mode by you.
        prior: the distribution of the latents.
        output: what the module returns. None for samples as latentkit has them: a tensor (N, *S) of floats, images
            (N, C, H, W) in [-1, 1]. An `Output` declares another range or layout, or which part of a dictionary, an
            object or a tuple the samples are. "detect" tries the module once with 8 latents, takes what
            `inspect_generator` finds, and says in a warning what it took and what else is amiss.
        classes: the names of the classes, or how many there are, for a conditional module.

    Returns:
        A `Generator`, or a `ConditionalGenerator`, which `condition` and `marginal` make one.

    Raises:
        ArgumentError: if `module` cannot be called, `prior` is no prior, or what is to be detected cannot be.

    Examples:
        >>> import latentkit as lk
        >>> double = lk.wrap(lambda z: 2 * z, lk.Normal(2))
        >>> lk.generate(double, double.prior.sample(4, seed=0)).shape
        torch.Size([4, 2])
    """
    if not callable(module):
        raise ArgumentError(f"wrap takes a module or a function, got {type(module).__name__}")
    if not isinstance(prior, Prior):
        raise ArgumentError(f"wrap takes a prior such as Normal(128), got {prior!r}")
    if not (output is None or output == "detect" or isinstance(output, Output)):
        raise ArgumentError(f'output must be an Output such as Output(0, 255), "detect" or None, got {output!r}')
    names = None if classes is None else _names(classes)
    plain = Wrapped(module, prior) if names is None else ConditionalGenerator(module, prior, names)
    if output == "detect":
        found = inspect_generator(plain)
        if found.output is None:
            raise ArgumentError(f"the output cannot be told: {'; '.join(found.amiss)}")
        if not found.as_is or found.amiss:
            warnings.warn(found.said, InspectionWarning, stacklevel=2)
        output = None if found.as_is else found.output
    if not isinstance(output, Output):
        return plain
    whole = Converted(module, output)
    return Wrapped(whole, prior) if names is None else ConditionalGenerator(whole, prior, names)


def _names(classes: Any) -> tuple[str, ...]:
    if isinstance(classes, bool) or not isinstance(classes, (int, Sequence)):
        raise ArgumentError(f"classes must be distinct names, or how many there are, got {classes!r}")
    names = tuple(map(str, range(classes))) if isinstance(classes, int) else tuple(map(str, classes))
    if not names or len(set(names)) != len(names):
        raise ArgumentError(f"classes must be distinct names, or how many there are, got {classes!r}")
    return names
