"""The options of the command `latentkit`: what each verb takes, and its help."""

import textwrap

from latentkit import __version__
from latentkit.console import Parser

__all__ = ["CURVES", "EASES", "ENCODERS", "KINDS", "LOSSES", "METHODS", "MORE", "SEARCHES", "parser"]

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


CURVES = (
    "interpolate",
    "slerp",
    "lerp",
    "spline",
    "loop",
    "closed-spline",
    "geodesic",
    "route",
    "circle",
    "orbit",
    "random",
)
KINDS = (
    "autoencoder",
    "biggan",
    "dcgan",
    "exported",
    "gan-zoo",
    "onnx",
    "pythae",
    "pytorch",
    "stylegan",
    "torchscript",
)
FILMS = ".gif, .webp, .avif, .apng, .mp4"
EASES = ("none", "smooth", "smoother", "in", "out", "in-out")
METHODS = ("mean", "svm", "logistic")
LOSSES = ("pixels", "pyramid", "features")
SEARCHES = ("gradient", "evolution")
ENCODERS = ("own", "fit", "none")

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
        "interpolate runs/digits --out walk.gif --between 3 8 5 --curve spline --constant-speed --steps 90",
    ),
    "edit": (
        "The attribute is measured on 2000 samples; the direction leads from those below its median to those above, "
        "and goes as far each way as the prior allows. Of several classes each is compared within itself and kept.",
        "edit runs/digits --attribute slant --against width --audit --out slant.png",
    ),
    "invert": (
        "Each sample is searched from several starts, and the result says how near it came, how far apart the starts "
        "ended, and how typical the latent is.",
        "invert runs/digits --held-out 3 8 --out found.png",
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
    "import": (
        "Networks that latentkit has become ordinary checkpoints; of all others a reference to the file is written, "
        "with its SHA-256, which every verb takes too. Nothing in a file is run, only the code that --factory names.",
        "import stylegan ffhq.pkl --out runs/ffhq --view w --psi 0.7",
    ),
    "replay": (
        "The file holds the latents, and what its frames were: the frames are made again and compared, bit for bit. "
        "Nothing in the file is run.",
        "replay walk.gif --checkpoint runs/digits",
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

    def bare(name: str, about: str) -> Parser:
        """Add a verb that begins with no checkpoint."""
        text = textwrap.fill(f"{about} {MORE[name][0]}", 80)
        sub = verbs.add_parser(name, help=about, description=text, epilog=f"example:\n  latentkit {MORE[name][1]}")
        sub.set_defaults(verb=name)
        sub.add_argument("--threads", type=int, help="processor threads (default: one a core; fewer if busy)")
        sub.add_argument("--json", action="store_true", help="print the result as one JSON object")
        return sub

    def verb(name: str, about: str, out: str | None = None) -> Parser:
        sub = bare(name, about)
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

    def held_out(sub: Parser) -> None:
        sub.add_argument(
            "--held-out", action="store_true", help="the numbers are those of held-out samples, which are inverted"
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

    sub = verb(
        "interpolate", "Go from one latent to another, or along any curve.", f"a .png strip, a film ({FILMS}), or .npz"
    )
    sub.add_argument(
        "--between",
        type=int,
        nargs="+",
        metavar="N",
        help="numbers of the latents, two ends or more keyframes (default 0 1)",
    )
    held_out(sub)
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

    sub = verb(
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
    held_out(sub)
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

    sub = verb("invert", "Find latents that make given samples.", "a .png with pairs, or .npz")
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

    sub = verb("quality", "Score latents with the calibrated critic.", "a .npz with latents and scores")
    sub.add_argument("-n", type=int, default=10_000, help="how many latents (default 10000)")
    sub.add_argument("--allow-uninformative", action="store_true", help="write scores even if they mean nothing")
    best(sub)

    sub = verb("tide", "Film how islands of good latents part as the threshold rises.", f"a film ({FILMS})")
    sub.add_argument("-n", type=int, default=4_000, help="how many latents to map (default 4000)")
    sub.add_argument("--frames", type=int, default=60, help="how many thresholds (default 60)")
    sub.add_argument("--fps", type=float, default=10.0, help="frames a second, at most 50 (default 10)")

    sub = verb("route", "Lead from one latent to another through good ones.", f"a film ({FILMS}), or a .png picture")
    sub.add_argument("a", type=int, metavar="A", help="number of the latent where it starts")
    sub.add_argument("b", type=int, metavar="B", help="number of the latent where it ends")
    sub.add_argument("-n", type=int, default=4_000, help="how many latents to map (default 4000)")
    sub.add_argument("--steps", type=int, default=72, help="how many samples along each curve (default 72)")

    sub = verb("project", "Lay samples or latents out in the plane.", "a .png map or .npz with its points")
    sub.add_argument("-n", type=int, default=4_000, help="how many (default 4000)")
    sub.add_argument("--method", choices=("umap", "pca", "tsne"), default="umap", help="default umap")
    sub.add_argument(
        "--of",
        choices=("features", "samples", "latents"),
        default="features",
        help="features are the critic's last ones, or all numbers of the samples without (default); samples all their "
        "numbers; UMAP of Gaussian latents shows noise",
    )
    sub.add_argument("--supervised", action="store_true", help="let the classes of a conditional model pull apart")

    sub = verb("animate", "Film a loop through random latents.", f"a film ({FILMS})")
    sub.add_argument("--keys", type=int, default=6, help="how many latents to visit (default 6)")
    sub.add_argument("--grid", default="1x1", metavar="COLUMNSxROWS", help="so many loops side by side, such as 6x3")
    sub.add_argument("--frames", type=int, default=90, help="how many frames (default 90)")
    sub.add_argument("--fps", type=float, default=25.0, help="frames a second, at most 50 (default 25)")
    best(sub)

    sub = bare("replay", "Make a film again from what is in its file.")
    sub.add_argument("film", metavar="FILM", help="a film that latentkit wrote")
    sub.add_argument("--checkpoint", metavar="CHECKPOINT", help="what made it (default: the bundled one, if it did)")
    sub.add_argument("--out", metavar="FILE", help=f"write the film that was made again ({FILMS})")

    sub = bare("import", "Make a checkpoint of somebody else's generator.")
    sub.add_argument("kind", choices=KINDS, metavar="KIND", help=f"one of {', '.join(KINDS)}")
    sub.add_argument("source", metavar="SOURCE", help="the file, or for some kinds the folder")
    sub.add_argument("--out", required=True, metavar="DIR", help="the checkpoint's folder")
    sub.add_argument("--real", metavar="PATH", help="real samples to keep beside it: a folder of images, or an array")
    sub.add_argument("--latent-dim", type=int, metavar="D", help="size of a latent, where the file does not say it")
    sub.add_argument("--latent-shape", type=int, nargs="+", metavar="N", help="of one latent, such as 100 1 1")
    sub.add_argument("--prior", choices=("normal", "uniform", "sphere"), help="of the latents (default normal)")
    sub.add_argument("--classes", nargs="+", metavar="NAME", help="names of a conditional model's classes")
    sub.add_argument("--critic", metavar="FILE", help="its critic, a file of the same kind")
    sub.add_argument("--factory", metavar="FILE.py:NAME", help="the code that makes the network (pytorch); it is run")
    sub.add_argument("--part", metavar="NAME", help="which part of the file holds the weights")
    sub.add_argument("--range", type=float, nargs=2, metavar=("LOW", "HIGH"), help="of its output (default: found out)")
    sub.add_argument("--channels-last", action="store_true", help="its images are (H, W, C)")
    sub.add_argument("--key", help="which part of its output the samples are")
    sub.add_argument("--view", help="of a StyleGAN z, w or wplus; of a BigGAN classes or embedding")
    sub.add_argument("--psi", type=float, help="truncation of a StyleGAN's view")
    sub.add_argument("--truncation", type=float, help="of a BigGAN")
    sub.add_argument("--class", dest="label", metavar="NAME", help="class of a StyleGAN's views w and wplus")
    sub.add_argument("--size", type=int, help="side of an autoencoder's images")

    sub = verb("report", "Write one page with everything, and its pictures.", "the report's folder")
    sub.add_argument("-n", type=int, default=None, help="how many samples to map (default 4000 images, 10000 points)")
    sub.add_argument("--single-file", action="store_true", help="all in one page, for sending it")
    sub.add_argument("--timings", action="store_true", help="say how long each chapter took")
    return command
