"""The report's manifold: which latents a critic believes, how they hang together, and ways that keep to them."""

from pathlib import Path

from torch import Tensor

from latentkit.errors import ArgumentError
from latentkit.geometry import local_geometry
from latentkit.judges import Judged
from latentkit.landscapes import described, islands_picture, landscape, passes
from latentkit.planes import Ground
from latentkit.quality import Islands, QualityMap
from latentkit.render import samples_sheet, save_png
from latentkit.reports import classes, critic, ways
from latentkit.reports.media import save_film
from latentkit.reports.page import Chapter, Figure, Table
from latentkit.reports.study import Study
from latentkit.reports.terrain import FRAMES
from latentkit.reports.verdict import believed
from latentkit.scatter import plane_limits, points_rgb
from latentkit.tides import tide

__all__ = ["chapter"]

#: Islands of the table and of the picture of representatives.
LISTED = 12

#: Samples of a sheet of the best.
BEST = 32

#: Derivatives that local geometry may take on each side: latents times their dimensions.
DERIVATIVES = 1200


def chapter(study: Study, folder: Path) -> Chapter:
    """Say whether the critic is to be believed, and if it is, map what it believes."""
    found, judged = study.quality, study.judged
    if found is None or judged is None:
        return Chapter("manifold", "Manifold", (believed(study).detail,))
    figures = [*critic.figures(study, found, folder)]
    by_class = classes.probabilities(study)
    tables = [critic.measures(found, judged), *([by_class] if by_class else [])]
    text = [_which(study, judged)] + [found.calibration.explanation] * (not judged.second)
    terrain = study.terrain
    if terrain is None:
        text.append("So no map is drawn: islands and routes by scores without signal would be made up.")
        return Chapter("manifold", "Manifold", tuple(text), tuple(figures), tuple(tables))
    islands, ground = terrain.islands, terrain.ground
    text += [
        f"A latent counts as good from the probability on that all but 5 % of the held-out real samples reach, "
        f"{found.threshold:.3f}. Two good latents are on one island if a chain of good samples leads from one to the "
        f"other, each among the nearest of the next. {terrain.how}{islands.summary}"
    ]
    if len(islands) == 1:
        text[-1] += " As there is one island only, its best latents are those of the whole map (see Samples)."
    figures += _map(study, found, judged, islands, ground, folder)
    if len(islands):
        tables.append(_islands_table(study, found, islands))
        # A film that is not wide fills the place beside the last of an odd number of pictures.
        wide = len(figures) % 2 == 0
        more, note = ways.routed(study, terrain, folder, wide=wide)
        figures += more
        text.append(note)
    bent = _geometry(study, found)
    tables += [bent] if bent else []
    return Chapter("manifold", "Manifold", tuple(text), tuple(figures), tuple(tables))


def _which(study: Study, judged: Judged) -> str:
    """Say which critic scored the latents, and why."""
    start = (
        "Logits, compared on real samples that the critic never saw with as many generated ones, become probabilities."
    )
    if judged.second:
        origin = "goes on from the checkpoint's critic" if study.images and judged.own else "is a fresh network"
        return (
            f"The scores are those of a second opinion: it {origin}, trained for this page against the generator on "
            f"held-out samples, and judged by {len(judged.real)} others. {judged.explanation} {start}"
        )
    if judged.explanation:
        return f"The scores are those of the checkpoint's own critic. {judged.explanation} {start}"
    return f"The scores are those of the checkpoint's own critic. {start}"


def _names(study: Study) -> tuple[str, ...]:
    return () if study.marginal is None else study.marginal.classes


def _map(
    study: Study, found: QualityMap, judged: Judged, islands: Islands, ground: Ground, folder: Path
) -> list[Figure]:
    """Draw the landscape, the islands, their representatives and best samples, and film the tide."""
    generator, size = study.checkpoint.generator, study.batch_size
    drawn = f"{len(found)} latents of seed {study.seed}, {len(found.chart or ())} of them charted"
    at = f"at a probability of at least {islands.threshold:.3f}"
    where = {
        "latents": "The plane of the latents",
        "samples": "Generated points",
        "projection": "UMAP of samples (the layout of the Map chapter)",
    }[ground.kind]
    picture = landscape(found, generator, judged.critic, plane=study.plane, islands=islands, batch_size=size)
    save_png(picture, folder / "landscape.png")
    figures = [
        Figure(
            "landscape.png",
            "Calibrated probability over the plane, with islands by number",
            f"{where}, by the calibrated probability of what each latent makes. Islands {at} have their number at "
            f"their representative{', and a shore in their colour' * (ground.kind == 'latents')}; a diamond is a pass, "
            "with the probability of the worst sample on the best way between two islands.",
            f"{drawn}; islands of at least {islands.least} charted latents",
        )
    ]
    points, axes = (study.samples, ("x", "y")) if not study.images else (ground.points, ("", ""))
    save_png(islands_picture(points, islands, names=_names(study), axes=axes), folder / "islands.png")
    figures.append(
        Figure(
            "islands.png",
            "Samples in the colours of their islands",
            f"Samples in the colours of their islands {at}; pale ones are on none.",
            drawn,
        )
    )
    film = tide(found, generator, judged.critic, plane=study.plane, islands=islands, frames=FRAMES, batch_size=size)
    best, gif = save_film(film, folder, "tide")
    figures.append(
        Figure(
            best,
            "Film of the rising tide: the threshold rises, islands part and drown",
            "The tide: the threshold rises from the lowest probability to the highest. An island keeps its colour for "
            "as long as its best latent is dry; grey ones hang together with too few others.",
            f"{drawn}; {film.count} thresholds, half spread evenly over the probabilities, half over the latents",
            gif=gif,
        )
    )
    if study.images and len(islands) > 1:
        some = islands.representative[:LISTED]
        save_png(samples_sheet(study.samples[some], columns=min(len(some), LISTED)), folder / "representatives.png")
        left = f" of the largest {LISTED} of {len(islands)} islands" if len(islands) > LISTED else ""
        figures.append(
            Figure(
                "representatives.png",
                "The representative of each island",
                f"The representatives{left}, by number from the left: of each island the sample nearest to all others.",
                f"latents {', '.join(map(str, found.index[some].tolist()))} of seed {study.seed}",
                pixelated=True,
            )
        )
    return figures + (_best(study, found, islands, folder) if len(islands) > 1 else [])


def _best(study: Study, found: QualityMap, islands: Islands, folder: Path) -> list[Figure]:
    """Draw the best latents' samples, plainly and balanced over the islands."""
    fraction = min(BEST if study.images else 500, len(found) // 4) / len(found)
    groups = {"plain": found.top(fraction), "balanced": found.top_balanced(fraction, islands)}
    figures = []
    for name, best in groups.items():
        samples = study.samples[best.index]
        # The map was drawn from the study's latents, so that its numbers are theirs.
        held = islands.labels[best.index]
        count = len(held[held >= 0].unique())
        limits = None if study.images else plane_limits(study.samples)
        picture = samples_sheet(samples, columns=8) if study.images else points_rgb(samples, limits=limits, size=420)
        save_png(picture, folder / f"top-{name}.png")
        what = "The best latents' samples" if name == "plain" else "The best of each island, by its share"
        figures.append(
            Figure(
                f"top-{name}.png",
                f"{what}: {len(best)} samples from {count} islands",
                f"{what}: {len(best)} samples, which lie on {count} of the {len(islands)} islands.",
                f"{name} top {100 * fraction:.2g} % of {len(found)} latents of seed {study.seed}, best first; mean "
                f"probability {float(best.probability.mean()):.3f}",
                study.images,
            )
        )
    return figures


def _islands_table(study: Study, found: QualityMap, islands: Islands) -> Table:
    """List the islands with their size, their quality and the way to the next."""
    highest: dict[int, float] = {}
    for one in passes(found, islands):
        for k in one.islands:
            highest[k] = max(highest.get(k, 0.0), one.probability)
    names = _names(study)
    rows = []
    for k in range(min(len(islands), LISTED)):
        kinds = described(islands, k, names).partition(" (")[2].rstrip(")")
        row = (
            f"{k + 1}",
            f"{100 * float(islands.share[k]):.1f} %",
            f"{int(islands.count[k]):,}",
            f"{float(islands.probability[k]):.3f}",
            f"{highest[k]:.3f}" if k in highest else "-",
        )
        rows.append((*row, kinds) if names else row)
    columns = ("island", "share of good", "latents", "mean probability", "highest pass")
    left = f" The largest {LISTED} of {len(islands)}." if len(islands) > LISTED else ""
    return Table(
        f"Islands at a probability of at least {islands.threshold:.3f}. A pass is how good the worst sample on the "
        f"best way to another island is; without one no chain of samples leads there.{left}",
        (*columns, "mostly") if names else columns,
        tuple(rows),
    )


def _geometry(study: Study, found: QualityMap) -> Table | None:
    """Compare how the generator bends the latent space where samples are good and elsewhere; None if torch cannot."""
    generator = study.checkpoint.generator
    count = max(4, min(32, DERIVATIVES // found.prior.dim, len(found) // 4))
    ranked = found.top(1.0).index
    quarter = len(ranked) // 4
    rows = []
    for name, part in (("better quarter", ranked[:quarter]), ("worst quarter", ranked[-quarter:])):
        latents = study.latents[part.sort().values[:count]]
        try:
            bent = local_geometry(generator, latents)
        except ArgumentError:
            return None
        values: list[Tensor] = [bent.dimension.double(), bent.effective_rank, bent.log_volume, bent.sensitivity]
        rows.append((name, *(f"{float(value.median()):.3g}" for value in values), str(len(latents))))
    return Table(
        f"How the generator bends the latent space of {found.prior.dim} dimensions, from its Jacobian: medians. The "
        "local dimension is how many directions hold 95 % of the change; the sensitivity is how far the sample moves "
        "for a small step of length 1, at most.",
        ("latents", "local dimension", "effective rank", "log volume", "sensitivity", "how many"),
        tuple(rows),
    )
