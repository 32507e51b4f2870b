"""The options of the verbs that map the latent space."""

from latentkit.options.adding import Verbs, add_best, add_store
from latentkit.options.choices import FILMS

__all__ = ["add_project", "add_quality", "add_route", "add_tide"]


def add_quality(verbs: Verbs) -> None:
    """Add `quality`."""
    sub = verbs.add(
        "quality",
        "Score latents with the calibrated critic.",
        "a .npz with latents and scores",
        required=False,
        measured=True,
    )
    sub.add_argument("-n", type=int, default=10_000, help="how many latents (default 10000)")
    sub.add_argument("--allow-uninformative", action="store_true", help="write scores even if they mean nothing")
    add_best(sub)
    add_store(sub)
    sub.add_argument("--store", metavar="DIR", help="keep the scores of a large map in this folder, as a store")


def add_tide(verbs: Verbs) -> None:
    """Add `tide`."""
    sub = verbs.add("tide", "Film how islands of good latents part as the threshold rises.", f"a film ({FILMS})")
    sub.add_argument("-n", type=int, default=4_000, help="how many latents to map (default 4000)")
    sub.add_argument("--frames", type=int, default=60, help="how many thresholds (default 60)")
    sub.add_argument("--fps", type=float, default=10.0, help="frames a second, at most 50 (default 10)")


def add_route(verbs: Verbs) -> None:
    """Add `route`."""
    sub = verbs.add(
        "route", "Lead from one latent to another through good ones.", f"a film ({FILMS}), or a .png picture"
    )
    sub.add_argument("a", type=int, metavar="A", help="number of the latent where it starts")
    sub.add_argument("b", type=int, metavar="B", help="number of the latent where it ends")
    sub.add_argument("-n", type=int, default=4_000, help="how many latents to map (default 4000)")
    sub.add_argument("--steps", type=int, default=72, help="how many samples along each curve (default 72)")


def add_project(verbs: Verbs) -> None:
    """Add `project`."""
    sub = verbs.add("project", "Lay samples or latents out in the plane.", "a .png map or .npz with its points")
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
