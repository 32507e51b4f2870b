"""The verbs that lay out and write down what was found."""

import argparse
from typing import Any

from latentkit.drawn import draw, opened, shows
from latentkit.folders import check_folder
from latentkit.limits import check_memory, count_of
from latentkit.plots import plane_picture
from latentkit.projection import project as lay_out
from latentkit.render import save_png
from latentkit.reports.build import MARKER
from latentkit.reports.build import report as write_report
from latentkit.verbs.output import generated

__all__ = ["project", "report"]


def project(arguments: argparse.Namespace) -> dict[str, Any]:
    """Lay samples or latents out in the plane."""
    checkpoint, out = opened(arguments, (".png", ".npz"))
    n = count_of(arguments.n, "-n")
    check_memory(checkpoint, n, "-n", samples=arguments.of == "samples")
    latents = draw(checkpoint, arguments, n)
    rows = latents
    if arguments.of == "samples":
        rows = generated(checkpoint, latents, arguments)
    plane = lay_out(rows, arguments.method, seed=arguments.seed)
    if out.suffix.lower() == ".npz":
        plane.save(out)
    else:
        save_png(plane_picture(plane.points, title=f"{arguments.method.upper()} of {len(rows)} {arguments.of}"), out)
    return {"wrote": str(out), "points": len(rows), "trustworthiness": plane.trustworthiness, "verdict": plane.verdict}


def report(arguments: argparse.Namespace) -> dict[str, Any]:
    """Write the page with everything."""
    check_folder(arguments.out, marker=MARKER)
    n = None if arguments.n is None else count_of(arguments.n, "-n", least=500)
    checkpoint, out = opened(arguments)
    check_memory(checkpoint, n or 1, "-n", samples=True)
    page = write_report(
        checkpoint,
        out,
        seed=arguments.seed,
        n=n,
        batch_size=arguments.batch_size,
        progress=shows(arguments),
    )
    size = sum(file.stat().st_size for file in page.parent.iterdir())
    return {"wrote": str(page), "megabytes": round(size / 1e6, 2)}
