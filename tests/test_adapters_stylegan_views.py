"""The views of a StyleGAN: z, w and w+ over one network."""

import pytest
import torch

from latentkit import Normal, condition, generate, load
from latentkit.adapters.stylegan import StyleGAN
from latentkit.directions import Direction
from latentkit.edits.activations import activations, layers_of
from latentkit.edits.layers import Layered, on_layers
from latentkit.errors import ArgumentError, LabelError
from latentkit.nets import NETWORKS
from latentkit.nets.stylegan import StyleGAN2Critic, StyleGAN2Generator, StyleGAN3Generator
from latentkit.priors import Tied
from latentkit.protocols import ConditionalGenerator, Generator

SMALL = {"w_dim": 6, "mapping_depth": 2, "channel_base": 64, "channel_max": 8}


def lively(network):
    """A network whose noise and mean are not at 0."""
    random = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for name, value in network.state_dict().items():
            if name.endswith(("noise_strength", "w_avg")):
                value.copy_(0.3 * torch.randn(value.shape, generator=random))
    return network.eval().requires_grad_(False)


@pytest.fixture(scope="module")
def models():
    from latentkit.nets.fitting import initialised

    def make(network, **options):
        return lively(initialised(lambda: network(**options), 0))

    critic = {"channels": 3, "size": 16, "channel_base": 64, "channel_max": 8}
    two = make(StyleGAN2Generator, latent_dim=5, channels=3, size=16, **SMALL)
    some = make(StyleGAN2Generator, latent_dim=5, channels=3, size=16, classes=2, **SMALL)
    three = make(
        StyleGAN3Generator, latent_dim=5, channels=3, size=16, w_dim=6, channel_base=64, channel_max=6, depth=5
    )
    return {
        "2": StyleGAN(two, (), make(StyleGAN2Critic, **critic)),
        "classes": StyleGAN(some, ("cat", "dog"), make(StyleGAN2Critic, **critic, classes=2)),
        "3": StyleGAN(three),
    }


@pytest.fixture(params=["2", "3"])
def model(request, models):
    return models[request.param]


def test_the_views_agree(model):
    z = model.z.prior.sample(5, seed=1)
    w = model.map(z)
    images = generate(model.z, z)
    assert float(images.std(0).mean()) > 0.02
    assert float(images.abs().max()) <= 1.0
    torch.testing.assert_close(generate(model.w, w), images, atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(generate(model.wplus, model.lifted(w)), images, atol=1e-5, rtol=1e-4)
    for view in (model.z, model.w, model.wplus, model.view_z(), model.view_w(psi=0.5)):
        assert isinstance(view, Generator)
        one = view.prior.sample(3, seed=0)
        assert one.shape == (3, view.prior.dim)
        torch.testing.assert_close(generate(view, one, batch_size=1), generate(view, one), atol=1e-5, rtol=1e-4)
    assert (model.w.prior.dim, model.wplus.prior.dim) == (6, 6 * model.layers)


def test_the_prior_of_w_has_the_mean_and_spread_of_w(model):
    w = model.map(Normal(5).sample(20_000, seed=5))
    drawn = model.w.prior.sample(20_000, seed=5)
    spread = w.std(0).norm()
    assert float((w.mean(0) - drawn.mean(0)).norm() / spread) < 0.05
    assert float((w.T.cov() - drawn.T.cov()).norm() / w.T.cov().norm()) < 0.1


@pytest.mark.parametrize("space", ["z", "w", "wplus"])
def test_truncation(model, space):
    def images(**options):
        view = getattr(model, f"view_{space}")(**options)
        return generate(view, view.prior.sample(40, seed=2))

    whole = images()
    assert torch.equal(images(psi=1.0), whole)
    assert torch.equal(images(psi=0.3, cutoff=0), whole)
    mean = images(psi=0.0)
    torch.testing.assert_close(mean, mean[:1].expand_as(mean), atol=1e-5, rtol=1e-4)
    w = model.network.mapping.w_avg[None].repeat(1, 1)
    torch.testing.assert_close(mean[:1], generate(model.w, w), atol=1e-5, rtol=1e-4)
    spreads = [float(images(psi=psi).var(0).mean()) for psi in (0.0, 0.15, 0.4)]
    assert spreads == sorted(spreads)
    assert spreads[0] < 1e-9 < spreads[1]
    for wrong in ({"psi": float("nan")}, {"psi": float("inf")}, {"psi": "0.5x"}, {"cutoff": -1}, {"cutoff": 99}):
        with pytest.raises(ArgumentError, match=r"psi|cutoff"):
            getattr(model, f"view_{space}")(**wrong)


def test_truncation_is_a_line_through_the_mean(model, draw):
    ws = draw(2, model.layers, 6)
    mean = model.network.mapping.w_avg
    for psi in (-1.0, 0.25, 2.0):
        torch.testing.assert_close(model.network.truncated(ws, psi), mean + psi * (ws - mean), atol=1e-6, rtol=1e-5)
    some = model.network.truncated(ws, 0.0, cutoff=2)
    assert torch.equal(some[:, 2:], ws[:, 2:])
    torch.testing.assert_close(some[:, :2], mean.expand(2, 2, 6))


def test_noise(models):
    model = models["2"]
    w = model.map(Normal(5).sample(3, seed=1))

    def images(noise):
        return generate(model.view_w(noise=noise), w)

    assert torch.equal(images("const"), generate(model.w, w))
    assert torch.equal(images(7), images(7))
    kinds = [images(noise) for noise in ("const", "none", 7, 8)]
    for i, one in enumerate(kinds):
        for other in kinds[:i]:
            assert float((one - other).abs().mean()) > 1e-3
    # A sample's noise is the seed's: the same whichever samples stand beside it.
    torch.testing.assert_close(generate(model.view_w(noise=7), w[1:2]), images(7)[1:2], atol=1e-5, rtol=1e-4)
    for wrong in ("random", -1, 2**64, 1.5):
        with pytest.raises(ArgumentError, match=r"noise must be|seed must be"):
            model.view_w(noise=wrong)


def test_the_noise_of_a_layer_is_standard_normal(models):
    from latentkit.adapters.stylegan.views import noise_maps

    maps = noise_maps(models["2"].network, 3)
    assert [tuple(noise.shape) for noise in maps] == [(4, 4), (8, 8), (8, 8), (16, 16), (16, 16)]
    assert not torch.equal(maps[1], maps[2])
    values = torch.cat([noise.flatten() for noise in maps])
    assert abs(float(values.mean())) < 0.2
    assert float(values.std()) == pytest.approx(1.0, abs=0.15)


def test_stylegan3_adds_no_noise(models):
    model = models["3"]
    w = model.map(Normal(5).sample(2, seed=1))
    assert torch.equal(generate(model.view_w(noise="none"), w), generate(model.w, w))
    with pytest.raises(ArgumentError, match="adds no noise"):
        model.view_w(noise=3)


@pytest.mark.parametrize("layer", [0, 2, 5])
def test_an_edit_of_one_layer_changes_nothing_before_it(models, layer):
    model = models["2"]
    assert isinstance(model.wplus, Layered)
    direction = on_layers(Direction(torch.eye(6)[0], "first", "by hand", (-3.0, 3.0)), [layer], model.wplus)
    z = model.lifted(model.map(Normal(5).sample(2, seed=1)))
    moved = z + 2.0 * direction.vector
    changed = (moved - z).unflatten(1, (6, 6)).abs().sum((0, 2)) > 0
    assert changed.nonzero().flatten().tolist() == [layer]
    names = [name for name in layers_of(model.wplus) if name.endswith(("conv0", "conv1"))]
    assert len(names) == 5
    for i, name in enumerate(names):
        before, after = (activations(model.wplus, latents, name) for latents in (z, moved))
        assert torch.equal(before, after) == (i < layer)
    assert not torch.equal(generate(model.wplus, z), generate(model.wplus, moved))


def test_classes(models):
    model = models["classes"]
    assert isinstance(model.z, ConditionalGenerator)
    z = Normal(5).sample(3, seed=1)
    for k, name in enumerate(model.classes):
        labels = torch.full((3,), k)
        images = generate(condition(model.z, name), z)
        assert torch.equal(images, generate(model.w, model.map(z, labels)))
        assert torch.equal(images, generate(condition(model.view_z(), name), z))
    means = [model.view_w(label=label).prior.sample(4000, seed=0).mean(0) for label in ("cat", "dog", None)]
    assert float((means[0] - means[1]).norm()) > 0.05
    torch.testing.assert_close((means[0] + means[1]) / 2, means[2], atol=0.05, rtol=0.05)
    assert model.view_wplus(label=1).prior.single is model.view_w(label="dog").prior
    with pytest.raises(LabelError, match="needs labels"):
        model.map(z)
    with pytest.raises(LabelError, match="label must be one of cat, dog"):
        model.view_w(label="cow")


def test_no_label_for_one_without_classes(models):
    with pytest.raises(LabelError, match="has no classes"):
        models["2"].view_w(label=0)
    with pytest.raises(LabelError, match="no classes"):
        models["2"].map(Normal(5).sample(2, seed=0), torch.tensor([0, 0]))


@pytest.mark.parametrize("name", ["2", "classes"])
def test_the_critic_is_settled_on_what_the_generator_makes(models, name):
    model = models[name]
    critic = model.critic
    seen = float(critic.b4.mbstd.running_std)
    assert seen > 0
    z = Normal(5).sample(16, seed=0)
    labels = torch.arange(16) % 2 if model.classes else None
    images = generate(model.w, model.map(z, labels))
    critic.settle(images)
    assert float(critic.b4.mbstd.running_std) == pytest.approx(seen, rel=1e-4)
    assert critic(images).shape == (16,)
    assert models["3"].critic is None


def test_tied_is_a_prior():
    single = Normal(3, mean=1.0, std=2.0)
    tied = Tied(single, 4)
    z = tied.sample(2000, seed=3)
    w = single.sample(2000, seed=3)
    assert torch.equal(tied.parts(z), w[:, None].expand(-1, 4, -1))
    assert torch.equal(tied.sample(5, seed=3, start=7), z[7:12])
    torch.testing.assert_close(tied.log_prob(z), single.log_prob(w))
    torch.testing.assert_close(tied.typicality(z), single.typicality(w))
    moved = z.clone()
    moved[:, 3:6] += 20.0  # the second layer's
    assert bool((tied.typicality(moved) < 1e-6).all())
    assert bool((tied.log_prob(moved) < tied.log_prob(z)).all())
    weights = torch.tensor([0.5, 0.5])
    total = 0.5 * (tied.sample(2000, seed=4) + z)
    middle = tied.match(total, weights)
    assert torch.equal(tied.parts(middle), single.match(total[:, :3], weights)[:, None].expand(-1, 4, -1))
    rows = torch.rand(2000, 2, generator=torch.Generator().manual_seed(0))
    total = rows[:, :1] * z + rows[:, 1:] * tied.sample(2000, seed=4)
    torch.testing.assert_close(tied.parts(tied.match(total, rows))[:, 2], single.match(total[:, :3], rows))
    start = z[:2].clone().requires_grad_()
    tied.log_prob(start).sum().backward()
    assert bool((start.grad != 0).all())


@pytest.mark.parametrize("name", ["2", "classes", "3"])
def test_a_checkpoint_holds_one(models, tmp_path, monkeypatch, name):
    model = models[name]
    for network in (StyleGAN2Generator, StyleGAN3Generator, StyleGAN2Critic):
        monkeypatch.setitem(NETWORKS, network.network, network)
    model.checkpoint(torch.zeros(1, 3, 16, 16) if name == "2" else None).save(tmp_path / "run")
    again = load(tmp_path / "run")
    assert len(again.holdout) == (name == "2")
    views = [condition(one, "dog") if model.classes else one for one in (again.generator, model.z)]
    z = Normal(5).sample(3, seed=1)
    images = [generate(view, z) for view in views]
    assert torch.equal(*images)
    if model.critic is None:
        assert again.critic is None
    else:
        assert torch.equal(again.critic(images[0]), model.critic(images[0]))
