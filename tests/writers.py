"""The writers of every kind of file, for tests that kill them or take their room: `WRITERS[kind](folder, version)`.

Each writes its version, 0 or 1, into a folder and returns what it has written there, a file or a folder.
"""

from contextlib import ExitStack, contextmanager
from functools import cache
from unittest.mock import patch

import numpy as np
import sklearn.neighbors  # noqa: F401 - a library that it imports draws a number from `random` when it is loaded

from latentkit import Checkpoint, Normal, files, from_frames, generate, project, quality_map, report, wrap
from latentkit.nets import MLPCritic, MLPGenerator
from latentkit.render import save_png
from latentkit.reports import bakeoffs, chapters, directions, manifold, mapping, walks
from latentkit.verbs.output import write_samples
from trainers import ring
from trainers.loop import initialised

__all__ = ["MORE_WRITERS", "WRITERS", "brief_report", "content"]


@cache
def checkpoint(version):
    """An untrained generator of points and its critic, of some 70 kB each."""
    generator = initialised(lambda: MLPGenerator(2, 2, 128, 2), seed=2 * version)
    critic = initialised(lambda: MLPCritic(2, 128, 2), seed=2 * version + 1)
    return Checkpoint(
        generator=wrap(generator.eval().requires_grad_(False), Normal(2)),
        critic=critic.eval().requires_grad_(False),
        holdout=ring(200).samples,
        data="ring",
        trainer="gan",
    )


@cache
def noise(version, frames):
    """Pictures (frames, 96, 96, 3) that no format can make small."""
    return np.frombuffer(np.random.default_rng(version).bytes(frames * 96 * 96 * 3), np.uint8).reshape(-1, 96, 96, 3)


def write_film(suffix):
    def write(folder, version):
        return from_frames(noise(version, 6)).save(folder / f"film{suffix}")

    return write


def write_picture(folder, version):
    return save_png(noise(version, 4).reshape(-1, 96, 3), folder / "picture.png")


def write_archive(folder, version):
    latents = checkpoint(0).generator.prior.sample(5_000, seed=version)
    generator, out = checkpoint(0).generator, folder / "samples.npz"
    write_samples(generator, latents, generate(generator, latents), out, None)
    return out


def write_checkpoint(folder, version):
    return checkpoint(version).save(folder / "run")


def write_report(folder, version):
    with brief_report():
        return report(checkpoint(version), folder / "report", n=500, seed=version, progress=False).parent


@contextmanager
def brief_report():
    """Let a report be what it is, but for the chapters that take seconds."""
    with ExitStack() as stack:
        for module in (walks, bakeoffs, directions, manifold, mapping):
            stack.enter_context(patch.object(module, "chapter", lambda *_: None))
        stack.enter_context(patch.object(chapters, "samples", picture_chapter))
        yield


def picture_chapter(study, folder):
    """Pictures beside the page: one that every version has, and one that only this one has."""
    version = study.seed
    for name in ("picture.png", f"only-{version}.png"):
        save_png(noise(version, 1)[0], folder / name)


def write_table(folder, version):
    return files.write_text(folder / "study.csv", "".join(f"{version},{k}\n" for k in range(10_000)))


def write_facts(folder, version):
    return files.write_json(folder / "study.json", {"version": version, "rows": list(range(10_000))})


@cache
def quality(version):
    found = checkpoint(0)
    return quality_map(
        found.generator, found.critic, real=found.holdout, n=2_000, seed=version, allow_uninformative=True
    )


def write_quality(folder, version):
    return quality(version).save(folder / "map.npz")


def write_projection(folder, version):
    latents = checkpoint(0).generator.prior.sample(2_000, seed=version)
    return project(latents, "pca", seed=0).save(folder / "points.npz")


#: The five that are tried most.
WRITERS = {
    "gif": write_film(".gif"),
    "png": write_picture,
    "npz": write_archive,
    "html": write_report,
    "checkpoint": write_checkpoint,
}
MORE_WRITERS = {
    "apng": write_film(".apng"),
    "webp": write_film(".webp"),
    "csv": write_table,
    "json": write_facts,
    "quality": write_quality,
    "projection": write_projection,
}


def content(path):
    """What has a name at a path that a writer gave: bytes by name, what is being written left out."""
    if path.is_file():
        return {path.name: path.read_bytes()}
    entries = path.iterdir() if path.is_dir() else ()
    return {entry.name: entry.read_bytes() for entry in entries if not files.is_temporary(entry.name)}
