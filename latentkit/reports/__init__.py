"""The report: everything about one generator on one page that opens from disk."""

from latentkit.reports.build import report

__all__ = ["report"]
