"""What streaming needs: bytes on the disk and of memory, known before the first batch."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from latentkit.console import machine_memory
from latentkit.errors import ArgumentError
from latentkit.protocols import Generator, evaluating, modules_of, place_of
from latentkit.stores import Table
from latentkit.stores.room import in_units

__all__ = ["Estimate", "sample_memory"]

#: Bytes that Python and torch take before any work.
_IDLE = 400 * 2**20

#: Layers whose outputs are alive at once, copies of them in other memory layouts, and scratch space.
_ALIVE = 3


@dataclass(frozen=True)
class Estimate:
    """What filling a store takes.

    Attributes: `table`, its rows, blocks and columns; `batch_size`, latents a call; `disk`, bytes of the finished
    store; `memory`, bytes that a process needs, whatever the number of rows.
    """

    table: Table
    batch_size: int
    disk: int
    memory: int

    @classmethod
    def of(cls, table: Table, batch_size: int, batch: int) -> "Estimate":
        """Return the estimate for a table that is filled by batches, each of which takes `batch` bytes of memory."""
        block = table.block * table.row_bytes
        return cls(table, batch_size, table.nbytes, _IDLE + batch + 2 * block)

    @property
    def summary(self) -> str:
        """What is needed, in one line."""
        return f"{self.table.rows:,} rows: {in_units(self.disk)} on disk, about {in_units(self.memory)} of memory"

    def check_memory(self) -> None:
        """Raise an error if this machine has not so much memory.

        Raises:
            ArgumentError: if it has not; the text says what would help.
        """
        if self.memory > machine_memory():
            raise ArgumentError(
                f"batches of {self.batch_size:,} and blocks of {self.table.block:,} rows need about "
                f"{in_units(self.memory)} of memory, and this machine has {in_units(machine_memory())}; ask for a "
                "smaller batch_size or block"
            )


def sample_memory(generator: Generator) -> tuple[Tensor, int, int]:
    """Return the sample (1, *S) of latent 0, and the bytes of memory for each sample of a batch and for all at once.

    One latent is run, and the largest layer's numbers are counted; memory that functions take without a module is not
    seen. A generator on another device needs room here for its samples alone.

    Raises:
        ShapeError: if the generator does not return one row a latent.
    """
    modules, largest = modules_of(generator), 0

    def see(_module: nn.Module, given: tuple[object, ...], out: object) -> None:
        nonlocal largest
        tensors = [part for part in (*given, out) if isinstance(part, Tensor)]
        largest = max(largest, sum(part.numel() * part.element_size() for part in tensors))

    leaves = [part for module in modules for part in module.modules() if not any(part.children())]
    # A compiled module takes no hooks.
    hooks = [part.register_forward_hook(see) for part in leaves if not isinstance(part, torch.jit.ScriptModule)]
    device, dtype = place_of(generator)
    latents = generator.prior.sample(1, seed=0)
    try:
        with evaluating(generator), torch.no_grad():
            sample = generator(latents.to(device, dtype)).detach().cpu()
    finally:
        for hook in hooks:
            hook.remove()
    weights = sum(part.numel() * part.element_size() for module in modules for part in module.parameters())
    own = math.prod(sample.shape) * sample.element_size()
    each = 3 * own + 40 * generator.prior.dim + (_ALIVE * largest if device.type == "cpu" else 0)
    return sample, each, 2 * weights  # the model as it is, and as it is run
