"""Checkpoints: a trained generator and all that is needed to explore it, in one inert folder.

The folder holds safetensors and JSON, nothing that runs code. Its manifest names every file with its
size and SHA-256 and is replaced last, in one step: until then the older checkpoint stays whole, since
new files get new names.
"""

import hashlib
import json
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from latentkit import __version__
from latentkit.errors import CheckpointError, LatentkitError, OutputError
from latentkit.files import check_writable, new_folders, write_bytes, write_json
from latentkit.folders import Marker, refuse_others
from latentkit.nets import NETWORKS, build
from latentkit.priors import prior_from_dict, prior_to_dict
from latentkit.protocols import Critic, Generator, Wrapped, wrap

__all__ = ["MANIFEST", "Checkpoint", "check_place", "load"]

FORMAT = 1
MANIFEST = "manifest.json"
_MARKER = Marker(MANIFEST, "latentkit checkpoint", FORMAT)
_NAME = re.compile(r"[a-z]+-[0-9a-f]{16}\.(?:safetensors|json)")
_PART = re.compile(r"(?:generator|critic|holdout|about)-[0-9a-f]{16}\.(?:safetensors|json)")
_LARGEST_JSON = 64 * 2**20


@dataclass(frozen=True, eq=False)
class Checkpoint:
    """A generator with its critic, held-out real samples, and how they were made.

    Args:
        generator: the model, with its prior.
        critic: the discriminator that it was trained against, or None.
        holdout: (M, *S) real samples that training never saw, as the generator would make them.
        holdout_labels: (M,) class numbers of the held-out samples, or None.
        classes: names of the classes; empty without labels.
        data: what it was trained on.
        trainer: the trainer's name.
        settings: the trainer's settings, as JSON values.
        history: lists of equal length: training's numbers over the steps.
    """

    generator: Generator
    critic: Critic | None
    holdout: Tensor
    holdout_labels: Tensor | None = None
    classes: tuple[str, ...] = ()
    data: str = "unnamed"
    trainer: str = "unknown"
    settings: dict[str, Any] = field(default_factory=dict)
    history: dict[str, list[float]] = field(default_factory=dict)

    @property
    def fingerprint(self) -> str:
        """Twelve hexadecimal digits that name the generator's weights and prior."""
        module = _stored_module(self.generator, "generator")
        prior = json.dumps(prior_to_dict(self.generator.prior), sort_keys=True)
        return hashlib.sha256(_pack(module.state_dict()) + prior.encode()).hexdigest()[:12]

    def save(self, folder: str | os.PathLike[str]) -> Path:
        """Write the checkpoint and return its folder; an older one there is replaced in one step.

        Other files beside an older checkpoint stay as they are.

        Raises:
            OutputError: if the folder is a file, is not writable, or holds other things and no checkpoint.
            CheckpointError: if a model is not one of the bundled networks, or has weights that are
                not finite.
        """
        target = check_place(folder)
        about: dict[str, Any] = {
            "prior": prior_to_dict(self.generator.prior),
            "networks": {},
            "classes": list(self.classes),
            "data": self.data,
            "trainer": self.trainer,
            "settings": self.settings,
            "history": self.history,
        }
        parts: dict[str, bytes] = {}
        for role, model in (("generator", self.generator), ("critic", self.critic)):
            if model is None:
                continue
            module = _stored_module(model, role)
            about["networks"][role] = {"name": module.network, "settings": module.settings}
            parts[role] = _pack(_finite_state(module, role))
        held = {"samples": _to_bytes(self.holdout)}
        if self.holdout_labels is not None:
            held["labels"] = self.holdout_labels.to(torch.int64)
        parts["holdout"] = _pack(held)
        try:
            parts["about"] = json.dumps(about, indent=1, ensure_ascii=False, allow_nan=False).encode("utf-8")
        except (TypeError, ValueError) as error:
            raise CheckpointError(f"settings and history must be plain, finite JSON values: {error}") from error

        files, contents = {}, {}
        for role, data in parts.items():
            digest = hashlib.sha256(data).hexdigest()
            name = f"{role}-{digest[:16]}.{'json' if role == 'about' else 'safetensors'}"
            files[role] = {"name": name, "bytes": len(data), "sha256": digest}
            contents[name] = data
        manifest = {"kind": _MARKER.kind, "format": FORMAT, "latentkit": __version__, "files": files}
        with new_folders(target), _without_orphans(target):
            for name, data in contents.items():
                write_bytes(target / name, data)
            write_json(target / MANIFEST, manifest)
            _remove_unreferenced(target, _parts(target))
        return Path(folder)


def check_place(folder: str | os.PathLike[str]) -> Path:
    """Return where `folder` leads if a checkpoint can be saved there; call it before the first heavy step.

    It may be new, empty, or hold a checkpoint, beside which other files do no harm.

    Raises:
        OutputError: if it is a file, is not writable, or holds other things and no checkpoint.
    """
    place = check_writable(folder)
    if not os.path.lexists(place / MANIFEST):
        refuse_others(place, _parts(place))  # parts are what is left of a save whose process was killed
    elif _MARKER.read(place) is None:
        raise OutputError(
            f"cannot write the folder {os.fspath(folder)}: its {MANIFEST} is damaged or not that of a "
            f"{_MARKER.kind}; move it away, or choose a new or empty folder"
        )
    return place


def _parts(place: Path) -> set[str]:
    """Return the names in a folder that are those of a checkpoint's parts, as nothing else is called."""
    return {entry.name for entry in place.iterdir() if _PART.fullmatch(entry.name)} if place.is_dir() else set()


def _referenced(place: Path) -> set[str]:
    """Return the names that the manifest in a folder lists now; none without one."""
    files = (_MARKER.read(place) or {}).get("files")
    entries = files.values() if isinstance(files, dict) else ()
    return {str(entry.get("name")) for entry in entries if isinstance(entry, dict)}


def _remove_unreferenced(place: Path, parts: set[str]) -> None:
    for name in parts - _referenced(place):
        with suppress(OSError):  # one that stays does no harm
            (place / name).unlink()


@contextmanager
def _without_orphans(place: Path) -> Iterator[None]:
    """Remove the parts that the block wrote if it fails, unless its manifest was in place by then."""
    before = _parts(place)
    try:
        yield
    except BaseException:
        _remove_unreferenced(place, _parts(place) - before)
        raise


def load(folder: str | os.PathLike[str]) -> Checkpoint:
    """Read a checkpoint that `Checkpoint.save` wrote; every file is checked against its SHA-256.

    Nothing in the folder is run: weights come from safetensors, everything else from JSON, and
    networks are built from a closed table.

    Args:
        folder: the checkpoint's folder.

    Returns:
        The checkpoint with its models on the CPU, in eval mode.

    Raises:
        CheckpointError: if it is missing, damaged, newer than this library, or no checkpoint; the
            text says which file and why.
    """
    source = Path(folder)
    files = _read_manifest(source)
    about = _parse_json(_read(source, files, "about"), source / files["about"]["name"])
    models = {}
    try:
        prior = prior_from_dict(about["prior"])
        for role, network in about["networks"].items():
            if role not in ("generator", "critic"):
                raise CheckpointError(f"{source} names a network for an unknown role {role!r}")
            state = _unpack(_read(source, files, role), source / files[role]["name"])
            models[role] = _restore(network["name"], network["settings"], state, source / files[role]["name"])
        takes = models["generator"].settings["latent_dim"]
        if takes != prior.dim:
            raise CheckpointError(f"{source} has a prior of {prior.dim} coordinates and a generator that takes {takes}")
        held = _unpack(_read(source, files, "holdout"), source / files["holdout"]["name"])
        samples, labels = _from_bytes(held["samples"]), held.get("labels")
        if not bool(torch.isfinite(samples).all()) or (labels is not None and labels.shape != samples.shape[:1]):
            raise CheckpointError(f"{source} has held-out samples that are not finite, or labels of another number")
        return Checkpoint(
            generator=wrap(models["generator"], prior),
            critic=models.get("critic"),
            holdout=samples,
            holdout_labels=labels,
            classes=tuple(map(str, about["classes"])),
            data=str(about["data"]),
            trainer=str(about["trainer"]),
            settings=dict(about["settings"]),
            history=dict(about["history"]),
        )
    except CheckpointError:
        raise
    except (LatentkitError, KeyError, TypeError, ValueError, AttributeError, RuntimeError, OverflowError) as error:
        raise CheckpointError(f"{source} is not a complete checkpoint: {type(error).__name__}: {error}") from error


def _stored_module(model: Any, role: str) -> Any:
    module = model.module if isinstance(model, Wrapped) else model
    if not isinstance(module, nn.Module) or type(module) not in NETWORKS.values():
        raise CheckpointError(
            f"only the bundled networks ({', '.join(NETWORKS)}) can be stored in a checkpoint; "
            f"this {role} is a {type(module).__name__}"
        )
    return module


def _finite_state(module: nn.Module, role: str) -> dict[str, Tensor]:
    state = module.state_dict()
    bad = [key for key, value in state.items() if value.is_floating_point() and not torch.isfinite(value).all()]
    if bad:
        raise CheckpointError(f"the {role} has weights that are not finite ({bad[0]}); nothing was written")
    return state


def _pack(tensors: dict[str, Tensor]) -> bytes:
    from safetensors.torch import save

    return save({key: value.detach().cpu().contiguous().clone() for key, value in tensors.items()})


def _unpack(data: bytes, path: Path) -> dict[str, Tensor]:
    from safetensors import SafetensorError
    from safetensors.torch import load as parse

    try:
        return parse(data)
    except (SafetensorError, ValueError, KeyError) as error:
        raise CheckpointError(f"{path} does not hold tensors: {error}") from error


def _to_bytes(samples: Tensor) -> Tensor:
    """Return images that came from 8-bit files as those bytes again: a quarter of the size, exact."""
    samples = samples.detach().cpu().to(torch.float32)
    levels = ((samples + 1.0) * 127.5).round()
    exact = samples.ndim == 4 and bool((levels / 127.5 - 1.0 == samples).all())
    return levels.to(torch.uint8) if exact else samples


def _from_bytes(samples: Tensor) -> Tensor:
    return samples.to(torch.float32) / 127.5 - 1.0 if samples.dtype == torch.uint8 else samples


def _parse_json(data: bytes, path: Path) -> dict[str, Any]:
    try:
        value = json.loads(data.decode("utf-8"))
    except (ValueError, RecursionError) as error:
        raise CheckpointError(f"{path} is not readable JSON: {error}") from error
    if not isinstance(value, dict):
        raise CheckpointError(f"{path} does not hold a JSON object")
    return value


def _read_bytes(path: Path, limit: int | None = None) -> bytes:
    try:
        if limit is not None and path.stat().st_size > limit:
            raise CheckpointError(f"{path} is too large for what it should be ({path.stat().st_size:,} bytes)")
        return path.read_bytes()
    except OSError as error:
        raise CheckpointError(f"cannot read {path}: {error.strerror or error}") from error


def _read_manifest(source: Path) -> dict[str, dict[str, Any]]:
    if not source.exists():
        raise CheckpointError(f"there is no checkpoint at {source}; train one with latentkit-train")
    if not (source / MANIFEST).is_file():
        what = "is a file" if source.is_file() else f"has no {MANIFEST}"
        raise CheckpointError(f"{source} {what}, so it is not a latentkit checkpoint (a checkpoint is a folder)")
    manifest = _parse_json(_read_bytes(source / MANIFEST, _LARGEST_JSON), source / MANIFEST)
    version, files = manifest.get("format"), manifest.get("files")
    if manifest.get("kind") != _MARKER.kind or not isinstance(version, int) or version < 1:
        raise CheckpointError(f"{source / MANIFEST} does not describe a latentkit checkpoint")
    if version > FORMAT:
        raise CheckpointError(
            f"{source} has checkpoint format {version} (latentkit {manifest.get('latentkit')}), newer than "
            f"format {FORMAT} of this latentkit {__version__}; upgrade latentkit to read it"
        )
    if not isinstance(files, dict) or not {"generator", "holdout", "about"} <= set(files):
        raise CheckpointError(f"{source / MANIFEST} does not list the generator, holdout and about files")
    for role, entry in files.items():
        wanted = (
            isinstance(entry, dict) and isinstance(entry.get("bytes"), int) and isinstance(entry.get("sha256"), str)
        )
        if not wanted or not _NAME.fullmatch(str(entry.get("name"))):
            raise CheckpointError(f"{source / MANIFEST} has an unusable entry for {role!r}")
    return files


def _read(source: Path, files: dict[str, dict[str, Any]], role: str) -> bytes:
    if role not in files:
        raise CheckpointError(f"{source / MANIFEST} does not list the {role} file")
    entry = files[role]
    path = source / entry["name"]
    if not path.is_file():
        raise CheckpointError(f"{path} is missing; the checkpoint is not complete")
    data = _read_bytes(path, max(entry["bytes"], 0))
    if len(data) != entry["bytes"]:
        raise CheckpointError(f"{path} is damaged: it has {len(data):,} bytes instead of {entry['bytes']:,}")
    if hashlib.sha256(data).hexdigest() != entry["sha256"]:
        raise CheckpointError(f"{path} is damaged: its SHA-256 differs from the manifest's")
    return data


def _restore(name: str, settings: dict[str, Any], state: dict[str, Tensor], path: Path) -> nn.Module:
    if name not in NETWORKS:
        raise CheckpointError(f"{path} is for a network {name!r} that this latentkit does not have")
    # On the meta device nothing is allocated and no random number is drawn.
    with torch.device("meta"):
        module = build(name, settings)
    wanted = {key: tuple(value.shape) for key, value in module.state_dict().items()}
    found = {key: tuple(value.shape) for key, value in state.items()}
    if wanted != found:
        missing = sorted(wanted.keys() - found.keys())
        unexpected = sorted(found.keys() - wanted.keys())
        shapes = [f"{k} {found[k]} instead of {wanted[k]}" for k in wanted if k in found and wanted[k] != found[k]]
        parts = [
            f"{title}: {', '.join(items[:3])}{', ...' if len(items) > 3 else ''}"
            for title, items in (("missing", missing), ("unexpected", unexpected), ("shape", shapes))
            if items
        ]
        raise CheckpointError(f"{path} does not fit its network {name}: {'; '.join(parts)}")
    bad = [
        key
        for key, value in module.state_dict().items()
        if value.is_floating_point() != state[key].is_floating_point() or not bool(torch.isfinite(state[key]).all())
    ]
    if bad:
        raise CheckpointError(f"{path} holds weights that are not finite numbers of the right kind ({bad[0]})")
    module.load_state_dict(state, strict=True, assign=True)
    return module.eval().requires_grad_(False)
