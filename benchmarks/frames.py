"""Frames of moving points, drawn and encoded: latentkit's stage beside matplotlib's `FuncAnimation` and Pillow writer.

Both draw the same points in three colours over the same axes, 320x320, and write a GIF; CPU seconds a frame, one
thread, the best of `--repeat` runs.

    python benchmarks/frames.py [--frames 60] [--repeat 2] [--json FILE]
"""

import argparse
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from latentkit.animation import from_frames
from latentkit.files import write_json
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


def main() -> int:
    """Run, print the table, and write JSON if asked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--frames", type=int, default=60, help="of each film (default 60)")
    parser.add_argument("--repeat", type=int, default=2, help="runs of each; the best counts (default 2)")
    parser.add_argument("--json", type=Path, help="write the figures here")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    rows = []
    print(f"{'points':>8}{'latentkit ms':>14}{'FuncAnimation ms':>18}{'times':>7}{'kB':>8}{'kB':>8}")
    with tempfile.TemporaryDirectory() as folder:
        ours, theirs = Path(folder) / "ours.gif", Path(folder) / "theirs.gif"
        for points in (2_000, 20_000):
            moving, groups = places(points, arguments.frames)
            best = [float("inf")] * 2
            for _ in range(arguments.repeat):
                for k, (write, path) in enumerate(((with_latentkit, ours), (with_matplotlib, theirs))):
                    start = time.process_time()
                    write(moving, groups, path)
                    best[k] = min(best[k], 1000 * (time.process_time() - start) / arguments.frames)
            sizes = ours.stat().st_size, theirs.stat().st_size
            times = best[1] / best[0]
            print(
                f"{points:8,}{best[0]:14.1f}{best[1]:18.1f}{times:7.1f}{sizes[0] / 1000:8.0f}{sizes[1] / 1000:8.0f}",
                flush=True,
            )
            row = {"points": points, "ms_a_frame": best[0], "funcanimation_ms_a_frame": best[1], "times_faster": times}
            rows.append(row | {"bytes": sizes[0], "funcanimation_bytes": sizes[1]})
    if arguments.json:
        write_json(arguments.json, {"rows": rows})
    return 0


if __name__ == "__main__":
    sys.exit(main())
