"""Running one benchmark after another, each in a process of its own, and the table of what they found."""

import json
import re
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from benchmarks.claims import Ratio, Table, ratio_rows
from benchmarks.clocks import process
from benchmarks.machine import commit, load_average
from latentkit.tables import aligned, markdown

__all__ = [
    "HEAD",
    "Outcome",
    "page_tables",
    "put_tables",
    "ratio_text",
    "read_outcomes",
    "rows_of",
    "run_script",
    "when",
]

HEAD = ["claim", "measured", "wanted", "reached", "what limits it"]


@dataclass(frozen=True)
class Outcome:
    """What became of one script.

    Attributes: `script`, its name; `seconds` of wall time; the load average before and after; its `ratios`; its
    `tables` for the page, by name; `figures`, all that it wrote; `error`, why it failed, or None; the `date` on which
    it ran, and the `commit` of the code.
    """

    script: str
    seconds: float
    load_before: float | None
    load_after: float | None
    ratios: tuple[Ratio, ...]
    tables: dict[str, Table]
    figures: Any
    error: str | None = None
    date: str = ""
    commit: str | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return all as JSON values; ratios and tables are within the figures."""
        return {key: value for key, value in asdict(self).items() if key not in ("ratios", "tables")}

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "Outcome":
        """Return what `to_dict` gave.

        Raises:
            KeyError, TypeError, ValueError: if it is something else.
        """
        return cls(**values, **_parts(values["figures"]) if values["error"] is None else {"ratios": (), "tables": {}})


def _parts(figures: Any) -> dict[str, Any]:
    """Return the ratios and the tables within a script's figures."""
    return {
        "ratios": tuple(Ratio.from_dict(one) for one in figures["ratios"]),
        "tables": dict(figures["tables"]),
    }


def run_script(script: str, command: Sequence[str], folder: Path) -> Outcome:
    """Run a benchmark in a fresh process and read what it wrote; what it prints goes to standard output.

    What it says on standard error is shown if it fails.

    Args:
        script: its name.
        command: what to run, without `--json`.
        folder: where its JSON goes.
    """
    file, before, start = folder / f"{script}.json", load_average(), time.perf_counter()
    with tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace") as errors:
        spent = process([*command, "--json", str(file)], stdout=None, stderr=errors, check=False)
        errors.seek(0)
        said = errors.read()
    if spent.code:
        print(said, file=sys.stderr, end="")
    last = next((line for line in reversed(said.splitlines()) if line.strip()), "nothing was said")
    parts, figures = {"ratios": (), "tables": {}}, None
    error = f"exit code {spent.code}: {last}" if spent.code else None
    if error is None:
        try:
            figures = json.loads(file.read_text(encoding="utf-8"))
            parts = _parts(figures)
        except (OSError, ValueError, KeyError, TypeError) as reason:
            error = f"its JSON cannot be read: {type(reason).__name__}: {reason}"
    seconds, date = time.perf_counter() - start, datetime.now(UTC).isoformat(timespec="seconds")
    return Outcome(
        script, seconds, before, load_average(), **parts, figures=figures, error=error, date=date, commit=commit()
    )


def read_outcomes(file: Path, about: Mapping[str, Any]) -> list[Outcome]:
    """Return the outcomes in a JSON file of an earlier run, if it was on this machine with these versions.

    Raises:
        ValueError: if there is no such file, or it is of another machine, of other versions, or a smoke run.
    """
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
        other = [name for name in about if found[name] != about[name]]
        outcomes = [Outcome.from_dict(one) for one in found["scripts"]]
    except (OSError, ValueError, KeyError, TypeError) as reason:
        raise ValueError(f"{file} is no result of an earlier run ({type(reason).__name__}: {reason})") from None
    if other:
        raise ValueError(f"{file} was written by a run with another {' and '.join(other)}; run all again")
    return outcomes


def when(outcomes: Sequence[Outcome]) -> str:
    """Return when which scripts were run, of which commit, as a line of text."""
    of: dict[str, list[str]] = {}
    for one in outcomes:
        of.setdefault(f"{one.date[:10]}, commit {one.commit or 'unknown'}", []).append(one.script)
    if len(of) < 2:
        return "".join(of)
    return "; ".join(f"{', '.join(scripts)}: {told}" for told, scripts in of.items())


def rows_of(outcomes: Iterable[Outcome]) -> Iterator[list[str]]:
    """Yield the rows of the table of ratios, those of scripts that failed too."""
    for one in outcomes:
        if one.error is not None:
            yield [one.script, "failed", "", "no", one.error]
        for ratio, row in zip(one.ratios, ratio_rows(one.ratios), strict=True):
            yield [*row, ratio.limit]


def ratio_text(outcomes: Iterable[Outcome]) -> str:
    """Return the table of ratios for a terminal, with what limits a ratio on a line below it."""
    rows = list(rows_of(outcomes))
    lines = aligned([row[:-1] for row in (HEAD, *rows)]).splitlines()
    return "\n".join([lines[0], *(f"{line}\n    {row[-1]}" for line, row in zip(lines[1:], rows, strict=True))])


def put_tables(page: Path, tables: dict[str, str]) -> list[str]:
    """Put texts between their markers in a page, `<!-- table NAME -->` and `<!-- end NAME -->`; leave all else.

    Args:
        page: a Markdown file.
        tables: Markdown by name.

    Returns:
        The names that the page has no place for.

    Raises:
        ValueError: if a table begins and does not end.
    """
    text, missing = page.read_text(encoding="utf-8"), []
    for name, table in tables.items():
        begin, end = f"<!-- table {name} -->", f"<!-- end {name} -->"
        if begin not in text:
            missing.append(name)
            continue
        if end not in text.partition(begin)[2]:
            raise ValueError(f"{page} has {begin} without {end} after it; write it below the table")
        whole = f"{begin}\n{table.rstrip()}\n{end}"
        text = re.sub(f"{re.escape(begin)}.*?{re.escape(end)}", lambda _, whole=whole: whole, text, flags=re.DOTALL)
    page.write_text(text, encoding="utf-8")
    return missing


def page_tables(outcomes: Sequence[Outcome], made: str) -> dict[str, str]:
    """Return the tables of a page as Markdown by name: that of the ratios as "ratios", and those of the scripts.

    Args:
        outcomes: of the scripts that were run.
        made: on which machine and when, as a line of text below the table of ratios.
    """
    head, _, *rows = markdown([HEAD, *rows_of(outcomes)]).splitlines()
    texts = {"ratios": "\n".join([head, "|---|---:|---:|---|---|", *rows, "", made])}
    for one in outcomes:
        texts |= {name: markdown(table) for name, table in one.tables.items()}
    return texts
