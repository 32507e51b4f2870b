"""The run of a training: steps, numbers, snapshots, resuming, and an orderly end, alike for all trainers.

A trainer makes a `Training`, which knows how to make one step; `run` does the rest. Everything random in
step t is a function of (seed, t), so the weights, the optimisers' moments and the numbers recorded so far
are all that is needed to go on exactly.
"""

import copy
import math
import os
import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import asdict
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor
from tqdm import tqdm

from latentkit import streams
from latentkit.checkpoint import Checkpoint
from latentkit.console import limited_threads
from latentkit.errors import ArgumentError, DivergenceError, NonFiniteError, OutputError
from latentkit.manifest import check_place
from latentkit.protocols import Critic, Generator
from latentkit.sampling.generate import generate
from trainers.board import board
from trainers.data.dataset import Data
from trainers.distributed import Group
from trainers.health import Health
from trainers.history import History
from trainers.interrupts import Requests, deferred_requests
from trainers.snapshots import Snapshots, check_begin, pack, unpack, whole_state

__all__ = ["OnStep", "Training", "TrainingState", "run"]


class TrainingState:
    """What `on_step` gets after each step: look, but do not change.

    Attributes: `step`, from 1 to `steps`; `losses`, the step's numbers by name; `critic`, or None.
    """

    def __init__(self, training: "Training", step: int, losses: dict[str, float]) -> None:
        self.step, self.steps, self.losses = step, int(training.config.steps), losses
        self.critic = training.critic()
        self._training = training

    @cached_property
    def generator(self) -> Generator:
        """The averaged generator as a checkpoint would hold it now, over all classes if it is conditional.

        It is made when it is first asked for, since its batch norms may have to be measured.
        """
        return self._training.generator()


OnStep = Callable[[TrainingState], None]


class Training(ABC):
    """What `run` needs of a trainer.

    Attributes: `name`, the trainer's; `config`, its resolved settings; `data`, what it trains on;
    `held_out`, what it never sees; `group`, the processes that train together; `device`; `share`, which of a
    batch's samples are this process's.
    """

    name: ClassVar[str]

    def __init__(self, data: Data, held_out: Data, config: Any) -> None:
        self.data, self.held_out, self.config, self.group = data, held_out, config, Group()
        self.device, self.share = torch.device(config.device), self.group.share(config.batch_size)

    def normals(self, batch: int, stream: int) -> Tensor:
        """Return the standard normals (batch_size, latent_dim) of batch number `batch`, those of all processes."""
        n, dim = self.config.batch_size, self.config.latent_dim
        draws = streams.normal(n, dim, seed=self.config.seed, start=batch * n, stream=stream)
        return torch.from_numpy(draws).to(self.device, torch.float32)

    def low_precision(self) -> Any:
        """Return a context in which products are bfloat16, if the settings say so."""
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self.config.precision == "bfloat16")

    @abstractmethod
    def step(self, step: int) -> dict[str, Tensor]:
        """Make step number `step`, 1 or more, and return its numbers by name, scalars."""

    @abstractmethod
    def parts(self) -> dict[str, Any]:
        """Return all that the steps change, by name: modules, optimisers, or things with a flat `state_dict()`."""

    @abstractmethod
    def generator(self) -> Generator:
        """Return the generator as a checkpoint would hold it now, of averaged weights, on the training's device."""

    def critic(self) -> Critic | None:
        """Return the critic as it is now, or None."""
        return None

    def measures(self) -> dict[str, float]:
        """Return numbers by name that are measured at each look at the health; each stands until the next look."""
        return {}

    @abstractmethod
    def finished(self) -> dict[str, Any]:
        """Return what a checkpoint holds now, by its field: copies on the CPU, in eval mode, without gradients."""


def run(
    training: Training,
    *,
    out: str | os.PathLike[str] | None = None,
    resume: bool = False,
    on_step: OnStep | None = None,
    progress: bool = True,
    log_dir: str | os.PathLike[str] | None = None,
) -> Checkpoint:
    """Make all steps of a training and return its checkpoint.

    Args:
        training: what is trained.
        out: the run's folder: it gets the checkpoint at the end, and snapshots in `snapshots/` on the way and
            after a Ctrl-C or SIGTERM, which stops the run when its step is whole.
        resume: go on from the newest snapshot in `out`; without one, begin.
        on_step: called after each step.
        progress: show a progress bar on standard error.
        log_dir: folder for TensorBoard's event files.

    Raises:
        DivergenceError: if a number is not finite; what was saved before stays.
        ArgumentError: if `resume` meets a run of other settings or data, or is missing where a run is unfinished.
        MissingDependencyError: if TensorBoard is asked for and not installed.
    """
    if resume and out is None:
        raise ArgumentError("resume needs out, the folder of the run that goes on")
    place = None if out is None else Path(out)
    if place is not None:
        check_place(place)
        check_begin(place, resume)
    with ExitStack() as open_things:
        open_things.enter_context(limited_threads(training.config.threads))
        loop = _Loop(training, place, on_step, open_things.enter_context(board(log_dir, training.group.leads)))
        if resume:
            loop.resume()
        requests = open_things.enter_context(deferred_requests())
        loop.go(requests, progress)
        result = loop.save_result() if loop.step == training.config.steps else None
        open_things.close()  # handlers are put back before what was asked for is done
        requests.obey()
        return loop.checkpoint() if result is None else result


class _Loop:
    """One run on its way."""

    def __init__(self, training: Training, out: Path | None, on_step: OnStep | None, log: Any) -> None:
        self.training, self.config, self.out, self.on_step, self.log = training, training.config, out, on_step, log
        self.group = training.group
        self.history = History()
        self.health = Health(training.held_out.floats(slice(0, 128)))
        self.snapshots = None if out is None else Snapshots(out, self.config.keep)
        self.step, self.before, self.began = 0, 0.0, time.monotonic()
        self.saved: Path | None = None
        self._last: Checkpoint | None = None

    def parts(self) -> dict[str, Any]:
        return {**self.training.parts(), "history": self.history, "health": self.health}

    def seconds(self) -> float:
        return self.before + time.monotonic() - self.began

    def resume(self) -> None:
        """Go back to where the newest snapshot was taken."""
        found = None if self.snapshots is None else self.snapshots.newest(whole_state)
        if found is None or self.snapshots is None:
            return
        self.step, state = found
        about = unpack(state, self.parts(), self._check_same)
        self.before, self.saved = float(about["seconds"]), self.snapshots.path(self.step)
        if self.step > self.config.steps:
            raise ArgumentError(f"{self.out} is at step {self.step} already, beyond the {self.config.steps} asked for")

    def _about(self) -> dict[str, Any]:
        return {
            "trainer": self.training.name,
            "data": self.training.data.fingerprint,
            "settings": asdict(self.config),
            "step": self.step,
            "seconds": self.seconds(),
        }

    def _check_same(self, about: dict[str, Any]) -> None:
        """Refuse to go on with something else than what was begun."""
        now = self._about()
        pairs = {"trainer": (about["trainer"], now["trainer"]), "data": (about["data"], now["data"])}
        for name in {**about["settings"], **now["settings"]}:
            if name not in self.config.free:
                pairs[name] = (about["settings"].get(name), now["settings"].get(name))
        other = {name: values for name, values in pairs.items() if values[0] != values[1]}
        if other:
            shown = ", ".join(f"{name} was {was!r} and is {now!r}" for name, (was, now) in sorted(other.items()))
            raise ArgumentError(
                f"{self.out} was begun otherwise: {shown}; resume with what it had, or choose another out"
            )

    def go(self, requests: Requests, progress: bool) -> None:
        """Make the steps that are left, or those before a request to end."""
        steps = self.config.steps
        bar = tqdm(
            total=steps,
            initial=self.step,
            desc=f"{self.training.name} {self.training.data.name}",
            disable=not (progress and self.group.leads),
            mininterval=0.5,
        )
        with bar:
            while self.step < steps and not self.group.any(requests.number is not None):
                self._one(bar)
        if self.step < steps:
            self._save_snapshot()
            self.group.any(False)  # nobody leaves, and says what is saved, before it is

    def _one(self, bar: Any) -> None:
        self.step += 1
        step, last = self.step, self.step == self.config.steps
        losses = self.group.mean(self.training.step(step))
        bad = next((name for name, value in losses.items() if not math.isfinite(value)), None)
        if bad is not None:
            raise DivergenceError(self._diverged(f"{bad} became {losses[bad]}"))
        measured = self._look(last) if self.group.leads else {}
        if self.history.add(step, self.seconds(), losses, **measured):
            self.log.add(step, self.history.newest())
        bar.set_postfix(
            {name: f"{value:.2f}" for name, value in losses.items() if "gradient" not in name}, refresh=False
        )
        bar.update()
        if self.on_step is not None:
            try:
                self.on_step(TrainingState(self.training, step, losses))
            except KeyboardInterrupt:
                self._save_snapshot()
                raise
        if last or step % self.config.save_every == 0:
            self._save_snapshot()

    def _look(self, last: bool) -> dict[str, float]:
        """Look at the samples' health, if it is time or the run ends, and return what the history is to keep."""
        due = self.step % self.config.check_every == 0 or self.step == 1
        if not due and not last:
            return {}
        generator = self.training.generator()
        latents = generator.prior.sample(self.health.count, seed=self.config.seed)
        # A look only because the run ends here must leave no trace: the run may go on.
        health = self.health if due else copy.deepcopy(self.health)
        try:
            health.look(self.step, generate(generator, latents), self.training.critic(), last=last)
        except NonFiniteError as error:
            raise DivergenceError(self._diverged("samples, or scores of them, became infinite or NaN")) from error
        return {**health.values, **self.training.measures()} if due else {}

    def _diverged(self, what: str) -> str:
        good = f"; the last good snapshot is {self.saved}" if self.saved else ""
        return f"{what} at step {self.step}; lower the learning rates, or penalise the critic's gradient more{good}"

    def _save_snapshot(self) -> None:
        if self.snapshots is None or not self.group.leads:
            return
        try:
            state = pack(self.parts(), self._about())
        except DivergenceError as error:
            raise DivergenceError(self._diverged(str(error))) from error
        try:
            self.saved = self.snapshots.save(self.step, self.checkpoint().parts(), state)
        except OutputError as error:
            good = f"; {self.saved} is the last one, and resuming goes on from there" if self.saved else ""
            raise OutputError(f"{error}{good}") from error

    def checkpoint(self) -> Checkpoint:
        """Return the training as a checkpoint; that of the last step is made once, for its snapshot and the result."""
        if self._last is not None:
            return self._last
        held = self.training.held_out
        made = Checkpoint(
            **self.training.finished(),
            holdout=held.floats(),
            holdout_labels=held.labels,
            classes=held.classes,
            data=held.name,
            trainer=self.training.name,
            settings=asdict(self.config),
            history=self.history.columns(),
        )
        if self.step == self.config.steps:
            self._last = made
        return made

    def save_result(self) -> Checkpoint:
        """Return the finished checkpoint, saved if the run has a folder."""
        checkpoint = self.checkpoint()
        if self.out is not None and self.group.leads:
            checkpoint.save(self.out)
            if self.snapshots is not None and self.saved is not None:
                self.snapshots.tidy()  # the process that took the last one may have been killed before it did so
        return checkpoint
