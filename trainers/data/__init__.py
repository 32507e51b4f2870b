"""Data to train on: `DATA` names the sets that need nothing but this machine."""

from collections.abc import Callable

from trainers.data.dataset import Data
from trainers.data.digits import digits
from trainers.data.fashion import fashion_mnist
from trainers.data.folder import image_folder
from trainers.data.points import gaussian_curve, grid25, moons, parabola, ring, swiss_roll

__all__ = [
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
]

DATA: dict[str, Callable[[], Data]] = {
    "digits": digits,
    "fashion-mnist": fashion_mnist,
    "gaussian-curve": gaussian_curve,
    "grid25": grid25,
    "moons": moons,
    "parabola": parabola,
    "ring": ring,
    "swiss-roll": swiss_roll,
}
