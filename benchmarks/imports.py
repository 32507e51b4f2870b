"""Claim: `import latentkit` takes at most 1.2 times as long as `import torch`, and help takes under half a second.

    python -m benchmarks.imports [--runs 7] [--json FILE]

Each import runs in a fresh process, all in turn, and the median of the ratios is printed. `import latentkit` alone
loads nothing, so the ratio is also given for the first use of names that need torch. Help needs no torch at all.
"""

import sys
from functools import partial

from benchmarks.claims import at_most, concluded, parsed, parser
from benchmarks.clocks import interleaved, process, python, timed

NAMES = "import latentkit as lk; lk.Normal, lk.interpolate, lk.generate, lk.Checkpoint"
COMMANDS = {
    "import torch": ("-c", "import torch"),
    "import latentkit": ("-c", "import latentkit"),
    "latentkit.Normal, interpolate, generate": ("-c", NAMES),
    "latentkit --help": ("-m", "latentkit.cli", "--help"),
    "python -c pass": ("-c", "pass"),
}

LIMITS = {
    "import latentkit": "starting Python; names are loaded when they are first used",
    "latentkit.Normal, interpolate, generate": "torch's own import, which is nearly all of it",
    "latentkit --help": "starting Python and building the parser of every verb; torch is not imported",
}


def main(argv: list[str] | None = None) -> int:
    """Print the table."""
    options = parser(__doc__)
    options.add_argument("--runs", type=int, default=7)
    arguments = parsed(options, argv, quick={"runs": 1})

    runs = {name: timed(partial(process, python(*command))) for name, command in COMMANDS.items()}
    found = interleaved(runs, arguments.runs, warm_up=1)
    table = {
        name: {"seconds": found.median(name), "of import torch": found.ratio(name, "import torch")} for name in runs
    }
    print(f"{'':42}{'seconds':>9}{'of import torch':>18}")
    for name, row in table.items():
        print(f"{name:42}{row['seconds']:9.2f}{row['of import torch']:18.2f}")
    ratios = [
        at_most(f"{name} / import torch", table[name]["of import torch"], 1.2, limit=LIMITS[name])
        for name in ("import latentkit", "latentkit.Normal, interpolate, generate")
    ]
    name = "latentkit --help"
    ratios.append(at_most(name, table[name]["seconds"], 0.5, unit="s", limit=LIMITS[name]))
    return concluded(arguments, ratios, commands=table)


if __name__ == "__main__":
    sys.exit(main())
