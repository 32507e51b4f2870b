"""The options of the verbs that film, replay, import and report."""

from latentkit.options.adding import Verbs, add_best
from latentkit.options.choices import FILMS, KINDS

__all__ = ["add_animate", "add_import", "add_replay", "add_report"]


def add_animate(verbs: Verbs) -> None:
    """Add `animate`."""
    sub = verbs.add("animate", "Film a loop through random latents.", f"a film ({FILMS})")
    sub.add_argument("--keys", type=int, default=6, help="how many latents to visit (default 6)")
    sub.add_argument("--grid", default="1x1", metavar="COLUMNSxROWS", help="so many loops side by side, such as 6x3")
    sub.add_argument("--frames", type=int, default=90, help="how many frames (default 90)")
    sub.add_argument("--fps", type=float, default=25.0, help="frames a second, at most 50 (default 25)")
    add_best(sub)


def add_replay(verbs: Verbs) -> None:
    """Add `replay`."""
    sub = verbs.bare("replay", "Make a film again from what is in its file.")
    sub.add_argument("film", metavar="FILM", help="a film that latentkit wrote")
    sub.add_argument("--checkpoint", metavar="CHECKPOINT", help="what made it (default: the bundled one, if it did)")
    sub.add_argument("--out", metavar="FILE", help=f"write the film that was made again ({FILMS})")


def add_import(verbs: Verbs) -> None:
    """Add `import`."""
    sub = verbs.bare("import", "Make a checkpoint of somebody else's generator.")
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


def add_report(verbs: Verbs) -> None:
    """Add `report`."""
    sub = verbs.add("report", "Write one page with everything, and its pictures.", "the report's folder")
    sub.add_argument("-n", type=int, default=None, help="how many samples to map (default 4000 images, 10000 points)")
    sub.add_argument("--single-file", action="store_true", help="all in one page, for sending it")
    sub.add_argument("--timings", action="store_true", help="say how long each chapter took")
