"""The verb that moves latents along directions, adds and subtracts them, and looks around them."""

import argparse
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from latentkit.attributes import attributes_of
from latentkit.checkpoint import Checkpoint
from latentkit.checks import as_number
from latentkit.directions import Direction, logistic_boundary, mean_difference, orthogonalised, svm_boundary
from latentkit.drawn import opened, shows
from latentkit.edits import (
    LayerDirection,
    Sweep,
    activation_directions,
    audit,
    edited_layer,
    fit_direction,
    jacobian_directions,
    layer_directions,
    layers_of,
    safe_strengths,
    sefa,
    sweep,
)
from latentkit.errors import ArgumentError
from latentkit.limits import MOST_STRENGTH, check_drawable, check_memory, check_sheet, count_of
from latentkit.render import save_png
from latentkit.strengths import sweep_film, sweep_sheet
from latentkit.verbs.latents import check_numbers, numbered
from latentkit.verbs.measures import known_attributes
from latentkit.verbs.output import FILMS, generated, is_film, steps_of, write_samples
from latentkit.verbs.sums import around, calculated
from latentkit.views import classes_of

__all__ = ["edit"]

FITS = {"mean": mean_difference, "svm": svm_boundary, "logistic": logistic_boundary}

#: Ways to find directions without labels: the generator and how many, to as many directions.
FINDERS: dict[str, Callable[..., tuple[Direction, ...]]] = {
    "sefa": sefa,
    "jacobian": jacobian_directions,
    "activations": activation_directions,
}

#: Latents that an attribute is measured on, and the most directions of a kind that can be asked for.
MEASURED, MOST_FOUND = 2_000, 512

#: Standard deviations that a layer's activations are moved each way, unless told otherwise.
USUAL_STRENGTH = 3.0


def edit(arguments: argparse.Namespace) -> dict[str, Any]:
    """Move latents along a direction, add and subtract them, or look around them."""
    checkpoint, out = opened(arguments, (".png", ".npz", *FILMS))
    count = count_of(arguments.n, "-n") if arguments.of is None else len(arguments.of)
    wanted = steps_of(arguments, out, still=7, film=25)
    steps = count_of(wanted, "--steps", least=2)  # one step would be the most extreme of all
    check_memory(checkpoint, count * steps, "-n times --steps", samples=True)
    numbers = tuple(range(count)) if arguments.of is None else tuple(arguments.of)
    check_numbers(checkpoint, numbers, "--of", held_out=arguments.held_out)
    if arguments.strength is not None:
        as_number(arguments.strength, "--strength", least=0.0, most=MOST_STRENGTH, open_least=True)
    _check_options(arguments, out)
    if is_film(out):
        check_drawable(checkpoint)
    else:
        check_sheet(checkpoint, out, len(numbers) * steps)
    if arguments.formula is not None:
        return calculated(checkpoint, arguments, out)
    if arguments.vicinity is not None:
        return around(checkpoint, arguments, out, numbers, steps)
    if arguments.direction is not None and arguments.direction.startswith("layer:"):
        return _in_a_layer(checkpoint, arguments, out, numbers, steps)
    return _along(checkpoint, arguments, out, numbers, steps)


def _check_options(arguments: argparse.Namespace, out: Path) -> None:
    """Refuse options that what is asked for does not have."""
    learned, moved = arguments.attribute is not None, arguments.attribute or arguments.direction
    for name, given in (("--extreme", arguments.extreme is not None), ("--method", arguments.method != "mean")):
        if given and not learned:
            raise ArgumentError(f"{name} says how the direction of an --attribute is found; leave it out")
    for name, given in (
        ("--against", bool(arguments.against)),
        ("--audit", arguments.audit),
        ("--strength", arguments.strength is not None),
    ):
        if given and not moved:
            raise ArgumentError(f"{name} belongs to an --attribute or a --direction; leave it out")
    if is_film(out) and not moved:
        raise ArgumentError("a film is of strengths; let --out end in .png or .npz")
    if arguments.extreme is not None:
        as_number(arguments.extreme, "--extreme", least=0.0, most=0.5, open_least=True)
    if arguments.vicinity is not None:
        as_number(arguments.vicinity, "--vicinity", least=0.0)


def _along(
    checkpoint: Checkpoint, arguments: argparse.Namespace, out: Path, numbers: tuple[int, ...], steps: int
) -> dict[str, Any]:
    """Write latents moved along a direction of the latent space."""
    generator, size = checkpoint.generator, arguments.batch_size
    known = known_attributes(checkpoint, arguments.attribute, arguments.against or ())
    direction = _direction(checkpoint, arguments, known)
    first, inverted = numbered(checkpoint, arguments, numbers)
    made = sweep(generator, direction, first, _strengths(checkpoint, arguments, direction, steps), batch_size=size)
    _write(checkpoint, made, out, arguments)
    said: dict[str, Any] = {
        "wrote": str(out),
        "direction": direction.name,
        "method": direction.method,
        "strengths": [round(v, 3) for v in made.strengths.tolist()],
        "typicality": [round(v, 3) for v in made.typicality.median(0).values.tolist()],
        "safe_range": list(direction.safe_range),
    }
    for name, value in (("held_out_auc", direction.auc), ("held_out_accuracy", direction.accuracy)):
        said |= {} if value != value else {name: value}
    said |= {} if direction.share != direction.share else {"share": direction.share}
    if arguments.audit:
        said["audit"] = _audited(checkpoint, arguments, direction, known)
    return {**said, **inverted, **classes_of(generator, first)}


def _strengths(checkpoint: Checkpoint, arguments: argparse.Namespace, direction: Direction, steps: int) -> Tensor:
    """Return the strengths that `--strength` asks for, or those over the safe range."""
    if arguments.strength is not None:
        return torch.linspace(-arguments.strength, arguments.strength, steps, dtype=torch.float64)
    # Of an even number the two that are nearest to 0 on both sides are kept, and 0 itself is left out.
    whole = safe_strengths(direction, checkpoint.generator.prior, steps + 1 - steps % 2)
    return whole if steps % 2 else whole[whole != 0.0]


def _direction(
    checkpoint: Checkpoint, arguments: argparse.Namespace, known: dict[str, Callable[[Tensor], Tensor]]
) -> Direction:
    """Return the direction of `--attribute` or `--direction`, orthogonal to those of `--against`."""
    generator = checkpoint.generator
    kind = k = None
    if arguments.direction is not None:
        kind, k = _kind(arguments.direction)
    learned = [name for name in (arguments.attribute, *(arguments.against or ())) if name is not None]
    found = {}
    if learned:
        # Labels come from other latents than those that are edited.
        latents = generator.prior.sample(MEASURED, seed=arguments.seed, start=max(count_of(arguments.n, "-n"), 64))
        samples = generated(checkpoint, latents, arguments)
        for name in learned:
            found[name] = fit_direction(
                generator,
                latents,
                known[name](samples),
                name=name,
                fit=FITS[arguments.method],
                extreme=arguments.extreme,
            )
    if kind is not None and k is not None:
        some = FINDERS[kind](generator, k)
        wanted = replace(some[-1], name=f"{kind} {k}")
    else:
        wanted = found[arguments.attribute]
    others = [found[name] for name in arguments.against or ()]
    return orthogonalised(wanted, others) if others else wanted


def _kind(text: str) -> tuple[str, int]:
    """Return the kind and the number of a text such as sefa:2."""
    found = re.fullmatch(r"([a-z]+)(?::([0-9]{1,4}))?", text)
    if found is None or found[1] not in FINDERS:
        raise ArgumentError(
            f"--direction takes a kind and a number, such as {', '.join(f'{name}:1' for name in FINDERS)} or "
            f"layer:NAME:1, got {text!r}"
        )
    return found[1], count_of(int(found[2] or 1), "the number of a --direction", most=MOST_FOUND)


def _audited(
    checkpoint: Checkpoint,
    arguments: argparse.Namespace,
    direction: Direction,
    known: dict[str, Callable[[Tensor], Tensor]],
) -> dict[str, Any]:
    """Return what the direction does beside what it should."""
    usual = attributes_of(checkpoint.holdout)
    found = audit(
        checkpoint.generator,
        direction,
        attributes={**usual, **known},
        seed=arguments.seed,
        refit=FITS[arguments.method] if arguments.attribute and not arguments.against else None,
        extreme=arguments.extreme,
        batch_size=arguments.batch_size,
    )
    done = found.audits[0]
    said: dict[str, Any] = {
        name: f"{effect:+.2f} sd a step, {abs(times):.1f} times a random direction"
        for name, effect, times in zip(done.attributes, done.effects.tolist(), done.z_scores.tolist(), strict=True)
    }
    if done.stability == done.stability:
        said["bootstrap_cosine"] = done.stability
    return {**said, "verdict": done.note}


def _in_a_layer(
    checkpoint: Checkpoint, arguments: argparse.Namespace, out: Path, numbers: tuple[int, ...], steps: int
) -> dict[str, Any]:
    """Write samples of a generator whose layer puts out more and more of one of its components."""
    for name in ("against", "audit"):
        if getattr(arguments, name):
            raise ArgumentError(f"--{name} is for directions of latents, not of a layer's activations; leave it out")
    generator = checkpoint.generator
    wanted = _layer_direction(checkpoint, arguments)
    reach = USUAL_STRENGTH if arguments.strength is None else arguments.strength
    strengths = torch.linspace(-reach, reach, steps, dtype=torch.float64)
    first, inverted = numbered(checkpoint, arguments, numbers)
    samples = [
        generated(replace(checkpoint, generator=edited_layer(generator, wanted.layer, wanted, s)), first, arguments)
        for s in strengths.tolist()
    ]
    typicality = generator.prior.typicality(first)[:, None].expand(-1, steps)
    latents = first[:, None].expand(-1, steps, -1)
    made = Sweep(wanted.name, strengths, latents, torch.stack(samples, 1), typicality, None)
    _write(checkpoint, made, out, arguments)
    return {
        "wrote": str(out),
        "direction": wanted.name,
        "share": wanted.share,
        "strengths": [round(v, 3) for v in strengths.tolist()],
        **inverted,
        **classes_of(generator, first),
    }


def _layer_direction(checkpoint: Checkpoint, arguments: argparse.Namespace) -> LayerDirection:
    found = re.fullmatch(r"layer:(.+?)(?::([0-9]{1,4}))?", arguments.direction)
    known = layers_of(checkpoint.generator)
    if found is None or found[1] not in known:
        raise ArgumentError(
            f"--direction layer:NAME:K takes a layer of the generator, one of {', '.join(known)}; got "
            f"{arguments.direction!r}"
        )
    k = count_of(int(found[2] or 1), "the number of a --direction", most=MOST_FOUND)
    return layer_directions(checkpoint.generator, found[1], k, batch_size=arguments.batch_size)[-1]


def _write(checkpoint: Checkpoint, made: Sweep, out: Path, arguments: argparse.Namespace) -> None:
    if out.suffix.lower() == ".npz":
        flat = made.latents.flatten(0, 1)
        write_samples(checkpoint.generator, flat, made.samples.flatten(0, 1), out, None)
    elif is_film(out):
        sweep_film(made).save(out, progress=shows(arguments))
    else:
        save_png(sweep_sheet(made), out)
