"""What the verbs start from: a checkpoint as its options ask, its latents, and their quality map."""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from torch import Tensor

from latentkit.adapters import REFERENCE
from latentkit.checkpoint import Checkpoint, load
from latentkit.checks import as_number, as_seed
from latentkit.console import watched
from latentkit.engines import check_engine
from latentkit.errors import ArgumentError, CriticError
from latentkit.files import check_target
from latentkit.judges import ENOUGH, Judged, judge
from latentkit.limits import MOST_AT_A_TIME, MOST_SCORED, check_memory, count_of
from latentkit.priors import Normal
from latentkit.quality import QualityMap, quality_map
from latentkit.quality.chart import GRAPH_LIMIT
from latentkit.sampling.batches import USUAL
from latentkit.sampling.truncate import truncated_sample
from latentkit.stores import kind_of
from latentkit.views import viewed

__all__ = ["best_of", "check_filling", "draw", "filled_by", "loaded", "map_of", "opened", "shows"]


def opened(
    arguments: argparse.Namespace, suffixes: Sequence[str] = (), *, stores: bool = False
) -> tuple[Checkpoint, Path]:
    """Return the checkpoint as `--class` asks and the output's path; both are checked before any work.

    Args:
        arguments: the options.
        suffixes: what the output's name may end in, or none for a folder.
        stores: whether it may be a store's as well, which is checked when it is made.
    """
    out = Path(arguments.out)
    if suffixes and not (stores and kind_of(out)):
        if out.suffix.lower() not in suffixes:
            wanted = " or ".join(suffixes)
            also = ", or name a store (a folder without a suffix, .zarr or .parquet)" if stores else ""
            raise ArgumentError(f"--out must end in {wanted}{also}, got {arguments.out!r}")
        check_target(out)

    as_seed(arguments.seed)
    if arguments.batch_size is not None:
        count_of(arguments.batch_size, "--batch-size", most=MOST_AT_A_TIME)
    return viewed(loaded(arguments.checkpoint), arguments.label, str(arguments.checkpoint)), out


def loaded(name: str) -> Checkpoint:
    """Return the checkpoint of a folder or a bundled name, or what a reference that `import` wrote refers to."""
    try:
        referred = (Path(name) / REFERENCE).is_file()
    except (OSError, ValueError):  # no name that a file can have, as `load` will say
        referred = False
    if not referred:
        return load(name)
    # All families of adapters come with it, which the other commands need not wait for.
    from latentkit.adapters.importing import load_reference

    return load_reference(name)


def shows(arguments: argparse.Namespace) -> bool:
    """Whether a progress bar would be seen: not by a script, nor in a log file."""
    return not arguments.json and watched()


def check_filling(arguments: argparse.Namespace, *, store: bool, hint: str) -> None:
    """Check the options that say how a store is filled.

    Args:
        arguments: the options.
        store: whether there is one to be filled.
        hint: how to ask for one.

    Raises:
        ArgumentError: if such an option is given and there is none, or one is out of range.
    """
    given = {
        "--resume": arguments.resume,
        "--engine ray": arguments.engine != "local",
        "--address": arguments.address is not None,
        "--workers": arguments.workers is not None,
        "--gpus": arguments.gpus > 0,
    }
    names = [name for name, there in given.items() if there]
    if names and not store:
        raise ArgumentError(f"{' and '.join(names)} {'is' if len(names) == 1 else 'are'} for a store; {hint}")
    others = [name for name in names if name not in ("--resume", "--engine ray")]
    if others and arguments.engine != "ray":
        raise ArgumentError(
            f"{' and '.join(others)} {'goes' if len(others) == 1 else 'go'} with --engine ray; add that"
        )
    check_engine(arguments.engine, address=arguments.address, workers=arguments.workers, gpus=arguments.gpus)


def filled_by(arguments: argparse.Namespace) -> dict[str, Any]:
    """Return how a store is to be filled, and let an interrupt say how to go on with it."""
    arguments.interrupted.append("the blocks that are done stay; give the same command with --resume to go on")
    return {
        "engine": arguments.engine,
        "address": arguments.address,
        "workers": arguments.workers,
        "threads": arguments.threads,
        "gpus": arguments.gpus,
        "resume": arguments.resume,
        "progress": shows(arguments),
    }


def draw(checkpoint: Checkpoint, arguments: argparse.Namespace, n: int, truncation: float | None = None) -> Tensor:
    """Return n latents as `--seed`, `--best`, `--balanced` and `--truncation` ask."""
    prior = checkpoint.generator.prior
    fraction = best_of(arguments)
    if truncation is not None:
        if fraction is not None:
            raise ArgumentError("--truncation and --best are two ways to choose latents; give one of them")

        truncation = as_number(truncation, "--truncation", least=0.0, open_least=True)
        if not isinstance(prior, Normal):
            raise ArgumentError(f"--truncation needs a model with a normal prior; this one's is {prior}")
        return truncated_sample(prior, n, threshold=truncation, seed=arguments.seed)
    if fraction is None:
        return prior.sample(n, seed=arguments.seed)

    # Twice as many as are needed, so that the n that are taken are a choice among the best.
    scored = max(1000.0, 2.0 * n / fraction + 1.0)
    if scored > MOST_SCORED:
        raise ArgumentError(
            f"--best {fraction:g} for {n:,} latents means to score {scored:,.0f}, more than {MOST_SCORED:,}; "
            "take a larger fraction or fewer latents"
        )
    balanced = bool(getattr(arguments, "balanced", False))
    found, _ = map_of(checkpoint, arguments, int(scored), charted=balanced)
    best = found.top_balanced(fraction) if balanced else found.top(fraction)
    # In the order of the draw, not of the score: the first n are a fair choice among the best.
    return best.rows(best.index.argsort()[:n]).latents


def best_of(arguments: argparse.Namespace) -> float | None:
    """Return `--best`, None if it was not given.

    Raises:
        ArgumentError: if it is no fraction, or `--balanced` was given without it.
    """
    fraction = getattr(arguments, "best", None)
    if fraction is None:
        if getattr(arguments, "balanced", False):
            raise ArgumentError("--balanced says how the best are chosen, so it needs --best FRACTION")
        return None
    return as_number(fraction, "--best", least=0.0, most=1.0, open_least=True)


def map_of(
    checkpoint: Checkpoint, arguments: argparse.Namespace, n: int, *, charted: bool
) -> tuple[QualityMap, Judged]:
    """Return the quality map of n latents of `--seed`, with a chart if islands or ways are wanted, and its critic."""
    if checkpoint.critic is None and len(checkpoint.holdout) < ENOUGH:
        raise CriticError(f"{arguments.checkpoint} has no critic, so its latents cannot be scored")
    stored = getattr(arguments, "store", None)
    if stored is None:
        check_memory(checkpoint, n, "scoring", samples=False)
    can_allow = hasattr(arguments, "allow_uninformative")
    judged = judge(
        checkpoint.generator,
        checkpoint.critic,
        checkpoint.holdout,
        seed=arguments.seed,
        start=n,
        batch_size=arguments.batch_size or USUAL,
    )
    filling = {} if stored is None else {"store": stored, **filled_by(arguments)}
    try:
        found = quality_map(
            checkpoint.generator,
            judged.critic,
            judged.real,
            n=n,
            seed=arguments.seed,
            batch_size=arguments.batch_size,
            calibration=judged.calibration,
            graph_limit=GRAPH_LIMIT if charted else 0,
            allow_uninformative=can_allow and arguments.allow_uninformative,
            **{"progress": shows(arguments), **filling},
        )
    except CriticError as error:
        way_out = "leave out --best" if hasattr(arguments, "best") else "train longer"
        way_out = "give --allow-uninformative to see the scores all the same" if can_allow else way_out
        said = str(error).replace("pass allow_uninformative=True to see the scores all the same", way_out)
        raise CriticError(said) from error
    return found, judged
