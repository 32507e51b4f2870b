"""The options of the verbs that draw, walk, move and find latents."""

from latentkit.options.adding import Verbs, add_best, add_held_out, add_store
from latentkit.options.choices import CURVES, EASES, ENCODERS, FILMS, LOSSES, METHODS, PRECISIONS, SEARCHES

__all__ = ["add_edit", "add_interpolate", "add_invert", "add_sample"]


def add_sample(verbs: Verbs) -> None:
    """Add `sample`."""
    sub = verbs.add(
        "sample",
        "Draw samples, as a sheet, as arrays, or as many as the disk takes.",
        "a .png sheet, .npz with latents and samples, or a store: a folder without a suffix, .zarr or .parquet",
        measured=True,
    )
    sub.add_argument("-n", type=int, default=64, help="how many samples (default 64)")
    sub.add_argument(
        "--truncation",
        type=float,
        metavar="SD",
        help="redraw coordinates beyond this many standard deviations (normal priors)",
    )
    sub.add_argument("--latents", action="store_true", help="keep the latents too in a store")
    sub.add_argument("--float", action="store_true", help="keep images in a store as float32, not as bytes")
    sub.add_argument(
        "--precision", choices=PRECISIONS, default="float32", help="what the generator computes in (default float32)"
    )
    add_best(sub)
    add_store(sub)


def add_interpolate(verbs: Verbs) -> None:
    """Add `interpolate`."""
    sub = verbs.add(
        "interpolate", "Go from one latent to another, or along any curve.", f"a .png strip, a film ({FILMS}), or .npz"
    )
    sub.add_argument(
        "--between",
        type=int,
        nargs="+",
        metavar="N",
        help="numbers of the latents, two ends or more keyframes (default 0 1)",
    )
    add_held_out(sub)
    sub.add_argument(
        "--curve",
        choices=CURVES,
        default="interpolate",
        help="interpolate stays on the prior, from key to key (default); slerp is the great circle, lerp the straight "
        "line; spline goes smoothly through keys, loop and closed-spline come back; geodesic changes the samples "
        "least; route keeps to good ones; circle goes round through two, orbit around one, random through none",
    )
    sub.add_argument("--steps", type=int, help="how many samples, both ends included (default 9, of a film 60)")
    sub.add_argument("--ease", choices=EASES, default="none", help="slow down at the keys (default none)")
    sub.add_argument("--constant-speed", action="store_true", help="let the samples change at an even speed")
    sub.add_argument("--radius", type=float, help="of an orbit, in standard deviations of a coordinate (default 0.5)")
    sub.add_argument("--detail", type=float, help="of a random loop: about how many places it visits (default 4)")
    sub.add_argument(
        "--compare", action="store_true", help="all curves between two latents: their table, and them side by side"
    )
    sub.add_argument("--grid", metavar="COLUMNSxROWS", help="a sheet of what lies between three or four latents")
    sub.add_argument(
        "--classes", nargs="+", metavar="NAME", help="walk one latent of a conditional model from class to class"
    )
    sub.add_argument("--fps", type=float, default=25.0, help="frames a second of a film, at most 50 (default 25)")


def add_edit(verbs: Verbs) -> None:
    """Add `edit`."""
    sub = verbs.add(
        "edit", "Move latents along a direction, or add and subtract them.", f"a .png sheet, a film ({FILMS}), or .npz"
    )
    what = sub.add_mutually_exclusive_group(required=True)
    what.add_argument(
        "--attribute",
        help="the direction of what is measured on samples: brightness, area, slant, ... or a class of the held-out "
        "samples; `info` lists them",
    )
    what.add_argument(
        "--direction",
        metavar="KIND:K",
        help="the K-th direction found without labels: sefa, jacobian, activations, or layer:NAME, such as sefa:1",
    )
    what.add_argument("--formula", help="a sum of latents by number, such as 'z3 - z5 + 0.5*z8'")
    what.add_argument("--vicinity", type=float, metavar="SCALE", help="latents around each, 0 the latent itself")
    sub.add_argument(
        "--of", type=int, nargs="+", metavar="N", help="numbers of the latents to edit (default: the first -n)"
    )
    add_held_out(sub)
    sub.add_argument("--method", choices=METHODS, default="mean", help="how a direction is found (default mean)")
    sub.add_argument(
        "--extreme", type=float, metavar="FRACTION", help="from the lowest and highest FRACTION of values, such as 0.02"
    )
    sub.add_argument("--against", nargs="+", metavar="NAME", help="attributes that the edit must leave alone")
    sub.add_argument("--audit", action="store_true", help="say what else the direction does, beside random ones")
    sub.add_argument("-n", type=int, default=4, help="how many latents, a row each (default 4)")
    sub.add_argument(
        "--strength", type=float, help="how far to go each way, above 0 (default: the direction's safe range)"
    )
    sub.add_argument("--steps", type=int, help="how many strengths, at least 2 (default 7, of a film 25)")


def add_invert(verbs: Verbs) -> None:
    """Add `invert`."""
    sub = verbs.add(
        "invert",
        "Find latents that make given samples.",
        "a .png with pairs, .npz, or a store: a folder without a suffix, .zarr or .parquet",
    )
    sub.add_argument("--files", nargs="+", metavar="IMAGE", help="image files (default: held-out samples)")
    sub.add_argument("--held-out", type=int, nargs="+", metavar="N", help="numbers of held-out samples")
    sub.add_argument("-n", type=int, default=8, help="the first so many held-out samples (default 8)")
    sub.add_argument("--steps", type=int, default=200, help="of the search, from each start (default 200)")
    sub.add_argument("--starts", type=int, default=2, help="how many starts a sample (default 2)")
    sub.add_argument("--pool", type=int, default=2_000, help="draws that starts are chosen from (default 2000)")
    sub.add_argument("--loss", choices=LOSSES, default="pixels", help="what is made small (default pixels)")
    sub.add_argument(
        "--search",
        choices=SEARCHES,
        default="gradient",
        help="gradient (default), or evolution for generators without gradients",
    )
    sub.add_argument(
        "--encoder",
        choices=ENCODERS,
        default="own",
        help="start from the checkpoint's encoder, if it has one (default), from one that is fitted now, or from none",
    )
    sub.add_argument("--editable", action="store_true", help="say how far the critic believes walks away from each")
    add_store(sub)
