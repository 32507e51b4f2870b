"""The errors that a user of latentkit can cause, and the warnings.

Each error is also the builtin that a caller would expect to catch, and its text says what was
wanted, what came, and what to do.
"""

__all__ = [
    "ArgumentError",
    "CheckpointError",
    "CostError",
    "CriticError",
    "CurveError",
    "DataError",
    "DivergenceError",
    "EngineError",
    "LabelError",
    "LatentkitError",
    "MissingDependencyError",
    "NonFiniteError",
    "OffPriorWarning",
    "OutputError",
    "ShapeError",
]


class LatentkitError(Exception):
    """Base of every error that latentkit raises on purpose."""


class ArgumentError(LatentkitError, ValueError):
    """An argument has the right type but a value outside its stated range."""


class ShapeError(LatentkitError, ValueError):
    """A tensor does not have the shape or the dtype that was asked for."""


class NonFiniteError(LatentkitError, ValueError):
    """A tensor holds NaN or infinite values; the text names the rows."""


class CurveError(LatentkitError, ValueError):
    """The ends or keyframes do not determine a curve."""


class LabelError(LatentkitError, ValueError):
    """Labels are missing, of the wrong length, or leave a class empty."""


class DataError(LatentkitError, ValueError):
    """Training data cannot be found, read or used."""


class CheckpointError(LatentkitError, ValueError):
    """A checkpoint, a saved map or a film's record is damaged, newer than this library, or no such file."""


class CriticError(LatentkitError, ValueError):
    """A critic carries no signal, so what was asked of it would be noise."""


class CostError(LatentkitError, RuntimeError):
    """A sampler would cost more than its limit; the text says why and what would help."""


class DivergenceError(LatentkitError, ArithmeticError):
    """Training produced a loss or a gradient that is not finite."""


class EngineError(LatentkitError, RuntimeError):
    """The workers that were to share a long job cannot be had, or some of it keeps ending them."""


class OutputError(LatentkitError, OSError):
    """An output cannot be written; what was there before is untouched."""


class MissingDependencyError(LatentkitError, ImportError):
    """An optional library is needed; the text gives the command that installs it."""


class OffPriorWarning(UserWarning):
    """Latents that were combined have left the prior all the same; the text names the way back."""
