"""Every matched operation on independent draws gives draws: a two-sample test against the prior."""

import math

import pytest
import torch
from scipy import stats

import latentkit as lk
from latentkit.arithmetic import calculate, weigh
from latentkit.curves import anchor_grid, circle, eased_keys, orbit, random_loop, smoothstep, spline

N = 1000
#: Operations on one latent at a time, and costly ones, are tried on fewer. Seeds are such that none of so many calls
#: warns, which one in 10,000 may, and no two draws on a circle are opposite up to rounding.
FEW = 300


def keys(prior, k):
    """Keyframes or terms (K, N, D), all independent draws."""
    return prior.sample(k * N, seed=1).reshape(k, N, prior.dim)


def groups(prior, *sizes):
    """FEW times independent groups, (n, D) each."""
    draws = prior.sample(FEW * sum(sizes), seed=12).reshape(FEW, sum(sizes), prior.dim)
    return [row.split(sizes) for row in draws]


OPERATIONS = {
    "interpolate": lambda p: lk.interpolate(*keys(p, 2), p)(0.31),
    "tour": lambda p: lk.tour(keys(p, 3), prior=p)(0.8),
    "loop": lambda p: lk.loop(keys(p, 3), prior=p)(0.9),
    "an eased tour": lambda p: eased_keys(lk.tour(keys(p, 3), prior=p), smoothstep)(0.3),
    "spline, early": lambda p: spline(keys(p, 4), prior=p)(0.1),
    "spline, between": lambda p: spline(keys(p, 4), prior=p)(0.55),
    "closed spline": lambda p: spline(keys(p, 4), prior=p, closed=True)(0.93),
    "random loop": lambda p: random_loop(p, seed=3, n=FEW)(0.4),
    "slow random loop": lambda p: random_loop(p, seed=3, n=FEW, detail=1.5)(0.7),
    "circle": lambda p: circle(*keys(p, 2), p)(0.41),
    "near orbit": lambda p: orbit(keys(p, 1)[0], 0.37, seed=4, prior=p)(0.6),
    "far orbit": lambda p: orbit(keys(p, 1)[0], 2.1, seed=4, prior=p)(0.2),
    "combine": lambda p: lk.combine(list(keys(p, 3)), [0.5, -2.0, 1.0], p),
    "analogy": lambda p: lk.analogy(*keys(p, 3), p),
    "a mean": lambda p: torch.stack([lk.mean(group, p) for (group,) in groups(p, 5)]),
    "vicinity": lambda p: torch.cat(
        [lk.vicinity(z, 1, scale=0.6, seed=i, prior=p) for i, z in enumerate(p.sample(FEW, seed=5))]
    ),
    "groups": lambda p: torch.stack(
        [weigh([a, b, c[0]], [1.0, -0.5, 1.0], p).latent for a, b, c in groups(p, 4, 3, 1)]
    ),
    "a formula": lambda p: torch.stack(
        [
            calculate("0.5 * (a - b) + mean(b, c)", dict(zip("abc", row, strict=True)), p).latent
            for row in groups(p, 2, 1, 1)
        ]
    ),
    "triangle": lambda p: torch.stack(
        [anchor_grid(row, 4, prior=p).latents[4] for row in p.sample(3 * FEW, seed=6).reshape(FEW, 3, -1)]
    ),
    "rectangle": lambda p: torch.stack(
        [anchor_grid(row, (3, 4), prior=p).latents[5] for row in p.sample(4 * FEW, seed=17).reshape(FEW, 4, -1)]
    ),
}


@pytest.mark.parametrize("dim", [2, 64, 512])
@pytest.mark.parametrize("family", [lk.Normal, lk.Uniform, lk.Sphere])
@pytest.mark.parametrize("operation", OPERATIONS.values(), ids=OPERATIONS)
def test_a_matched_operation_gives_draws_from_the_prior(operation, family, dim):
    prior = family(dim)
    z = operation(prior).reshape(-1, dim).double()
    assert len(z) in (N, FEW)
    fresh = prior.sample(2 * N, seed=8).double()
    oblique = torch.where(torch.arange(dim) % 3 == 1, -1.0, 1.0).double() / math.sqrt(dim)
    for found, wanted in ((z[:, 0], fresh[:, 0]), (z[:, -1], fresh[:, -1]), (z @ oblique, fresh @ oblique)):
        assert stats.ks_2samp(found, wanted).pvalue > 1e-4
    if family is lk.Sphere:
        torch.testing.assert_close(z.norm(dim=1), torch.ones(len(z)).double(), rtol=0, atol=1e-6)
    else:
        assert stats.kstest(prior.typicality(z), "uniform").pvalue > 1e-4


@pytest.mark.parametrize("family", [lk.Normal, lk.Uniform])
def test_the_test_sees_what_a_plain_sum_does(family):
    """The same two samples, not matched: the test must fail, or it could not."""
    prior = family(64)
    a, b = keys(prior, 2)
    for plain in (0.5 * a + 0.5 * b, a - b):
        assert stats.kstest(prior.typicality(plain), "uniform").pvalue < 1e-9
    sums = (a - b)[:, ::8]
    assert stats.ks_2samp(sums.flatten(), prior.sample(2 * N, seed=8)[:, ::8].flatten()).pvalue < 1e-9
