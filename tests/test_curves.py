import math

import numpy as np
import pytest
import torch
from scipy import stats

import latentkit as lk
from latentkit.errors import ArgumentError, CurveError, LatentkitError, NonFiniteError, ShapeError
from latentkit.priors import Joint, OneHot

PRIORS = {
    "normal": lk.Normal(6),
    "shifted normal": lk.Normal(6, mean=3.0, std=0.5),
    "uniform": lk.Uniform(6),
    "sphere": lk.Sphere(6, radius=2.0),
    "gaussian": lk.Empirical.fit(torch.from_numpy(np.random.default_rng(0).normal(2, 3, (100, 6)))),
}
BETWEEN = {
    "lerp": (lk.lerp, lk.Normal(6)),
    "slerp": (lk.slerp, lk.Normal(6)),
    **{f"interpolate {name}": (lambda a, b, p=p: lk.interpolate(a, b, p), p) for name, p in PRIORS.items()},
}
THROUGH = {f"{kind} {name}": (getattr(lk, kind), p) for kind in ("tour", "loop") for name, p in PRIORS.items()}
every_curve = pytest.mark.parametrize(("join", "prior"), BETWEEN.values(), ids=BETWEEN)
every_tour = pytest.mark.parametrize(("through", "prior"), THROUGH.values(), ids=THROUGH)
TIMES = torch.linspace(0, 1, 11, dtype=torch.float64)


@every_curve
@pytest.mark.parametrize("dtype", [torch.float16, torch.float32, torch.float64])
def test_ends_are_exact_and_the_dtype_is_kept(join, prior, dtype):
    a, b = prior.sample(2, seed=0).to(dtype)
    z = join(a, b)(TIMES)
    assert z.shape == (11, 6)
    assert z.dtype == dtype
    assert z[0].equal(a)
    assert z[-1].equal(b)
    assert z.isfinite().all()


@every_curve
def test_reversal(join, prior):
    a, b = prior.sample(2, seed=0).double()
    torch.testing.assert_close(join(a, b)(TIMES), join(b, a)(1 - TIMES))


@every_curve
def test_near_parallel_ends_are_walked_forwards(join, prior):
    """At t = 0.1 the curve is nearer to its start: the swapped lerp of a fallback is not."""
    a, other = prior.sample(2, seed=0).double()
    for eps in (1e-2, 1e-4, 1e-7):
        b = a + eps * (other - a)
        early, late = join(a, b)([0.1, 0.9])
        assert (early - a).norm() < (early - b).norm()
        assert (late - b).norm() < (late - a).norm()
        # An edit and its original are joined without leaving their neighbourhood.
        if prior.dim and join is not lk.lerp:
            assert (join(a, b)(TIMES) - a).norm(dim=1).max() < 3 * eps * (other - a).norm() + 1e-12


@every_curve
def test_a_batch_is_the_stack_of_single_curves(join, prior):
    """Rows alike, related and independent in one batch: the decision is taken row by row."""
    a, b = prior.sample(4, seed=0).double(), prior.sample(4, seed=1).double()
    b[:2] = a[:2]
    b[2] = a[2] + 1e-6 * (b[2] - a[2])
    whole = join(a, b)(TIMES)
    singles = torch.stack([join(p, q)(TIMES) for p, q in zip(a, b, strict=True)], dim=1)
    assert whole.shape == (11, 4, 6)
    torch.testing.assert_close(whole, singles, rtol=0, atol=1e-14)


def test_three_identical_pairs_and_one_independent_in_512_dimensions():
    a, b = lk.Normal(512).sample(4, seed=0), lk.Normal(512).sample(4, seed=1)
    b[:3] = a[:3]
    z = lk.slerp(a, b)(0.5)[0]
    torch.testing.assert_close(z[:3], a[:3])
    torch.testing.assert_close(z[3], lk.slerp(a[3], b[3])(0.5)[0])


@every_curve
def test_permuting_the_batch_permutes_the_curve(join, prior):
    a, b = prior.sample(5, seed=0), prior.sample(5, seed=1)
    order = torch.tensor([3, 1, 4, 0, 2])
    torch.testing.assert_close(join(a[order], b[order])(TIMES), join(a, b)(TIMES)[:, order])


@every_curve
def test_a_curve_is_continuous_and_its_times_are_independent(join, prior):
    curve = join(*prior.sample(2, seed=0).double())
    fine = curve(torch.linspace(0, 1, 2001, dtype=torch.float64))
    steps = fine.diff(dim=0).norm(dim=1)
    assert steps.max() < 10 * steps.mean()
    assert steps.min() > 0
    torch.testing.assert_close(curve([0.3, 0.9])[1:], curve(0.9))
    assert curve(torch.empty(0)).shape == (0, 6)


@every_curve
def test_nothing_is_changed_in_place(join, prior):
    a, b = prior.sample(2, seed=0)
    kept = a.clone(), b.clone()
    z = join(a, b)(TIMES)
    z.zero_()
    assert a.equal(kept[0])
    assert b.equal(kept[1])


def test_slerp_turns_evenly_and_interpolates_the_norm():
    a, b = 3 * torch.eye(3)[0].double(), torch.tensor([0.0, 5.0, 0.0]).double()
    z = lk.slerp(a, b)(TIMES)
    torch.testing.assert_close(z.norm(dim=1), 3 + 2 * TIMES)
    torch.testing.assert_close(torch.atan2(z[:, 1], z[:, 0]), TIMES * math.pi / 2)


def test_slerp_agrees_with_the_textbook_formula_at_any_angle():
    for angle in (1e-9, 1e-5, 1e-3, 0.5, math.pi / 2, 3.0, math.pi - 1e-4):
        a = torch.tensor([1.0, 0.0], dtype=torch.float64)
        b = torch.tensor([math.cos(angle), math.sin(angle)], dtype=torch.float64)
        z = lk.slerp(a, b)(TIMES)
        wanted = torch.stack([(TIMES * angle).cos(), (TIMES * angle).sin()], dim=1)
        torch.testing.assert_close(z, wanted, rtol=0, atol=1e-11)


def test_slerp_ignores_the_unit():
    a, b = lk.Normal(6).sample(2, seed=0).double()
    for unit in (1e-300, 1e-30, 1e30, 1e300):
        torch.testing.assert_close(lk.slerp(unit * a, unit * b)(TIMES) / unit, lk.slerp(a, b)(TIMES))


@pytest.mark.parametrize("dim", [2, 512])
@pytest.mark.parametrize("join", [lk.slerp, lk.interpolate])
@pytest.mark.parametrize("factor", [1.0, 1 + 1e-6])
def test_opposite_ends_are_refused_with_a_way_out(dim, join, factor):
    z = lk.Normal(dim).sample(3, seed=0)
    with pytest.raises(CurveError, match=r"opposite.*tour\(\[a, c, b\]\)"):
        join(z[0], -factor * z[0])
    other = torch.stack([z[1], -factor * z[1], z[0]])
    with pytest.raises(CurveError, match=r"\(row 1\)"):
        join(z, other)


@pytest.mark.parametrize("dim", [2, 512])
def test_zero_ends(dim):
    z, zero = lk.Normal(dim).sample(1, seed=0)[0], torch.zeros(dim)
    for a, b in ((z, zero), (zero, z), (zero, zero)):
        with pytest.raises(CurveError, match=r"zero latent has no direction.*use lerp or interpolate"):
            lk.slerp(a, b)
        for join in (lk.lerp, lk.interpolate):
            way = join(a, b)(TIMES)
            assert way.isfinite().all()
            assert way[0].equal(a)
            assert way[-1].equal(b)


@pytest.mark.parametrize("name", PRIORS)
def test_equal_ends_stand_still(name):
    z = PRIORS[name].sample(1, seed=0)[0]
    torch.testing.assert_close(lk.interpolate(z, z, PRIORS[name])(TIMES), z.expand(11, 6))


# ---- on the prior


@pytest.mark.parametrize("dim", [2, 64, 512])
@pytest.mark.parametrize("family", [lk.Normal, lk.Uniform, lk.Sphere])
def test_interpolation_stays_on_the_prior(family, dim):
    prior = family(dim)
    n = 1500
    curve = lk.interpolate(prior.sample(n, seed=1), prior.sample(n, seed=2), prior)
    fresh = prior.sample(n, seed=3).double()
    oblique = torch.ones(dim).double() / math.sqrt(dim)
    for z in curve([0.1, 0.5, 0.8]).double():
        assert stats.ks_2samp(z[:, 0], fresh[:, 0]).pvalue > 1e-4
        assert stats.ks_2samp(z @ oblique, fresh @ oblique).pvalue > 1e-4
        if family is lk.Sphere:
            torch.testing.assert_close(z.norm(dim=1), torch.ones(n).double())
        else:
            assert stats.kstest(prior.typicality(z), "uniform").pvalue > 1e-4


# facts.md: prior norm mean, lerp midpoint norm, share of midpoints below the prior's 0.1 % quantile.
NORMS = [
    (2, 1.25, 0.89, 0.002),
    (8, 2.74, 1.94, 0.013),
    (64, 7.96, 5.63, 0.70),
    (100, 9.98, 7.06, 0.95),
    (512, 22.62, 15.99, 1.0),
]


@pytest.mark.parametrize(("dim", "norm", "midpoint", "below"), NORMS)
def test_what_a_straight_line_does_to_the_norm(dim, norm, midpoint, below):
    n = min(20_000, 1_000_000 // dim)
    a, b = lk.Normal(dim).sample(n, seed=1), lk.Normal(dim).sample(n, seed=2)
    between = lk.lerp(a, b)(0.5)[0].norm(dim=1)
    assert a.norm(dim=1).mean().item() == pytest.approx(norm, abs=0.04)
    assert between.mean().item() == pytest.approx(midpoint, abs=0.04)
    assert (between < stats.chi.ppf(0.001, dim)).float().mean().item() == pytest.approx(below, abs=0.03)
    assert lk.interpolate(a, b)(0.5)[0].norm(dim=1).mean().item() == pytest.approx(norm, abs=0.04)


def test_the_gaussian_curve_is_the_rescaled_line():
    prior = PRIORS["shifted normal"]
    a, b = prior.sample(2, seed=0).double()
    t = TIMES[:, None]
    wanted = 3 + ((1 - t) * (a - 3) + t * (b - 3)) / (t**2 + (1 - t) ** 2).sqrt()
    torch.testing.assert_close(lk.interpolate(a, b, prior)(TIMES), wanted)


@pytest.mark.parametrize("strength", [0.1, 1.0, 3.0])
def test_an_edit_is_joined_without_a_bulge(strength):
    """An edited latent shares most of itself with the original: the curve keeps their length."""
    a, v = lk.Normal(512).sample(2, seed=0)
    b = a + strength * v / v.norm()
    norms = lk.interpolate(a, b)(TIMES).norm(dim=1)
    low, high = sorted((a.norm().item(), b.norm().item()))
    assert norms.min() > 0.999 * low
    assert norms.max() < 1.001 * high


# ---- through keyframes


@every_tour
@pytest.mark.parametrize("keys", [3, 4, 8, 50])
@pytest.mark.parametrize("n", [1, 2, 10])
def test_the_frame_count_is_the_documented_one(through, prior, keys, n):
    z = prior.sample(keys, seed=0).double()
    curve = through(z, prior=prior)
    frames = curve.steps_per_segment(n)
    assert len(frames) == (keys * n if curve.closed else (keys - 1) * n + 1)
    assert frames[::n].equal(z), "every keyframe is among the frames, exactly"
    assert len(frames.unique(dim=0)) == len(frames), "no two frames share a latent"
    torch.testing.assert_close(frames, curve.steps(len(frames)), rtol=0, atol=1e-12)


@every_tour
def test_a_tour_is_its_pieces(through, prior):
    keys = prior.sample(4, seed=0).double()
    curve = through(keys, prior=prior)
    t = torch.linspace(0, 1, 8, dtype=torch.float64)[1:-1]
    for k in range(curve.segments):
        piece = lk.interpolate(keys[k], keys[(k + 1) % 4], prior)
        torch.testing.assert_close(curve((k + t) / curve.segments), piece(t))
    assert curve(0.0)[0].equal(keys[0])
    assert curve(1.0)[0].equal(keys[0] if curve.closed else keys[-1])


@every_tour
def test_a_tour_keeps_the_dtype_and_shuffled_times(through, prior):
    curve = through(prior.sample(4, seed=0).half(), prior=prior)
    assert curve(TIMES).dtype == torch.float16
    order = torch.tensor([3, 9, 0, 10, 5, 1, 2, 8, 7, 4, 6])
    assert curve(TIMES[order]).equal(curve(TIMES)[order])


def test_reversed_keys_give_the_reversed_tour():
    keys = lk.Normal(6).sample(5, seed=0).double()
    torch.testing.assert_close(lk.tour(keys.flip(0)).steps_per_segment(7), lk.tour(keys).steps_per_segment(7).flip(0))


@pytest.mark.parametrize("name", PRIORS)
def test_a_loop_has_no_seam(name):
    """Turning the keys only moves the start, so the seam cannot differ from any other key."""
    keys = PRIORS[name].sample(3, seed=0).double()
    film = lk.loop(keys, prior=PRIORS[name]).steps_per_segment(10)
    assert len(film) == 30
    assert not film[-1].equal(film[0])
    turned = lk.loop(keys.roll(-1, 0), prior=PRIORS[name]).steps_per_segment(10)
    torch.testing.assert_close(turned, film.roll(-10, 0), rtol=0, atol=1e-12)


def test_steps_of_open_and_closed_curves():
    line = lk.lerp(torch.zeros(2), torch.ones(2))
    torch.testing.assert_close(line.steps(5)[:, 0], torch.tensor([0, 0.25, 0.5, 0.75, 1]))
    torch.testing.assert_close(line.steps(4, closed=True)[:, 0], torch.tensor([0, 0.25, 0.5, 0.75]))
    assert line.steps(1).equal(torch.zeros(1, 2))
    loop = lk.loop(lk.Normal(2).sample(3, seed=0))
    assert loop.steps(7, closed=False)[-1].equal(loop.steps(7)[0])


@every_tour
@pytest.mark.parametrize("where", [0, 1, 2])
def test_equal_and_opposite_neighbours_are_refused_by_number(through, prior, where):
    keys = prior.sample(4, seed=0)
    keys[where + 1] = keys[where]
    with pytest.raises(CurveError, match=f"keyframes {where} and {where + 1} are equal.*leave one out"):
        through(keys, prior=prior)


def test_the_last_key_of_a_loop_must_differ_from_the_first():
    keys = lk.Normal(4).sample(4, seed=0)
    keys[3] = keys[0]
    assert len(lk.tour(keys).steps_per_segment(2)) == 7
    with pytest.raises(CurveError, match="keyframes 3 and 0 are equal"):
        lk.loop(keys)
    keys[3] = -keys[0]
    with pytest.raises(CurveError, match="between keyframes 3 and 0: the ends are opposite"):
        lk.loop(keys)


@pytest.mark.parametrize(
    ("call", "error", "text"),
    [
        (lambda z: lk.tour(z[:1]), CurveError, "a tour needs at least 2 keyframes, got 1"),
        (lambda z: lk.loop(z[:2]), CurveError, "a loop needs at least 3 keyframes, got 2"),
        (lambda z: lk.tour(z[0]), ShapeError, r"keyframes must be \(N, D\), got \(4,\)"),
        (lambda z: lk.tour(z, prior=lk.Normal(5)), ShapeError, r"keyframes must be \(N, 5\), got \(3, 4\)"),
        (lambda z: lk.tour(z / 0), NonFiniteError, r"keyframes must be finite.*3 of 3 rows"),
        (lambda z: lk.tour(z).steps(0), ArgumentError, "n must be a whole number of at least 1, got 0"),
        (lambda z: lk.tour(z).steps_per_segment(0), ArgumentError, "n must be a whole number of at least 1, got 0"),
        (lambda z: lk.tour(z)([0.0, 1.1]), ArgumentError, r"times must lie in \[0, 1\], got 0 to 1.1"),
        (lambda z: lk.tour(z)([float("nan")]), ArgumentError, r"times must lie in \[0, 1\], got nan"),
        (lambda z: lk.tour(z)(torch.zeros(2, 2)), ShapeError, r"times must be \(T,\), got \(2, 2\)"),
    ],
)
def test_bad_tours_say_what_was_wanted(call, error, text):
    with pytest.raises(error, match=text):
        call(lk.Normal(4).sample(3, seed=0))


@pytest.mark.parametrize("join", [lk.lerp, lk.slerp, lk.interpolate])
def test_bad_ends_say_what_was_wanted(join):
    z = torch.ones(4)
    for a, b, error, text in [
        (z, z[:3], ShapeError, r"one shape, got \(4,\) and \(3,\)"),
        (z, z[None], ShapeError, r"one shape, got \(4,\) and \(1, 4\)"),
        (z, z[:0], ShapeError, r"the second end must be \(D,\) or \(N, D\), got \(0,\)"),
        (z[None, None], z, ShapeError, r"the first end must be \(D,\) or \(N, D\), got \(1, 1, 4\)"),
        (z, "x", ShapeError, "the second end must be a tensor of floats, got str"),
        (z * float("inf"), z, NonFiniteError, "the first end must be finite"),
    ]:
        with pytest.raises(LatentkitError, match=text) as caught:
            join(a, b)
        assert isinstance(caught.value, error)
    with pytest.raises(ShapeError, match="the prior's 5 coordinates, got 4"):
        lk.interpolate(z, 2 * z, lk.Normal(5))


@pytest.mark.parametrize(("dim", "step"), [(16, 1.5), (64, 5.0), (512, 10.0)])
def test_a_latent_and_its_edit_are_joined_without_a_bulge(dim, step):
    z, v = lk.Normal(dim).sample(2, seed=4)
    edited = z + step * v / v.norm()
    norms = lk.interpolate(z, edited)(torch.linspace(0, 1, 21)).norm(dim=1)
    assert norms.max() < 1.03 * max(z.norm(), edited.norm())


def test_ends_become_related_without_a_jump():
    """The midpoint's length goes evenly from the edit's to that of independent ends as the ends part."""
    z, v = lk.Normal(64).sample(2, seed=4).double()
    v = v - (v @ z) / (z @ z) * z
    steps = torch.linspace(5.0, 8.0, 301)
    middles = torch.stack([lk.interpolate(z, z + s * v / v.norm())(0.5)[0].norm() for s in steps])
    assert middles.diff().abs().max() < 0.03 * z.norm()


def test_the_parts_of_a_joint_prior_go_each_by_itself():
    prior = Joint(lk.Normal(4), lk.Uniform(3))
    a, b = prior.sample(2, seed=0)
    way = lk.interpolate(a, b, prior)
    assert way(TIMES)[:, :4].equal(lk.interpolate(a[:4], b[:4], prior.first)(TIMES))
    assert way(TIMES)[:, 4:].equal(lk.interpolate(a[4:], b[4:], prior.second)(TIMES))
    assert way.prior is prior
    with pytest.raises(CurveError, match="opposite"):
        lk.interpolate(a, torch.cat([-a[:4], b[4:]]), prior)


def test_from_one_class_to_another_the_rest_of_a_latent_stands_still():
    prior = Joint(lk.Normal(2), OneHot(10))
    a = prior.sample(1, seed=0)[0]
    b = torch.cat([a[:2], torch.eye(10)[int(a[2:].argmax() + 1) % 10]])
    frames = lk.interpolate(a, b, prior)(TIMES)
    torch.testing.assert_close(frames[:, :2], a[:2].expand(11, 2))
    torch.testing.assert_close(frames[:, 2:], (1 - TIMES[:, None]).float() * a[2:] + TIMES[:, None].float() * b[2:])
