"""A StyleGAN of others: read from its file, walked in w, and edited in its coarse layers only."""

import torch

import latentkit as lk
from latentkit.adapters import load_stylegan
from latentkit.directions import pca_directions
from latentkit.edits import on_layers
from latentkit.nets.fitting import initialised
from latentkit.nets.stylegan import StyleGAN2Generator

# Stands for a file such as ffhq.pkl: a small untrained network, by the names of NVIDIA's release.
network = initialised(lambda: StyleGAN2Generator(64, 3, 64, w_dim=64, channel_base=1024, channel_max=64), seed=4)
torch.save({"G_ema": network.state_dict()}, "network.pt")

model = load_stylegan("network.pt")  # nothing in the file is run
print("settings", model.settings)

w = model.map(model.z.prior.sample(6, seed=1))
film = lk.animate(model.view_w(psi=0.8), lk.loop(w, prior=model.w.prior), frames=48)
print("wrote", film.save("styles.gif"))

# A latent of w+ holds one w a layer: the main direction of w, in the four coarse layers and in the others.
main = pca_directions(model.w.prior.sample(2000, seed=0), 1)[0]
for name, layers in (("coarse", range(4)), ("fine", range(4, model.layers))):
    direction = on_layers(main, list(layers), model.wplus)
    z = model.lifted(w[:1]) + torch.linspace(-6, 6, 7)[:, None] * direction.vector
    change = lk.generate(model.wplus, z).std(0).mean()
    print(f"{name} layers {tuple(layers)} move a pixel by {change:.3f}")
