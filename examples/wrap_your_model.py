"""Your own generator in one line: anything that turns latents into samples."""

import torch

import latentkit as lk

# Stands for your network: 8 latent coordinates, each the weight of a wave in a 3x32x32 picture.
ys, xs = torch.meshgrid(torch.linspace(0, 6.28, 32), torch.linspace(0, 6.28, 32), indexing="ij")
waves = torch.stack([torch.sin(k * xs + (4 - k) * ys + c) for k in range(8) for c in range(3)]).reshape(8, 3, 32, 32)
network = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(8, 3 * 32 * 32, bias=False), torch.nn.Tanh())
network[1].weight.data = waves.flatten(1).T.contiguous()
picture = torch.nn.Sequential(network, torch.nn.Unflatten(1, (3, 32, 32)))

generator = lk.wrap(picture, lk.Normal(8))
z = generator.prior.sample(6, seed=3)
print("samples", tuple(lk.generate(generator, z).shape))
film = lk.animate(generator, lk.loop(z, prior=generator.prior), frames=48)
print("wrote", film.save("waves.gif"))
