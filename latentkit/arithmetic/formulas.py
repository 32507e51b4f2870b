"""Formulas over named latents."""

import ast
import math
import re
import warnings
from collections.abc import Mapping

from torch import Tensor

from latentkit.arithmetic.sums import Sum, weigh
from latentkit.errors import ArgumentError
from latentkit.priors import Prior

__all__ = ["calculate"]

#: Characters that a formula may have: far more than anybody reads, far less than exhausts a parser.
LONGEST = 1000

#: A weight of less than this share of what went into it has cancelled out.
ROUNDING = 1e-12

_OPERATORS = {ast.Add: "+", ast.Sub: "-", ast.Mult: "*", ast.Div: "/"}


def calculate(formula: str, latents: Mapping[str, Tensor], prior: Prior | None = None) -> Sum:
    """Return what a formula over named latents gives, mapped back onto the prior.

    A formula has names, numbers, `+`, `-`, parentheses, products with numbers and divisions by them, and
    `mean(a, b, ...)`; it must come out as a weighted sum of latents. A name stands for a latent or for a group, which
    is averaged as in `weigh`. Nothing in a formula is ever run as code.

    Args:
        formula: such as "smiling_woman - neutral_woman + neutral_man" or "0.5 * (a + b) - c", at most 1,000
            characters.
        latents: for each name a latent (D,) or a group (n, D); names are those of Python, but keywords.
        prior: the generator's prior; by default the standard normal one of that dimension.

    Raises:
        ArgumentError: if the formula cannot be read, has a name that is not among the latents, is no weighted sum of
            latents, or all its weights cancel out.
        ShapeError: if a latent is not (D,) or (n, D) with the prior's D.
        NonFiniteError: if a latent holds NaN or infinity.

    Examples:
        >>> import latentkit as lk
        >>> from latentkit.arithmetic import calculate
        >>> a, b, c = lk.Normal(64).sample(3, seed=0)
        >>> calculate("a - b + c", {"a": a, "b": b, "c": c}).latent.equal(lk.analogy(a, b, c))
        True
    """
    reader = _Reader(formula, latents)
    value = reader.read()
    if not isinstance(value, dict):
        raise ArgumentError(
            f"the formula {reader.shown!r} is the number {value:g}, not a latent; use one of {reader.known}"
        )
    weights = {name: weight for name, (weight, size) in value.items() if abs(weight) > ROUNDING * size}
    if not weights:
        raise ArgumentError(f"in the formula {reader.shown!r} all latents cancel out, so nothing is left")
    return weigh([latents[name] for name in weights], list(weights.values()), prior)


#: A number, or for each name its weight and the sum of the sizes of what was added up to it.
_Value = float | dict[str, tuple[float, float]]


class _Reader:
    """Reads one formula as a number or as weights of names."""

    def __init__(self, formula: str, latents: Mapping[str, Tensor]) -> None:
        if not isinstance(formula, str):
            raise ArgumentError(f"a formula must be text, such as 'a - b + c', got {type(formula).__name__}")
        if not formula.strip():
            raise ArgumentError("a formula must not be empty; write for example 'a - b + c'")
        if len(formula) > LONGEST:
            raise ArgumentError(f"a formula must have at most {LONGEST:,} characters, got {len(formula):,}")
        self.names = latents
        self.shown = formula if len(formula) <= 80 else formula[:77] + "..."
        self.known = ", ".join(sorted(map(str, latents))[:20]) + (", ..." if len(latents) > 20 else "")
        # Leading spaces would be an indentation, and lines would each count their own characters.
        self.text = re.sub(r"\s", " ", formula.strip())
        self.shift = len(formula) - len(formula.lstrip())

    def read(self) -> _Value:
        try:
            with warnings.catch_warnings():
                # Such as "2if": Python warns of it, and here it is refused anyway.
                warnings.simplefilter("ignore")
                tree = ast.parse(self.text, mode="eval")
        except SyntaxError as error:
            # Python gives 0 for what ends too soon.
            raise self._fault(error.msg.split(".")[0], (error.offset or len(self.text) + 1) - 1) from None
        except (ValueError, RecursionError, MemoryError):
            raise ArgumentError("the formula cannot be read: it is nested too deeply or has unreadable signs") from None
        try:
            return self._value(tree.body)
        except RecursionError:
            raise ArgumentError("the formula is nested too deeply; write it with fewer parentheses") from None

    def _value(self, node: ast.expr) -> _Value:
        if isinstance(node, ast.Name):
            if node.id not in self.names:
                raise self._fault(f"unknown name {node.id!r}, known are {self.known or 'none'}", node)
            return {node.id: (1.0, 1.0)}
        if isinstance(node, ast.Constant):
            if isinstance(node.value, bool) or not isinstance(node.value, int | float):
                raise self._fault(f"{node.value!r} is no number", node)
            return self._finite(node.value, node)
        if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.UAdd | ast.USub):
            return self._scaled(self._value(node.operand), -1.0 if isinstance(node.op, ast.USub) else 1.0, node)
        if isinstance(node, ast.BinOp) and type(node.op) in _OPERATORS:
            return self._operation(_OPERATORS[type(node.op)], self._value(node.left), self._value(node.right), node)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "mean":
            return self._mean(node)
        raise self._fault("only names, numbers, + - * /, parentheses and mean(a, b, ...) are understood", node)

    def _operation(self, sign: str, left: _Value, right: _Value, node: ast.expr) -> _Value:
        if sign in "+-":
            return self._sum(left, self._scaled(right, 1.0 if sign == "+" else -1.0, node), node)
        if sign == "/":
            if isinstance(right, dict):
                raise self._fault("a latent can be divided by a number, not by a latent", node)
            if right == 0.0:
                raise self._fault("division by zero", node)
            # A quotient, not a product with the rounded inverse.
            if not isinstance(left, dict):
                return self._finite(left / right, node)
            return {name: (self._finite(w / right, node), size / abs(right)) for name, (w, size) in left.items()}
        if not isinstance(right, dict):
            return self._scaled(left, right, node)
        if not isinstance(left, dict):
            return self._scaled(right, left, node)
        raise self._fault("a product of two latents is no latent; multiply by a number", node)

    def _sum(self, left: _Value, right: _Value, node: ast.expr) -> _Value:
        if not isinstance(left, dict) and not isinstance(right, dict):
            return self._finite(left + right, node)
        if not isinstance(left, dict) or not isinstance(right, dict):
            raise self._fault("a number cannot be added to a latent", node)
        total = dict(left)
        for name, (weight, size) in right.items():
            before = total.get(name, (0.0, 0.0))
            total[name] = self._finite(before[0] + weight, node), before[1] + size
        return total

    def _scaled(self, value: _Value, factor: float, node: ast.expr) -> _Value:
        if not isinstance(value, dict):
            return self._finite(value * factor, node)
        return {name: (self._finite(w * factor, node), size * abs(factor)) for name, (w, size) in value.items()}

    def _mean(self, node: ast.Call) -> _Value:
        if not node.args or node.keywords:
            raise self._fault("mean takes one or more terms, mean(a, b, ...)", node)
        total = self._value(node.args[0])
        for argument in node.args[1:]:
            total = self._sum(total, self._value(argument), argument)
        return self._operation("/", total, float(len(node.args)), node)

    def _finite(self, number: float, node: ast.expr) -> float:
        try:
            value = float(number)
        except OverflowError:
            value = math.inf
        if not math.isfinite(value):
            raise self._fault("a number is too large", node)
        return value

    def _fault(self, what: str, where: ast.expr | int) -> ArgumentError:
        column = where if isinstance(where, int) else len(self.text.encode()[: where.col_offset].decode())
        return ArgumentError(f"the formula {self.shown!r} at character {column + self.shift + 1}: {what}")
