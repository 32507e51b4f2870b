"""latentkit: what is in a generator's latent space, and where is it good?

Every public name is at the top level and is imported when first used, so that `import latentkit` and
the command's `--help` stay quick.
"""

from typing import TYPE_CHECKING

from latentkit.exports import lazy

__version__ = "0.1.0"

_HOMES = {
    "priors": ("Empirical", "Joint", "Normal", "OneHot", "Prior", "Sphere", "Tied", "Uniform"),
    "protocols": (
        "ConditionalGenerator",
        "Critic",
        "Encoder",
        "Generator",
        "Inspection",
        "Output",
        "inspect_generator",
        "wrap",
    ),
    "images": ("read_images",),
    "stores": ("Column", "Store", "create_store", "open_store"),
    "engines": ("run_blocks",),
    "curves": (
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
    ),
    "arithmetic": ("Sum", "analogy", "calculate", "combine", "mean", "pulled_back", "vicinity", "weigh"),
    "directions": (
        "Audit",
        "Direction",
        "cosines",
        "extremes",
        "factorised",
        "logistic_boundary",
        "mean_difference",
        "orthogonalised",
        "pca_directions",
        "stability",
        "svm_boundary",
    ),
    "attributes": ("Attribute", "ClassScores", "attributes_of", "class_scores"),
    "sampling.batches": ("measured_batch",),
    "sampling.generate": ("generate", "stream"),
    "sampling.prepared": ("prepared",),
    "sampling.stored": ("estimate_samples", "sample_to"),
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
    "walks": ("BakeOff", "Paced", "Seam", "bake_off", "class_tour", "class_walk", "constant_speed", "seam"),
    "graphs": ("NeighbourGraph", "neighbour_graph"),
    "inversion": (
        "Editability",
        "FittedEncoder",
        "Inversion",
        "editability",
        "feature_loss",
        "fit_encoder",
        "invert",
        "invert_to",
        "invert_without_gradients",
        "pixel_loss",
        "pyramid_loss",
    ),
    "edits": (
        "Audited",
        "EditedLayer",
        "LayerDirection",
        "Layered",
        "Sweep",
        "activation_directions",
        "audit",
        "edited_layer",
        "jacobian_directions",
        "layer_directions",
        "layers_of",
        "learn_direction",
        "on_layers",
        "safe_strengths",
        "sefa",
        "sweep",
    ),
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
    "projection": (
        "PlacedCurve",
        "Projection",
        "load_projection",
        "nearest_rows",
        "project",
        "project_samples",
        "sample_features",
    ),
    "bundled": ("BUNDLED",),
    "checkpoint": ("Checkpoint", "load"),
    "conditional": ("Blend", "blend", "condition", "marginal"),
    "adapters": (
        "BigGAN",
        "ExportedNetwork",
        "FlowGenerator",
        "HubSnapshot",
        "ImageAutoencoder",
        "NoiseView",
        "ONNXModel",
        "PromptView",
        "PythaeModel",
        "StyleGAN",
        "ZooGAN",
        "as_critic",
        "from_autoencoder",
        "from_biggan",
        "from_flow",
        "from_gan_zoo",
        "from_pipeline",
        "from_pythae",
        "hub_snapshot",
        "import_model",
        "load_autoencoder",
        "load_biggan",
        "load_dcgan",
        "load_exported",
        "load_gan_zoo",
        "load_module",
        "load_onnx",
        "load_pythae",
        "load_reference",
        "load_stylegan",
        "load_torchscript",
        "over_prompts",
        "read_weights",
    ),
    "animation": ("Animation", "Replay", "animate", "best_format", "from_frames", "replay"),
    "captions": ("captions_of",),
    "strengths": ("sweep_film", "sweep_sheet"),
    "strips": ("Line", "strips"),
    "landscapes": ("landscape",),
    "tides": ("tide",),
    "journeys": ("Journey", "journey"),
    "reports": ("report",),
    "errors": ("CostError", "EngineError", "LatentkitError", "OffPriorWarning"),
    "series": ("pictured",),
}
__all__ = ["__version__", *sorted(name for names in _HOMES.values() for name in names)]

__getattr__, __dir__ = lazy(__name__, _HOMES)

if TYPE_CHECKING:
    from latentkit.adapters import BigGAN as BigGAN
    from latentkit.adapters import ExportedNetwork as ExportedNetwork
    from latentkit.adapters import FlowGenerator as FlowGenerator
    from latentkit.adapters import HubSnapshot as HubSnapshot
    from latentkit.adapters import ImageAutoencoder as ImageAutoencoder
    from latentkit.adapters import NoiseView as NoiseView
    from latentkit.adapters import ONNXModel as ONNXModel
    from latentkit.adapters import PromptView as PromptView
    from latentkit.adapters import PythaeModel as PythaeModel
    from latentkit.adapters import StyleGAN as StyleGAN
    from latentkit.adapters import ZooGAN as ZooGAN
    from latentkit.adapters import as_critic as as_critic
    from latentkit.adapters import from_autoencoder as from_autoencoder
    from latentkit.adapters import from_biggan as from_biggan
    from latentkit.adapters import from_flow as from_flow
    from latentkit.adapters import from_gan_zoo as from_gan_zoo
    from latentkit.adapters import from_pipeline as from_pipeline
    from latentkit.adapters import from_pythae as from_pythae
    from latentkit.adapters import hub_snapshot as hub_snapshot
    from latentkit.adapters import import_model as import_model
    from latentkit.adapters import load_autoencoder as load_autoencoder
    from latentkit.adapters import load_biggan as load_biggan
    from latentkit.adapters import load_dcgan as load_dcgan
    from latentkit.adapters import load_exported as load_exported
    from latentkit.adapters import load_gan_zoo as load_gan_zoo
    from latentkit.adapters import load_module as load_module
    from latentkit.adapters import load_onnx as load_onnx
    from latentkit.adapters import load_pythae as load_pythae
    from latentkit.adapters import load_reference as load_reference
    from latentkit.adapters import load_stylegan as load_stylegan
    from latentkit.adapters import load_torchscript as load_torchscript
    from latentkit.adapters import over_prompts as over_prompts
    from latentkit.adapters import read_weights as read_weights
    from latentkit.animation import Animation as Animation
    from latentkit.animation import Replay as Replay
    from latentkit.animation import animate as animate
    from latentkit.animation import best_format as best_format
    from latentkit.animation import from_frames as from_frames
    from latentkit.animation import replay as replay
    from latentkit.arithmetic import Sum as Sum
    from latentkit.arithmetic import analogy as analogy
    from latentkit.arithmetic import calculate as calculate
    from latentkit.arithmetic import combine as combine
    from latentkit.arithmetic import mean as mean
    from latentkit.arithmetic import pulled_back as pulled_back
    from latentkit.arithmetic import vicinity as vicinity
    from latentkit.arithmetic import weigh as weigh
    from latentkit.attributes import Attribute as Attribute
    from latentkit.attributes import ClassScores as ClassScores
    from latentkit.attributes import attributes_of as attributes_of
    from latentkit.attributes import class_scores as class_scores
    from latentkit.bundled import BUNDLED as BUNDLED
    from latentkit.calibration import CalibratedCritic as CalibratedCritic
    from latentkit.calibration import Calibration as Calibration
    from latentkit.calibration import Measures as Measures
    from latentkit.calibration import calibrate as calibrate
    from latentkit.calibration import score as score
    from latentkit.captions import captions_of as captions_of
    from latentkit.checkpoint import Checkpoint as Checkpoint
    from latentkit.checkpoint import load as load
    from latentkit.conditional import Blend as Blend
    from latentkit.conditional import blend as blend
    from latentkit.conditional import condition as condition
    from latentkit.conditional import marginal as marginal
    from latentkit.curves import AnchorGrid as AnchorGrid
    from latentkit.curves import Curve as Curve
    from latentkit.curves import anchor_grid as anchor_grid
    from latentkit.curves import circle as circle
    from latentkit.curves import ease_in as ease_in
    from latentkit.curves import ease_in_out as ease_in_out
    from latentkit.curves import ease_out as ease_out
    from latentkit.curves import eased as eased
    from latentkit.curves import eased_keys as eased_keys
    from latentkit.curves import interpolate as interpolate
    from latentkit.curves import joined_curves as joined_curves
    from latentkit.curves import lerp as lerp
    from latentkit.curves import loop as loop
    from latentkit.curves import orbit as orbit
    from latentkit.curves import random_loop as random_loop
    from latentkit.curves import retimed as retimed
    from latentkit.curves import reversed_curve as reversed_curve
    from latentkit.curves import slerp as slerp
    from latentkit.curves import smootherstep as smootherstep
    from latentkit.curves import smoothstep as smoothstep
    from latentkit.curves import spline as spline
    from latentkit.curves import there_and_back as there_and_back
    from latentkit.curves import tour as tour
    from latentkit.directions import Audit as Audit
    from latentkit.directions import Direction as Direction
    from latentkit.directions import cosines as cosines
    from latentkit.directions import extremes as extremes
    from latentkit.directions import factorised as factorised
    from latentkit.directions import logistic_boundary as logistic_boundary
    from latentkit.directions import mean_difference as mean_difference
    from latentkit.directions import orthogonalised as orthogonalised
    from latentkit.directions import pca_directions as pca_directions
    from latentkit.directions import stability as stability
    from latentkit.directions import svm_boundary as svm_boundary
    from latentkit.edits import Audited as Audited
    from latentkit.edits import EditedLayer as EditedLayer
    from latentkit.edits import LayerDirection as LayerDirection
    from latentkit.edits import Layered as Layered
    from latentkit.edits import Sweep as Sweep
    from latentkit.edits import activation_directions as activation_directions
    from latentkit.edits import audit as audit
    from latentkit.edits import edited_layer as edited_layer
    from latentkit.edits import jacobian_directions as jacobian_directions
    from latentkit.edits import layer_directions as layer_directions
    from latentkit.edits import layers_of as layers_of
    from latentkit.edits import learn_direction as learn_direction
    from latentkit.edits import on_layers as on_layers
    from latentkit.edits import safe_strengths as safe_strengths
    from latentkit.edits import sefa as sefa
    from latentkit.edits import sweep as sweep
    from latentkit.engines import run_blocks as run_blocks
    from latentkit.errors import CostError as CostError
    from latentkit.errors import EngineError as EngineError
    from latentkit.errors import LatentkitError as LatentkitError
    from latentkit.errors import OffPriorWarning as OffPriorWarning
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
    from latentkit.images import read_images as read_images
    from latentkit.inversion import Editability as Editability
    from latentkit.inversion import FittedEncoder as FittedEncoder
    from latentkit.inversion import Inversion as Inversion
    from latentkit.inversion import editability as editability
    from latentkit.inversion import feature_loss as feature_loss
    from latentkit.inversion import fit_encoder as fit_encoder
    from latentkit.inversion import invert as invert
    from latentkit.inversion import invert_to as invert_to
    from latentkit.inversion import invert_without_gradients as invert_without_gradients
    from latentkit.inversion import pixel_loss as pixel_loss
    from latentkit.inversion import pyramid_loss as pyramid_loss
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
    from latentkit.priors import OneHot as OneHot
    from latentkit.priors import Prior as Prior
    from latentkit.priors import Sphere as Sphere
    from latentkit.priors import Tied as Tied
    from latentkit.priors import Uniform as Uniform
    from latentkit.projection import PlacedCurve as PlacedCurve
    from latentkit.projection import Projection as Projection
    from latentkit.projection import load_projection as load_projection
    from latentkit.projection import nearest_rows as nearest_rows
    from latentkit.projection import project as project
    from latentkit.projection import project_samples as project_samples
    from latentkit.projection import sample_features as sample_features
    from latentkit.protocols import ConditionalGenerator as ConditionalGenerator
    from latentkit.protocols import Critic as Critic
    from latentkit.protocols import Encoder as Encoder
    from latentkit.protocols import Generator as Generator
    from latentkit.protocols import Inspection as Inspection
    from latentkit.protocols import Output as Output
    from latentkit.protocols import inspect_generator as inspect_generator
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
    from latentkit.sampling.batches import measured_batch as measured_batch
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
    from latentkit.sampling.prepared import prepared as prepared
    from latentkit.sampling.rejection import rejection as rejection
    from latentkit.sampling.resampling import resampling as resampling
    from latentkit.sampling.stored import estimate_samples as estimate_samples
    from latentkit.sampling.stored import sample_to as sample_to
    from latentkit.sampling.transport import transport as transport
    from latentkit.sampling.truncate import truncate as truncate
    from latentkit.sampling.truncate import truncated_sample as truncated_sample
    from latentkit.series import pictured as pictured
    from latentkit.smoothing import Smoothed as Smoothed
    from latentkit.smoothing import smoothed as smoothed
    from latentkit.stores import Column as Column
    from latentkit.stores import Store as Store
    from latentkit.stores import create_store as create_store
    from latentkit.stores import open_store as open_store
    from latentkit.strengths import sweep_film as sweep_film
    from latentkit.strengths import sweep_sheet as sweep_sheet
    from latentkit.strips import Line as Line
    from latentkit.strips import strips as strips
    from latentkit.support import Support as Support
    from latentkit.support import fit_support as fit_support
    from latentkit.tides import tide as tide
    from latentkit.walks import BakeOff as BakeOff
    from latentkit.walks import Paced as Paced
    from latentkit.walks import Seam as Seam
    from latentkit.walks import bake_off as bake_off
    from latentkit.walks import class_tour as class_tour
    from latentkit.walks import class_walk as class_walk
    from latentkit.walks import constant_speed as constant_speed
    from latentkit.walks import seam as seam
