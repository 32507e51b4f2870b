"""Train a generator, and write it as a checkpoint to explore.

Examples:
  latentkit-train gan --data digits --out runs/digits
  latentkit-train gan --data grid25 --out runs/grid25 --steps 8000 --seed 1 --movie grid25.gif
  latentkit-train gan --data fashion-mnist --conditional --out runs/fashion
  latentkit-train dcgan --data folder --data-dir photos/ --out runs/photos
  latentkit-train gan --data digits --out runs/digits --steps 6000 --resume
  latentkit-train sweep --data digits --sizes 1 2 4 8 16 32 64 --seeds 0 1 --out runs/sweep
  torchrun --nproc-per-node 2 -m trainers gan --data digits --out runs/digits
"""

import argparse
import atexit
import json
import os
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from latentkit.console import Parser, guarded, printed, watched
from latentkit.errors import ArgumentError
from trainers.families import FAMILIES, MEASURES, Family, add_options, add_settings, given_settings, made_config

# Torch takes seconds to import, so it waits until `guarded` can catch an interrupt and a family is known.
if TYPE_CHECKING:
    from trainers.data import Data
    from trainers.snapshots import Begun

__all__ = ["main"]


def main(argv: Sequence[str] | None = None) -> int:
    """Run `latentkit-train` with the arguments `argv` and return its exit status.

    0 after training; 2 after a mistake in the arguments or the data; 130 after an interrupt, 143 after SIGTERM.
    """
    left = "nothing was written"

    def run() -> None:
        nonlocal left
        words = sys.argv[1:] if argv is None else argv
        arguments = _parser(words).parse_args(words)
        try:
            summary = arguments.run(arguments)
        except KeyboardInterrupt:
            left = _left(arguments)
            raise
        if summary is None:
            return
        said = summary.pop("said", None) or _said(summary)
        printed(json.dumps(summary) if arguments.json else said)

    code = guarded("latentkit-train", run, interrupted=lambda: left, ends=argv is None)
    if argv is None and int(os.environ.get("WORLD_SIZE", "1")) > 1:
        _end(code)
    return code


def _end(code: int) -> None:
    """End a process of several, once all is written and said.

    Threads of PyTorch's groups may outlive them, and while Python takes itself down one process in 25 was aborted by
    that (measured with 2.13, after signals): torchrun would then report a crash.
    """
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError):
            stream.flush()
    os._exit(code)


def _said(summary: dict[str, Any]) -> str:
    if "steps" not in summary:
        return str(summary["out"])
    return f"{summary['out']}: {summary['steps']} steps in {summary['seconds']:.0f} s; latentkit info shows it"


def _left(arguments: argparse.Namespace) -> str:
    """Say what an interrupt left behind."""
    from latentkit.manifest import snapshot_path, snapshot_steps

    out = Path(arguments.out)
    if arguments.family == "sweep":
        # Never imported for this alone: torch, which it needs, may be half imported just now.
        study = sys.modules.get("trainers.study")
        begun = study is not None and study.MARKER.read(out) is not None
        return f"{out} keeps what is done, and the same command goes on from there" if begun else "nothing was written"
    steps = snapshot_steps(out)
    return (
        f"{snapshot_path(out, steps[0])} is saved, and --resume goes on from there" if steps else "nothing was written"
    )


def _parser(argv: Sequence[str]) -> Parser:
    about, _, examples = (__doc__ or "").partition("\n\n")
    parser = Parser(prog="latentkit-train", description=about, epilog=examples)
    families = parser.add_subparsers(dest="family", metavar="FAMILY", required=True)
    for name, family in FAMILIES.items():
        sub = families.add_parser(
            name,
            help=family.about,
            description=f"Train {family.about}.",
            epilog=f"example:\n  latentkit-train {name} {family.example}",
        )
        sub.set_defaults(run=_train)
        if name in argv:  # the settings of the others need not be imported
            _add_data(sub, family)
            _add_run(sub)
            add_settings(sub, family)
    _add_sweep(families, wanted="sweep" in argv)
    return parser


def _add_sweep(families: Any, *, wanted: bool) -> None:
    sub = families.add_parser(
        "sweep",
        help="one GAN for each latent size and seed, all measured alike",
        description="Study how much noise a GAN needs: train one for each latent size and seed, and measure all "
        "alike. Given again, the command goes on where it was; sizes, seeds and steps can be added.",
        epilog="example:\n  latentkit-train sweep --data digits --sizes 1 2 4 8 16 32 64 --seeds 0 1 --out runs/sweep",
    )
    sub.set_defaults(run=_sweep)
    if wanted:
        _add_data(sub, FAMILIES["gan"])
        sub.add_argument("--sizes", type=int, nargs="+", required=True, metavar="N", help="latent sizes")
        sub.add_argument("--seeds", type=int, nargs="+", default=[0], metavar="N", help="one training each [0]")
        sub.add_argument("--anew", action="store_true", help="train and measure again what is there already")
        sub.add_argument("--json", action="store_true", help="print the table as one JSON object")
        sub.add_argument("--quiet", action="store_true", help="show no progress bar")
        add_settings(sub, FAMILIES["gan"], without=("latent_dim", "seed"))
        add_options(sub, MEASURES, title="measures")


def _sweep(arguments: argparse.Namespace) -> dict[str, Any]:
    from dataclasses import asdict

    from trainers.sweep import latent_size_study

    family = FAMILIES["gan"]
    config = made_config(family, given_settings(arguments, family), {})
    measures = made_config(MEASURES, given_settings(arguments, MEASURES), {})
    study = latent_size_study(
        _data(arguments, family),
        arguments.sizes,
        arguments.seeds,
        config,
        out=arguments.out,
        resume=not arguments.anew,
        progress=watched() and not arguments.quiet and not arguments.json,
        measures=measures,
    )
    rows = [asdict(row) for row in study.rows]
    return {"out": str(arguments.out), "rows": rows, "said": f"{study.table()}\n{arguments.out}: study.png shows it"}


def _add_data(sub: Parser, family: Family) -> None:
    from trainers.data import DATA

    names = ", ".join([*DATA, "folder"])
    sub.add_argument("--data", required=True, metavar="NAME", help=f"{names}, hf:NAME, or a path to images or arrays")
    sub.add_argument("--out", required=True, metavar="DIR", help="the run's folder, and in the end its checkpoint")
    sub.add_argument("--data-dir", metavar="DIR", help="where the images of folder or fashion-mnist are")
    sub.add_argument(
        "--size",
        type=int,
        metavar="N",
        help=f"side of the images of a folder in pixels, a power of two from 16 [{family.size}]",
    )
    sub.add_argument("--cache", metavar="DIR", help="keep decoded images here, so that the next start is quick")
    sub.add_argument("--grey", action="store_true", help="read the images of a folder as grey ones")


def _add_run(sub: Parser) -> None:
    sub.add_argument("--resume", action="store_true", help="go on from the newest snapshot in --out, if there is one")
    sub.add_argument("--movie", metavar="FILE", help="film the training, as a .gif")
    sub.add_argument("--tensorboard", metavar="DIR", help="write the numbers for TensorBoard too")
    sub.add_argument("--json", action="store_true", help="print one JSON object about the run")
    sub.add_argument("--quiet", action="store_true", help="show no progress bar")


def _train(arguments: argparse.Namespace) -> dict[str, Any] | None:
    from latentkit.files import check_target
    from latentkit.manifest import check_place
    from trainers.distributed import joined_group
    from trainers.movie import Movie
    from trainers.snapshots import check_begin

    # Everything that can be wrong with the arguments is found before the first heavy step.
    family, out = FAMILIES[arguments.family], Path(arguments.out)
    given = given_settings(arguments, family)
    made_config(family, given, {})
    check_place(out)
    check_begin(out, arguments.resume)
    begun = _begun(out, family) if arguments.resume else None
    # What only another version knows is left to the run, which says so.
    known = {} if begun is None else given_settings(argparse.Namespace(**begun.settings), family)
    config = made_config(family, given, known)
    if arguments.movie is not None:
        if begun is not None and begun.step >= config.steps:
            raise ArgumentError(f"--movie films steps as they are made, and {out} has made all {config.steps}")
        if Path(arguments.movie).suffix.lower() != ".gif":  # ".gif" alone is a name without one
            raise ArgumentError(f"--movie must end in .gif, got {arguments.movie!r}")
        check_target(arguments.movie)
    data = _data(arguments, family)
    movie = Movie(data) if arguments.movie is not None else None
    shows = watched() and not arguments.quiet and not arguments.json
    began = time.monotonic()
    with joined_group() as group:
        checkpoint = family.function()(
            data,
            config,
            out=out,
            resume=arguments.resume,
            on_step=movie,
            progress=shows,
            log_dir=arguments.tensorboard,
        )
        leads = group.leads
    if not leads:
        return None
    seconds = time.monotonic() - began
    if movie is not None:
        movie.film().save(str(arguments.movie), progress=shows)
    last = {name: values[-1] for name, values in checkpoint.history.items() if name not in ("step", "seconds")}
    return {
        "out": str(arguments.out),
        "data": data.name,
        "samples": len(data),
        "steps": checkpoint.settings["steps"],
        "seconds": round(seconds, 1),
        "settings": checkpoint.settings,
        **last,
    }


def _begun(out: Path, family: Family) -> "Begun | None":
    """Return what is known of the family's run that is to go on in `out`, or None if there is none."""
    from trainers.snapshots import begun_in

    begun = begun_in(out)
    if begun is not None and begun.trainer != family.home:
        raise ArgumentError(
            f"{out} was begun otherwise: trainer was {begun.trainer!r} and is {family.home!r}; "
            "resume with what it had, or choose another out"
        )
    return begun


def _data(arguments: argparse.Namespace, family: Family) -> "Data":
    from trainers.data import named

    size = arguments.size
    if size is None and arguments.data == "folder":
        size = family.size
    return named(arguments.data, folder=arguments.data_dir, size=size, grey=arguments.grey, cache=arguments.cache)


if __name__ == "__main__":
    sys.exit(main())
