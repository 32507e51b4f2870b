"""A direction from a function of the samples, what else it changes, and how to change less."""

import latentkit as lk
from latentkit.attributes import area, brightness, height
from latentkit.render import save_png

G = lk.condition(lk.load("fashion-mnist"), "sneaker").generator
known = {"area": area, "height": height, "brightness": brightness}

# Labels come from any function of samples: these three, a classifier, or your own.
found = {name: lk.learn_direction(G, of, name=name, n=1000) for name, of in known.items()}
audited = lk.audit(G, list(found.values()), attributes=known, n=256, draws=1000)
print(audited.table())

# Orthogonal to height, area grows otherwise.
free = lk.orthogonalised(found["area"], [found["height"]])
print("\northogonal to height:", lk.audit(G, free, attributes=known, n=256, draws=1000).verdicts[0])

# Without labels: what the first layer stretches the most.
print("share of the first factor:", round(lk.sefa(G, 1)[0].share, 3))

sweep = lk.sweep(G, free, G.prior.sample(4, seed=1))
save_png(lk.sweep_sheet(sweep), "area.png")
print(
    "wrote",
    lk.sweep_film(lk.sweep(G, free, sweep.latents[:, 3], lk.safe_strengths(free, G.prior, 15))).save("area.gif"),
)
