"""A module of your own: looked at first, then used with what its output means, from a file of weights."""

import torch
from torch import nn

import latentkit as lk
from latentkit.adapters.torch_modules import load_module
from latentkit.nets.fitting import initialised
from latentkit.protocols import Output, inspect_generator


class Blobs(nn.Module):
    """Stands for your network: a dictionary, with bytes' range and channels last, as many write it."""

    def __init__(self) -> None:
        super().__init__()
        self.maps = nn.Sequential(nn.Linear(16, 64), nn.BatchNorm1d(64), nn.ReLU(), nn.Linear(64, 3 * 8 * 8))

    def forward(self, z: torch.Tensor) -> dict[str, torch.Tensor]:
        """Return the latents and what they make."""
        coarse = self.maps(z).reshape(-1, 3, 8, 8)
        fine = nn.functional.interpolate(coarse, scale_factor=4, mode="bicubic")
        return {"latent": z, "image": 255 * fine.sigmoid().permute(0, 2, 3, 1)}


# As training on two GPUs saves it: with "module." before every name.
network = initialised(Blobs, 0)
torch.save({"module." + name: value for name, value in network.state_dict().items()}, "blobs.pt")

print(inspect_generator(lk.wrap(network, lk.Normal(16))))
output = Output(low=0, high=255, channels="last", key="image")
generator = load_module(Blobs, "blobs.pt", lk.Normal(16), output=output)

z = generator.prior.sample(6, seed=0)
print("samples", tuple(lk.generate(generator, z).shape))
found = lk.invert(generator, lk.generate(generator, z[:1]), steps=100)
print(f"inverted to within {float(found.loss[0]):.4f}")
print("wrote", lk.animate(generator, lk.loop(z, prior=generator.prior), frames=48).save("blobs.gif"))
