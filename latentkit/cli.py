"""The command `latentkit`: argv in, one public function each, nothing heavy before it is needed."""

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from latentkit import __version__
from latentkit.errors import ArgumentError, LatentkitError

if TYPE_CHECKING:
    from torch import Tensor

    from latentkit.checkpoint import Checkpoint

__all__ = ["main"]

_EPILOG = """\
a checkpoint is a folder that latentkit-train wrote:
  latentkit-train gan --data digits --out runs/digits
  latentkit report runs/digits --out report           everything, on one page
  latentkit animate runs/digits --out walk.gif        a loop through the latent space
  latentkit edit runs/digits --attribute slant --out slant.png

`latentkit VERB --help` tells what a verb takes.
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code: 0, 2 for a user's mistake, 130 for an interrupt."""
    arguments = _parser().parse_args(argv)
    try:
        _finish(arguments.run(arguments), arguments.json)
    except LatentkitError as error:
        print(f"latentkit: {' '.join(str(error).split())}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("latentkit: interrupted; nothing half-written was left", file=sys.stderr)
        return 130
    except BrokenPipeError:
        sys.stderr.close()
        return 0
    return 0


def _finish(result: dict[str, Any], as_json: bool) -> None:
    if as_json:
        print(json.dumps(result, ensure_ascii=False, allow_nan=False))
        return
    width = max(map(len, result))
    for key, value in result.items():
        shown = f"{value:.4g}" if isinstance(value, float) else value
        print(f"{key.replace('_', ' '):<{width}}  {shown}")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="latentkit",
        description="Explore the latent space of a generative model: what is in it, and where is it good?",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"latentkit {__version__}")
    verbs = parser.add_subparsers(title="verbs", metavar="VERB", required=True)

    def verb(name: str, run: Any, about: str, out: str | None = None) -> argparse.ArgumentParser:
        sub = verbs.add_parser(name, help=about, description=about)
        sub.set_defaults(run=run)
        sub.add_argument("checkpoint", metavar="CHECKPOINT", help="the folder of a trained model")
        if out:
            sub.add_argument("--out", required=True, metavar="FILE" if "." in out else "DIR", help=out)
            sub.add_argument("--seed", type=int, default=0, help="which random latents, 0 to 2**64 - 1 (default 0)")
            sub.add_argument("--batch-size", type=int, default=64, help="latents at a time (default 64)")
        sub.add_argument("--json", action="store_true", help="print the result as one JSON object")
        return sub

    def best(sub: argparse.ArgumentParser) -> None:
        sub.add_argument(
            "--best",
            type=float,
            metavar="FRACTION",
            help="draw from the best FRACTION of latents by the calibrated critic, such as 0.25",
        )

    verb("info", _info, "Say what a checkpoint holds and how it was trained.")

    sub = verb(
        "sample", _sample, "Draw samples, as a sheet or as arrays.", "a .png sheet, or .npz with latents and samples"
    )
    sub.add_argument("-n", type=int, default=64, help="how many samples (default 64)")
    sub.add_argument(
        "--truncation",
        type=float,
        metavar="SD",
        help="redraw coordinates beyond this many standard deviations (normal priors)",
    )
    best(sub)

    sub = verb("interpolate", _interpolate, "Go from one latent to another.", "a .png strip, a .gif, or .npz")
    sub.add_argument(
        "--between", type=int, nargs=2, default=(0, 1), metavar=("A", "B"), help="numbers of the latents (default 0 1)"
    )
    sub.add_argument("--steps", type=int, default=9, help="how many samples, both ends included (default 9)")
    sub.add_argument(
        "--curve",
        choices=("interpolate", "slerp", "lerp"),
        default="interpolate",
        help="interpolate stays on the prior (default); slerp is the great circle, lerp the straight line",
    )

    sub = verb("edit", _edit, "Move latents along the direction of an attribute.", "a .png sheet or .npz")
    sub.add_argument(
        "--attribute",
        required=True,
        help="brightness, width, slant or symmetry of images; horizontal or vertical of points",
    )
    sub.add_argument("-n", type=int, default=4, help="how many latents, a row each (default 4)")
    sub.add_argument("--strength", type=float, help="how far to go each way (default: the direction's safe range)")
    sub.add_argument("--steps", type=int, default=7, help="how many strengths, a column each (default 7)")

    sub = verb("quality", _quality, "Score latents with the calibrated critic.", "a .npz with latents and scores")
    sub.add_argument("-n", type=int, default=10_000, help="how many latents (default 10000)")
    sub.add_argument("--allow-uninformative", action="store_true", help="write scores even if they mean nothing")

    sub = verb("project", _project, "Lay samples or latents out in the plane.", "a .png map or .npz with its points")
    sub.add_argument("-n", type=int, default=4_000, help="how many (default 4000)")
    sub.add_argument("--method", choices=("umap", "pca"), default="umap", help="default umap")
    sub.add_argument(
        "--of",
        choices=("samples", "latents"),
        default="samples",
        help="samples shows what is made (default); UMAP of Gaussian latents shows noise",
    )

    sub = verb("animate", _animate, "Film a loop through random latents.", "a .gif")
    sub.add_argument("--keys", type=int, default=6, help="how many latents to visit (default 6)")
    sub.add_argument("--frames", type=int, default=90, help="how many frames (default 90)")
    sub.add_argument("--fps", type=float, default=25.0, help="frames a second, at most 50 (default 25)")
    best(sub)

    sub = verb("report", _report, "Write one page with everything, and its pictures.", "the report's folder")
    sub.add_argument("-n", type=int, default=None, help="how many samples to map (default 4000 images, 10000 points)")
    return parser


def _load(arguments: argparse.Namespace, suffixes: Sequence[str] = ()) -> "tuple[Checkpoint, Path]":
    """Return the checkpoint and the output's path; both are checked before any work."""
    out = Path(arguments.out)
    if suffixes:
        from latentkit.files import check_target

        if out.suffix.lower() not in suffixes:
            raise ArgumentError(f"--out must end in {' or '.join(suffixes)}, got {arguments.out!r}")
        check_target(out)
    from latentkit.checkpoint import load
    from latentkit.checks import as_seed

    as_seed(arguments.seed)
    return load(arguments.checkpoint), out


def _info(arguments: argparse.Namespace) -> dict[str, Any]:
    from latentkit.checkpoint import load

    checkpoint = load(arguments.checkpoint)
    history = {key: values[-1] for key, values in checkpoint.history.items() if values}
    return {
        "checkpoint": str(arguments.checkpoint),
        "fingerprint": checkpoint.fingerprint,
        "trainer": checkpoint.trainer,
        "data": checkpoint.data,
        "prior": repr(checkpoint.generator.prior),
        "sample_shape": list(checkpoint.holdout.shape[1:]),
        "held_out": len(checkpoint.holdout),
        "classes": list(checkpoint.classes),
        "critic": checkpoint.critic is not None,
        "settings": checkpoint.settings,
        "last_step": history,
    }


def _draw(checkpoint: "Checkpoint", arguments: argparse.Namespace, n: int, truncation: float | None = None) -> "Tensor":
    """Return n latents as `--seed`, `--best` and `--truncation` ask."""
    from latentkit.checks import as_count

    n = as_count(n, "the number of latents")
    prior = checkpoint.generator.prior
    fraction = getattr(arguments, "best", None)
    if truncation is not None:
        if fraction is not None:
            raise ArgumentError("--truncation and --best are two ways to choose latents; give one of them")
        from latentkit.sampling.truncate import truncated_sample

        return truncated_sample(prior, n, threshold=truncation, seed=arguments.seed)
    if fraction is None:
        return prior.sample(n, seed=arguments.seed)
    from latentkit.checks import as_number

    fraction = as_number(fraction, "--best", least=0.0, most=1.0, open_least=True)
    quality = _map(checkpoint, arguments, max(1000, int(2 * n / fraction) + 1))
    best = quality.top(fraction)
    # In the order of the draw, not of the score: the first n are a fair choice among the best.
    return best.rows(best.index.argsort()[:n]).latents


def _map(checkpoint: "Checkpoint", arguments: argparse.Namespace, n: int) -> Any:
    from latentkit.quality import quality_map

    return quality_map(
        checkpoint.generator,
        checkpoint.critic,
        checkpoint.holdout,
        n=n,
        seed=arguments.seed,
        batch_size=arguments.batch_size,
        allow_uninformative=getattr(arguments, "allow_uninformative", False),
        progress=not arguments.json,
    )


def _write_samples(latents: "Tensor", samples: "Tensor", out: Path, columns: int | None) -> None:
    """Write latents (N, D) with their samples as .npz, or the samples as a .png sheet."""
    if out.suffix.lower() == ".npz":
        import numpy as np

        from latentkit.files import writing

        with writing(out) as file:
            np.savez_compressed(file, latents=latents.numpy(), samples=samples.numpy())
        return
    from latentkit.render import samples_sheet, save_png

    save_png(samples_sheet(samples, columns=columns), out)


def _sample(arguments: argparse.Namespace) -> dict[str, Any]:
    from latentkit.sampling.generate import generate

    checkpoint, out = _load(arguments, (".png", ".npz"))
    latents = _draw(checkpoint, arguments, arguments.n, arguments.truncation)
    samples = generate(checkpoint.generator, latents, batch_size=arguments.batch_size)
    _write_samples(latents, samples, out, None)
    return {"wrote": str(out), "samples": len(samples)}


def _interpolate(arguments: argparse.Namespace) -> dict[str, Any]:
    from latentkit.curves import interpolate, lerp, slerp
    from latentkit.sampling.generate import generate

    checkpoint, out = _load(arguments, (".png", ".gif", ".npz"))
    prior = checkpoint.generator.prior
    if min(arguments.between) < 0:
        raise ArgumentError(f"--between takes numbers of latents from 0, got {min(arguments.between)}")
    a, b = (prior.sample(1, seed=arguments.seed, start=k)[0] for k in arguments.between)
    curves = {"interpolate": lambda: interpolate(a, b, prior), "slerp": lambda: slerp(a, b), "lerp": lambda: lerp(a, b)}
    curve = curves[arguments.curve]()
    latents = curve.steps(arguments.steps)
    if out.suffix.lower() == ".gif":
        from latentkit.animation import animate

        animate(checkpoint.generator, curve, frames=arguments.steps, batch_size=arguments.batch_size).save(out)
    else:
        samples = generate(checkpoint.generator, latents, batch_size=arguments.batch_size)
        _write_samples(latents, samples, out, len(samples))
    middle = curve(0.5)
    return {"wrote": str(out), "steps": len(latents), "typicality_midway": float(prior.typicality(middle)[0])}


def _edit(arguments: argparse.Namespace) -> dict[str, Any]:
    import torch

    from latentkit.attributes import attributes_of
    from latentkit.checks import as_count, as_number, one_of
    from latentkit.directions import mean_difference
    from latentkit.sampling.generate import generate

    checkpoint, out = _load(arguments, (".png", ".npz"))
    generator, prior = checkpoint.generator, checkpoint.generator.prior
    known = attributes_of(checkpoint.holdout)
    measure = known[one_of(arguments.attribute, "--attribute", tuple(known))]
    steps, rows = as_count(arguments.steps, "--steps"), as_count(arguments.n, "-n")
    # Labels come from other latents than those that are edited.
    latents = prior.sample(2000, seed=arguments.seed, start=rows)
    values = measure(generate(generator, latents, batch_size=arguments.batch_size))
    direction = mean_difference(latents, values > values.median(), name=arguments.attribute, prior=prior)
    low, high = direction.safe_range
    if arguments.strength is not None:
        high = as_number(arguments.strength, "--strength", least=0.0, open_least=True)
        low = -high
    amounts = torch.linspace(low, high, steps)
    edited = prior.sample(rows, seed=arguments.seed)[:, None] + amounts[:, None] * direction.vector
    edited = edited.reshape(rows * steps, -1)
    samples = generate(generator, edited, batch_size=arguments.batch_size)
    _write_samples(edited, samples, out, steps)
    return {
        "wrote": str(out),
        "attribute": arguments.attribute,
        "strengths": [round(v, 3) for v in amounts.tolist()],
        "safe_range": list(direction.safe_range),
        "held_out_auc": direction.auc,
    }


def _quality(arguments: argparse.Namespace) -> dict[str, Any]:
    checkpoint, out = _load(arguments, (".npz",))
    quality = _map(checkpoint, arguments, arguments.n)
    quality.save(out)
    calibration = quality.calibration
    return {
        "wrote": str(out),
        "latents": len(quality),
        "verdict": quality.verdict,
        "auc": calibration.auc,
        "brier": calibration.brier,
        "calibration_error": calibration.ece,
        "z": calibration.z,
        "z_of_raw_logits": calibration.z_raw,
        "mean_probability": float(quality.probability.mean()),
    }


def _project(arguments: argparse.Namespace) -> dict[str, Any]:
    from latentkit.projection import project
    from latentkit.sampling.generate import generate

    checkpoint, out = _load(arguments, (".png", ".npz"))
    latents = _draw(checkpoint, arguments, arguments.n)
    rows = latents
    if arguments.of == "samples":
        rows = generate(checkpoint.generator, latents, batch_size=arguments.batch_size)
    plane = project(rows, arguments.method, seed=arguments.seed)
    if out.suffix.lower() == ".npz":
        plane.save(out)
    else:
        from latentkit.plots import plane_picture
        from latentkit.render import save_png

        save_png(plane_picture(plane.points, title=f"{arguments.method.upper()} of {len(rows)} {arguments.of}"), out)
    return {"wrote": str(out), "points": len(rows), "trustworthiness": plane.trustworthiness, "verdict": plane.verdict}


def _animate(arguments: argparse.Namespace) -> dict[str, Any]:
    from latentkit.animation import animate
    from latentkit.curves import loop

    checkpoint, out = _load(arguments, (".gif",))
    keys = _draw(checkpoint, arguments, arguments.keys)
    curve = loop(keys, prior=checkpoint.generator.prior)
    film = animate(
        checkpoint.generator, curve, frames=arguments.frames, fps=arguments.fps, batch_size=arguments.batch_size
    )
    film.save(out)
    return {"wrote": str(out), "frames": film.count, "seconds": film.seconds, "bytes": out.stat().st_size}


def _report(arguments: argparse.Namespace) -> dict[str, Any]:
    from latentkit.files import check_folder
    from latentkit.reports import report
    from latentkit.reports.build import MARKER

    check_folder(arguments.out, marker=MARKER)
    checkpoint, out = _load(arguments)
    page = report(
        checkpoint,
        out,
        seed=arguments.seed,
        n=arguments.n,
        batch_size=arguments.batch_size,
        progress=not arguments.json,
    )
    size = sum(file.stat().st_size for file in page.parent.iterdir())
    return {"wrote": str(page), "megabytes": round(size / 1e6, 2)}


if __name__ == "__main__":
    raise SystemExit(main())
