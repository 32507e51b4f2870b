"""Truths about the published pair, projection, spectra and the K+1 head."""

import pytest
import torch
from torch import nn
from torch.nn import functional

from latentkit.nets import (
    ConvClassifier,
    ConvCritic,
    ConvEncoder,
    DCGANCritic,
    DCGANGenerator,
    MLPClassifier,
    MLPCritic,
    MLPEncoder,
)
from latentkit.nets.layers import MinibatchDiscrimination

CRITICS = {
    "mlp": (lambda **options: MLPCritic(3, 16, 2, **options), (3,)),
    "conv": (lambda **options: ConvCritic(1, 16, 4, **options), (1, 16, 16)),
    "dcgan": (lambda **options: DCGANCritic(1, 16, 4, **options), (1, 16, 16)),
}
every_critic = pytest.mark.parametrize("kind", CRITICS)


@pytest.fixture
def critic(build):
    return lambda kind, **options: build(lambda: CRITICS[kind][0](**options))


@pytest.fixture
def samples(draw):
    return lambda kind, n=8: draw(n, *CRITICS[kind][1])


class TestPublishedDCGAN:
    def test_channels_at_64(self):
        with torch.device("meta"):
            generator, critic = DCGANGenerator(100, 3, 64), DCGANCritic(3, 64)
        up = [part for part in generator.modules() if isinstance(part, nn.ConvTranspose2d)]
        down = [part for part in critic.modules() if isinstance(part, nn.Conv2d)]
        assert [part.in_channels for part in up] == [100, 512, 256, 128, 64]
        assert [part.out_channels for part in down] == [64, 128, 256, 512]
        assert all(part.kernel_size == (4, 4) for part in (*up, *down))
        norms = [sum(isinstance(part, nn.BatchNorm2d) for part in net.modules()) for net in (generator, critic)]
        assert norms == [4, 3]  # not at the images
        assert [part.bias is None for part in up] == [True] * 4 + [False]
        assert [part.bias is None for part in down] == [False] + [True] * 3
        # The counts of the network as it is usually written, which has no biases at the images.
        biases = [generator.to_image.bias, critic.blocks[0].bias, critic.score.bias]
        assert sum(p.numel() for p in generator.parameters()) - biases[0].numel() == 3_576_704
        assert sum(p.numel() for p in critic.parameters()) - sum(p.numel() for p in biases[1:]) == 2_765_568

    @pytest.mark.parametrize("size", [16, 32, 128, 1024])
    def test_other_sides_end_at_4(self, size):
        with torch.device("meta"):
            generator, critic = DCGANGenerator(9, 3, size, 8), DCGANCritic(3, size, 8)
            assert generator(torch.zeros(2, 9)).shape == (2, 3, size, size)
            assert critic.eval()(torch.zeros(2, 3, size, size)).shape == (2,)

    def test_initial_weights(self, build):
        generator = build(lambda: DCGANGenerator(100, 3, 32, 32))
        critic = build(lambda: DCGANCritic(3, 32, 32))
        for part in (*generator.modules(), *critic.modules()):
            if isinstance(part, nn.Conv2d | nn.ConvTranspose2d | nn.Linear):
                assert part.weight.std().item() == pytest.approx(0.02, rel=0.1)
                assert part.bias is None or not part.bias.any()
            if isinstance(part, nn.BatchNorm2d):
                assert part.weight.mean().item() == pytest.approx(1.0, abs=0.02)
                assert 0.01 < part.weight.std().item() < 0.03
                assert not part.bias.any()


class TestProjection:
    @every_critic
    def test_the_logit_of_a_class_is_the_score_and_a_projection(self, kind, critic, samples):
        net, x, y = critic(kind, classes=4).eval(), samples(kind), torch.arange(8) % 4
        f = net.features(x)
        expected = net.score(f)[:, 0] + torch.stack([net.embed.weight[label] @ row for label, row in zip(y, f)])  # noqa: B905
        torch.testing.assert_close(net(x, y), expected)
        assert not torch.allclose(net(x, y), net(x, (y + 1) % 4))

    @every_critic
    def test_without_labels_it_sums_over_the_classes(self, kind, critic, samples):
        net, x = critic(kind, classes=4).eval(), samples(kind)
        with torch.no_grad():
            net.probe.weight.mul_(10 / net.classify(x).std())  # else the classes are nearly equally likely
        q = net.classify(x).softmax(1)
        each = torch.stack([net(x, torch.full((8,), label)) for label in range(4)], 1)
        torch.testing.assert_close(net(x), (q * each.exp()).sum(1).log())
        assert q.max() > 0.5

    @every_critic
    def test_one_class_is_no_class(self, kind, critic, samples):
        net, x = critic(kind, classes=1).eval(), samples(kind)
        torch.testing.assert_close(net(x), net(x, torch.zeros(8, dtype=torch.long)))

    @every_critic
    def test_both_are_the_two_of_them(self, kind, critic, samples):
        net, x, y = critic(kind, classes=4).eval(), samples(kind), torch.arange(8) % 4
        logits, classes = net.both(x, y)
        assert torch.equal(logits, net(x, y))
        assert torch.equal(classes, net.classify(x))
        assert classes.shape == (8, 4)

    @every_critic
    def test_training_the_probe_changes_nothing_else(self, kind, critic, samples):
        net, x, y = critic(kind, classes=4), samples(kind), torch.arange(8) % 4
        functional.cross_entropy(net.both(x, y)[1], y).backward()
        moved = {key for key, p in net.named_parameters() if p.grad is not None and p.grad.any()}
        assert moved == {"probe.weight", "probe.bias"}

    @every_critic
    def test_the_gradient_at_a_sample_is_that_of_the_number_returned(self, kind, critic, samples):
        net, x = critic(kind, classes=4).double().eval(), samples(kind, 2).double().requires_grad_()
        with torch.no_grad():
            net.probe.weight.mul_(10 / net.classify(x).std())
        for score in (net, lambda at: net.classify(at)[:, 0]):
            (slope,) = torch.autograd.grad(score(x).sum(), x)
            step = 1e-6 * torch.sign(slope)
            rise = (score(x + step) - score(x - step)) / 2
            torch.testing.assert_close(rise, (slope * step).flatten(1).sum(1), rtol=1e-4, atol=0)


class TestSpectra:
    @every_critic
    def test_the_largest_singular_value_of_each_layer_is_1(self, kind, critic, samples):
        net = critic(kind, classes=3, spectral=True, minibatch_kernels=2)
        x, y = samples(kind), torch.arange(8) % 3
        with torch.no_grad():
            for _ in range(60):
                net(x, y)
        parts = (nn.Linear, nn.Conv2d, nn.Embedding)
        layers = {name: part for name, part in net.eval().named_modules() if isinstance(part, parts)}
        assert {"score", "embed", "compare.project"} < layers.keys()
        for name, part in layers.items():
            largest = torch.linalg.matrix_norm(part.weight.flatten(1), 2).item()
            assert (largest == pytest.approx(1.0, abs=1e-2)) == (name != "probe"), name

    def test_it_takes_the_place_of_batch_norm(self, critic):
        assert not any(isinstance(part, nn.BatchNorm2d) for part in critic("dcgan", spectral=True).modules())

    def test_a_linear_critic_is_bounded_by_the_distance(self, critic, samples):
        """Every layer then stretches by at most 1 (a leaky ReLU does), so the score does."""
        net, x = critic("mlp", spectral=True), samples("mlp", 64)
        with torch.no_grad():
            for _ in range(50):
                net(x)
        net.eval()
        rise = (net(x[:32]) - net(x[32:])).abs()
        assert (rise <= 1.02 * (x[:32] - x[32:]).norm(dim=1)).all()


class TestMinibatch:
    @every_critic
    def test_training_compares_the_batch_and_scoring_does_not(self, kind, critic, samples):
        net, x = critic(kind, minibatch_kernels=2, spectral=True), samples(kind)
        assert isinstance(net.compare, MinibatchDiscrimination)
        assert net.compare.dim == 16
        same = x[:1].expand_as(x)
        assert not torch.allclose(net.features(x)[0, -2:], net.features(same)[0, -2:])
        net.eval()
        torch.testing.assert_close(net.features(x)[0], net.features(same)[0])


class TestClassifiers:
    @pytest.mark.parametrize(
        ("make", "shape"),
        [(lambda: ConvClassifier(1, 16, 4, 5), (1, 16, 16)), (lambda: MLPClassifier(3, 16, 2, 5), (3,))],
    )
    def test_the_score_is_the_log_odds_of_not_being_class_k_plus_1(self, build, draw, make, shape):
        net, x = build(make), draw(6, *shape)
        logits = torch.cat([net.classify(x), torch.zeros(6, 1)], 1)
        generated = logits.softmax(1)[:, -1]
        assert net.classify(x).shape == (6, 5)
        torch.testing.assert_close(net(x), ((1 - generated) / generated).log())
        torch.testing.assert_close(net.head(net.features(x)), net.classify(x))


class TestEncoders:
    @pytest.mark.parametrize(
        ("make", "shape"), [(lambda: ConvEncoder(5, 1, 16, 4), (1, 16, 16)), (lambda: MLPEncoder(5, 3, 16, 2), (3,))]
    )
    def test_a_sample_becomes_a_normal_distribution(self, build, draw, make, shape):
        net, x = build(make), draw(6, *shape)
        mean, log_variance = net.moments(x)
        assert mean.shape == log_variance.shape == (6, 5)
        assert torch.equal(net(x), mean)
        assert not torch.allclose(mean, log_variance)
        huge = net.moments(1e30 * x)[1]
        assert huge.max() <= 20
        assert huge.min() >= -30
