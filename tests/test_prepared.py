import copy
import itertools
import json
import pickle
from functools import partial

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrizations

import latentkit as lk
from latentkit.conditional import blend
from latentkit.errors import ArgumentError
from latentkit.nets import (
    ConvCritic,
    ConvGenerator,
    DCGANCritic,
    DCGANGenerator,
    FourierCritic,
    MLPCritic,
    MLPGenerator,
    ProgressiveCritic,
    ProgressiveGenerator,
    ResidualGenerator,
    StyleGAN2Critic,
    StyleGAN2Generator,
    StyleGAN3Generator,
)
from latentkit.nets.fitting import initialised
from latentkit.nets.folding import fold
from latentkit.nets.transposed import RunningConvTranspose2d
from latentkit.quality import score_latents
from latentkit.quality.scoring import scored_samples
from latentkit.sampling import batches, copies, transfers
from latentkit.sampling import prepared as preparing
from latentkit.sampling.prepared import is_prepared, prepared

NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)


def lived_in(make, seed=0):
    """Return a network in eval mode whose batch norms have statistics and weights of their own."""
    network = initialised(make, seed).eval()
    noise = torch.Generator().manual_seed(seed)
    for part in network.modules():
        if isinstance(part, NORMS) and part.running_mean is not None:
            part.running_mean.normal_(0.0, 0.5, generator=noise)
            part.running_var.uniform_(0.3, 3.0, generator=noise)
            if part.weight is not None:
                nn.init.normal_(part.weight, 1.0, 0.3, generator=noise)
                nn.init.normal_(part.bias, 0.0, 0.3, generator=noise)
    return network


def wrapped(make, dim=5, classes=0):
    network = lived_in(make)
    return lk.wrap(network, lk.Normal(dim), classes=classes or None)


def classes_of(view):
    return view(wrapped(lambda: ConvGenerator(5, 1, 16, 8, classes=3), classes=3))


def with_reference():
    network = initialised(lambda: ConvGenerator(5, 1, 16, 8, virtual_batch_norm=True), 0).train()
    network.reference(lk.Normal(5).sample(8, seed=1))
    network(lk.Normal(5).sample(4, seed=2))
    return lk.wrap(network.eval(), lk.Normal(5))


SMALL = {"w_dim": 8, "channel_base": 64, "channel_max": 8}
GENERATORS = {
    "mlp": lambda: wrapped(lambda: MLPGenerator(5, 2, 8, 2)),
    "conv": lambda: wrapped(lambda: ConvGenerator(5, 3, 16, 8)),
    "dcgan": lambda: wrapped(lambda: DCGANGenerator(5, 3, 32, 4)),
    "virtual batch norm": with_reference,
    "residual": lambda: wrapped(lambda: ResidualGenerator(5, 1, 16, 8)),
    "progressive": lambda: wrapped(lambda: ProgressiveGenerator(5, 3, 16, 8)),
    "stylegan2": lambda: wrapped(lambda: StyleGAN2Generator(5, 3, 16, **SMALL)),
    "stylegan3": lambda: wrapped(lambda: StyleGAN3Generator(5, 3, 16, depth=4, **SMALL)),
    "one class": lambda: classes_of(lambda one: lk.condition(one, 1)),
    "all classes": lambda: classes_of(lk.marginal),
    "between classes": lambda: classes_of(blend),
    "converted": lambda: lk.wrap(lived_in(lambda: ConvGenerator(5, 1, 16, 8)), lk.Normal(5), output=lk.Output(-2, 2)),
    "a method": lambda: lk.wrap(lived_in(lambda: ConvGenerator(5, 1, 16, 8)).forward, lk.Normal(5)),
    "a partial": lambda: lk.wrap(partial(lived_in(lambda: ConvGenerator(5, 1, 16, 8)), labels=None), lk.Normal(5)),
}
CRITICS = {
    "mlp": (lambda: MLPCritic(2, 8, 2), (2,)),
    "mlp, spectral": (lambda: MLPCritic(2, 8, 2, spectral=True, minibatch_kernels=3), (2,)),
    "conv": (lambda: ConvCritic(1, 16, 8), (1, 16, 16)),
    "conv, spectral, classes": (lambda: ConvCritic(3, 16, 8, classes=3, spectral=True), (3, 16, 16)),
    "dcgan": (lambda: DCGANCritic(3, 32, 4), (3, 32, 32)),
    "dcgan, spectral": (lambda: DCGANCritic(3, 32, 4, spectral=True, minibatch_kernels=2), (3, 32, 32)),
    "progressive": (lambda: ProgressiveCritic(3, 16, 8), (3, 16, 16)),
    "fourier": (lambda: FourierCritic(2, 8, 4, 8, 2), (2,)),
    "stylegan2": (lambda: StyleGAN2Critic(3, 16, channel_base=64, channel_max=8), (3, 16, 16)),
}


def modules_in(model):
    return list(itertools.chain.from_iterable(part.modules() for part in preparing.modules_of(model)))


def state_of(model):
    """Return all that a call must not change: modes, gradients, classes, weights bit by bit and their layout."""
    parts = modules_in(model)
    tensors = [tensor for part in preparing.modules_of(model) for tensor in part.state_dict(keep_vars=True).values()]
    return (
        [(type(part), part.training, getattr(part, "inplace", None)) for part in parts],
        [(id(t), t.requires_grad, t.grad is None, t.stride(), t.detach().clone().numpy().tobytes()) for t in tensors],
    )


def assert_close(found, wanted):
    scale = float(wanted.abs().max())
    torch.testing.assert_close(found, wanted, rtol=0.0, atol=max(1e-4 * scale, 1e-7))


@pytest.mark.parametrize("name", GENERATORS)
def test_a_prepared_generator_gives_the_same_and_leaves_the_original_alone(name):
    model = GENERATORS[name]()
    for part in modules_in(model):
        part.training = part.training and isinstance(part, nn.Dropout)
    before = state_of(model)
    twin = prepared(model)
    z = model.prior.sample(9, seed=3)
    with torch.no_grad():
        assert_close(twin(z), model(z))
    assert state_of(model) == before
    assert twin is not model
    assert type(twin) is type(model)
    assert twin.prior == model.prior
    ours, theirs = modules_in(twin), modules_in(model)
    assert not {id(part) for part in ours} & {id(part) for part in theirs}
    assert not any(part.training for part in ours)
    tensors = [t for part in preparing.modules_of(twin) for t in (*part.parameters(), *part.buffers())]
    assert not any(t.requires_grad for t in tensors)
    memory = {t.data_ptr() for part in preparing.modules_of(model) for t in (*part.parameters(), *part.buffers())}
    assert not memory & {t.data_ptr() for t in tensors if t.numel()}


@pytest.mark.parametrize("name", CRITICS)
def test_a_prepared_critic_gives_the_same_and_leaves_the_original_alone(name, draw):
    make, shape = CRITICS[name]
    critic = lived_in(make)
    before = state_of(critic)
    twin = prepared(critic) if name != "stylegan2" else prepared(critic, probe=draw(4, *shape))
    x = draw(6, *shape, seed=4).clamp(-1.0, 1.0)
    with torch.no_grad():
        assert_close(twin(x), critic(x))
    assert twin is not critic
    assert state_of(critic) == before
    assert not any(nn.utils.parametrize.is_parametrized(part) for part in twin.modules())
    again = pickle.loads(pickle.dumps(twin))  # what is sent to other machines
    with torch.no_grad():
        assert torch.equal(again(x), twin(x))
    assert is_prepared(again)
    if name.endswith("spectral"):
        critic.train()(x)  # the power iteration of the original still runs
        assert critic.score.parametrizations.weight[0]._u.isfinite().all()


def test_batch_norm_is_gone_where_the_flow_is_certain():
    for name in ("conv", "dcgan", "all classes"):
        assert not any(isinstance(part, NORMS) for part in modules_in(prepared(GENERATORS[name]()))), name
    residual = prepared(GENERATORS["residual"]()).module
    kept = [name for name, part in residual.named_modules() if isinstance(part, NORMS)]
    assert kept == ["blocks.0.change.0", "blocks.1"], "one normalises what a skip reads too, the other one a sum"


def test_training_reaches_the_original_alone_and_the_next_call_sees_it():
    generator = GENERATORS["conv"]()
    network, z = generator.module, lk.Normal(5).sample(600, seed=0)
    twin, first = prepared(generator), lk.generate(generator, z, batch_size=50)
    kept = twin(z[:4])
    network.train()
    optimiser = torch.optim.SGD(network.parameters(), 0.5)
    for _ in range(2):
        optimiser.zero_grad()
        (network(z[:16]) - 0.3).square().mean().backward()
        optimiser.step()
    assert network.training
    assert torch.equal(twin(z[:4]), kept)
    second = lk.generate(generator, z, batch_size=50)
    assert not torch.allclose(first, second, atol=1e-3)
    with torch.no_grad():
        assert_close(second, copy.deepcopy(network).eval()(z))
    assert network.training


class Looped(nn.Module):
    """A user's network: a body that is a sequence, and a forward of its own."""

    def __init__(self, body, forward=None):
        super().__init__()
        self.body, self.way = body, forward

    def forward(self, z):
        return self.body(z) if self.way is None else self.way(self.body, z)


def sequence(*more):
    return nn.Sequential(nn.Linear(5, 6), nn.BatchNorm1d(6), nn.LeakyReLU(0.2), *more)


FOLDED = {
    "linear": (lambda: sequence(nn.Linear(6, 2)), 0),
    "nested": (lambda: nn.Sequential(nn.Sequential(nn.Linear(5, 6)), nn.Dropout(0.5), nn.BatchNorm1d(6), nn.ReLU()), 0),
    "linear to maps": (
        lambda: nn.Sequential(nn.Linear(5, 24, bias=False), nn.Unflatten(1, (6, 2, 2)), nn.BatchNorm2d(6), nn.ReLU()),
        0,
    ),
    "in one dimension": (
        lambda: nn.Sequential(
            nn.Unflatten(1, (1, 5)),
            nn.Conv1d(1, 4, 3, padding=1, padding_mode="circular"),
            nn.BatchNorm1d(4, affine=False),
            nn.Upsample(scale_factor=2.0),
            nn.ConvTranspose1d(4, 3, 4, stride=2),
            nn.BatchNorm1d(3),
        ),
        0,
    ),
    "in three": (
        lambda: nn.Sequential(
            nn.Unflatten(1, (5, 1, 1, 1)), nn.ConvTranspose3d(5, 4, 2), nn.BatchNorm3d(4), nn.Conv3d(4, 2, 1, groups=2)
        ),
        0,
    ),
    "in groups": (
        lambda: nn.Sequential(
            nn.Unflatten(1, (5, 1, 1)),
            nn.ConvTranspose2d(5, 4, 2),
            nn.Conv2d(4, 8, 1, groups=4),
            nn.BatchNorm2d(8),
            nn.ConvTranspose2d(8, 4, 2, groups=2),
            nn.BatchNorm2d(4),
        ),
        1,
    ),
    "behind an activation": (lambda: nn.Sequential(nn.Linear(5, 6), nn.Tanh(), nn.BatchNorm1d(6)), 1),
    "of rows, not of features": (
        lambda: nn.Sequential(nn.Unflatten(1, (5, 1)), nn.Linear(1, 5), nn.BatchNorm1d(5), nn.Flatten()),
        1,
    ),
    "no sequence": (lambda: Looped(nn.ModuleList(sequence()), lambda body, z: body[2](body[1](body[0](z)))), 1),
    "the middle of a sequence": (
        lambda: Looped(sequence(nn.Linear(6, 2)), lambda body, z: body(z) + body[0](z)[:, :2]),
        1,
    ),
    "in a module of the user's": (lambda: Looped(sequence(nn.Linear(6, 2))), 0),
    "double precision": (lambda: sequence(nn.Linear(6, 2)).double(), 0),
}


@pytest.mark.parametrize("name", FOLDED)
def test_what_is_certain_is_folded_and_all_else_is_as_it_was(name):
    make, left = FOLDED[name]
    model = lk.wrap(lived_in(make), lk.Normal(5))
    twin = prepared(model)
    z = model.prior.sample(11, seed=6).to(next(model.module.parameters()).dtype)
    with torch.no_grad():
        assert_close(twin(z), model(z))
    assert sum(isinstance(part, NORMS) for part in modules_in(twin)) == left


def twice():
    layer = nn.Linear(5, 5)
    return nn.Sequential(layer, nn.BatchNorm1d(5), nn.ReLU(), layer, nn.Tanh())


def in_two_sequences():
    front = nn.Sequential(nn.Linear(5, 5), nn.ReLU(), nn.Linear(5, 5))
    return Looped(nn.ModuleList([nn.Sequential(front, nn.BatchNorm1d(5)), front]), lambda b, z: b[0](z) + b[1](z))


@pytest.mark.parametrize("make", [twice, in_two_sequences])
def test_a_layer_that_hangs_in_two_places_is_left_alone(make):
    network = lived_in(make)
    folded = copy.deepcopy(network).requires_grad_(False)
    fold(folded)
    assert sum(isinstance(part, NORMS) for part in folded.modules()) == 1
    z = lk.Normal(5).sample(7, seed=0)
    with torch.no_grad():
        assert_close(folded(z), network(z))


def test_tied_weights_are_folded_for_one_of_the_layers_only():
    network = lived_in(lambda: nn.Sequential(nn.Linear(5, 5), nn.BatchNorm1d(5), nn.Linear(5, 5)))
    network[2].weight = network[0].weight
    model = lk.wrap(network, lk.Normal(5))
    z = model.prior.sample(7, seed=0)
    with torch.no_grad():
        assert_close(prepared(model)(z), network(z))


def test_statistics_of_the_batch_cannot_be_folded():
    network = initialised(lambda: nn.Sequential(nn.Linear(5, 3), nn.BatchNorm1d(3, track_running_stats=False)), 0)
    model = lk.wrap(network.eval(), lk.Normal(5))
    z = model.prior.sample(32, seed=0)
    with torch.no_grad():
        assert_close(prepared(model)(z), network(z))


def test_hooks_are_respected(draw):
    seen = []
    network = lived_in(lambda: sequence(nn.Linear(6, 2)))
    network[0].register_forward_hook(lambda _, args, out: seen.append(len(args[0])) or out + 1.0)
    model = lk.wrap(network, lk.Normal(5))
    z = model.prior.sample(600, seed=0)
    assert prepared(model) is model
    assert not seen
    with torch.no_grad():
        wanted = network(z)
    seen.clear()
    torch.testing.assert_close(lk.generate(model, z, batch_size=400), wanted)
    assert seen == [400, 200]


def functions():
    network = lived_in(lambda: sequence())
    odd = lived_in(lambda: sequence())
    odd.forward = lambda z: z
    unlike = lived_in(lambda: sequence())
    unlike.register_module("random", Looped(nn.Identity()))
    return {
        "a closure": lambda z: network(z),
        "a forward of the instance": odd,
        "scripted": torch.jit.script(lived_in(lambda: sequence())),
    }


@pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")
@pytest.mark.filterwarnings("ignore:.*torch.jit:FutureWarning")
def test_what_is_not_understood_stays_as_it_is():
    for name, function in functions().items():
        model = lk.wrap(function, lk.Normal(5))
        assert prepared(model) is model, name
    assert prepared(len) is len


def test_a_copy_that_disagrees_or_fails_is_not_used(monkeypatch):
    model = GENERATORS["conv"]()
    monkeypatch.setattr(preparing, "fold", lambda network, kernels: network.to_image.weight.mul_(1.01))
    assert prepared(model) is model
    monkeypatch.setattr(preparing, "fold", lambda network, kernels: 1 / 0)
    assert prepared(model) is model
    monkeypatch.undo()
    monkeypatch.setattr(copies, "machine_memory", lambda: 8)
    assert prepared(model) is model


def test_noise_of_the_model_itself_is_the_same_for_both():
    class Noisy(nn.Module):
        def __init__(self):
            super().__init__()
            self.body = sequence()

        def forward(self, z):
            return self.body(z) + torch.randn(len(z), 6)

    model = lk.wrap(lived_in(Noisy), lk.Normal(5))
    assert prepared(model) is not model


def test_an_unknown_critic_needs_a_probe():
    critic = lived_in(lambda: nn.Sequential(nn.Linear(2, 6), nn.BatchNorm1d(6), nn.ReLU(), nn.Linear(6, 1)))
    assert prepared(critic) is critic
    twin = prepared(critic, probe=torch.zeros(3, 2))
    assert not any(isinstance(part, NORMS) for part in twin.modules())


def test_a_copy_is_not_copied_again():
    twin = prepared(GENERATORS["all classes"]())
    assert prepared(twin) is twin
    assert is_prepared(twin)
    assert not is_prepared(GENERATORS["all classes"]())


# ---- few channels


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize(
    "shape",
    [
        {"kernel_size": 4, "stride": 2, "padding": 1},
        {"kernel_size": 3, "stride": 2, "padding": 1, "output_padding": 1},
        {"kernel_size": (5, 2), "stride": (1, 3), "padding": (2, 0), "output_padding": (0, 2)},
        {"kernel_size": 3, "stride": 3, "padding": 2, "dilation": (2, 1)},
    ],
    ids=str,
)
def test_a_layer_to_few_channels_is_the_transposed_convolution(channels, bias, shape, build, draw):
    layer = build(lambda: nn.ConvTranspose2d(6, channels, bias=bias, **shape)).requires_grad_(False)
    product = copy.deepcopy(layer)
    fold(product)
    assert type(product) is RunningConvTranspose2d
    for x in (draw(3, 6, 5, 7), draw(2, 6, 4, 4).contiguous(memory_format=torch.channels_last), draw(6, 5, 5)):
        torch.testing.assert_close(product(x), layer(x), rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(product(draw(0, 6, 5, 7)), layer(draw(0, 6, 5, 7)))


@pytest.mark.parametrize("bias", [True, False])
def test_a_map_of_one_place_becomes_the_kernels_patch(bias, build, draw):
    layer = build(lambda: nn.ConvTranspose2d(6, 10, (4, 3), stride=2, bias=bias)).requires_grad_(False)
    product = copy.deepcopy(layer)
    fold(product)
    assert type(product) is RunningConvTranspose2d
    for x in (draw(3, 6, 1, 1), draw(1, 6, 1, 1), draw(3, 6, 1, 2), draw(6, 1, 1), draw(0, 6, 1, 1)):
        torch.testing.assert_close(product(x), layer(x), rtol=1e-5, atol=1e-5)


def doubling(*after):
    return nn.Sequential(nn.ConvTranspose2d(6, 8, 4, 2, 1), *after)


@pytest.mark.parametrize("kernels", [True, False])
@pytest.mark.parametrize("bias", [True, False])
def test_a_layer_does_the_relu_that_follows_it(kernels, bias, draw):
    network = lived_in(
        lambda: doubling(
            *(nn.BatchNorm2d(8), nn.ReLU(), nn.ConvTranspose2d(8, 5, 3, bias=bias), nn.ReLU()),
            *(nn.Conv2d(5, 2, 1), nn.ReLU()),
        )
    )
    folded = copy.deepcopy(network).requires_grad_(False).eval()
    fold(folded, kernels=kernels)
    assert [type(part) for part in folded].count(nn.ReLU) == 1, "that of the plain convolution"
    for x in (draw(3, 6, 5, 7), draw(1, 6, 4, 4).contiguous(memory_format=torch.channels_last), draw(3, 6, 5, 7)):
        with torch.no_grad():
            assert_close(folded(x), network(x))
    x = draw(2, 6, 3, 3).requires_grad_()
    (wanted,) = torch.autograd.grad(network(x).sum(), x)
    (found,) = torch.autograd.grad(folded(x).sum(), x)
    assert_close(found, wanted)


def test_packed_weights_follow_their_weights_and_stay_at_home(draw):
    folded = lived_in(lambda: doubling(nn.ReLU())).requires_grad_(False)
    fold(folded)
    x = draw(3, 6, 4, 4)
    folded(x)
    with torch.no_grad():
        folded[0].weight.mul_(2.0)
        folded[0].bias.zero_()
        wanted = nn.functional.conv_transpose2d(x, folded[0].weight, None, 2, 1).relu()
        assert_close(folded(x), wanted)
        for other in (pickle.loads(pickle.dumps(folded)), copy.deepcopy(folded)):
            assert "_pack" not in vars(other[0])
            assert torch.equal(other(x), folded(x))


def test_without_torchs_own_kernels_it_is_folded_all_the_same(monkeypatch):
    def missing(*_):
        raise RuntimeError("no such kernel")

    model = GENERATORS["conv"]()
    monkeypatch.setattr(RunningConvTranspose2d, "_by_kernel", missing)
    twin = prepared(model)
    assert not any(isinstance(part, NORMS) for part in modules_in(twin))
    z = model.prior.sample(5, seed=0)
    with torch.no_grad():
        assert_close(twin(z), model(z))


@pytest.mark.parametrize(
    "layer", [nn.ConvTranspose2d(6, 3, 4, groups=3), nn.ConvTranspose2d(6, 3, 4).double(), nn.Conv2d(6, 1, 3)]
)
def test_other_layers_keep_their_class(layer):
    kind = type(layer)
    fold(layer.requires_grad_(False))
    assert type(layer) is kind


# ---- half precision


def test_bfloat16_is_close_and_comes_back_as_float32(monkeypatch):
    monkeypatch.setattr(preparing, "_computes_bfloat16", lambda device: True)
    generator, critic = GENERATORS["all classes"](), lived_in(CRITICS["conv"][0])
    z = generator.prior.sample(20, seed=0)
    wanted = lk.generate(generator, z)
    for found in (lk.generate(generator, z, precision="bfloat16"), prepared(generator, precision="bfloat16")(z)):
        assert found.dtype == torch.float32
        assert 0.0 < float((found - wanted).abs().max()) < 0.05
    half = prepared(generator, precision="bfloat16")
    assert half.prior == generator.prior
    assert isinstance(half, lk.Generator)
    assert prepared(half, precision="bfloat16") is half
    scores = score_latents(generator, critic, z, precision="bfloat16")
    assert scores.dtype == torch.float32
    torch.testing.assert_close(scores, score_latents(generator, critic, z), rtol=0.05, atol=0.02)
    assert not isinstance(prepared(critic, precision="bfloat16"), lk.Generator)


def test_bfloat16_is_refused_where_it_cannot_help(monkeypatch):
    generator = GENERATORS["mlp"]()
    z = generator.prior.sample(3, seed=0)
    monkeypatch.setattr(torch.cpu, "get_capabilities", dict)
    with pytest.raises(ArgumentError, match="would be slower on this machine's cpu"):
        lk.generate(generator, z, precision="bfloat16")
    double = lk.wrap(copy.deepcopy(generator.module).double(), generator.prior)
    with pytest.raises(ArgumentError, match=r"is for models in float32, and this one is in torch\.float64"):
        lk.generate(double, z, precision="bfloat16")
    with pytest.raises(ArgumentError, match="precision must be one of float32, bfloat16; got 'half'"):
        lk.stream(generator, z, precision="half")


# ---- batches


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(batches, "_known", {})
    return tmp_path / "cache" / "latentkit" / "batches"


def race(monkeypatch, seconds):
    """Let sizes take so many seconds a latent, by size and by how often it ran, whatever the machine does."""
    runs = dict.fromkeys(seconds, 0)

    def run(size):
        runs[size] += 1
        return seconds[size](runs[size])

    return batches._fastest(max(seconds), run, deadline=float("inf"))


def test_the_usual_size_stays_unless_another_is_clearly_and_always_faster(monkeypatch):
    sizes = (16, 32, 64, 128, 256)
    assert race(monkeypatch, {size: lambda _: 1.0 for size in sizes}) == 64
    assert race(monkeypatch, {size: lambda _, s=size: 0.98 if s == 256 else 1.0 for size in sizes}) == 64
    assert race(monkeypatch, {size: lambda _, s=size: 0.8 if s == 32 else 1.0 for size in sizes}) == 32
    assert race(monkeypatch, {size: lambda _, s=size: 0.8 if s == 256 else 1.0 for size in sizes}) == 256
    level = {16: 1.1, 32: 1.05, 64: 1.0, 128: 0.81, 256: 0.8}
    assert race(monkeypatch, {size: lambda _, s=size: level[s] for size in sizes}) == 128, (
        "twice the memory for nothing"
    )
    lucky = {size: lambda k, s=size: 0.5 if s == 128 and k == 4 else 1.0 for size in sizes}
    assert race(monkeypatch, lucky) == 64, "one quick round among slow ones is the machine's doing"
    slowed = {size: lambda k, s=size: 9.0 if s == 64 and k == 5 else 1.0 for size in sizes}
    assert race(monkeypatch, slowed) == 64, "so is one slow round of the usual size"
    assert race(monkeypatch, {16: lambda _: 1.0, 32: lambda _: 1.0}) == 32, "the largest up to 64 of a slow network"


def test_a_measured_size_is_kept_and_known_by_all_that_it_depends_on(cache, monkeypatch):
    generator, critic = GENERATORS["mlp"](), lived_in(CRITICS["mlp"][0])
    searches = []
    monkeypatch.setattr(batches, "_searched", lambda *_: searches.append(1) or 2 ** (6 + len(searches)))
    assert batches.measured_batch(generator) == 128
    assert batches.measured_batch(generator) == 128
    with torch.no_grad():
        generator.module.layers[0].weight.add_(1.0)
    assert batches.measured_batch(generator) == 128, "weights don't matter"
    batches._known.clear()
    assert batches.measured_batch(generator) == 128, "another process reads what this one wrote"
    assert len(searches) == 1
    assert batches.measured_batch(generator, critic=critic) == 256
    assert batches.measured_batch(generator, precision="bfloat16") == 512
    assert batches.measured_batch(wrapped(lambda: MLPGenerator(5, 2, 9, 2))) == 1024
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch, "get_num_threads", lambda: 7)
        assert batches.measured_batch(generator) == 2048
    assert len(list(cache.iterdir())) == 5
    assert batches.measured_batch(lk.wrap(lambda z: z, lk.Normal(2))) == 64
    assert len(searches) == 5


DAMAGED = [b"", b"{", b"[]", b"null", b"\xff\xfe", b'{"batch_size": 0}', b'{"batch_size": 100}', b'{"batch_size": 1e9}']
DAMAGED += [
    b'{"batch_size": true}',
    b'{"batch_size": 1073741824}',
    b'{"batch_size": "64"}',
    b"[" * 50_000,
    b" " * 99_999,
]


@pytest.mark.parametrize("text", DAMAGED, ids=range(len(DAMAGED)))
def test_a_damaged_cache_changes_nothing(text, cache, monkeypatch):
    monkeypatch.setattr(batches, "_searched", lambda *_: 32)
    generator = GENERATORS["mlp"]()
    batches.measured_batch(generator)
    (file,) = cache.iterdir()
    file.write_bytes(text)
    batches._known.clear()
    assert batches.measured_batch(generator) == 32
    assert json.loads(file.read_bytes())["batch_size"] == 32, "and is mended"


def test_a_cache_that_cannot_be_written_changes_nothing(cache, monkeypatch):
    monkeypatch.setattr(batches, "_searched", lambda *_: 32)
    cache.parent.parent.mkdir(parents=True)
    cache.parent.write_text("somebody's file")
    assert batches.measured_batch(GENERATORS["mlp"]()) == 32
    assert batches._known
    assert cache.parent.read_text() == "somebody's file"
    batches._known.clear()
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setattr(batches.Path, "home", lambda: (_ for _ in ()).throw(RuntimeError("no home")))
    assert batches.measured_batch(GENERATORS["mlp"]()) == 32


def test_a_real_search_finds_a_power_of_two_and_remembers_it(cache):
    generator, critic = GENERATORS["mlp"](), lived_in(CRITICS["mlp"][0])
    size = batches.measured_batch(generator, critic=critic, seconds=0.2)
    assert size in [2**k for k in range(4, 13)]
    (file,) = cache.iterdir()
    assert json.loads(file.read_text())["batch_size"] == size


def test_a_network_too_slow_or_too_large_for_a_search_gets_small_batches(cache, monkeypatch):
    generator = GENERATORS["mlp"]()
    assert batches.measured_batch(generator, seconds=1e-9) == 8
    batches._known.clear()
    for file in cache.iterdir():
        file.unlink()
    monkeypatch.setattr(batches, "machine_memory", lambda: 3 * 8 * 2 * 4 * 64)  # three points in work
    assert batches.measured_batch(generator, seconds=1e-9) == 2


@pytest.mark.parametrize("options", [{"seconds": 0.0}, {"seconds": float("nan")}, {"precision": "half"}])
def test_a_search_checks_its_arguments(options):
    with pytest.raises(ArgumentError):
        batches.measured_batch(GENERATORS["mlp"](), **options)


@pytest.mark.parametrize("count", [1, 63, 600, 8192])
def test_no_batch_size_gives_what_any_gives(count, cache, monkeypatch):
    monkeypatch.setattr(batches, "_searched", lambda *_: 1024)
    generator, critic = GENERATORS["mlp"](), lived_in(CRITICS["mlp"][0])
    z = generator.prior.sample(count, seed=0)
    sizes = []
    monkeypatch.setattr(type(generator), "__call__", lambda self, z: sizes.append(len(z)) or self.module(z))
    free = lk.generate(generator, z)
    assert max(sizes) == min(count, 64 if count < batches.MEASURED_FROM else 1024)
    torch.testing.assert_close(lk.generate(generator, z, batch_size=7), free)
    assert torch.equal(lk.generate(generator, z), free), "and the same call the same bits"
    torch.testing.assert_close(torch.cat(list(lk.stream(generator, z))), free)
    logits = score_latents(generator, critic, z)
    torch.testing.assert_close(score_latents(generator, critic, z, batch_size=7), logits)
    pairs = list(scored_samples(generator, critic, z))
    torch.testing.assert_close(torch.cat([samples for samples, _ in pairs]), free)
    assert torch.equal(torch.cat([found for _, found in pairs]), logits)


# ---- transfers


class Device:
    """What a GPU's module offers, on the CPU: it notes what happens."""

    def __init__(self):
        self.log = []
        self.events = 0

    def Stream(self, device):
        self.log.append("stream")
        return self

    def wait_stream(self, other):
        self.log.append("wait for compute")

    def current_stream(self, device):
        return "current"

    def stream(self, stream):
        return torch.no_grad()

    def Event(self):
        self.events += 1
        return Event(self, self.events)


class Event:
    def __init__(self, device, number):
        self.device, self.number = device, number

    def record(self, stream):
        self.device.log.append(f"copying {self.number}")

    def synchronize(self):
        self.device.log.append(f"copied {self.number}")


def test_the_next_result_is_launched_before_one_is_waited_for(monkeypatch):
    """No GPU is needed: of its module the order of calls is what counts."""
    device = Device()
    monkeypatch.setattr(transfers, "_is_at_hand", lambda _: False)
    monkeypatch.setattr(torch, "get_device_module", lambda _: device)

    def results():
        for k in range(3):
            device.log.append(f"launched {k + 1}")
            yield torch.full((2,), float(k)), torch.tensor([k])

    found = list(transfers.brought_back(results()))
    assert [int(second) for _, second in found] == [0, 1, 2]
    assert [first.tolist() for first, _ in found] == [[0.0, 0.0], [1.0, 1.0], [2.0, 2.0]]
    assert device.log.count("stream") == 1
    order = [entry for entry in device.log if entry[-1].isdigit()]
    assert order == [
        *("launched 1", "copying 1"),
        *("launched 2", "copying 2", "copied 1"),
        *("launched 3", "copying 3", "copied 2", "copied 3"),
    ]


def test_results_of_the_cpu_pass_one_at_a_time():
    alive = []

    def results():
        for k in range(3):
            alive.append(k)
            yield (torch.tensor([k], dtype=torch.float32, requires_grad=True),)

    parts = transfers.brought_back(results())
    (first,) = next(parts)
    assert alive == [0]
    assert not first.requires_grad
    assert len(list(parts)) == 2


def test_a_critic_in_another_precision_gets_its_own():
    generator = GENERATORS["mlp"]()
    critic = lived_in(CRITICS["mlp"][0]).double()
    z = generator.prior.sample(700, seed=0)
    logits = score_latents(generator, critic, z, batch_size=100)
    with torch.no_grad():
        torch.testing.assert_close(logits.double(), critic(generator(z).double()), rtol=1e-5, atol=1e-5)


def test_spectral_norm_of_a_users_critic_is_kept_in_the_original(draw):
    critic = initialised(lambda: nn.Sequential(parametrizations.spectral_norm(nn.Linear(4, 4)), nn.Linear(4, 1)), 0)
    twin = prepared(critic.eval(), probe=draw(4, 4))
    assert nn.utils.parametrize.is_parametrized(critic[0])
    assert not nn.utils.parametrize.is_parametrized(twin[0])
    critic.train()(draw(8, 4)).sum().backward()
    assert critic[0].parametrizations.weight.original.grad is not None
