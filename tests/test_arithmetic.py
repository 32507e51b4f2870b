import math

import pytest
import torch
from scipy import stats

import latentkit as lk
from latentkit import streams
from latentkit.errors import ArgumentError, CurveError, LatentkitError, NonFiniteError, ShapeError

PRIORS = {
    "normal": lk.Normal(6),
    "shifted normal": lk.Normal(6, mean=3.0, std=0.5),
    "uniform": lk.Uniform(6, low=-2.0),
    "sphere": lk.Sphere(6),
}
every_prior = pytest.mark.parametrize("prior", PRIORS.values(), ids=PRIORS)


def several(prior, k, n=None):
    return [prior.sample(n or 1, seed=10 + i)[slice(None) if n else 0] for i in range(k)]


@every_prior
def test_a_batch_is_the_stack_of_singles(prior):
    a, b, c = several(prior, 3, n=5)
    together = lk.analogy(a, b, c, prior)
    alone = torch.stack([lk.analogy(*rows, prior) for rows in zip(a, b, c, strict=True)])
    torch.testing.assert_close(together, alone)
    assert together.shape == (5, 6)


@every_prior
def test_order_of_terms_and_scale_of_weights_do_not_matter(prior):
    a, b, c = several(prior, 3)
    result = lk.combine([a, b, c], [1.0, -2.0, 0.5], prior)
    torch.testing.assert_close(lk.combine([c, a, b], [0.5, 1.0, -2.0], prior), result)
    torch.testing.assert_close(lk.combine(torch.stack([a, b, c]), torch.tensor([1.0, -2.0, 0.5]), prior), result)
    if not isinstance(prior, lk.Normal) or prior.mean == 0:
        torch.testing.assert_close(lk.combine([a, b, c], [3.0, -6.0, 1.5], prior), result)


@every_prior
def test_one_term_is_left_alone_and_zero_weights_do_nothing(prior):
    a, b, c = several(prior, 3)
    torch.testing.assert_close(lk.combine([a], [1.0], prior), a)
    torch.testing.assert_close(lk.combine([a, b, c], [1.0, 0.0, 0.0], prior), a)
    torch.testing.assert_close(lk.mean(a[None], prior), a)
    torch.testing.assert_close(lk.mean(torch.stack([a, b]), prior), lk.combine([a, b], [0.5, 0.5], prior))


@every_prior
def test_a_combination_is_the_midpoint_of_the_curve(prior):
    a, b = several(prior, 2)
    torch.testing.assert_close(lk.combine([a, b], [0.5, 0.5], prior), lk.interpolate(a, b, prior)(0.5)[0])


@pytest.mark.parametrize("dtype", [torch.float16, torch.float32, torch.float64])
def test_the_dtype_is_kept_and_the_wider_one_wins(dtype):
    a, b = (z.to(dtype) for z in several(lk.Normal(6), 2))
    assert lk.combine([a, b], [1, 1]).dtype == dtype
    assert lk.mean(torch.stack([a, b])).dtype == dtype
    assert lk.vicinity(a, 3, scale=0.1, seed=0).dtype == dtype
    assert lk.combine([a, b.double()], [1, 1]).dtype == torch.float64


@pytest.mark.parametrize(
    ("dim", "norm", "analogy"),
    [(2, 1.25, 2.16), (8, 2.74, 4.75), (64, 7.96, 13.80), (100, 9.98, 17.27), (512, 22.62, 39.18)],
)
def test_the_norm_of_an_analogy(dim, norm, analogy):
    """facts.md: the plain sum is sqrt(3) times too long, the matched one is a draw."""
    a, b, c = several(lk.Normal(dim), 3, n=min(20_000, 1_000_000 // dim))
    assert (a - b + c).norm(dim=1).mean().item() == pytest.approx(analogy, abs=0.06)
    assert lk.analogy(a, b, c).norm(dim=1).mean().item() == pytest.approx(norm, abs=0.04)
    torch.testing.assert_close(lk.analogy(a, b, c), (a - b + c) / math.sqrt(3))


@pytest.mark.parametrize("family", [lk.Normal, lk.Uniform])
@pytest.mark.parametrize("dim", [2, 512])
def test_means_and_vicinities_are_typical(family, dim):
    prior = family(dim)
    draws = prior.sample(5 * 300, seed=1).reshape(300, 5, dim)
    means = torch.stack([lk.mean(group, prior) for group in draws])
    assert stats.kstest(prior.typicality(means), "uniform").pvalue > 1e-4
    centres = prior.sample(300, seed=2)
    near = torch.cat([lk.vicinity(z, 1, scale=0.5, seed=i, prior=prior) for i, z in enumerate(centres)])
    assert stats.kstest(prior.typicality(near), "uniform").pvalue > 1e-4


def test_after_five_edits_in_a_row_the_result_is_still_a_draw():
    z = lk.Normal(512).sample(500, seed=0)
    for k in range(5):
        z = lk.combine([z, lk.Normal(512).sample(500, seed=1 + k)], [1.0, 0.8])
    assert stats.kstest(lk.Normal(512).typicality(z), "uniform").pvalue > 1e-4


@every_prior
def test_a_vicinity_grows_with_its_scale(prior):
    z = prior.sample(1, seed=0)[0]
    torch.testing.assert_close(lk.vicinity(z, 3, scale=0.0, seed=1, prior=prior), z.expand(3, 6))
    distances = [
        (lk.vicinity(z, 200, scale=s, seed=1, prior=prior) - z).norm(dim=1).mean() for s in (0.01, 0.1, 0.5, 2.0)
    ]
    assert distances == sorted(distances)
    assert distances[0] < 0.1
    many = lk.vicinity(z, 8, scale=0.3, seed=1, prior=prior)
    torch.testing.assert_close(lk.vicinity(z, 3, scale=0.3, seed=1, prior=prior), many[:3])
    assert not lk.vicinity(z, 8, scale=0.3, seed=2, prior=prior).equal(many)


def test_a_gaussian_vicinity_has_the_published_formula():
    noise_seed = streams.derived_seed(9, streams.VICINITY)
    z, x = lk.Normal(6).sample(1, seed=0)[0], lk.Normal(6).sample(4, seed=noise_seed)
    torch.testing.assert_close(lk.vicinity(z, 4, scale=0.3, seed=9), (z + 0.3 * x) / math.sqrt(1 + 0.09))


def test_nothing_is_changed_in_place():
    z = lk.Uniform(4).sample(3, seed=0)
    kept = z.clone()
    lk.combine(z, [1, -1, 1], lk.Uniform(4))
    lk.mean(z, lk.Uniform(4))
    lk.vicinity(z[0], 2, scale=1.0, seed=0, prior=lk.Uniform(4))
    assert z.equal(kept)


Z = lk.Normal(4).sample(3, seed=0)


@pytest.mark.parametrize(
    ("call", "error", "text"),
    [
        (lambda: lk.combine([], []), ArgumentError, "at least one latent, got none"),
        (lambda: lk.combine(Z, [1, 1]), ArgumentError, r"one weight a latent, \(3,\), got \(2,\)"),
        (lambda: lk.combine(Z, [0, 0, 0]), ArgumentError, "must not all be zero"),
        (lambda: lk.combine(Z, [1, float("nan"), 1]), NonFiniteError, r"weights must be finite.*\(1\)"),
        (lambda: lk.combine([Z, Z[0]], [1, 1]), ShapeError, r"all be \(D,\) or all \(N, D\), got \(3, 4\), \(4,\)"),
        (lambda: lk.combine(Z, [1, 1, 1], lk.Normal(5)), ShapeError, "the prior's 5 coordinates, got 4"),
        (lambda: lk.combine([Z[0], Z[1] / 0], [1, 1]), NonFiniteError, "latent 1 must be finite"),
        (lambda: lk.analogy(Z[0], Z[1], "x"), ShapeError, "latent 2 must be a tensor of floats, got str"),
        (lambda: lk.mean(Z[0]), ShapeError, r"latents must be \(N, D\), got \(4,\)"),
        (lambda: lk.mean(Z[:0]), ShapeError, r"latents must be \(N, D\), got \(0, 4\)"),
        (lambda: lk.vicinity(Z, 2, scale=1.0, seed=0), ShapeError, r"latent must be \(D,\), got \(3, 4\)"),
        (
            lambda: lk.vicinity(Z[0], 2, scale=-1.0, seed=0),
            ArgumentError,
            "scale must be a finite number, at least 0, got -1",
        ),
        (
            lambda: lk.vicinity(Z[0], 0, scale=1.0, seed=0),
            ArgumentError,
            "n must be a whole number of at least 1, got 0",
        ),
        (lambda: lk.vicinity(Z[0], 1, scale=1.0, seed=-1), ArgumentError, "seed must be a whole number"),
        (lambda: lk.combine([Z, -Z], [1, 1], lk.Sphere(4)), CurveError, "cancel out"),
    ],
)
def test_bad_arguments_say_what_was_wanted(call, error, text):
    with pytest.raises(LatentkitError, match=text) as caught:
        call()
    assert isinstance(caught.value, error)


def test_the_vicinity_of_a_seeds_own_latent_is_typical_too():
    """Its noise may not be the very draws that the latent is one of."""
    prior = lk.Normal(512)
    z = prior.sample(8, seed=3)
    for k in range(8):
        around = lk.vicinity(z[k], 8, scale=1.0, seed=3)
        assert prior.typicality(around).min() > 1e-5
        assert torch.cosine_similarity(around, z[k][None]).max() < 0.95
