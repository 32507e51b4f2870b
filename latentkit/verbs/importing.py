"""The verb that makes a checkpoint, or a reference, of somebody else's generator."""

import argparse
from typing import Any

__all__ = ["import_file"]

#: Options that are handed on by their own names, where they were given.
_PLAIN = (
    "latent_dim",
    "prior",
    "classes",
    "critic",
    "factory",
    "part",
    "view",
    "psi",
    "truncation",
    "size",
    "latent_shape",
)


def import_file(arguments: argparse.Namespace) -> dict[str, Any]:
    """Make a checkpoint, or a reference, of somebody else's generator."""
    # All families of adapters come with it, which the other verbs need not wait for.
    from latentkit.adapters.importing import import_model

    options: dict[str, Any] = {name: getattr(arguments, name) for name in _PLAIN}
    output: dict[str, Any] = {}
    if arguments.range is not None:
        output |= {"low": arguments.range[0], "high": arguments.range[1]}
    if arguments.channels_last:
        output["channels"] = "last"
    if arguments.key is not None:
        output["key"] = arguments.key
    options |= {"label": arguments.label, "output": output or None}
    return import_model(arguments.kind, arguments.source, arguments.out, real=arguments.real, **options)
