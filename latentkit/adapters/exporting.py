"""Modules of the user's own code, written as files of `torch.export` that need that code no more."""

import importlib
import importlib.util
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from latentkit.adapters.exported import ExportedNetwork
from latentkit.errors import ArgumentError, CheckpointError
from latentkit.files import writing
from latentkit.protocols import ConditionalGenerator, Converted, Output, evaluating, modules_of

__all__ = ["made_by", "write_exported"]

#: Two networks that compute the same may differ by this share of the largest number.
_ROUNDING = 1e-4


def made_by(factory: str) -> Callable[[], nn.Module]:
    """Return what makes a module, named as "models.py:Generator" or "package.module:make"; its code is run.

    Raises:
        ArgumentError: if there is no such file, module or name in it.
    """
    home, colon, name = str(factory).rpartition(":")
    named = home.endswith(".py") or all(part.isidentifier() for part in home.split("."))
    if not colon or not name.isidentifier() or not named:
        raise ArgumentError(f"factory must be models.py:Generator or package.module:make, got {factory!r}")
    try:
        if home.endswith(".py"):
            spec = importlib.util.spec_from_file_location(Path(home).stem, home)
            if spec is None or spec.loader is None:
                raise ArgumentError(f"{home} is no Python file")
            module = importlib.util.module_from_spec(spec)
            spec.loader.exec_module(module)
        else:
            module = importlib.import_module(home)
    except (ImportError, OSError, SyntaxError) as error:
        raise ArgumentError(f"the code {home} cannot be imported: {error}") from error
    if not callable(getattr(module, name, None)):
        raise ArgumentError(f"{home} has no {name} that can be called")
    return getattr(module, name)


class _Whole(nn.Module):
    """A function of latents as one module, whose weights are those of the modules that it calls."""

    def __init__(self, run: Callable[..., Any], part: Callable[[Any], Any]) -> None:
        super().__init__()
        self._run, self._part = run, part
        self.inside = nn.ModuleList(modules_of(run))

    def forward(self, z: Tensor, *labels: Tensor) -> Any:
        """Return the samples' part of what the function returns."""
        return self._part(self._run(z, *labels))


def write_exported(generator: Any, file: Path) -> Path:
    """Write the network of a generator as `torch.export` does, for any size of batch, and return the path.

    Of its output the samples' part is taken; range and layout stay as the module has them.

    Args:
        generator: what `wrap` made of a module.
        file: ends in .pt2.

    Raises:
        CheckpointError: if `torch.export` cannot follow the module, or what it writes computes something else.
        OutputError: if the file cannot be written.
    """
    run, output = generator.module, Output()
    if isinstance(run, Converted):
        run, output = run.module, run.output
    z = generator.prior.sample(3, seed=0)
    labels = (torch.zeros(3, dtype=torch.int64),) if isinstance(generator, ConditionalGenerator) else ()
    whole = _Whole(run, output.part)
    any_batch = torch.export.Dim("batch", min=1, max=2**20)
    shapes = ({0: any_batch}, ({0: any_batch},)) if labels else ({0: any_batch},)
    with evaluating(whole), torch.no_grad():
        try:
            program = torch.export.export(whole, (z, *labels), dynamic_shapes=shapes)
        except Exception as error:  # whatever its compiler meets in a user's code
            why = (str(error).strip().splitlines() or [type(error).__name__])[0]
            raise CheckpointError(
                f"torch.export cannot follow this module ({why[:200]}); in Python use it by load_module, or export it "
                "yourself and import that"
            ) from error
        wanted = output.part(run(z, *labels))
        with writing(file) as opened:
            torch.export.save(program, opened)
        found = ExportedNetwork(file).eval()(z, *labels)
    if float((found - wanted).abs().max()) > _ROUNDING * max(float(wanted.abs().max()), 1.0):
        raise CheckpointError("the module computes something else when it is exported; nothing was written")
    return file
