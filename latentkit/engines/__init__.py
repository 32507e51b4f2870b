"""Engines: how the blocks of a store are filled, in this process or by workers of a Ray cluster.

Row i of a store is a function of the work and of i alone, so that its blocks can be made anywhere and in any order.
"""

from latentkit.engines.blocks import ENGINES, Work, check_engine, run_blocks

__all__ = ["ENGINES", "Work", "check_engine", "run_blocks"]
