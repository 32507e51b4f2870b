"""A text inside a film's file, and digests by which a later change of the file is noticed.

GIF holds it as a comment, PNG as an international text, WebP, AVIF and MP4 as XMP. The text is one JSON object that
begins with two digests: that of the file without this text (of the whole file around it), and that of the frames.
Both are zeros while the file is written and are put in place at the end.

References:
    Adobe (2020), "XMP Specification Part 3: Storage in Files".
"""

import hashlib
import io
import json
import mmap
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import IO, Any

from latentkit.encoders import apng, webp
from latentkit.errors import ArgumentError, CheckpointError

__all__ = ["LONGEST", "Note", "as_note", "format_of", "read_note", "sign", "text_of"]

#: The longest text in bytes.
LONGEST = 4 * 2**20

#: What the text begins with; digests follow at known places.
_HEAD = '{"latentkit film": 1, "file": "%s", "frames": "%s"'
_NONE = "0" * 64
_FILE, _FRAMES, _REST = (_HEAD.index("%s"), _HEAD.index("%s") + 64 + len('", "frames": "'), len(_HEAD) + 2 * 62)

#: XMP's own box in files of the MP4 family.
_XMP_BOX = bytes.fromhex("be7acfcb97a942e89c71999491e3afac")

_OPEN, _CLOSE = "<latentkit:film>", "</latentkit:film>"
_PACKET = (
    '<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>'
    '<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
    '<rdf:Description rdf:about="" xmlns:latentkit="urn:latentkit:film">'
    f"{_OPEN}%s{_CLOSE}"
    '</rdf:Description></rdf:RDF></x:xmpmeta><?xpacket end="r"?>'
)


def text_of(values: Mapping[str, Any]) -> str:
    """Return values of JSON as the text of a note, in ASCII, with nothing that XML would read as its own.

    Raises:
        ArgumentError: if they are no values of JSON, or too long.
    """
    try:
        rest = json.dumps(dict(values), ensure_ascii=True, allow_nan=False)[1:]
    except (TypeError, ValueError, RecursionError) as error:
        raise ArgumentError(f"what a film says about itself must be values of JSON: {error}") from error
    for mark, code in (("&", "\\u0026"), ("<", "\\u003c"), (">", "\\u003e")):
        rest = rest.replace(mark, code)
    text = _HEAD % (_NONE, _NONE) + (", " if values else "") + rest
    if len(text) > LONGEST:
        raise ArgumentError(f"what a film says about itself must be at most {LONGEST:,} bytes, got {len(text):,}")
    return text


def as_note(text: str, form: str) -> bytes:
    """Return a text as the block that holds it in a file of a format: "gif", "png", "webp", "avif" or "mp4"."""
    data = text.encode("ascii")
    if form == "gif":
        blocks = (data[at : at + 255] for at in range(0, len(data), 255))
        return b"!\xfe" + b"".join(bytes((len(block),)) + block for block in blocks) + b"\0"
    if form == "png":
        return apng.chunk(b"iTXt", b"latentkit\0\0\0\0\0" + data)
    packet = (_PACKET % text).encode()
    if form == "webp":
        return webp.chunk(b"XMP ", packet)
    if form == "mp4":
        return (8 + len(_XMP_BOX) + len(packet)).to_bytes(4, "big") + b"uuid" + _XMP_BOX + packet
    return packet


@dataclass(frozen=True)
class Note:
    """A text and the block from `start` to `end` of the file that holds it and nothing else; `form` is the format."""

    text: str
    start: int
    end: int
    form: str

    @property
    def file_digest(self) -> str:
        """The SHA-256 that the file around the note had when it was written."""
        return self.text[_FILE : _FILE + 64]

    @property
    def frames_digest(self) -> str:
        """The SHA-256 that the frames had before they were compressed."""
        return self.text[_FRAMES : _FRAMES + 64]

    def digest(self, file: IO[bytes]) -> str:
        """Return the SHA-256 of the file around the note as it is now."""
        found = hashlib.sha256()
        for start, end in ((0, self.start), (self.end, file.seek(0, io.SEEK_END))):
            file.seek(start)
            while start < end and (part := file.read(min(2**20, end - start))):
                found.update(part)
                start += len(part)
        return found.hexdigest()

    def values(self) -> dict[str, Any]:
        """Return the values of the text, or raise `CheckpointError` if it is not readable JSON."""
        try:
            return json.loads(self.text)
        except (ValueError, RecursionError) as error:
            raise CheckpointError(f"what this film says about itself is damaged: {error}") from error


def format_of(file: IO[bytes]) -> str | None:
    """Return the format of a film's file by its first bytes, None if it is none of those that are written here."""
    file.seek(0)
    head = file.read(12)
    if head[:4] == b"GIF8":
        return "gif"
    if head[:8] == apng.SIGNATURE:
        return "png"
    if head[:4] == b"RIFF" and head[8:] == b"WEBP":
        return "webp"
    if head[4:8] == b"ftyp":
        return "avif" if head[8:] in (b"avis", b"avif") else "mp4"
    return None


def read_note(file: IO[bytes]) -> Note | None:
    """Return the note in an open file, None if there is none.

    Raises:
        CheckpointError: if it is longer than `LONGEST`, or no text.
    """
    form = format_of(file)
    if form is None:
        return None
    finders = {"gif": _in_gif, "png": _in_png}
    for data, start, end in finders.get(form, _in_xmp)(file):
        if data.startswith(b'{"latentkit film": '):
            _check_length(len(data))
            if not data.startswith(_HEAD[:_FILE].encode()):
                raise CheckpointError("this film was written by a newer latentkit; upgrade latentkit to read it")
            if len(data) < _REST or not data.isascii():
                raise CheckpointError("what this film says about itself is cut or no text")
            return Note(data.decode("ascii"), start, end, form)
    return None


def sign(file: IO[bytes], frames: str) -> None:
    """Put the digests in place in the note of a file that is written, that of the frames and the file's own."""
    note = read_note(file)
    if note is None:
        raise CheckpointError("the film's note is not where it was written")
    text = note.text[:_FILE] + note.digest(file) + note.text[_FILE + 64 : _FRAMES] + frames + note.text[_FRAMES + 64 :]
    block = text.encode("ascii") if note.form in ("webp", "avif", "mp4") else as_note(text, note.form)
    file.seek(note.start)
    file.write(block)
    file.seek(0, io.SEEK_END)


def _check_length(length: int) -> None:
    if length > LONGEST:
        raise CheckpointError(f"what this film says about itself is too long: {length:,} bytes, at most {LONGEST:,}")


def _in_gif(file: IO[bytes]) -> Iterator[tuple[bytes, int, int]]:
    """Yield the comments of a GIF file, and where their blocks begin and end."""
    file.seek(10)
    flags = (file.read(3) or b"\0")[0]
    file.seek(13 + (3 << (flags & 7) + 1 if flags & 0x80 else 0))
    while kind := file.read(1):
        start = file.tell() - 1
        if kind == b"!":
            comment = file.read(1) == b"\xfe"
            data = _blocks(file, keep=comment)
            if comment:
                end = file.tell()
                yield data, start, end
                file.seek(end)
        elif kind == b",":
            flags = (file.read(9) or b"\0")[-1]
            file.seek((3 << (flags & 7) + 1 if flags & 0x80 else 0) + 1, io.SEEK_CUR)
            _blocks(file, keep=False)
        else:
            return


def _blocks(file: IO[bytes], *, keep: bool) -> bytes:
    """Pass over blocks that say their length, up to the empty one, and return their data if they are to be kept."""
    kept: list[bytes] = []
    length = 0
    while (size := file.read(1)) and size[0]:
        length += size[0]
        if keep:
            _check_length(length)
            kept.append(file.read(size[0]))
        else:
            file.seek(size[0], io.SEEK_CUR)
    return b"".join(kept)


def _in_png(file: IO[bytes]) -> Iterator[tuple[bytes, int, int]]:
    """Yield the texts under our keyword of a PNG file, and where their chunks begin and end."""
    for kind, at, length in apng.chunks(file):
        if kind == b"iTXt":
            file.seek(at)
            if file.read(14) == b"latentkit\0\0\0\0\0":
                _check_length(length)
                yield file.read(max(length - 14, 0)), at - 8, at + length + 4


def _in_xmp(file: IO[bytes]) -> Iterator[tuple[bytes, int, int]]:
    """Yield the text between our marks of XMP, wherever in the file it is, and where it begins and ends."""
    with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        start = data.find(_OPEN.encode())
        end = data.find(_CLOSE.encode(), start)
        if 0 <= start < end:
            start += len(_OPEN)
            _check_length(end - start)
            yield data[start:end], start, end
