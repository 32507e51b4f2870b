"""latentkit: what is in a generator's latent space, and where is it good?

Every public name is at the top level and is imported when first used, so that `import latentkit` and
the command's `--help` stay quick.
"""

from typing import TYPE_CHECKING

from latentkit.exports import lazy

__version__ = "0.1.0"

_HOMES = {
    "priors": ("Empirical", "Normal", "Prior", "Sphere", "Uniform"),
    "protocols": ("ConditionalGenerator", "Critic", "Encoder", "Generator", "wrap"),
    "curves": ("Curve", "interpolate", "lerp", "loop", "slerp", "tour"),
    "arithmetic": ("analogy", "combine", "mean", "vicinity"),
    "directions": ("Direction", "mean_difference"),
    "sampling.generate": ("generate", "stream"),
    "sampling.truncate": ("truncate", "truncated_sample"),
    "calibration": ("Calibration", "calibrate", "score"),
    "quality": ("QualityMap", "quality_map"),
    "geometry": ("effective_rank", "jacobian"),
    "inversion": ("Inversion", "invert"),
    "metrics": ("SampleQuality", "sample_quality"),
    "projection": ("Projection", "project"),
    "bundled": ("BUNDLED",),
    "checkpoint": ("Checkpoint", "load"),
    "conditional": ("condition", "marginal"),
    "animation": ("Animation", "animate"),
    "reports": ("report",),
    "errors": ("LatentkitError",),
}
__all__ = ["__version__", *sorted(name for names in _HOMES.values() for name in names)]

__getattr__, __dir__ = lazy(__name__, _HOMES)

if TYPE_CHECKING:
    from latentkit.animation import Animation as Animation
    from latentkit.animation import animate as animate
    from latentkit.arithmetic import analogy as analogy
    from latentkit.arithmetic import combine as combine
    from latentkit.arithmetic import mean as mean
    from latentkit.arithmetic import vicinity as vicinity
    from latentkit.bundled import BUNDLED as BUNDLED
    from latentkit.calibration import Calibration as Calibration
    from latentkit.calibration import calibrate as calibrate
    from latentkit.calibration import score as score
    from latentkit.checkpoint import Checkpoint as Checkpoint
    from latentkit.checkpoint import load as load
    from latentkit.conditional import condition as condition
    from latentkit.conditional import marginal as marginal
    from latentkit.curves import Curve as Curve
    from latentkit.curves import interpolate as interpolate
    from latentkit.curves import lerp as lerp
    from latentkit.curves import loop as loop
    from latentkit.curves import slerp as slerp
    from latentkit.curves import tour as tour
    from latentkit.directions import Direction as Direction
    from latentkit.directions import mean_difference as mean_difference
    from latentkit.errors import LatentkitError as LatentkitError
    from latentkit.geometry import effective_rank as effective_rank
    from latentkit.geometry import jacobian as jacobian
    from latentkit.inversion import Inversion as Inversion
    from latentkit.inversion import invert as invert
    from latentkit.metrics import SampleQuality as SampleQuality
    from latentkit.metrics import sample_quality as sample_quality
    from latentkit.priors import Empirical as Empirical
    from latentkit.priors import Normal as Normal
    from latentkit.priors import Prior as Prior
    from latentkit.priors import Sphere as Sphere
    from latentkit.priors import Uniform as Uniform
    from latentkit.projection import Projection as Projection
    from latentkit.projection import project as project
    from latentkit.protocols import ConditionalGenerator as ConditionalGenerator
    from latentkit.protocols import Critic as Critic
    from latentkit.protocols import Encoder as Encoder
    from latentkit.protocols import Generator as Generator
    from latentkit.protocols import wrap as wrap
    from latentkit.quality import QualityMap as QualityMap
    from latentkit.quality import quality_map as quality_map
    from latentkit.reports import report as report
    from latentkit.sampling.generate import generate as generate
    from latentkit.sampling.generate import stream as stream
    from latentkit.sampling.truncate import truncate as truncate
    from latentkit.sampling.truncate import truncated_sample as truncated_sample
