"""The curve that a command asks for: which keys it takes, how it goes through them, and at what pace."""

import argparse
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from latentkit.checkpoint import Checkpoint
from latentkit.checks import as_number
from latentkit.curves import (
    Curve,
    circle,
    ease_in,
    ease_in_out,
    ease_out,
    eased_keys,
    lerp,
    loop,
    orbit,
    random_loop,
    slerp,
    smootherstep,
    smoothstep,
    spline,
    tour,
)
from latentkit.curves import interpolate as matched
from latentkit.drawn import map_of
from latentkit.errors import ArgumentError
from latentkit.geometry import geodesic
from latentkit.limits import MOST_KEYS
from latentkit.protocols import Generator
from latentkit.routes import route
from latentkit.verbs.latents import check_numbers
from latentkit.walks import constant_speed, seam

__all__ = ["KEYS", "MAPPED", "TWO", "Keys", "check_pace", "curve_of", "keys_of", "paced"]

#: Latents that are mapped to find a route.
MAPPED = 4_000

EASES: dict[str, Callable[[Tensor], Tensor]] = {
    "smooth": smoothstep,
    "smoother": smootherstep,
    "in": ease_in,
    "out": ease_out,
    "in-out": ease_in_out,
}


@dataclass(frozen=True)
class Keys:
    """How many keys a curve takes, at least and at most, and the numbers that it takes where none are given."""

    least: int
    most: int
    usual: tuple[int, ...]


TWO = Keys(2, 2, (0, 1))
KEYS = {
    "interpolate": Keys(2, MOST_KEYS, (0, 1)),
    "slerp": TWO,
    "lerp": TWO,
    "spline": Keys(2, MOST_KEYS, (0, 1, 2, 3)),
    "loop": Keys(3, MOST_KEYS, (0, 1, 2)),
    "closed-spline": Keys(3, MOST_KEYS, (0, 1, 2)),
    "geodesic": TWO,
    "route": TWO,
    "circle": TWO,
    "orbit": Keys(1, 1, (0,)),
    "random": Keys(0, 0, ()),
}


def keys_of(checkpoint: Checkpoint, arguments: argparse.Namespace, wanted: Keys, what: str) -> tuple[int, ...]:
    """Return the numbers of the keys that `--between` gives, or the usual ones, checked.

    Raises:
        ArgumentError: if they are too few or too many, or there is no such latent.
    """
    numbers = wanted.usual if arguments.between is None else tuple(arguments.between)
    if not wanted.least <= len(numbers) <= wanted.most:
        many = str(wanted.least) if wanted.least == wanted.most else f"{wanted.least} to {wanted.most:,}"
        raise ArgumentError(f"{what} takes {many} latents, got {len(numbers)}; give so many numbers to --between")
    check_numbers(checkpoint, numbers, "--between", held_out=arguments.held_out)
    return numbers


def curve_of(checkpoint: Checkpoint, arguments: argparse.Namespace, keys: Tensor) -> Curve:
    """Return the curve of `--curve` through keys (K, D)."""
    generator, prior = checkpoint.generator, checkpoint.generator.prior
    kind = arguments.curve
    if kind == "route":
        found, judged = map_of(checkpoint, arguments, MAPPED, charted=True)
        return route(found, generator, judged.critic, keys[0], keys[1], batch_size=arguments.batch_size)
    makers: dict[str, Callable[[], Curve]] = {
        "interpolate": lambda: tour(keys, prior=prior) if len(keys) > 2 else matched(keys[0], keys[1], prior),
        "slerp": lambda: slerp(keys[0], keys[1]),
        "lerp": lambda: lerp(keys[0], keys[1]),
        "spline": lambda: spline(keys, prior=prior),
        "loop": lambda: loop(keys, prior=prior),
        "closed-spline": lambda: spline(keys, prior=prior, closed=True),
        "geodesic": lambda: geodesic(generator, keys[0], keys[1]),
        "circle": lambda: circle(keys[0], keys[1], prior),
        "orbit": lambda: orbit(keys[0], _radius(arguments), seed=arguments.seed, prior=prior),
        "random": lambda: random_loop(prior, seed=arguments.seed, detail=_detail(arguments)),
    }
    return makers[kind]()


def check_pace(arguments: argparse.Namespace) -> None:
    """Refuse options that the curve does not have."""
    _radius(arguments)
    _detail(arguments)


def _radius(arguments: argparse.Namespace) -> float:
    if arguments.radius is not None and arguments.curve != "orbit":
        raise ArgumentError("--radius is that of an orbit; give --curve orbit, or leave it out")
    return as_number(0.5 if arguments.radius is None else arguments.radius, "--radius", least=0.0, open_least=True)


def _detail(arguments: argparse.Namespace) -> float:
    if arguments.detail is not None and arguments.curve != "random":
        raise ArgumentError("--detail is that of a random loop; give --curve random, or leave it out")
    return as_number(6.0 if arguments.detail is None else arguments.detail, "--detail", least=1.0, most=1_000.0)


def paced(generator: Generator, curve: Curve, arguments: argparse.Namespace) -> tuple[Curve, dict[str, Any]]:
    """Return the curve at the pace that `--constant-speed` and `--ease` ask for, and what is said of it."""
    said: dict[str, Any] = {}
    if arguments.constant_speed:
        found = constant_speed(generator, curve, batch_size=arguments.batch_size)
        curve = found.curve
        said = {"decoded_length": found.length}
        for name, value in (("before", found.variation_before), ("after", found.variation_after)):
            said |= {} if torch.tensor(value).isnan() else {f"speed_variation_{name}": value}
        said |= {"pace": found.note} if found.note else {}
    if arguments.ease != "none":
        curve = eased_keys(curve, EASES[arguments.ease])
    if curve.closed:
        said["seam"] = seam(generator, curve, batch_size=arguments.batch_size).verdict
    return curve, said
