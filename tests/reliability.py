"""What is promised under fire, and the table of how often each promise was tried.

A test names its promise by `@pytest.mark.promise("kill")`, once for a test or a whole module by `pytestmark`. Each
test counts as one case, unless it says `tally(n)`. `pytest ... --reliability=docs/reliability.md` writes what the run
counted into that page's table; rows of promises that the run did not try stay as they are.
"""

import re
from collections import Counter
from pathlib import Path

#: Name: what is promised, how it is tried, and how many cases are wanted.
PROMISES = {
    "kill": (
        "a kill loses at most one save interval",
        "SIGKILL of a trainer at random moments, a third of them while it saves; resumed to the end, weights, "
        "averages, optimisers and log are bit-equal to an unbroken run",
        300,
    ),
    "whole": (
        "no half-written file under a final name",
        "SIGKILL while GIF, PNG, HTML, NPZ, checkpoints are written",
        100,
    ),
    "leave": (
        "Ctrl-C and SIGTERM leave cleanly",
        "exit code 130 or 143, state saved or the previous kept, no child alive after 5 s, no traceback",
        60,
    ),
    "full": (
        "a full disk costs nothing that was there",
        "a small tmpfs, five writers, fresh and over an existing file: the old one intact, nothing partial, one line "
        "with path and space",
        80,
    ),
    "damage": (
        "damage is noticed",
        "bit flips, cuts, zeroed blocks, attacks on headers of checkpoints: always `CheckpointError`, never a hang",
        3_700,
    ),
    "hostile": (
        "a hostile file runs nothing",
        "pickles in every wrapping that a file can have, TorchScript, renamed and redirected files; a canary tells",
        60,
    ),
    "names": (
        "names stay inside",
        "traversal, absolute, drive and UNC names wherever a name can come from",
        78,
    ),
    "text": ("text stays text", "hostile strings in every field of a report, parsed", 400),
    "browser": (
        "text stays text in a browser",
        "the same in headless Chromium: no script runs, nothing is asked for",
        20,
    ),
    "latents": (
        "bad latents are refused in words",
        "every public function against NaN, infinities, no rows, other shapes, integers, half precision, read-only and "
        "non-contiguous memory, requires_grad",
        240,
    ),
    "laws": (
        "laws hold on random input",
        "hypothesis: ends of curves, symmetry, batch = stack, dtypes, frame counts, seams, truncation bounds, seeds in "
        "chunks, durations, labels, settings",
        10_000,
    ),
    "umap": ("UMAP never breaks", "0 to 50 rows, degenerate ones, 2 to 100 neighbours", 216),
    "analysers": (
        "analysers behave like estimators",
        "fit twice, order of rows, subsets, read-only input, errors before a fit, save and load",
        40,
    ),
    "same": (
        "the same everywhere",
        "batch sizes, workers, threads, processes: latents bit-equal, pictures equal to the last of 8 bits",
        32,
    ),
    "pictures": (
        "any picture is decided",
        "modes, 16 bits, EXIF 1 to 8, cut, renamed, bombs, 1x1, CMYK, animated: read rightly or refused by name",
        60,
    ),
    "gif": ("GIFs say what was asked", "random sequences read back: play time within 10 ms, order, loop", 200),
    "command": (
        "the command line never shows a traceback for a user's mistake",
        "random valid and broken calls: exit codes 0, 1, 2, 130 alone; a failed precondition answers in under 2 s",
        1_000,
    ),
    "locked": (
        "a locked-down machine works",
        "an unprivileged user, no home, read-only packages, no display, LC_ALL=C: every command",
        13,
    ),
    "cases": (
        "what has bitten others does not bite",
        "each known case of tools of this kind, with its right value",
        26,
    ),
}

BEGIN, END = "<!-- measured -->", "<!-- end -->"
HEAD = "| promise | tried by | wanted | cases | failures |\n|---|---|---|---|---|\n"

_ROW = re.compile(r"^\| (?P<promise>[^|]+) \|.*\| (?P<cases>[\d,]+) \| (?P<failures>[\d,]+) \|$", re.MULTILINE)


class Tallies:
    """Counts cases and failures by promise, from the reports of tests, wherever those ran."""

    def __init__(self) -> None:
        self.cases: Counter[str] = Counter()
        self.failures: Counter[str] = Counter()

    def add(self, report) -> None:
        """Take one phase of a test."""
        properties = dict(report.user_properties)
        name = properties.get("promise")
        if name is None:
            return
        if report.failed:
            self.failures[name] += 1
        if report.when == "call" and not report.skipped:
            self.cases[name] += properties.get("cases", 1)

    def write(self, page: Path) -> None:
        """Put the counts into the page's table, and leave the rows of other promises."""
        text = page.read_text("utf-8")
        before, _, rest = text.partition(BEGIN)
        old, found, after = rest.partition(END)
        assert found, f"{page} has no table between {BEGIN} and {END}"
        known = {row["promise"]: (row["cases"], row["failures"]) for row in _ROW.finditer(old)}
        rows = []
        for name, (promise, how, wanted) in PROMISES.items():
            cases, failures = known.get(promise, ("0", "0"))
            if name in self.cases or name in self.failures:
                cases, failures = f"{self.cases[name]:,}", f"{self.failures[name]:,}"
            rows.append(f"| {promise} | {how} | {wanted:,} | {cases} | {failures} |\n")
        page.write_text(f"{before}{BEGIN}\n{HEAD}{''.join(rows)}{END}{after}", "utf-8")
