"""Run the benchmarks, each in a process of its own, and print one table of what was claimed and what was measured.

    python -m benchmarks [--only NAME ... [--keep]] [--truth] [--quick] [--json FILE] [--page docs/benchmarks.md]

By default those that claim something about speed or memory, in about 40 minutes on two quiet cores. `--truth` runs
those too that train for hours, most of which say what is true of samples rather than how fast they come; `--list`
shows the commands of all. `--only` with `--keep` measures a part anew, and takes the rest from the JSON that is there,
if it is of the same machine and versions; below the table it says which was measured when. What a script prints is
passed on. A script that fails is shown as failed, the others still run, and the exit code is 1; a claim that is not
reached is shown as that, and is no failure. Run it on a machine that does nothing else: the load before and after each
script is in the JSON.
"""

import argparse
import ast
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from benchmarks.clocks import python
from benchmarks.machine import machine, told, versions
from benchmarks.runner import Outcome, page_tables, put_tables, ratio_text, read_outcomes, run_script, when
from latentkit.files import check_target, write_json

__all__ = ["SPEED", "TRUTH", "main"]

HERE = Path(__file__).resolve().parent

#: What claims speed or memory, in the order in which it runs, with arguments by which all end in time.
SPEED: dict[str, tuple[str, ...]] = {
    "imports": (),
    "floors": (),
    "generation": (),
    "training": (),
    "inversion": ("--singles", "24", "--repeats", "1"),
    "frames": (),
    "animation": ("--repeat", "2"),
    "report": (),
    "main_job": (),
    "projection": (),
    "stores": (),
    "unit_costs": (),
    "growth": (),
}

#: What takes from ten minutes to hours, with the arguments that it needs.
TRUTH: dict[str, tuple[str, ...]] = {
    "directions": (),
    "walks": (),
    "bundled": (),
    "modes": (),
    "semi": (),
    "endurance": (),
    "quality": (),
    "images": ("--cache", "{cache}"),
    "toy_limits": ("--cache", "{cache}"),
    "toy_truth": ("--cache", "{cache}"),
}


def claim_of(name: str) -> str:
    """Return the first sentence of a script's docstring, without running it."""
    tree = ast.parse((HERE / f"{name}.py").read_text(encoding="utf-8"))
    return (ast.get_docstring(tree) or "").partition("\n")[0]


def command_of(name: str, cache: Path, *, quick: bool = False) -> list[str]:
    """Return the arguments of Python that run a script, in full or as a smoke run."""
    if quick:
        return ["-m", f"benchmarks.{name}", "--quick"]
    return ["-m", f"benchmarks.{name}", *(part.format(cache=cache) for part in (SPEED | TRUTH)[name])]


def listed(cache: Path) -> str:
    """Return each script's command and claim."""
    lines = []
    for title, names in (("By default, about speed and memory:", SPEED), ("With --truth, for hours:", TRUTH)):
        lines += [title, *(f"  python {' '.join(command_of(name, cache))}\n      {claim_of(name)}" for name in names)]
    return "\n".join(lines)


def main(argv: Sequence[str] | None = None) -> int:
    """Run what was asked for; 0, or 1 if a script failed, or 130 if it was interrupted."""
    options = argparse.ArgumentParser(
        prog="python -m benchmarks", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    options.add_argument("--only", nargs="+", metavar="NAME", choices=[*SPEED, *TRUTH], help="run these alone")
    options.add_argument("--keep", action="store_true", help="with --only: keep what the JSON has of other scripts")
    options.add_argument("--truth", action="store_true", help="run those that take hours, too")
    options.add_argument("--cache", type=Path, default=Path("benchmarks-cache"), help="where --truth keeps networks")
    options.add_argument("--quick", action="store_true", help="a smoke run of small sizes: its figures mean nothing")
    options.add_argument("--json", type=Path, default=Path("benchmarks.json"), help="default benchmarks.json, here")
    options.add_argument("--page", type=Path, metavar="FILE", help="put the tables into this Markdown page")
    options.add_argument("--list", action="store_true", help="show what there is, and run nothing")
    arguments = options.parse_args(argv)
    names = tuple(arguments.only or (*SPEED, *(TRUTH if arguments.truth else ())))
    if arguments.list:
        print(listed(arguments.cache))
        return 0
    if arguments.quick and arguments.page:
        options.error("a smoke run's figures mean nothing; --page takes those of a full run")
    if arguments.quick and not set(names) <= set(SPEED):
        options.error("a smoke run takes only those that are about speed and memory")
    if arguments.keep and not arguments.only:
        options.error("--keep is for a part: name scripts by --only")
    check_target(arguments.json)
    about = {"machine": machine(), "versions": versions(), "quick": arguments.quick}
    kept: list[Outcome] = []
    if arguments.keep:
        try:
            kept = [one for one in read_outcomes(arguments.json, about) if one.script not in names]
        except ValueError as error:
            options.error(str(error))
    outcomes: list[Outcome] = []
    code = 130
    try:
        with tempfile.TemporaryDirectory() as folder:
            for name in names:
                print(f"\n== {name}: {claim_of(name)}", flush=True)
                command = python(*command_of(name, arguments.cache, quick=arguments.quick))
                outcomes.append(run_script(name, command, Path(folder)))
                print(f"== {name}: {outcomes[-1].error or f'{outcomes[-1].seconds:.0f} s'}", flush=True)
        code = 1 if any(one.error for one in outcomes) else 0
    except KeyboardInterrupt:
        print("\ninterrupted; what follows is of the scripts that ended", file=sys.stderr)
    order = [*SPEED, *TRUTH]
    outcomes = sorted([*kept, *outcomes], key=lambda one: order.index(one.script))
    print("\n" + ratio_text(outcomes))
    write_json(arguments.json, {**about, "scripts": [one.to_dict() for one in outcomes]})
    if arguments.page and code != 130:
        made = f"On {told(about)}; {when(outcomes)}."
        for name in put_tables(arguments.page, page_tables(outcomes, made)):
            print(f"{arguments.page} has no place for a table named {name}", file=sys.stderr)
    return code


if __name__ == "__main__":
    sys.exit(main())
