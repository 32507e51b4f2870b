"""Films: latentkit's GIFs beside those of others, its formats beside each other, and the memory of a long film.

GIF: four clips, a colour morph (256x256, 120 frames), 28x28 greys enlarged five times (120), a point that moves over a
scatter (320x320, 90), and 2,000 points that all move (320x320, 60), written by latentkit, imageio's default, Pillow,
ffmpeg's palettegen and gifski where they are installed. CPU seconds of writing alone, the best of `--repeat` runs.

Formats: what latentkit makes of the same clips, and which one `best_format` takes.

Memory: 2,000 frames of 256x256 in a fresh process for each format; the peak above what the process held before, which
includes the libraries and a film of 40 frames. What ffmpeg needs is beside it.

    python benchmarks/animation.py [--repeat 3] [--json FILE] [--only gif formats memory]
"""

import argparse
import resource
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

import latentkit as lk
from latentkit.animation import best_format, from_frames
from latentkit.encoders.gif import gif_info
from latentkit.files import write_json
from latentkit.scatter import Stage
from latentkit.style import COLOURS, drawing

Frame = NDArray[np.uint8]
Clip = list[Frame]

#: Of the long film.
LONG, SIDE = 2_000, 256


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


def clips() -> dict[str, Clip]:
    """Return the clips as frames in memory, so that only writing is timed."""
    from latentkit.render import render_samples

    points = lk.wrap(lambda z: z[:, :2] + 2 * z[:, :2] / z[:, :2].norm(dim=1, keepdim=True), lk.Normal(4))
    scatter = lk.animate(points, lk.loop(points.prior.sample(5, seed=0), prior=points.prior), frames=90)
    return {
        "colour 256x256x120": list(render_samples(morph(3, 256, 120))),
        "grey 140x140x120": list(render_samples(morph(1, 28, 120), scale=5)),
        "scatter 320x320x90": list(scatter.frames()),
        "swarm 320x320x60": list(swarm(2_000, 60)),
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


def cpu() -> float:
    """Return the CPU seconds of this process and of those that it waited for."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(one.ru_utime + one.ru_stime for one in used)


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


def gifs(repeat: int, folder: Path) -> list[dict[str, Any]]:
    """Print and return the table of GIFs."""
    rows = []
    print(f"{'clip':20}{'writer':11}{'CPU s':>8}{'x':>7}{'kB':>8}{'x':>7}{'PSNR dB':>9}{'stored':>8}")
    for name, clip in clips().items():
        path = {writer: folder / f"{writer}.gif" for writer in writers()}
        seconds = dict.fromkeys(path, float("inf"))
        for _ in range(repeat):
            for writer, write in writers().items():
                start = cpu()
                write(clip, path[writer])
                seconds[writer] = min(seconds[writer], cpu() - start)
        for writer in path:
            size, psnr, stored = (
                path[writer].stat().st_size,
                fidelity(clip, path[writer]),
                gif_info(path[writer]).frames,
            )
            times = seconds["imageio"] / seconds[writer], size / path["imageio"].stat().st_size
            print(
                f"{name:20}{writer:11}{seconds[writer]:8.3f}{times[0]:7.1f}{size / 1000:8.0f}{times[1]:7.2f}"
                f"{psnr:9.1f}{stored:8d}"
            )
            row = {
                "clip": name,
                "writer": writer,
                "cpu_seconds": seconds[writer],
                "times_faster_than_imageio": times[0],
            }
            row |= {"bytes": size, "bytes_of_imageio": times[1], "psnr_db": psnr if np.isfinite(psnr) else None}
            rows.append(row | {"frames": len(clip), "stored": stored})
    return rows


def formats(folder: Path) -> list[dict[str, Any]]:
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
    small = {"grey 28x28x120": [frame[::5, ::5].copy() for frame in clips()["grey 140x140x120"]]}
    for name, clip in (clips() | small).items():
        film = from_frames(clip, fps=25)
        best = best_format(film)
        for suffix, options in ways:
            start = cpu()
            path = film.save(folder / f"film{suffix}", **options)
            seconds, size, psnr = cpu() - start, path.stat().st_size, fidelity(clip, path)
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


def _kilobytes(field: str, process: str = "self") -> int:
    """Return a field of Linux's account of a process's memory, in kB."""
    lines = Path(f"/proc/{process}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(field))


def measure(suffix: str, folder: Path) -> None:
    """In a fresh process: save a long film and print its peak of memory above before, and ffmpeg's, in MB."""
    child = 0

    def watched(frames: int) -> Iterator[Frame]:
        nonlocal child
        for i, frame in enumerate(long_film(frames)):
            yield frame
            for process in Path("/proc/self/task").glob("*/children") if i % 200 == 199 else ():
                for name in process.read_text().split():
                    child = max(child, _kilobytes("VmHWM", name))

    from_frames(lambda: long_film(40), count=40).save(folder / f"40{suffix}")
    Path("/proc/self/clear_refs").write_text("5")  # the peak counts from now on
    before = _kilobytes("VmRSS")
    from_frames(lambda: watched(LONG), count=LONG).save(folder / f"{LONG}{suffix}")
    print((_kilobytes("VmHWM") - before) / 1024, child / 1024)


def memory(folder: Path) -> list[dict[str, Any]]:
    """Print and return the table of memory."""
    rows = []
    print(f"\n{LONG} frames {SIDE}x{SIDE}: {'format':10}{'peak MB':>9}{'ffmpeg MB':>11}{'kB':>9}{'CPU s':>8}")
    for suffix in (".gif", ".webp", ".apng", ".avif", *([".mp4"] if "ffmpeg" in writers() else [])):
        start = cpu()
        command = [sys.executable, __file__, "--measure", suffix, str(folder)]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        peak, child = map(float, done.stdout.split())
        size = (folder / f"{LONG}{suffix}").stat().st_size
        print(f"{'':22}{suffix:10}{peak:9.0f}{child:11.0f}{size / 1000:9.0f}{cpu() - start:8.1f}")
        rows.append({"format": suffix, "peak_megabytes": peak, "ffmpeg_megabytes": child, "bytes": size})
    return rows


def main() -> int:
    """Run, print the tables, and write JSON if asked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeat", type=int, default=3, help="runs of each writer; the best counts (default 3)")
    parser.add_argument("--json", type=Path, help="write the figures here")
    parser.add_argument("--only", nargs="+", choices=("gif", "formats", "memory"), help="of the three tables")
    parser.add_argument("--measure", nargs=2, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    if arguments.measure:
        measure(arguments.measure[0], Path(arguments.measure[1]))
        return 0
    wanted, found = arguments.only or ("gif", "formats", "memory"), {}
    with tempfile.TemporaryDirectory() as folder:
        if "gif" in wanted:
            found["gif"] = gifs(arguments.repeat, Path(folder))
        if "formats" in wanted:
            found["formats"] = formats(Path(folder))
        if "memory" in wanted:
            found["memory"] = memory(Path(folder))
    if arguments.json:
        write_json(arguments.json, {**found, "note": "psnr_db null: exact"})
    return 0


if __name__ == "__main__":
    sys.exit(main())
