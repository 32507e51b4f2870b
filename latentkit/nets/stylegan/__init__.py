"""StyleGAN2 and StyleGAN3 in plain PyTorch, with the published names of layers, so that weights map one to one."""

from latentkit.nets.stylegan.aliasfree import bands
from latentkit.nets.stylegan.critic import StyleGAN2Critic
from latentkit.nets.stylegan.generator import StyleGAN2Generator, StyleGAN3Generator, StyleGenerator
from latentkit.nets.stylegan.resampling import binomial_kernel

__all__ = ["StyleGAN2Critic", "StyleGAN2Generator", "StyleGAN3Generator", "StyleGenerator", "bands", "binomial_kernel"]
