"""How verbs are added to the command's parser, and the groups of options that several of them share."""

import argparse
import textwrap
from typing import Any

from latentkit.console import Parser
from latentkit.options.words import MORE

__all__ = ["Verbs", "add_best", "add_held_out", "add_store"]


class Verbs:
    """The verbs of a command.

    Args:
        command: its parser.
    """

    def __init__(self, command: Parser) -> None:
        self._verbs: Any = command.add_subparsers(title="verbs", metavar="VERB", required=True)

    def bare(self, name: str, about: str) -> argparse.ArgumentParser:
        """Add a verb that begins with no checkpoint."""
        text = textwrap.fill(f"{about} {MORE[name][0]}", 80)
        sub = self._verbs.add_parser(
            name, help=about, description=text, epilog=f"example:\n  latentkit {MORE[name][1]}"
        )
        sub.set_defaults(verb=name)
        sub.add_argument("--threads", type=int, help="processor threads (default: one a core; fewer if busy)")
        sub.add_argument("--json", action="store_true", help="print the result as one JSON object")
        return sub

    def add(
        self, name: str, about: str, out: str | None = None, *, required: bool = True, measured: bool = False
    ) -> argparse.ArgumentParser:
        """Add a verb that begins with a checkpoint.

        Args:
            name: of the verb.
            about: what it does.
            out: what it writes, or None if it writes nothing.
            required: whether --out must be given.
            measured: whether the number of latents at a time is measured unless it is given.
        """
        sub = self.bare(name, about)
        sub.add_argument(
            "checkpoint", metavar="CHECKPOINT", help="the folder of a trained model, or a bundled one's name"
        )
        if out:
            sub.add_argument("--out", required=required, metavar="FILE" if "." in out else "DIR", help=out)
            sub.add_argument("--seed", type=int, default=0, help="which random latents, 0 to 2**64 - 1 (default 0)")
            sub.add_argument(
                "--class",
                dest="label",
                metavar="NAME",
                help="only this class of a conditional model, by name or number (default: all classes, equally often)",
            )
            usual = "64, of many what is fastest here" if measured else "64"
            sub.add_argument(
                "--batch-size", type=int, default=None if measured else 64, help=f"latents at a time (default {usual})"
            )
        return sub


def add_best(sub: argparse.ArgumentParser) -> None:
    """Let a verb choose the best latents."""
    sub.add_argument(
        "--best",
        type=float,
        metavar="FRACTION",
        help="only the best FRACTION of latents by the calibrated critic, such as 0.25",
    )
    sub.add_argument(
        "--balanced", action="store_true", help="the best of each island, by its share, rather than of all at once"
    )


def add_held_out(sub: argparse.ArgumentParser) -> None:
    """Let a verb's numbers be those of held-out samples."""
    sub.add_argument(
        "--held-out", action="store_true", help="the numbers are those of held-out samples, which are inverted"
    )


def add_store(sub: argparse.ArgumentParser) -> None:
    """Let a verb fill a store: here, or on a cluster."""
    group = sub.add_argument_group("options of a store")
    group.add_argument("--resume", action="store_true", help="go on with the store that the same command began")
    group.add_argument(
        "--engine", choices=("local", "ray"), default="local", help="who makes its blocks (default local)"
    )
    group.add_argument(
        "--address",
        metavar="HOST:PORT",
        help="of a Ray cluster to join: auto, HOST:PORT, or ray://HOST:PORT (default: one of this machine)",
    )
    group.add_argument("--workers", type=int, help="so many side by side (default: one a processor, or GPU)")
    group.add_argument("--gpus", type=float, default=0.0, help="that each worker needs, such as 1 (default 0)")
