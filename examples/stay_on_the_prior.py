"""Why a plain average of latents is not a latent, and what to use instead."""

import latentkit as lk

prior = lk.Normal(512)
a, b, c = (prior.sample(1000, seed=s) for s in (0, 1, 2))

results = {
    "a draw": a,
    "lerp midpoint": lk.lerp(a, b)(0.5)[0],
    "slerp midpoint": lk.slerp(a, b)(0.5)[0],
    "interpolate midpoint": lk.interpolate(a, b, prior)(0.5)[0],
    "a - b + c": a - b + c,
    "analogy(a, b, c)": lk.analogy(a, b, c, prior),
}
print(f"{'':22}{'norm':>7}{'typicality':>12}")
for name, z in results.items():
    print(f"{name:22}{z.norm(dim=1).mean():7.2f}{prior.typicality(z).mean():12.3f}")
