"""The pictures of the README's table: each system trained by its command, briefly, and what it then makes.

    python -m benchmarks.gallery [--only NAME ...] [--out docs/systems]

Images become a sheet of 24 samples of fixed latents; points the last frame of the training's film, with the
critic's field and the image of a grid of latents where there are some. The first one is kept as a film.
"""

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
from PIL import Image, ImageSequence

import latentkit as lk
from benchmarks.clocks import ROOT
from latentkit.animation import from_frames
from latentkit.conditional import marginal
from latentkit.protocols import ConditionalGenerator
from latentkit.render import samples_sheet, save_png

POINTS = ("parabola", "grid25", "ring")

# What is typed after latentkit-train, by the picture's name.
COMMANDS = {
    "gan": "gan --data parabola --steps 1500 --width 64",
    "grid25": "gan --data grid25",
    "conditional": "gan --data digits --conditional",
    "dcgan": "dcgan --data folder --data-dir {photos} --grey --steps 700 --batch-size 64 --width 32",
    "wgan": "wgan --data ring --steps 4000 --generator-lr 5e-4 --critic-lr 5e-4 --width 64 --clip 0.1",
    "wgan-gp": "wgan-gp --data ring --steps 4000 --gradient-penalty 0.1 --generator-lr 1e-3 --critic-lr 1e-3",
    "progressive": "progressive --data digits --generator-lr 1e-3 --critic-lr 1e-3",
    "glo": "glo --data digits",
    "semi": "semi --data digits --labels-per-class 10",
    "vae": "vae --data digits",
}


def photographs(folder: Path) -> None:
    """Write 6,000 images of Fashion-MNIST as a folder, of 64x64 pixels."""
    from trainers import fashion_mnist

    for k, image in enumerate(fashion_mnist().samples[:6000, 0].numpy()):
        Image.fromarray(image).resize((64, 64)).save(folder / f"{k:04d}.png")


def picture(name: str, work: Path, out: Path) -> Path:
    """Train one system and write its picture."""
    photos = work / "photos"
    if "{photos}" in COMMANDS[name] and not photos.exists():
        photos.mkdir()
        photographs(photos)
    run, film = work / name, work / f"{name}.gif"
    command = COMMANDS[name].format(photos=photos).split()
    common = ["--out", str(run), "--threads", "1", "--quiet"]
    if command[2] in POINTS:
        common += ["--movie", str(film)]
    subprocess.run([sys.executable, "-m", "trainers", *command, *common], check=True, cwd=ROOT)
    if film.exists():
        if name == "gan":
            return every_third(film, out / f"{name}.gif")
        return save_png(last_frame(film), out / f"{name}.png")
    checkpoint = lk.load(run)
    generator = checkpoint.generator
    if isinstance(generator, ConditionalGenerator):
        generator = marginal(generator)
    samples = lk.generate(generator, generator.prior.sample(24, seed=1))
    return save_png(samples_sheet(samples, columns=8), out / f"{name}.png")


def every_third(film: Path, target: Path) -> Path:
    """Write every third frame of a film, for a page that many will load."""
    with Image.open(film) as frames:
        kept = [np.asarray(frame.convert("RGB")) for frame in ImageSequence.all_frames(frames)][::-3][::-1]
    durations = [250.0] * (len(kept) - 1) + [2000.0]
    return from_frames(lambda: iter(kept), count=len(kept), durations=durations).save(target)


def last_frame(film: Path) -> np.ndarray:
    """Return the last frame (H, W, 3) of a GIF."""
    with Image.open(film) as frames:
        *_, last = ImageSequence.all_frames(frames)
        return np.asarray(last.convert("RGB"))


def main(argv: list[str] | None = None) -> int:
    """Make the pictures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", choices=COMMANDS, default=list(COMMANDS))
    parser.add_argument("--out", type=Path, default=ROOT / "docs" / "systems")
    arguments = parser.parse_args(argv)
    arguments.out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as work:
        for name in arguments.only:
            print(picture(name, Path(work), arguments.out), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
