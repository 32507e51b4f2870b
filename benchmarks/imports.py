"""Claim: `import latentkit` takes at most 1.2 times as long as `import torch`, and help needs no torch.

    python -m benchmarks.imports [--json FILE]

Each import runs in a fresh process, the two in turn, and the median of the ratios is printed.
`import latentkit` alone loads nothing, so the ratio is also given for the first use of a name that
needs torch.
"""

import argparse
import json
import statistics
import subprocess
import sys
import time
from pathlib import Path

COMMANDS = {
    "import torch": [sys.executable, "-c", "import torch"],
    "import latentkit": [sys.executable, "-c", "import latentkit"],
    "latentkit.Normal, interpolate, generate": [
        sys.executable,
        "-c",
        "import latentkit as lk; lk.Normal, lk.interpolate, lk.generate, lk.Checkpoint",
    ],
    "latentkit --help": [sys.executable, "-m", "latentkit.cli", "--help"],
}


def seconds(command: list[str]) -> float:
    """Return how long a command takes as a fresh process."""
    start = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - start


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=7)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    for command in COMMANDS.values():
        seconds(command)
    times = [{name: seconds(command) for name, command in COMMANDS.items()} for _ in range(arguments.runs)]
    table = {
        name: {
            "seconds": statistics.median(run[name] for run in times),
            "of import torch": statistics.median(run[name] / run["import torch"] for run in times),
        }
        for name in COMMANDS
    }
    print(f"{'':42}{'seconds':>9}{'of import torch':>18}")
    for name, row in table.items():
        print(f"{name:42}{row['seconds']:9.2f}{row['of import torch']:18.2f}")
    if arguments.json:
        arguments.json.write_text(json.dumps(table, indent=2), encoding="utf-8")


if __name__ == "__main__":
    main()
