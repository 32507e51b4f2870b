"""The options of the command `latentkit`: what each verb takes, and its help."""

import textwrap

from latentkit import __version__
from latentkit.console import Parser

__all__ = ["MORE", "parser"]

_EPILOG = """\
a checkpoint is a folder that latentkit-train wrote:
  latentkit-train gan --data digits --out runs/digits
  latentkit report runs/digits --out report           everything, on one page
  latentkit animate runs/digits --out walk.gif        a loop through the latent space
  latentkit edit runs/digits --attribute slant --out slant.png

or the name of one that comes with latentkit, where no folder here has it: fashion-mnist
  latentkit report fashion-mnist --out report
  latentkit sample fashion-mnist --class sneaker --out sneakers.png

`latentkit VERB --help` tells what a verb takes.
"""


# What a verb's help adds to its one line: how it works, and an example.
MORE = {
    "info": (
        "Every file is checked against its SHA-256. A conditional model lists its classes, which --class of the other "
        "verbs takes.",
        "info runs/digits --json",
    ),
    "sample": (
        "Latent i of a seed is always the same one, however many are drawn.",
        "sample runs/digits --out best.png -n 64 --best 0.25",
    ),
    "interpolate": (
        "The default curve is matched to the prior: every latent on the way is as typical as a fresh draw. Where the "
        "class of a conditional model changes, samples jump; --class keeps to one.",
        "interpolate runs/digits --out strip.png --between 3 8 --steps 9",
    ),
    "edit": (
        "The attribute is measured on 2000 samples; the direction leads from those below its median to those above, "
        "and goes as far each way as the prior allows. Of several classes each is compared within itself and kept.",
        "edit runs/digits --attribute slant --out slant.png",
    ),
    "quality": (
        "The critic is calibrated on held-out real samples first; if it cannot tell them from generated ones, nothing "
        "is written. Good latents reach the threshold, as all but 5 per cent of real samples do; islands are their "
        "parts that hang together, coverage is the share of real samples with a generated one nearby.",
        "quality runs/digits --out map.npz -n 20000",
    ),
    "project": (
        "The trustworthiness that is printed says how far neighbours in the plane are neighbours indeed.",
        "project runs/digits --out map.png",
    ),
    "tide": (
        "The threshold rises from the lowest probability to the highest: what is below is under water, and islands "
        "part and drown, each in its own colour.",
        "tide runs/digits --out tide.gif",
    ),
    "route": (
        "The route keeps to what the calibrated critic believes where that hangs together, and says so where it does "
        "not. It is shown on the map beside its samples, with the curves that ignore the map.",
        "route runs/digits 3 8 --out route.gif",
    ),
    "animate": (
        "The loop is matched to the prior and has no doubled frame. Where the class of a conditional model changes, "
        "samples jump; --class keeps to one.",
        "animate runs/digits --out walk.gif --keys 8 --grid 6x3",
    ),
    "report": (
        "It opens from disk: verdict, samples, walks, arithmetic, manifold, map.",
        "report runs/digits --out report",
    ),
}


def parser() -> Parser:
    """Return the parser of the command line; it needs neither torch nor a model."""
    command = Parser(
        prog="latentkit",
        description="Explore the latent space of a generative model: what is in it, and where is it good?",
        epilog=_EPILOG,
    )
    command.add_argument("--version", action="version", version=f"latentkit {__version__}")
    verbs = command.add_subparsers(title="verbs", metavar="VERB", required=True)

    def verb(name: str, about: str, out: str | None = None) -> Parser:
        text = textwrap.fill(f"{about} {MORE[name][0]}", 80)
        sub = verbs.add_parser(name, help=about, description=text, epilog=f"example:\n  latentkit {MORE[name][1]}")
        sub.set_defaults(verb=name)
        sub.add_argument(
            "checkpoint", metavar="CHECKPOINT", help="the folder of a trained model, or a bundled one's name"
        )
        if out:
            sub.add_argument("--out", required=True, metavar="FILE" if "." in out else "DIR", help=out)
            sub.add_argument("--seed", type=int, default=0, help="which random latents, 0 to 2**64 - 1 (default 0)")
            sub.add_argument(
                "--class",
                dest="label",
                metavar="NAME",
                help="only this class of a conditional model, by name or number (default: all classes, equally often)",
            )
            sub.add_argument("--batch-size", type=int, default=64, help="latents at a time (default 64)")
        sub.add_argument("--threads", type=int, help="processor threads (default: one a core; fewer if busy)")
        sub.add_argument("--json", action="store_true", help="print the result as one JSON object")
        return sub

    def best(sub: Parser) -> None:
        sub.add_argument(
            "--best",
            type=float,
            metavar="FRACTION",
            help="only the best FRACTION of latents by the calibrated critic, such as 0.25",
        )
        sub.add_argument(
            "--balanced", action="store_true", help="the best of each island, by its share, rather than of all at once"
        )

    verb("info", "Say what a checkpoint holds and how it was trained.")

    sub = verb("sample", "Draw samples, as a sheet or as arrays.", "a .png sheet, or .npz with latents and samples")
    sub.add_argument("-n", type=int, default=64, help="how many samples (default 64)")
    sub.add_argument(
        "--truncation",
        type=float,
        metavar="SD",
        help="redraw coordinates beyond this many standard deviations (normal priors)",
    )
    best(sub)

    sub = verb("interpolate", "Go from one latent to another.", "a .png strip, a .gif, or .npz")
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

    sub = verb("edit", "Move latents along the direction of an attribute.", "a .png sheet or .npz")
    sub.add_argument(
        "--attribute",
        required=True,
        help="brightness, width, slant or symmetry of images; horizontal or vertical of points",
    )
    sub.add_argument("-n", type=int, default=4, help="how many latents, a row each (default 4)")
    sub.add_argument(
        "--strength", type=float, help="how far to go each way, above 0 (default: the direction's safe range)"
    )
    sub.add_argument("--steps", type=int, default=7, help="how many strengths, a column each, at least 2 (default 7)")

    sub = verb("quality", "Score latents with the calibrated critic.", "a .npz with latents and scores")
    sub.add_argument("-n", type=int, default=10_000, help="how many latents (default 10000)")
    sub.add_argument("--allow-uninformative", action="store_true", help="write scores even if they mean nothing")
    best(sub)

    sub = verb("tide", "Film how islands of good latents part as the threshold rises.", "a .gif")
    sub.add_argument("-n", type=int, default=4_000, help="how many latents to map (default 4000)")
    sub.add_argument("--frames", type=int, default=60, help="how many thresholds (default 60)")
    sub.add_argument("--fps", type=float, default=10.0, help="frames a second, at most 50 (default 10)")

    sub = verb("route", "Lead from one latent to another through good ones.", "a .gif, or a .png picture")
    sub.add_argument("a", type=int, metavar="A", help="number of the latent where it starts")
    sub.add_argument("b", type=int, metavar="B", help="number of the latent where it ends")
    sub.add_argument("-n", type=int, default=4_000, help="how many latents to map (default 4000)")
    sub.add_argument("--steps", type=int, default=72, help="how many samples along each curve (default 72)")

    sub = verb("project", "Lay samples or latents out in the plane.", "a .png map or .npz with its points")
    sub.add_argument("-n", type=int, default=4_000, help="how many (default 4000)")
    sub.add_argument("--method", choices=("umap", "pca"), default="umap", help="default umap")
    sub.add_argument(
        "--of",
        choices=("samples", "latents"),
        default="samples",
        help="samples shows what is made (default); UMAP of Gaussian latents shows noise",
    )

    sub = verb("animate", "Film a loop through random latents.", "a .gif")
    sub.add_argument("--keys", type=int, default=6, help="how many latents to visit (default 6)")
    sub.add_argument("--grid", default="1x1", metavar="COLUMNSxROWS", help="so many loops side by side, such as 6x3")
    sub.add_argument("--frames", type=int, default=90, help="how many frames (default 90)")
    sub.add_argument("--fps", type=float, default=25.0, help="frames a second, at most 50 (default 25)")
    best(sub)

    sub = verb("report", "Write one page with everything, and its pictures.", "the report's folder")
    sub.add_argument("-n", type=int, default=None, help="how many samples to map (default 4000 images, 10000 points)")
    return command
