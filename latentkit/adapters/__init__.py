"""Other people's generators, one family a module."""

from latentkit.adapters.restricted import Record, read_pickle
from latentkit.adapters.stylegan import StyleGAN, load_stylegan
from latentkit.adapters.weights import read_weights

__all__ = ["Record", "StyleGAN", "load_stylegan", "read_pickle", "read_weights"]
