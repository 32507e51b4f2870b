"""Claim: training on the digits and its report take under 4 minutes, and the report's folder stays under 15 MB.

    python -m benchmarks.main_job [--data digits] [--steps N] [--json FILE]

Runs the README's commands as fresh processes in a temporary folder and prints their wall time. The first report finds
no compiled kernels of UMAP, as after an install. `benchmarks.report` times a report of the bundled generator.
"""

import sys
import tempfile
from pathlib import Path

from benchmarks.claims import at_most, concluded, parsed, parser
from benchmarks.clocks import process, python


def megabytes(folder: Path) -> float:
    """Return the size of the files in a folder, in MB."""
    return sum(file.stat().st_size for file in folder.iterdir()) / 1e6


def main(argv: list[str] | None = None) -> int:
    """Print the table."""
    options = parser(__doc__)
    options.add_argument("--data", default="digits")
    options.add_argument("--steps", type=int, help="of training; the default recipe's if not given")
    arguments = parsed(options, argv, quick={"steps": 20})
    steps = [] if arguments.steps is None else ["--steps", str(arguments.steps)]
    with tempfile.TemporaryDirectory() as folder:
        run, page = Path(folder) / "run", Path(folder) / "report"
        commands = {
            "train": ("trainers", "gan", "--data", arguments.data, "--out", str(run), *steps),
            "first report": ("latentkit.cli", "report", str(run), "--out", str(page)),
            "second report": ("latentkit.cli", "report", str(run), "--out", str(page)),
        }
        cache = {"NUMBA_CACHE_DIR": str(Path(folder) / "numba")}
        seconds = {name: process(python("-m", *command), environment=cache).wall for name, command in commands.items()}
        table = {f"{name}, seconds": value for name, value in seconds.items()}
        table["train and report, seconds"] = seconds["train"] + seconds["first report"]
        table["report, MB"], table["checkpoint, MB"] = megabytes(page), megabytes(run)
    for name, value in table.items():
        print(f"{name:28}{value:8.1f}")
    ratios = [
        at_most(
            "train on digits and first report",
            table["train and report, seconds"],
            240.0,
            unit="s",
            limit="the recipe's steps, then compiling UMAP's kernels",
        ),
        at_most(
            "folder of that report", table["report, MB"], 15.0, unit="MB", limit="the films and the atlas of samples"
        ),
    ]
    return concluded(arguments, ratios, figures=table)


if __name__ == "__main__":
    sys.exit(main())
