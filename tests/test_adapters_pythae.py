"""Autoencoders of pythae, on small random models of the package itself."""

import json
import sys

import pytest
import torch

from latentkit import generate, invert
from latentkit.adapters.pythae import from_pythae, load_pythae
from latentkit.errors import ArgumentError, CheckpointError, MissingDependencyError, ShapeError
from latentkit.nets.fitting import initialised
from latentkit.priors import Empirical, Normal, Sphere

models = pytest.importorskip("pythae.models", exc_type=ImportError)
SHAPE = (1, 6, 6)


def built(kind, dim=3, **options):
    name = kind + ("_Config" if "_" in kind else "Config")
    config = getattr(models, name)(input_dim=SHAPE, latent_dim=dim, **options)
    return initialised(lambda: getattr(models, kind)(config).eval().requires_grad_(False), 0)


@pytest.fixture
def images():
    return torch.rand(60, *SHAPE, generator=torch.Generator().manual_seed(0)) * 2 - 1


@pytest.mark.parametrize(
    ("kind", "prior"),
    [
        ("VAE", Normal(3)),
        ("BetaVAE", Normal(3)),
        ("WAE_MMD", Normal(3)),
        ("INFOVAE_MMD", Normal(3)),
        ("SVAE", Sphere(3)),
    ],
)
def test_it_makes_and_encodes_what_the_package_does(kind, prior, images):
    model = built(kind)
    found = from_pythae(model)
    assert found.generator.prior == prior
    z = prior.sample(5, seed=0)
    wanted = model.decoder(z).reconstruction.reshape(5, *SHAPE)
    torch.testing.assert_close(generate(found.generator, z), 2 * wanted - 1, rtol=1e-5, atol=1e-5)
    code = model.encoder((images + 1) / 2).embedding
    if kind == "SVAE":
        code = code / code.norm(dim=1, keepdim=True)
    torch.testing.assert_close(found.encoder(images), code, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("kind", ["AE", "RAE_L2", "VAMP"])
def test_those_without_a_prior_get_that_of_their_codes(kind, images):
    model = built(kind)
    with pytest.raises(ArgumentError, match="give samples to fit one"):
        from_pythae(model)
    found = from_pythae(model, images=images)
    assert isinstance(found.generator.prior, Empirical)
    codes = model.encoder((images + 1) / 2).embedding
    drawn = found.generator.prior.sample(50_000, seed=0)
    assert float((drawn.mean(0) - codes.mean(0)).abs().max() / codes.std()) < 0.03
    spread = torch.cov(codes.T, correction=0)
    assert float((torch.cov(drawn.T) - spread).norm() / spread.norm()) < 0.05


def test_samples_that_are_no_images_stay_as_they_are(images):
    found = from_pythae(built("VAE"), values=(-1.0, 1.0))
    z = found.generator.prior.sample(2, seed=0)
    raw = found.generator.module.decoder(z).reconstruction.reshape(2, *SHAPE)
    torch.testing.assert_close(generate(found.generator, z), raw)


def test_the_encoder_starts_an_inversion():
    found = from_pythae(built("VAE"))
    z = found.generator.prior.sample(2, seed=3)
    wanted = generate(found.generator, z)
    back = invert(found.generator, wanted, encoder=found.encoder, steps=60, pool=100, seed=0)
    assert float(back.errors.max()) < 0.01 * float(wanted.var())


@pytest.mark.parametrize("kind", ["VAE", "SVAE", "WAE_MMD"])
def test_a_saved_folder_is_read_without_running_anything(kind, tmp_path):
    model = built(kind)
    model.save(str(tmp_path))
    found = load_pythae(tmp_path)
    z = found.generator.prior.sample(4, seed=0)
    assert generate(found.generator, z).equal(generate(from_pythae(model).generator, z))
    state = torch.load(tmp_path / "model.pt", weights_only=True)  # noqa: TID251 - the safe loader
    state["model_state_dict"].popitem()
    torch.save(state, tmp_path / "model.pt")
    with pytest.raises(CheckpointError, match="nothing was loaded"):
        load_pythae(tmp_path)


def test_folders_that_are_refused(tmp_path):
    built("VAE").save(str(tmp_path))
    settings = json.loads((tmp_path / "model_config.json").read_text(encoding="utf-8"))
    for change, message in (
        ({"name": "VQVAEConfig"}, "VQVAE, which is no generator of plain latents"),
        ({"name": "os.system"}, "no settings of pythae|no generator"),
        ({"latent_dim": "many"}, "no settings of pythae"),
        ({"latent_dim": 4}, "nothing was loaded"),
    ):
        (tmp_path / "model_config.json").write_text(json.dumps({**settings, **change}), encoding="utf-8")
        with pytest.raises(CheckpointError, match=message):
            load_pythae(tmp_path)
    (tmp_path / "encoder.pkl").write_bytes(b"cos\nsystem\n(S'exit 1'\ntR.")
    with pytest.raises(CheckpointError, match=r"encoder\.pkl is a pickle that would run code"):
        load_pythae(tmp_path)
    with pytest.raises(CheckpointError, match="cannot read"):
        load_pythae(tmp_path / "nowhere")


def test_models_that_are_refused(images, monkeypatch):
    with pytest.raises(ArgumentError, match="takes an autoencoder of pythae"):
        from_pythae(torch.nn.Identity())
    with pytest.raises(ArgumentError, match="does more between its encoder and its decoder"):
        from_pythae(built("VQVAE"))
    with pytest.raises(ArgumentError, match="a low and a high one"):
        from_pythae(built("VAE"), values=(1.0, 0.0))
    found = from_pythae(built("VAE"))
    with pytest.raises(ShapeError, match=r"\(N, 1, 6, 6\)"):
        found.encoder(images[:, 0])
    monkeypatch.setitem(sys.modules, "pythae.models", None)
    with pytest.raises(MissingDependencyError, match=r'pip install "latentkit\[pythae\]"'):
        load_pythae("nowhere")
