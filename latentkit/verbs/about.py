"""The verb that says what a checkpoint holds."""

import argparse
from typing import Any

from latentkit.bundled import found
from latentkit.checkpoint import Checkpoint
from latentkit.drawn import loaded
from latentkit.errors import CheckpointError

__all__ = ["info"]


def info(arguments: argparse.Namespace) -> dict[str, Any]:
    """Say what a checkpoint holds."""
    checkpoint = loaded(arguments.checkpoint)
    history = {key: values[-1] for key, values in checkpoint.history.items() if values}
    return {
        "checkpoint": str(arguments.checkpoint),
        "folder": str(found(arguments.checkpoint).absolute()),
        "fingerprint": _fingerprint(checkpoint),
        "trainer": checkpoint.trainer,
        "data": checkpoint.data,
        "prior": repr(checkpoint.generator.prior),
        "conditional": checkpoint.conditional,
        "sample_shape": list(checkpoint.holdout.shape[1:]),
        "held_out": len(checkpoint.holdout),
        "classes": list(checkpoint.classes),
        "critic": checkpoint.critic is not None,
        "encoder": checkpoint.encoder is not None,
        "settings": checkpoint.settings,
        "last_step": history,
    }


def _fingerprint(checkpoint: Checkpoint) -> str:
    """Return what tells the weights from others; another's network has none."""
    try:
        return checkpoint.fingerprint
    except CheckpointError:
        return "none: another's network"
