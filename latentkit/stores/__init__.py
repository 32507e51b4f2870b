"""Stores: tables of arrays on disk, written block by block by any number of processes, and read a few rows at a time.

A store is a folder. Its rows are split into blocks of equal size; a block counts as done only when a small marker with
its SHA-256 is in place, which is written last. So a kill at any moment loses no more than the blocks that were in
work, workers on several machines that share the folder need no lock, and whoever calls again goes on with what is
missing. Only when all blocks are there does the manifest say that the store is complete.
"""

from latentkit.stores.columns import Column, Table
from latentkit.stores.layout import MANIFEST
from latentkit.stores.opening import begun, create_store, kind_asked, kind_of, open_store
from latentkit.stores.room import check_room
from latentkit.stores.rows import Rows
from latentkit.stores.store import Store

__all__ = [
    "MANIFEST",
    "Column",
    "Rows",
    "Store",
    "Table",
    "begun",
    "check_room",
    "create_store",
    "kind_asked",
    "kind_of",
    "open_store",
]
