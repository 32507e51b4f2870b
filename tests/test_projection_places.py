"""Places of new rows and of curves in a layout that is there, and layouts as files."""

import numpy as np
import pytest
import torch

import latentkit as lk
from latentkit.errors import CheckpointError, NonFiniteError, OutputError, ShapeError
from latentkit.projection import NearestRows, Projection, load_projection

METHODS = pytest.mark.parametrize("method", ["umap", "pca", "tsne"])
CURVED = pytest.mark.parametrize("method", ["umap", "tsne"])


@pytest.fixture(scope="module")
def planes():
    """Return planes(method): a layout of three groups far apart in 8 dimensions, with 30 copies."""
    draw = torch.randn(120, 8, generator=torch.Generator().manual_seed(0))
    rows = draw + 20.0 * torch.eye(8)[torch.arange(120) % 3]
    rows = torch.cat([rows, rows[:30]])
    made = {}

    def _plane(method):
        if method not in made:
            made[method] = lk.project(rows, method, seed=3, of="three groups")
        return made[method]

    return _plane


def by_hand(rows, points):
    """A layout whose places are given."""
    every = torch.arange(len(rows))
    return Projection(points, rows, "umap", 0, 1.0, 1.0, 15, every, "", "rows")


@pytest.fixture
def torn():
    """A line of 201 rows in 3 dimensions that a layout has torn in the middle, and moved apart."""
    t = torch.linspace(0, 1, 201)
    rows = torch.stack([t, torch.zeros(201), torch.zeros(201)], 1)
    return by_hand(rows, torch.stack([10 * t + 50 * (t > 0.5), t.sin()], 1))


# ---- new rows


@METHODS
def test_rows_of_the_fit_keep_their_places(method, planes):
    plane = planes(method)
    placed = plane.transform(plane.features)
    torch.testing.assert_close(placed, plane.points, rtol=0, atol=0 if method != "pca" else 1e-5)
    order = torch.arange(149, -1, -1)
    torch.testing.assert_close(plane.transform(plane.features[order]), placed[order])


@METHODS
def test_new_rows_land_in_their_group_one_by_one_or_together(method, planes, draw):
    plane, group = planes(method), torch.arange(60) % 3
    new = draw(60, 8, seed=5) + 20.0 * torch.eye(8)[group]
    placed = plane.transform(new)
    torch.testing.assert_close(placed, torch.cat([plane.transform(row[None]) for row in new]), atol=1e-4, rtol=1e-4)
    home = torch.cdist(placed, plane.points).argmin(1)
    assert (home % 120 % 3 == group).all()


@CURVED
def test_new_rows_lie_within_a_curved_layout(method, planes, draw):
    plane = planes(method)
    placed = plane.transform(100.0 * draw(60, 8))
    low, high = plane.points.min(0).values, plane.points.max(0).values
    assert ((placed >= low - 1e-4) & (placed <= high + 1e-4)).all(), "a mean of places lies among them"


def test_a_pca_is_continued_as_the_linear_map_that_it_is(planes, draw):
    plane = planes("pca")
    a, b = 100 * draw(20, 8), 100 * draw(20, 8, seed=1)
    torch.testing.assert_close(
        plane.transform(3 * a - 2 * b), 3 * plane.transform(a) - 2 * plane.transform(b), rtol=1e-3, atol=1e-3
    )


def test_no_new_row_lies_in_a_gap_that_the_layout_made(torn):
    x = torch.linspace(0, 1, 1003)
    placed = torn.transform(torch.stack([x, torch.zeros(1003), torch.zeros(1003)], 1))[:, 0]
    assert not ((placed > 5.1) & (placed < 54.9)).any()
    torch.testing.assert_close(placed[x < 0.45], 10 * x[x < 0.45], atol=0.2, rtol=0)
    torch.testing.assert_close(placed[x > 0.55], 50 + 10 * x[x > 0.55], atol=0.2, rtol=0)


@METHODS
def test_rows_that_are_no_rows_of_this_kind(method, planes):
    with pytest.raises(ShapeError, match="rows must have 8 values, got 2; it is a projection of three groups"):
        planes(method).transform(torch.zeros(4, 2))
    with pytest.raises(NonFiniteError, match=r"1 of 4 rows \(2\)"):
        planes(method).transform_curve(torch.zeros(4, 8).index_fill(0, torch.tensor(2), float("nan")))
    with pytest.raises(ShapeError, match="at least one row"):
        planes(method).transform_curve(torch.zeros(0, 8))


# ---- curves


@pytest.mark.parametrize("steps", [90, 400, 2000])
def test_a_curve_over_a_planted_tear_jumps_once_and_there(torn, steps):
    x = torch.linspace(0, 1, steps + 1)
    curve = torch.stack([x, torch.zeros_like(x), torch.zeros_like(x)], 1)
    points, marked = torn.transform_curve(curve)
    assert points.shape == (steps + 1, 2)
    assert marked.shape == (steps,)
    assert marked.sum() == 1
    at = int(marked.nonzero())
    assert x[at] - 0.02 < 0.5 < x[at + 1] + 0.02
    backwards = torn.transform_curve(curve.flip(0))
    assert backwards.torn.equal(marked.flip(0))


def test_a_curve_that_itself_jumps_is_not_called_torn(torn):
    leap = torn.transform_curve(torn.features[[10, 12, 190, 192]])
    assert leap.points[2, 0] - leap.points[1, 0] > 50
    assert not leap.torn.any()


def test_where_nothing_is_torn_nothing_is_marked(torn, planes):
    whole = by_hand(torn.features, torn.features[:, :2] * 10)
    assert not whole.transform_curve(torn.features).torn.any()
    assert not torn.transform_curve(torn.features[:100]).torn.any()
    flat = planes("pca").transform_curve(planes("pca").features)
    assert not flat.torn.any()
    assert planes("umap").transform_curve(planes("umap").features[:1]).torn.shape == (0,)


def test_a_walk_from_group_to_group_is_torn_where_the_groups_part(planes):
    """The layout has a gap of its own making where the features only have a long, even way."""
    plane = planes("umap")
    ends = plane.features[[0, 1]]
    t = torch.linspace(0, 1, 200)[:, None]
    found = plane.transform_curve((1 - t) * ends[0] + t * ends[1])
    assert found.torn.sum() == 1
    assert 60 < int(found.torn.nonzero()) < 140
    torch.testing.assert_close(found.points[[0, -1]], plane.points[[0, 1]])


# ---- files


@METHODS
def test_a_saved_projection_is_the_same_and_places_rows_the_same(method, planes, tmp_path, draw):
    plane = planes(method)
    again = load_projection(plane.save(tmp_path / "a folder" / "plane.npz"))
    for name in ("points", "features", "copy_of", "fitted", "trust_of_each"):
        assert getattr(again, name).equal(getattr(plane, name))
    for name in ("method", "seed", "trustworthiness", "preservation", "neighbours", "note", "of", "verdict"):
        assert getattr(again, name) == getattr(plane, name)
    assert repr(again) == repr(plane)
    new = 10 * draw(50, 8)
    assert again.transform(new).equal(plane.transform(new))
    assert all(a.equal(b) for a, b in zip(again.transform_curve(new), plane.transform_curve(new), strict=True))


def test_known_neighbours_are_saved_with_it(tmp_path, draw):
    plane = lk.project(draw(60, 4).double(), seed=2**64 - 1)
    again = load_projection(plane.save(tmp_path / "plane.npz"))
    assert isinstance(again.knn, NearestRows)
    assert again.knn.indices.equal(plane.knn.indices)
    assert again.knn.distances.equal(plane.knn.distances)
    assert again.features.dtype == torch.float64
    assert again.seed == 2**64 - 1


def test_any_reader_can_use_the_file(planes, tmp_path):
    with np.load(planes("pca").save(tmp_path / "plane.npz"), allow_pickle=False) as arrays:
        np.testing.assert_array_equal(arrays["points"], planes("pca").points)
        assert arrays["method"] == "pca"
        assert arrays["seed"] == 3
        assert arrays["trustworthiness"] == planes("pca").trustworthiness


def changed(path, **arrays):
    with np.load(path) as stored:
        values = {**stored, **arrays}
    np.savez(path, **{name: value for name, value in values.items() if value is not None})


@pytest.mark.parametrize(
    ("damage", "text"),
    [
        (lambda p: p.unlink(), "there is no file"),
        (lambda p: p.write_bytes(p.read_bytes()[: p.stat().st_size // 2]), "damaged"),
        (lambda p: p.write_bytes(b""), "damaged or no projection"),
        (lambda p: np.savez(p, points=np.zeros((3, 2))), "no projection"),
        (lambda p: changed(p, about=np.array('{"kind": "latentkit projection", "format": 2}')), "update latentkit"),
        (lambda p: changed(p, about=np.array('{"kind": "latentkit quality map", "format": 1}')), "no projection"),
        (lambda p: changed(p, features=None), "damaged projection: 'features'"),
        (lambda p: changed(p, points=np.zeros((7, 2), np.float32)), "do not fit together"),
        (lambda p: changed(p, copy_of=np.full(150, 149)), "do not fit together"),
        (lambda p: changed(p, method=np.array("mds")), "do not fit together"),
        (lambda p: changed(p, axes=np.zeros((3, 2))), "do not fit together"),
        (lambda p: changed(p, points=np.array([{}] * 150, dtype=object)), "damaged"),
    ],
)
def test_a_file_that_is_no_whole_projection_says_why(damage, text, planes, tmp_path):
    path = planes("pca").save(tmp_path / "plane.npz")
    damage(path)
    with pytest.raises(CheckpointError, match=text):
        load_projection(path)


def test_a_file_that_cannot_be_written_leaves_what_was_there(planes, tmp_path):
    (tmp_path / "file").write_text("mine")
    with pytest.raises(OutputError):
        planes("pca").save(tmp_path / "file" / "plane.npz")
    assert (tmp_path / "file").read_text() == "mine"
