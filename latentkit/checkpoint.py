"""Checkpoints: a trained generator and all that is needed to explore it, in one inert folder.

The folder holds safetensors and JSON, nothing that runs code; `manifest` says how it is written and read.
"""

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from latentkit.bundled import found
from latentkit.errors import CheckpointError, LabelError, LatentkitError
from latentkit.images import from_bytes
from latentkit.manifest import check_place, parse_json, read_manifest, read_part, write_parts
from latentkit.nets import NETWORKS, build
from latentkit.priors import Prior, prior_from_dict, prior_to_dict
from latentkit.protocols import ConditionalGenerator, Critic, Encoder, Generator, Wrapped, wrap
from latentkit.shown import Written

__all__ = ["Checkpoint", "load"]

_ROLES = ("generator", "critic", "encoder")


@dataclass(frozen=True, eq=False)
class Checkpoint(Written):
    """A generator with its critic, held-out real samples, and how they were made.

    Args:
        generator: the model, with its prior. A `ConditionalGenerator` is explored through `condition` and
            `marginal`, which take the whole checkpoint.
        critic: the discriminator that it was trained against, or None.
        holdout: (M, *S) real samples that training never saw, as the generator would make them.
        holdout_labels: (M,) class numbers of the held-out samples, or None.
        classes: names of the classes; empty without labels.
        data: what it was trained on.
        trainer: the trainer's name.
        settings: the trainer's settings, as JSON values.
        history: lists of equal length: training's numbers over the steps.
        encoder: what turns samples into latents, or None.

    Raises:
        LabelError: if a conditional generator's classes are others than the checkpoint's.
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
    encoder: Encoder | None = None

    def __post_init__(self) -> None:
        generator = self.generator
        if isinstance(generator, ConditionalGenerator) and generator.classes != self.classes:
            raise LabelError(
                f"a checkpoint has the classes of its conditional generator, ({', '.join(generator.classes)}), "
                f"got ({', '.join(self.classes)})"
            )

    @property
    def conditional(self) -> bool:
        """Whether the generator needs a class: `condition` or `marginal` comes before all else."""
        return isinstance(self.generator, ConditionalGenerator)

    @property
    def fingerprint(self) -> str:
        """Twelve hexadecimal digits that name the generator's weights and prior.

        What `condition` and `marginal` make of a conditional generator has the name of that generator.
        """
        generator = _whole(self.generator)
        module = _stored_module(generator, "generator")
        prior = json.dumps(prior_to_dict(generator.prior), sort_keys=True)
        return hashlib.sha256(_pack(module.state_dict()) + prior.encode()).hexdigest()[:12]

    def save(self, folder: str | os.PathLike[str]) -> Path:
        """Write the checkpoint and return its folder; an older one there is replaced in one step.

        Other files beside an older checkpoint stay as they are.

        Raises:
            OutputError: if the folder is a file, is not writable, or holds other things and no checkpoint.
            CheckpointError: if a model is not one of the bundled networks, has weights that are not
                finite, or the models, prior and classes do not fit each other.
        """
        check_place(folder)
        write_parts(folder, self.parts())
        return Path(folder)

    def parts(self) -> dict[str, bytes]:
        """Return the contents of the checkpoint's files by role, as `save` writes them.

        Raises:
            CheckpointError: if a model is not one of the bundled networks, has weights that are not
                finite, or the models, prior and classes do not fit each other.
        """
        if _whole(self.generator) is not self.generator:
            raise CheckpointError("this is a view of a conditional checkpoint; save the checkpoint that it was made of")
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
        for role in _ROLES:
            model = getattr(self, role)
            if model is None:
                continue
            module = _stored_module(model, role)
            about["networks"][role] = {"name": module.network, "settings": module.settings}
            parts[role] = _pack(_finite_state(module, role))
        networks = {role: network["settings"] for role, network in about["networks"].items()}
        wrong = _misfit(networks, self.generator.prior, self.classes)
        if wrong is None and bool(networks["generator"].get("classes")) != self.conditional:
            wrong = f"a generator network {'without' if self.conditional else 'for'} classes; wrap it accordingly"
        if wrong is not None:
            raise CheckpointError(f"a checkpoint that cannot be loaded is not stored, and this one has {wrong}")
        held = {"samples": _to_bytes(self.holdout)}
        if self.holdout_labels is not None:
            held["labels"] = self.holdout_labels.to(torch.int64)
        parts["holdout"] = _pack(held)
        wrong = _nonsense(about)
        if wrong is not None:
            raise CheckpointError(wrong)
        parts["about"] = json.dumps(about, indent=1, ensure_ascii=False, allow_nan=False).encode("utf-8")
        return parts


def load(folder: str | os.PathLike[str]) -> Checkpoint:
    """Read a checkpoint that `Checkpoint.save` wrote; every file is checked against its SHA-256.

    Nothing in the folder is run: weights come from safetensors, everything else from JSON, and
    networks are built from a closed table.

    Args:
        folder: the checkpoint's folder, or the name of a bundled checkpoint (one of `BUNDLED`), which is
            taken where there is nothing of that name in the current directory.

    Returns:
        The checkpoint with its models on the CPU, in eval mode.

    Raises:
        CheckpointError: if it is missing, damaged, newer than this library, or no checkpoint; the
            text says which file and why.
    """
    source = found(folder)
    files = read_manifest(source)
    about = parse_json(read_part(source, files, "about"), source / files["about"]["name"])
    models = {}
    try:
        wrong = _nonsense(about)
        if wrong is not None:
            raise CheckpointError(f"{source / files['about']['name']} makes no sense: {wrong}")
        prior = prior_from_dict(about["prior"])
        for role, network in about["networks"].items():
            if role not in _ROLES:
                raise CheckpointError(f"{source} names a network for an unknown role {role!r}")
            state = _unpack(read_part(source, files, role), source / files[role]["name"])
            models[role] = _restore(network["name"], network["settings"], state, source / files[role]["name"])
        classes = tuple(about["classes"])
        networks = {role: network.settings for role, network in models.items()}
        wrong = _misfit(networks, prior, classes)
        if wrong is not None:
            raise CheckpointError(f"{source} has {wrong}")
        conditional = bool(networks["generator"].get("classes"))
        held = _unpack(read_part(source, files, "holdout"), source / files["holdout"]["name"])
        samples, labels = from_bytes(held["samples"]), held.get("labels")
        if samples.dtype != torch.float32 or samples.ndim < 2 or not bool(torch.isfinite(samples).all()):
            raise CheckpointError(f"{source} has held-out samples that are no rows of finite numbers")
        if labels is not None and not _are_labels(labels, len(samples), len(classes)):
            raise CheckpointError(f"{source} has labels that are not one class number for each held-out sample")
        return Checkpoint(
            generator=wrap(models["generator"], prior, classes=classes if conditional else None),
            critic=models.get("critic"),
            encoder=models.get("encoder"),
            holdout=samples,
            holdout_labels=labels,
            classes=classes,
            data=about["data"],
            trainer=about["trainer"],
            settings=about["settings"],
            history=about["history"],
        )
    except CheckpointError:
        raise
    except (LatentkitError, KeyError, TypeError, ValueError, AttributeError, RuntimeError, OverflowError) as error:
        raise CheckpointError(f"{source} is not a complete checkpoint: {type(error).__name__}: {error}") from error


def _whole(generator: Any) -> Any:
    """Return the conditional generator that a generator is a view of, or else the generator itself."""
    inside = getattr(generator, "module", None)
    return inside if isinstance(inside, ConditionalGenerator) else generator


def _nonsense(about: Mapping[str, Any]) -> str | None:
    """Return what in a description no checkpoint can have, in a few words, or None."""
    kinds = {"classes": (list, "a list"), "data": (str, "text"), "trainer": (str, "text")}
    kinds |= {"settings": (dict, "an object"), "history": (dict, "an object")}
    for name, (kind, called) in kinds.items():
        if not isinstance(about[name], kind):
            return f"{name} must be {called}, got {type(about[name]).__name__}"
    if not all(isinstance(one, str) for one in about["classes"]):
        return "the names of classes must be text"
    try:  # which refuses NaN, infinity, and half of a pair of surrogates, too
        for name in kinds:
            json.dumps(about[name], ensure_ascii=False, allow_nan=False).encode("utf-8")
    except (TypeError, ValueError, RecursionError) as error:
        return f"settings and history must be plain, finite JSON values, and names text: {error}"
    columns = list(about["history"].values())
    if not all(isinstance(one, list) and len(one) == len(columns[0]) and all(map(_is_number, one)) for one in columns):
        return "the history must be lists of numbers of one length"
    return None


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _are_labels(labels: Tensor, count: int, classes: int) -> bool:
    """Whether labels are (count,) class numbers; without names of classes any from 0 on will do."""
    if labels.dtype != torch.int64 or labels.shape != (count,):
        return False
    return count == 0 or (int(labels.min()) >= 0 and (classes == 0 or int(labels.max()) < classes))


def _misfit(networks: Mapping[str, Mapping[str, Any]], prior: Prior, classes: Sequence[str]) -> str | None:
    """Return what does not fit in the settings of networks by role, in a few words, or None."""
    for role, does in (("generator", "a generator that takes"), ("encoder", "an encoder that gives")):
        size = networks.get(role, {}).get("latent_dim", prior.dim)
        if size != prior.dim:
            return f"a prior of {prior.dim} coordinates and {does} {size}"
    for role, settings in networks.items():
        known = settings.get("classes")
        if known and known != len(classes):
            return f"the names of {len(classes)} classes and a {role} for {known}"
    return None


def _stored_module(model: Any, role: str) -> Any:
    module = model.module if isinstance(model, (Wrapped, ConditionalGenerator)) else model
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
