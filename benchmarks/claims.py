"""What a benchmark claims: ratios taken side by side in one run, what was wanted of each, and what limits it.

A script of this folder that claims something about speed or memory has a docstring that begins with "Claim", and

    def main(argv: list[str] | None = None) -> int:
        options = parser(__doc__)
        options.add_argument("--rounds", type=int, default=7)
        arguments = parsed(options, argv, quick={"rounds": 1})      # adds --json and --quick
        ...                                                         # measures, and prints tables of its own
        ratios = [at_least("generate / best hand-tuned loop", 0.97, 0.95, limit="what keeps it from being more")]
        return concluded(arguments, ratios, rows=rows)              # prints the ratios, writes the JSON

The JSON is a dict: "ratios" is a list of what `Ratio.to_dict` gives; "tables" may hold tables for docs/benchmarks.md,
by name, each a list of rows of texts whose first is the head; all else is the script's own. `python -m benchmarks`
runs each script by itself as `python -m benchmarks.NAME --json FILE`, with `--quick` if it got that, and reads those
two. A script that fails exits with another code than 0; a claim that is not reached is no failure.
"""

import argparse
import math
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, Literal

from latentkit.files import write_json
from latentkit.tables import aligned

__all__ = ["Ratio", "Table", "at_least", "at_most", "concluded", "number", "parsed", "parser", "ratio_rows"]

#: Rows of texts, the first of them the head.
Table = Sequence[Sequence[str]]


@dataclass(frozen=True)
class Ratio:
    """One figure that says something wherever it is measured: a ratio, a slope, an exponent, or a limit in seconds.

    Attributes: `name`, the claim in a phrase, such as "generate / best hand-tuned loop, 64x64"; `value`, as measured;
    `wanted`, and whether that is the least or the most (`bound`); `limit`, a sentence on what keeps it from being
    better; `unit`, "times" for a plain ratio.

    Raises:
        ValueError: if a number is not finite, or the bound is another word.
    """

    name: str
    value: float
    wanted: float
    bound: Literal["at least", "at most"]
    limit: str
    unit: str = "times"

    def __post_init__(self) -> None:
        if not (math.isfinite(self.value) and math.isfinite(self.wanted)):
            raise ValueError(f"{self.name}: figures must be finite, got {self.value} where {self.wanted} was wanted")
        if self.bound not in ("at least", "at most"):
            raise ValueError(f"{self.name}: the bound must be 'at least' or 'at most', got {self.bound!r}")

    @property
    def reached(self) -> bool:
        """Whether the value is what was wanted, or better."""
        return self.value >= self.wanted if self.bound == "at least" else self.value <= self.wanted

    def to_dict(self) -> dict[str, Any]:
        """Return the fields, and whether it is reached, as JSON values."""
        return {**asdict(self), "reached": self.reached}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "Ratio":
        """Return what `to_dict` gave.

        Raises:
            KeyError: if a field is missing.
            ValueError: if a figure is not finite or not a number.
        """
        taken = {one.name: values[one.name] for one in fields(cls)}
        return cls(**{**taken, "value": float(taken["value"]), "wanted": float(taken["wanted"])})


def at_least(name: str, value: float, wanted: float, *, limit: str, unit: str = "times") -> Ratio:
    """Return a figure that is to be so large."""
    return Ratio(name, float(value), float(wanted), "at least", limit, unit)


def at_most(name: str, value: float, wanted: float, *, limit: str, unit: str = "times") -> Ratio:
    """Return a figure that is to be so small."""
    return Ratio(name, float(value), float(wanted), "at most", limit, unit)


def number(value: float) -> str:
    """Return a figure with the digits that mean something: two decimals below 10, one below 100, else none.

    Examples:
        >>> [number(value) for value in (0.9512, 31.416, 2718.3, 0.00123)]
        ['0.95', '31.4', '2,718', '0.0012']
    """
    size = abs(value)
    if 0.0 < size < 0.1:
        return f"{value:.2g}"
    return f"{value:.2f}" if size < 10.0 else f"{value:.1f}" if size < 100.0 else f"{value:,.0f}"


def ratio_rows(ratios: Sequence[Ratio]) -> list[list[str]]:
    """Return claim, measured, wanted, and whether it is reached, as rows of texts without a head."""
    rows = []
    for one in ratios:
        unit = "" if one.unit == "times" else f" {one.unit}"
        wanted = f"{one.bound} {one.wanted:,g}{unit}"
        measured = number(one.value)
        if measured == number(one.wanted) and not one.reached:  # so that it is seen why
            measured = f"{one.value:,.4g}"
        rows.append([one.name, f"{measured}{unit}", wanted, "yes" if one.reached else "no"])
    return rows


def parser(doc: str | None) -> argparse.ArgumentParser:
    """Return a parser whose help is the script's docstring, and which takes `--json FILE`."""
    made = argparse.ArgumentParser(
        description=doc, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    made.add_argument("--json", type=Path, metavar="FILE", help="write the figures here")
    return made


def parsed(
    options: argparse.ArgumentParser, argv: Sequence[str] | None = None, *, quick: Mapping[str, Any] | None = None
) -> argparse.Namespace:
    """Return the arguments; with `--quick` the defaults are those of a smoke run, whose figures mean nothing.

    Args:
        options: from `parser`.
        argv: the command line, by default that of the process.
        quick: small values by the option's name; what is given on the line stays. None where there is no such run.
    """
    given = list(sys.argv[1:] if argv is None else argv)
    if quick is not None:
        options.add_argument(
            "--quick", action="store_true", help="a smoke run of small sizes: its figures mean nothing"
        )
        if "--quick" in given:
            options.set_defaults(**quick)
    return options.parse_args(given)


def concluded(
    arguments: argparse.Namespace,
    ratios: Sequence[Ratio],
    *,
    tables: Mapping[str, Table] | None = None,
    **figures: Any,
) -> int:
    """Print the ratios, write them with the tables and figures if `--json` is given, and return exit code 0.

    The number of threads that torch has at the end is written too, as "threads", where torch was loaded.
    """
    if ratios:
        print("\n" + aligned([["claim", "measured", "wanted", "reached"], *ratio_rows(ratios)]), flush=True)
    if arguments.json:
        torch = sys.modules.get("torch")
        threads = {} if torch is None else {"threads": torch.get_num_threads()}
        told = {"ratios": [one.to_dict() for one in ratios], "tables": dict(tables or {})}
        write_json(arguments.json, {**threads, **told, **figures})
    return 0
