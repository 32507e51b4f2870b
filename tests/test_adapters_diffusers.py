"""Autoencoders and pipelines of diffusers, on small random models of the package itself."""

import json
import sys

import pytest
import torch

from latentkit import generate, interpolate, invert
from latentkit.adapters.autoencoders import from_autoencoder, load_autoencoder
from latentkit.adapters.diffusion import from_pipeline, over_prompts
from latentkit.errors import ArgumentError, CheckpointError, MissingDependencyError, ShapeError
from latentkit.nets.fitting import initialised
from latentkit.priors import Empirical, Normal
from latentkit.protocols import Encoder, Generator

diffusers = pytest.importorskip("diffusers", exc_type=ImportError)
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # of its schedulers

BLOCKS = {
    "block_out_channels": (8, 16),
    "down_block_types": ("DownEncoderBlock2D",) * 2,
    "up_block_types": ("UpDecoderBlock2D",) * 2,
    "norm_num_groups": 4,
    "sample_size": 16,
}
MODELS = {
    "AutoencoderKL": {**BLOCKS, "latent_channels": 4, "shift_factor": 0.2},
    "VQModel": {**BLOCKS, "latent_channels": 3, "num_vq_embeddings": 16},
    "AutoencoderTiny": {
        "encoder_block_out_channels": (8, 8),
        "decoder_block_out_channels": (8, 8),
        "num_encoder_blocks": (1, 1),
        "num_decoder_blocks": (1, 1),
        "scaling_factor": 0.5,
    },
}


def built(kind):
    return initialised(lambda: getattr(diffusers, kind)(**MODELS[kind]).eval().requires_grad_(False), 0)


@pytest.fixture(params=list(MODELS))
def kind(request):
    return request.param


@pytest.fixture
def images():
    """Smooth random images (40, 3, 16, 16) in [-1, 1]."""
    coarse = torch.randn(40, 3, 4, 4, generator=torch.Generator().manual_seed(0))
    return torch.nn.functional.interpolate(coarse, size=16, mode="bilinear").tanh()


class TestAutoencoders:
    def test_it_decodes_and_encodes_what_the_package_does(self, kind, images):
        model = built(kind)
        made = from_autoencoder(model, size=16)
        assert isinstance(made.generator, Generator)
        assert isinstance(made.encoder, Encoder)
        z = made.generator.prior.sample(5, seed=0)
        scale, shift = model.config.scaling_factor, getattr(model.config, "shift_factor", None) or 0.0
        codes = z.reshape(5, *made.generator.shape) / scale + shift
        with torch.no_grad():
            wanted = model.decode(codes).sample.clamp(-1, 1)
            found = model.encode(images)
            codes = found.latent_dist.mean if kind == "AutoencoderKL" else found.latents
        torch.testing.assert_close(generate(made.generator, z), wanted, rtol=1e-5, atol=1e-5)
        assert float(wanted.std(0).mean()) > 0.01
        torch.testing.assert_close(made.encoder(images), ((codes - shift) * scale).flatten(1), rtol=1e-5, atol=1e-5)

    def test_a_fitted_prior_has_the_moments_of_the_codes(self, kind, images):
        made = from_autoencoder(built(kind), size=16)
        fitted = made.fitted(images)
        assert isinstance(fitted.generator.prior, Empirical)
        codes = made.encoder(images)
        drawn = fitted.generator.prior.sample(4000, seed=0)
        assert float((drawn.mean(0) - codes.mean(0)).norm() / codes.std(0).norm()) < 0.1
        spread = torch.cov(codes.T, correction=0)
        assert float((torch.cov(drawn.T) - spread).norm() / spread.norm()) < 0.2

    def test_large_latents_are_scaled_by_channel(self, kind, images):
        large = torch.nn.functional.interpolate(images[:6], size=48)
        made = from_autoencoder(built(kind), size=48)
        fitted = made.fitted(large)
        assert fitted.generator.prior == Normal(made.generator.prior.dim)
        codes = fitted.encoder(large).unflatten(1, made.generator.shape)
        torch.testing.assert_close(codes.mean((0, 2, 3)), torch.zeros(codes.shape[1]), atol=1e-4, rtol=0)
        torch.testing.assert_close(codes.std((0, 2, 3)), torch.ones(codes.shape[1]), atol=1e-4, rtol=0)
        # The same image has another latent, and still the same reconstruction.
        before, after = (part.generator(part.encoder(large)) for part in (made, fitted))
        torch.testing.assert_close(before, after, rtol=1e-3, atol=1e-4)

    def test_gradients_go_through_the_decoder(self, kind):
        made = from_autoencoder(built(kind), size=16)
        z = made.generator.prior.sample(1, seed=1).requires_grad_()
        (slope,) = torch.autograd.grad(made.generator(z).square().sum(), z)
        assert bool(slope.isfinite().all())
        assert float(slope.norm()) > 0

    def test_the_encoder_starts_an_inversion(self):
        made = from_autoencoder(built("AutoencoderTiny"), size=16)
        wanted = generate(made.generator, made.generator.prior.sample(2, seed=1))
        options = {"encoder": made.encoder, "starts": 0, "pool": 50, "seed": 0}
        started, found = (invert(made.generator, wanted, steps=steps, **options) for steps in (0, 80))
        assert float(found.errors.max()) < 0.2 * float(started.errors.min())

    def test_a_folder_is_read_whole_or_not_at_all(self, kind, tmp_path):
        from safetensors.torch import load_file, save_file

        model = built(kind)
        model.save_pretrained(tmp_path)
        made = load_autoencoder(tmp_path, size=16)
        z = made.generator.prior.sample(2, seed=0)
        assert generate(made.generator, z).equal(generate(from_autoencoder(model, size=16).generator, z))
        file = tmp_path / "diffusion_pytorch_model.safetensors"
        state = load_file(file)
        first = next(key for key in state if key.startswith("decoder"))
        lost = state.pop(first)
        save_file(state, file, metadata={"format": "pt"})
        with pytest.raises(CheckpointError, match=f"nothing was loaded .missing: {first}"):
            load_autoencoder(tmp_path, size=16)
        save_file({**state, first: lost, "extra": torch.zeros(1)}, file, metadata={"format": "pt"})
        with pytest.raises(CheckpointError, match="unexpected: extra"):
            load_autoencoder(tmp_path, size=16)
        file.rename(tmp_path / "diffusion_pytorch_model.bin")
        with pytest.raises(CheckpointError, match="only safetensors are read"):
            load_autoencoder(tmp_path, size=16)
        (tmp_path / "config.json").write_text(json.dumps({"_class_name": "UNet2DModel"}), encoding="utf-8")
        with pytest.raises(CheckpointError, match="holds a UNet2DModel"):
            load_autoencoder(tmp_path, size=16)
        with pytest.raises(CheckpointError, match="cannot read"):
            load_autoencoder(tmp_path / "nowhere")

    def test_what_is_refused(self, images, monkeypatch):
        with pytest.raises(ArgumentError, match="takes one of diffusers'"):
            from_autoencoder(torch.nn.Identity())
        with pytest.raises(ArgumentError, match="size must be a whole number"):
            from_autoencoder(built("AutoencoderTiny"))
        with pytest.raises(ArgumentError, match=r"side 17|side 16 of those of side 17"):
            from_autoencoder(built("AutoencoderKL"), size=17)
        made = from_autoencoder(built("AutoencoderKL"))
        with pytest.raises(ShapeError, match="make the autoencoder for this size"):
            made.encoder(torch.zeros(1, 3, 32, 32))
        with pytest.raises(ShapeError, match="at least 2 images"):
            made.fitted(images[:1])
        monkeypatch.setitem(sys.modules, "diffusers", None)
        with pytest.raises(MissingDependencyError, match=r'pip install "latentkit\[diffusers\]"'):
            load_autoencoder("nowhere")


def denoiser(**options):
    down, up = ("DownBlock2D", "AttnDownBlock2D"), ("AttnUpBlock2D", "UpBlock2D")
    settings = {"block_out_channels": (8, 16), "layers_per_block": 1, "norm_num_groups": 4, "attention_head_dim": 4}
    settings |= {"down_block_types": down, "up_block_types": up, "sample_size": 8, **options}
    return initialised(lambda: diffusers.UNet2DModel(**settings).eval().requires_grad_(False), 0)


def quiet(pipeline):
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def check_slope(view, z):
    """The gradient says how the mean changes along it."""
    z.requires_grad_()
    (slope,) = torch.autograd.grad(view(z).mean(), z)
    step = 1e-4 * slope / slope.norm()
    with torch.no_grad():
        change = view(z + step).mean() - view(z - step).mean()
    assert float(change) > 0
    assert float((slope * step).sum() * 2) == pytest.approx(float(change), rel=1e-3)


class TestUnconditional:
    @pytest.fixture
    def view(self):
        return from_pipeline(diffusers.DDIMPipeline(denoiser(), diffusers.DDIMScheduler()), steps=4)

    @pytest.mark.parametrize("given", ["DDIM", "DDPM"])
    def test_it_makes_what_the_pipeline_does(self, given):
        network = denoiser()
        scheduler = getattr(diffusers, f"{given}Scheduler")()
        pipeline = getattr(diffusers, f"{given}Pipeline")(network, scheduler)
        view = from_pipeline(pipeline, steps=4)
        assert view.sampler == "DDIMScheduler"
        assert type(pipeline.scheduler).__name__ == f"{given}Scheduler"
        random = [torch.Generator().manual_seed(7) for _ in range(2)]
        reference = quiet(diffusers.DDIMPipeline(network, scheduler))
        wanted = reference(3, random[0], num_inference_steps=4, output_type="pt").images
        noise = torch.randn(3, 3, 8, 8, generator=random[1])
        torch.testing.assert_close(generate(view, noise.flatten(1)), 2 * wanted - 1, rtol=1e-5, atol=1e-5)

    @pytest.mark.parametrize(
        "name", ["DPMSolverMultistep", "EulerDiscrete", "HeunDiscrete", "PNDM", "UniPCMultistep", "DDIM"]
    )
    def test_samplers_without_noise_are_kept(self, name):
        pipeline = diffusers.DDPMPipeline(denoiser(), getattr(diffusers, f"{name}Scheduler")())
        view = from_pipeline(pipeline, steps=4)
        assert view.sampler == f"{name}Scheduler"
        z = view.prior.sample(3, seed=0)
        x = generate(view, z)
        assert x.equal(generate(view, z))
        torch.testing.assert_close(generate(view, z, batch_size=1), x, rtol=1e-4, atol=1e-4)

    @pytest.mark.parametrize(
        ("name", "options"),
        [("EulerAncestralDiscrete", {}), ("DPMSolverMultistep", {"algorithm_type": "sde-dpmsolver++"})],
    )
    def test_samplers_with_noise_are_replaced(self, name, options):
        scheduler = getattr(diffusers, f"{name}Scheduler")(**options)
        assert from_pipeline(diffusers.DDPMPipeline(denoiser(), scheduler), steps=2).sampler == "DDIMScheduler"

    def test_gradients_go_through_all_steps(self):
        scheduler = diffusers.DDIMScheduler(clip_sample=False)
        view = from_pipeline(diffusers.DDIMPipeline(denoiser().double(), scheduler), steps=4)
        check_slope(view, view.prior.sample(1, seed=1).double() / 4)

    def test_noise_interpolates_on_the_prior(self, view):
        z = view.prior.sample(2, seed=2)
        curve = interpolate(z[0], z[1], view.prior).steps(5)
        assert float(view.prior.typicality(curve).min()) > 0.01
        frames = generate(view, curve)
        torch.testing.assert_close(frames[0], generate(view, z[:1])[0], rtol=1e-4, atol=1e-4)

    def test_what_is_refused(self, monkeypatch):
        pipeline = diffusers.DDIMPipeline(denoiser(), diffusers.DDIMScheduler())
        for options, message in (
            ({"steps": 0}, "steps must be"),
            ({"prompt": "a cat"}, "prompt cannot be set for a DDIMPipeline"),
            ({"shape": (0,)}, "shape must be"),
        ):
            with pytest.raises(ArgumentError, match=message):
                from_pipeline(pipeline, **options)
        with pytest.raises(ArgumentError, match="predicts variances too"):
            from_pipeline(diffusers.DDIMPipeline(denoiser(out_channels=6), diffusers.DDIMScheduler()))
        with pytest.raises(ArgumentError, match="takes a pipeline of diffusers"):
            from_pipeline(denoiser())
        flow = diffusers.FlowMatchEulerDiscreteScheduler(stochastic_sampling=True)
        with pytest.raises(ArgumentError, match="DDIM cannot take its place"):
            from_pipeline(diffusers.DDPMPipeline(denoiser(), flow))
        monkeypatch.setitem(sys.modules, "diffusers", None)
        with pytest.raises(MissingDependencyError, match=r'pip install "latentkit\[diffusers\]"'):
            from_pipeline(pipeline)


def conditional_denoiser():
    down, up = ("DownBlock2D", "CrossAttnDownBlock2D"), ("CrossAttnUpBlock2D", "UpBlock2D")
    settings = {"block_out_channels": (8, 16), "layers_per_block": 1, "norm_num_groups": 4, "attention_head_dim": 4}
    settings |= {"down_block_types": down, "up_block_types": up, "sample_size": 8, "cross_attention_dim": 12}
    return initialised(lambda: diffusers.UNet2DConditionModel(**settings).eval().requires_grad_(False), 1)


class Prompted(diffusers.DiffusionPipeline):
    """A text-to-image pipeline in the manner of the package's, down to its `no_grad`, which needs no text encoder."""

    def __init__(self, vae, unet, scheduler):
        super().__init__()
        self.register_modules(vae=vae, unet=unet, scheduler=scheduler)

    @torch.no_grad()
    def __call__(
        self,
        prompt=None,
        prompt_embeds=None,
        negative_prompt_embeds=None,
        guidance_scale=3.0,
        num_inference_steps=50,
        latents=None,
        output_type="pil",
    ):
        if prompt is not None:  # its length stands for its meaning
            prompt_embeds = torch.stack([torch.full((5, 12), float(len(text))) for text in prompt])
        self.scheduler.set_timesteps(num_inference_steps)
        latents = latents * self.scheduler.init_noise_sigma
        for time in self.scheduler.timesteps:
            told, blank = (
                self.unet(latents, time, encoder_hidden_states=text).sample
                for text in (prompt_embeds, negative_prompt_embeds)
            )
            latents = self.scheduler.step(blank + guidance_scale * (told - blank), time, latents).prev_sample
        images = self.vae.decode(latents / self.vae.config.scaling_factor).sample
        return ((images / 2 + 0.5).clamp(0, 1),)


BLANK = torch.zeros(1, 5, 12)


@pytest.fixture
def prompted():
    return Prompted(built("AutoencoderKL"), conditional_denoiser(), diffusers.DDIMScheduler(clip_sample=False))


@pytest.fixture
def stable():
    """Stable Diffusion itself, which needs the library transformers even where prompts come as embeddings."""
    pytest.importorskip("transformers", exc_type=ImportError)
    scheduler = diffusers.DDIMScheduler(clip_sample=False, steps_offset=1)
    parts = {"text_encoder": None, "tokenizer": None, "safety_checker": None, "feature_extractor": None}
    parts |= {"vae": built("AutoencoderKL"), "unet": conditional_denoiser(), "scheduler": scheduler}
    return quiet(diffusers.StableDiffusionPipeline(**parts, requires_safety_checker=False))


@pytest.fixture(params=["prompted", "stable"])
def pipeline(request):
    return request.getfixturevalue(request.param)


class TestPrompts:
    @pytest.fixture
    def embeddings(self):
        return torch.randn(4, 5, 12, generator=torch.Generator().manual_seed(3))

    def test_noise_at_a_fixed_prompt(self, pipeline, embeddings):
        settings = {"negative_prompt_embeds": BLANK, "guidance_scale": 2.0}
        view = from_pipeline(pipeline, steps=3, prompt_embeds=embeddings[:1], **settings)
        z = view.prior.sample(3, seed=0)
        wanted = pipeline(
            prompt_embeds=embeddings[:1].expand(3, -1, -1),
            negative_prompt_embeds=BLANK.expand(3, -1, -1),
            guidance_scale=2.0,
            num_inference_steps=3,
            latents=z.reshape(3, 4, 8, 8),
            output_type="pt",
        )[0]
        torch.testing.assert_close(generate(view, z), 2 * wanted - 1, rtol=1e-5, atol=1e-5)
        assert float(wanted.std(0).mean()) > 0.01

    def test_prompts_at_a_fixed_noise(self, pipeline, embeddings):
        view = over_prompts(pipeline, embeddings, seed=5, steps=3, negative_prompt_embeds=BLANK)
        assert view.prior == Normal(3)
        torch.testing.assert_close(view.embeddings(view.prompts), embeddings, rtol=1e-4, atol=1e-4)
        torch.testing.assert_close(view.prompts.mean(0), torch.zeros(3), atol=1e-5, rtol=0)
        torch.testing.assert_close(torch.cov(view.prompts.T, correction=0), torch.eye(3), atol=1e-5, rtol=0)
        wanted = pipeline(
            prompt_embeds=embeddings,
            negative_prompt_embeds=BLANK.expand(4, -1, -1),
            num_inference_steps=3,
            latents=view.noise.expand(4, -1, -1, -1),
            output_type="pt",
        )[0]
        torch.testing.assert_close(generate(view, view.prompts), 2 * wanted - 1, rtol=1e-4, atol=1e-5)
        assert float(wanted.std(0).mean()) > 0.001

    def test_gradients_go_through_all_steps(self, pipeline, embeddings):
        for network in (pipeline.unet, pipeline.vae):
            network.double()
        options = {"steps": 3, "negative_prompt_embeds": BLANK.double()}
        noise = from_pipeline(pipeline, prompt_embeds=embeddings[:1].double(), **options)
        prompts = over_prompts(pipeline, embeddings.double(), **options)
        for view in (noise, prompts):
            check_slope(view, view.prior.sample(1, seed=1).double() / 4)

    def test_text_is_taken_for_each_image(self, prompted):
        view = from_pipeline(prompted, steps=2, prompt="four", negative_prompt_embeds=BLANK)
        z = view.prior.sample(3, seed=0)
        other = from_pipeline(
            prompted, steps=2, prompt_embeds=torch.full((1, 5, 12), 4.0), negative_prompt_embeds=BLANK
        )
        assert generate(view, z).equal(generate(other, z))

    def test_what_is_refused(self, prompted, embeddings):
        for wrong, error, message in (
            (embeddings[:1], ShapeError, "at least 2 prompts"),
            (embeddings[0], ShapeError, r"\(K, T, E\)"),
            (embeddings[:1].expand(3, -1, -1), ArgumentError, "all the same"),
        ):
            with pytest.raises(error, match=message):
                over_prompts(prompted, wrong)
        for name in ("latents", "output_type", "seeds"):
            with pytest.raises(ArgumentError, match=f"{name} cannot be set for a Prompted"):
                from_pipeline(prompted, **{name: "x"})
        with pytest.raises(ArgumentError, match="prompt_embeds cannot be set"):
            over_prompts(diffusers.DDIMPipeline(denoiser(), diffusers.DDIMScheduler()), embeddings)
        assert from_pipeline(prompted, shape=(4, 8, 16)).prior == Normal(512)
