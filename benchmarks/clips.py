"""Clips that benchmarks of films write, the writers of GIFs that people use, and how true a file is to its frames."""

import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

import latentkit as lk
from latentkit.animation import from_frames
from latentkit.scatter import Stage
from latentkit.style import COLOURS, drawing

__all__ = ["Clip", "Frame", "clips", "fidelity", "morph", "writers"]

Frame = NDArray[np.uint8]
Clip = list[Frame]


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


def swarm(points: int, frames: int) -> Iterator[Frame]:
    """Yield frames of points in three colours that all move."""
    rng = np.random.default_rng(0)
    places, ways, groups = rng.normal(size=(points, 2)), rng.normal(size=(points, 2)), rng.integers(0, 3, points)
    with drawing():
        stage = Stage((-4.0, 4.0, -4.0, 4.0), 320)
        style: dict[str, Any] = {"markersize": 4.0, "alpha": 0.7, "markeredgewidth": 0.0}
        dots: list[Any] = [stage.axes.plot([], [], ".", color=COLOURS[k], **style)[0] for k in range(3)]
        stage.keep(dots)
        for i in range(frames):
            now = places + 0.3 * ways * np.sin(2 * np.pi * i / frames + places)
            for k, artist in enumerate(dots):
                artist.set_data(*now[groups == k].T)
            yield stage.frame()


def clips(most: int) -> dict[str, Clip]:
    """Return the first frames, at most so many, of four clips in memory, so that only writing is timed."""
    from latentkit.render import render_samples

    points = lk.wrap(lambda z: z[:, :2] + 2 * z[:, :2] / z[:, :2].norm(dim=1, keepdim=True), lk.Normal(4))
    scatter = lk.animate(points, lk.loop(points.prior.sample(5, seed=0), prior=points.prior), frames=90)
    whole: dict[str, Iterable[Frame]] = {
        "colour 256x256x120": render_samples(morph(3, 256, 120)),
        "grey 140x140x120": render_samples(morph(1, 28, 120), scale=5),
        "scatter 320x320x90": scatter.frames(),
        "swarm 320x320x60": swarm(2_000, 60),
    }
    return {name: list(islice(frames, most)) for name, frames in whole.items()}


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


def palettegen(clip: Clip, path: Path) -> None:
    """Write with ffmpeg, one palette for the film, as its documentation shows it, without dither."""
    import imageio_ffmpeg

    height, width = clip[0].shape[:2]
    graph = "split[a][b];[a]palettegen[p];[b][p]paletteuse=dither=none:diff_mode=rectangle"
    head = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-y", "-threads", "1", "-f", "rawvideo"]
    made = ["-pix_fmt", "rgb24", "-s", f"{width}x{height}", "-r", "25", "-i", "-", "-filter_complex", graph, str(path)]
    subprocess.run([*head, *made], input=np.stack(clip).tobytes(), check=True)


def gifski(clip: Clip, path: Path) -> None:
    """Write with gifski at its default quality, from PNG files that it is given."""
    from PIL import Image

    with tempfile.TemporaryDirectory() as folder:
        names = [str(Path(folder) / f"{i:05d}.png") for i in range(len(clip))]
        for frame, name in zip(clip, names, strict=True):
            Image.fromarray(frame).save(name, compress_level=1)
        width = str(clip[0].shape[1])
        subprocess.run(["gifski", "-q", "--fps", "25", "-W", width, "-o", str(path), *names], check=True)


def writers() -> dict[str, Callable[[Clip, Path], None]]:
    """Return the writers of GIFs that are installed, by name."""
    found = {"latentkit": ours, "imageio": imageio_default, "Pillow": plain_pillow}
    try:
        import imageio_ffmpeg

        found |= {"ffmpeg": palettegen} if imageio_ffmpeg.get_ffmpeg_exe() else {}
    except (ImportError, RuntimeError):
        pass
    return found | ({"gifski": gifski} if shutil.which("gifski") else {})


def fidelity(clip: Clip, path: Path) -> float:
    """Return the PSNR of a file's frames in dB, each compared with the frame of its time; inf if exact."""
    errors = []
    for at, (shown, times) in enumerate(_shown(path)):
        frames = clip[at : at + 1] if times is None else clip[len(errors) : len(errors) + times]
        errors += [
            float(((shown[: frame.shape[0], : frame.shape[1]] - frame.astype(float)) ** 2).mean()) for frame in frames
        ]
    mean = float(np.mean(errors))
    return 10 * np.log10(255**2 / mean) if mean else float("inf")


def _shown(path: Path) -> Iterator[tuple[NDArray[np.float64], int | None]]:
    """Yield the pictures of a file, and for how many frames at 25 a second each is shown."""
    from PIL import Image

    if path.suffix == ".mp4":
        import imageio_ffmpeg

        reader = imageio_ffmpeg.read_frames(str(path))
        width, height = next(reader)["size"]
        yield from ((np.frombuffer(data, np.uint8).reshape(height, width, 3).astype(float), None) for data in reader)
        return
    with Image.open(path) as image:
        for i in range(getattr(image, "n_frames", 1)):
            image.seek(i)
            image.load()
            yield np.asarray(image.convert("RGB"), dtype=np.float64), round(image.info["duration"] / 40)
