"""Curves through the latent space, with their degenerate cases decided.

`interpolate` stays on the prior and is what everything here uses unless told otherwise; `lerp` is the plain straight
line and `slerp` the great circle. `tour` and `loop` go through keyframes piece by piece, `spline` smoothly;
`random_loop`, `circle` and `orbit` close without any. `anchor_grid` has two dimensions. `eased`, `eased_keys`,
`retimed`, `reversed_curve`, `there_and_back` and `joined_curves` give the same latents at other times.
"""

from latentkit.curves.between import interpolate, lerp, slerp
from latentkit.curves.curve import Curve
from latentkit.curves.grids import AnchorGrid, anchor_grid
from latentkit.curves.loops import circle, orbit, random_loop
from latentkit.curves.splines import spline
from latentkit.curves.timing import (
    ease_in,
    ease_in_out,
    ease_out,
    eased,
    eased_keys,
    retimed,
    reversed_curve,
    smootherstep,
    smoothstep,
    there_and_back,
)
from latentkit.curves.tours import joined_curves, loop, tour

__all__ = [
    "AnchorGrid",
    "Curve",
    "anchor_grid",
    "circle",
    "ease_in",
    "ease_in_out",
    "ease_out",
    "eased",
    "eased_keys",
    "interpolate",
    "joined_curves",
    "lerp",
    "loop",
    "orbit",
    "random_loop",
    "retimed",
    "reversed_curve",
    "slerp",
    "smootherstep",
    "smoothstep",
    "spline",
    "there_and_back",
    "tour",
]
