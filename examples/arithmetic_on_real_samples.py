"""Sums of real images: each is inverted, averaged over a group, added on the prior, and decoded again."""

import torch

import latentkit as lk
from latentkit.render import save_png

ckpt = lk.condition(lk.load("fashion-mnist"), "dress")
G, real = ckpt.generator, ckpt.holdout

height = lk.attributes_of(real)["height"](real)
bright = lk.attributes_of(real)["brightness"](real)
groups = {
    "bright": real[bright.argsort(descending=True)[:4]],
    "dark": real[bright.argsort()[:4]],
    "short": real[height.argsort()[:4]],
}
latents = {name: lk.invert(ckpt, some, starts=1, steps=60).latents for name, some in groups.items()}

# Groups are averaged; the result comes with how typical it is, plain and mapped back onto the prior.
total = lk.calculate("bright - dark + short", latents, G.prior)
print(f"typicality: as it is {total.plain_typicality:.2g}, on the prior {total.typicality:.2g}")
print(total.note or "the result is where draws of the prior are")

shown = lk.generate(G, torch.stack([total.plain, total.latent]))
rows = torch.cat([*(some[:2] for some in groups.values()), shown])[None]
heads = ["bright", "", "dark", "", "short", "", "sum", "matched"]
print("wrote", save_png(lk.strips(rows, above=[lk.Line("", heads)]), "sums.png"))
