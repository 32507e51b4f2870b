"""The numbers of a training over its steps, as a checkpoint keeps them."""

from collections.abc import Mapping
from typing import Any

__all__ = ["History"]


class History:
    """Training's numbers: means over the steps since the one recorded before.

    Every step is recorded at first, then ever fewer, some 50 each time that the run has doubled. When
    depends on the step alone, so a run that is stopped and goes on records what an unbroken one does.
    """

    def __init__(self) -> None:
        self._columns: dict[str, list[float]] = {}
        self._sums: dict[str, float] = {}
        self._count = 0
        self._latest: dict[str, float] = {}

    def add(self, step: int, seconds: float, values: Mapping[str, float], **present: float) -> bool:
        """Count the numbers of step `step`, and return whether it is recorded.

        Args:
            step: from 1 on.
            seconds: since the start.
            values: the step's numbers, which are averaged.
            present: numbers that were measured after this step; each stands until it is measured again.
        """
        for name, value in values.items():
            self._sums[name] = self._sums.get(name, 0.0) + value
        self._count += 1
        self._latest = {**self._latest, "step": float(step), "seconds": seconds, **present}
        if step % 2 ** max(0, step.bit_length() - 6):
            return False
        for name, value in self._row().items():
            self._columns.setdefault(name, []).append(value)
        self._sums, self._count = {}, 0
        return True

    def _row(self) -> dict[str, float]:
        means = {name: total / self._count for name, total in self._sums.items()}
        step, seconds, *rest = self._latest.items()
        return {**dict((step, seconds)), **means, **dict(rest)}

    def newest(self) -> dict[str, float]:
        """Return the newest numbers, recorded or not."""
        return self._row() if self._count else {name: values[-1] for name, values in self._columns.items()}

    def columns(self) -> dict[str, list[float]]:
        """Return the recorded numbers by name, and those since then as a last row."""
        if not self._count:
            return {name: list(values) for name, values in self._columns.items()}
        row = self._row()
        return {name: [*self._columns.get(name, []), value] for name, value in row.items()}

    def state_dict(self) -> dict[str, Any]:
        """Return what a snapshot holds."""
        return {"columns": self._columns, "sums": self._sums, "count": self._count, "latest": self._latest}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from what a snapshot held."""
        self._columns, self._sums = dict(state["columns"]), dict(state["sums"])
        self._count, self._latest = int(state["count"]), dict(state["latest"])
