"""Train a generator and its critic, and write them as a checkpoint to explore.

Examples:
  latentkit-train gan --data digits --out runs/digits
  latentkit-train gan --data grid25 --out runs/grid25 --steps 8000 --seed 1 --movie grid25.gif
  latentkit-train gan --data fashion-mnist --data-dir data/fashion --out runs/fashion
  latentkit-train gan --data folder --data-dir photos/ --size 64 --out runs/photos --json
"""

import argparse
import json
import re
import sys
import time
from collections.abc import Sequence
from dataclasses import fields
from typing import TYPE_CHECKING, Any, get_args, get_type_hints

from latentkit.console import Parser, guarded, watched
from latentkit.errors import ArgumentError

# Torch takes seconds to import, so it waits until `guarded` can catch an interrupt and a family is known.
if TYPE_CHECKING:
    from trainers.config import GANConfig
    from trainers.data import Data

__all__ = ["main"]


def main(argv: Sequence[str] | None = None) -> int:
    """Run `latentkit-train` with the arguments `argv` and return its exit status.

    0 after training; 2 after a mistake in the arguments or the data; 130 after an interrupt.
    """

    def run() -> None:
        arguments = _parser(sys.argv[1:] if argv is None else argv).parse_args(argv)
        summary = _gan(arguments)
        if arguments.json:
            print(json.dumps(summary))
        else:
            print(f"{summary['out']}: {summary['steps']} steps in {summary['seconds']:.0f} s; latentkit info shows it")

    return guarded("latentkit-train", run, interrupted="nothing was written")


def _parser(argv: Sequence[str]) -> Parser:
    about, _, examples = (__doc__ or "").partition("\n\n")
    parser = Parser(prog="latentkit-train", description=about, epilog=examples)
    families = parser.add_subparsers(dest="family", metavar="FAMILY", required=True)
    gan = families.add_parser(
        "gan",
        help="a generative adversarial network",
        description="Train a generative adversarial network.",
        epilog=examples,
    )
    if "gan" in argv:
        _add_gan(gan)
    return parser


def _add_gan(gan: Parser) -> None:
    from trainers.config import GANConfig
    from trainers.data import DATA

    gan.add_argument(
        "--data", required=True, choices=[*DATA, "folder"], metavar="NAME", help=f"{', '.join([*DATA, 'folder'])}"
    )
    gan.add_argument("--out", required=True, metavar="DIR", help="folder to write the checkpoint to")
    gan.add_argument("--data-dir", metavar="DIR", help="where the images of folder or fashion-mnist are")
    gan.add_argument(
        "--size", type=int, metavar="N", help="side of the images of folder in pixels, a power of two from 16 [32]"
    )
    gan.add_argument("--grey", action="store_true", help="read the images of folder as grey ones")
    gan.add_argument("--movie", metavar="FILE", help="film the training, as a .gif")
    gan.add_argument("--json", action="store_true", help="print one JSON object about the run")
    gan.add_argument("--quiet", action="store_true", help="show no progress bar")
    settings = gan.add_argument_group("settings", "a value in brackets is the default, by the kind of data")
    help_of, hints = _field_help(GANConfig), get_type_hints(GANConfig)
    for field in fields(GANConfig):
        kind = next(part for part in (*get_args(hints[field.name]), hints[field.name]) if part is not type(None))
        default = "" if field.default is None else f" [{field.default}]"
        settings.add_argument(
            f"--{field.name.replace('_', '-')}",
            dest=field.name,
            type=kind,
            default=argparse.SUPPRESS,
            metavar={int: "N", float: "X"}.get(kind, "NAME"),
            help=f"{help_of[field.name]}{default}".replace("%", "%%"),
        )


def _field_help(config: type) -> dict[str, str]:
    """Return each setting's line in the docstring's `Args:`."""
    section = (config.__doc__ or "").partition("Args:")[2].partition("Raises:")[0]
    # A line that goes on is indented further than the eight spaces of a name.
    found = re.findall(r"^ {8}(\w+): (.+(?:\n {9,}.+)*)", section, re.MULTILINE)
    return {name: " ".join(text.split()).rstrip(".") for name, text in found}


def _gan(arguments: argparse.Namespace) -> dict[str, Any]:
    from latentkit.files import check_target
    from latentkit.manifest import check_place
    from trainers.gan import train_gan
    from trainers.movie import Movie

    # Everything that can be wrong with the arguments is found before the first heavy step.
    config = _config(arguments)
    check_place(arguments.out)
    if arguments.movie is not None:
        if not arguments.movie.lower().endswith(".gif"):
            raise ArgumentError(f"--movie must end in .gif, got {arguments.movie!r}")
        check_target(arguments.movie)
    data = _data(arguments)
    movie = Movie(data) if arguments.movie is not None else None
    shows = watched() and not arguments.quiet and not arguments.json
    began = time.monotonic()
    checkpoint = train_gan(data, config, on_step=movie, progress=shows)
    seconds = time.monotonic() - began
    folder = checkpoint.save(arguments.out)
    if movie is not None:
        movie.film().save(str(arguments.movie), progress=shows)
    last = {name: values[-1] for name, values in checkpoint.history.items() if name not in ("step", "seconds")}
    return {
        "out": str(folder),
        "data": data.name,
        "samples": len(data),
        "steps": checkpoint.settings["steps"],
        "seconds": round(seconds, 1),
        "settings": checkpoint.settings,
        **last,
    }


def _config(arguments: argparse.Namespace) -> "GANConfig":
    from trainers.config import GANConfig

    given = {name: value for name, value in vars(arguments).items() if name in GANConfig.__dataclass_fields__}
    try:
        return GANConfig(**given)
    except ArgumentError as error:
        # The error begins with the field's name; who types options knows it by that of its option.
        name, _, rest = str(error).partition(" ")
        option = f"--{name.replace('_', '-')}" if name in given else name
        raise ArgumentError(f"{option} {rest}") from error


def _data(arguments: argparse.Namespace) -> "Data":
    from trainers.config import is_image_side
    from trainers.data import DATA, fashion_mnist, image_folder

    name, folder = arguments.data, arguments.data_dir
    if name != "folder" and (arguments.size is not None or arguments.grey):
        raise ArgumentError(f"--size and --grey go with --data folder, not with --data {name}")
    if name == "folder":
        if folder is None:
            raise ArgumentError("--data folder needs --data-dir DIR, the folder of images")
        size = 32 if arguments.size is None else arguments.size
        if not is_image_side(size):
            raise ArgumentError(f"--size must be a power of two from 16 to 1024, got {size}")
        return image_folder(folder, size, arguments.grey)
    if folder is None:
        return DATA[name]()
    if name != "fashion-mnist":
        raise ArgumentError(f"--data-dir goes with --data folder or fashion-mnist, not with --data {name}")
    return fashion_mnist(folder)


if __name__ == "__main__":
    sys.exit(main())
