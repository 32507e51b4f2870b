"""Files of others' generators become checkpoints, or references to the file where weights cannot be re-homed.

A reference is a folder with a JSON file that says of what kind the source is, where it lies, its SHA-256, and with
which options it is read, beside real samples if there are any. It holds no code, and the source is checked against the
hash whenever it is read.
"""

import hashlib
import math
import os
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from latentkit import __version__
from latentkit.adapters import REFERENCE
from latentkit.adapters.exporting import write_exported
from latentkit.adapters.kinds import KINDS, output_of
from latentkit.adapters.reals import packed, read_reals, unpacked
from latentkit.checkpoint import Checkpoint
from latentkit.checks import one_of
from latentkit.errors import ArgumentError, CheckpointError
from latentkit.files import write_bytes
from latentkit.folders import Marker, check_folder, writing_folder
from latentkit.manifest import check_place
from latentkit.nets import NETWORKS
from latentkit.protocols import (
    ConditionalGenerator,
    Inspection,
    Output,
    Wrapped,
    check_rows,
    evaluating,
    inspect_generator,
    place_of,
)

__all__ = ["import_model", "load_reference"]

_MARKER = Marker(REFERENCE, "latentkit reference")
#: The real samples in a reference's folder.
_REALS = "real.safetensors"
#: Options that still matter for a module once it has been exported.
_REHOMED = ("latent_dim", "prior", "output", "classes")
_BLOCK = 2**20


def import_model(
    kind: str,
    source: str | os.PathLike[str],
    out: str | os.PathLike[str],
    *,
    real: str | os.PathLike[str] | None = None,
    **options: Any,
) -> dict[str, Any]:
    """Read a file or folder of somebody else's generator and write a checkpoint, or a reference to the file.

    Networks that latentkit has become ordinary checkpoints. Of all others a reference is written, which
    `load_reference` reads: the file must stay, and must not change. A module of your own code (kind "pytorch") is
    exported by `torch.export` into the reference's folder, so that neither its code nor its weights are needed again.

    Args:
        kind: one of `KINDS`.
        source: the file, or for some kinds the folder.
        out: the folder to write.
        real: real samples to keep beside the generator, a folder of images or an array, see `read_reals`; without them
            there is no report, no calibrated critic, and nothing real to invert.
        **options: as the kind takes them, see `KINDS`; None stands for one that is not given. `latent_dim`, the size
            of a latent; `prior`, "normal", "uniform" or "sphere"; `classes`, the names of classes or their number;
            `output`, an `Output`, its fields as a dictionary, or "detect" (the default where a kind takes it);
            `latent_shape`; `part` of the file; `critic`, a file with the critic of the same kind; `factory`, the code
            that makes the module; `view`, of a StyleGAN "z", "w" or "wplus", of a BigGAN "classes" or "embedding";
            `psi` or `truncation` of that view; `label`, its class; `size` of an autoencoder's images.

    Returns:
        What was written and found: `wrote`, `kind`, `stored` ("checkpoint" or "reference"), `sha256` of the source,
        `latent_dim`, `prior`, `samples` (their shape), `classes`, `critic` (whether there is one), `real` (how many
        samples), and `findings`, what `inspect_generator` has to say.

    Raises:
        ArgumentError: if the kind or an option is not known, or the model fails on its latents.
        CheckpointError: if the file cannot be used; nothing is written.
        OutputError: if the folder cannot be written.
    """
    kind = one_of(kind, "kind", tuple(KINDS))
    given = _given(kind, options)
    _check_out(Path(out))
    digest = _sha256(Path(source))
    checkpoint = KINDS[kind].load(source, **given)
    found = None
    if "output" in KINDS[kind].options:
        found = _inspected(checkpoint.generator, kind)
        if output_of(given.get("output", "detect")) is None:
            given["output"] = _fields(found.output)
            checkpoint = KINDS[kind].load(source, **given)
    held = _none_of(checkpoint.generator)
    checkpoint = replace(checkpoint, holdout=held if real is None else read_reals(real, held.shape[1:]))
    stored = "checkpoint" if _storable(checkpoint) else "reference"
    if stored == "checkpoint":
        checkpoint.save(out)
    else:
        samples = packed(checkpoint.holdout)
        place = str(Path(source).resolve())
        about: dict[str, Any] = {"family": kind, "source": place, "sha256": digest, "options": given}
        with writing_folder(out, marker=_MARKER) as folder:
            if KINDS[kind].runs_code:
                file = write_exported(checkpoint.generator, folder / "generator.pt2")
                about = {"family": "exported", "source": file.name, "sha256": _sha256(file)}
                whole = {**given, "output": {**given["output"], "key": None}}  # the file returns that part alone
                about["options"] = {name: value for name, value in whole.items() if name in _REHOMED}
            write_bytes(folder / _REALS, samples)
            _MARKER.write(folder, latentkit=__version__, **about, reals=hashlib.sha256(samples).hexdigest())
    prior = checkpoint.generator.prior
    return {
        "wrote": str(out),
        "kind": kind,
        "stored": stored,
        "sha256": digest,
        "latent_dim": prior.dim,
        "prior": type(prior).__name__,
        "samples": list(checkpoint.holdout.shape[1:]),
        "classes": list(checkpoint.classes),
        "critic": checkpoint.critic is not None,
        "real": len(checkpoint.holdout),
        "findings": [] if found is None else [f"{finding.name}: {finding.text}" for finding in found.findings],
    }


def load_reference(folder: str | os.PathLike[str], *, source: str | os.PathLike[str] | None = None) -> Checkpoint:
    """Read a reference that `import_model` wrote: the source is checked against its SHA-256, then read.

    Args:
        folder: the reference's folder.
        source: where the source is now, if it was moved.

    Returns:
        A checkpoint with the real samples that were given at import; it can't be saved as one.

    Raises:
        CheckpointError: if there is no reference, it is damaged or newer than this library, or the source is missing
            or another one than was imported.
    """
    place = Path(folder)
    about = _MARKER.read(place)
    if about is None:
        raise CheckpointError(f"{place} holds no {_MARKER.kind} ({REFERENCE} is missing or damaged)")
    if about.get("format") != _MARKER.format:
        raise CheckpointError(
            f"{place} has reference format {about.get('format')!r} (latentkit {about.get('latentkit')}), and this "
            f"latentkit {__version__} reads {_MARKER.format}; upgrade latentkit to read it"
        )
    kind, options, reals = about.get("family"), about.get("options"), place / _REALS
    known = isinstance(kind, str) and kind in KINDS and not KINDS[kind].runs_code
    if not isinstance(kind, str) or not known or not isinstance(options, dict):
        raise CheckpointError(
            f"{place / REFERENCE} is damaged, or of a kind that this latentkit does not know: {kind!r}"
        )
    file = place / str(about.get("source")) if source is None else Path(source)
    if not _is_there(file):
        raise CheckpointError(
            f"{place} refers to {file}, which is not there; say where it is: load_reference(folder, source=...)"
        )
    if _sha256(file) != about.get("sha256"):
        raise CheckpointError(f"{file} is not the file that {place} was made of: its SHA-256 differs")
    if not reals.is_file() or _sha256(reals) != about.get("reals"):
        raise CheckpointError(f"{reals} is missing or damaged; import the source again")
    checkpoint = KINDS[kind].load(file, **_given(kind, options))
    return replace(checkpoint, holdout=unpacked(reals.read_bytes(), str(reals)))


def _is_there(file: Path) -> bool:
    """Whether there is a file or folder of a name, which may be one that none can have."""
    try:
        return file.exists()
    except (OSError, ValueError):
        return False


def _given(kind: str, options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options that were given, or refuse one that the kind doesn't take."""
    given = {name: value for name, value in options.items() if value is not None}
    for name in given:
        if name not in KINDS[kind].options:
            takes = ", ".join(KINDS[kind].options) or "none"
            raise ArgumentError(f"a {kind} file takes no option {name!r}; its options are {takes}")
    return {name: list(value) if isinstance(value, tuple) else _plain(value) for name, value in given.items()}


def _plain(value: Any) -> Any:
    if isinstance(value, os.PathLike):
        return str(Path(value).resolve())
    return _fields(value) if isinstance(value, Output) else value


def _fields(output: Output | None) -> dict[str, Any]:
    fields = asdict(output or Output())
    return {name: list(value) if isinstance(value, tuple) else value for name, value in fields.items()}


def _check_out(out: Path) -> None:
    """Refuse a folder that could not be written in the end; whether a checkpoint or a reference isn't known yet."""
    if (out / REFERENCE).exists():
        check_folder(out, marker=_MARKER)
    else:
        check_place(out)


def _sha256(path: Path) -> str:
    """Return the hash of a file, or of the names and hashes of all files in a folder."""
    digest = hashlib.sha256()
    try:
        if path.is_dir():
            for inside in sorted(part for part in path.rglob("*") if part.is_file()):
                digest.update(f"{inside.relative_to(path).as_posix()}\0{_sha256(inside)}\n".encode())
            return digest.hexdigest()
        if path.exists() and not path.is_file():  # a device may have no end, and a pipe no beginning
            raise CheckpointError(f"{path} is no plain file; name the file that the weights are in")
        with path.open("rb") as file:
            while block := file.read(_BLOCK):
                digest.update(block)
    except OSError as error:
        raise CheckpointError(f"cannot read {path}: {error.strerror or error}") from None
    return digest.hexdigest()


def _inspected(generator: Any, kind: str) -> Inspection:
    """Return what a trial finds, or refuse a network that makes no samples."""
    found = inspect_generator(generator)
    if found.output is None or math.prod(found.shape) == 1:
        why = found["output"].text if found.output is None else found["layout"].text
        raise CheckpointError(f"this {kind} file is no generator: {why}; nothing was written")
    return found


def _none_of(generator: Any) -> Tensor:
    """Return no samples at all (0, *S) of the shape that a generator makes."""
    z = generator.prior.sample(1, seed=0)
    device, dtype = place_of(generator)
    labels = (torch.zeros(1, dtype=torch.int64),) if isinstance(generator, ConditionalGenerator) else ()
    with evaluating(generator), torch.no_grad():
        made = generator(z.to(device, dtype), *labels)
    return check_rows(made, 1, "the generator")[:0].cpu().float()


def _storable(checkpoint: Checkpoint) -> bool:
    """Whether all models are networks that a checkpoint can hold."""
    models = [checkpoint.generator, checkpoint.critic, checkpoint.encoder]
    # A view that has a module computes something else than the module does; what `wrap` made does not.
    plain = (Wrapped, ConditionalGenerator)
    modules = [model.module if isinstance(model, plain) else model for model in models if model is not None]
    return all(type(module) in NETWORKS.values() for module in modules)
