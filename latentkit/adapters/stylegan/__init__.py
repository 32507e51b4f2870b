"""StyleGAN2, ADA and StyleGAN3 of others: read from their files, and seen as generators of z, w and w+."""

from latentkit.adapters.stylegan.load import load_stylegan
from latentkit.adapters.stylegan.model import StyleGAN
from latentkit.adapters.stylegan.views import WPlusView, WView, ZView

__all__ = ["StyleGAN", "WPlusView", "WView", "ZView", "load_stylegan"]
