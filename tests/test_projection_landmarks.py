"""Layouts of a subset of the rows, with all others placed among it, block by block."""

import numpy as np
import pytest
import torch

import latentkit as lk
from latentkit.errors import ArgumentError, CheckpointError
from latentkit.projection import Projection, faithfulness, load_projection, nearest_rows
from latentkit.projection.landmarks import FEWEST, MOST, landmark_limit
from latentkit.projection.sources import ArraySource

METHODS = pytest.mark.parametrize("method", ["umap", "pca", "tsne"])
FAST = pytest.mark.parametrize("method", ["umap", "pca"])
N, LANDMARKS = 600, 150


@pytest.fixture(scope="module")
def clouds():
    """600 rows in three groups far apart, and their groups."""
    draw = torch.randn(N, 8, generator=torch.Generator().manual_seed(0))
    group = torch.arange(N) % 3
    return draw + 20.0 * torch.eye(8)[group], group


@pytest.fixture(scope="module")
def planes(clouds):
    """Return planes(method): a layout of those rows by 150 landmarks."""
    made = {}

    def _plane(method):
        if method not in made:
            made[method] = lk.project(clouds[0], method, landmarks=LANDMARKS, seed=5)
        return made[method]

    return _plane


def same(one, other):
    return one.points.equal(other.points) and one.landmarks.equal(other.landmarks) and one.note == other.note


# ---- what is laid out, and what is placed


@METHODS
def test_landmarks_are_laid_out_as_if_they_were_all(method, planes, clouds):
    plane, rows = planes(method), clouds[0]
    assert plane.landmarks.shape == (LANDMARKS,)
    assert (plane.landmarks.diff() > 0).all()
    assert plane.features.equal(rows[plane.landmarks])
    assert plane.points.shape == (N, 2)
    alone = lk.project(rows[plane.landmarks], method, seed=5)
    assert plane.points[plane.landmarks].equal(alone.points)
    assert (plane.trustworthiness, plane.preservation) == (alone.trustworthiness, alone.preservation)
    assert plane.distinct == LANDMARKS
    assert plane.knn is None


@FAST
def test_as_many_landmarks_as_rows_or_more_change_nothing(method, clouds):
    rows = clouds[0][:90]
    plain = lk.project(rows, method)
    for landmarks in (90, 10**9):
        plane = lk.project(rows, method, landmarks=landmarks)
        assert plane.points.equal(plain.points)
        assert plane.landmarks is None
        assert plane.placed_trustworthiness is None
        assert plane.note == plain.note == ""


@METHODS
def test_every_row_is_where_transform_puts_it(method, planes, clouds):
    plane = planes(method)
    torch.testing.assert_close(plane.transform(clouds[0]), plane.points, atol=1e-4, rtol=1e-4)
    exact = 0 if method != "pca" else 1e-5
    torch.testing.assert_close(
        plane.transform(plane.features), plane.points[plane.landmarks], atol=exact, rtol=0, msg="landmarks keep places"
    )


@METHODS
def test_placed_rows_lie_in_their_own_group(method, planes, clouds):
    plane, group = planes(method), clouds[1]
    centres = torch.stack([plane.points[plane.landmarks[group[plane.landmarks] == g]].mean(0) for g in range(3)])
    assert (torch.cdist(plane.points, centres).argmin(1) == group).all()


@FAST
def test_copies_of_a_landmark_have_its_place_and_its_number(method, planes, clouds):
    rows = clouds[0]
    doubled = torch.cat([rows, rows.flip(0)])
    plane = lk.project(doubled, method, landmarks=300)
    first = plane.copy_of != torch.arange(2 * N)
    assert torch.isin(plane.copy_of[first], plane.landmarks).all()
    assert doubled[plane.copy_of].equal(doubled)
    assert plane.points.equal(plane.points[plane.copy_of])
    # Every copy of a landmark is found: it is the other half's row of the same values.
    twin = 2 * N - 1 - plane.landmarks
    assert plane.points[twin].equal(plane.points[plane.landmarks])
    assert f"{int(first.sum())} of 1200 rows are copies of landmarks and share their places." in plane.note


def test_the_note_says_how_many_were_placed_and_how_well(planes):
    plane = planes("umap")
    assert "450 of 600 rows were placed among 150 landmarks, not laid out (trustworthiness 0.9" in plane.verdict
    assert "placed" in repr(plane)


@METHODS
def test_the_placed_are_judged_among_the_landmarks_by_the_same_formula(method, planes, clouds):
    plane, rows = planes(method), clouds[0]
    others = torch.tensor(sorted(set(range(N)) - set(plane.landmarks.tolist())))
    order = torch.cat([plane.landmarks, others])
    asked = torch.arange(LANDMARKS, N)
    trust, kept = faithfulness(rows[order], plane.points[order], asked, k=15)
    assert plane.placed_trustworthiness == pytest.approx(float(trust.mean()), abs=1e-6)
    assert plane.placed_preservation == pytest.approx(float(kept.mean()), abs=1e-6)


def test_a_picture_whose_placed_rows_are_noise_shows_nothing(planes):
    plane = planes("umap")
    doubtful = Projection(**{**vars_of(plane), "placed_trustworthiness": 0.6})
    assert not plane.shows_nothing
    assert doubtful.shows_nothing
    assert "little more than noise (trustworthiness 0.60)" in doubtful.verdict


def vars_of(plane):
    return {name: getattr(plane, name) for name in plane.__dataclass_fields__}


def test_each_rows_figures_are_those_of_the_landmark_nearest_in_the_plane(planes):
    plane = planes("umap")
    assert plane.trust_of_each.shape == (N,)
    assert float(plane.trust_of_each[plane.landmarks].mean()) == pytest.approx(plane.trustworthiness)
    apart = torch.cdist(plane.points, plane.points[plane.landmarks], compute_mode="donot_use_mm_for_euclid_dist")
    home = plane.landmarks[apart.argmin(1)]
    assert plane.preservation_of_each.equal(plane.preservation_of_each[home])


def test_labels_guide_the_landmarks(clouds, draw):
    rows, half = draw(400, 5), torch.arange(400) % 2
    points = lk.project(rows, labels=half, landmarks=200).points
    alone = lk.project(rows, landmarks=200).points
    apart = [(p[half == 0].mean(0) - p[half == 1].mean(0)).norm() / p.std(0).norm() for p in (points, alone)]
    assert apart[0] > 2 * apart[1]


# ---- the seed


def test_the_seed_chooses_evenly_and_again_the_same(clouds, planes):
    rows = clouds[0]
    assert same(lk.project(rows, landmarks=LANDMARKS, seed=5), planes("umap"))
    often = torch.zeros(N)
    for seed in range(40):
        often[lk.project(rows, "pca", landmarks=LANDMARKS, seed=seed).landmarks] += 1
    # Binomial with a mean of 10 and a deviation of 2.7: more than 25 times is a chance of one in 10 million.
    assert often.max() <= 25
    assert (often > 0).double().mean() > 0.99


# ---- how many


def test_up_to_a_stated_number_all_rows_are_laid_out(monkeypatch, draw):
    assert landmark_limit(128) == landmark_limit(1342) == MOST == 100_000
    assert landmark_limit(2_684) == 2**27 // 2_684 == 50_006
    assert landmark_limit(10**9) == FEWEST == 10_000
    monkeypatch.setattr("latentkit.projection.fitting.FEWEST", 40)
    monkeypatch.setattr("latentkit.projection.landmarks.FEWEST", 40)
    monkeypatch.setattr("latentkit.projection.landmarks.MOST", 50)
    rows = draw(60, 4)
    assert lk.project(rows[:50], "pca").landmarks is None
    assert len(lk.project(rows, "pca").landmarks) == 50
    known = nearest_rows(rows, 14)
    assert lk.project(rows, knn=known).landmarks is None, "known neighbours are those of all rows"
    assert lk.project(rows, "pca", landmarks=60).landmarks is None
    wide = torch.zeros(1, 1).expand(60, 2**27 // 45)
    assert ArraySource(wide).width == 2**27 // 45
    assert landmark_limit(ArraySource(wide).width) == 45


@FAST
@pytest.mark.parametrize("distinct", [1, 2, 3, 4])
def test_few_different_rows_have_few_places(method, distinct, draw):
    rows = draw(distinct, 5)[torch.arange(200) % distinct]
    plane = lk.project(rows, method, landmarks=100)
    assert plane.distinct == distinct
    assert len(plane.points.unique(dim=0)) == distinct
    assert (plane.placed_trustworthiness, plane.placed_preservation) == (None, None)
    assert f"{200 - distinct} of 200 rows are copies of landmarks" in plane.note
    assert "0 of 200 rows were placed" in plane.note
    assert plane.verdict.startswith(("nothing to see", "too few"))


@pytest.mark.parametrize("unit", [1e-25, 1e30])
def test_the_unit_changes_nothing(unit, clouds, planes):
    rows = unit * clouds[0].double() + unit
    plane = lk.project(rows, landmarks=LANDMARKS, seed=5)
    moved = (plane.points - planes("umap").points).norm(dim=1)
    # The odd one between two neighbourhoods may go to the other.
    assert (moved < 0.05 * planes("umap").points.std()).double().mean() > 0.95
    assert plane.placed_trustworthiness == pytest.approx(planes("umap").placed_trustworthiness, abs=0.02)


# ---- bad calls


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"landmarks": 15}, "landmarks must be more than the 15 neighbours, got 15"),
        ({"landmarks": 6, "neighbours": 6}, "more than the 6 neighbours, got 6"),
        ({"landmarks": 0}, "landmarks must be a whole number of at least 1, got 0"),
        ({"landmarks": 20.5}, "landmarks must be a whole number"),
        ({"landmarks": 30, "knn": 0}, "neighbours of all 50 rows, and landmarks is 30"),
    ],
)
def test_landmarks_that_make_no_layout(options, text, draw):
    rows = draw(50, 4)
    if "knn" in options:
        options = {**options, "knn": nearest_rows(rows, 14)}
    with pytest.raises(ArgumentError, match=text):
        lk.project(rows, **options)


# ---- files


@METHODS
def test_a_saved_one_places_rows_the_same(method, planes, clouds, tmp_path):
    plane = planes(method)
    again = load_projection(plane.save(tmp_path / "plane.npz"))
    assert same(plane, again)
    for name in ("placed_trustworthiness", "placed_preservation", "engine", "verdict"):
        assert getattr(again, name) == getattr(plane, name)
    assert again.transform(clouds[0][:50] + 0.1).equal(plane.transform(clouds[0][:50] + 0.1))


@pytest.mark.parametrize(
    "damage",
    [
        {"landmarks": np.arange(149)},
        {"landmarks": np.arange(150) + 500},
        {"landmarks": np.zeros(150, dtype=np.int64)},
        {"landmarks": np.arange(150.0)},
        {"landmarks": np.arange(150).reshape(150, 1)},
        {"copy_of": np.arange(600) + 1},
        {"placed": np.zeros(3)},
    ],
    ids=lambda damage: next(iter(damage)),
)
def test_landmarks_that_do_not_fit_are_damage(damage, planes, tmp_path):
    path = planes("pca").save(tmp_path / "plane.npz")
    with np.load(path) as stored:
        np.savez(path, **{**stored, **damage})
    with pytest.raises(CheckpointError, match="damaged projection"):
        load_projection(path)
