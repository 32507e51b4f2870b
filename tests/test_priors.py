import json
import math

import numpy as np
import pytest
import torch
from scipy import stats

import latentkit as lk
from latentkit.errors import ArgumentError, CurveError, LatentkitError, NonFiniteError, ShapeError
from latentkit.priors import (
    Joint,
    OneHot,
    from_normal_scores,
    has_normal_scores,
    normal_scores,
    prior_from_dict,
    prior_to_dict,
    score_energy,
)
from latentkit.priors.uniform import uniform_sum_cdf


def mixture(dim=3, seed=0, components=2):
    g = torch.Generator().manual_seed(seed)
    scales = torch.tril(0.3 * torch.randn(components, dim, dim, generator=g)) + torch.eye(dim)
    weights = torch.arange(1.0, components + 1)
    return lk.Empirical(weights / weights.sum(), 4 * torch.randn(components, dim, generator=g), scales)


FAMILIES = {
    "normal": lk.Normal(5),
    "shifted normal": lk.Normal(5, mean=-2.0, std=0.5),
    "uniform": lk.Uniform(5),
    "shifted uniform": lk.Uniform(5, low=1.0, high=4.0),
    "sphere": lk.Sphere(5),
    "large sphere": lk.Sphere(5, radius=7.0),
    "gaussian": mixture(5, components=1),
    "mixture": mixture(5),
}
every_prior = pytest.mark.parametrize("prior", FAMILIES.values(), ids=FAMILIES)


@every_prior
def test_a_prior_is_what_the_protocol_says(prior):
    assert isinstance(prior, lk.Prior)
    z = prior.sample(7, seed=1)
    assert z.shape == (7, prior.dim)
    assert z.dtype == torch.float32
    for scores in (prior.log_prob(z), prior.typicality(z)):
        assert scores.shape == (7,)
        assert scores.dtype == torch.float64
        assert scores.isfinite().all()
    assert ((prior.typicality(z) >= 0) & (prior.typicality(z) <= 1)).all()
    assert prior.sample(0, seed=1).shape == (0, prior.dim)


@every_prior
@pytest.mark.parametrize("seed", [0, 42, 2**64 - 1])
def test_latent_i_depends_on_seed_and_index_alone(prior, seed):
    whole = prior.sample(32, seed=seed)
    for n in (1, 2, 3, 8):
        assert prior.sample(n, seed=seed).equal(whole[:n])
    assert torch.cat([prior.sample(3, seed=seed, start=start) for start in range(0, 12, 3)]).equal(whole[:12])
    assert not prior.sample(32, seed=seed ^ 1).equal(whole)


@every_prior
def test_scores_are_decided_row_by_row(prior):
    z = torch.cat([prior.sample(6, seed=2), 1.3 * prior.sample(2, seed=3)])
    for score in (prior.log_prob, prior.typicality):
        torch.testing.assert_close(score(z), torch.cat([score(row[None]) for row in z]))
        torch.testing.assert_close(score(z.double()), score(z))


@every_prior
def test_scores_ignore_how_the_latents_are_stored(prior):
    z = prior.sample(4, seed=2)
    assert prior.log_prob(z.numpy()).equal(prior.log_prob(z))
    assert prior.log_prob(z.clone().requires_grad_()).equal(prior.log_prob(z))


def uniform_p(values):
    return stats.kstest(np.asarray(values, dtype=np.float64), "uniform").pvalue


@pytest.mark.parametrize("dim", [1, 2, 64, 512])
@pytest.mark.parametrize("family", [lk.Normal, lk.Uniform], ids=["normal", "uniform"])
def test_typicality_is_uniform_over_draws(family, dim):
    prior = family(dim)
    assert uniform_p(prior.typicality(prior.sample(4000, seed=4))) > 1e-3


def test_typicality_is_uniform_over_draws_of_a_gaussian_and_of_components_apart():
    assert uniform_p(FAMILIES["gaussian"].typicality(FAMILIES["gaussian"].sample(4000, seed=4))) > 1e-3
    apart = lk.Empirical(torch.tensor([0.3, 0.7]), torch.tensor([[-50.0, 0], [50, 0]]), torch.eye(2).repeat(2, 1, 1))
    assert uniform_p(apart.typicality(apart.sample(4000, seed=4))) > 1e-3


@pytest.mark.parametrize("prior", [FAMILIES["normal"], FAMILIES["shifted normal"], FAMILIES["gaussian"]])
def test_typicality_is_low_both_inside_and_outside_the_shell(prior):
    centre = prior.sample(4000, seed=1).double().mean(0)
    z = prior.sample(8, seed=2).double() - centre
    for scale in (1e-3, 10.0):
        assert (prior.typicality(centre + scale * z) < 1e-3).all()


def test_typicality_is_zero_off_the_support():
    assert lk.Uniform(3).typicality(torch.tensor([[0.0, 0.0, 1.01]])).item() == 0
    on = torch.tensor([[3.0, 4.0], [3.0, 4.1], [0.0, 0.0]])
    assert lk.Sphere(2, radius=5).typicality(on).tolist() == [1, 0, 0]
    assert lk.Uniform(512).typicality(torch.ones(1, 512)).isfinite().all()


REFERENCES = {
    "shifted normal": torch.distributions.Normal(torch.full((5,), -2.0).double(), torch.full((5,), 0.5).double()),
    "shifted uniform": torch.distributions.Uniform(torch.full((5,), 1.0).double(), torch.full((5,), 4.0).double()),
}


@pytest.mark.parametrize("name", REFERENCES)
def test_log_prob_is_that_of_torch(name):
    z = FAMILIES[name].sample(50, seed=5).double()
    torch.testing.assert_close(FAMILIES[name].log_prob(z), REFERENCES[name].log_prob(z).sum(1))


def test_log_prob_of_a_mixture_is_that_of_torch():
    prior = FAMILIES["mixture"]
    parts = torch.distributions.MultivariateNormal(prior.means, scale_tril=prior.scales)
    reference = torch.distributions.MixtureSameFamily(torch.distributions.Categorical(prior.weights), parts)
    z = torch.cat([prior.sample(50, seed=5).double(), torch.full((1, 5), 60.0, dtype=torch.float64)])
    torch.testing.assert_close(prior.log_prob(z), reference.log_prob(z))


@pytest.mark.parametrize(("dim", "area"), [(2, 2 * math.pi * 3), (3, 4 * math.pi * 9), (4, 2 * math.pi**2 * 27)])
def test_log_prob_on_a_sphere_is_one_over_its_area(dim, area):
    prior = lk.Sphere(dim, radius=3.0)
    torch.testing.assert_close(prior.log_prob(prior.sample(5, seed=0)), torch.full((5,), -math.log(area)).double())


def test_outside_of_the_support_the_density_is_zero():
    assert lk.Uniform(2).log_prob(torch.tensor([[0.0, 1.5], [0.0, 1.0]])).tolist() == [-math.inf, -2 * math.log(2)]
    assert lk.Sphere(2).log_prob(torch.tensor([[0.0, 1.1]])).item() == -math.inf


@pytest.mark.parametrize("dim", [2, 8, 64, 100, 512])
def test_norms_and_moments_are_those_of_the_prior(dim):
    z = lk.Normal(dim).sample(20_000, seed=6)
    norm = z.double().norm(dim=1)
    assert norm.mean().item() == pytest.approx(
        math.sqrt(2) * math.gamma((dim + 1) / 2) / math.gamma(dim / 2) if dim < 200 else math.sqrt(dim - 0.5), rel=0.01
    )
    assert abs(z.mean().item()) < 5 / math.sqrt(z.numel())
    assert uniform_p(stats.norm.cdf(z.double()[:, 0])) > 1e-3
    u = lk.Uniform(dim, low=2, high=3).sample(2000, seed=6)
    assert u.min() >= 2
    assert u.max() <= 3
    assert uniform_p(u.double()[:, -1] - 2) > 1e-3
    s = lk.Sphere(dim, radius=2).sample(2000, seed=6)
    torch.testing.assert_close(s.norm(dim=1), torch.full((2000,), 2.0))
    assert s.mean(0).norm() < 5 * 2 / math.sqrt(2000)


def test_a_mixture_draws_its_components_by_their_shares():
    prior = lk.Empirical(
        torch.tensor([0.2, 0.0, 0.8]), torch.tensor([[-9.0, 0], [0, 0], [9, 0]]), torch.eye(2).repeat(3, 1, 1)
    )
    right = (prior.sample(10_000, seed=7)[:, 0] > 4.5).float().mean().item()
    assert right == pytest.approx(0.8, abs=5 * math.sqrt(0.16 / 10_000))


# ---- match: what arithmetic and interpolation rest on

WEIGHTS = {
    "midpoint": [0.5, 0.5],
    "nearly an end": [0.99, 0.01],
    "vicinity": [1.0, 0.3],
    "analogy": [1.0, -1.0, 1.0],
    "uneven": [3.0, -0.2, 0.7, 0.01],
    "mean of ten": [0.1] * 10,
}
MATCHED = {
    "normal": (lk.Normal, {}),
    "shifted normal": (lk.Normal, {"mean": 3.0, "std": 0.2}),
    "uniform": (lk.Uniform, {}),
    "shifted uniform": (lk.Uniform, {"low": 1.0, "high": 4.0}),
    "sphere": (lk.Sphere, {"radius": 3.0}),
}


def matched(prior, weights, n, seed):
    z = torch.stack([prior.sample(n, seed=100 * seed + k) for k in range(len(weights))]).double()
    w = torch.tensor(weights, dtype=torch.float64)
    return prior.match(torch.einsum("k,knd->nd", w, z), w)


@pytest.mark.parametrize("dim", [2, 64, 512])
@pytest.mark.parametrize("weights", WEIGHTS.values(), ids=WEIGHTS)
@pytest.mark.parametrize("family", MATCHED.values(), ids=MATCHED)
def test_a_matched_combination_is_distributed_as_the_prior(family, weights, dim):
    """Two-sample tests of a coordinate, of an oblique direction and of the distance to the centre."""
    prior = family[0](dim, **family[1])
    n = 1500
    z, fresh = matched(prior, weights, n, seed=1), prior.sample(n, seed=999).double()
    oblique = torch.ones(dim).double() / math.sqrt(dim)
    assert stats.ks_2samp(z[:, 0], fresh[:, 0]).pvalue > 1e-4
    assert stats.ks_2samp(z @ oblique, fresh @ oblique).pvalue > 1e-4
    if isinstance(prior, lk.Sphere):
        torch.testing.assert_close(z.norm(dim=1), torch.full((n,), prior.radius).double())
    else:
        assert uniform_p(prior.typicality(z)) > 1e-4


def test_the_two_sample_test_would_see_the_plain_sums():
    prior = lk.Normal(64)
    a, b = prior.sample(1500, seed=1), prior.sample(1500, seed=2)
    assert uniform_p(prior.typicality((a + b) / 2)) < 1e-9
    u = lk.Uniform(2)
    a, b = u.sample(1500, seed=1), u.sample(1500, seed=2)
    assert stats.ks_2samp(((a + b) / 2)[:, 0], u.sample(1500, seed=3)[:, 0]).pvalue < 1e-9


@pytest.mark.parametrize("components", [1, 2])
def test_a_matched_mixture_keeps_mean_and_covariance(components):
    prior = mixture(3, components=components)
    z, fresh = matched(prior, [0.5, -0.3, 1.0], 20_000, seed=2), prior.sample(20_000, seed=999).double()
    spread = fresh.std(0).max().item()
    torch.testing.assert_close(z.mean(0), fresh.mean(0), atol=0.05 * spread, rtol=0)
    torch.testing.assert_close(z.T.cov(), fresh.T.cov(), atol=0.05 * spread**2, rtol=0)
    if components == 1:
        assert uniform_p(prior.typicality(z)) > 1e-3


def test_the_uniform_midpoint_is_the_triangular_cdf():
    """z = 2 F(m) - 1 with F the CDF of the mean of two uniforms (Agustsson et al. 2019)."""
    m = torch.linspace(-1, 1, 201, dtype=torch.float64)[:, None]
    triangular = torch.where(m < 0, (m + 1) ** 2 / 2, 1 - (1 - m) ** 2 / 2)
    torch.testing.assert_close(lk.Uniform(1).match(m, torch.tensor([0.5, 0.5])), 2 * triangular - 1)
    u = lk.Uniform(1)
    midpoints = (u.sample(200_000, seed=1) + u.sample(200_000, seed=2)) / 2
    assert midpoints.var().item() == pytest.approx(1 / 6, rel=0.01)
    assert u.match(midpoints, torch.tensor([0.5, 0.5])).var().item() == pytest.approx(1 / 3, rel=0.01)


def exact_uniform_sum_cdf(x, weights):
    """The CDF of sum_k w_k U_k by inclusion and exclusion over the corners of the cube."""
    w = np.array(weights, dtype=np.longdouble)
    total = np.zeros_like(x, dtype=np.longdouble)
    for corner in np.stack(np.meshgrid(*[[1, -1]] * len(w)), -1).reshape(-1, len(w)):
        total += corner.prod() * np.maximum(x + corner @ w, 0) ** len(w)
    return (total / (math.factorial(len(w)) * 2 ** len(w) * w.prod())).astype(np.float64)


@pytest.mark.parametrize(
    ("weights", "error"),
    [
        ([1, 1], 1e-12),
        ([1, 0.2], 1e-12),
        ([1, 1, 1], 1e-6),
        ([1, 1, 1, 1, 1, 1], 1e-6),
        ([1, 0.5, 0.25, 0.1], 1e-6),
        ([1, 1e-4, 1e-4], 2e-5),
    ],
)
def test_the_uniform_sum_has_its_exact_cdf(weights, error):
    x = np.linspace(-sum(weights) * 1.1, sum(weights) * 1.1, 5001)
    got = uniform_sum_cdf(torch.from_numpy(x), torch.tensor(weights, dtype=torch.float64)).numpy()
    assert np.abs(got - exact_uniform_sum_cdf(x, weights)).max() < error
    assert (np.diff(got) >= 0).all()


def test_the_mean_of_thousands_of_uniforms_is_a_normal():
    x = torch.linspace(-4, 4, 1001, dtype=torch.float64) * math.sqrt(1 / 3 / 10_000)
    got = uniform_sum_cdf(x, torch.full((10_000,), 1e-4).double())
    np.testing.assert_allclose(got, stats.norm.cdf(np.linspace(-4, 4, 1001)), atol=1e-5)


@pytest.mark.parametrize(
    "prior", [p for n, p in FAMILIES.items() if n != "mixture"], ids=[n for n in FAMILIES if n != "mixture"]
)
def test_one_latent_with_weight_one_is_left_alone(prior):
    z = prior.sample(5, seed=8)
    for weights in ([1.0], [1.0, 0.0], [0.0, 0.0, 1.0]):
        torch.testing.assert_close(prior.match(z, torch.tensor(weights)), z)


@every_prior
@pytest.mark.parametrize("dtype", [torch.float16, torch.float32, torch.float64])
def test_match_keeps_the_dtype(prior, dtype):
    z = prior.sample(5, seed=8).to(dtype)
    assert prior.match(z, torch.tensor([0.5, 0.5])).dtype == dtype


@every_prior
def test_weights_that_are_all_zero_are_refused(prior):
    with pytest.raises(ArgumentError, match="must not all be zero"):
        prior.match(torch.zeros(2, prior.dim), torch.zeros(2))


def test_latents_that_cancel_out_on_a_sphere_are_refused():
    z = lk.Sphere(4).sample(2, seed=0)
    with pytest.raises(CurveError, match=r"cancel out.*use other latents"):
        lk.Sphere(4).match(z - z, torch.tensor([1.0, -1.0]))


@pytest.mark.parametrize(
    "prior", [FAMILIES[n] for n in ("normal", "shifted normal", "uniform", "shifted uniform", "gaussian")]
)
def test_normal_scores_are_standard_normal(prior):
    scores = normal_scores(prior, prior.sample(4000, seed=9))
    assert scores.dtype == torch.float64
    assert stats.kstest(scores[:, 0], "norm").pvalue > 1e-3
    assert np.abs(np.cov(scores.numpy().T) - np.eye(prior.dim)).max() < 0.12


def test_scores_of_a_sphere_have_unit_variance_a_coordinate():
    scores = normal_scores(lk.Sphere(64, radius=5.0), lk.Sphere(64, radius=5.0).sample(2000, seed=9))
    assert scores.var().item() == pytest.approx(1, rel=0.02)


JOINT = Joint(lk.Uniform(3, low=1.0, high=4.0), Joint(lk.Normal(2, mean=-1.0), lk.Sphere(4)))


@pytest.mark.parametrize("prior", [*FAMILIES.values(), JOINT], ids=[*FAMILIES, "joint"])
def test_scores_and_latents_undo_each_other(prior):
    z = prior.sample(50, seed=9).double().reshape(5, 10, prior.dim)
    torch.testing.assert_close(from_normal_scores(prior, normal_scores(prior, z)), z, rtol=0, atol=1e-6)


def test_the_scores_of_a_joint_prior_are_those_of_its_parts():
    z = JOINT.sample(4000, seed=9)
    scores = normal_scores(JOINT, z)
    assert scores[:, :3].equal(normal_scores(JOINT.first, z[:, :3]))
    assert scores[:, 3:].equal(normal_scores(JOINT.second, z[:, 3:]))
    assert np.abs(np.cov(scores.numpy().T) - np.eye(JOINT.dim)).max() < 0.12
    torch.testing.assert_close(score_energy(JOINT, scores), 0.5 * scores.square().sum(1))


def test_classes_have_no_normal_scores():
    assert all(has_normal_scores(prior) for prior in [*FAMILIES.values(), JOINT])
    assert not any(has_normal_scores(prior) for prior in (OneHot(3), Joint(lk.Normal(2), OneHot(3)), object()))


def test_a_joint_latent_off_one_support_is_not_typical_at_all():
    z = JOINT.sample(1, seed=0)
    z[0, 0] = 9.0
    assert JOINT.typicality(z).tolist() == [0.0]


@pytest.mark.parametrize("family", [lk.Normal, lk.Uniform])
def test_the_typicality_of_a_pair_is_uniform_over_draws(family):
    pair = Joint(family(3), family(40))
    assert uniform_p(pair.typicality(pair.sample(4000, seed=4))) > 1e-3


def test_a_latent_of_a_mixture_is_explained_by_its_nearest_component():
    apart = lk.Empirical(torch.tensor([0.3, 0.7]), torch.tensor([[-50.0, 0], [50, 0]]), torch.eye(2).repeat(2, 1, 1))
    z = apart.sample(20, seed=1)
    assert apart.component(z).equal((z[:, 0] > 0).long())


# ---- fitting and storing


def test_a_fit_recovers_a_gaussian_in_any_unit():
    truth = mixture(4, components=1)
    codes = truth.sample(20_000, seed=1).double()
    for unit in (1e-20, 1.0, 1e20):
        fit = lk.Empirical.fit(unit * codes)
        torch.testing.assert_close(fit.means / unit, truth.means, atol=0.1, rtol=0)
        torch.testing.assert_close(fit.scales / unit, truth.scales, atol=0.1, rtol=0)
        assert uniform_p(fit.typicality(unit * codes[:4000])) > 1e-3


def test_a_fit_recovers_components_and_repeats_itself():
    truth = lk.Empirical(torch.tensor([0.25, 0.75]), torch.tensor([[-9.0, 0], [9, 0]]), torch.eye(2).repeat(2, 1, 1))
    fit = lk.Empirical.fit(truth.sample(4000, seed=1), 2, seed=2**64 - 1)
    order = fit.means[:, 0].argsort()
    torch.testing.assert_close(fit.weights[order], truth.weights, atol=0.03, rtol=0)
    torch.testing.assert_close(fit.means[order], truth.means, atol=0.2, rtol=0)
    again = lk.Empirical.fit(truth.sample(4000, seed=1), 2, seed=2**64 - 1)
    assert again.means.equal(fit.means)


def test_a_fit_of_equal_codes_draws_them():
    z = lk.Empirical.fit(torch.full((10, 3), 2.5)).sample(4, seed=0)
    torch.testing.assert_close(z, torch.full((4, 3), 2.5))


@pytest.mark.parametrize(
    ("codes", "components", "seed", "error", "text"),
    [
        (torch.ones(10, 3), 2, 0, ShapeError, "2 components need as many different codes, got 1"),
        (torch.ones(3, 3), 2, 0, ShapeError, "codes must have at least 4 rows, got 3"),
        (torch.ones(3), 1, 0, ShapeError, r"codes must be \(N, D\), got \(3,\)"),
        (torch.full((5, 3), float("nan")), 1, 0, NonFiniteError, "5 of 5 rows"),
        (torch.eye(10), 0, 0, ArgumentError, "components must be a whole number of at least 1, got 0"),
        (torch.eye(10), 1, -1, ArgumentError, "seed must be a whole number"),
    ],
)
def test_a_fit_says_what_is_wrong_with_the_codes(codes, components, seed, error, text):
    with pytest.raises(error, match=text):
        lk.Empirical.fit(codes, components, seed=seed)


@every_prior
def test_a_prior_is_stored_as_json_and_comes_back(prior):
    back = prior_from_dict(json.loads(json.dumps(prior_to_dict(prior))))
    assert type(back) is type(prior)
    assert back.sample(5, seed=1).equal(prior.sample(5, seed=1))
    z = prior.sample(5, seed=2)
    assert back.log_prob(z).equal(prior.log_prob(z))


def test_numbers_of_any_kind_are_stored_as_plain_ones():
    prior = lk.Normal(np.int64(3), mean=np.float32(0.5), std=torch.tensor(2.0))
    assert prior == lk.Normal(3, 0.5, 2.0)
    assert json.loads(json.dumps(prior_to_dict(prior)))["dim"] == 3


@pytest.mark.parametrize(
    "values",
    [
        {},
        {"family": "normal"},
        {"family": "cauchy", "dim": 2},
        {"family": ["normal"], "dim": 2},
        {"family": "normal", "dim": 2, "wild": 1},
        {"family": "normal", "dim": "2"},
        {"family": "uniform", "dim": 2, "low": 1, "high": 0},
        {"family": "empirical", "weights": [1.0], "means": [[0.0]], "scales": [[1.0]]},
        {"family": "empirical", "weights": [1.0], "means": [[0.0], [1.0, 2.0]], "scales": [[[1.0]]]},
        {"family": "empirical", "weights": [0.5], "means": [[0.0]], "scales": [[[1.0]]]},
        {"family": "empirical", "weights": [None], "means": [[0.0]], "scales": [[[1.0]]]},
        {"family": "empirical", "weights": "abc", "means": [[0.0]], "scales": [[[1.0]]]},
    ],
)
def test_a_stored_prior_that_makes_no_sense_is_refused(values):
    with pytest.raises(ArgumentError, match="no prior that latentkit knows"):
        prior_from_dict(values)


def test_a_prior_of_someone_else_cannot_be_stored():
    class Own:
        pass

    with pytest.raises(ArgumentError, match="cannot store a prior of type Own"):
        prior_to_dict(Own())


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda: lk.Normal(0), "dim must be a whole number of at least 1, got 0"),
        (lambda: lk.Normal(2.5), "dim must be a whole number, got 2.5"),
        (lambda: lk.Normal(2, std=0.0), "std must be a finite number, above 0, got 0"),
        (lambda: lk.Normal(2, mean=float("nan")), "mean must be a finite number, got nan"),
        (lambda: lk.Uniform(2, low=1, high=1), "high must be a finite number, above 1, got 1"),
        (lambda: lk.Sphere(1), "dim must be a whole number of at least 2, got 1"),
        (lambda: lk.Sphere(2, radius=-1), "radius must be a finite number, above 0, got -1"),
        (lambda: lk.Empirical(torch.ones(1), torch.zeros(1, 2), -torch.eye(2)[None]), "positive diagonal"),
        (lambda: lk.Empirical(torch.tensor([2.0]), torch.zeros(1, 2), torch.eye(2)[None]), "got a sum of 2"),
        (lambda: lk.Empirical(torch.ones(1), torch.zeros(2), torch.eye(2)), r"got \(1,\), \(2,\), \(2, 2\)"),
    ],
)
def test_arguments_out_of_range_say_so(make, text):
    with pytest.raises(LatentkitError, match=text) as caught:
        make()
    assert isinstance(caught.value, ValueError)


@every_prior
@pytest.mark.parametrize("seed", [-1, 2**64, 0.5, None])
def test_seeds_are_checked_at_the_door(prior, seed):
    with pytest.raises(ArgumentError, match="seed must be a whole number"):
        prior.sample(2, seed=seed)


@every_prior
def test_latents_are_checked_at_the_door(prior):
    bad = prior.sample(4, seed=0)
    bad[2, 1] = float("nan")
    for score in (prior.log_prob, prior.typicality):
        with pytest.raises(ShapeError, match=r"must be \(N, 5\), got \(5,\); for one latent pass z\[None\]"):
            score(prior.sample(1, seed=0)[0])
        with pytest.raises(ShapeError, match=r"must be \(N, 5\), got \(3, 4\)"):
            score(torch.zeros(3, 4))
        with pytest.raises(NonFiniteError, match=r"1 of 4 rows \(2\)"):
            score(bad)


@every_prior
def test_the_log_density_is_followed_back_where_a_latent_needs_it(prior):
    """By central differences along directions that stay on the prior's support, and without a change of values."""
    z = prior.sample(6, seed=3).double()
    if isinstance(prior, lk.Sphere):
        z = z * prior.radius / z.norm(dim=1, keepdim=True)
    followed = z.clone().requires_grad_()
    log_prob = prior.log_prob(followed)
    assert log_prob.detach().equal(prior.log_prob(z))
    assert not prior.log_prob(z).requires_grad
    (gradient,) = torch.autograd.grad(log_prob.sum(), followed)
    if isinstance(prior, lk.Sphere):
        assert (gradient == 0).all()
        return
    for k in range(prior.dim):
        step = torch.zeros(prior.dim, dtype=torch.float64)
        step[k] = 1e-5
        difference = (prior.log_prob(z + step) - prior.log_prob(z - step)) / 2e-5
        torch.testing.assert_close(gradient[:, k], difference, atol=1e-5, rtol=1e-5)


@every_prior
def test_normal_scores_and_latents_are_inverse(prior):
    z = prior.sample(50, seed=3).double()
    torch.testing.assert_close(from_normal_scores(prior, normal_scores(prior, z)), z, atol=1e-6, rtol=1e-6)
    far = 5.0 * prior.sample(50, seed=4).double()
    assert prior.log_prob(from_normal_scores(prior, far)).isfinite().all(), "any scores have latents on the support"


@every_prior
def test_the_energy_of_scores_is_that_of_the_latents(prior):
    """Minus the log density of u when z(u) follows the prior: -log p(z(u)) less the log volume of the map."""
    u = torch.from_numpy(np.random.default_rng(0).normal(size=(8, prior.dim)))
    energy = score_energy(prior, u)
    if isinstance(prior, lk.Sphere):  # the map loses the norm: only the direction has a law to compare
        torch.testing.assert_close(energy, 0.5 * u.square().sum(1))
        return
    volume = torch.stack(
        [torch.autograd.functional.jacobian(lambda row: from_normal_scores(prior, row), row) for row in u]
    )
    wanted = -prior.log_prob(from_normal_scores(prior, u)) - torch.linalg.slogdet(volume).logabsdet
    torch.testing.assert_close(energy - energy[0], wanted - wanted[0], atol=1e-6, rtol=1e-6)


def test_an_unknown_prior_must_keep_gradients():
    class Detached(lk.Normal):
        pass

    class Foreign:
        dim = 2

        def sample(self, n, *, seed, start=0):
            return lk.Normal(2).sample(n, seed=seed, start=start)

        def log_prob(self, z):
            return lk.Normal(2).log_prob(z.detach())

    u = torch.zeros(3, 2, requires_grad=True)
    assert score_energy(Detached(2), u).requires_grad
    assert score_energy(Foreign(), u.detach()).shape == (3,)
    with pytest.raises(ArgumentError, match="keeps no gradient"):
        score_energy(Foreign(), u)
