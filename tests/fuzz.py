"""Coverage-guided fuzzing of what reads other people's files: the checkpoint reader, settings, and the image loader.

    pip install atheris
    python tests/fuzz.py checkpoint --minutes 10      # or settings, or images

A target may only do its work or raise an error of the house. Anything else, a hang of 10 s, or 2 GiB of memory end the
run with exit code 1 (77 for a crash, as libFuzzer has it) and leave the input that did it in `--out`. What came of the
runs stands in docs/reliability.md.

Every file of a checkpoint is fuzzed both as it is, where its hash must give it away, and under a manifest that is made
to fit, which is what somebody would do who means it.
"""

import argparse
import contextlib
import hashlib
import importlib
import io
import json
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import atheris

# Only these are watched: torch is far too large, and none of it is ours.
with atheris.instrument_imports(include=["latentkit", "trainers", "PIL"]):
    for name in ("Bmp", "Gif", "Jpeg", "Png", "Tiff", "WebP"):
        importlib.import_module(f"PIL.{name}ImagePlugin")
    import torch
    from PIL import Image

    import latentkit
    from latentkit.checkpoint import load
    from latentkit.errors import CheckpointError, LatentkitError
    from latentkit.images import OversizedImageError, decode, strict_pillow
    from latentkit.nets import MLPCritic, MLPGenerator, build
    from latentkit.priors import Normal
    from latentkit.priors.stored import prior_from_dict
    from latentkit.protocols import wrap
    from trainers.__main__ import _parser
    from trainers.families import FAMILIES, given_settings, made_config
    from trainers.snapshots import unpack

Target = Callable[[bytes], None]

#: What JSON and the options are made of, and numbers that are hard to bear.
WORDS = (
    *("null", "true", "false", "NaN", "Infinity", "-1", "1e999", "9223372036854775808", "[]", "{}", "[[[[[[[[", "0.5"),
    *(
        "kind",
        "format",
        "files",
        "name",
        "bytes",
        "sha256",
        "prior",
        "family",
        "dim",
        "networks",
        "settings",
        "classes",
    ),
    *("history", "data", "trainer", "F32", "F64", "BF16", "U8", "I64", "BOOL", "shape", "dtype", "data_offsets"),
    *("__metadata__", "latent_dim", "width", "depth", "channels", "size", "--seed", "--steps", "--width", "--loss"),
)

ROLES = ("generator", "critic", "holdout", "about")


def _tiny() -> latentkit.Checkpoint:
    with torch.random.fork_rng():
        generator, critic = MLPGenerator(2, 2, 3, 1), MLPCritic(2, 3, 1)
    points = Normal(2).sample(4, seed=0)
    return latentkit.Checkpoint(wrap(generator.eval(), Normal(2)), critic.eval(), points, settings={"steps": 1})


def checkpoint(folder: Path, corpus: Path) -> Target:
    """Return what loads a checkpoint one file of which is the fuzzer's."""
    source = _tiny().save(folder / "source")
    manifest = json.loads((source / "manifest.json").read_text("utf-8"))
    contents = {role: (source / entry["name"]).read_bytes() for role, entry in manifest["files"].items()}
    contents["manifest"] = (source / "manifest.json").read_bytes()
    names = [*ROLES, "manifest"]
    for k, name in enumerate(names):
        for fits in (0, 1):
            (corpus / f"{name}{fits}").write_bytes(bytes([2 * k + fits]) + contents[name])
    place = folder / "place"
    place.mkdir()

    def target(data: bytes) -> None:
        if not data:
            return
        name, content = names[data[0] // 2 % len(names)], data[1:]
        said = json.loads(json.dumps(manifest))
        for role, entry in said["files"].items():
            part = content if role == name else contents[role]
            if role == name and data[0] % 2:
                entry |= {"bytes": len(part), "sha256": hashlib.sha256(part).hexdigest()}
            (place / entry["name"]).write_bytes(part)
        (place / "manifest.json").write_bytes(content if name == "manifest" else json.dumps(said).encode())
        try:
            found = load(place)
        except CheckpointError:
            found = None
        if found is not None:
            samples = found.generator(found.generator.prior.sample(1, seed=0))
            assert samples.shape[0] == 1
        # The state of a training is the one part that `load` does not look at.
        with contextlib.suppress(CheckpointError):
            unpack(content, {}, lambda about: None)

    return target


def settings(folder: Path, corpus: Path) -> Target:
    """Return what reads priors, networks' arguments and trainers' options from text of the fuzzer's."""
    values = [
        b'n{"family": "normal", "dim": 2, "mean": 0.0, "std": 1.0}',
        b'n{"family": "empirical", "weights": [1.0], "means": [[0.0, 0.0]], "scales": [[1.0, 1.0]]}',
        b'n{"family": "joint", "first": {"family": "uniform", "dim": 2, "low": -1, "high": 1}, "second": '
        b'{"family": "one-hot", "dim": 3}}',
        b'b["conv-generator", {"latent_dim": 4, "channels": 1, "size": 16, "width": 2, "classes": 0}]',
        b'b["stylegan2-generator", {"latent_dim": 4}]',
        b'b["mlp-critic", {"in_dim": 2, "width": 3, "depth": 1}]',
        b"ogan\0--latent-dim\0008\0--steps\00010\0--r1\0001e-2\0--loss\0hinge",
        b"ovae\0--width\0008\0--ema\0000.5\0--precision\0float32",
        b"oprogressive\0--widest\00016\0--phase-steps\0001",
    ]
    for k, value in enumerate(values):
        (corpus / str(k)).write_bytes(value)

    def read(data: bytes) -> None:
        text = data[1:].decode("utf-8", "replace")
        if data[:1] == b"o":
            argv = text.split("\0")
            argv = [argv[0], "--data", "digits", "--out", str(folder / "none"), *argv[1:]]
            try:
                arguments = _parser(argv).parse_args(argv)
            except SystemExit:  # --help and --version
                return
            family = FAMILIES.get(str(arguments.family))
            if family is not None:
                made_config(family, given_settings(arguments, family), {})
            return
        try:
            value = json.loads(text)
        except (ValueError, RecursionError):
            return
        if data[:1] == b"n" and isinstance(value, dict):
            prior_from_dict(value)
        elif isinstance(value, list) and len(value) == 2 and isinstance(value[0], str) and isinstance(value[1], dict):
            with torch.device("meta"):
                build(value[0], value[1])

    def target(data: bytes) -> None:
        with contextlib.suppress(LatentkitError):
            read(data)

    return target


def images(folder: Path, corpus: Path) -> Target:
    """Return what decodes an image file of the fuzzer's bytes."""
    ramp = Image.linear_gradient("L").resize((9, 7))
    for kind, mode in (
        ("PNG", "L"),
        ("PNG", "P"),
        ("PNG", "LA"),
        ("PNG", "I;16"),
        ("PNG", "RGBA"),
        ("JPEG", "RGB"),
        ("JPEG", "CMYK"),
        ("GIF", "P"),
        ("BMP", "RGB"),
        ("TIFF", "RGB"),
        ("TIFF", "F"),
        ("WEBP", "RGB"),
    ):
        file = io.BytesIO()
        (ramp if mode == "L" else ramp.convert(mode)).save(file, kind)
        (corpus / f"{kind}-{mode.replace(';', '')}").write_bytes(file.getvalue())

    def target(data: bytes) -> None:
        with strict_pillow(2**20):
            try:
                pixels = decode(data, 8, bool(len(data) % 2), 2**20)
            except (MemoryError, SystemExit):
                raise
            except OversizedImageError:
                return
            except Exception:  # `read_images` makes one error of whatever Pillow raises
                return
        assert pixels.shape == (1 if len(data) % 2 else 3, 8, 8)
        assert pixels.dtype == "uint8"

    return target


TARGETS = {"checkpoint": checkpoint, "settings": settings, "images": images}


def main() -> None:
    """Fuzz one target; the process ends with it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("target", choices=sorted(TARGETS))
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--out", type=Path, default=Path("fuzzed"), help="where inputs that fail are left")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    arguments.out.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix="latentkit-fuzz-"))
    (folder / "corpus").mkdir()
    target = TARGETS[arguments.target](folder, folder / "corpus")
    (folder / "words").write_text("\n".join(f'"{word}"' for word in WORDS), "utf-8")
    options = [
        f"-max_total_time={round(60 * arguments.minutes)}",
        f"-artifact_prefix={arguments.out}/",
        f"-dict={folder / 'words'}",
        "-timeout=10",
        "-rss_limit_mb=2048",
        "-max_len=16384",
        "-len_control=0",
        "-keep_seed=1",  # valid inputs all go the same way, and each is a way in
    ]

    def kept(data: bytes) -> None:
        try:
            target(data)
        except BaseException:  # libFuzzer does not see what Python raises in time
            (arguments.out / f"failed-{hashlib.sha256(data).hexdigest()[:12]}").write_bytes(data)
            raise

    atheris.Setup([sys.argv[0], *options, str(folder / "corpus")], kept)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
