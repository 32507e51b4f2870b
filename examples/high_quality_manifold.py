"""Which part of a latent space is good, into which islands it falls, and how to choose from all of them."""

import latentkit as lk
from latentkit.render import save_png
from trainers import GANConfig, ring, train_gan

ckpt = train_gan(ring(), GANConfig(latent_dim=2, steps=1000, seed=0), progress=False)
G = ckpt.generator

# A GAN's own critic is often no judge: ask for a second opinion, and take whichever is better.
opinion = lk.second_opinion(G, ckpt.holdout, steps=400, seed=1)
best = lk.best_critic(ckpt.critic, opinion)
print(best.explanation)

quality = lk.quality_map(G, best.critic, opinion.real, n=4000, seed=2, calibration=best.calibration)
islands = quality.islands()
print(islands.summary)
i, j = islands.representative[:2]
print(f"the best way from island 1 to island 2 has a worst sample of {float(quality.bottleneck(i, j)):.3f}")

# The best tenth may lie on few islands; balanced, each island gives its share.
for name, top in (("plain", quality.top(0.1)), ("balanced", quality.top_balanced(0.1, islands))):
    held = islands.labels[top.index].bincount(minlength=len(islands))
    print(f"{name:9} top tenth, latents of each island: {held.tolist()}")

save_png(lk.landscape(quality, G, best.critic, islands=islands), "landscape.png")
film = lk.tide(quality, G, best.critic, islands=islands)
print(f"wrote landscape.png and {film.save('tide.gif')}: {film.captions[30]}")
