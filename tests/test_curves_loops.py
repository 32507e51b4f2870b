import math

import pytest
import torch

import latentkit as lk
from latentkit.curves import circle, orbit, random_loop, spline
from latentkit.errors import ArgumentError, CurveError, LatentkitError, NonFiniteError, ShapeError
from latentkit.priors import Joint, OneHot, normal_scores

PRIORS = {
    "normal": lk.Normal(6),
    "shifted normal": lk.Normal(6, mean=3.0, std=0.5),
    "uniform": lk.Uniform(6),
    "sphere": lk.Sphere(6, radius=2.0),
    "gaussian": lk.Empirical.fit(3 * lk.Normal(6).sample(100, seed=0) + 2),
    "joint": Joint(lk.Normal(3), lk.Uniform(3)),
}
CLOSED = {
    "random loop": lambda p, z: random_loop(p, seed=6),
    "circle": lambda p, z: circle(z[0], z[1], p),
    "orbit": lambda p, z: orbit(z[0], 0.5, seed=5, prior=p),
}
every_prior = pytest.mark.parametrize("prior", PRIORS.values(), ids=PRIORS)
every_loop = pytest.mark.parametrize("make", CLOSED.values(), ids=CLOSED)


@every_prior
@every_loop
def test_a_loop_closes_without_a_seam(make, prior):
    curve = make(prior, prior.sample(2, seed=0))
    assert curve.closed
    assert curve.prior is prior
    assert curve(0.0).equal(curve(1.0))
    film = curve.steps(90)
    assert len(film.unique(dim=0)) == 90
    # A third difference vanishes with the third power of the step where a curve is smooth, and with none at a jump.
    h = 1e-3
    around = normal_scores(prior, curve([1 - 2 * h, 1 - h, 0.0, h]))
    assert around.diff(n=3, dim=0).norm() < 0.05 * around.diff(dim=0).norm()


def test_the_step_across_the_seam_is_like_every_other():
    frames = random_loop(lk.Normal(6), seed=1, n=500).steps(60)
    steps = torch.cat([frames, frames[:1]]).diff(dim=0).norm(dim=2).mean(1)
    torch.testing.assert_close(steps, steps.mean().expand(60), rtol=0.05, atol=0)
    z = lk.Normal(6).sample(2, seed=0).double()
    for turning in (orbit(z[0], 0.5, seed=1), circle(z[0], z[1] - (z[1] @ z[0]) / (z[0] @ z[0]) * z[0])):
        film = turning.steps(12)
        rise = torch.cat([film, film[:1]]).diff(dim=0).norm(dim=1)
        torch.testing.assert_close(rise[:6], rise[6:])
        torch.testing.assert_close(rise[-1], rise[0])


@every_prior
@every_loop
def test_the_frame_count_is_the_documented_one(make, prior):
    curve = make(prior, prior.sample(2, seed=0))
    frames = curve.steps_per_segment(5)
    assert len(frames) == {"circle": 20}.get(curve.kind, 5)
    torch.testing.assert_close(frames, curve.steps(len(frames)))


@every_prior
def test_a_circle_meets_its_ends_exactly(prior):
    for dtype in (torch.float16, torch.float32, torch.float64):
        a, b = prior.sample(2, seed=0).to(dtype)
        frames = circle(a, b, prior).steps_per_segment(3)
        assert frames.dtype == dtype
        assert frames[0].equal(a)
        assert frames[3].equal(b)
        torch.testing.assert_close(
            normal_scores(prior, frames[6:]), -normal_scores(prior, frames[:6]), rtol=0.02, atol=0.02
        )


def test_a_gaussian_circle_has_the_published_formula():
    a, b = lk.Normal(6).sample(2, seed=0).double()
    t = torch.linspace(0, 1, 17, dtype=torch.float64)
    angle = 2 * math.pi * t[:, None]
    torch.testing.assert_close(circle(a, b)(t), angle.cos() * a + angle.sin() * b)


@every_prior
def test_a_batch_of_circles_is_the_stack(prior):
    a, b = prior.sample(4, seed=0).double(), prior.sample(4, seed=1).double()
    t = torch.linspace(0, 1, 11)
    singles = torch.stack([circle(p, q, prior)(t) for p, q in zip(a, b, strict=True)], dim=1)
    torch.testing.assert_close(circle(a, b, prior)(t), singles, rtol=0, atol=1e-12)


@pytest.mark.parametrize("prior", [p for name, p in PRIORS.items() if name != "joint"])
@pytest.mark.parametrize("radius", [0.01, 0.5, 3.0])
def test_an_orbit_keeps_its_distance(prior, radius):
    z = prior.sample(3, seed=0).double()
    around = orbit(z, radius, seed=1, prior=prior)
    frames = around(torch.linspace(0, 1, 41)).double()
    assert frames.shape == (41, 3, 6)
    distance = (normal_scores(prior, frames) - normal_scores(prior, z)).norm(dim=2)
    torch.testing.assert_close(distance, distance[:1].expand(41, 3))
    if radius < 0.1:
        assert distance.max() < 0.1


def test_the_distance_of_an_orbit_is_the_stated_one():
    z = lk.Normal(512).sample(50, seed=0)
    for radius in (0.3, 1.0):
        distance = (orbit(z, radius, seed=1)(0.3)[0] - z).norm(dim=1).mean().item()
        wanted = math.sqrt(2 * 512 * (1 - 1 / math.hypot(1, radius)))
        assert distance == pytest.approx(wanted, rel=0.02)


def test_in_the_plane_an_orbit_is_a_circle_around_the_matched_centre():
    z = lk.Normal(2).sample(1, seed=0)[0].double()
    frames = orbit(z, 0.7, seed=1).steps(12)
    distance = (frames - z / math.hypot(1, 0.7)).norm(dim=1)
    torch.testing.assert_close(distance, distance[:1].expand(12))


def test_rows_and_seeds_of_orbits_and_loops_are_their_own():
    z = lk.Normal(6).sample(1, seed=0).expand(3, 6)
    whole = orbit(z, 0.5, seed=1)(0.2)[0]
    assert len(whole.unique(dim=0)) == 3
    torch.testing.assert_close(orbit(z[0], 0.5, seed=1)(0.2)[0], whole[0])
    assert not orbit(z[0], 0.5, seed=2)(0.2)[0].equal(whole[0])
    prior = lk.Normal(6)
    loops = random_loop(prior, seed=1, n=3)(0.2)[0]
    assert random_loop(prior, seed=1)(0.2)[0].equal(loops[0])
    assert random_loop(prior, seed=1, n=2)(0.2)[0].equal(loops[:2])
    assert not random_loop(prior, seed=2)(0.2)[0].equal(loops[0])
    assert not loops[0].equal(loops[1])


@pytest.mark.parametrize("detail", [2.0, 6.0, 20.0])
def test_the_detail_is_the_number_of_draws_that_scatter_as_a_loops_mean_does(detail):
    """And latents a time apart agree as filtered white noise does: exp(-(pi detail t)^2 / pi)."""
    loops = random_loop(lk.Normal(4), seed=2, n=4000, detail=detail)
    frames = loops.steps(8 * int(detail)).double()
    assert frames.mean(0).var().item() == pytest.approx(1 / detail, rel=0.06)
    apart = 0.4 / detail
    first, second = loops([0.3, 0.3 + apart]).double()
    likeness = (first * second).mean().item()
    assert likeness == pytest.approx(math.exp(-math.pi * (detail * apart) ** 2), abs=0.04)


def test_more_detail_adds_to_the_coarse_course():
    prior = lk.Normal(64)
    t = torch.linspace(0, 1, 50)
    coarse, fine, other = (random_loop(prior, seed=s, detail=d)(t).double() for s, d in ((1, 3.0), (1, 4.0), (2, 4.0)))
    assert torch.cosine_similarity(coarse.flatten(), fine.flatten(), dim=0) > 0.7
    assert abs(torch.cosine_similarity(coarse.flatten(), other.flatten(), dim=0)) < 0.2


Z = lk.Normal(4).sample(3, seed=0)
BLEND = Joint(lk.Normal(4), OneHot(3))


@pytest.mark.parametrize(
    ("call", "error", "text"),
    [
        (lambda: random_loop(lk.Normal(4), seed=-1), ArgumentError, "seed must be a whole number"),
        (
            lambda: random_loop(lk.Normal(4), seed=0, detail=0.5),
            ArgumentError,
            "at least 1 and at most 1000, got 0.5",
        ),
        (
            lambda: random_loop(lk.Normal(4), seed=0, n=0),
            ArgumentError,
            "n must be a whole number of at least 1, got 0",
        ),
        (lambda: random_loop(BLEND, seed=0), ArgumentError, "a random loop takes a prior with normal scores"),
        (lambda: random_loop(lk.Normal(4), seed=0).steps(0), ArgumentError, "n must be .* at least 1, got 0"),
        (lambda: circle(Z[0], Z[0]), CurveError, "one line through the prior's centre.*orbit around the first"),
        (lambda: circle(Z[0], -2 * Z[0]), CurveError, "one line through the prior's centre"),
        (lambda: circle(Z[0], 0 * Z[0]), CurveError, "one line through the prior's centre"),
        (lambda: circle(Z, Z * torch.tensor([[2.0], [-1.0], [0.0]])), CurveError, r"no circle \(row 0, \.\.\.\)"),
        (lambda: circle(Z[0], Z[1], lk.Normal(5)), ShapeError, "the ends must have the prior's 5 coordinates, got 4"),
        (lambda: circle(Z[0], Z[:2]), ShapeError, r"one shape, got \(4,\) and \(2, 4\)"),
        (lambda: circle(*BLEND.sample(2, seed=0), BLEND), ArgumentError, "a circle takes a prior with normal scores"),
        (lambda: orbit(Z[0], 0.0, seed=0), ArgumentError, "radius must be a finite number, above 0, got 0"),
        (lambda: orbit(Z[0], float("nan"), seed=0), ArgumentError, "radius must be a finite number"),
        (lambda: orbit(Z[0, :1], 1.0, seed=0), ShapeError, r"\(N, D\) with D at least 2, got \(1,\)"),
        (lambda: orbit(Z[0] / 0, 1.0, seed=0), NonFiniteError, "centre must be finite"),
        (lambda: orbit(Z, 1.0, seed=0, prior=lk.Normal(5)), ShapeError, "centre must have the prior's 5 coordinates"),
        (lambda: spline(Z, closed=True).steps(0), ArgumentError, "n must be a whole number of at least 1, got 0"),
    ],
)
def test_bad_arguments_say_what_was_wanted(call, error, text):
    with pytest.raises(LatentkitError, match=text) as caught:
        call()
    assert isinstance(caught.value, error)
