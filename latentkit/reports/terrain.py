"""The terrain: the islands of good latents, and two far-apart latents with all ways between them.

Several chapters of a report show it; it is found once.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from latentkit.judges import Judged
from latentkit.landscapes import passes
from latentkit.planes import Ground, ground_of
from latentkit.quality import Islands, QualityMap
from latentkit.routes import Route
from latentkit.tides import shores, tide_levels
from latentkit.walks import BakeOff, bake_off

if TYPE_CHECKING:
    from latentkit.reports.study import Study

__all__ = ["FRAMES", "Rivals", "Terrain", "rivals_of", "terrain_of"]

#: Levels at which the rising tide is looked at.
FRAMES = 60

#: Samples along each curve of the bake-off.
STEPS = 96

#: Latents whose pairs are looked at for the ends of a route, and for those of curves without a map.
ENDS, FEW = 64, 12


@dataclass(frozen=True, eq=False)
class Terrain:
    """The mapped latent space.

    Attributes: `found`, its quality map; `judged`, by which critic; `islands`, and `how` they were chosen in words;
    `ground`, the plane in which it is drawn.
    """

    found: QualityMap
    judged: Judged
    islands: Islands
    how: str
    ground: Ground


@dataclass(frozen=True, eq=False)
class Rivals:
    """All curves between two latents far apart.

    Attributes: the `bake`-off; which latents `a` and `b` of the seed they are, and `which` in words; `label`, the class
    in which they are compared, or None; `mapped`, whether there was a map.
    """

    bake: BakeOff
    a: int
    b: int
    which: str
    label: str | None
    mapped: bool

    @property
    def route(self) -> Route | None:
        """The route among the curves, or None without a map."""
        found = dict(zip(self.bake.names, self.bake.curves, strict=True)).get("route")
        return found if isinstance(found, Route) else None


def terrain_of(study: "Study") -> Terrain | None:
    """Find the islands of a study's map; None if the critic is not to be believed."""
    found, judged = study.quality, study.judged
    if found is None or judged is None or not study.believed:
        return None
    islands, how = _islands(study, found)
    ground = ground_of(found, study.checkpoint.generator, study.plane, batch_size=study.batch_size)
    return Terrain(found, judged, islands, how, ground)


def rivals_of(study: "Study") -> Rivals:
    """Compare all curves between two latents far apart: good ones where there is a map, else any."""
    terrain, size = study.terrain, study.batch_size
    if terrain is not None and len(terrain.islands):
        a, b, which = _ends(study, terrain)
        found = terrain.found
        bake = bake_off(
            study.checkpoint.generator,
            a,
            b,
            quality=found,
            critic=terrain.judged.critic,
            steps=STEPS,
            batch_size=size,
        )
        return Rivals(bake, int(found.index[a]), int(found.index[b]), which, None, True)
    scene = study.scene
    a, b = _far_apart(scene.samples[:FEW])
    which = f"{scene.where} of the first {FEW} those whose samples differ most".strip()
    bake = bake_off(scene.generator, scene.latents[a], scene.latents[b], steps=STEPS, batch_size=size)
    return Rivals(bake, a, b, which, scene.label, False)


def _islands(study: "Study", found: QualityMap) -> tuple[Islands, str]:
    """Return the islands that are shown, and why these: at the map's threshold, or where a higher tide parts them."""
    islands = found.islands(labels=study.labels)
    if len(islands) > 1:
        return islands, ""
    levels = tide_levels(found, FRAMES)
    levels = levels[levels > found.threshold]
    most = shores(found, levels).count if len(levels) else torch.zeros(1)
    if int(most.max()) < 2:
        return islands, "There is no probability at which they part into several islands. "
    level = float(levels[most.argmax()])
    whole = "hang together" if len(islands) else "are too scattered to form an island"
    return found.islands(level, labels=study.labels), (
        f"At {found.threshold:.3f} they {whole}; the islands shown are those at {level:.3f}, where the rising tide "
        "parts them into the most. "
    )


def _ends(study: "Study", terrain: Terrain) -> tuple[int, int, str]:
    """Return the rows of the map that the curves join, and what they are."""
    found, islands = terrain.found, terrain.islands
    joined = passes(found, islands)
    if joined and joined[0].probability >= 0.5 * found.threshold:
        i, j = joined[0].islands
        ends = islands.representative[[i, j]].tolist()
        return ends[0], ends[1], f"the representatives of islands {i + 1} and {j + 1}, whose pass is the highest"
    rows, within = islands.rows(0), ""
    if study.marginal is not None and study.labels is not None and study.scene.label is not None:
        own = rows[study.labels[rows] == study.marginal.classes.index(study.scene.label)]
        rows, within = (own, f" in class {study.scene.label}") if len(own) > 1 else (rows, "")
    rows = rows[:ENDS]
    i, j = _farthest(terrain.ground.points[rows])
    what = f"two latents of island 1{within}: of its first {len(rows)} the two farthest apart on the map"
    if len(islands) > 1:
        what += " (between islands no way is half as good as the threshold)"
    return int(rows[i]), int(rows[j]), what


def _far_apart(samples: Tensor) -> tuple[int, int]:
    """Return which two of a few samples (N, ...) differ most."""
    return _farthest(samples.flatten(1))


def _farthest(rows: Tensor) -> tuple[int, int]:
    apart = torch.cdist(rows.double(), rows.double()).fill_diagonal_(-1.0)  # two, even where all are equal
    return divmod(int(apart.argmax()), len(rows))
