"""Claim: GIFs are made several times faster than imageio's, smaller and truer, and long films need flat memory.

    python -m benchmarks.animation [--repeat 3] [--frames 2000] [--json FILE] [--only gif formats memory]

GIF: four clips, a colour morph (256x256, 120 frames), 28x28 greys enlarged five times (120), a point that moves over a
scatter (320x320, 90), and 2,000 points that all move (320x320, 60), written by latentkit, imageio's default, Pillow,
ffmpeg's palettegen and gifski where they are installed. CPU seconds of writing alone, the best of `--repeat` runs.

Formats: what latentkit makes of the same clips, and which one `best_format` takes.

Memory: a film of 256x256 in a fresh process for each format; the peak above what the process held before, which
includes the libraries and a film of 40 frames. What ffmpeg needs is beside it.
"""

import argparse
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.claims import Ratio, at_least, at_most, concluded, parsed, parser
from benchmarks.clips import Frame, clips, fidelity, morph, writers
from benchmarks.clocks import cpu_seconds, interleaved, peak, process, python, resident, restart_peak, timed
from latentkit.animation import best_format, from_frames
from latentkit.encoders.gif import gif_info

#: Pixels a side of the long film.
SIDE = 256

#: What was wanted of GIFs against imageio's, by the clip's first word: times faster, share of bytes, decibels more.
WANTED = {"colour": (8.0, 0.72, 0.0), "grey": (5.0, 1.0, None), "scatter": (3.0, 0.70, 2.5)}

#: MiB that a long film may need above the frames in flight.
MOST_MEBIBYTES = 50.0

LIMITS = {
    "time": "choosing palettes by k-means and Pillow's LZW coder, which all writers share",
    "bytes": "the format's coder and its 256 colours a frame",
    "fidelity": "256 colours a frame, whoever chooses them",
    "memory": "frames in flight and the encoder's own buffers; nothing grows with the film",
}


def gifs(repeat: int, most: int, folder: Path) -> list[dict[str, Any]]:
    """Print and return the table of GIFs of the clips' first frames."""
    rows = []
    print(f"{'clip':20}{'writer':11}{'CPU s':>8}{'x':>7}{'kB':>8}{'x':>7}{'PSNR dB':>9}{'stored':>8}")
    for name, clip in clips(most).items():
        path = {writer: folder / f"{writer}.gif" for writer in writers()}
        runs = {writer: timed(partial(write, clip, path[writer]), cpu_seconds) for writer, write in writers().items()}
        seconds = interleaved(runs, repeat)
        for writer, file in path.items():
            size, psnr, stored = file.stat().st_size, fidelity(clip, file), gif_info(file).frames
            times = seconds.best("imageio") / seconds.best(writer), size / path["imageio"].stat().st_size
            print(
                f"{name:20}{writer:11}{seconds.best(writer):8.3f}{times[0]:7.1f}{size / 1000:8.0f}{times[1]:7.2f}"
                f"{psnr:9.1f}{stored:8d}",
                flush=True,
            )
            row = {"clip": name, "writer": writer, "cpu_seconds": seconds.best(writer)}
            row |= {"times_faster_than_imageio": times[0], "bytes": size, "bytes_of_imageio": times[1]}
            row |= {"psnr_db": psnr if np.isfinite(psnr) else None, "frames": len(clip), "stored": stored}
            rows.append(row)
    return rows


def gif_ratios(rows: list[dict[str, Any]]) -> list[Ratio]:
    """Return what was claimed of GIFs against imageio's."""
    by = {(row["clip"].split()[0], row["writer"]): row for row in rows}
    ratios = []
    for clip, (faster, share, decibels) in WANTED.items():
        ours, theirs = by[clip, "latentkit"], by[clip, "imageio"]
        speed = ours["times_faster_than_imageio"]
        ratios += [
            at_least(f"GIF of {clip}: imageio's CPU time / ours", speed, faster, limit=LIMITS["time"]),
            at_most(f"GIF of {clip}: bytes / imageio's", ours["bytes_of_imageio"], share, limit=LIMITS["bytes"]),
        ]
        if decibels is not None:
            # Exact is as good as 100 dB, which no palette reaches.
            more = (ours["psnr_db"] or 100.0) - (theirs["psnr_db"] or 100.0)
            name = f"GIF of {clip}: fidelity above imageio's"
            ratios.append(at_least(name, more, decibels, unit="dB", limit=LIMITS["fidelity"]))
    return ratios


def formats(most: int, folder: Path) -> list[dict[str, Any]]:
    """Print and return what each format makes of the clips; the one that `best_format` takes has a star."""
    rows = []
    print(f"\n{'clip':20}{'format':16}{'CPU s':>8}{'kB':>8}{'PSNR dB':>9}")
    ways: list[tuple[str, dict[str, Any]]] = [
        (".gif", {}),
        (".webp", {"lossless": True}),
        (".webp", {"lossless": False}),
        (".apng", {}),
        (".avif", {}),
        *([(".mp4", {})] if "ffmpeg" in writers() else []),
    ]
    small = {"grey 28x28x120": [frame[::5, ::5].copy() for frame in clips(most)["grey 140x140x120"]]}
    for name, clip in (clips(most) | small).items():
        film = from_frames(clip, fps=25)
        best = best_format(film)
        for suffix, options in ways:
            start = cpu_seconds()
            path = film.save(folder / f"film{suffix}", **options)
            seconds, size, psnr = cpu_seconds() - start, path.stat().st_size, fidelity(clip, path)
            what = suffix + ("" if not options else " lossless" if options["lossless"] else " lossy")
            # A lossless WebP is what `best_format` means for flat colours, a lossy one for photographs.
            star = "*" if suffix == best and options.get("lossless", True) else ""
            print(f"{name:20}{what + star:16}{seconds:8.3f}{size / 1000:8.0f}{psnr:9.1f}")
            row = {"clip": name, "format": what, "cpu_seconds": seconds, "bytes": size, "best": bool(star)}
            rows.append(row | {"psnr_db": psnr if np.isfinite(psnr) else None})
    return rows


def long_film(frames: int) -> Iterator[Frame]:
    """Yield a slow turn through two pictures, drawn into one array."""
    first, second = (morph(3, SIDE, 2) * 100 + 128).permute(0, 2, 3, 1).numpy()
    for i in range(frames):
        yield np.clip(first * np.cos(i / 40) + second * np.sin(i / 60), 0, 255).astype(np.uint8)


def measure(suffix: str, count: int, folder: Path) -> None:
    """In a fresh process: save a long film and print its peak of memory above before, and ffmpeg's, in MiB."""
    child = 0.0

    def watched(frames: int) -> Iterator[Frame]:
        nonlocal child
        for i, frame in enumerate(long_film(frames)):
            yield frame
            for children in Path("/proc/self/task").glob("*/children") if i % 200 == 199 else ():
                child = max([child, *map(peak, children.read_text(encoding="ascii").split())])

    from_frames(lambda: long_film(40), count=40).save(folder / f"40{suffix}")
    restart_peak()
    before = resident()
    from_frames(lambda: watched(count), count=count).save(folder / f"{count}{suffix}")
    print(peak() - before, child)


def memory(count: int, folder: Path) -> list[dict[str, Any]]:
    """Print and return the table of memory."""
    rows = []
    print(f"\n{count} frames {SIDE}x{SIDE}: {'format':10}{'peak MiB':>9}{'ffmpeg MiB':>12}{'kB':>9}{'CPU s':>8}")
    for suffix in (".gif", ".webp", ".apng", ".avif", *([".mp4"] if "ffmpeg" in writers() else [])):
        command = python("-m", "benchmarks.animation", "--measure", suffix, str(count), str(folder))
        spent = process(command, stdout=subprocess.PIPE)
        above, child = map(float, spent.output.split())
        size = (folder / f"{count}{suffix}").stat().st_size
        print(f"{'':22}{suffix:10}{above:9.0f}{child:12.0f}{size / 1000:9.0f}{spent.cpu:8.1f}", flush=True)
        rows.append({"format": suffix, "peak_mebibytes": above, "ffmpeg_mebibytes": child, "bytes": size})
    return rows


def main(argv: list[str] | None = None) -> int:
    """Run, print the tables, and write JSON if asked."""
    options = parser(__doc__)
    options.add_argument("--repeat", type=int, default=3, help="runs of each writer; the best counts (default 3)")
    options.add_argument("--frames", type=int, default=2_000, help="of the long film (default 2000)")
    options.add_argument("--most", type=int, default=120, help="frames of a clip, at most (default all: 120)")
    options.add_argument("--only", nargs="+", choices=("gif", "formats", "memory"), help="of the three tables")
    options.add_argument("--measure", nargs=3, help=argparse.SUPPRESS)
    arguments = parsed(options, argv, quick={"repeat": 1, "frames": 60, "most": 6})
    torch.set_num_threads(1)
    if arguments.measure:
        suffix, count, place = arguments.measure
        measure(suffix, int(count), Path(place))
        return 0
    wanted, found, ratios = arguments.only or ("gif", "formats", "memory"), {}, []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if "gif" in wanted:
            found["gif"] = gifs(arguments.repeat, arguments.most, folder)
            ratios += gif_ratios(found["gif"])
        if "formats" in wanted:
            found["formats"] = formats(arguments.most, folder)
        if "memory" in wanted:
            found["memory"] = memory(arguments.frames, folder)
            most = max(row["peak_mebibytes"] for row in found["memory"])
            name = f"memory of a film of {arguments.frames:,} frames, the worst of {len(found['memory'])} formats"
            ratios.append(at_most(name, most, MOST_MEBIBYTES, unit="MiB", limit=LIMITS["memory"]))
    return concluded(arguments, ratios, **found, note="psnr_db null: exact")


if __name__ == "__main__":
    sys.exit(main())
