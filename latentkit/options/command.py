"""The parser of the command `latentkit`."""

from latentkit import __version__
from latentkit.console import Parser
from latentkit.options.adding import Verbs
from latentkit.options.latents import add_edit, add_interpolate, add_invert, add_sample
from latentkit.options.maps import add_project, add_quality, add_route, add_tide
from latentkit.options.pages import add_animate, add_import, add_replay, add_report
from latentkit.options.words import EPILOG

__all__ = ["parser"]


def parser() -> Parser:
    """Return the parser of the command line; it needs neither torch nor a model."""
    command = Parser(
        prog="latentkit",
        description="Explore the latent space of a generative model: what is in it, and where is it good?",
        epilog=EPILOG,
    )
    command.add_argument("--version", action="version", version=f"latentkit {__version__}")
    verbs = Verbs(command)
    verbs.add("info", "Say what a checkpoint holds and how it was trained.")
    for add in (
        add_sample,
        add_interpolate,
        add_edit,
        add_invert,
        add_quality,
        add_tide,
        add_route,
        add_project,
        add_animate,
        add_replay,
        add_import,
        add_report,
    ):
        add(verbs)
    return command
