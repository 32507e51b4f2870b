"""The verbs that lay out and write down what was found."""

import argparse
from typing import Any

from latentkit.animation import replay as made_again
from latentkit.bundled import found
from latentkit.conditional import Marginal
from latentkit.drawn import draw, opened, shows
from latentkit.errors import ArgumentError, LabelError
from latentkit.files import check_target
from latentkit.folders import check_folder
from latentkit.limits import check_memory, count_of
from latentkit.plots import plane_picture
from latentkit.projection import project_samples
from latentkit.render import save_png
from latentkit.reports.build import MARKER
from latentkit.reports.build import report as write_report
from latentkit.verbs.output import FILMS, is_film

__all__ = ["project", "replay", "report"]


def project(arguments: argparse.Namespace) -> dict[str, Any]:
    """Lay samples or latents out in the plane."""
    checkpoint, out = opened(arguments, (".png", ".npz"))
    n = count_of(arguments.n, "-n")
    check_memory(checkpoint, n, "-n", samples=False)
    generator = checkpoint.generator
    if arguments.supervised and not isinstance(generator, Marginal):
        raise LabelError(f"--supervised needs the classes of a conditional model, and {arguments.checkpoint} has none")
    latents = draw(checkpoint, arguments, n)
    labels = generator.labels(latents) if isinstance(generator, Marginal) else None
    plane = project_samples(
        generator,
        latents,
        arguments.method,
        features=None if arguments.of == "features" else arguments.of,
        critic=checkpoint.critic,
        seed=arguments.seed,
        labels=labels if arguments.supervised else None,
        batch_size=arguments.batch_size,
        progress=shows(arguments),
    )
    if out.suffix.lower() == ".npz":
        plane.save(out)
    else:
        title = f"{arguments.method.upper()} of {plane.of}, {len(latents)} latents"
        save_png(plane_picture(plane.points, title=title), out)
    return {
        "wrote": str(out),
        "points": len(latents),
        "of": plane.of,
        "trustworthiness": plane.trustworthiness,
        "neighbours_kept": plane.preservation,
        "verdict": plane.verdict,
    }


def replay(arguments: argparse.Namespace) -> dict[str, Any]:
    """Make a film again from what is in its file."""
    out = None if arguments.out is None else check_target(arguments.out)
    if out is not None and not is_film(out):
        raise ArgumentError(f"--out must end in {', '.join(FILMS)}, got {arguments.out!r}")
    again = made_again(arguments.film, arguments.checkpoint)
    said: dict[str, Any] = {
        "same": again.same,
        "intact": again.intact,
        "frames": again.film.count,
        "verdict": again.verdict,
        "made_by": again.made_by,
    }
    if out is not None:
        again.film.save(out, progress=shows(arguments))
        said = {"wrote": str(out), **said}
    return {**said, **({"about": again.about} if again.about else {})}


def report(arguments: argparse.Namespace) -> dict[str, Any]:
    """Write the page with everything."""
    check_folder(arguments.out, marker=MARKER)
    n = None if arguments.n is None else count_of(arguments.n, "-n", least=500)
    checkpoint, out = opened(arguments)
    check_memory(checkpoint, n or 1, "-n", samples=True)
    taken: dict[str, float] = {}
    page = write_report(
        checkpoint,
        out,
        seed=arguments.seed,
        n=n,
        beside=found(arguments.checkpoint),
        single_file=arguments.single_file,
        batch_size=arguments.batch_size,
        progress=shows(arguments),
        on_chapter=taken.__setitem__,
    )
    size = sum(file.stat().st_size for file in page.parent.iterdir())
    said: dict[str, Any] = {"wrote": str(page), "megabytes": round(size / 1e6, 2)}
    if arguments.timings:
        said["seconds"] = {name: round(seconds, 2) for name, seconds in taken.items()}
    return said
