"""Normalising flows, of zuko and of torch itself: inversion and density are exact."""

import pytest
import torch
from torch.distributions import (
    AffineTransform,
    Categorical,
    Independent,
    MixtureSameFamily,
    SigmoidTransform,
    TransformedDistribution,
)
from torch.distributions import Normal as TorchNormal
from torch.distributions import Uniform as TorchUniform

from latentkit import Normal, generate, invert
from latentkit.adapters.flows import from_flow
from latentkit.errors import ArgumentError, ShapeError
from latentkit.nets.fitting import initialised
from latentkit.priors import Uniform
from latentkit.protocols import Encoder, Generator

KINDS = ["MAF", "NSF", "NICE", "RealNVP", "SOSPF", "NCSF", "NAF", "BPF", "CNF"]


@pytest.fixture
def zuko():
    return pytest.importorskip("zuko", exc_type=ImportError)


def built(zuko, kind, features=3, **options):
    depth = {} if kind == "CNF" else {"transforms": 2}

    def make():
        made = getattr(zuko.flows, kind)(features, hidden_features=(16,), **depth, **options)
        for value in made.parameters():
            torch.nn.init.normal_(value, std=0.3)
        return made.requires_grad_(False)

    return initialised(make, 0)


@pytest.mark.parametrize("kind", KINDS)
def test_samples_densities_and_inverses_are_the_packages(zuko, kind):
    flow = built(zuko, kind)
    found = from_flow(flow)
    assert isinstance(found.prior, Uniform if kind == "NCSF" else Normal)
    z = found.prior.sample(64, seed=0)
    x = generate(found, z)
    distribution = flow()
    base = distribution.base.base_dist
    # Circular splines live on a circle, whose bounds their base has.
    points = base.low + (z + 1) / 2 * (base.high - base.low) if kind == "NCSF" else z
    torch.testing.assert_close(x, distribution.transform.inv(points), rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(found.log_prob(x), distribution.log_prob(x))
    # One that is inverted by bisection or by integration is exact to the tolerance of that.
    near = 1e-3 if kind in ("NAF", "CNF") else 1e-4
    torch.testing.assert_close(found.inverse(x), z, rtol=near, atol=near)
    assert found.encoder(x).equal(found.inverse(x))


@pytest.mark.parametrize("kind", ["MAF", "NSF", "NCSF"])
def test_the_density_is_the_priors_through_the_jacobian(zuko, kind):
    found = from_flow(built(zuko, kind))
    z = found.prior.sample(5, seed=1)
    jacobian = torch.stack([torch.autograd.functional.jacobian(lambda row: found(row[None])[0], row) for row in z])
    volume = torch.linalg.slogdet(jacobian).logabsdet
    wanted = found.prior.log_prob(z).float() - volume
    torch.testing.assert_close(found.log_prob(found(z)), wanted, rtol=1e-3, atol=1e-3)


def test_a_conditional_flow_is_held_at_a_context(zuko):
    flow = built(zuko, "NSF", context=2)
    context = torch.tensor([0.5, -2.0])
    found = from_flow(flow, context=context)
    z = found.prior.sample(20, seed=0)
    x = generate(found, z)
    torch.testing.assert_close(x, flow(context).transform.inv(z))
    assert not torch.allclose(x, generate(from_flow(flow, context=-context), z))
    torch.testing.assert_close(found.inverse(x), z, rtol=1e-4, atol=1e-4)
    for wrong in (None, torch.zeros(3), torch.zeros(1, 2)):
        with pytest.raises(ArgumentError, match="context"):
            from_flow(flow, context=wrong)


def test_training_on_changes_what_is_made(zuko):
    flow = built(zuko, "NICE")
    found = from_flow(flow)
    z = found.prior.sample(3, seed=0)
    before = generate(found, z)
    with torch.no_grad():
        for value in flow.parameters():
            value.add_(0.1)
    after = generate(found, z)
    assert not torch.allclose(before, after)
    torch.testing.assert_close(found.inverse(after), z, rtol=1e-4, atol=1e-4)


@pytest.fixture
def logistic():
    """Torch's own: x = sigmoid(2 (3 u + 1)) with u standard normal, in two dimensions."""
    base = Independent(TorchNormal(torch.tensor([1.0, 1.0]), torch.tensor([3.0, 3.0])), 1)
    return from_flow(TransformedDistribution(base, [AffineTransform(0.0, 2.0), SigmoidTransform()]))


def test_a_transformed_distribution_in_closed_form(logistic):
    z = logistic.prior.sample(50, seed=0) / 4
    x = generate(logistic, z)
    torch.testing.assert_close(x, torch.sigmoid(2 * (3 * z + 1)))
    torch.testing.assert_close(logistic.inverse(x), z, rtol=1e-4, atol=1e-4)
    density = logistic.prior.log_prob(z).float() - torch.log(6 * x * (1 - x)).sum(1)
    torch.testing.assert_close(logistic.log_prob(x), density, rtol=1e-4, atol=1e-4)
    assert isinstance(logistic, Generator)
    assert isinstance(logistic.encoder, Encoder)


def test_the_inverse_is_an_exact_start_for_inversion(logistic):
    z = logistic.prior.sample(4, seed=2) / 4
    found = invert(logistic, generate(logistic, z), encoder=logistic.encoder, steps=0, starts=0, pool=50)
    torch.testing.assert_close(found.latents, z, rtol=1e-3, atol=1e-3)


def test_a_uniform_base_is_scaled_to_its_own_bounds():
    base = Independent(TorchUniform(torch.tensor([0.0, 2.0]), torch.tensor([1.0, 6.0])), 1)
    found = from_flow(TransformedDistribution(base, [AffineTransform(0.0, 10.0)]))
    assert found.prior == Uniform(2)
    torch.testing.assert_close(found(torch.tensor([[-1.0, 1.0]])), torch.tensor([[0.0, 60.0]]))
    torch.testing.assert_close(found.inverse(torch.tensor([[5.0, 40.0]])), torch.zeros(1, 2))


def test_what_is_refused(logistic, zuko):
    with pytest.raises(ArgumentError, match="takes a flow such as zuko's"):
        from_flow(lambda z: z)
    with pytest.raises(ArgumentError, match=r"cannot be called without a context|has none"):
        from_flow(torch.nn.Identity())
    mixture = initialised(lambda: zuko.mixtures.GMM(2, components=3), 0)
    with pytest.raises(ArgumentError, match="a flow has a transform and a base"):
        from_flow(mixture)
    parts = MixtureSameFamily(
        Categorical(torch.ones(2)), Independent(TorchNormal(torch.zeros(2, 2), torch.ones(2, 2)), 1)
    )
    with pytest.raises(ArgumentError, match="base must be normal or uniform"):
        from_flow(TransformedDistribution(parts, [AffineTransform(0.0, 2.0)]))
    with pytest.raises(ArgumentError, match="base must be one vector"):
        from_flow(TransformedDistribution(TorchNormal(torch.zeros(2), 1.0), [SigmoidTransform()]))
    with pytest.raises(ArgumentError, match="takes no context"):
        from_flow(TransformedDistribution(TorchNormal(0.0, 1.0), []), context=torch.zeros(1))
    with pytest.raises(ShapeError, match=r"\(N, 2\)"):
        logistic.inverse(torch.zeros(4, 3))
