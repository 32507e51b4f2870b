"""From real images to latents, how good they are, and an edit of them."""

import torch

import latentkit as lk
from latentkit.attributes import brightness
from latentkit.render import save_png

ckpt = lk.condition(lk.load("fashion-mnist"), "bag")
G, real = ckpt.generator, ckpt.holdout[:8]

found = lk.invert(ckpt, real, steps=100)
print("explained:", [round(share, 2) for share in found.explained.tolist()])
print("starts end apart:", [round(apart, 2) for apart in found.spread.tolist()])

# How good are edits of such latents? As good as those of draws, says the calibrated critic, or not.
best = lk.judge(G, ckpt.critic, ckpt.holdout)
print(lk.editability(found, G, best.calibration.applied(best.critic), n=4).verdict)

bold = lk.learn_direction(G, brightness, n=1000)
edited = lk.generate(G, bold.moved(found.latents, 1.2, G.prior))
picture = lk.strips(torch.stack([real, found.samples, edited]), rows=["real", "inverted", "brighter"])
print("wrote", save_png(picture, "edited.png"))
