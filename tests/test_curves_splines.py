import math

import pytest
import torch

import latentkit as lk
from latentkit.curves import anchor_grid, spline
from latentkit.curves.splines import cardinal_weights
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
every_prior = pytest.mark.parametrize("prior", PRIORS.values(), ids=PRIORS)
open_and_closed = pytest.mark.parametrize("closed", [False, True], ids=["open", "closed"])


@every_prior
@open_and_closed
@pytest.mark.parametrize("dtype", [torch.float16, torch.float32, torch.float64])
@pytest.mark.parametrize(("count", "n"), [(3, 10), (4, 1), (7, 5)])
def test_a_spline_shows_every_keyframe_exactly(prior, closed, dtype, count, n):
    keys = prior.sample(count, seed=0).to(dtype)
    curve = spline(keys, prior=prior, closed=closed)
    frames = curve.steps_per_segment(n)
    assert len(frames) == (count * n if closed else (count - 1) * n + 1)
    assert frames.dtype == dtype
    assert frames.isfinite().all()
    assert frames[::n].equal(keys)
    assert curve(1.0)[0].equal(keys[0] if closed else keys[-1])
    assert (curve.closed, curve.prior) == (closed, prior)
    if dtype == torch.float64:
        assert len(frames.unique(dim=0)) == len(frames)


@pytest.mark.parametrize("closed", [False, True])
def test_the_weights_add_up_to_one_and_are_the_identity_at_the_keys(closed):
    places = torch.linspace(0, 5 if closed else 4, 201, dtype=torch.float64)
    weights = cardinal_weights(places, 5, closed=closed)
    torch.testing.assert_close(weights.sum(1), torch.ones(201).double())
    assert cardinal_weights(torch.arange(5.0).double(), 5, closed=closed).equal(torch.eye(5).double())
    # Twice differentiable: the second difference has no step at a key, where the third one may.
    h = float(places[1])
    assert (weights.diff(n=3, dim=0) / h**2).abs().max() < 20 * h


def test_the_weights_reproduce_a_straight_line_and_a_natural_end():
    places = torch.linspace(0, 4, 41, dtype=torch.float64)
    weights = cardinal_weights(places, 5, closed=False)
    torch.testing.assert_close(weights @ torch.arange(5).double(), places)
    bends = cardinal_weights(torch.tensor([0.0, 1e-3, 2e-3]).double(), 5, closed=False).diff(n=2, dim=0) / 1e-6
    assert bends.abs().max() < 0.02, "the curvature of a natural spline vanishes at its ends"


@every_prior
def test_two_keys_are_interpolated(prior):
    a, b = prior.sample(2, seed=0)
    t = torch.linspace(0, 1, 9)
    assert spline(torch.stack([a, b]), prior=prior)(t).equal(lk.interpolate(a, b, prior)(t))


@every_prior
def test_a_batch_is_the_stack_of_single_splines(prior):
    keys = prior.sample(20, seed=0).double().reshape(5, 4, 6)
    t = torch.linspace(0, 1, 13)
    for make in (spline, lk.tour, lk.loop):
        whole = make(keys, prior=prior)(t)
        assert whole.shape == (13, 4, 6)
        singles = torch.stack([make(keys[:, i], prior=prior)(t) for i in range(4)], dim=1)
        torch.testing.assert_close(whole, singles, rtol=0, atol=1e-12)


@every_prior
def test_reversed_keys_give_the_reversed_spline(prior):
    keys = prior.sample(5, seed=0).double()
    t = torch.linspace(0, 1, 23, dtype=torch.float64)
    torch.testing.assert_close(spline(keys.flip(0), prior=prior)(t), spline(keys, prior=prior)(1 - t))


@every_prior
def test_a_closed_spline_has_no_seam(prior):
    keys = prior.sample(4, seed=0).double()
    curve = spline(keys, prior=prior, closed=True)
    film = curve.steps_per_segment(10)
    turned = spline(keys.roll(-1, 0), prior=prior, closed=True).steps_per_segment(10)
    torch.testing.assert_close(turned, film.roll(-10, 0), rtol=0, atol=1e-12)
    steps = normal_scores(prior, torch.cat([film, film[:1]])).diff(dim=0).norm(dim=1)
    assert steps[-1] <= steps[:-1].max()
    # Velocity and acceleration go on across the seam, as they do across any other time.
    h = 1e-4
    before, at, after = curve([1 - h, 0.0, h])
    velocity, bend = (after - before).norm() / (2 * h), (after - 2 * at + before).norm() / h
    assert bend < 0.01 * velocity


def test_a_tour_turns_at_its_keys_where_a_spline_does_not():
    keys, h = lk.Normal(6).sample(5, seed=0).double(), 1e-4
    turns = {}
    for make in (lk.tour, spline):
        before, at, after = make(keys)([0.5 - h, 0.5, 0.5 + h])
        turns[make] = ((after - 2 * at + before).norm() / (after - before).norm()).item()
    assert turns[spline] < 0.01 < 0.1 < turns[lk.tour]


def test_edits_of_one_latent_are_joined_without_a_bulge():
    z, v = lk.Normal(64).sample(2, seed=4).double()
    keys = torch.stack([z + s * v / v.norm() for s in (-3.0, -1.0, 1.0, 3.0)])
    norms = spline(keys).steps(61).norm(dim=1)
    lengths = keys.norm(dim=1)
    assert 0.97 * lengths.min() < norms.min()
    assert norms.max() < 1.03 * lengths.max()


def test_a_class_goes_by_itself_through_a_spline():
    prior = Joint(lk.Normal(4), OneHot(3))
    keys = prior.sample(4, seed=0)
    keys[:, 4:] = torch.eye(3)[[0, 1, 1, 2]]
    frames = spline(keys, prior=prior).steps_per_segment(8)
    torch.testing.assert_close(frames[:, 4:].sum(1), torch.ones(len(frames)))
    assert (frames[:, 4:] >= 0).all()
    torch.testing.assert_close(frames[:, :4], spline(keys[:, :4]).steps_per_segment(8))


KEYS = lk.Normal(4).sample(4, seed=0)


@pytest.mark.parametrize(
    ("call", "error", "text"),
    [
        (lambda: spline(KEYS[:1]), CurveError, "a spline needs at least 2 keyframes, got 1"),
        (lambda: spline(KEYS[:2], closed=True), CurveError, "a closed spline needs at least 3 keyframes, got 2"),
        (lambda: spline(KEYS[[0, 1, 1]]), CurveError, "keyframes 1 and 2 are equal.*leave one out"),
        (lambda: spline(KEYS[[0, 1, 2, 0]], closed=True), CurveError, "keyframes 3 and 0 are equal"),
        (lambda: spline(torch.stack([KEYS[0], KEYS[1], -KEYS[1]])), CurveError, "keyframes 1 and 2: .* opposite"),
        (lambda: spline(KEYS[0]), ShapeError, r"keyframes must be \(N, D\), got \(4,\)"),
        (lambda: spline(KEYS, prior=lk.Normal(5)), ShapeError, r"keyframes must be \(N, 5\), got \(4, 4\)"),
        (lambda: spline(KEYS / 0), NonFiniteError, "keyframes must be finite"),
        (lambda: spline(KEYS).steps_per_segment(0), ArgumentError, "at least 1, got 0"),
        (lambda: anchor_grid(KEYS[:2], 3), CurveError, "3 or 4 anchors, got 2"),
        (lambda: anchor_grid(KEYS[0], 3), ShapeError, r"anchors must be \(N, D\), got \(4,\)"),
        (lambda: anchor_grid(KEYS, 1), ArgumentError, "size must be a whole number of at least 2, got 1"),
        (lambda: anchor_grid(KEYS, (3, 1)), ArgumentError, "columns must be a whole number of at least 2, got 1"),
        (lambda: anchor_grid(KEYS, (3, 3, 3)), ArgumentError, r"a number or \(rows, columns\), got \(3, 3, 3\)"),
        (lambda: anchor_grid(KEYS[:3], (3, 4)), ArgumentError, "a triangle has as many rows as columns"),
        (lambda: anchor_grid(KEYS, 2.5), ArgumentError, "size must be a whole number, got 2.5"),
        (lambda: anchor_grid(KEYS[[0, 1, 2, 2]], 3), CurveError, "anchors 2 and 3 are equal"),
        (lambda: anchor_grid(torch.stack([KEYS[0], KEYS[1], -KEYS[0]]), 3), CurveError, "anchors 0 and 2 are opposite"),
    ],
)
def test_bad_keys_and_anchors_say_what_was_wanted(call, error, text):
    with pytest.raises(LatentkitError, match=text) as caught:
        call()
    assert isinstance(caught.value, error)


def test_on_a_sphere_anchors_that_cancel_are_named():
    a, b = torch.eye(2)
    with pytest.raises(CurveError, match="cancel out"):
        anchor_grid(torch.stack([a, b, -b, -a]), 3, prior=lk.Sphere(2))


# ---- grids


@every_prior
@pytest.mark.parametrize("dtype", [torch.float16, torch.float32, torch.float64])
def test_the_corners_of_a_grid_are_its_anchors(prior, dtype):
    anchors = prior.sample(4, seed=0).to(dtype)
    grid = anchor_grid(anchors, (3, 5), prior=prior)
    assert grid.latents.shape == (15, 6)
    assert grid.latents.dtype == dtype
    assert grid.latents[[0, 4, 10, 14]].equal(anchors)
    assert (grid.row * 5 + grid.column).equal(torch.arange(15))
    triangle = anchor_grid(anchors[:3], 4, prior=prior)
    assert triangle.latents[[0, 6, 9]].equal(anchors[:3])
    assert triangle.row.tolist() == [0, 1, 1, 2, 2, 2, 3, 3, 3, 3]
    assert triangle.column.tolist() == [0, 0, 1, 0, 1, 2, 0, 1, 2, 3]
    for found in (grid, triangle):
        assert (found.rows, found.columns) == (int(found.row.max()) + 1, int(found.column.max()) + 1)
        torch.testing.assert_close(found.weights.sum(1), torch.ones(len(found.weights)).double())
        assert (found.weights >= 0).all()


def test_a_side_of_a_gaussian_grid_is_the_curve_between_its_anchors():
    anchors = lk.Normal(6).sample(4, seed=0).double()
    grid = anchor_grid(anchors, 7)
    side = lambda k: grid.latents[k]  # noqa: E731
    torch.testing.assert_close(side(grid.row == 0), lk.interpolate(anchors[0], anchors[1]).steps(7))
    torch.testing.assert_close(side(grid.column == 6), lk.interpolate(anchors[1], anchors[3]).steps(7))
    triangle = anchor_grid(anchors[:3], 7)
    slope = triangle.latents[triangle.row == triangle.column]
    torch.testing.assert_close(slope, lk.interpolate(anchors[0], anchors[2]).steps(7))


def test_turning_the_anchors_turns_the_grid():
    anchors = lk.Normal(6).sample(4, seed=0).double()
    grid = anchor_grid(anchors, 5).latents.reshape(5, 5, 6)
    mirrored = anchor_grid(anchors[[1, 0, 3, 2]], 5).latents.reshape(5, 5, 6)
    torch.testing.assert_close(mirrored, grid.flip(1))
    transposed = anchor_grid(anchors[[0, 2, 1, 3]], 5).latents.reshape(5, 5, 6)
    torch.testing.assert_close(transposed, grid.transpose(0, 1))


def test_the_middle_of_a_triangle_is_the_mean():
    anchors = lk.Normal(6).sample(3, seed=0).double()
    torch.testing.assert_close(anchor_grid(anchors, 4).latents[4], anchors.sum(0) / math.sqrt(3))
