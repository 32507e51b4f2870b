"""Routes on planes whose good region is known: round the hole, along the corridor, and honest where there is no way."""

import itertools
import math

import pytest
import torch

import latentkit as lk
from latentkit.errors import ArgumentError, CurveError, ShapeError
from latentkit.quality import QualityMap
from latentkit.routes import WAYS, compare_routes, curve_quality, route, ways_between
from latentkit.routes.smoothing import evenly, fewer, joined, pieces, spline

PLANE = lk.Normal(2)
IDENTITY = lk.wrap(lambda z: z, PLANE)
TURNS = torch.tensor([[-1.2, 1.2], [-1.2, -0.8], [1.2, -0.8], [1.2, 1.2]])


def annulus(x):
    return 4.0 - (x.norm(dim=1) - 1.5).square() / (2 * 0.15**2)


def to_corridor(x):
    """Return the distances (N,) from the middle line of a corridor that turns twice."""
    gaps = []
    for p, q in itertools.pairwise(TURNS):
        along = ((x - p) @ (q - p) / (q - p).square().sum()).clamp(0, 1)
        gaps.append((x - p - along[:, None] * (q - p)).norm(dim=1))
    return torch.stack(gaps).amin(0)


def corridor(x):
    return 3.0 - to_corridor(x).square() / (2 * 0.15**2)


def two_spots(x):
    left, right = (x + torch.tensor([1.2, 0.0])).norm(dim=1), (x - torch.tensor([1.2, 0.0])).norm(dim=1)
    return 4.0 - torch.minimum(left, right).square() / (2 * 0.15**2)


def mapped(log_ratio, n=3000):
    """Return the map of the plane by a critic that knows the ratio, with real samples of just that ratio."""
    z = PLANE.sample(100_000, seed=9)
    ratio = log_ratio(z).exp()
    chance = torch.rand(len(z), generator=torch.Generator().manual_seed(0))
    return lk.quality_map(IDENTITY, log_ratio, z[chance < ratio / ratio.max()][:3000], n=n, seed=3)


@pytest.fixture(scope="module")
def maps():
    return {log_ratio: mapped(log_ratio) for log_ratio in (annulus, corridor, two_spots)}


ROUND = (annulus, torch.tensor([1.5, 0.0]), torch.tensor([-1.5, 0.1]))
BENT = (corridor, torch.tensor([-1.2, 1.0]), torch.tensor([1.2, 1.0]))


@pytest.mark.parametrize(("log_ratio", "a", "b"), [ROUND, BENT], ids=["annulus", "corridor"])
def test_a_route_stays_where_samples_are_good_and_the_line_does_not(maps, log_ratio, a, b):
    quality = maps[log_ratio]
    found = route(quality, IDENTITY, log_ratio, a, b)
    assert not found.crosses
    assert "within the good region" in found.note
    along = found.steps(300)
    probability = quality.calibration.probability(log_ratio(along))
    assert probability.min() > quality.threshold
    assert probability.min() == pytest.approx(found.probability.min().item(), abs=0.02)
    assert quality.calibration.probability(log_ratio(lk.lerp(a, b).steps(300))).min() < 0.01
    if log_ratio is annulus:
        assert (along.norm(dim=1) - 1.5).abs().max() < 0.4
        assert found.steps(300).diff(dim=0).norm(dim=1).sum() == pytest.approx(1.5 * math.pi, rel=0.1)
    else:
        assert to_corridor(along).max() < 0.4
        assert (torch.cdist(TURNS[1:3], along).amin(1) < 0.6).all(), "it goes round both corners"


@pytest.mark.parametrize(("log_ratio", "a", "b"), [ROUND, BENT], ids=["annulus", "corridor"])
def test_a_route_is_a_curve_with_exact_ends_whose_frames_move_evenly(maps, log_ratio, a, b):
    found = route(maps[log_ratio], IDENTITY, log_ratio, a, b)
    assert isinstance(found, lk.Curve)
    assert found([0.0, 1.0]).equal(torch.stack([a, b]))
    assert found.nodes[[0, -1]].equal(torch.stack([a, b]))
    frames = found.steps(200)
    steps = frames.diff(dim=0).norm(dim=1)
    assert steps.min() > 0.5 * steps.mean()
    assert steps.max() < 1.5 * steps.mean()
    assert 2 <= found.knots < len(found.nodes), "smoothed"
    again = route(maps[log_ratio], IDENTITY, log_ratio, a, b, batch_size=7)
    torch.testing.assert_close(again.steps(200), frames)
    # No margin at all: the worst sample may not be worse than what was seen on the way.
    strict = route(maps[log_ratio], IDENTITY, log_ratio, a, b, margin=0.0)
    assert strict.knots >= found.knots


def test_ends_may_be_rows_of_the_map(maps):
    quality = maps[annulus]
    good = (quality.probability > 0.8).nonzero()[:, 0]
    i, j = int(good[0]), int(good[5])
    found = route(quality, IDENTITY, annulus, i, j)
    ends = quality.latents_of(torch.tensor([i, j]))
    assert found([0.0, 1.0]).equal(ends)
    assert found.steps(50).equal(route(quality, IDENTITY, annulus, ends[0], ends[1]).steps(50))
    assert (found.nodes.diff(dim=0).norm(dim=1) > 0).all()
    backwards = route(quality, IDENTITY, annulus, j, i)
    assert len(backwards.nodes) == len(found.nodes)


def test_between_islands_it_takes_the_best_way_and_says_so(maps):
    quality = maps[two_spots]
    a, b = torch.tensor([-1.2, 0.0]), torch.tensor([1.2, 0.0])
    found = route(quality, IDENTITY, two_spots, a, b)
    assert len(quality.islands()) == 2
    assert found.crosses
    assert "do not hang together" in found.note
    assert found([0.0, 1.0]).equal(torch.stack([a, b]))
    inside = route(quality, IDENTITY, two_spots, a, a + 0.1)
    assert not inside.crosses


def test_it_takes_the_pass_whose_worst_sample_is_best():
    """Two passes lead between the spots, one higher than the other and the longer one."""

    def passes(x):
        spots = 3.0 - torch.minimum((x[:, 0] - 1.2).abs(), (x[:, 0] + 1.2).abs()).square() / 0.05
        high = 0.5 - (x[:, 1] - 1.0).square() / 0.05
        low = -1.5 - (x[:, 1] + 0.2).square() / 0.05
        return torch.maximum(spots, torch.maximum(high, low)).clamp(min=-6.0)

    quality = mapped(passes)
    found = route(quality, IDENTITY, passes, torch.tensor([-1.2, -0.2]), torch.tensor([1.2, -0.2]), threshold=0.95)
    assert found.crosses
    middle = found.steps(300)
    middle = middle[middle[:, 0].abs() < 0.3]
    assert (middle[:, 1] - 1.0).abs().max() < 0.5


def test_the_table_has_every_curve_and_the_route_is_best(maps):
    log_ratio, a, b = BENT
    rows = {row.name: row for row in compare_routes(maps[log_ratio], IDENTITY, log_ratio, a, b)}
    assert list(rows) == ["route", "lerp", "slerp", "prior-matched", "geodesic"]
    best = rows.pop("route")
    for row in rows.values():
        assert best.least_probability > row.least_probability + 0.3
        assert best.mean_probability > row.mean_probability + 0.3
        # Samples are latents here, so the straight line is the shortest.
        assert row.length >= (a - b).norm().item() * (1 - 1e-6)
    assert rows["geodesic"].length == pytest.approx(rows["lerp"].length, rel=1e-4)
    assert best.length > rows["lerp"].length
    assert rows["lerp"].worst_jump == pytest.approx(1.0, abs=1e-3)
    assert best.worst_jump < 1.1
    assert 0.0 <= best.least_typicality <= best.mean_typicality <= 1.0


def test_a_curve_that_cannot_be_made_says_why(maps):
    a = torch.tensor([1.5, 0.0])
    rows = {row.name: row for row in compare_routes(maps[annulus], IDENTITY, annulus, a, -a)}
    for name in ("slerp", "prior-matched"):
        assert math.isnan(rows[name].length)
        assert "opposite" in rows[name].note
    assert rows["lerp"].length == pytest.approx(3.0, rel=1e-5)
    assert not math.isnan(rows["route"].least_probability)


def test_what_is_measured_along_a_curve_is_what_is_there(maps):
    quality, line = maps[annulus], lk.lerp(torch.tensor([1.0, 0.0]), torch.tensor([2.0, 0.0]))
    row = curve_quality(quality, IDENTITY, annulus, line, name="out", steps=21)
    z = line.steps(21)
    probability = quality.calibration.probability(annulus(z))
    assert row.name == "out"
    assert row.mean_probability == pytest.approx(probability.mean().item())
    assert row.least_probability == pytest.approx(probability.min().item())
    assert row.length == pytest.approx(1.0, rel=1e-5)
    assert row.least_typicality == pytest.approx(PLANE.typicality(z).min().item())


def test_without_a_map_a_curve_has_all_but_probabilities(maps):
    quality, line = maps[annulus], lk.lerp(torch.tensor([1.0, 0.0]), torch.tensor([2.0, 0.0]))
    full = curve_quality(quality, IDENTITY, annulus, line, name="out", steps=21)
    bare = curve_quality(None, IDENTITY, None, line, name="out", steps=21)
    assert math.isnan(bare.mean_probability)
    assert math.isnan(bare.least_probability)
    assert not bare.missing
    assert (bare.length, bare.worst_jump) == (full.length, full.worst_jump)
    assert (bare.mean_typicality, bare.least_typicality) == (full.mean_typicality, full.least_typicality)
    for half in ((quality, IDENTITY, None), (None, IDENTITY, annulus)):
        with pytest.raises(ArgumentError, match="go together"):
            curve_quality(*half, line, name="out")


def test_all_ways_have_their_ends_or_a_reason(maps):
    a, b = ROUND[1:]
    found = ways_between(IDENTITY, a, b, quality=maps[annulus], critic=annulus)
    assert tuple(found) == WAYS
    assert all(curve([0.0, 1.0]).equal(torch.stack([a, b])) for curve in found.values())
    again = ways_between(IDENTITY, a, b, names=("route", "lerp"), way=found["route"])
    assert tuple(again) == ("route", "lerp")
    assert again["route"] is found["route"]
    assert "opposite" in ways_between(IDENTITY, a, -a, names=("slerp",))["slerp"]
    with pytest.raises(ArgumentError, match="a route needs a quality map"):
        ways_between(IDENTITY, a, b)


@pytest.mark.parametrize(
    "prior", [lk.Normal(6, 1.0, 2.0), lk.Sphere(6), lk.Uniform(6)], ids=["normal", "sphere", "uniform"]
)
def test_routes_keep_to_the_prior(prior):
    generator = lk.wrap(lambda z: z[:, :3] * 2.0, prior)
    critic = lambda x: 0.5 * x[:, 0]  # noqa: E731 - a critic is a function
    real = generator(prior.sample(2000, seed=1)) + torch.tensor([0.6, 0.0, 0.0])
    quality = lk.quality_map(generator, critic, real, n=500, seed=2)
    best = quality.top(0.3).index[[3, 90]].tolist()
    found = route(quality, generator, critic, *best)
    z = found.steps(100)
    if isinstance(prior, lk.Uniform):
        assert z.min() >= prior.low
        assert z.max() <= prior.high
    elif isinstance(prior, lk.Sphere):
        torch.testing.assert_close(z.norm(dim=1), torch.full((100,), float(prior.radius)))
    else:
        ends = (found.nodes - prior.mean).norm(dim=1)
        norms = (z - prior.mean).norm(dim=1)
        assert norms.min() > 0.8 * ends.min()
        assert norms.max() < 1.05 * ends.max()
    assert found([0.0, 1.0]).equal(quality.latents_of(torch.tensor(best)))


def test_smoothing_goes_through_its_knots(draw):
    knots = 2.0 * draw(6, 5)
    for prior in (lk.Normal(5), lk.Uniform(5, -9.0, 9.0)):
        curve = pieces(prior, knots)
        torch.testing.assert_close(curve.steps(6), knots)
        near = spline(prior, knots).steps(2001)
        assert torch.cdist(knots, near).amin(1).max() < 0.02
        even = evenly(curve, lambda z: z)
        assert even([0.0, 1.0]).equal(knots[[0, -1]])
        steps = even.steps(1000).diff(dim=0).norm(dim=1)
        assert steps.max() < 2.0 * steps.mean()
        assert steps.min() > 0.5 * steps.mean()
    # The norm between neighbours is between theirs.
    a, b = draw(50, 40, seed=1), draw(50, 40, seed=2)
    for t in (0.25, 0.5, 0.9):
        wanted = (1 - t) * a.norm(dim=1) + t * b.norm(dim=1)
        torch.testing.assert_close(joined(lk.Normal(40), a, b, t).norm(dim=1), wanted)
    # Past the mean a line stays one: nothing jumps.
    line = torch.stack([joined(lk.Normal(2), a[:1, :2], -a[:1, :2], t)[0] for t in torch.linspace(0, 1, 101).tolist()])
    assert line.diff(dim=0).norm(dim=1).max() < 0.1 * a[0, :2].norm()


def test_fewer_knots_come_first():
    assert fewer(2) == [2]
    assert fewer(3) == [2, 3]
    assert fewer(60) == [2, 3, 5, 9, 17, 33, 60]


def test_bad_calls_say_what_was_wanted(maps):
    quality = maps[annulus]
    a, b = ROUND[1:]
    bare = QualityMap.of(PLANE, quality.latents, quality.logits, quality.calibration, 3)
    for call, error, text in (
        (lambda: route(quality, IDENTITY, annulus, a, a), CurveError, "the ends are equal"),
        (lambda: route(quality, IDENTITY, annulus, a, torch.zeros(3)), ShapeError, r"the second end must be \(2,\)"),
        (lambda: route(quality, IDENTITY, annulus, 3000, a), ArgumentError, "the first end must be a latent"),
        (lambda: route(quality, IDENTITY, annulus, a, b, margin=-1), ArgumentError, "margin"),
        (lambda: route(quality, IDENTITY, annulus, a, b, threshold=2), ArgumentError, "threshold"),
        (lambda: route(bare, IDENTITY, annulus, a, b, threshold=0.5), ArgumentError, "no chart"),
        (lambda: route(quality, IDENTITY, annulus, a, b, features=lambda x: x[:, :1]), ArgumentError, "features="),
        (lambda: compare_routes(quality, IDENTITY, annulus, 5, 5), CurveError, "the ends are equal"),
        (lambda: compare_routes(quality, IDENTITY, annulus, 5, 6, steps=1), ArgumentError, "steps"),
    ):
        with pytest.raises(error, match=text):
            call()
