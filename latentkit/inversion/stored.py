"""Inversion of many samples into a store, block by block, here or by the workers of a cluster."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor

from latentkit.checkpoint import Checkpoint
from latentkit.checks import as_count, as_seed, floating, one_of
from latentkit.engines import check_engine, run_blocks
from latentkit.errors import DataError, ShapeError
from latentkit.images import from_bytes, read_images
from latentkit.inversion.evolution import invert_without_gradients
from latentkit.inversion.gradient import invert
from latentkit.inversion.losses import Loss, pixel_loss
from latentkit.protocols import Encoder, Generator, evaluating, moved, place_of
from latentkit.sampling.fingerprints import fingerprint
from latentkit.stores import Column, Rows, Store, create_store, kind_asked

__all__ = ["SEARCHES", "InvertWork", "Wanted", "invert_to"]

#: How a latent is looked for: by `invert`, or by `invert_without_gradients`.
SEARCHES = ("gradient", "evolution")

#: Samples of a block: enough for the pool that all of them share to cost little beside the search.
BLOCK = 256

#: What is to be inverted: samples (N, *S), a column of them in a store, or the names of image files.
Wanted = Tensor | Rows | Sequence[str | os.PathLike[str]]


@dataclass(frozen=True, eq=False)
class InvertWork:
    """Inverts rows [start, stop) of some samples, for `latentkit.engines.run_blocks`.

    A block is one call of `invert` or `invert_without_gradients` with its rows. Nothing is shared between blocks: the
    draws that starts are chosen from are those of the seed, and so the same in each, and a search of one sample knows
    of no other. So a block is a function of its rows and the settings, bit for bit; and what is found for a sample is
    the same in a block of another size, or inverted with all others at once, up to the rounding of the generator's
    batches, which a long search for a sample that cannot be made can amplify.

    Attributes: `generator`; `wanted`; `shape` (*S) of a sample; `encoder` or None; `loss`; `search`, "gradient" or
    "evolution"; `steps` (or generations); `starts`; `pool`; `seed`; `batch_size`.
    """

    generator: Generator
    wanted: Wanted
    shape: tuple[int, ...]
    encoder: Encoder | None
    loss: Loss
    search: str
    steps: int
    starts: int
    pool: int
    seed: int
    batch_size: int

    def columns(self) -> dict[str, Column]:
        """Return what it makes of each sample."""
        return {
            "latents": Column("float32", (self.generator.prior.dim,)),
            "error": Column("float32"),
            "explained": Column("float32"),
            "typicality": Column("float64"),
        }

    def samples(self, start: int, stop: int) -> Tensor:
        """Return the wanted samples [start, stop) as floats (M, *S).

        Raises:
            DataError: if a file cannot be read as an image.
        """
        if isinstance(self.wanted, Tensor):
            return self.wanted[start:stop]
        if isinstance(self.wanted, Rows):
            return from_bytes(torch.from_numpy(self.wanted[start:stop]))
        return read_images(self.wanted[start:stop], self.shape)

    def __call__(self, start: int, stop: int) -> Mapping[str, NDArray[Any]]:
        """Return the latents (M, D) of the samples, their error (M,), what they explain (M,), and their typicality."""
        settings = {"starts": self.starts, "pool": self.pool, "seed": self.seed, "batch_size": self.batch_size}
        common = {"encoder": self.encoder, "loss": self.loss, **settings}
        wanted = self.samples(start, stop)
        if self.search == "evolution":
            found = invert_without_gradients(self.generator, wanted, generations=self.steps, **common)
        else:
            found = invert(self.generator, wanted, steps=self.steps, **common)
        return {
            "latents": found.latents.float().numpy(),
            "error": found.error.float().numpy(),
            "explained": found.explained.float().numpy(),
            "typicality": found.typicality.double().numpy(),
        }

    def placed(self, device: str) -> "InvertWork":
        """Put the models on a device, for a worker that has one of its own, and return the work."""
        moved(device, self.generator, self.encoder, self.loss)
        return self


def invert_to(
    path: str | os.PathLike[str],
    generator: Generator | Checkpoint,
    samples: Wanted,
    *,
    encoder: Encoder | None = None,
    loss: Loss = pixel_loss,
    search: str = "gradient",
    steps: int = 200,
    starts: int = 2,
    pool: int = 2_000,
    seed: int = 0,
    batch_size: int = 128,
    block: int = BLOCK,
    engine: str = "local",
    address: str | None = None,
    workers: int | None = None,
    threads: int | None = None,
    gpus: float = 0.0,
    resume: bool = False,
    progress: bool = False,
) -> Store:
    """Find latents for many samples, and write them into a store as they are found.

    The store has the columns `latents` (N, D), `error` (N,), `explained` (N,) and `typicality` (N,), as `invert`
    gives them. What ends the call before costs the blocks in work; the same call with `resume=True` goes on, and the
    result is the same bit for bit.

    Args:
        path: of the store's folder; "x.zarr" becomes a Zarr group, "x.parquet" a folder of Parquet files, and a name
            without a suffix memory-mappable `.npy` files.
        generator: the model, or a checkpoint with it and maybe an encoder.
        samples: (N, *S) floats; or a column of a store, such as `open_store("samples")["samples"]`, whose bytes are
            images; or names of image files, of which only those of a block are read at a time.
        encoder: gives one start more; by default the checkpoint's, if it has one.
        loss: as in `invert`.
        search: "gradient", by `invert`, or "evolution", by `invert_without_gradients`.
        steps: of the search, or its generations.
        starts: how many of the pool's.
        pool: how many draws there are to start from; each block makes their samples again.
        seed: 0 to 2**64 - 1.
        batch_size: latents a call.
        block: samples a block, which share the pool.
        engine: "local" or "ray"; see `latentkit.engines.run_blocks`, also for the next four.
        address: of a Ray cluster.
        workers: how many of them, for "ray".
        threads: of torch, in this process or in each worker.
        gpus: that each worker needs, for "ray".
        resume: go on with a store that was begun by the same call; without one, begin.
        progress: show a progress bar on standard error.

    Raises:
        ArgumentError: if the path names no store, or an argument is out of range.
        ShapeError: if the samples are not of the generator's shape.
        DataError: if a file is missing or cannot be read as an image.
        OutputError: if the store does not fit on the disk, other things are in the way, or the one that is to be gone
            on with was begun by another call.

    Examples:
        >>> import latentkit as lk, tempfile
        >>> curved = lk.wrap(lambda z: z.sinh(), lk.Normal(2))
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     store = invert_to(f"{folder}/found", curved, torch.tensor([[1.0, -0.5], [0.2, 0.3]]), block=1)
        ...     bool((store["explained"][:] > 0.999).all())
        True
    """
    kind = kind_asked(path)
    check_engine(engine, address=address, workers=workers, threads=threads, gpus=gpus)
    if isinstance(generator, Checkpoint):
        encoder = encoder if encoder is not None else generator.encoder
        generator = generator.generator
    shape = _shape_of(generator)
    work = InvertWork(
        generator,
        _checked(samples, shape),
        shape,
        encoder,
        loss,
        one_of(search, "search", SEARCHES),
        as_count(steps, "steps", least=0),
        as_count(starts, "starts", least=0 if encoder is not None else 1),
        as_count(pool, "pool", least=2),
        as_seed(seed),
        as_count(batch_size, "batch_size"),
    )
    plan = {
        "of": "inversion",
        "generator": fingerprint(generator),
        "samples": _name_of(work.wanted),
        "encoder": None if encoder is None else fingerprint(encoder),
        "loss": fingerprint(loss),
        **{name: getattr(work, name) for name in ("search", "steps", "starts", "pool", "seed", "batch_size")},
    }
    store = create_store(
        path,
        kind=kind,
        rows=len(work.wanted),
        block=as_count(block, "block"),
        columns=work.columns(),
        plan=plan,
        resume=resume,
    )
    return run_blocks(
        store, work, engine=engine, address=address, workers=workers, threads=threads, gpus=gpus, progress=progress
    )


def _shape_of(generator: Generator) -> tuple[int, ...]:
    """Return the shape (*S) of a generator's samples, of which one is made."""
    device, dtype = place_of(generator)
    with evaluating(generator), torch.no_grad():
        return tuple(generator(generator.prior.sample(1, seed=0).to(device, dtype)).shape[1:])


def _checked(samples: Wanted, shape: tuple[int, ...]) -> Wanted:
    if isinstance(samples, Rows) or not (isinstance(samples, Sequence) and not isinstance(samples, str)):
        rows = samples if isinstance(samples, Rows) else floating(samples, "samples").cpu()
        if tuple(rows.shape[1:]) != shape or not len(rows):
            raise ShapeError(
                f"samples must be (N, {', '.join(map(str, shape))}), at least one, got {tuple(rows.shape)}"
            )
        return rows
    if not all(isinstance(file, str | os.PathLike) for file in samples):
        raise ShapeError("samples must be a tensor (N, *S), or the names of image files, got a list of other things")
    files = tuple(Path(file).absolute() for file in samples)
    if not files:
        raise DataError("there are no image files to invert; name at least one")
    missing = [file for file in files if not file.is_file()]
    if missing:
        others = f", nor are {len(missing) - 1:,} others" if len(missing) > 1 else ""
        raise DataError(f"{missing[0]} is not there{others}; name image files")
    return files


def _name_of(wanted: Wanted) -> str:
    """Return what tells these samples from others: their numbers, or of files their names, sizes and times."""
    if isinstance(wanted, Tensor):
        return fingerprint(wanted)
    if isinstance(wanted, Rows):
        return fingerprint(wanted)
    about = [(os.fspath(file), Path(file).stat()) for file in wanted]
    return fingerprint([(name, found.st_size, found.st_mtime_ns) for name, found in about])
