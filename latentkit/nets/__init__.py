"""The bundled networks: plain modules in a closed table, each with its arguments in `settings`.

A checkpoint names its networks by the table's names, so that loading one can build nothing else.
"""

from typing import Any

from torch import nn

from latentkit.errors import ArgumentError
from latentkit.nets.dcgan import ConvCritic, ConvGenerator
from latentkit.nets.mlp import MLPCritic, MLPGenerator

__all__ = ["NETWORKS", "ConvCritic", "ConvGenerator", "MLPCritic", "MLPGenerator", "build"]

NETWORKS: dict[str, type[nn.Module]] = {
    "mlp-generator": MLPGenerator,
    "mlp-critic": MLPCritic,
    "conv-generator": ConvGenerator,
    "conv-critic": ConvCritic,
}


def build(name: str, settings: dict[str, Any]) -> nn.Module:
    """Return the network `name` with its constructor's arguments from `settings`, newly initialised.

    Initialisation draws from torch's global random state, unless built under `torch.device("meta")`.

    Raises:
        ArgumentError: if the name is not in `NETWORKS`, or an argument is missing, unknown or out of
            range.

    Examples:
        >>> build("mlp-critic", {"in_dim": 2, "width": 8, "depth": 2}).settings
        {'in_dim': 2, 'width': 8, 'depth': 2}
    """
    if name not in NETWORKS:
        raise ArgumentError(f"network must be one of {', '.join(NETWORKS)}; got {name!r}")
    try:
        return NETWORKS[name](**settings)
    except TypeError as error:
        raise ArgumentError(f"the settings {settings!r} do not fit the network {name}: {error}") from None
