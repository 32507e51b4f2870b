"""BigGAN as in pytorch-pretrained-biggan, on small random networks of the package itself."""

import json
import math

import pytest
import torch

from latentkit import condition, generate, interpolate, invert, marginal
from latentkit.adapters.biggan import BigGAN, from_biggan, load_biggan
from latentkit.conditional import blend
from latentkit.errors import ArgumentError, CheckpointError, LabelError, MissingDependencyError, ShapeError
from latentkit.nets.fitting import initialised
from latentkit.priors import Normal

package = pytest.importorskip("pytorch_pretrained_biggan", exc_type=ImportError)
K, D = 5, 8
SMALL = {
    "output_dim": 16,
    "z_dim": D,
    "class_embed_dim": D,
    "channel_width": 8,
    "num_classes": K,
    "layers": [(True, 16, 8), (False, 8, 4), (True, 4, 2), (False, 2, 1)],
    "attention_layer_position": 2,
}


def lively():
    """A network in which truncation, classes and attention all matter."""

    def make():
        made = package.BigGAN(package.BigGANConfig(**SMALL))
        for name, value in made.state_dict().items():
            if name.endswith(("running_means", "gamma", "bn.bias")):
                torch.nn.init.normal_(value, std=0.3)
            if name.endswith("bn.weight"):
                torch.nn.init.constant_(value, 0.3)
            if name.endswith("running_vars"):
                torch.nn.init.uniform_(value, 0.5, 2.0)
        with torch.no_grad():
            for _ in range(20):  # the spectral norms are found in training mode, step by step
                made(torch.zeros(1, D), torch.eye(K)[:1], 1.0)
        return made.eval().requires_grad_(False)

    return initialised(make, 0)


@pytest.fixture(scope="module")
def network():
    return lively()


@pytest.fixture
def model(network):
    return from_biggan(network, truncation=0.5, classes=["hen", "hound", "lamp", "pier", "sea"])


@pytest.mark.parametrize("truncation", [0.2, 0.43, 1.0])
def test_it_makes_what_the_package_does(network, truncation):
    noise = torch.from_numpy(package.truncated_noise_sample(6, D, truncation, seed=1))
    numbers = torch.arange(6) % K
    with torch.no_grad():
        wanted = network(noise, torch.eye(K)[numbers], truncation)
    assert float(wanted.std(0).mean()) > 0.005
    model = from_biggan(network, truncation=truncation)
    z = model.latents(noise)
    torch.testing.assert_close(model.noise(z), noise, rtol=1e-5, atol=1e-6)
    with torch.no_grad():
        torch.testing.assert_close(model.conditional(z, numbers), wanted, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(generate(model.embedded, model.in_class(z, numbers)), wanted, rtol=1e-5, atol=1e-5)


def test_draws_of_the_prior_are_the_packages_noise(model):
    noise = model.noise(model.conditional.prior.sample(20_000, seed=0)).double() / 0.5
    assert float(noise.abs().max()) < 2.0
    # The variance of a normal distribution cut off at 2 standard deviations: 1 - 2 c p(c) / P(|u| < c), with c = 2.
    density = math.exp(-2.0) / math.sqrt(2.0 * math.pi)
    variance = 1.0 - 4.0 * density / math.erf(math.sqrt(2.0))
    assert float(noise.var()) == pytest.approx(variance, rel=0.01)
    assert float(noise.mean()) == pytest.approx(0.0, abs=0.01)
    assert bool(model.noise(torch.tensor([[-40.0, 40.0, *[0.0] * (D - 2)]])).isfinite().all())


def test_the_views_of_the_class_agree(model):
    z = model.conditional.prior.sample(6, seed=2)
    lamp = generate(condition(model.conditional, "lamp"), z)
    torch.testing.assert_close(generate(model.embedded, model.in_class(z, "lamp")), lamp)
    between = blend(model.conditional)
    torch.testing.assert_close(generate(between, between.latents(z, "lamp")), lamp)
    everything = marginal(model.conditional)
    drawn = everything.prior.sample(6, seed=3)
    named = [generate(condition(model.conditional, int(row[D:].argmax())), row[None, :D]) for row in drawn]
    torch.testing.assert_close(generate(everything, drawn), torch.cat(named))


def test_classes_interpolate_by_their_embedding(model):
    z = model.conditional.prior.sample(1, seed=4)
    ends = [model.in_class(z, label)[0] for label in ("hen", "sea")]
    frames = generate(model.embedded, interpolate(*ends, model.embedded.prior).steps(33))
    for frame, label in ((0, "hen"), (-1, "sea")):
        torch.testing.assert_close(
            frames[frame], generate(condition(model.conditional, label), z)[0], atol=1e-5, rtol=1e-4
        )
    steps = (frames[1:] - frames[:-1]).flatten(1).norm(dim=1)
    assert float(steps.max()) < 0.2 * float((frames[-1] - frames[0]).norm())
    # Halfway by weights is the middle of the embeddings.
    half = torch.tensor([[0.5, 0.0, 0.0, 0.0, 0.5]])
    middle = (model.embeddings[0] + model.embeddings[4]) / 2
    torch.testing.assert_close(model.in_class(z, half)[0, D:], middle)


def test_the_prior_of_the_embedding_is_that_of_the_classes(model):
    embedded = model.embedded.prior.sample(50_000, seed=5)[:, D:]
    scale = float(model.embeddings.std())
    assert float((embedded.mean(0) - model.embeddings.mean(0)).abs().max()) < 0.03 * scale
    spread = torch.cov(model.embeddings.T, correction=0)
    assert float((torch.cov(embedded.T) - spread).norm() / spread.norm()) < 0.05


def test_a_generated_image_is_inverted_with_its_class(model):
    wanted = generate(model.embedded, model.embedded.prior.sample(2, seed=6))
    found = invert(model.embedded, wanted, steps=60, pool=200, seed=1)
    assert float(found.errors.max()) < 0.02 * float(wanted.var())


@pytest.mark.parametrize("file", ["pytorch_model.bin", "model.safetensors"])
def test_a_folder_is_read_whole_or_not_at_all(network, tmp_path, file):
    from safetensors.torch import save_file

    def write(state):
        torch.save(state, tmp_path / file) if file.endswith(".bin") else save_file(state, tmp_path / file)

    (tmp_path / "config.json").write_text(network.config.to_json_string(), encoding="utf-8")
    state = {key: value.contiguous() for key, value in network.state_dict().items()}
    write(state)
    model = load_biggan(tmp_path, truncation=0.5)
    z = model.conditional.prior.sample(3, seed=0)
    wanted = generate(condition(from_biggan(network, truncation=0.5).conditional, 1), z)
    torch.testing.assert_close(generate(condition(model.conditional, 1), z), wanted)
    del state["embeddings.weight"]
    write(state)
    with pytest.raises(CheckpointError, match=r"nothing was loaded \(missing: embeddings.weight\)"):
        load_biggan(tmp_path)
    (tmp_path / "config.json").write_text(json.dumps({**SMALL, "layers": 3}), encoding="utf-8")
    with pytest.raises(CheckpointError, match="describes no BigGAN"):
        load_biggan(tmp_path)
    (tmp_path / "config.json").write_text("[1]", encoding="utf-8")
    with pytest.raises(CheckpointError, match="no settings of a BigGAN"):
        load_biggan(tmp_path)
    with pytest.raises(CheckpointError, match="cannot read"):
        load_biggan(tmp_path / "nowhere")


def test_what_is_refused(network, model):
    with pytest.raises(ArgumentError, match="takes a BigGAN"):
        from_biggan(torch.nn.Identity())
    for truncation in (0.0, 1.5, math.nan):
        with pytest.raises(ArgumentError, match="truncation must be"):
            from_biggan(network, truncation=truncation)
    with pytest.raises(LabelError, match="has 5 classes"):
        from_biggan(network, classes=["one"])
    with pytest.raises(ArgumentError, match="lies within 1 of 0"):
        model.latents(torch.full((1, D), 1.2))
    with pytest.raises(ShapeError, match=r"\(N, 8\)"):
        model.noise(torch.zeros(1, 3))
    with pytest.raises(LabelError):
        model.in_class(torch.zeros(1, D), "cat")
    with pytest.raises(LabelError, match="needs a class"):
        model.conditional(torch.zeros(1, D))
    assert isinstance(model, BigGAN)
    assert model.conditional.prior == Normal(D)


def test_a_missing_package_names_the_extra(monkeypatch, tmp_path):
    monkeypatch.setitem(__import__("sys").modules, "pytorch_pretrained_biggan", None)
    with pytest.raises(MissingDependencyError, match=r'pip install "latentkit\[biggan\]"'):
        load_biggan(tmp_path)
