"""Tables of texts, aligned for a terminal or as Markdown."""

from collections.abc import Sequence

__all__ = ["aligned", "markdown"]

Rows = Sequence[Sequence[str]]


def aligned(rows: Rows) -> str:
    """Return rows of texts as lines with even columns: the first column begins at the left, others end at the right.

    Examples:
        >>> print(aligned([["curve", "length"], ["lerp", "3.1"]]))
        curve  length
        lerp      3.1
    """
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = []
    for first, *others in rows:
        cells = [text.rjust(width) for text, width in zip(others, widths[1:], strict=True)]
        lines.append("  ".join([first.ljust(widths[0]), *cells]).rstrip())
    return "\n".join(lines)


def markdown(rows: Rows) -> str:
    """Return rows of texts as a Markdown table whose head is the first row; numbers stand on the right."""
    head, *others = rows
    rule = ["---", *["---:"] * (len(head) - 1)]
    escaped = [[text.replace("|", "\\|") for text in row] for row in (head, *others)]
    return "\n".join("| " + " | ".join(row) + " |" for row in (escaped[0], rule, *escaped[1:]))
