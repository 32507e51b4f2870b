"""trainers: data to train on and the trainers that make a checkpoint to explore.

Every public name is at the top level and is imported when first used.
"""

from typing import TYPE_CHECKING

from latentkit.exports import lazy

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
    "movie": ("Movie",),
}
__all__ = sorted(name for names in _HOMES.values() for name in names)

__getattr__, __dir__ = lazy(__name__, _HOMES)

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
    from trainers.movie import Movie as Movie
