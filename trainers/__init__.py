"""trainers: data to train on and the trainers that make a checkpoint to explore.

Every public name is at the top level and is imported when first used.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

_HOMES = {
    "data": (
        "DATA",
        "Data",
        "digits",
        "fashion_mnist",
        "gaussian_curve",
        "grid25",
        "image_folder",
        "moons",
        "parabola",
        "ring",
        "swiss_roll",
    ),
    "config": ("GANConfig",),
    "gan": ("GANState", "train_gan"),
}
_MODULES = {name: f"trainers.{home}" for home, names in _HOMES.items() for name in names}

__all__ = sorted(_MODULES)


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module 'trainers' has no attribute {name!r}")
    value = getattr(import_module(_MODULES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


if TYPE_CHECKING:
    from trainers.config import GANConfig as GANConfig
    from trainers.data import DATA as DATA
    from trainers.data import Data as Data
    from trainers.data import digits as digits
    from trainers.data import fashion_mnist as fashion_mnist
    from trainers.data import gaussian_curve as gaussian_curve
    from trainers.data import grid25 as grid25
    from trainers.data import image_folder as image_folder
    from trainers.data import moons as moons
    from trainers.data import parabola as parabola
    from trainers.data import ring as ring
    from trainers.data import swiss_roll as swiss_roll
    from trainers.gan import GANState as GANState
    from trainers.gan import train_gan as train_gan
