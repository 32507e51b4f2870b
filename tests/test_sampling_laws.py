"""Truth: what guided samplers draw, where the reweighted law is known in closed form."""

import math

import numpy as np
import pytest
import torch
from scipy import stats

import latentkit as lk
from latentkit.sampling.amortised import amortised, fit_latent_weights
from latentkit.sampling.flow import gradient_flow
from latentkit.sampling.gate import gated
from latentkit.sampling.langevin import langevin, log_acceptance
from latentkit.sampling.metropolis import metropolis
from latentkit.sampling.rejection import rejection
from latentkit.sampling.resampling import resampling
from latentkit.sampling.transport import transport

LINE = lk.wrap(lambda z: z, lk.Normal(1))
N = 1500


def log_normal(x, mean, std):
    return -0.5 * ((x - mean) / std).square() - math.log(std)


def two_bumps(x):
    """Log density ratio of 0.3 N(-1, 0.4^2) + 0.7 N(1, 0.5^2) to N(0, 1)."""
    x = x[:, 0]
    bumps = torch.stack([log_normal(x, -1.0, 0.4) + math.log(0.3), log_normal(x, 1.0, 0.5) + math.log(0.7)])
    return bumps.logsumexp(0) - log_normal(x, 0.0, 1.0)


def two_bumps_cdf(x):
    return 0.3 * stats.norm.cdf(x, -1, 0.4) + 0.7 * stats.norm.cdf(x, 1, 0.5)


def shifted_up(x):
    """The same up to a constant: a critic's normalisation must not matter."""
    return two_bumps(x) + 5.0


@pytest.fixture(scope="module")
def fitted():
    return fit_latent_weights(LINE, two_bumps, seed=4, pool=10_000, steps=300)


EXACT = {
    "rejection": lambda critic: rejection(LINE, critic, N, cap=None),
    "capped rejection": lambda critic: rejection(LINE, critic, N),
    "rejection, tiny pilot": lambda critic: rejection(LINE, critic, N, cap=None, pilot=3),
    "metropolis": lambda critic: metropolis(LINE, critic, N, steps=50, batch_size=4096),
    "MALA": lambda critic: langevin(LINE, critic, N, steps=80, batch_size=N),
    "MALA, long steps": lambda critic: langevin(LINE, critic, N, steps=80, step_size=2.0, batch_size=N),
    "resampling": lambda critic: resampling(LINE, critic, N),
}


def distance(result):
    return stats.kstest(result.samples[:, 0].double().numpy(), two_bumps_cdf)


@pytest.mark.parametrize("critic", [two_bumps, shifted_up])
@pytest.mark.parametrize("name", EXACT)
def test_exact_samplers_draw_from_the_reweighted_law(name, critic):
    result = EXACT[name](critic)
    assert distance(result).pvalue > 0.02
    assert not result.target.startswith("not")


def test_plain_draws_do_not():
    assert stats.kstest(lk.Normal(1).sample(N, seed=0)[:, 0].double().numpy(), two_bumps_cdf).pvalue < 1e-50


@pytest.mark.parametrize("seed", range(3))
def test_the_law_of_rejection_over_seeds(seed):
    assert distance(rejection(LINE, two_bumps, 4 * N, cap=None, seed=seed, start=10**6)).pvalue > 0.02


def test_from_a_proposal_candidates_are_reweighted_all_the_same():
    """From N(0, 1) / r candidates by hand: here N(1, 1) with the ratio of N(0, 0.5^2) to it."""
    proposal = lk.Normal(1, mean=1.0)

    def critic(x):
        return log_normal(x[:, 0], 0.0, 0.5) - log_normal(x[:, 0], 1.0, 1.0)

    for method, options in (
        (rejection, {"cap": None}),
        (metropolis, {"steps": 60, "batch_size": 4096}),
        (resampling, {}),
    ):
        x = method(LINE, critic, N, proposal=proposal, **options).samples[:, 0].double().numpy()
        assert stats.kstest(x, stats.norm(0, 0.5).cdf).pvalue > 0.02


def test_a_plane_mapped_linearly():
    """G(z) = A z + b with a correlated Gaussian target: means and covariances within 5 standard errors."""
    a, b = torch.tensor([[1.5, 0.5], [0.0, 1.0]]), torch.tensor([1.0, -1.0])
    model = torch.distributions.MultivariateNormal(b, a @ a.T)
    cov = torch.tensor([[0.5, -0.1], [-0.1, 0.3]])
    data = torch.distributions.MultivariateNormal(torch.tensor([1.5, -0.5]), cov)
    generator = lk.wrap(lambda z: z @ a.T + b, lk.Normal(2))

    def critic(x):
        return data.log_prob(x) - model.log_prob(x)

    runs = [
        rejection(generator, critic, 2000, cap=None),
        metropolis(generator, critic, 1000, steps=60, batch_size=4096),
        langevin(generator, critic, 2000, steps=60, batch_size=2000),
        resampling(generator, critic, 1000, pool=20_000),
    ]
    for run in runs:
        x = run.samples.double()
        error = cov.diagonal().double().sqrt() / len(x) ** 0.5
        assert ((x.mean(0) - data.mean).abs() < 5 * error).all(), run.method
        assert ((x.var(0) / cov.diagonal() - 1).abs() < 5 * (2 / len(x)) ** 0.5).all(), run.method
        assert abs(float(torch.corrcoef(x.T)[0, 1]) + 0.1 / 0.15**0.5) < 5 / len(x) ** 0.5, run.method


# Priors that are no standard normal: a tilt exp(a . x) of each has a known law.
def test_mala_on_a_uniform_prior():
    generator = lk.wrap(lambda z: z, lk.Uniform(1, low=-1.0, high=1.0))
    x = langevin(generator, lambda x: 3.0 * x[:, 0], N, steps=60, batch_size=N).samples[:, 0].double().numpy()
    assert stats.kstest(x, lambda t: np.expm1(3 * (np.clip(t, -1, 1) + 1)) / np.expm1(6)).pvalue > 0.02


def test_mala_on_a_sphere():
    """On the sphere in three dimensions the tilt exp(k t) makes the height t exponential on [-1, 1]."""
    generator = lk.wrap(lambda z: z / 2.0, lk.Sphere(3, radius=2.0))
    x = langevin(generator, lambda x: 3.0 * x[:, 0], N, steps=60, batch_size=N).samples[:, 0].double().numpy()
    assert stats.kstest(x, lambda t: np.expm1(3 * (np.clip(t, -1, 1) + 1)) / np.expm1(6)).pvalue > 0.02


def test_mala_on_a_mixture():
    """A tilt by exp(a z) moves each component by a times its variance, and weighs it by exp(a m + a^2 v / 2)."""
    mixture = lk.Empirical(torch.tensor([0.5, 0.5]), torch.tensor([[-1.0], [1.0]]), torch.tensor([[[0.6]], [[0.8]]]))
    generator = lk.wrap(lambda z: z, mixture)
    x = langevin(generator, lambda x: 0.7 * x[:, 0], N, steps=100, batch_size=N).samples[:, 0].double().numpy()
    weights = np.exp([-0.7 + 0.49 * 0.36 / 2, 0.7 + 0.49 * 0.64 / 2])
    weights /= weights.sum()

    def cdf(t):
        return weights @ [stats.norm.cdf(t, -1 + 0.7 * 0.36, 0.6), stats.norm.cdf(t, 1 + 0.7 * 0.64, 0.8)]

    assert stats.kstest(x, cdf).pvalue > 0.02
    assert stats.kstest(mixture.sample(N, seed=0)[:, 0].double().numpy(), cdf).pvalue < 1e-20


@pytest.mark.parametrize("size", [0.05, 0.6, 3.0])
def test_mala_is_in_detailed_balance(size):
    """p(x) q(x, y) a(x, y) = p(y) q(y, x) a(y, x) for points of the plane, with q written independently."""
    x = torch.tensor([[0.3, -1.2], [2.0, 0.1], [-0.7, 0.4], [0.0, 0.0], [1.5, -2.5]], dtype=torch.float64)
    y = x.flip(0) + torch.tensor([[0.4, -0.3]], dtype=torch.float64)

    def energy(u):
        return 0.5 * u.square().sum(1) - torch.cos(2.0 * u[:, 0]) - 0.5 * u[:, 0] * u[:, 1].sin()

    def slope(u):
        u = u.clone().requires_grad_()
        return torch.autograd.grad(energy(u).sum(), u)[0]

    def log_q(a, b):
        step = torch.distributions.Normal(a - 0.5 * size * slope(a), size**0.5)
        return step.log_prob(b).sum(1)

    def flux(a, b):
        accepted = log_acceptance(a, energy(a), slope(a), b, energy(b), slope(b), size).clamp(max=0.0)
        return -energy(a) + log_q(a, b) + accepted

    torch.testing.assert_close(flux(x, y), flux(y, x), atol=1e-9, rtol=1e-9)
    accepted = log_acceptance(x, energy(x), slope(x), y, energy(y), slope(y), size)
    assert ((accepted > 0) | (accepted < 0)).all()


def test_a_chain_that_starts_on_target_stays_there():
    """One step from exact draws of the target: MALA keeps them there, the same long step unadjusted does not."""

    class Target:
        dim = 1

        def sample(self, n, *, seed, start=0):
            return rejection(LINE, two_bumps, n, cap=None, seed=seed, start=4 * start).latents

    for steps in (1, 5):
        options = {"proposal": Target(), "steps": steps, "step_size": 1.0, "batch_size": 3000}
        assert distance(langevin(LINE, two_bumps, 3000, **options)).pvalue > 0.02
        assert distance(langevin(LINE, two_bumps, 3000, adjusted=False, **options)).pvalue < 1e-6


def test_the_tuned_step_is_accepted_as_often_as_is_best():
    for dim in (1, 16):
        generator = lk.wrap(lambda z: z, lk.Normal(dim))

        def critic(x):
            return (log_normal(x, 0.5, 0.7) - log_normal(x, 0.0, 1.0)).sum(1)

        assert 0.45 < langevin(generator, critic, 300, steps=30, batch_size=300).acceptance < 0.7


@pytest.mark.parametrize("gamma", [-1.0, 0.0, 2.0])
def test_rejection_accepts_as_the_paper_says(gamma):
    """A critic of two values: the share of the lower one among the kept follows from F."""
    low = math.log(0.25)

    def critic(x):
        return torch.where(x[:, 0] > 0, 0.0, low)

    def chance(d):
        f = d - math.log1p(-math.exp(d - 1e-6)) - gamma
        return 1.0 / (1.0 + math.exp(-f))

    share = chance(low) / (chance(low) + chance(0.0))
    result = rejection(LINE, critic, 4000, cap=None, gamma=gamma)
    assert abs(float((result.samples[:, 0] < 0).double().mean()) - share) < 4 * math.sqrt(share * (1 - share) / 4000)
    assert result.acceptance == pytest.approx(0.5 * (chance(low) + chance(0.0)), rel=0.1)
    assert (gamma == 0) == (not result.target.startswith("not"))


def test_higher_percentiles_keep_fewer_and_better():
    kept = [rejection(LINE, two_bumps, 1000, percentile=percentile) for percentile in (20, 50, 80)]
    assert kept[0].acceptance > kept[1].acceptance > kept[2].acceptance
    assert kept[0].log_ratio.mean() < kept[1].log_ratio.mean() < kept[2].log_ratio.mean()


def test_the_ceiling_is_kept_up_to_date():
    result = rejection(LINE, two_bumps, N, cap=None, pilot=3)
    top = two_bumps(torch.linspace(-3, 3, 10_001)[:, None]).max()
    assert result.tuned["ceiling"] == pytest.approx(float(top), abs=1e-3)


def test_chains_from_real_samples_have_the_law_of_the_data():
    """Started on target, few steps are enough: the law is there from the beginning."""
    real = rejection(LINE, two_bumps, 4000, cap=None, seed=77).log_ratio
    result = metropolis(LINE, two_bumps, N, steps=10, real_logits=real, batch_size=4096)
    assert distance(result).pvalue > 0.02
    assert result.notes["restarts"] < 0.05


def test_chains_that_cannot_leave_a_real_sample_are_restarted():
    result = metropolis(LINE, two_bumps, 200, steps=30, real_logits=torch.tensor([1000.0]), batch_size=4096)
    assert result.notes["restarts"] == 1.0
    assert distance(result).pvalue > 0.02
    assert result.cost.critic == 60
    torch.testing.assert_close(result.log_ratio, two_bumps(result.samples))


def test_gradient_methods_climb_and_say_that_they_miss_the_law():
    plain = two_bumps(lk.Normal(1).sample(N, seed=0)).mean()
    for run in (
        *(gradient_flow(LINE, two_bumps, N, divergence=name, batch_size=N) for name in ("kl", "js", "log-d")),
        transport(LINE, two_bumps, N, slope=1.0, batch_size=N),
        transport(LINE, two_bumps, N, batch_size=N, steps=50),
    ):
        assert run.log_ratio.mean() > plain + 0.01
        assert run.target.startswith("not the reweighted law")
    assert distance(gradient_flow(LINE, two_bumps, N, batch_size=N)).pvalue < 1e-20


def test_a_flow_step_is_the_papers():
    """Without noise one step is z + eta s(d) d'(z), with the slope by differences."""
    z = lk.Normal(1).sample(50, seed=0).double()
    d = two_bumps(z)
    slope = (two_bumps(z + 1e-5) - two_bumps(z - 1e-5))[:, None] / 2e-5
    factors = {"kl": torch.ones(50), "log-d": 1 / (1 + d.exp()), "js": 1 / (1 + (-d).exp())}
    for name, factor in factors.items():
        moved = gradient_flow(LINE, two_bumps, 50, divergence=name, steps=1, gamma=0.0, eta=0.2).latents
        torch.testing.assert_close(moved.double(), z + 0.2 * factor[:, None] * slope, atol=1e-4, rtol=1e-4)


def test_flow_noise_has_the_papers_variance():
    flat = gradient_flow(LINE, lambda x: 0.0 * x[:, 0], 4000, steps=4, eta=0.3, gamma=0.5, batch_size=4000).latents
    added = (flat - lk.Normal(1).sample(4000, seed=0)).double()
    assert float(added.var()) == pytest.approx(4 * 2 * 0.3 * 0.5, rel=0.1)


def test_transport_stops_where_the_way_costs_more_than_it_earns():
    """d = -|x - 3| has slope 1: with k above 1 nothing pays to move, with k below 1 all go to 3."""

    def critic(x):
        return -(x[:, 0] - 3.0).abs()

    start = lk.Normal(1).sample(100, seed=0)
    near = transport(LINE, critic, 100, slope=2.0, steps=100, rate=0.02).latents
    assert (near - start).abs().max() < 0.1
    far = transport(LINE, critic, 100, slope=0.5, steps=600, rate=0.02).latents
    assert (far - 3.0).abs().max() < 0.1


def test_the_slope_of_a_linear_critic_is_found():
    """Of a thousand pairs one lies nearly along the gradient, and none is steeper than it."""
    run = transport(lk.wrap(lambda z: 2.0 * z, lk.Normal(3)), lambda x: x @ torch.tensor([3.0, 0.0, 4.0]), 5, steps=1)
    assert 9.9 < run.tuned["slope"] <= 10.0 + 1e-6


def test_the_gate_cuts_and_keeps_the_rest_in_proportion():
    """A critic that is x itself, cut at 0.5: the kept follow the normal law above it."""
    result = gated(LINE, lambda x: x[:, 0], N, threshold=0.5)
    tail = stats.norm.sf(0.5)
    kept = result.samples[:, 0].double().numpy()
    assert kept.min() >= 0.5
    assert stats.kstest(kept, lambda t: 1 - stats.norm.sf(t) / tail).pvalue > 0.02
    assert result.acceptance == pytest.approx(tail, rel=0.1)


def test_resampling_counts_its_effective_size_and_its_duplicates():
    result = resampling(LINE, two_bumps, 500, pool=1000, cap=None)
    weights = two_bumps(lk.Normal(1).sample(1000, seed=0)).double().exp()
    assert result.ess == pytest.approx(min(500.0, float(weights.sum() ** 2 / weights.square().sum())))
    assert result.notes["duplicates"] == pytest.approx(1 - len(result.latents.unique(dim=0)) / 500)
    assert result.notes["duplicates"] > 0.05


def test_latent_weights_are_the_density_ratio(fitted):
    z = lk.Normal(1).sample(5000, seed=9)
    told, ratio = fitted(z), two_bumps(z).double().exp()
    assert float(told.mean()) == pytest.approx(1.0, abs=0.05)
    assert float(((told - ratio) ** 2).mean().sqrt()) < 0.05
    assert fitted.efficiency > 0.98
    assert 0 <= fitted.deviance < 0.005
    assert fitted.scored == 10_000
    assert fitted.acceptance == pytest.approx(math.exp(-fitted.ceiling), rel=0.05)


def test_amortised_rejection_draws_from_the_law_for_one_evaluation(fitted):
    result = amortised(LINE, two_bumps, N, weights=fitted)
    assert distance(result).pvalue > 0.01
    assert result.cost.generator == result.cost.critic == 1
    assert 0.97 * N < result.ess <= N


def test_amortised_rejection_can_spare_the_critic(fitted):
    def never(x):
        raise RuntimeError("the critic was asked")

    result = amortised(LINE, never, N, weights=fitted, scoring=False)
    assert result.cost.critic == 0
    assert result.latents.equal(amortised(LINE, two_bumps, N, weights=fitted).latents)
    assert float((result.log_ratio - two_bumps(result.samples)).abs().mean()) < 0.1


def test_a_fit_follows_its_seed():
    options = {"pool": 500, "steps": 20, "width": 8, "depth": 1}
    z = lk.Normal(1).sample(20, seed=0)
    first = fit_latent_weights(LINE, two_bumps, seed=1, **options)
    assert first(z).equal(fit_latent_weights(LINE, two_bumps, seed=1, **options)(z))
    assert not first(z).equal(fit_latent_weights(LINE, two_bumps, seed=2, **options)(z))
    torch.testing.assert_close(first(z), fit_latent_weights(LINE, two_bumps, seed=1, batch_size=9, **options)(z))
