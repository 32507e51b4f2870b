"""Laws: properties that hold for whatever input hypothesis thinks of, and what it may think of, for tests of them."""

from functools import wraps

import torch
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from latentkit import Empirical, Joint, Normal, OneHot, Sphere, Tied, Uniform, streams

__all__ = [
    "DTYPES",
    "continuous_priors",
    "latents_of",
    "law",
    "normals",
    "numbers",
    "priors",
    "scored_priors",
    "seeds",
]

DTYPES = (torch.float16, torch.bfloat16, torch.float32, torch.float64)


def law(cases, **strategies):
    """Make a test of a property that holds in so many random cases, the same ones in every run.

    The test counts the cases that the property was checked in, not those that were thought of and left out.
    """

    def made(check):
        tried = []

        @wraps(check)
        def counted(**drawn):
            check(**drawn)
            tried.append(1)

        # Slowness is the machine's, which tests share; all other complaints of hypothesis are heard.
        run = settings(
            max_examples=cases,
            derandomize=True,
            deadline=None,
            database=None,
            phases=(Phase.generate, Phase.shrink),
            suppress_health_check=[HealthCheck.too_slow],
        )(given(**strategies)(counted))

        def test(tally):
            tried.clear()
            run()
            assert len(tried) >= cases, f"of {cases} cases only {len(tried)} are different or fit"
            tally(len(tried))

        test.__name__, test.__doc__, test.__module__ = check.__name__, check.__doc__, check.__module__
        return test

    return made


seeds = st.integers(0, 2**64 - 1)


def numbers(least, most):
    """Finite floats between two bounds."""
    return st.floats(least, most, allow_nan=False, allow_infinity=False, allow_subnormal=False)


def normals(*shape, seed):
    """Standard normals, float64, from a stream that no part of latentkit draws from."""
    width = 1
    for side in shape[1:]:
        width *= side
    return torch.from_numpy(streams.normal(shape[0], width, seed=seed, stream=99)).reshape(shape)


@st.composite
def _normal(draw, least, most):
    return Normal(draw(st.integers(least, most)), draw(numbers(-3, 3)), draw(numbers(0.1, 5)))


@st.composite
def _uniform(draw, least, most):
    low = draw(numbers(-3, 3))
    return Uniform(draw(st.integers(least, most)), low, low + draw(numbers(0.1, 5)))


@st.composite
def _sphere(draw, least, most):
    return Sphere(draw(st.integers(max(2, least), max(2, most))), draw(numbers(0.1, 30)))


@st.composite
def _empirical(draw, least, most):
    dim, parts, seed = draw(st.integers(least, min(most, 12))), draw(st.integers(1, 3)), draw(seeds)
    shares = 0.2 + normals(1, parts, seed=seed)[0].abs()
    scales = 0.3 * normals(parts, dim, dim, seed=seed).tril(-1) + torch.eye(dim, dtype=torch.float64)
    return Empirical(shares / shares.sum(), 2.0 * normals(parts, dim, seed=seed), scales)


@st.composite
def _joint(draw, least, most, second):
    first = draw(st.one_of(_normal(least, most // 2), _uniform(least, most // 2)))
    return Joint(first, draw(second))


def scored_priors(least=1, most=64):
    """Priors whose draws have normal scores."""
    simple = (_normal(least, most), _uniform(least, most), _sphere(least, most), _empirical(least, most))
    return st.one_of(*simple, _joint(least, most, st.one_of(_uniform(1, 8), _sphere(2, 8))))


def continuous_priors(least=1, most=64):
    """Priors of which no two draws are equal."""
    tied = st.builds(Tied, _normal(least, max(least, most // 4)), st.integers(1, 4))
    return st.one_of(scored_priors(least, most), tied)


def priors(least=1, most=64):
    """All priors of latentkit."""
    classes = st.integers(2, 9).map(OneHot)
    return st.one_of(continuous_priors(least, most), classes, _joint(least, most, classes))


def latents_of(prior, n, seed, dtype=torch.float64):
    """Draws (n, D) of a prior in a dtype."""
    return prior.sample(n, seed=seed).to(dtype)
