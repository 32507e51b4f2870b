"""Data to train on: `DATA` names the sets that need nothing but this machine, `from_path` reads what is at a path."""

from trainers.data.dataset import Data
from trainers.data.digits import digits
from trainers.data.fashion import fashion_mnist
from trainers.data.folder import image_folder
from trainers.data.hub import hugging_face
from trainers.data.idx import idx_file
from trainers.data.names import DATA, named
from trainers.data.npy import array_file
from trainers.data.points import gaussian_curve, grid25, imbalanced_ring, moons, parabola, ring, swiss_roll
from trainers.data.sources import from_path

__all__ = [
    "DATA",
    "Data",
    "array_file",
    "digits",
    "fashion_mnist",
    "from_path",
    "gaussian_curve",
    "grid25",
    "hugging_face",
    "idx_file",
    "image_folder",
    "imbalanced_ring",
    "moons",
    "named",
    "parabola",
    "ring",
    "swiss_roll",
]
