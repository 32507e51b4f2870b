"""Claim: frames of moving points are drawn and encoded 7 to 15 times faster than by `FuncAnimation`.

latentkit's stage and matplotlib's `FuncAnimation` with its Pillow writer draw the same points in three colours over
the same axes, 320x320, and write a GIF; CPU seconds a frame, one thread, the best of `--repeat` runs.

    python -m benchmarks.frames [--frames 60] [--repeat 2] [--json FILE]
"""

import sys
import tempfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.claims import at_least, concluded, parsed, parser
from benchmarks.clocks import cpu_seconds, interleaved, timed
from latentkit.animation import from_frames
from latentkit.scatter import Stage
from latentkit.style import COLOURS, drawing, new_axes

SIDE, LIMITS, GROUPS = 320, (-4.0, 4.0, -4.0, 4.0), 3
STYLE: dict[str, Any] = {"markersize": 3.0, "alpha": 0.7, "markeredgewidth": 0.0}


def places(points: int, frames: int) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Return points (frames, N, 2) that move, and their groups (N,)."""
    rng = np.random.default_rng(0)
    start, way, groups = rng.normal(size=(points, 2)), rng.normal(size=(points, 2)), rng.integers(0, GROUPS, points)
    turns = 2 * np.pi * np.arange(frames)[:, None, None] / frames
    return start + 0.3 * way * np.sin(turns + start), groups


def with_latentkit(moving: NDArray[np.float64], groups: NDArray[np.int64], path: Path) -> None:
    """Draw on a stage, whose axes are drawn once, and save the film."""

    def frames() -> Iterator[NDArray[np.uint8]]:
        with drawing():
            stage = Stage(LIMITS, SIDE)
            dots: list[Any] = [stage.axes.plot([], [], ".", color=COLOURS[k], **STYLE)[0] for k in range(GROUPS)]
            stage.keep(dots)
        for now in moving:
            with drawing():
                for k, artist in enumerate(dots):
                    artist.set_data(*now[groups == k].T)
                frame = stage.frame()
            yield frame

    from_frames(frames, count=len(moving), fps=25).save(path)


def with_matplotlib(moving: NDArray[np.float64], groups: NDArray[np.int64], path: Path) -> None:
    """Draw with `FuncAnimation` and its Pillow writer, as matplotlib's documentation shows it."""
    from matplotlib.animation import FuncAnimation, PillowWriter

    with drawing():
        figure, axes = new_axes(SIDE, SIDE, x="x", y="y", equal=True)
        axes.set(xlim=LIMITS[:2], ylim=LIMITS[2:])
        colours = np.array(COLOURS)[groups]
        dots: Any = axes.scatter(*moving[0].T, s=(STYLE["markersize"] / 2) ** 2, c=colours, alpha=0.7, linewidths=0)

        def update(i: int) -> tuple[Any]:
            dots.set_offsets(moving[i])
            return (dots,)

        film = FuncAnimation(figure, update, frames=len(moving), blit=True)
        film.save(path, writer=PillowWriter(fps=25))


#: How many times faster, by the number of points.
WANTED = {2_000: 7.0, 20_000: 15.0}

LIMIT = "what is left is drawing the markers into the canvas and the GIF's coder"


def main(argv: list[str] | None = None) -> int:
    """Run, print the table, and write JSON if asked."""
    options = parser(__doc__)
    options.add_argument("--frames", type=int, default=60, help="of each film (default 60)")
    options.add_argument("--repeat", type=int, default=2, help="runs of each; the best counts (default 2)")
    arguments = parsed(options, argv, quick={"frames": 4, "repeat": 1})
    torch.set_num_threads(1)
    rows, ratios = [], []
    print(f"{'points':>8}{'latentkit ms':>14}{'FuncAnimation ms':>18}{'times':>7}{'kB':>8}{'kB':>8}")
    with tempfile.TemporaryDirectory() as folder:
        ours, theirs = Path(folder) / "ours.gif", Path(folder) / "theirs.gif"
        for points, wanted in WANTED.items():
            given = places(points, arguments.frames)
            runs = {
                "ours": timed(partial(with_latentkit, *given, ours), cpu_seconds),
                "theirs": timed(partial(with_matplotlib, *given, theirs), cpu_seconds),
            }
            found = interleaved(runs, arguments.repeat)
            best = [1000 * found.best(name) / arguments.frames for name in runs]
            sizes = ours.stat().st_size, theirs.stat().st_size
            times = best[1] / best[0]
            print(
                f"{points:8,}{best[0]:14.1f}{best[1]:18.1f}{times:7.1f}{sizes[0] / 1000:8.0f}{sizes[1] / 1000:8.0f}",
                flush=True,
            )
            row = {"points": points, "ms_a_frame": best[0], "funcanimation_ms_a_frame": best[1], "times_faster": times}
            rows.append(row | {"bytes": sizes[0], "funcanimation_bytes": sizes[1]})
            ratios.append(at_least(f"frame of {points:,} points: FuncAnimation / ours", times, wanted, limit=LIMIT))
    return concluded(arguments, ratios, rows=rows)


if __name__ == "__main__":
    sys.exit(main())
