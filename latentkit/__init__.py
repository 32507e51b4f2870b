"""latentkit: what is in a generator's latent space, and where is it good?

Every public name is at the top level and is imported when first used, so that `import latentkit` and
the command's `--help` stay quick.
"""

from typing import TYPE_CHECKING

from latentkit.exports import lazy

__version__ = "0.1.0"

_HOMES = {
    "priors": ("Empirical", "Joint", "Normal", "Prior", "Sphere", "Uniform"),
    "protocols": ("ConditionalGenerator", "Critic", "Encoder", "Generator", "wrap"),
    "curves": ("Curve", "interpolate", "lerp", "loop", "slerp", "tour"),
    "arithmetic": ("analogy", "combine", "mean", "vicinity"),
    "directions": ("Direction", "mean_difference"),
    "sampling.generate": ("generate", "stream"),
    "sampling.truncate": ("truncate", "truncated_sample"),
    "sampling.guided": ("Cost", "Drift", "GuidedSample", "Proposal", "joined", "streamed"),
    "sampling.rejection": ("rejection",),
    "sampling.metropolis": ("metropolis",),
    "sampling.langevin": ("langevin",),
    "sampling.flow": ("gradient_flow",),
    "sampling.transport": ("transport",),
    "sampling.resampling": ("resampling",),
    "sampling.amortised": ("LatentWeights", "amortised", "fit_latent_weights"),
    "sampling.gate": ("gate_threshold", "gated"),
    "sampling.matching": ("Matching", "match_latents"),
    "support": ("Support", "fit_support"),
    "refined": ("Refined", "refine"),
    "holes": ("Hole", "Holes", "find_holes", "repair"),
    "smoothing": ("Smoothed", "smoothed"),
    "opinions": ("BestCritic", "SecondOpinion", "best_critic", "second_opinion"),
    "calibration": ("CalibratedCritic", "Calibration", "Measures", "calibrate", "score"),
    "quality": ("Islands", "QualityMap", "load_quality", "quality_map"),
    "geometry": ("LocalGeometry", "effective_rank", "geodesic", "jacobian", "local_geometry"),
    "judges": ("Judged", "judge"),
    "routes": ("CurveQuality", "Route", "compare_routes", "curve_quality", "route"),
    "graphs": ("NeighbourGraph", "neighbour_graph"),
    "inversion": ("Inversion", "invert"),
    "metrics": (
        "CopyRatio",
        "FrechetDistance",
        "MMD",
        "Mixture",
        "PathLength",
        "SampleQuality",
        "SwissRoll",
        "ToyTruth",
        "copy_ratio",
        "density_ratio_error",
        "frechet_distance",
        "grid25_mixture",
        "mmd",
        "perceptual_path_length",
        "ring_mixture",
        "sample_quality",
        "sliced_wasserstein",
        "toy_truth",
    ),
    "projection": ("Projection", "project"),
    "bundled": ("BUNDLED",),
    "checkpoint": ("Checkpoint", "load"),
    "conditional": ("condition", "marginal"),
    "animation": ("Animation", "animate"),
    "landscapes": ("landscape",),
    "tides": ("tide",),
    "journeys": ("Journey", "journey"),
    "reports": ("report",),
    "errors": ("CostError", "LatentkitError"),
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
    from latentkit.calibration import CalibratedCritic as CalibratedCritic
    from latentkit.calibration import Calibration as Calibration
    from latentkit.calibration import Measures as Measures
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
    from latentkit.errors import CostError as CostError
    from latentkit.errors import LatentkitError as LatentkitError
    from latentkit.geometry import LocalGeometry as LocalGeometry
    from latentkit.geometry import effective_rank as effective_rank
    from latentkit.geometry import geodesic as geodesic
    from latentkit.geometry import jacobian as jacobian
    from latentkit.geometry import local_geometry as local_geometry
    from latentkit.graphs import NeighbourGraph as NeighbourGraph
    from latentkit.graphs import neighbour_graph as neighbour_graph
    from latentkit.holes import Hole as Hole
    from latentkit.holes import Holes as Holes
    from latentkit.holes import find_holes as find_holes
    from latentkit.holes import repair as repair
    from latentkit.inversion import Inversion as Inversion
    from latentkit.inversion import invert as invert
    from latentkit.journeys import Journey as Journey
    from latentkit.journeys import journey as journey
    from latentkit.judges import Judged as Judged
    from latentkit.judges import judge as judge
    from latentkit.landscapes import landscape as landscape
    from latentkit.metrics import MMD as MMD
    from latentkit.metrics import CopyRatio as CopyRatio
    from latentkit.metrics import FrechetDistance as FrechetDistance
    from latentkit.metrics import Mixture as Mixture
    from latentkit.metrics import PathLength as PathLength
    from latentkit.metrics import SampleQuality as SampleQuality
    from latentkit.metrics import SwissRoll as SwissRoll
    from latentkit.metrics import ToyTruth as ToyTruth
    from latentkit.metrics import copy_ratio as copy_ratio
    from latentkit.metrics import density_ratio_error as density_ratio_error
    from latentkit.metrics import frechet_distance as frechet_distance
    from latentkit.metrics import grid25_mixture as grid25_mixture
    from latentkit.metrics import mmd as mmd
    from latentkit.metrics import perceptual_path_length as perceptual_path_length
    from latentkit.metrics import ring_mixture as ring_mixture
    from latentkit.metrics import sample_quality as sample_quality
    from latentkit.metrics import sliced_wasserstein as sliced_wasserstein
    from latentkit.metrics import toy_truth as toy_truth
    from latentkit.opinions import BestCritic as BestCritic
    from latentkit.opinions import SecondOpinion as SecondOpinion
    from latentkit.opinions import best_critic as best_critic
    from latentkit.opinions import second_opinion as second_opinion
    from latentkit.priors import Empirical as Empirical
    from latentkit.priors import Joint as Joint
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
    from latentkit.quality import Islands as Islands
    from latentkit.quality import QualityMap as QualityMap
    from latentkit.quality import load_quality as load_quality
    from latentkit.quality import quality_map as quality_map
    from latentkit.refined import Refined as Refined
    from latentkit.refined import refine as refine
    from latentkit.reports import report as report
    from latentkit.routes import CurveQuality as CurveQuality
    from latentkit.routes import Route as Route
    from latentkit.routes import compare_routes as compare_routes
    from latentkit.routes import curve_quality as curve_quality
    from latentkit.routes import route as route
    from latentkit.sampling.amortised import LatentWeights as LatentWeights
    from latentkit.sampling.amortised import amortised as amortised
    from latentkit.sampling.amortised import fit_latent_weights as fit_latent_weights
    from latentkit.sampling.flow import gradient_flow as gradient_flow
    from latentkit.sampling.gate import gate_threshold as gate_threshold
    from latentkit.sampling.gate import gated as gated
    from latentkit.sampling.generate import generate as generate
    from latentkit.sampling.generate import stream as stream
    from latentkit.sampling.guided import Cost as Cost
    from latentkit.sampling.guided import Drift as Drift
    from latentkit.sampling.guided import GuidedSample as GuidedSample
    from latentkit.sampling.guided import Proposal as Proposal
    from latentkit.sampling.guided import joined as joined
    from latentkit.sampling.guided import streamed as streamed
    from latentkit.sampling.langevin import langevin as langevin
    from latentkit.sampling.matching import Matching as Matching
    from latentkit.sampling.matching import match_latents as match_latents
    from latentkit.sampling.metropolis import metropolis as metropolis
    from latentkit.sampling.rejection import rejection as rejection
    from latentkit.sampling.resampling import resampling as resampling
    from latentkit.sampling.transport import transport as transport
    from latentkit.sampling.truncate import truncate as truncate
    from latentkit.sampling.truncate import truncated_sample as truncated_sample
    from latentkit.smoothing import Smoothed as Smoothed
    from latentkit.smoothing import smoothed as smoothed
    from latentkit.support import Support as Support
    from latentkit.support import fit_support as fit_support
    from latentkit.tides import tide as tide
