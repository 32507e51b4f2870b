"""Films made again from what their files say, and compared: are they what they claim to be?"""

import hashlib
import math
import os
from collections.abc import Generator as Stream
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from itertools import accumulate
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from latentkit import __version__
from latentkit.animation.film import Animation
from latentkit.animation.records import Record, described, fingerprint_of, recorded, view_of
from latentkit.animation.saving import digested
from latentkit.animation.scenes import Scene
from latentkit.bundled import BUNDLED
from latentkit.checkpoint import Checkpoint, load
from latentkit.conditional import blend, condition, marginal
from latentkit.encoders.frames import rhythm
from latentkit.encoders.mp4 import even, read_mp4
from latentkit.encoders.notes import Note, read_note
from latentkit.errors import CheckpointError
from latentkit.protocols import ConditionalGenerator, Generator

__all__ = ["Replay", "replay"]

Frame = NDArray[np.uint8]


@dataclass(frozen=True, eq=False)
class Replay:
    """A film made again from its file.

    Attributes: `film`, made again; `same`, whether its frames are bit for bit those that were encoded; `intact`,
    whether the file is, byte for byte, as it was written; `psnr`, in dB, of the file's pictures against the frames made
    again, infinite if they are equal; `largest`, the largest difference of a byte, 0 to 255; `about`, what the film's
    maker said of it; `made_by`, the versions of the libraries that made it.
    """

    film: Animation
    same: bool
    intact: bool
    psnr: float
    largest: int
    about: dict[str, Any]
    made_by: dict[str, Any]

    @property
    def verdict(self) -> str:
        """What was found, in a sentence or two."""
        if self.same:
            made = f"all {self.film.count} frames made again are bit-equal to those that were encoded"
        else:
            made = f"the {self.film.count} frames made again differ from those that were encoded"
            then = self.made_by.get("latentkit")
            made += "" if then == __version__ else f" (by latentkit {str(then)[:20]}; this is {__version__})"
        file = "the file is as it was written" if self.intact else "the file was changed since it was written"
        shown = "shows them exactly" if self.psnr == math.inf else f"is {self.psnr:.1f} dB from them"
        return f"{made}; {file} and {shown}"


def replay(
    path: str | os.PathLike[str], checkpoint: Checkpoint | Generator | str | os.PathLike[str] | None = None
) -> Replay:
    """Make a film again from the latents in its file, and compare it with the file.

    Nothing in the file is run, and nothing that it says is believed: what was changed is noticed by the digests, and
    by how far the pictures are from the frames.

    Args:
        path: a film that `animate` made and `Animation.save` wrote, in any format.
        checkpoint: what made it, or its folder; by default the bundled checkpoint with the right weights.

    Raises:
        CheckpointError: if the file cannot be read, says nothing about itself or is damaged, or the checkpoint is
            another.
        MissingDependencyError: if a library for the format is missing.
    """
    try:
        with Path(path).open("rb") as file:
            note = read_note(file)
            if note is None:
                raise CheckpointError(
                    f"{os.fspath(path)} does not say how it was made; films that animate made and latentkit saved do"
                )
            intact = note.digest(file) == note.file_digest
            record = Record.of(note.values())
            generator = _generator(record, checkpoint)
            film = _again(record, generator)
            digest = hashlib.sha256()
            error, largest, values = 0.0, 0, 0
            frames = digested(film.pictures(), digest)
            with closing(_shown(file, Path(path), note, film)) as shown:
                for frame, picture in zip(frames, shown, strict=True):
                    gap = np.abs(frame.astype(np.int16) - picture)
                    error += float((gap.astype(np.int32) ** 2).sum(dtype=np.int64))
                    largest = max(largest, int(gap.max()))
                    values += gap.size
    except OSError as error:
        raise CheckpointError(f"cannot read {os.fspath(path)}: {error.strerror or error}") from error
    psnr = 10.0 * math.log10(255.0**2 * values / error) if error else math.inf
    same = digest.hexdigest() == note.frames_digest
    return Replay(film, same, intact, psnr, largest, record.about, record.made_by)


def _generator(record: Record, given: Checkpoint | Generator | str | os.PathLike[str] | None) -> Generator:
    """Return the generator of a record, narrowed as it was."""
    if given is None:
        source = next((one for one in map(load, BUNDLED) if one.fingerprint == record.fingerprint), None)
        if source is None:
            raise CheckpointError(
                f"this film was made by a generator with the fingerprint {record.fingerprint}, which is no bundled "
                "one; give its checkpoint"
            )
    else:
        source = load(given) if isinstance(given, (str, os.PathLike)) else given
    generator: Any = source.generator if isinstance(source, Checkpoint) else source
    found = fingerprint_of(generator)
    if record.fingerprint is not None and found != record.fingerprint:
        raise CheckpointError(
            f"this film was made by the generator {record.fingerprint}, not by the one given, {found}"
        )
    if isinstance(generator, ConditionalGenerator) and record.view["of"] != "whole":
        makers = {
            "class": lambda: condition(generator, record.view["class"]),
            "marginal": lambda: marginal(generator),
            "blend": lambda: blend(generator),
        }
        generator = makers[record.view["of"]]()
    if record.fingerprint is not None and view_of(generator) != record.view:
        raise CheckpointError(f"this film shows {record.view}, and what was given is {view_of(generator)}")
    if record.prior is not None and described(generator.prior) != described(record.prior):
        raise CheckpointError(f"this film's latents are of the prior {record.prior}, not of {generator.prior}")
    if record.latents.shape[2] != generator.prior.dim:
        raise CheckpointError(f"this film's latents have {record.latents.shape[2]} numbers, not {generator.prior.dim}")
    return generator


def _again(record: Record, generator: Generator) -> Animation:
    """Return the film of a record, its frames still to be made."""
    scene = Scene.of(generator, record.latents, **record.scene)
    if scene.size != record.film["size"]:
        raise CheckpointError(
            f"this film's frames are said to be {record.film['size']} pixels, and the generator makes {scene.size}"
        )
    film = Animation(scene.film, **record.film)
    return replace(film, provenance=recorded(film, scene, record.about))


def _shown(file: IO[bytes], path: Path, note: Note, film: Animation) -> Stream[Frame, None, None]:
    """Yield what the file shows at the middle of each frame's time, (H, W, 3)."""
    width, height = film.whole_size
    stored = _video(path, film) if note.form == "mp4" else _pictures(file)
    picture, until = next(stored, (None, 0.0))
    ends = list(accumulate(film.durations))
    for begin, end in zip([0.0, *ends], ends, strict=False):
        while picture is not None and until <= (begin + end) / 2:
            following = next(stored, None)
            if following is None:
                break
            picture, until = following[0], until + following[1]
        if picture is None or picture.shape[0] < height or picture.shape[1] < width:
            raise CheckpointError(f"the pictures in {path} are not {width} x {height}, as the film says")
        yield picture[:height, :width]


def _pictures(file: IO[bytes]) -> Iterator[tuple[Frame, float]]:
    """Yield the pictures of a file and how long each is shown, in ms."""
    from PIL import Image

    file.seek(0)
    try:
        with Image.open(file) as image:
            for i in range(getattr(image, "n_frames", 1)):
                image.seek(i)
                image.load()
                yield np.asarray(image.convert("RGB")), float(image.info.get("duration", 0.0))
    except (OSError, SyntaxError, EOFError, ValueError, RuntimeError, Image.DecompressionBombError) as error:
        raise CheckpointError(f"the pictures in this film are damaged: {error}") from error


def _video(path: Path, film: Animation) -> Iterator[tuple[Frame, float]]:
    """Yield the frames of a video and how long each is shown, in ms."""
    rate, _ = rhythm(film.durations)
    with closing(read_mp4(path, even(film.whole_size))) as frames:
        for frame in frames:
            yield frame, 1000.0 / float(rate)
