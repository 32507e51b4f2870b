"""Claim: training on the digits and its report take under 4 minutes, another report under 45 seconds.

    python -m benchmarks.main_job [--json FILE]

Runs the README's commands as fresh processes in a temporary folder and prints their wall time and the
size of the report, which is to stay under 15 MB. The first report finds no compiled kernels of UMAP, as
after an install.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default="digits")
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    table: dict[str, float] = {}
    with tempfile.TemporaryDirectory() as folder:
        run, page = str(Path(folder) / "run"), str(Path(folder) / "report")
        commands = {
            "train": ["trainers", "gan", "--data", arguments.data, "--out", run],
            "first report": ["latentkit.cli", "report", run, "--out", page],
            "second report": ["latentkit.cli", "report", run, "--out", page],
        }
        environment = {**os.environ, "NUMBA_CACHE_DIR": str(Path(folder) / "numba")}
        for name, (module, *rest) in commands.items():
            start = time.perf_counter()
            command = [sys.executable, "-m", module, *rest]
            subprocess.run(command, check=True, stdout=subprocess.DEVNULL, env=environment)
            table[f"{name}, seconds"] = time.perf_counter() - start
        table["train and report, seconds"] = table["train, seconds"] + table["first report, seconds"]
        table["report, MB"] = sum(file.stat().st_size for file in Path(page).iterdir()) / 1e6
        table["checkpoint, MB"] = sum(file.stat().st_size for file in Path(run).iterdir()) / 1e6
    for name, value in table.items():
        print(f"{name:28}{value:8.1f}")
    if arguments.json:
        arguments.json.write_text(json.dumps(table, indent=2), encoding="utf-8")


if __name__ == "__main__":
    main()
