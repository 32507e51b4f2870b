"""Snapshots of a training: checkpoints that also hold all that is needed to go on exactly.

A run's folder holds them in `snapshots/step-00001000/` and so on, each whole and usable by itself. An
older one is removed only after a newer one is safely there.
"""

import json
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from latentkit.errors import ArgumentError, CheckpointError, DivergenceError
from latentkit.manifest import (
    SNAPSHOTS,
    parse_json,
    read_manifest,
    read_part,
    remove_parts,
    snapshot_path,
    snapshot_steps,
    write_parts,
)

__all__ = ["Begun", "Snapshots", "begun_in", "check_begin", "pack", "unpack", "whole_state"]

ROLE = "training"

_JSON = "json"

Found = TypeVar("Found")


def pack(parts: Mapping[str, Any], about: dict[str, Any]) -> bytes:
    """Return the state of all parts as bytes that hold numbers only.

    Args:
        parts: modules, optimisers, and whatever else has `state_dict()`, a flat dictionary of tensors and
            JSON values.
        about: JSON values to keep beside them.

    Raises:
        DivergenceError: if a tensor is not finite.
    """
    from safetensors.torch import save

    tensors: dict[str, Tensor] = {}
    values: dict[str, Any] = {}
    for name, part in parts.items():
        for key, value in _state(part).items():
            if isinstance(value, Tensor):
                if value.is_floating_point() and not bool(torch.isfinite(value).all()):
                    raise DivergenceError(f"{name} holds numbers that are not finite ({key})")
                tensors[f"{name}/{key}"] = value.detach().cpu().contiguous().clone()
            else:
                values[f"{name}/{key}"] = value
    text = json.dumps({"about": about, "values": values}, allow_nan=False).encode()
    tensors[_JSON] = torch.frombuffer(bytearray(text), dtype=torch.uint8)
    return save(tensors)


def unpack(data: bytes, parts: Mapping[str, Any], check: Callable[[dict[str, Any]], None]) -> dict[str, Any]:
    """Put the state in `data` back into the parts, and return what was kept beside them.

    Args:
        data: from `pack`.
        parts: as they were given to `pack`.
        check: gets what was kept beside them first, and raises if it is another run's.

    Raises:
        CheckpointError: if the state is not that of such parts.
    """
    tensors, about, values = _read(data)
    try:
        check(about)
    except (KeyError, TypeError, AttributeError) as error:
        raise CheckpointError(f"the snapshot does not say what training it is of: {error!r}") from error
    for name, part in parts.items():
        prefix = f"{name}/"
        state = {k.removeprefix(prefix): v for k, v in {**tensors, **values}.items() if k.startswith(prefix)}
        try:
            _restore(part, state)
        except (KeyError, RuntimeError, ValueError, IndexError, TypeError) as error:
            raise CheckpointError(f"the snapshot's {name} does not fit this run: {error}") from error
    return about


def _read(data: bytes) -> tuple[dict[str, Tensor], dict[str, Any], dict[str, Any]]:
    from safetensors import SafetensorError
    from safetensors.torch import load

    try:
        tensors = load(data)
        text = json.loads(bytes(tensors.pop(_JSON).numpy()))
        bad = [key for key, value in tensors.items() if not bool(torch.isfinite(value).all())]
        if bad:
            raise ValueError(f"{bad[0]} holds numbers that are not finite")
        return tensors, dict(text["about"]), dict(text["values"])
    except (SafetensorError, KeyError, TypeError, ValueError, RecursionError) as error:
        raise CheckpointError(f"the snapshot does not hold the state of a training: {error}") from error


def _state(part: Any) -> dict[str, Any]:
    if not isinstance(part, torch.optim.Optimizer):
        return part.state_dict()
    # Rates and such come from the settings; what a step has accumulated is kept a parameter.
    return {
        f"{k}/{key}": value
        for k, parameter in enumerate(_parameters(part))
        for key, value in part.state[parameter].items()
    }


def _restore(part: Any, state: dict[str, Any]) -> None:
    if not isinstance(part, torch.optim.Optimizer):
        part.load_state_dict(state)
        return
    parameters = _parameters(part)
    part.state.clear()
    for name, value in state.items():
        number, _, key = name.partition("/")
        parameter = parameters[int(number)]
        if isinstance(value, Tensor) and value.numel() != 1 and value.shape != parameter.shape:
            raise ValueError(f"{name} is {tuple(value.shape)}, of a parameter {tuple(parameter.shape)}")
        if isinstance(value, Tensor) and value.shape == parameter.shape:
            # In the parameter's memory format, as the optimiser itself would have made it.
            value = torch.empty_like(parameter, dtype=value.dtype).copy_(value)
        part.state[parameter][key] = value
    if len({frozenset(held) for held in part.state.values()}) > 1:
        raise ValueError("its parameters have been through different steps")


def _parameters(optimiser: torch.optim.Optimizer) -> list[nn.Parameter]:
    return [parameter for group in optimiser.param_groups for parameter in group["params"]]


class Snapshots:
    """The snapshots of one run, in a folder.

    Args:
        out: the run's folder.
        keep: how many stay.
    """

    def __init__(self, out: Path, keep: int) -> None:
        self.folder = out / SNAPSHOTS
        self._out, self._keep = out, keep
        self._own: set[int] = set()

    def steps(self) -> list[int]:
        """Return the steps of the snapshots that are there, newest first."""
        return snapshot_steps(self._out)

    def path(self, step: int) -> Path:
        """Return where the snapshot of a step is."""
        return snapshot_path(self._out, step)

    def save(self, step: int, parts: Mapping[str, bytes], state: bytes) -> Path:
        """Write a snapshot, then remove all but the newest ones of this run, and return its folder.

        Args:
            step: after which it is taken.
            parts: the checkpoint's, by role.
            state: from `pack`.
        """
        path = self.path(step)
        if path.exists() and step not in self._own:
            remove_parts(path)  # of another run, or damaged
        write_parts(path, {**parts, ROLE: state})
        self._own.add(step)
        self.tidy()
        return path

    def tidy(self) -> None:
        """Remove all but the newest ones of this run, those too that a process left that was killed in the middle."""
        stays = sorted(self._own, reverse=True)[: self._keep]
        for other in snapshot_steps(self._out, whole=False):
            if other not in stays:
                remove_parts(self.path(other))

    def newest(self, read: Callable[[Path], Found]) -> tuple[int, Found] | None:
        """Return the step of the newest snapshot that can be read, and what is read of it, or None if there is none.

        A damaged one is passed over with a warning.

        Args:
            read: takes a snapshot's folder, and raises `CheckpointError` if it is damaged.

        Raises:
            CheckpointError: if there are snapshots and all are damaged.
        """
        steps, failures = self.steps(), []
        for step in steps:
            try:
                found = read(self.path(step))
            except CheckpointError as error:
                failures.append(str(error))
                continue
            for failure in failures:
                warnings.warn(f"{failure}; going on from step {step} instead", UserWarning, stacklevel=5)
            self._own = {other for other in steps if other <= step}
            return step, found
        if failures:
            raise CheckpointError(f"no snapshot in {self.folder} is whole: {failures[0]}")
        return None


def whole_state(path: Path) -> bytes:
    """Return the training's state in the snapshot at `path`, of which every file is as it was written.

    Raises:
        CheckpointError: if it is damaged.
    """
    files = read_manifest(path)
    return {role: read_part(path, files, role) for role in {*files, ROLE}}[ROLE]


def check_begin(out: Path, resume: bool) -> None:
    """Refuse to begin anew where an unfinished run waits to go on; call it before the first heavy step.

    Raises:
        ArgumentError: if the newest snapshot in `out` is of a run that has steps left.
    """
    begun = None if resume else begun_in(out)
    if begun is not None and begun.step < begun.settings["steps"]:
        raise ArgumentError(
            f"{out} holds an unfinished run (step {begun.step} of {begun.settings['steps']}); go on with it by "
            f"resume=True (on the command line --resume), choose another folder, or remove {out / SNAPSHOTS}"
        )


@dataclass(frozen=True)
class Begun:
    """What a snapshot says of its run: after which `step` it was taken, of which `trainer`, with which `settings`."""

    step: int
    trainer: str
    settings: dict[str, Any]


def begun_in(out: Path) -> Begun | None:
    """Return what the newest snapshot in `out` says of its run, or None if there is none.

    Its weights are not read: that is for the run that goes on from them.

    Raises:
        CheckpointError: if there are snapshots and all are damaged.
    """
    newest = Snapshots(out, 1).newest(_about)
    return None if newest is None else Begun(newest[0], *newest[1])


def _about(path: Path) -> tuple[str, dict[str, Any]]:
    """Return the trainer and the settings that the snapshot at `path` was made with."""
    files = read_manifest(path)
    about = parse_json(read_part(path, files, "about"), path / files["about"]["name"])
    trainer, settings = about.get("trainer"), about.get("settings")
    if not isinstance(trainer, str) or not isinstance(settings, dict) or not isinstance(settings.get("steps"), int):
        raise CheckpointError(f"{path} does not say what training it is of")
    return trainer, settings
