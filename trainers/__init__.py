"""trainers: data to train on and the trainers that make a checkpoint to explore.

Every public name is at the top level and is imported when first used.
"""

from typing import TYPE_CHECKING

from latentkit.exports import lazy

_HOMES = {
    "data": (
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
        "parabola",
        "ring",
        "swiss_roll",
    ),
    "config": ("GANConfig",),
    "gan": ("train_gan",),
    "run": ("TrainingState",),
    "progressive": ("ProgressiveConfig", "train_progressive"),
    "semi": ("SemiConfig", "train_semi_supervised"),
    "glo": ("GLOConfig", "train_glo"),
    "vae": ("VAEConfig", "train_vae"),
    "sweep": ("Study", "StudyConfig", "latent_size_study"),
    "movie": ("Movie",),
}
__all__ = sorted(name for names in _HOMES.values() for name in names)

__getattr__, __dir__ = lazy(__name__, _HOMES)

if TYPE_CHECKING:
    from trainers.config import GANConfig as GANConfig
    from trainers.data import DATA as DATA
    from trainers.data import Data as Data
    from trainers.data import array_file as array_file
    from trainers.data import digits as digits
    from trainers.data import fashion_mnist as fashion_mnist
    from trainers.data import from_path as from_path
    from trainers.data import gaussian_curve as gaussian_curve
    from trainers.data import grid25 as grid25
    from trainers.data import hugging_face as hugging_face
    from trainers.data import idx_file as idx_file
    from trainers.data import image_folder as image_folder
    from trainers.data import imbalanced_ring as imbalanced_ring
    from trainers.data import moons as moons
    from trainers.data import parabola as parabola
    from trainers.data import ring as ring
    from trainers.data import swiss_roll as swiss_roll
    from trainers.gan import train_gan as train_gan
    from trainers.glo import GLOConfig as GLOConfig
    from trainers.glo import train_glo as train_glo
    from trainers.movie import Movie as Movie
    from trainers.progressive import ProgressiveConfig as ProgressiveConfig
    from trainers.progressive import train_progressive as train_progressive
    from trainers.run import TrainingState as TrainingState
    from trainers.semi import SemiConfig as SemiConfig
    from trainers.semi import train_semi_supervised as train_semi_supervised
    from trainers.sweep import Study as Study
    from trainers.sweep import StudyConfig as StudyConfig
    from trainers.sweep import latent_size_study as latent_size_study
    from trainers.vae import VAEConfig as VAEConfig
    from trainers.vae import train_vae as train_vae
