"""GANs of torch.hub's pytorch_GAN_zoo, on small networks that are built as the zoo's are and carry its names."""

import sys
import types
from itertools import pairwise

import pytest
import torch
from torch import nn
from torch.nn import functional

from latentkit import Normal, generate, load, quality_map
from latentkit.adapters.gan_zoo import ZooView, from_gan_zoo, load_gan_zoo
from latentkit.errors import ArgumentError, CheckpointError
from latentkit.nets import DCGANGenerator, ProgressiveGenerator
from latentkit.nets.fitting import initialised

LATENT = 6


class Equalised(nn.Module):
    """The zoo's layer: its whole output, bias included, is scaled by sqrt(2 / fan-in)."""

    def __init__(self, module):
        super().__init__()
        self.module = module
        self.scale = (2.0 / module.weight[0].numel()) ** 0.5
        nn.init.normal_(module.weight)
        nn.init.normal_(module.bias, std=0.3)

    def forward(self, x):
        return self.module(x) * self.scale


def conv(before, after, kernel=3):
    return Equalised(nn.Conv2d(before, after, kernel, padding=kernel // 2))


def norm(x):
    return x / (x.square().mean(1, keepdim=True) + 1e-8).sqrt()


def leaky(x):
    return functional.leaky_relu(x, 0.2)


class Grown(nn.Module):
    """A progressive generator by the zoo's names."""

    def __init__(self, maps=(16, 16, 8), channels=3, tanh=False, slope=0.2):
        super().__init__()
        self.formatLayer = Equalised(nn.Linear(LATENT, 16 * maps[0]))
        self.groupScale0 = nn.ModuleList([conv(maps[0], maps[0])])
        pairs = list(pairwise(maps))
        self.scaleLayers = nn.ModuleList(nn.ModuleList([conv(a, b), conv(b, b)]) for a, b in pairs)
        self.toRGBLayers = nn.ModuleList(conv(width, channels, 1) for width in maps)
        self.alpha, self.tanh, self.slope = 0.0, tanh, slope

    def forward(self, z):
        def act(x):
            return norm(functional.leaky_relu(x, self.slope))

        x = act(self.formatLayer(norm(z)).unflatten(1, (-1, 4, 4)))
        x = act(self.groupScale0[0](x))
        older = x
        for group in self.scaleLayers:
            older, x = x, functional.interpolate(x, scale_factor=2)
            for layer in group:
                x = act(layer(x))
        image = self.toRGBLayers[-1](x)
        if self.alpha:
            before = functional.interpolate(self.toRGBLayers[-2](older), scale_factor=2)
            image = self.alpha * before + (1 - self.alpha) * image
        return image.tanh() if self.tanh else image


class Shrunk(nn.Module):
    """A progressive discriminator by the zoo's names."""

    def __init__(self, maps=(16, 16, 8), channels=3, compares=True, heads=1):
        super().__init__()
        self.fromRGBLayers = nn.ModuleList(conv(channels, width, 1) for width in maps)
        pairs = list(pairwise(maps))
        self.scaleLayers = nn.ModuleList(nn.ModuleList([conv(b, b), conv(b, a)]) for a, b in pairs)
        last = [conv(maps[0] + compares, maps[0]), Equalised(nn.Linear(16 * maps[0], maps[0]))]
        self.groupScaleZero = nn.ModuleList(last)
        self.decisionLayer = Equalised(nn.Linear(maps[0], heads))
        self.alpha, self.compares = 0.0, compares

    def forward(self, x):
        maps = leaky(self.fromRGBLayers[-1](x))
        older = leaky(self.fromRGBLayers[-2](functional.avg_pool2d(x, 2)))
        for i, group in enumerate(reversed(self.scaleLayers)):
            for layer in group:
                maps = leaky(layer(maps))
            maps = functional.avg_pool2d(maps, 2)
            if i == 0 and self.alpha:
                maps = self.alpha * older + (1 - self.alpha) * maps
        if self.compares:
            # Groups of 4, as if each had the same spread: the mean that the bundled critic uses.
            spread = (maps.unflatten(0, (-1, 4)).var(1) + 1e-8).sqrt().mean()
            maps = torch.cat([maps, spread.expand(len(maps), 1, *maps.shape[2:])], 1)
        maps = leaky(self.groupScaleZero[0](maps)).flatten(1)
        return self.decisionLayer(leaky(self.groupScaleZero[1](maps)))


def block(layers):
    names, parts = zip(*layers, strict=True)
    found = nn.Sequential()
    for name, part in zip(names, parts, strict=True):
        found.add_module(name, part)
    for part in found:
        if isinstance(part, nn.BatchNorm2d):
            for value in (part.weight, part.bias, part.running_mean):
                nn.init.normal_(value)
            nn.init.uniform_(part.running_var, 0.5, 2.0)
    return found


class Deconvolved(nn.Module):
    """A DCGAN generator by the zoo's names."""

    def __init__(self, width=4, depth=2):
        super().__init__()
        maps = [width * 2**k for k in range(depth, -1, -1)]
        self.formatLayer = nn.ConvTranspose2d(LATENT, maps[0], 4, bias=False)
        layers = [("batchNorm0", nn.BatchNorm2d(maps[0])), ("relu0", nn.ReLU())]
        for i in range(depth):
            layers.append((f"convTranspose{i + 1}", nn.ConvTranspose2d(maps[i], maps[i + 1], 4, 2, 1, bias=False)))
            layers += [(f"batchNorm{i + 1}", nn.BatchNorm2d(maps[i + 1])), (f"relu{i + 1}", nn.ReLU())]
        self.main = block([*layers, ("outlayer", nn.ConvTranspose2d(width, 3, 4, 2, 1, bias=False))])

    def forward(self, z):
        return self.main(self.formatLayer(z)).tanh()


class Convolved(nn.Module):
    """A DCGAN discriminator by the zoo's names, which count from the last layer."""

    def __init__(self, width=4, depth=2):
        super().__init__()
        layers = [(f"convTranspose{depth}", nn.Conv2d(3, width, 4, 2, 1, bias=False)), ("relu", nn.LeakyReLU(0.2))]
        for i in range(depth):
            place, before = depth - i - 1, width * 2**i
            layers.append((f"convTranspose{place}", nn.Conv2d(before, 2 * before, 4, 2, 1, bias=False)))
            layers += [(f"batchNorm{place}", nn.BatchNorm2d(2 * before)), (f"relu{place}", nn.LeakyReLU(0.2))]
        self.main = block(layers)
        self.decisionLayer = nn.Conv2d(width * 2**depth, 1, 4, bias=False)

    def forward(self, x):
        return self.decisionLayer(self.main(x)).flatten(1)


class Zoo:
    """What torch.hub returns, as far as it is used."""

    def __init__(self, generator, discriminator, **settings):
        self.netG, self.netD = generator.eval(), discriminator.eval()
        self.config = types.SimpleNamespace(noiseVectorDim=LATENT, attribKeysOrder=None, **settings)

    def test(self, noise, getAvG=False):
        with torch.no_grad():
            return (self.avgG if getAvG else self.netG)(noise)


def zoo(kind, **settings):
    if kind == "progressive":
        return initialised(lambda: Zoo(Grown(), Shrunk(), **settings), 0)
    return initialised(lambda: Zoo(Deconvolved(), Convolved(), **settings), 0)


def shaped(model, z):
    return z[:, :, None, None] if isinstance(model.netG, Deconvolved) else z


@pytest.mark.parametrize("kind", ["progressive", "dcgan"])
def test_it_makes_and_scores_what_the_zoo_does(kind):
    model = zoo(kind)
    pair = from_gan_zoo(model)
    assert isinstance(pair.generator.module, ProgressiveGenerator if kind == "progressive" else DCGANGenerator)
    # In double precision: an untrained network's pixel norm amplifies rounding where all channels are near 0.
    for network in (model.netG, model.netD, pair.generator.module, pair.critic):
        network.double()
    z = pair.generator.prior.sample(16, seed=0).double()
    wanted = model.test(shaped(model, z)).clamp(-1, 1)
    assert float(wanted.std()) > 0.1
    torch.testing.assert_close(generate(pair.generator, z), wanted, rtol=1e-5, atol=1e-5)
    with torch.no_grad():
        torch.testing.assert_close(pair.critic(wanted), model.netD(wanted)[:, 0], rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(pair.critic(wanted[:1]), pair.critic(wanted)[:1], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("alpha", [0.3, 1.0])
def test_a_block_that_is_faded_in_keeps_its_share(alpha):
    model = zoo("progressive")
    model.netG.alpha = model.netD.alpha = alpha
    pair = from_gan_zoo(model)
    z = pair.generator.prior.sample(16, seed=0)
    images = model.test(z).clamp(-1, 1)
    torch.testing.assert_close(generate(pair.generator, z), images, rtol=1e-5, atol=1e-5)
    with torch.no_grad():
        torch.testing.assert_close(pair.critic(images), model.netD(images)[:, 0], rtol=1e-4, atol=1e-5)


def test_a_discriminator_that_compares_nothing():
    model = initialised(lambda: Zoo(Grown(), Shrunk(compares=False)), 3)
    critic = from_gan_zoo(model).critic
    x = torch.rand(5, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        torch.testing.assert_close(critic(x), model.netD(x)[:, 0], rtol=1e-4, atol=1e-5)


def test_the_averaged_generator_comes_first():
    model = zoo("progressive")
    model.avgG = nn.DataParallel(initialised(Grown, 5).eval())
    z = Normal(LATENT).sample(3, seed=0)
    both = [generate(from_gan_zoo(model, averaged=averaged).generator, z) for averaged in (True, False)]
    for found, averaged in zip(both, (True, False), strict=True):
        torch.testing.assert_close(found, model.test(z, getAvG=averaged).clamp(-1, 1), rtol=1e-5, atol=1e-5)
    assert not torch.allclose(*both)


@pytest.mark.parametrize("options", [{"tanh": True}, {"slope": 0.1}, {"maps": (8, 3, 8)}])
def test_an_architecture_of_its_own_stays_the_zoos(options):
    model = initialised(lambda: Zoo(Grown(**options), Shrunk(heads=3)), 0)
    pair = from_gan_zoo(model)
    assert isinstance(pair.generator, ZooView)
    assert pair.critic is None
    z = pair.generator.prior.sample(4, seed=0)
    torch.testing.assert_close(generate(pair.generator, z), model.test(z).clamp(-1, 1))
    with pytest.raises(ArgumentError, match="architecture of its own"):
        pair.checkpoint()


def test_the_pair_is_a_checkpoint_and_can_be_analysed(tmp_path):
    pair = from_gan_zoo(zoo("progressive"))
    z = pair.generator.prior.sample(40, seed=1)
    ckpt = load(pair.checkpoint(generate(pair.generator, z), data="faces").save(tmp_path / "zoo"))
    # A checkpoint holds its held-out images as bytes, and its weights exactly.
    assert generate(ckpt.generator, z).equal(generate(pair.generator, z))
    options = {"real": ckpt.holdout, "n": 64, "seed": 0, "allow_uninformative": True}
    mapped = quality_map(ckpt.generator, ckpt.critic, **options)
    assert mapped.latents.shape == (64, LATENT)


@pytest.fixture
def base_config(monkeypatch):
    """The zoo's class of settings, under its name, so that a file can be written which asks for it."""
    for name in ("models", "models.utils", "models.utils.config"):
        monkeypatch.setitem(sys.modules, name, types.ModuleType(name))
    kind = type("BaseConfig", (), {"__module__": "models.utils.config"})
    sys.modules["models.utils.config"].BaseConfig = kind
    return kind


def written(model, config, file, **more):
    config.__dict__.update(noiseVectorDim=LATENT, **more) if hasattr(config, "__dict__") else None
    parts = {"config": config, "netG": model.netG.state_dict(), "netD": model.netD.state_dict()}
    torch.save(parts, file)
    return file


@pytest.mark.parametrize("kind", ["progressive", "dcgan"])
def test_files_are_read_without_the_zoo(kind, tmp_path, base_config, monkeypatch):
    model = zoo(kind)
    file = written(model, base_config(), tmp_path / "zoo.pth", alpha=0.0, leakyReluLeak=0.2)
    bare = tmp_path / "bare.pth"
    # The zoo's first versions named no layer within an equalised one.
    torch.save({key.replace(".module.", "."): value for key, value in model.netG.state_dict().items()}, bare)
    for name in ("models", "models.utils", "models.utils.config"):
        monkeypatch.delitem(sys.modules, name)
    pair = load_gan_zoo(file)
    z = pair.generator.prior.sample(4, seed=0)
    wanted = from_gan_zoo(model)
    for found in (pair, load_gan_zoo(bare)):
        assert generate(found.generator, z).equal(generate(wanted.generator, z))
    x = generate(pair.generator, z)
    assert pair.critic(x).equal(wanted.critic(x))
    assert load_gan_zoo(bare).critic is None


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"leakyReluLeak": 0.1}, "built with leakyReluLeak = 0.1"),
        ({"attribKeysOrder": {"hair": 2}}, r"told attributes \(hair\)"),
        ({"lossCriterion": "MSE"}, "trained with the loss MSE"),
    ],
)
def test_files_of_other_networks_are_refused(settings, message, tmp_path, base_config):
    file = written(zoo("progressive"), base_config(), tmp_path / "zoo.pth", **settings)
    with pytest.raises(CheckpointError, match=message):
        load_gan_zoo(file)


def test_bad_files(tmp_path):
    model = zoo("progressive")
    state = model.netG.state_dict()

    def refused(parts, message):
        torch.save(parts, tmp_path / "bad.pth")
        with pytest.raises(CheckpointError, match=message):
            load_gan_zoo(tmp_path / "bad.pth")

    refused({"netD": model.netD.state_dict()}, "a discriminator and no generator")
    refused(model.netD.state_dict(), "a discriminator where a generator is wanted")
    refused({key: value for key, value in state.items() if "toRGBLayers.1" not in key}, "lacks toRGBLayers.1.weight")
    refused({**state, "extra": torch.zeros(1)}, r"1 weights more than .* \(extra\)")
    refused({"netG": {**state, "steps": 3}}, "steps, which is no tensor")
    refused(initialised(lambda: Grown((8, 3, 8)), 0).state_dict(), "8, 3, 8 channels, which do not double")
    refused({"netG": state, "config": types.SimpleNamespace()}, "asks for types.SimpleNamespace")
    with pytest.raises(ArgumentError, match="takes a GAN of pytorch_GAN_zoo"):
        from_gan_zoo(nn.Identity())
    model.config.attribKeysOrder = {"hair": 1}
    with pytest.raises(ArgumentError, match="told attributes"):
        from_gan_zoo(model)
