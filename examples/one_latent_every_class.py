"""One latent in every class: what of a picture is the latent's, and what is the class's?

The generator comes with latentkit. In the sheet that is written a column is one latent and a row one class.
"""

import torch

import latentkit as lk
from latentkit.render import samples_sheet, save_png

ckpt = lk.load("fashion-mnist")
z = ckpt.generator.prior.sample(8, seed=3)
rows = [lk.generate(lk.condition(ckpt, name).generator, z) for name in ckpt.classes]
print(save_png(samples_sheet(torch.cat(rows), columns=8), "classes.png"))

# The latent's share of the brightness, after the class's mean is taken away: 0 if it decided nothing.
brightness = torch.stack([row.mean((1, 2, 3)) for row in rows])
rest = brightness - brightness.mean(1, keepdim=True)
print(f"the latent explains {rest.mean(0).var(correction=0) / rest.var(correction=0):.0%} of what the class does not")
