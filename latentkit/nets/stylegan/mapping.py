"""The mapping network: latents z, and classes, to intermediate latents w."""

import torch
from torch import Tensor, nn

from latentkit.nets.layers import PixelNorm
from latentkit.nets.stylegan.layers import Dense

__all__ = ["Mapping"]


class Mapping(nn.Module):
    """Maps latents (N, z_dim), scaled to unit mean square, and classes to intermediate latents w (N, w_dim).

    The layers are called `fc0`, `fc1`, ...; `embed` embeds the classes, and `w_avg` is the mean of w in training.

    Args:
        z_dim: size of a latent; 0 for a network that maps classes alone.
        w_dim: size of what comes out, and of all layers.
        depth: number of layers.
        classes: number of classes, or 0.
        lr_multiplier: relative speed of learning, as in `Dense`.
        average: whether it keeps `w_avg`.

    References:
        Karras, Laine, Aila (2019), "A style-based generator architecture for generative adversarial networks", section
            2.
        Karras, Aittala, Hellsten, Laine, Lehtinen, Aila (2020), "Training generative adversarial networks with limited
            data": classes are embedded, normalised, and given beside the latent.
    """

    w_avg: Tensor

    def __init__(
        self,
        z_dim: int,
        w_dim: int,
        depth: int,
        *,
        classes: int = 0,
        lr_multiplier: float = 0.01,
        average: bool = True,
    ) -> None:
        super().__init__()
        self.depth = depth
        self.normalise = PixelNorm()
        if classes:
            self.embed = Dense(classes, w_dim)
        sizes = [z_dim + (w_dim if classes else 0)] + [w_dim] * depth
        for i in range(depth):
            self.add_module(f"fc{i}", Dense(sizes[i], sizes[i + 1], leaky=True, lr_multiplier=lr_multiplier))
        if average:
            self.register_buffer("w_avg", torch.zeros(w_dim))

    def forward(self, z: Tensor | None, columns: Tensor | None = None) -> Tensor:
        """Return w (N, w_dim) for latents (N, z_dim) and class columns (N, classes), either of them None if unused."""
        parts = [] if z is None else [self.normalise(z)]
        if columns is not None:
            parts.append(self.normalise(self.embed(columns)))
        w = torch.cat(parts, 1)
        for i in range(self.depth):
            w = self.get_submodule(f"fc{i}")(w)
        return w
