"""The bundled networks: plain modules in a closed table, each with its arguments in `settings`.

A checkpoint names its networks by the table's names, so that loading one can build nothing else.
"""

from typing import Any

from torch import nn

from latentkit.errors import ArgumentError
from latentkit.nets.classifier import ConvClassifier, MLPClassifier
from latentkit.nets.conv import ConvCritic, ConvGenerator
from latentkit.nets.dcgan import DCGANCritic, DCGANGenerator
from latentkit.nets.encoders import ConvEncoder, MLPEncoder
from latentkit.nets.fourier import FourierCritic
from latentkit.nets.mlp import MLPCritic, MLPGenerator
from latentkit.nets.progressive import ProgressiveCritic, ProgressiveGenerator
from latentkit.nets.residual import ResidualGenerator
from latentkit.nets.stylegan import StyleGAN2Critic, StyleGAN2Generator, StyleGAN3Generator

__all__ = [
    "NETWORKS",
    "ConvClassifier",
    "ConvCritic",
    "ConvEncoder",
    "ConvGenerator",
    "DCGANCritic",
    "DCGANGenerator",
    "FourierCritic",
    "MLPClassifier",
    "MLPCritic",
    "MLPEncoder",
    "MLPGenerator",
    "ProgressiveCritic",
    "ProgressiveGenerator",
    "ResidualGenerator",
    "StyleGAN2Critic",
    "StyleGAN2Generator",
    "StyleGAN3Generator",
    "build",
]

NETWORKS: dict[str, type[nn.Module]] = {
    "mlp-generator": MLPGenerator,
    "mlp-critic": MLPCritic,
    "mlp-classifier": MLPClassifier,
    "mlp-encoder": MLPEncoder,
    "conv-generator": ConvGenerator,
    "conv-critic": ConvCritic,
    "conv-classifier": ConvClassifier,
    "conv-encoder": ConvEncoder,
    "dcgan-generator": DCGANGenerator,
    "dcgan-critic": DCGANCritic,
    "progressive-generator": ProgressiveGenerator,
    "progressive-critic": ProgressiveCritic,
    "residual-generator": ResidualGenerator,
    "fourier-critic": FourierCritic,
    "stylegan2-generator": StyleGAN2Generator,
    "stylegan2-critic": StyleGAN2Critic,
    "stylegan3-generator": StyleGAN3Generator,
}


def build(name: str, settings: dict[str, Any]) -> nn.Module:
    """Return the network `name` with its constructor's arguments from `settings`, newly initialised.

    Initialisation draws from torch's global random state, unless built under `torch.device("meta")`.

    Raises:
        ArgumentError: if the name is not in `NETWORKS`, or an argument is missing, unknown or out of
            range.

    Examples:
        >>> build("mlp-encoder", {"latent_dim": 3, "in_dim": 2, "width": 8, "depth": 2}).settings
        {'latent_dim': 3, 'in_dim': 2, 'width': 8, 'depth': 2}
    """
    if name not in NETWORKS:
        raise ArgumentError(f"network must be one of {', '.join(NETWORKS)}; got {name!r}")
    try:
        return NETWORKS[name](**settings)
    except TypeError as error:
        raise ArgumentError(f"the settings {settings!r} do not fit the network {name}: {error}") from None
