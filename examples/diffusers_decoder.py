"""An autoencoder of diffusers as a generator: a prior for its latents, real images in it, and the way between them."""

from typing import Any

import torch
from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL

import latentkit as lk
from latentkit.adapters import from_autoencoder
from latentkit.nets.fitting import initialised
from trainers import digits

# Stands for one of the hub (load_autoencoder reads its folder): a tiny one, trained here for some seconds.
images = torch.nn.functional.avg_pool2d(digits().floats(), 2)
settings: dict[str, Any] = {"in_channels": 1, "out_channels": 1, "sample_size": 16, "latent_channels": 4}
settings |= {"block_out_channels": (8, 16, 16), "norm_num_groups": 4}
settings |= {"down_block_types": ("DownEncoderBlock2D",) * 3, "up_block_types": ("UpDecoderBlock2D",) * 3}
vae: Any = initialised(lambda: AutoencoderKL(**settings), seed=0)
optimiser = torch.optim.Adam(vae.parameters(), 3e-3)
for step in range(120):
    batch = images[(torch.arange(48) + 48 * step) % 1000]
    loss = (vae(batch).sample - batch).square().mean()
    optimiser.zero_grad()
    loss.backward()
    optimiser.step()

model = from_autoencoder(vae).fitted(images[:1000])
generator, encoder = model.generator, model.encoder
print("latents", generator.shape, "flattened to", generator.prior.dim)

with torch.no_grad():
    ends = encoder(images[1000:1002])
error = (lk.generate(generator, ends) - images[1000:1002]).square().mean()
print(f"real digits come back with an error of {error:.3f}, draws of the prior spread by", end=" ")
print(f"{lk.generate(generator, generator.prior.sample(64, seed=1)).std(0).mean():.2f}")

film = lk.animate(generator, lk.interpolate(ends[0], ends[1], generator.prior), frames=48)
print("wrote", film.save("digits.gif"))
