import itertools

import pytest
import torch

import latentkit as lk
from latentkit.curves import (
    circle,
    ease_in,
    ease_in_out,
    ease_out,
    eased,
    eased_keys,
    joined_curves,
    random_loop,
    retimed,
    reversed_curve,
    smootherstep,
    smoothstep,
    spline,
    there_and_back,
)
from latentkit.errors import ArgumentError, CurveError, LatentkitError, NonFiniteError, ShapeError

KEYS = lk.Normal(6).sample(4, seed=0).double()
LINE = lk.lerp(torch.zeros(1).double(), torch.ones(1).double())
CURVES = {
    "interpolate": lk.interpolate(KEYS[0], KEYS[1]),
    "tour": lk.tour(KEYS),
    "loop": lk.loop(KEYS),
    "spline": spline(KEYS),
    "closed spline": spline(KEYS, closed=True),
    "circle": circle(KEYS[0], KEYS[1]),
    "random loop": random_loop(lk.Normal(6), seed=1),
    "batch": lk.interpolate(KEYS[:2], KEYS[2:]),
}
EASES = {f.__name__: f for f in (smoothstep, smootherstep, ease_in, ease_out, ease_in_out)}
every_curve = pytest.mark.parametrize("curve", CURVES.values(), ids=CURVES)
every_ease = pytest.mark.parametrize("ease", EASES.values(), ids=EASES)
TIMES = torch.linspace(0, 1, 101, dtype=torch.float64)


@every_ease
def test_an_ease_rises_from_0_to_1_at_the_stated_speeds(ease):
    s = ease(TIMES)
    assert s[0].abs() < 1e-12
    assert (s[-1] - 1).abs() < 1e-12
    assert (s.diff() > 0).all()
    h = 1e-4
    ends = ease(torch.tensor([0.0, h, 1 - h, 1.0]).double()).diff()[[0, 2]] / h
    at_rest = ends < 1e-2
    assert at_rest.tolist() == [ease is not ease_out, ease is not ease_in]


def test_eases_mirror_each_other():
    for ease in (smoothstep, smootherstep, ease_in_out):
        torch.testing.assert_close(ease(TIMES), 1 - ease(1 - TIMES))
    torch.testing.assert_close(ease_out(TIMES), 1 - ease_in(1 - TIMES))


@every_curve
@every_ease
def test_an_eased_curve_is_the_curve_at_eased_times(curve, ease):
    slow = eased(curve, ease)
    torch.testing.assert_close(slow(TIMES), curve(ease(TIMES).clamp(0, 1)))
    assert slow([0.0, 1.0]).equal(curve([0.0, 1.0]))
    assert (slow.closed, slow.dim, slow.prior, slow.kind) == (curve.closed, curve.dim, curve.prior, curve.kind)
    assert len(slow.steps(7)) == 7


@every_curve
@every_ease
def test_every_keyframe_keeps_its_time_and_is_slowed_down_at(curve, ease):
    slow = eased_keys(curve, ease)
    assert slow.segments == curve.segments
    assert slow.steps_per_segment(1).equal(curve.steps_per_segment(1))
    frames, pace = slow.steps_per_segment(4), ease(torch.arange(4).double() / 4)
    k = curve.segments - 1
    torch.testing.assert_close(frames[4 * k : 4 * k + 4], curve((k + pace) / curve.segments))


def test_an_ease_that_moves_the_keyframes_leaves_no_segments():
    assert eased(CURVES["tour"], ease_in).segments == 1
    assert eased(CURVES["circle"], smoothstep).segments == 1
    assert eased(lk.tour(KEYS[:3]), smoothstep).segments == 2, "halfway is halfway"


@every_curve
def test_retiming_is_undone_by_its_inverse(curve):
    times = torch.tensor([0.0, 0.1, 0.5, 0.9, 1.0]).double()
    place = torch.tensor([0.0, 0.3, 0.4, 0.5, 1.0]).double()
    way = retimed(curve, times, place)
    assert way(times).equal(curve(place))
    torch.testing.assert_close(way([0.3]), curve([0.35]))
    torch.testing.assert_close(retimed(way, place, times)(TIMES), curve(TIMES))
    assert (way.closed, way.dim, way.prior) == (curve.closed, curve.dim, curve.prior)


def test_retiming_by_the_distance_covered_gives_constant_speed():
    curve = eased(LINE, smootherstep)
    covered = curve(TIMES)[:, 0]
    even = retimed(curve, covered, TIMES)
    torch.testing.assert_close(even(TIMES)[:, 0], TIMES, rtol=0, atol=1e-3)


def test_retiming_skips_what_takes_no_time_and_stands_still_where_told():
    way = retimed(LINE, torch.tensor([0.0, 0.5, 0.5, 1.0]), torch.tensor([0.0, 0.2, 0.8, 1.0]))
    torch.testing.assert_close(
        way([0.25, 0.499999, 0.5, 0.75])[:, 0], torch.tensor([0.1, 0.2, 0.8, 0.9]).double(), rtol=0, atol=1e-6
    )
    last = retimed(LINE, torch.tensor([0.0, 1.0, 1.0]), torch.tensor([0.0, 0.2, 1.0]))
    assert last([1.0])[0] == 1.0
    still = retimed(LINE, torch.tensor([0.0, 0.3, 0.7, 1.0]), torch.tensor([0.0, 0.5, 0.5, 1.0]))
    assert still([0.31, 0.5, 0.69])[:, 0].tolist() == [0.5] * 3


@every_curve
def test_a_reversed_curve_runs_backwards(curve):
    back = reversed_curve(curve)
    torch.testing.assert_close(back(TIMES), curve(1 - TIMES))
    torch.testing.assert_close(reversed_curve(back)(TIMES), curve(TIMES))
    assert (back.segments, back.closed) == (curve.segments, curve.closed)


@every_curve
def test_there_and_back_closes_and_shows_the_end_once(curve):
    way = there_and_back(curve)
    assert way.closed
    frames = way.steps_per_segment(3)
    out = 3 * curve.segments
    assert len(frames) == 2 * out
    torch.testing.assert_close(frames[: out + 1], curve(torch.arange(out + 1).double() / out))
    torch.testing.assert_close(frames[out + 1 :], frames[1:out].flip(0))
    assert not frames[1].equal(frames[0])


def test_joined_pieces_are_the_tour():
    pieces = [lk.interpolate(a, b) for a, b in itertools.pairwise(KEYS)]
    whole = joined_curves(pieces)
    assert whole(TIMES).equal(lk.tour(KEYS)(TIMES))
    assert (whole.segments, whole.closed, whole.kind) == (3, False, "interpolate")
    there = joined_curves([*pieces, lk.interpolate(KEYS[3], KEYS[0])])
    assert there.closed
    assert there.steps_per_segment(5).equal(lk.loop(KEYS).steps_per_segment(5))


def test_joined_curves_have_time_by_their_segments_and_their_prior_if_one():
    both = joined_curves([lk.tour(KEYS[:3]), lk.lerp(KEYS[2], KEYS[3])])
    assert both.segments == 3
    assert both.kind == "tour + lerp"
    assert both.prior is None
    assert both.steps_per_segment(4)[::4].equal(KEYS)
    assert joined_curves([lk.tour(KEYS[:3]), lk.tour(KEYS[2:])]).prior == lk.Normal(6)
    batch = joined_curves([lk.lerp(KEYS[:2], KEYS[1:3]), lk.lerp(KEYS[1:3], KEYS[2:4])])
    assert batch(0.5)[0].equal(KEYS[1:3])
    assert batch(torch.empty(0)).shape == (0, 2, 6)


@pytest.mark.parametrize(
    ("call", "error", "text"),
    [
        (lambda: eased(LINE, 3), ArgumentError, "ease must be a function of times"),
        (lambda: eased(LINE, lambda t: 1 - t), ArgumentError, "begins at 1, not 0"),
        (lambda: eased(LINE, lambda t: 0.9 * t), ArgumentError, "ends at 0.9, not 1"),
        (lambda: eased(LINE, lambda t: t + 0.2 * torch.sin(6.2831853 * t)), ArgumentError, "but it (falls|leaves)"),
        (lambda: eased(LINE, lambda t: 2.7 * t**3 - 1.7 * t**2), ArgumentError, r"leaves \[0, 1\]"),
        (lambda: eased(LINE, lambda t: t / 0 * 0), ArgumentError, "is not finite"),
        (lambda: eased(LINE, lambda t: t[:-1]), ArgumentError, r"as many places as times, \(1001,\), got \(1000,\)"),
        (lambda: eased_keys(LINE, lambda t: t - 1), ArgumentError, "begins at -1, not 0"),
        (lambda: retimed(LINE, [0.0, 1.0], [0.0, 0.5, 1.0]), ShapeError, "one length, got 2 and 3"),
        (lambda: retimed(LINE, [0.0], [0.0]), ShapeError, r"times must be \(T,\) with at least 2 entries, got \(1,\)"),
        (lambda: retimed(LINE, [0.1, 1.0], [0.0, 1.0]), ArgumentError, "times must go from 0 to 1 .* got 0.1 to 1"),
        (lambda: retimed(LINE, [0.0, 1.0], [0.0, 0.9]), ArgumentError, "place must go from 0 to 1 .* got 0 to 0.9"),
        (lambda: retimed(LINE, [0, 0.6, 0.4, 1.0], [0, 0.1, 0.2, 1.0]), ArgumentError, "a fall after entry 1"),
        (lambda: retimed(LINE, [0.0, float("nan"), 1.0], [0.0, 0.5, 1.0]), NonFiniteError, "times must be finite"),
        (lambda: joined_curves([]), ArgumentError, "at least one curve, got none"),
        (lambda: joined_curves([LINE, LINE]), CurveError, "curve 1 does not begin where curve 0 ends"),
        (lambda: joined_curves([lk.loop(KEYS), LINE]), CurveError, "curve 0 is closed"),
        (lambda: joined_curves([LINE, lk.lerp(KEYS[0], KEYS[1])]), ShapeError, r"one shape, got \(1,\) and \(6,\)"),
    ],
)
def test_bad_timings_say_what_was_wanted(call, error, text):
    with pytest.raises(LatentkitError, match=text) as caught:
        call()
    assert isinstance(caught.value, error)
