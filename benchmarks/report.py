"""Claim: a report of the bundled generator takes under 45 seconds, and says where the time goes.

    python -m benchmarks.report [--threads 2] [--runs 2] [--json FILE]

Runs `latentkit report fashion-mnist --timings` in fresh processes, as one types it: the first finds no compiled kernels
of UMAP, as after an install, the later ones do, and the median of those counts. The chapters' seconds are those that
the command tells; what is missing from the whole is starting Python, loading the checkpoint and writing the page.
"""

import json
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from benchmarks.claims import at_most, concluded, parsed, parser
from benchmarks.clocks import process, python
from latentkit.tables import aligned

CHECKPOINT = "fashion-mnist"


def once(folder: Path, page: str, options: list[str]) -> dict[str, Any]:
    """Return the wall and processor seconds of one report, and those of its chapters."""
    command = ["report", CHECKPOINT, "--out", str(folder / page), "--timings", "--json", *options]
    cache = {"NUMBA_CACHE_DIR": str(folder / "numba")}
    spent = process(python("-m", "latentkit.cli", *command), environment=cache, stdout=subprocess.PIPE)
    said = json.loads(spent.output)
    return {"wall": spent.wall, "cpu": spent.cpu, "megabytes": said["megabytes"], "chapters": said["seconds"]}


def main(argv: list[str] | None = None) -> int:
    """Print the seconds of each chapter."""
    options = parser(__doc__)
    options.add_argument("--threads", type=int, default=2)
    options.add_argument("--runs", type=int, default=2, help="after the first one (default 2)")
    options.add_argument("--n", type=int, help="samples that are mapped, by default the report's own number")
    arguments = parsed(options, argv, quick={"threads": 1, "runs": 1, "n": 500})
    given = ["--threads", str(arguments.threads), *(["-n", str(arguments.n)] if arguments.n else [])]
    with tempfile.TemporaryDirectory() as name:
        runs = [once(Path(name), f"report-{k}", given) for k in range(arguments.runs + 1)]
    first, *later = runs
    names = [*first["chapters"]]
    table = [["", "first", *(f"run {k + 2}" for k in range(len(later)))]]
    table += [[chapter, *(f"{run['chapters'][chapter]:.1f}" for run in runs)] for chapter in names]
    table.append(["around them", *(f"{run['wall'] - sum(run['chapters'].values()):.1f}" for run in runs)])
    for key in ("wall", "cpu", "megabytes"):
        table.append([key, *(f"{run[key]:.1f}" for run in runs)])
    print(aligned(table))
    seconds = statistics.median(run["wall"] for run in later)
    largest = max(names, key=lambda chapter: later[0]["chapters"][chapter])
    limit = f"of the parts, {largest} takes longest: {later[0]['chapters'][largest]:.0f} s"
    ratios = [at_most("report of the bundled generator", seconds, 45.0, unit="s", limit=limit)]
    return concluded(arguments, ratios, tables={"report": table}, runs=runs)


if __name__ == "__main__":
    sys.exit(main())
