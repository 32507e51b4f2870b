"""A GAN on eight Gaussians: train it, ask its critic, keep the better half."""

import latentkit as lk
from trainers import GANConfig, ring, train_gan

ckpt = train_gan(ring(), GANConfig(latent_dim=2, steps=1500, seed=0), progress=False)
G, D = ckpt.generator, ckpt.critic

quality = lk.quality_map(G, D, ckpt.holdout, n=5000, seed=1, allow_uninformative=True)
print(quality.verdict)

for name, z in (("all", quality.latents), ("better half", quality.top(0.5).latents)):
    x = lk.generate(G, z)
    off = (x.norm(dim=1) - 2.0).abs()  # the ring has radius 2
    print(f"{name:12} median distance from the ring {off.median():.3f}")
