"""What a command can measure on samples by name: the bundled attributes, and how much a sample is of a class."""

from collections.abc import Callable, Sequence

from torch import Tensor

from latentkit.attributes import attributes_of, class_scores
from latentkit.checkpoint import Checkpoint
from latentkit.errors import ArgumentError

__all__ = ["known_attributes"]


def known_attributes(
    checkpoint: Checkpoint, wanted: str | None, others: Sequence[str]
) -> dict[str, Callable[[Tensor], Tensor]]:
    """Return the attributes that are named, by name; classes are those of the labelled held-out samples.

    Raises:
        ArgumentError: if one is not known, or an attribute is to leave itself alone.
    """
    asked = [name for name in (wanted, *others) if name is not None]
    if not asked:
        return {}
    known = attributes_of(checkpoint.holdout)
    classes = checkpoint.classes if checkpoint.holdout_labels is not None and len(checkpoint.classes) > 1 else ()
    for name in asked:
        if name not in known and name not in classes:
            also = f"; or one of the classes {', '.join(classes)}" if classes else ""
            option = "--attribute" if name == wanted else "--against"
            raise ArgumentError(f"{option} must be one of {', '.join(known)}{also}; got {name!r}")
    if len(set(asked)) != len(asked):
        raise ArgumentError("--against names what --attribute leaves alone, so each must be another")
    found = {name: known[name] for name in asked if name in known}
    if len(found) < len(asked) and checkpoint.holdout_labels is not None:
        scores = class_scores(checkpoint.holdout, checkpoint.holdout_labels, checkpoint.classes).attributes()
        found |= {name: scores[name] for name in asked if name not in known}
    return found
