"""From training to a report: what is in this latent space, and where is it good?"""

import latentkit as lk
from trainers import GANConfig, digits, train_gan

ckpt = train_gan(digits(), GANConfig(latent_dim=16, seed=0))
ckpt.save("runs/digits")  # later: ckpt = lk.load("runs/digits")
G, D = ckpt.generator, ckpt.critic

z = G.prior.sample(512, seed=1)  # (512, 16)
x = lk.generate(G, z)  # (512, 1, 32, 32) in [-1, 1]
arc = lk.generate(G, lk.slerp(z[0], z[1]).steps(8))
bold = lk.mean_difference(z, x.mean((1, 2, 3)) > x.mean(), name="bold")
bolder = lk.generate(G, z[:8] + 2.0 * bold.vector)
print(f"{bold.name}: brightness goes from {x[:8].mean():.2f} to {bolder.mean():.2f}")

quality = lk.quality_map(G, D, real=ckpt.holdout, n=20_000, seed=2)
print(quality.verdict)  # is this critic worth believing?
best = quality.top(0.25)
plane = lk.project_samples(G, quality.latents, "umap", critic=D)  # .points (20000, 2)
print(plane.verdict)
lk.animate(G, lk.tour(best.latents[:6]), frames=90).save("best.gif")
lk.report(ckpt, "report/")  # report/index.html and its GIFs
