"""The options of the command `latentkit`: what each verb takes, and its help; nothing here needs torch or a model."""

from latentkit.options.choices import CURVES, EASES, ENCODERS, KINDS, LOSSES, METHODS, SEARCHES
from latentkit.options.command import parser
from latentkit.options.words import MORE

__all__ = ["CURVES", "EASES", "ENCODERS", "KINDS", "LOSSES", "METHODS", "MORE", "SEARCHES", "parser"]
