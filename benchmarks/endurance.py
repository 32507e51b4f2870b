"""Claim: the memory of an hour's training is flat, snapshots, health checks and tensors of each step included.

    python -m benchmarks.endurance [--minutes 60] [--warm-up 5] [--data digits] [--json FILE]

The default recipe trains into a temporary folder and saves every 200 steps; the resident memory of the process is read
every ten seconds, and a line fitted to what follows the warm-up. Flat means less than 1 MiB in ten minutes.
"""

import contextlib
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from benchmarks.claims import at_most, concluded, parsed, parser
from benchmarks.clocks import resident
from trainers import GANConfig, TrainingState, digits, fashion_mnist, train_gan

#: MiB in ten minutes that count as none, and seconds between two readings.
FLAT, EVERY = 1.0, 10.0

DATA = {"digits": digits, "fashion-mnist": fashion_mnist}


class _Enough(Exception):
    """The time is up."""


def main(argv: list[str] | None = None) -> int:
    """Print the readings' line."""
    options = parser(__doc__)
    options.add_argument("--minutes", type=float, default=60.0)
    options.add_argument("--warm-up", type=float, default=5.0, help="minutes")
    options.add_argument("--data", choices=sorted(DATA), default="digits")
    arguments = parsed(options, argv)
    began = time.monotonic()
    readings: list[tuple[float, float, int]] = []

    def look(state: TrainingState) -> None:
        now = time.monotonic() - began
        if not readings or now - readings[-1][0] >= EVERY:
            readings.append((now, resident(), state.step))
        if now > 60.0 * arguments.minutes:
            raise _Enough

    config = GANConfig(steps=10_000_000, save_every=200, threads=1)
    with tempfile.TemporaryDirectory() as folder, contextlib.suppress(_Enough):
        train_gan(DATA[arguments.data](), config, out=Path(folder) / "run", on_step=look, progress=False)
    seconds, memory, steps = (np.array(column, dtype=float) for column in zip(*readings, strict=True))
    kept = seconds >= 60.0 * arguments.warm_up
    slope, _ = np.polyfit(seconds[kept] / 600.0, memory[kept], 1)
    found = {
        "minutes": seconds[-1] / 60.0,
        "steps": int(steps[-1]),
        "snapshots": int(steps[-1]) // 200,
        "MiB after the warm-up": float(memory[kept][0]),
        "MiB at the end": float(memory[-1]),
        "largest MiB": float(memory.max()),
        "MiB in ten minutes": float(slope),
    }
    for name, value in found.items():
        print(f"{name:24}{value:12.2f}")
    limit = "what the allocator keeps of tensors that come and go"
    name = f"memory that {arguments.minutes:g} minutes of training gain"
    return concluded(arguments, [at_most(name, slope, FLAT, unit="MiB in ten minutes", limit=limit)], readings=found)


if __name__ == "__main__":
    sys.exit(main())
