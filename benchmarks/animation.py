"""GIFs: latentkit's writer beside imageio's default and plain Pillow, in time, bytes and fidelity.

Three clips: a colour morph (256x256, 120 frames), 28x28 greys enlarged five times (120), and a point that
moves over a scatter (320x320, 90). Times are of writing alone, the best of `--repeat` runs in turn.

    python benchmarks/animation.py [--repeat 3] [--json FILE]
"""

import argparse
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

import latentkit as lk
from latentkit.animation import from_frames
from latentkit.files import write_json
from latentkit.gif import gif_info

Clip = list[NDArray[np.uint8]]


def morph(channels: int, side: int, frames: int) -> torch.Tensor:
    """Return smooth images (frames, channels, side, side) in [-1, 1]: a loop over weighted waves."""
    ys, xs = torch.meshgrid(torch.linspace(0, 6.28, side), torch.linspace(0, 6.28, side), indexing="ij")
    rng = np.random.default_rng(0)
    turns = torch.from_numpy(rng.uniform(0, 6.28, (12, 1, 1)).astype(np.float32))
    rates = torch.from_numpy(rng.integers(1, 4, (2, 12, 1, 1)).astype(np.float32))
    waves = torch.sin(rates[0] * xs + rates[1] * ys + turns)
    colours = torch.from_numpy(rng.normal(size=(12, channels)).astype(np.float32)) * 0.25
    keys = lk.loop(lk.Normal(12).sample(4, seed=1)).steps(frames)
    return torch.stack([torch.einsum("k,kc,khw->chw", z, colours, waves).tanh() for z in keys])


def clips() -> dict[str, Clip]:
    """Return the three clips as frames in memory, so that only writing is timed."""
    from latentkit.render import render_samples

    points = lk.wrap(lambda z: z[:, :2] + 2 * z[:, :2] / z[:, :2].norm(dim=1, keepdim=True), lk.Normal(4))
    scatter = lk.animate(points, lk.loop(points.prior.sample(5, seed=0), prior=points.prior), frames=90)
    return {
        "colour 256x256x120": list(render_samples(morph(3, 256, 120))),
        "grey 140x140x120": list(render_samples(morph(1, 28, 120), scale=5)),
        "scatter 320x320x90": list(scatter.frames()),
    }


def ours(clip: Clip, path: Path) -> None:
    """Write with latentkit."""
    from_frames(clip, fps=25).save(path)


def imageio_default(clip: Clip, path: Path) -> None:
    """Write with imageio, as its documentation shows it."""
    import imageio.v3 as iio

    iio.imwrite(path, np.stack(clip), duration=40, loop=0)


def plain_pillow(clip: Clip, path: Path) -> None:
    """Write with Pillow, as its documentation shows it."""
    from PIL import Image

    first, *rest = (Image.fromarray(frame) for frame in clip)
    first.save(path, save_all=True, append_images=rest, duration=40, loop=0)


WRITERS: dict[str, Callable[[Clip, Path], None]] = {
    "latentkit": ours,
    "imageio": imageio_default,
    "Pillow": plain_pillow,
}


def fidelity(clip: Clip, path: Path) -> float:
    """Return the PSNR of a file's frames in dB, each compared with the frame of its time; inf if exact."""
    from PIL import Image, ImageSequence

    errors = []
    with Image.open(path) as image:
        at = 0
        for stored in ImageSequence.Iterator(image):
            shown = np.asarray(stored.convert("RGB"), dtype=np.float64)
            for _ in range(round(stored.info["duration"] / 40)):
                errors.append(float(((shown - clip[at]) ** 2).mean()))
                at += 1
    mean = float(np.mean(errors))
    return 10 * np.log10(255**2 / mean) if mean else float("inf")


def main() -> int:
    """Run, print the table, and write JSON if asked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeat", type=int, default=3, help="runs of each writer; the best counts (default 3)")
    parser.add_argument("--json", type=Path, help="write the figures here")
    arguments = parser.parse_args()
    rows = []
    print(f"{'clip':20}{'writer':11}{'s':>8}{'x':>7}{'kB':>8}{'x':>7}{'PSNR dB':>9}{'stored':>8}")
    with tempfile.TemporaryDirectory() as folder:
        for name, clip in clips().items():
            path = {writer: Path(folder) / f"{writer}.gif" for writer in WRITERS}
            seconds = dict.fromkeys(WRITERS, float("inf"))
            for _ in range(arguments.repeat):
                for writer, write in WRITERS.items():
                    start = time.perf_counter()
                    write(clip, path[writer])
                    seconds[writer] = min(seconds[writer], time.perf_counter() - start)
            for writer in WRITERS:
                size, psnr = path[writer].stat().st_size, fidelity(clip, path[writer])
                times = seconds["imageio"] / seconds[writer], size / path["imageio"].stat().st_size
                stored = gif_info(path[writer]).frames
                print(
                    f"{name:20}{writer:11}{seconds[writer]:8.2f}{times[0]:7.1f}{size / 1000:8.0f}{times[1]:7.2f}"
                    f"{psnr:9.1f}{stored:8d}"
                )
                rows.append(
                    {
                        "clip": name,
                        "writer": writer,
                        "seconds": seconds[writer],
                        "times_faster_than_imageio": times[0],
                        "bytes": size,
                        "bytes_of_imageio": times[1],
                        "psnr_db": psnr if np.isfinite(psnr) else None,
                        "frames": len(clip),
                        "stored": stored,
                    }
                )
    if arguments.json:
        write_json(arguments.json, {"rows": rows, "note": "psnr_db null: exact"})
    return 0


if __name__ == "__main__":
    sys.exit(main())
