"""Laws on random input: what holds for any latents, any prior, any seed, any settings, in 10,000 cases."""

import io
import json
import math
import tempfile
import warnings
from dataclasses import asdict, fields
from fractions import Fraction
from functools import lru_cache
from itertools import pairwise, product
from pathlib import Path
from typing import get_args, get_type_hints
from unittest.mock import patch

import numpy as np
import pytest
import torch
from hypothesis import assume
from hypothesis import strategies as st
from laws import DTYPES, continuous_priors, latents_of, law, normals, numbers, priors, scored_priors, seeds
from PIL import Image, ImageSequence

import latentkit as lk
from latentkit import streams
from latentkit.animation.saving import Options, write
from latentkit.calibration import calibrate_logits
from latentkit.checks import as_count, as_number, as_seed
from latentkit.curves import ease_in, ease_in_out, ease_out, smootherstep, smoothstep
from latentkit.directions.labels import two_sides
from latentkit.encoders.frames import rhythm, ticks
from latentkit.errors import ArgumentError, CurveError, LabelError, OffPriorWarning
from latentkit.neighbours import nearest
from latentkit.priors import from_normal_scores, normal_scores, prior_from_dict, prior_to_dict
from latentkit.priors.uniform import trapezoid_cdf, uniform_sum_cdf
from latentkit.render import sheet, to_rgb
from latentkit.roc import auc
from trainers import Data
from trainers.data.labels import class_numbers
from trainers.families import FAMILIES, MEASURES, add_settings, given_settings, made_config
from trainers.growth import phases, schedule

pytestmark = pytest.mark.promise("laws")

EASES = st.sampled_from([ease_in, ease_out, ease_in_out, smoothstep, smootherstep])
TIMES = numbers(0, 1)


def joined(join, a, b, prior):
    """A curve between two ends, or None where there is none, of which an error says why."""
    try:
        return lk.interpolate(a, b, prior) if join == "interpolate" else getattr(lk, join)(a, b)
    except CurveError:
        return None


JOINS = st.sampled_from(["interpolate", "interpolate", "lerp", "slerp"])

# ---- curves between two latents


@law(
    400,
    join=JOINS,
    prior=priors(),
    rows=st.none() | st.integers(1, 3),
    dtype=st.sampled_from(DTYPES),
    seed=seeds,
    t=TIMES,
)
def test_the_ends_of_a_curve_are_exact(join, prior, rows, dtype, seed, t):
    a, b = latents_of(prior, 2 * (rows or 1), seed, dtype).chunk(2)
    a, b = (a[0], b[0]) if rows is None else (a, b)
    curve = joined(join, a, b, prior)
    assume(curve is not None)
    z = curve([0.0, t, 1.0])
    assert (z.dtype, z.shape) == (dtype, (3, *a.shape))
    assert z[0].equal(a)
    assert z[2].equal(b)
    assert z.isfinite().all()


@law(300, join=JOINS, prior=priors(), seed=seeds, t=TIMES)
def test_the_way_back_is_the_way(join, prior, seed, t):
    a, b = latents_of(prior, 2, seed)
    there, back = joined(join, a, b, prior), joined(join, b, a, prior)
    assert (there is None) == (back is None)
    assume(there is not None)
    torch.testing.assert_close(there(t), back(1.0 - t), rtol=1e-6, atol=1e-9)


@law(
    250, join=JOINS, prior=priors(), kinds=st.lists(st.sampled_from("=~!"), min_size=2, max_size=5), seed=seeds, t=TIMES
)
def test_a_batch_of_curves_is_the_stack_of_single_ones(join, prior, kinds, seed, t):
    a, b = latents_of(prior, 2 * len(kinds), seed).chunk(2)
    kind = np.array(kinds)
    b[kind == "="] = a[kind == "="]
    b[kind == "~"] = a[kind == "~"] + 1e-7 * (b - a)[kind == "~"]
    whole, singles = joined(join, a, b, prior), [joined(join, p, q, prior) for p, q in zip(a, b, strict=True)]
    assert (whole is None) == any(single is None for single in singles)
    assume(whole is not None)
    torch.testing.assert_close(whole(t)[0], torch.cat([single(t) for single in singles]), rtol=1e-12, atol=1e-12)


@law(150, join=JOINS, dim=st.integers(2, 64), seed=seeds, size=st.integers(7, 12), t=numbers(0.01, 0.3))
def test_near_ends_are_walked_forwards(join, dim, seed, size, t):
    a, b = lk.Normal(dim).sample(2, seed=seed).double()
    b = a + 10.0**-size * (b - a)
    early, late = joined(join, a, b, None)([t, 1.0 - t])
    assert (early - a).norm() < (early - b).norm()
    assert (late - b).norm() < (late - a).norm()


@law(200, dim=st.integers(2, 64), seed=seeds, unit=st.integers(-200, 200), ratio=st.integers(-3, 3), t=TIMES)
def test_slerp_turns_evenly_at_an_even_norm_in_any_unit(dim, seed, unit, ratio, t):
    a, b = lk.Normal(dim).sample(2, seed=seed).double()
    b = 10.0**ratio * b
    z = lk.slerp(a, b)(t)[0]
    torch.testing.assert_close(z.norm(), (1.0 - t) * a.norm() + t * b.norm())
    whole, part = (angle(a, other) for other in (b, z))
    assert float(part) == pytest.approx(t * float(whole), abs=1e-6)
    torch.testing.assert_close(lk.slerp(10.0**unit * a, 10.0**unit * b)(t)[0] / 10.0**unit, z, rtol=1e-9, atol=1e-12)


def angle(a, b):
    a, b = a / a.norm(), b / b.norm()
    return 2.0 * torch.atan2((a - b).norm(), (a + b).norm())


@law(150, prior=scored_priors(most=32), seed=seeds, t=TIMES)
def test_a_curve_stays_on_what_the_prior_can_draw(prior, seed, t):
    a, b = latents_of(prior, 2, seed)
    curve = joined("interpolate", a, b, prior)
    assume(curve is not None)
    assert on_support(prior, curve(t))


def on_support(prior, z):
    """Whether latents lie where the prior has a density, but for rounding."""
    if isinstance(prior, lk.Joint):
        first, second = prior.parts(z)
        return on_support(prior.first, first) and on_support(prior.second, second)
    if isinstance(prior, lk.Uniform):
        slack = 1e-6 * (1.0 + abs(prior.low) + abs(prior.high))
        return bool(((z >= prior.low - slack) & (z <= prior.high + slack)).all())
    if isinstance(prior, lk.Sphere):
        return bool(((z.norm(dim=-1) / prior.radius - 1.0).abs() < 1e-5).all())
    return bool(z.isfinite().all())


# ---- tours, loops and seams


def through(kind, keys, prior):
    """A curve through keyframes of a kind, or None where two of them have no curve between them."""
    try:
        if kind == "closed spline":
            return lk.spline(keys, prior=prior, closed=True)
        return getattr(lk, kind)(keys, prior=prior)
    except CurveError:
        return None


@law(
    300,
    kind=st.sampled_from(["tour", "loop", "spline", "closed spline"]),
    prior=continuous_priors(most=24),
    count=st.integers(2, 6),
    rows=st.none() | st.integers(1, 2),
    n=st.integers(1, 12),
    dtype=st.sampled_from(DTYPES),
    seed=seeds,
)
def test_a_tour_has_the_frames_that_its_formula_says(kind, prior, count, rows, n, dtype, seed):
    keys = latents_of(prior, count * (rows or 1), seed, dtype)
    keys = keys if rows is None else keys.reshape(count, rows, -1)
    if count == 2 and kind in ("loop", "closed spline"):
        assert through(kind, keys, prior) is None
        return
    curve = through(kind, keys, prior)
    assume(curve is not None)
    frames = curve.steps_per_segment(n)
    assert len(frames) == (count * n if curve.closed else (count - 1) * n + 1)
    assert frames[::n].equal(keys), "every keyframe is among the frames, exactly"
    assert frames.dtype == dtype
    assert frames.isfinite().all()
    if dtype.itemsize >= 4:
        steps = frames.roll(-1, 0) - frames
        assert (steps if curve.closed else steps[:-1]).flatten(1).norm(dim=1).min() > 0


@law(
    120,
    kind=st.sampled_from(["loop", "closed spline"]),
    prior=scored_priors(most=16),
    count=st.integers(3, 6),
    seed=seeds,
    n=st.integers(1, 9),
    turn=st.integers(1, 5),
)
def test_turning_the_keys_of_a_loop_moves_its_start_alone(kind, prior, count, seed, n, turn):
    keys = latents_of(prior, count, seed)
    film, turned = (through(kind, k, prior) for k in (keys, keys.roll(-turn, 0)))
    assume(film is not None and turned is not None)
    wanted = film.steps_per_segment(n).roll(-turn * n, 0)
    torch.testing.assert_close(turned.steps_per_segment(n), wanted, rtol=1e-7, atol=1e-7)


def closed_curve(kind):
    """How a closed curve of a kind is made of a prior, a seed and a number in [0, 1]."""
    return {
        "circle": lambda prior, seed, x: lk.circle(*latents_of(prior, 2, seed), prior),
        "orbit": lambda prior, seed, x: lk.orbit(latents_of(prior, 1, seed)[0], 0.1 + x, seed=seed, prior=prior),
        "random loop": lambda prior, seed, x: lk.random_loop(prior, seed=seed, detail=1.0 + 4.0 * x),
        "closed spline": lambda prior, seed, x: lk.spline(
            latents_of(prior, 3 + int(2 * x), seed), prior=prior, closed=True
        ),
    }[kind]


@law(
    200,
    kind=st.sampled_from(["circle", "orbit", "random loop", "closed spline"]),
    dim=st.integers(3, 24),
    seed=seeds,
    x=TIMES,
    n=st.integers(3, 40),
)
def test_a_closed_curve_goes_through_its_seam_as_through_any_other_place(kind, dim, seed, x, n):
    curve = closed_curve(kind)(lk.Normal(dim), seed, x)
    assert curve.closed
    assert curve(0.0).equal(curve(1.0))
    film = curve.steps(n).double()
    assert len(film) == n
    assert not film[-1].equal(film[0])
    h = 1e-3
    before, at, after = curve([1.0 - h, 0.0, h]).double()
    come, gone = at - before, after - at
    # A turn would be of the size of the steps; what is left is the curve's own acceleration and float32.
    assert (gone - come).norm() <= 0.35 * torch.maximum(come.norm(), film.diff(dim=0).norm(dim=1).mean() * h * n)


@law(150, prior=st.builds(lk.Normal, st.integers(2, 64)), seed=seeds, radius=numbers(0.05, 3), n=st.integers(3, 30))
def test_an_orbit_takes_even_steps_around_its_centre_and_across_the_seam(prior, seed, radius, n):
    centre = latents_of(prior, 1, seed)[0]
    film = lk.orbit(centre, radius, seed=seed, prior=prior).steps(n)
    steps = (film.roll(-1, 0) - film).norm(dim=1)
    torch.testing.assert_close(steps, steps[:1].expand(n), rtol=1e-6, atol=1e-9)
    if prior.dim > 2:
        away = (film - centre).norm(dim=1)
        torch.testing.assert_close(away, away[:1].expand(n), rtol=1e-6, atol=1e-9)


@law(120, prior=scored_priors(most=16), seed=seeds, detail=numbers(1, 12), n=st.integers(1, 4), t=TIMES)
def test_random_loops_side_by_side_are_those_that_are_drawn_alone(prior, seed, detail, n, t):
    alone, beside = (lk.random_loop(prior, seed=seed, detail=detail, n=k) for k in (None, n))
    assert beside(t).shape == (1, n, prior.dim)
    torch.testing.assert_close(beside(t)[:, 0], alone(t), rtol=1e-5, atol=1e-6)
    assert on_support(prior, beside(t))


@law(
    150,
    prior=scored_priors(most=16),
    seed=seeds,
    triangle=st.booleans(),
    rows=st.integers(2, 6),
    columns=st.integers(2, 6),
)
def test_the_corners_of_a_grid_are_its_anchors_and_a_side_is_a_curve(prior, seed, triangle, rows, columns):
    anchors = latents_of(prior, 3 if triangle else 4, seed)
    try:
        grid = lk.anchor_grid(anchors, rows if triangle else (rows, columns), prior=prior)
    except CurveError:
        assume(False)
        return
    assert len(grid.latents) == (rows * (rows + 1) // 2 if triangle else rows * columns)
    torch.testing.assert_close(grid.weights.sum(1), torch.ones(len(grid.weights)).double())
    corners = [0, -rows, -1] if triangle else [0, columns - 1, -columns, -1]
    assert grid.latents[corners].equal(anchors)
    assert on_support(prior, grid.latents)


@law(120, keys=st.integers(2, 5), seed=seeds, ease=EASES, n=st.integers(1, 9), t=TIMES)
def test_another_pace_shows_the_same_latents(keys, seed, ease, n, t):
    curve = lk.tour(latents_of(lk.Normal(5), keys, seed))
    eased, each = lk.eased(curve, ease), lk.eased_keys(curve, ease)
    assert eased([0.0, 1.0]).equal(curve([0.0, 1.0]))
    assert each.steps_per_segment(n)[::n].equal(curve.steps_per_segment(1))
    place = float(ease(torch.tensor([t], dtype=torch.float64)))
    torch.testing.assert_close(eased(t), curve(min(max(place, 0.0), 1.0)))
    times = torch.linspace(0, 1, 7, dtype=torch.float64)
    torch.testing.assert_close(lk.retimed(curve, times, times)(t), curve(t))
    table = ease(times).clamp(0, 1).index_fill(0, torch.tensor(6), 1.0)
    twice = lk.retimed(lk.retimed(curve, times, table), table, times)
    torch.testing.assert_close(twice(t), curve(t), rtol=1e-5, atol=1e-5)


@law(120, keys=st.integers(2, 5), seed=seeds, n=st.integers(1, 9), t=TIMES)
def test_a_way_back_is_the_way_reversed(keys, seed, n, t):
    curve = lk.tour(latents_of(lk.Normal(5), keys, seed))
    torch.testing.assert_close(lk.reversed_curve(lk.reversed_curve(curve))(t), curve(t), rtol=1e-9, atol=1e-9)
    there = lk.there_and_back(curve)
    film = there.steps_per_segment(n)
    assert len(film) == 2 * (keys - 1) * n
    torch.testing.assert_close(film[1:], film[1:].flip(0), rtol=1e-9, atol=1e-9)
    back = lk.joined_curves([curve, lk.reversed_curve(curve)])
    assert (back.closed, back.segments) == (True, there.segments)
    torch.testing.assert_close(back(t), there(t), rtol=1e-7, atol=1e-7)


# ---- draws


@law(
    400,
    prior=priors(),
    seed=seeds,
    start=st.integers(0, 2**90),
    n=st.integers(0, 9),
    cuts=st.lists(st.integers(0, 9), max_size=3),
)
def test_latents_do_not_know_how_many_are_drawn_with_them(prior, seed, start, n, cuts):
    whole = prior.sample(n, seed=seed, start=start)
    assert (whole.shape, whole.dtype) == ((n, prior.dim), torch.float32)
    edges = [0, *sorted(min(cut, n) for cut in cuts), n]
    parts = [prior.sample(b - a, seed=seed, start=start + a) for a, b in pairwise(edges)]
    assert torch.cat(parts).equal(whole)
    assert whole.isfinite().all()


@law(
    300,
    seed=seeds,
    start=st.integers(0, 2**90),
    width=st.integers(1, 70),
    cut=st.integers(0, 5),
    stream=st.integers(0, 2**63),
)
def test_a_stream_has_no_edge_and_shares_no_number_with_another(seed, start, width, cut, stream):
    u = streams.uniform(5, width, seed=seed, start=start, stream=stream)
    assert ((u > 0.0) & (u < 1.0)).all()
    later = streams.uniform(5 - cut, width, seed=seed, start=start + cut, stream=stream)
    np.testing.assert_array_equal(u[cut:], later)
    for other in ({"seed": seed ^ 1}, {"stream": stream ^ 1}, {"start": start + 5}):
        beside = streams.uniform(5, width, **{"seed": seed, "start": start, "stream": stream, **other})
        assert not np.intersect1d(beside, u).size
    assert np.isfinite(streams.normal(5, width, seed=seed, start=start, stream=stream)).all()


@law(
    150,
    n=st.integers(0, 200),
    seed=seeds,
    sizes=st.lists(st.integers(1, 50), min_size=1, max_size=3),
    index=st.integers(0, 10**6),
)
def test_orders_hold_each_row_once_and_resamples_hold_rows_that_there_are(n, seed, sizes, index):
    assert sorted(streams.permutation(n, seed=seed).tolist()) == list(range(n))
    for rows, size in zip(streams.resampled_rows(sizes, seed=seed, index=index), sizes, strict=True):
        assert len(rows) == size
        assert 0 <= rows.min() <= rows.max() < size
    assert 0 <= streams.small_seed(seed) < 2**32


@law(
    250,
    prior=st.builds(lk.Normal, st.integers(1, 64), numbers(-1e4, 1e4), numbers(1e-3, 1e3)),
    n=st.integers(1, 9),
    threshold=numbers(1e-3, 9),
    seed=seeds,
    start=st.integers(0, 2**90),
)
def test_no_truncated_draw_lies_beyond_the_threshold(prior, n, threshold, seed, start):
    z = lk.truncated_sample(prior, n, threshold=threshold, seed=seed, start=start)
    reach = prior.std * threshold
    # As far as float32 has numbers inside at all.
    grid = torch.finfo(torch.float32).eps * (abs(prior.mean) + reach)
    assert ((z.double() - prior.mean).abs() <= reach + (grid if reach < 4 * grid else 0.0)).all()
    assert z[n // 2 :].equal(
        lk.truncated_sample(prior, n - n // 2, threshold=threshold, seed=seed, start=start + n // 2)
    )


@law(250, n=st.integers(1, 5), dim=st.integers(1, 40), seed=seeds, psi=numbers(-3, 3), dtype=st.sampled_from(DTYPES))
def test_truncation_pulls_every_latent_by_the_same_share(n, dim, seed, psi, dtype):
    z, mean = normals(n + 1, dim, seed=seed).to(dtype).split([n, 1])
    pulled = lk.truncate(z, mean[0], psi)
    assert pulled.dtype == dtype
    assert lk.truncate(z, mean[0], 1.0).equal(z)
    assert lk.truncate(z, mean[0], 0.0).equal(mean.expand(n, -1))
    wanted = abs(psi) * (z - mean).double().norm(dim=1)
    torch.testing.assert_close((pulled - mean).double().norm(dim=1), wanted, rtol=0.05, atol=0.05)


# ---- priors


@law(250, prior=priors(), seed=seeds, n=st.integers(1, 6))
def test_a_prior_knows_its_own_draws_and_can_be_written_down(prior, seed, n):
    z = prior.sample(n, seed=seed)
    assert prior.log_prob(z).isfinite().all()
    typical = prior.typicality(z)
    assert ((typical >= 0.0) & (typical <= 1.0)).all()
    assert (typical.dtype, typical.shape) == (torch.float64, (n,))
    told = prior_from_dict(json.loads(json.dumps(prior_to_dict(prior))))
    assert type(told) is type(prior)
    assert told.sample(n, seed=seed).equal(z)
    assert told.log_prob(z).equal(prior.log_prob(z))


@law(150, dim=st.integers(1, 20), low=numbers(-1e6, 1e6), width=st.integers(-6, 6), seed=seeds)
def test_a_box_holds_its_own_draws_however_narrow(dim, low, width, seed):
    high = low + 10.0**width
    assume(np.nextafter(np.float32(low), np.float32(np.inf)) < high)
    prior = lk.Uniform(dim, low, high)
    z = prior.sample(20, seed=seed)
    assert prior.log_prob(z).isfinite().all()
    assert ((z.double() >= low) & (z.double() <= high)).all()


@law(250, prior=scored_priors(), seed=seeds, n=st.integers(1, 5))
def test_normal_scores_and_back_are_the_latents(prior, seed, n):
    z = latents_of(prior, n, seed)
    scores = normal_scores(prior, z)
    assert scores.isfinite().all()
    torch.testing.assert_close(from_normal_scores(prior, scores), z, rtol=1e-6, atol=1e-6)


# ---- arithmetic


def quiet(call, *given, **options):
    """Call with terms that are related on purpose."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", OffPriorWarning)
        return call(*given, **options)


@law(
    200, prior=priors(most=24), seed=seeds, count=st.integers(1, 5), rows=st.none() | st.integers(1, 3), data=st.data()
)
def test_a_weight_of_one_gives_its_latent(prior, seed, count, rows, data):
    k = data.draw(st.integers(0, count - 1))
    terms = [latents_of(prior, rows or 1, (seed + j) % 2**64, torch.float32) for j in range(count)]
    terms = [term[0] for term in terms] if rows is None else terms
    result = quiet(lk.combine, terms, [float(j == k) for j in range(count)], prior)
    assert (result.dtype, result.shape) == (terms[0].dtype, terms[0].shape)
    if isinstance(prior, lk.Normal | lk.Empirical | lk.Tied):
        assert result.equal(terms[k])
    else:
        torch.testing.assert_close(result, terms[k], rtol=1e-5, atol=1e-6)


WEIGHTS = st.lists(numbers(-5, 5), min_size=1, max_size=5).filter(lambda w: max(map(abs, w)) > 1e-3)


@law(200, weights=WEIGHTS, mean=numbers(-3, 3), std=numbers(0.1, 5), dim=st.integers(1, 8))
def test_a_combination_keeps_the_mean_and_the_variance_of_a_gaussian_prior(weights, mean, std, dim):
    """It is affine in its terms: the mean goes to the mean, and the squares of the slopes add up to 1."""
    prior = lk.Normal(dim, mean, std)
    middle = torch.full((dim,), mean, dtype=torch.float64)
    terms = [middle] * len(weights)
    torch.testing.assert_close(quiet(lk.combine, terms, weights, prior), middle, rtol=1e-9, atol=1e-9)
    slopes = []
    for k in range(len(weights)):
        moved = [middle + float(j == k) for j in range(len(weights))]
        slopes.append(quiet(lk.combine, moved, weights, prior)[0] - mean)
    assert float(torch.stack(slopes).square().sum()) == pytest.approx(1.0, rel=1e-9)
    assert all(float(slope) * weight > -1e-12 for slope, weight in zip(slopes, weights, strict=True))


@law(
    150, prior=scored_priors(most=12), weights=WEIGHTS, unit=st.integers(-100, 100), turn=st.integers(0, 4), seed=seeds
)
def test_neither_the_unit_of_weights_nor_the_order_of_terms_matters(prior, weights, unit, turn, seed):
    terms = latents_of(prior, len(weights), seed)
    try:
        plain = quiet(lk.combine, terms, weights, prior)
        scaled = quiet(lk.combine, terms, [10.0**unit * w for w in weights], prior)
    except CurveError:  # on a sphere they may cancel out
        assume(False)
        return
    turned = quiet(lk.combine, terms.roll(turn, 0), np.roll(weights, turn), prior)
    torch.testing.assert_close(scaled, plain, rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(turned, plain, rtol=1e-6, atol=1e-6)
    assert on_support(prior, plain)


@law(150, weights=st.lists(numbers(0.2, 3), min_size=2, max_size=4), x=numbers(-1.2, 1.2))
def test_the_sum_of_uniform_numbers_has_the_distribution_of_its_closed_form(weights, x):
    w = torch.tensor(weights, dtype=torch.float64)
    at = torch.tensor([x * float(w.sum())], dtype=torch.float64)
    wanted = closed_form(weights, float(at))
    found = float(uniform_sum_cdf(at, w))
    assert found == pytest.approx(wanted, abs=3e-5)
    assert float(uniform_sum_cdf(-at, w)) == pytest.approx(1.0 - found, abs=1e-6)
    if len(weights) == 2:
        assert float(trapezoid_cdf(at, w)) == pytest.approx(wanted, abs=1e-9)


def closed_form(weights, x):
    """The chance that a sum of w_k U_k, U_k uniform on [-1, 1], lies below x: a spline, summed over the corners."""
    total = 0.0
    for signs in product((-1.0, 1.0), repeat=len(weights)):
        above = max(x + sum(s * w for s, w in zip(signs, weights, strict=True)), 0.0)
        total += math.prod(signs) * above ** len(weights)
    return total / (math.factorial(len(weights)) * math.prod(2.0 * w for w in weights))


@law(150, prior=priors(most=24), seed=seeds)
def test_what_is_to_c_as_a_is_to_itself_is_c(prior, seed):
    """a - a + c: c itself where the shell has no length to lose, and c's direction from the mean elsewhere."""
    a, c = latents_of(prior, 2, seed)
    result = quiet(lk.analogy, a, a, c, prior)
    if isinstance(prior, lk.Normal):
        torch.testing.assert_close(result, prior.mean + (c - prior.mean) / math.sqrt(3.0))
    elif isinstance(prior, lk.OneHot | lk.Sphere):
        torch.testing.assert_close(result, c, rtol=1e-6, atol=1e-9)
    else:
        assert on_support(prior, result) if not isinstance(prior, lk.Tied) else result.isfinite().all()
    assert quiet(lk.calculate, "a - a + c", {"a": a, "c": c}, prior).plain.equal(c)


@st.composite
def _formulas(draw, depth=0):
    """A formula and what it comes to: the weights of a, b and c, or a number."""
    kind = draw(
        st.sampled_from(
            ["name", "name", "sum", "difference", "times", "by", "minus", "mean"] if depth < 4 else ["name"]
        )
    )
    inner = _formulas(depth + 1)
    if kind == "name":
        k = draw(st.integers(0, 2))
        return "abc"[k], torch.eye(3, dtype=torch.float64)[k]
    if kind == "mean":
        parts = draw(st.lists(inner, min_size=1, max_size=3))
        return f"mean({', '.join(text for text, _ in parts)})", torch.stack([w for _, w in parts]).mean(0)
    text, weights = draw(inner)
    if kind == "minus":
        return f"-({text})", -weights
    if kind in ("sum", "difference"):
        other, more = draw(inner)
        return (f"({text}) + ({other})", weights + more) if kind == "sum" else (f"{text} - ({other})", weights - more)
    number = draw(numbers(0.01, 100))
    if kind == "by":
        return f"({text}) / {number!r}", weights / number
    return draw(st.sampled_from([f"{number!r} * ({text})", f"({text}) * {number!r}"])), weights * number


@law(250, made=_formulas())
def test_a_formula_weighs_its_latents_as_it_reads(made):
    text, weights = made
    latents = dict(zip("abc", torch.eye(3, dtype=torch.float64), strict=True))
    if len(text) > 1000 or float(weights.abs().max()) < 1e-9:
        with pytest.raises(ArgumentError, match=r"at most 1,000 characters|cancel out"):
            lk.calculate(text, latents)
        return
    torch.testing.assert_close(lk.calculate(text, latents).plain, weights, rtol=1e-6, atol=1e-9)


@law(100, prior=scored_priors(most=24), seed=seeds, n=st.integers(1, 5), scale=numbers(0, 5))
def test_the_vicinity_of_a_latent_begins_at_it(prior, seed, n, scale):
    z = latents_of(prior, 1, seed)[0]
    torch.testing.assert_close(
        lk.vicinity(z, n, scale=0.0, seed=seed, prior=prior), z.expand(n, -1), rtol=1e-6, atol=1e-7
    )
    near = lk.vicinity(z, n, scale=scale, seed=seed, prior=prior)
    torch.testing.assert_close(lk.vicinity(z, 1, scale=scale, seed=seed, prior=prior)[0], near[0], rtol=1e-9, atol=1e-9)
    assert on_support(prior, near)


@law(
    200,
    prior=scored_priors(most=24),
    seed=seeds,
    stretch=numbers(-2, 2),
    level=numbers(1e-4, 0.9),
    dtype=st.sampled_from([torch.float32, torch.float64]),
)
def test_what_is_pulled_back_is_typical_and_stays(prior, seed, stretch, level, dtype):
    z = (10.0**stretch * latents_of(prior, 3, seed)).to(dtype)
    back = lk.pulled_back(z, prior, level=level)
    assert back.dtype == dtype
    assert (prior.typicality(back) >= level).all()
    assert lk.pulled_back(back, prior, level=level).equal(back)
    enough = prior.typicality(z) >= level
    assert back[enough].equal(z[enough])


# ---- directions and labels


def labelled(seed, n, dim):
    z = normals(n, dim, seed=seed)
    return z, z[:, 0] + 0.5 * normals(n, 1, seed=seed ^ 1)[:, 0] > 0


def fitted(find, z, labels):
    """Find a direction; what its safe range is costs most of the time, and is another law."""
    with patch("latentkit.directions.supervised.typical_range", lambda *_: (0.0, 0.0)):
        return find(z, labels)


@law(
    100,
    seed=seeds,
    n=st.integers(30, 60),
    dim=st.integers(1, 9),
    find=st.sampled_from([lk.mean_difference] * 3 + [lk.logistic_boundary, lk.svm_boundary]),
)
def test_flipped_labels_flip_a_direction(seed, n, dim, find):
    z, labels = labelled(seed, n, dim)
    assume(5 <= int(labels.sum()) <= n - 5)
    there, back = fitted(find, z, labels), fitted(find, z, ~labels)
    assert float(there.vector.norm()) == pytest.approx(1.0, abs=1e-9)
    torch.testing.assert_close(back.vector, -there.vector, rtol=1e-3, atol=1e-3)
    assert back.counts == there.counts[::-1] == (int(labels.sum()), int((~labels).sum()))
    assert back.auc == pytest.approx(there.auc, abs=0.02)
    torch.testing.assert_close(back.score(z), -there.score(z), rtol=1e-2, atol=1e-2)


FORMS = {
    "bool": lambda y: y,
    "int64": lambda y: y.long(),
    "uint8": lambda y: y.to(torch.uint8),
    "float16": lambda y: y.half(),
    "float64": lambda y: y.double(),
    "list": lambda y: y.tolist(),
    "ints": lambda y: [int(v) for v in y],
    "floats": lambda y: [float(v) for v in y],
    "array": lambda y: y.numpy(),
    "int8 array": lambda y: y.numpy().astype(np.int8),
}
WRONG = {
    "text": lambda y: ["yes" if v else "no" for v in y],
    "digits": lambda y: [str(int(v)) for v in y],
    "NaN": lambda y: torch.where(y, math.nan, 0.0),
    "of -1 and 1": lambda y: 2 * y.long() - 1,
    "halves": lambda y: 0.5 * y,
    "too few": lambda y: y[1:],
    "rows": lambda y: y[:, None],
    "objects": lambda y: np.array([None, *y.tolist()[1:]], dtype=object),
}


@law(200, bits=st.lists(st.booleans(), min_size=12, max_size=40), form=st.sampled_from([*FORMS, *WRONG]))
def test_labels_of_any_number_type_are_one_and_all_others_are_refused(bits, form):
    labels = torch.tensor(bits)
    few = min(sum(bits), len(bits) - sum(bits)) < 5
    if form in WRONG or few:
        with pytest.raises(LabelError):
            two_sides((FORMS | WRONG)[form](labels), len(labels))
        return
    assert two_sides(FORMS[form](labels), len(labels)).equal(labels)


@law(
    200,
    values=st.lists(st.booleans(), min_size=1, max_size=20)
    | st.lists(st.integers(-(2**40), 2**40), min_size=1, max_size=20)
    | st.lists(st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=5), min_size=1, max_size=20)
    | st.lists(numbers(-9, 9), min_size=1, max_size=20),
)
def test_class_numbers_name_the_labels_that_came(values):
    array = np.array(values)
    if array.dtype.kind == "f":
        with pytest.raises(LabelError, match="whole numbers or text"):
            class_numbers(array, len(values), "labels")
        return
    classes, names = class_numbers(array, len(values), "labels")
    assert [names[number] for number in classes] == [str(value) for value in array]
    assert list(names) == [str(value) for value in np.unique(array)]
    again, _ = class_numbers(array.astype(str), len(values), "labels", names)
    assert again.equal(classes)


@law(
    200,
    dim=st.integers(2, 30),
    seed=seeds,
    amounts=st.lists(numbers(-20, 20), min_size=1, max_size=4),
    dtype=st.sampled_from(DTYPES[2:]),
)
def test_a_latent_moves_as_far_as_was_said_and_not_at_all_by_nothing(dim, seed, amounts, dtype):
    z, vector = normals(4, dim, seed=seed).to(dtype).split([3, 1])
    direction = lk.Direction(vector[0] / vector[0].norm(), "up", "given", (-1.0, 2.0), intercept=0.5)
    moved = direction.moved(z, amounts)
    assert (moved.shape, moved.dtype) == ((len(amounts), 3, dim), dtype)
    for amount, rows in zip(amounts, moved, strict=True):
        assert direction.moved(z, amount).equal(rows)
        torch.testing.assert_close(
            (rows - z) @ direction.vector, torch.full((3,), amount, dtype=dtype), rtol=1e-4, atol=1e-4
        )
        torch.testing.assert_close(direction.score(rows), direction.score(z) + amount, rtol=1e-4, atol=1e-4)
    assert direction.moved(z, 0.0).equal(z)
    back = direction.reversed().reversed()
    assert (back.vector.equal(direction.vector), back.name, back.safe_range) == (True, "up", (-1.0, 2.0))
    ball = lk.Sphere(dim, 2.0)
    on = 2.0 * z / z.norm(dim=1, keepdim=True)
    assert on_support(ball, direction.moved(on, amounts[0], ball))
    assert direction.moved(on, 0.0, ball).equal(on)


@law(150, dim=st.integers(3, 20), seed=seeds, count=st.integers(1, 2))
def test_what_is_made_orthogonal_is_and_comes_no_nearer(dim, seed, count):
    vectors = normals(count + 1, dim, seed=seed)
    one, *others = (lk.Direction(v / v.norm(), str(k), "given", (-1.0, 1.0)) for k, v in enumerate(vectors))
    rest = lk.orthogonalised(one, others)
    assert float(rest.vector.norm()) == pytest.approx(1.0, abs=1e-9)
    table = lk.cosines([rest, one, *others])
    assert table.equal(table.T)
    assert table[0, 2:].abs().max() < 1e-6
    assert table[0, 1] > 0


@law(150, values=st.lists(st.integers(-50, 50), min_size=10, max_size=60), fraction=numbers(0.01, 0.5))
def test_extremes_are_the_lowest_and_the_highest(values, fraction):
    scores = torch.tensor(values, dtype=torch.float64)
    side = min(max(5, round(fraction * len(values))), len(values) // 2)
    ranked = sorted(values)
    if ranked[side - 1] == ranked[-side]:
        with pytest.raises(LabelError, match="share the value"):
            lk.extremes(scores, fraction)
        return
    rows, labels = lk.extremes(scores, fraction)
    assert len(set(rows.tolist())) == 2 * side
    assert scores[rows[~labels]].tolist() == ranked[:side]
    assert scores[rows[labels]].tolist() == ranked[-side:]


# ---- critics


@law(
    50,
    seed=seeds,
    n=st.integers(20, 60),
    gap=numbers(-1, 3),
    shape=st.sampled_from([torch.exp, torch.tanh, lambda x: x**3, lambda x: 7.0 - 2.0 / (3.0 + x)]),
)
def test_an_isotonic_calibration_rises_and_knows_no_unit(seed, n, gap, shape):
    real, made = ((normals(n, 1, seed=s)[:, 0].clamp(-2, 2) * 8).round() / 8 for s in (seed, seed ^ 1))
    real = real + round(gap)
    plain = calibrate_logits(real, made, method="isotonic")
    every = torch.cat([real, made])
    p = plain.probability(every.sort().values)
    assert ((p > 0) & (p < 1)).all()
    assert (p.diff() >= 0).all()
    bent = calibrate_logits(shape(real / 8), shape(made / 8), method="isotonic")
    torch.testing.assert_close(bent.probability(shape(every / 8)), plain.probability(every), rtol=1e-9, atol=1e-9)
    assert (bent.auc, bent.verdict) == (plain.auc, plain.verdict)
    assert plain.density_ratio(every).isfinite().all()


@law(
    40,
    seed=seeds,
    gap=numbers(-1, 3),
    unit=numbers(0.01, 100),
    offset=numbers(-9, 9),
    method=st.sampled_from(["logistic", "beta"]),
)
def test_a_smooth_calibration_rises_and_knows_no_unit(seed, gap, unit, offset, method):
    real, made = normals(40, 1, seed=seed)[:, 0] + gap, normals(40, 1, seed=seed ^ 1)[:, 0]
    plain = calibrate_logits(real, made, method=method)
    scaled = calibrate_logits(unit * real + offset, unit * made + offset, method=method)
    at = torch.linspace(-9, 9, 40, dtype=torch.float64)
    p = plain.probability(at)
    assert ((p > 0) & (p < 1)).all()
    assert (p.diff() >= -1e-12).all()
    torch.testing.assert_close(scaled.probability(unit * at + offset), p, rtol=1e-3, atol=1e-4)


@law(
    200,
    above=st.lists(st.integers(-9, 9), min_size=1, max_size=12),
    below=st.lists(st.integers(-9, 9), min_size=1, max_size=12),
)
def test_an_auc_is_the_share_of_pairs_in_order(above, below):
    a, b = np.array(above, dtype=float), np.array(below, dtype=float)
    share = np.mean([(x > y) + 0.5 * (x == y) for x in above for y in below])
    assert auc(a, b) == pytest.approx(share)
    assert auc(b, a) == pytest.approx(1.0 - share)
    assert auc(np.exp(a), np.exp(b)) == pytest.approx(share)


# ---- films


DURATIONS = st.lists(numbers(20, 3000), min_size=1, max_size=60)


@law(250, durations=DURATIONS, tick=st.sampled_from([1.0, 10.0]))
def test_every_frame_begins_within_half_a_tick_of_its_time(durations, tick):
    whole = ticks(durations, tick)
    assert all(isinstance(n, int) and n >= 1 for n in whole)
    ends, wanted = tick * np.cumsum(whole), np.cumsum(durations)
    assert np.abs(ends - wanted).max() <= 0.5 * tick + 1e-6


@law(
    200,
    durations=DURATIONS | st.lists(st.sampled_from([20.0, 40.0, 50.0, 200.0, 1000.0 / 24]), min_size=1, max_size=60),
)
def test_repeats_at_a_steady_rate_keep_every_time(durations):
    rate, repeats = rhythm(durations)
    assert all(n >= 1 for n in repeats)
    ends = np.cumsum(repeats) * float(Fraction(1000) / rate)
    assert np.abs(ends - np.cumsum(durations)).max() <= 10.0 + 0.001 * sum(durations) / 1000.0


@law(100, fps=numbers(0.1, 50), count=st.integers(1, 40), hold=numbers(0, 5), seed=seeds)
def test_a_film_lasts_as_long_as_its_frames_and_holds(fps, count, hold, seed):
    generator = lk.wrap(lambda z: z.reshape(-1, 1, 2, 1).tanh(), lk.Normal(2))
    curve = lk.lerp(*latents_of(generator.prior, 2, seed))
    film = lk.animate(generator, curve, frames=count, fps=fps, hold=hold)
    assert film.count == count
    assert film.seconds == pytest.approx(count / fps + hold * (2 if count > 1 else 1))


@law(
    50,
    suffix=st.sampled_from([".webp", ".apng"]),
    durations=st.lists(numbers(20, 400), min_size=2, max_size=8),
    seed=seeds,
)
def test_a_film_that_is_read_back_plays_as_long(suffix, durations, seed):
    frames = np.random.default_rng(seed).integers(0, 256, (len(durations), 4, 4, 3), dtype=np.uint8)
    file = io.BytesIO()
    write(file, frames, tuple(durations), Options(suffix, None, None), size=(4, 4), loop=True, provenance=None)
    with Image.open(file) as film:
        times = []
        for frame in ImageSequence.Iterator(film):
            frame.load()
            times.append(frame.info["duration"])
    assert len(times) == len(durations)
    assert np.abs(np.cumsum(times) - np.cumsum(durations)).max() <= 1.0


# ---- settings

CONFIGS = {**FAMILIES, "study": MEASURES}


@lru_cache
def kinds(name):
    """The fields of a family's settings: what type each has, whether it may be None, its default."""
    config = CONFIGS[name].defaults()
    hints = get_type_hints(type(config))
    of = {}
    for field in fields(config):
        parts = get_args(hints[field.name])
        of[field.name] = next((p for p in parts if p is not type(None)), hints[field.name]), bool(parts), field.default
    return of


CHOICES = {
    "optimiser": ["adam", "rmsprop"],
    "network": ["conv", "residual", "dcgan", "mlp"],
    "precision": ["float32", "bfloat16"],
    "device": ["cpu", "cuda", "cuda:1", "mps"],
    "start": ["principal", "random"],
}
LOSSES = {"glo": ["laplacian", "squared"]}
SHARES = {"ema": 0.999, "beta1": 0.999, "beta2": 0.999, "shift": 0.5, "label_smoothing": 0.5}
#: Settings that exclude others, each tried where it stands in other tests.
LEFT = {"clip", "gradient_penalty", "spectral_norm", "label_smoothing", "threads"}


@st.composite
def _settings(draw, name):
    """Some settings of a family, all in range."""
    given = {}
    for field, (kind, optional, _) in kinds(name).items():
        if field in LEFT or not draw(st.booleans()):
            continue
        if field == "loss":
            value = st.sampled_from(
                LOSSES.get(name, ["non-saturating", "saturating", "least-squares", "hinge", "wasserstein"])
            )
        elif field in CHOICES:
            value = st.sampled_from(CHOICES[field])
        elif kind is bool:
            value = st.booleans()
        elif kind is float:
            value = numbers(0.0, SHARES.get(field, 1e6))
        elif field == "seed":
            value = seeds
        else:
            value = st.integers(20 if field == "samples" else 2, 1000)
        given[field] = draw(st.none() | value if optional else value)
    return given


NAMES = st.sampled_from(sorted(CONFIGS))


@law(250, made=NAMES.flatmap(lambda name: st.tuples(st.just(name), _settings(name))))
def test_settings_in_range_are_taken_and_come_back_from_json(made):
    name, given = made
    config = CONFIGS[name].settings()(**given)
    assert {key: getattr(config, key) for key in given} == given
    numpy = {key: np.asarray(value)[()] if type(value) in (int, float) else value for key, value in given.items()}
    assert json.dumps(asdict(CONFIGS[name].settings()(**numpy))) == json.dumps(asdict(config)), "of any number type"
    assert type(config)(**json.loads(json.dumps(asdict(config)))) == config


@lru_cache
def parser(name):
    import argparse

    made = argparse.ArgumentParser(exit_on_error=False)
    add_settings(made, CONFIGS[name])
    return made


@law(200, made=NAMES.flatmap(lambda name: st.tuples(st.just(name), _settings(name))))
def test_settings_that_are_typed_are_those_that_are_written(made):
    name, given = made
    given = {key: value for key, value in given.items() if value is not None}
    words = []
    for key, value in given.items():
        option = key.replace("_", "-")
        words += [f"--{option}" if value else f"--no-{option}"] if isinstance(value, bool) else [f"--{option}={value}"]
    arguments = parser(name).parse_args(words)
    assert given_settings(arguments, CONFIGS[name]) == given
    assert made_config(CONFIGS[name], given_settings(arguments, CONFIGS[name]), {}) == CONFIGS[name].settings()(**given)


BROKEN = {
    int: [-1, -(2**70), 2**70, 0.5, math.nan, math.inf, "3", "", True, b"1", [1], (1,), 1j, None],
    float: [-1.0, -1e-9, math.nan, math.inf, -math.inf, "0.1", "", True, b"1", [0.1], 1j, None],
    bool: [0, 1, 2, 0.0, "true", "", None, [], "no"],
    str: ["", "nothing such", "CPU ", 3, 0.5, True, b"cpu", None, ["adam"], "adam\0"],
}


@law(
    500,
    made=NAMES.flatmap(
        lambda name: st.sampled_from(sorted(kinds(name))).flatmap(
            lambda f: st.tuples(st.just(name), st.just(f), st.sampled_from(range(len(BROKEN[kinds(name)[f][0]]))))
        )
    ),
    rest=st.integers(0, 2**32),
)
def test_a_setting_out_of_range_is_refused_by_its_name(made, rest):
    name, field, number = made
    kind, optional, _ = kinds(name)[field]
    value = BROKEN[kind][number]
    assume(value is not None or not optional)
    if name == "study":
        assume(value != 2**70)  # which it has no limit against
    with pytest.raises(ArgumentError, match=field):
        CONFIGS[name].settings()(**{field: value})


ANYTHING = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(max_size=6),
    st.binary(max_size=6),
    st.complex_numbers(),
    st.fractions(),
    st.decimals(),
    st.lists(st.integers(), max_size=2),
    st.integers(-5, 2**70).map(lambda n: np.array(n % 2**63)),
    st.floats(width=32).map(np.float32),
    st.integers(-128, 127).map(np.int8),
    st.floats(width=32).map(torch.tensor),
    st.integers(-5, 5).map(torch.tensor),
    st.just(object()),
)


@law(300, value=ANYTHING)
def test_a_number_is_one_or_is_refused_whatever_comes(value):
    for check, kind, least, most in (
        (lambda v: as_seed(v), int, 0, 2**64 - 1),
        (lambda v: as_count(v, "n"), int, 1, math.inf),
        (lambda v: as_number(v, "x", least=-10.0, most=1e9), float, -10.0, 1e9),
    ):
        try:
            number = check(value)
        except ArgumentError:
            pass
        else:
            assert type(number) is kind
            assert least <= number <= most
            assert number == kind(value)
            assert not isinstance(value, bool | str | bytes)


@law(150, exponent=st.integers(2, 10), phase=st.integers(1, 50), data=st.data())
def test_images_grow_by_doublings_and_never_shrink(exponent, phase, data):
    size = 2**exponent
    step = data.draw(st.integers(1, phases(size) * phase + 5))
    (side, share), (next_side, next_share) = schedule(step, size, phase), schedule(step + 1, size, phase)
    assert 4 <= side <= size
    assert 0.0 < share <= 1.0
    assert next_side in (side, 2 * side)
    assert next_side > side or next_share >= share
    if next_side > side:
        assert (share, next_share) == (1.0, 1.0 / phase)
    assert schedule(phases(size) * phase, size, phase) == (size, 1.0)


# ---- samples, files, tables


@law(150, n=st.integers(2, 60), seed=seeds, data=st.data())
def test_a_split_puts_each_sample_on_one_side(n, seed, data):
    held = data.draw(st.integers(1, n - 1))
    rows = torch.arange(n)
    whole = Data("rows", rows[:, None].float(), rows % 3, ("a", "b", "c"))
    train, test = whole.split(held, seed)
    assert (len(train), len(test)) == (n - held, held)
    assert sorted(torch.cat([train.samples, test.samples])[:, 0].tolist()) == rows.tolist()
    for part in (train, test):
        assert part.labels.equal(part.samples[:, 0].long() % 3)


@law(
    120,
    n=st.integers(1, 9),
    channels=st.sampled_from([1, 3]),
    height=st.integers(1, 9),
    width=st.integers(3, 9),
    columns=st.none() | st.integers(1, 9),
    gap=st.integers(0, 3),
    seed=seeds,
)
def test_bytes_of_pictures_come_back_from_samples_and_lie_on_a_sheet_in_order(
    n, channels, height, width, columns, gap, seed
):
    pixels = np.random.default_rng(seed).integers(0, 256, (n, channels, height, width), dtype=np.uint8)
    rgb = to_rgb(torch.from_numpy(pixels).float() / 127.5 - 1.0)
    assert (rgb == pixels.transpose(0, 2, 3, 1)).all()
    whole = sheet(rgb, columns, gap=gap)
    across = min(columns or math.ceil(math.sqrt(n)), n)
    assert whole.shape == (-(-n // across) * (height + gap) - gap, across * (width + gap) - gap, 3)
    for k in range(n):
        top, left = k // across * (height + gap), k % across * (width + gap)
        assert (whole[top : top + height, left : left + width] == rgb[k]).all()


@law(
    150,
    n=st.integers(2, 40),
    m=st.integers(1, 9),
    dim=st.integers(1, 12),
    seed=seeds,
    same=st.booleans(),
    data=st.data(),
)
def test_the_nearest_are_those_of_all_distances(n, m, dim, seed, same, data):
    points = normals(n, dim, seed=seed).float()
    queries = points if same else normals(m, dim, seed=seed ^ 1).float()
    k = data.draw(st.integers(1, n - same))
    found, index = nearest(queries, points, k, same=same)
    table = torch.cdist(queries.double(), points.double())
    if same:
        table.fill_diagonal_(torch.inf)
    torch.testing.assert_close(found.double(), table.sort(1).values[:, :k], rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(table.gather(1, index), found.double(), rtol=1e-4, atol=1e-4)


@law(100, n=st.integers(3, 30), m=st.integers(3, 30), dim=st.integers(1, 6), seed=seeds)
def test_a_distance_of_sets_has_no_direction_and_is_none_from_a_set_to_itself(n, m, dim, seed):
    a, b = normals(n, dim, seed=seed), 2.0 + normals(m, dim, seed=seed ^ 1)
    there, back = (lk.frechet_distance(*pair, features="numbers").distance for pair in ((a, b), (b, a)))
    assert there == pytest.approx(back, rel=1e-5, abs=1e-6)
    assert there > 0
    assert lk.frechet_distance(a, a, features="numbers").distance == pytest.approx(0.0, abs=1e-6)
    moved = lk.frechet_distance(a, a + 3.0, features="numbers").distance
    assert moved == pytest.approx(9.0 * dim, rel=1e-5)
    assert lk.sliced_wasserstein(a, a) == pytest.approx(0.0, abs=1e-6)
    assert lk.sliced_wasserstein(a, b) == pytest.approx(lk.sliced_wasserstein(b, a), rel=1e-6)


@law(30, n=st.integers(1, 20), dim=st.integers(1, 5), seed=seeds, drawn=st.booleans())
def test_a_quality_map_comes_back_from_its_file(n, dim, seed, drawn):
    prior = lk.Normal(dim)
    scored = lk.QualityMap.of(
        prior, prior.sample(n, seed=seed), normals(n, 1, seed=seed)[:, 0].float(), calibration(), seed
    )
    with tempfile.TemporaryDirectory() as folder:
        back = lk.load_quality(scored.save(Path(folder) / "map.npz"))
    assert back.latents.equal(scored.latents)
    for name in ("logits", "probability", "density_ratio", "typicality", "index"):
        assert getattr(back, name).equal(getattr(scored, name)), name
    assert (back.seed, back.prior, back.verdict) == (seed, prior, scored.verdict)


@lru_cache
def calibration():
    return calibrate_logits(normals(30, 1, seed=1)[:, 0] + 1.0, normals(30, 1, seed=2)[:, 0], method="logistic")


@law(30, n=st.integers(1, 20), dim=st.integers(1, 5), seed=seeds)
def test_a_projection_comes_back_from_its_file(n, dim, seed):
    rows = normals(n, dim, seed=seed).float()
    plane = lk.project(rows, "pca", seed=seed)
    with tempfile.TemporaryDirectory() as folder:
        back = lk.load_projection(plane.save(Path(folder) / "plane.npz"))
    assert back.points.equal(plane.points)
    assert back.features.equal(plane.features)
    assert (back.seed, back.method, back.verdict) == (seed, "pca", plane.verdict)
    assert back.transform(rows).equal(plane.transform(rows))
