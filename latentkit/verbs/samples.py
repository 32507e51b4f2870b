"""The verb that draws samples."""

import argparse
from typing import Any

from latentkit.drawn import draw, opened
from latentkit.limits import check_memory, check_sheet, count_of
from latentkit.verbs.output import generated, write_samples

__all__ = ["sample"]


def sample(arguments: argparse.Namespace) -> dict[str, Any]:
    """Draw samples."""
    checkpoint, out = opened(arguments, (".png", ".npz"))
    n = count_of(arguments.n, "-n")
    check_memory(checkpoint, n, "-n", samples=True)
    check_sheet(checkpoint, out, n)
    latents = draw(checkpoint, arguments, n, arguments.truncation)
    samples = generated(checkpoint, latents, arguments)
    write_samples(checkpoint.generator, latents, samples, out, None)
    return {"wrote": str(out), "samples": len(samples)}
