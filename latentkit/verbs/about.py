"""The verb that says what a checkpoint holds."""

import argparse
from typing import Any

from latentkit.bundled import found
from latentkit.checkpoint import load

__all__ = ["info"]


def info(arguments: argparse.Namespace) -> dict[str, Any]:
    """Say what a checkpoint holds."""
    checkpoint = load(arguments.checkpoint)
    history = {key: values[-1] for key, values in checkpoint.history.items() if values}
    return {
        "checkpoint": str(arguments.checkpoint),
        "folder": str(found(arguments.checkpoint).absolute()),
        "fingerprint": checkpoint.fingerprint,
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
