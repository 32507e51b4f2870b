"""The same two ends, all curves; then a loop that never stops, at constant speed, and a walk between classes."""

import latentkit as lk

ckpt = lk.load("fashion-mnist")
shoes = lk.condition(ckpt, "sneaker")
G = shoes.generator
z = G.prior.sample(6, seed=0)

# Which way from one latent to the other? Without a map of the good part there is no route among them.
ways = lk.bake_off(G, z[3], z[5])
print(ways.table())

# Every latent on a random loop is a draw from the prior; constant speed is measured where people look, in pixels.
paced = lk.constant_speed(G, lk.random_loop(G.prior, seed=1))
print(f"\nspeed varied by {paced.variation_before:.0%}, now by {paced.variation_after:.0%}")
print(f"seam: {lk.seam(G, paced.curve).verdict}")
lk.animate(G, paced.curve, frames=60, fps=20).save("loop.gif")

# A conditional generator is never trained between its classes, and can be asked there all the same.
between = lk.blend(ckpt).generator
curve = lk.class_tour(between, z[0], ["sneaker", "ankle boot", "bag"], closed=True)
lk.animate(between, curve, frames=60, fps=20).save("classes.gif")
