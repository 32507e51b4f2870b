"""Diffusion pipelines of diffusers with deterministic sampling: generators over their first noise, or over prompts."""

import copy
import inspect
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from latentkit import streams
from latentkit.adapters.foreign import needed
from latentkit.checks import as_count, as_seed, floating, require_finite
from latentkit.errors import ArgumentError, ShapeError
from latentkit.priors import Normal

__all__ = ["NoiseView", "PromptView", "from_pipeline", "over_prompts"]

#: Samplers that draw nothing after the first noise, by diffusers' names.
_DETERMINISTIC = (
    *("DDIMScheduler", "DPMSolverMultistepScheduler", "EulerDiscreteScheduler", "FlowMatchEulerDiscreteScheduler"),
    *("HeunDiscreteScheduler", "PNDMScheduler", "UniPCMultistepScheduler"),
)
#: What the views set themselves.
_OURS = ("latents", "num_inference_steps", "output_type", "return_dict", "eta", "generator", "num_images_per_prompt")


@dataclass(frozen=True, eq=False)
class NoiseView:
    """A diffusion pipeline as a generator of its first noise, flattened.

    Sampling is deterministic, so an image is a function of its latent. Gradients go through all steps: a call with
    gradients holds the activations of all of them, about `steps` times the memory of one.

    Attributes: `module`, the networks; `prior`, standard normal; `shape` of the noise of one image; `pipeline`, a copy
    of the given one with the sampler that is used; `steps`; `settings` of each call.

    References:
        Song, Meng, Ermon (2021), "Denoising diffusion implicit models", section 4.1: with eta = 0 the first noise
        determines the image. Their section 5.3 interpolates it on the sphere.
    """

    module: nn.ModuleList
    prior: Normal
    shape: tuple[int, ...]
    pipeline: Any
    steps: int
    settings: Mapping[str, Any] = field(default_factory=dict)

    @property
    def sampler(self) -> str:
        """The name of the sampler."""
        return type(self.pipeline.scheduler).__name__

    def __call__(self, z: Tensor, /) -> Tensor:
        """Return images (N, channels, height, width) in [-1, 1] for latents (N, D)."""
        return _images(self.pipeline, z.unflatten(1, self.shape), self.steps, self.settings)


@dataclass(frozen=True, eq=False)
class PromptView:
    """A text-to-image pipeline as a generator of prompt embeddings, at one fixed first noise.

    A latent is a point of the flat through the embeddings of K prompts, in coordinates in which these have mean 0 and
    covariance 1, so that the standard normal prior is the Gaussian that is fitted to the prompts. Gradients go through
    all steps.

    Attributes: `module`, the networks; `prior`, standard normal of at most K - 1 coordinates R; `prompts` (K, R), the
    latents of the prompts themselves; `centre` (T, E) and `axes` (R, T, E) of the flat; `noise` (1, *shape);
    `pipeline`, `steps` and `settings` as of `NoiseView`.
    """

    module: nn.ModuleList
    prior: Normal
    prompts: Tensor
    centre: Tensor
    axes: Tensor
    noise: Tensor
    pipeline: Any
    steps: int
    settings: Mapping[str, Any] = field(default_factory=dict)

    def embeddings(self, z: Tensor) -> Tensor:
        """Return the prompt embeddings (N, T, E) of latents (N, R)."""
        return self.centre.to(z) + torch.einsum("nr,rte->nte", z, self.axes.to(z))

    def __call__(self, z: Tensor, /) -> Tensor:
        """Return images (N, channels, height, width) in [-1, 1] for latents (N, R)."""
        noise = self.noise.to(z).expand(len(z), *self.noise.shape[1:])
        return _images(self.pipeline, noise, self.steps, {**self.settings, "prompt_embeds": self.embeddings(z)})


def from_pipeline(
    pipeline: Any, *, steps: int = 50, shape: tuple[int, ...] | None = None, **settings: Any
) -> NoiseView:
    """Make a generator of a diffusion pipeline's first noise.

    A sampler that draws noise on the way, such as DDPM's, is replaced by DDIM with the same noise levels; `sampler` of
    what is returned names the one that is used. The given pipeline stays as it is.

    Args:
        pipeline: an unconditional pipeline of diffusers with a `unet` and a `scheduler` (DDIMPipeline, DDPMPipeline),
            or any whose call takes `latents`, such as StableDiffusionPipeline.
        steps: of the sampler; more cost as much more.
        shape: of the noise of one image, where it cannot be told from the denoising network's settings.
        settings: for each call of the pipeline, the same for all images: the prompt, `guidance_scale`, ... Text is
            taken for each image, and so are tensors whose first axis is 1 (`prompt_embeds`, ...).

    Raises:
        MissingDependencyError: if diffusers is not installed.
        ArgumentError: if it is no such pipeline, or a setting is unknown to it or set here anyway.
    """
    made, modules = _prepared(pipeline, settings)
    steps = as_count(steps, "steps")
    sides = _shape(made, shape, settings)
    return NoiseView(modules, Normal(math.prod(sides)), sides, made, steps, settings)


def over_prompts(
    pipeline: Any,
    embeddings: Tensor,
    *,
    seed: int = 0,
    steps: int = 50,
    shape: tuple[int, ...] | None = None,
    **settings: Any,
) -> PromptView:
    """Make a generator of prompt embeddings, at one fixed first noise, from the embeddings of some prompts.

    Args:
        pipeline: one of diffusers whose call takes `latents` and `prompt_embeds`.
        embeddings: (K, T, E), two prompts at least; `pipeline.encode_prompt(texts, device, 1, False)[0]` gives those
            of Stable Diffusion.
        seed: of the noise, 0 to 2**64 - 1.
        steps: as in `from_pipeline`.
        shape: as in `from_pipeline`.
        settings: as in `from_pipeline`, without a prompt. Guidance needs `negative_prompt_embeds` (1, T, E).

    Raises:
        MissingDependencyError: if diffusers is not installed.
        ArgumentError: if it is no such pipeline, a setting does not fit, or the prompts are all the same.
        ShapeError: if the embeddings are not (K, T, E).
        NonFiniteError: if an embedding holds NaN or infinity.
    """
    made, modules = _prepared(pipeline, {**settings, "prompt_embeds": embeddings})
    given = require_finite(floating(embeddings, "embeddings"), "embeddings").cpu()
    if given.ndim != 3 or len(given) < 2:
        raise ShapeError(f"embeddings must be (K, T, E) of at least 2 prompts, got {tuple(given.shape)}")
    sides = _shape(made, shape, settings)
    flat = given.double().flatten(1)
    centre = flat.mean(0)
    left, lengths, right = torch.linalg.svd(flat - centre, full_matrices=False)
    rank = int((lengths > 1e-6 * max(float(lengths[0]), 1e-6 * float(flat.abs().max()))).sum())
    if rank == 0:
        raise ArgumentError("the prompts' embeddings are all the same; give different ones")
    scale = math.sqrt(len(given))
    axes = (lengths[:rank, None] * right[:rank] / scale).unflatten(1, given.shape[1:])
    noise = streams.normal(1, math.prod(sides), seed=as_seed(seed), stream=streams.NOISE)
    return PromptView(
        module=modules,
        prior=Normal(rank),
        prompts=(left[:, :rank] * scale).to(given.dtype),
        centre=centre.unflatten(0, given.shape[1:]).to(given.dtype),
        axes=axes.to(given.dtype),
        noise=torch.from_numpy(noise).to(torch.float32).reshape(1, *sides),
        pipeline=made,
        steps=as_count(steps, "steps"),
        settings=settings,
    )


def _prepared(pipeline: Any, settings: Mapping[str, Any]) -> tuple[Any, nn.ModuleList]:
    """Return a copy of a pipeline that samples deterministically and shows no bar, and its networks."""
    library = needed("diffusers", "diffusers")
    if not isinstance(pipeline, library.DiffusionPipeline) or not hasattr(pipeline, "scheduler"):
        raise ArgumentError(f"this takes a pipeline of diffusers with a scheduler, got {type(pipeline).__name__}")
    takes = _takes(pipeline)
    if "latents" not in takes and set(pipeline.components) != {"unet", "scheduler"}:
        raise ArgumentError(
            f"the call of a {type(pipeline).__name__} takes no latents, so its first noise cannot be chosen"
        )
    unknown = [name for name in settings if name in _OURS or name not in takes or "latents" not in takes]
    if unknown:
        raise ArgumentError(f"{', '.join(unknown)} cannot be set for a {type(pipeline).__name__} here")
    made = copy.copy(pipeline)
    if not _deterministic(pipeline.scheduler):
        if library.DDIMScheduler not in pipeline.scheduler.compatibles:
            raise ArgumentError(
                f"a {type(pipeline.scheduler).__name__} draws noise on the way, and DDIM cannot take its place; give "
                "the pipeline a scheduler that is deterministic"
            )
        made.scheduler = library.DDIMScheduler.from_config(pipeline.scheduler.config)
    made.set_progress_bar_config(disable=True)
    return made, nn.ModuleList([part for part in made.components.values() if isinstance(part, nn.Module)])


def _deterministic(scheduler: Any) -> bool:
    settings = scheduler.config
    noisy = "sde" in str(settings.get("algorithm_type", "")) or settings.get("stochastic_sampling", False)
    return type(scheduler).__name__ in _DETERMINISTIC and not noisy


def _call(pipeline: Any) -> Callable[..., Any]:
    """Return the pipeline's call without the `torch.no_grad` around it."""
    return inspect.unwrap(type(pipeline).__call__)


def _takes(pipeline: Any) -> set[str]:
    return set(inspect.signature(_call(pipeline)).parameters)


def _shape(pipeline: Any, shape: tuple[int, ...] | None, settings: Mapping[str, Any]) -> tuple[int, ...]:
    if shape is not None:
        return tuple(as_count(side, "shape") for side in shape)
    network = getattr(pipeline, "unet", None) or getattr(pipeline, "transformer", None)
    about = getattr(network, "config", {})
    side, channels = about.get("sample_size"), about.get("in_channels")
    height, width = side if isinstance(side, tuple | list) else (side, side)
    shrink = getattr(pipeline, "vae_scale_factor", 1)
    if settings.get("height") is not None:
        height = as_count(settings["height"], "height") // shrink
    if settings.get("width") is not None:
        width = as_count(settings["width"], "width") // shrink
    if channels is None or height is None or width is None:
        raise ArgumentError("the shape of one image's noise cannot be told from this pipeline; give it as shape=...")
    if "latents" not in _takes(pipeline) and about.get("out_channels") != channels:
        raise ArgumentError("this denoising network predicts variances too, which deterministic sampling does not use")
    return (channels, height, width)


def _images(pipeline: Any, noise: Tensor, steps: int, settings: Mapping[str, Any]) -> Tensor:
    """Return images (N, channels, height, width) in [-1, 1] for noise (N, *shape)."""
    made = copy.copy(pipeline)
    made.scheduler = copy.deepcopy(pipeline.scheduler)  # it counts its steps
    if "latents" not in _takes(pipeline):
        return _denoised(made, noise, steps).clamp(-1.0, 1.0)
    each = {name: _for_each(value, len(noise)) for name, value in settings.items()}
    found = _call(pipeline)(made, **each, latents=noise, num_inference_steps=steps, output_type="pt")
    images = found.images if hasattr(found, "images") else found[0]
    return 2.0 * images - 1.0


def _denoised(pipeline: Any, noise: Tensor, steps: int) -> Tensor:
    scheduler = pipeline.scheduler
    scheduler.set_timesteps(steps, device=noise.device)
    x = noise * scheduler.init_noise_sigma
    for time in scheduler.timesteps:
        predicted = pipeline.unet(scheduler.scale_model_input(x, time), time).sample
        x = scheduler.step(predicted, time, x).prev_sample
    return x


def _for_each(value: Any, count: int) -> Any:
    if isinstance(value, str):
        return [value] * count
    if isinstance(value, Tensor) and value.ndim > 1 and len(value) == 1:
        return value.expand(count, *value.shape[1:])
    return value
