"""Conditional generators as generators of one signature: narrowed to a class, over all classes, or between them."""

from latentkit.conditional.blend import Blend, blend
from latentkit.conditional.marginal import Marginal, marginal
from latentkit.conditional.narrowed import Conditioned, ConditionedCritic, condition

__all__ = ["Blend", "Conditioned", "ConditionedCritic", "Marginal", "blend", "condition", "marginal"]
