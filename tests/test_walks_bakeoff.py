"""The bake-off: on an annulus only the ways round stay good, and in many dimensions the line leaves the prior."""

import math

import numpy as np
import pytest
import torch

import latentkit as lk
from latentkit.errors import ArgumentError, CurveError, NonFiniteError, ShapeError
from latentkit.routes import compare_routes
from latentkit.walks import bake_off

PLANE = lk.Normal(2)
IDENTITY = lk.wrap(lambda z: z, PLANE)
A, B = torch.tensor([1.5, 0.0]), torch.tensor([-1.5, 0.1])
USUAL = ("lerp", "slerp", "prior-matched", "geodesic")


def annulus(x):
    return 4.0 - (x.norm(dim=1) - 1.5).square() / (2 * 0.15**2)


@pytest.fixture(scope="module")
def quality():
    z = PLANE.sample(40_000, seed=9)
    ratio = annulus(z).exp()
    chance = torch.rand(len(z), generator=torch.Generator().manual_seed(0))
    real = z[chance < ratio / ratio.max()][:2000]
    return lk.quality_map(IDENTITY, annulus, real, n=1500, seed=3)


@pytest.fixture(scope="module")
def judged(quality):
    return bake_off(IDENTITY, A, B, quality=quality, critic=annulus, steps=64)


def rows_of(found):
    return {row.name: row for row in found.rows}


def test_on_an_annulus_the_ways_round_are_best(judged, quality):
    assert judged.names == ("route", *USUAL)
    rows = rows_of(judged)
    for good in ("route", "slerp"):
        for bad in ("lerp", "geodesic", "prior-matched"):
            assert rows[good].least_probability > 0.7
            assert rows[bad].least_probability < 0.05
            assert rows[good].length > 1.4 * rows[bad].length
    assert judged.best in ("route", "slerp")
    assert rows["slerp"].length == pytest.approx(1.5 * math.pi, rel=0.05)
    assert rows["lerp"].length == pytest.approx(float((A - B).norm()), rel=1e-5)
    assert judged.judged
    assert judged.threshold == quality.threshold


def test_the_rows_are_those_of_compared_routes(judged, quality):
    way = next(curve for name, curve in zip(judged.names, judged.curves, strict=True) if name == "route")
    assert judged.rows == compare_routes(quality, IDENTITY, annulus, A, B, way=way, steps=64)


def test_a_table_sums_up_what_is_along_each_curve(judged):
    for row, probability, typicality in zip(judged.rows, judged.probability, judged.typicality, strict=True):
        assert probability.shape == typicality.shape == (64,)
        assert row.least_probability == probability.min()
        assert row.mean_probability == probability.mean()
        assert row.least_typicality == typicality.min()
        assert row.mean_typicality == typicality.mean()


def test_without_a_map_typicality_decides(draw):
    prior = lk.Normal(256)
    generator = lk.wrap(lambda z: z[:, :3], prior)
    a, b = prior.sample(2, seed=0)
    found = bake_off(generator, a, b, steps=33)
    assert found.names == USUAL
    rows = rows_of(found)
    assert rows["lerp"].least_typicality < 1e-4 < 0.01 < rows["prior-matched"].least_typicality
    assert found.best in ("prior-matched", "slerp")
    assert not found.judged
    assert found.probability.isnan().all()
    assert all(math.isnan(row.mean_probability) and not row.missing for row in found.rows)
    assert "probability" not in found.table()
    assert rows["geodesic"].length == pytest.approx(rows["lerp"].length, rel=1e-3)


def test_curves_of_ones_own_are_compared_too(quality):
    corner = torch.stack([A, torch.tensor([0.0, 1.5]), B])
    mine = {"by the top": lk.tour(corner, prior=PLANE)}
    found = bake_off(IDENTITY, A, B, quality=quality, critic=annulus, curves=mine, steps=20)
    assert found.names == ("route", *USUAL, "by the top")
    assert found.curves[-1] is mine["by the top"]
    again = bake_off(IDENTITY, A, B, curves=mine, steps=20)
    assert again.names == (*USUAL, "by the top")
    assert rows_of(again)["by the top"].length == rows_of(found)["by the top"].length


def test_a_curve_that_cannot_be_made_has_its_reason():
    found = bake_off(IDENTITY, A, -A, steps=12)
    rows = rows_of(found)
    for name in ("slerp", "prior-matched"):
        assert rows[name].missing
        assert "opposite" in rows[name].note
        assert found.curves[found.names.index(name)] is None
        assert f"{name}: the ends are opposite" in found.table()
    assert found.best in ("lerp", "geodesic")
    film = found.film(IDENTITY, frames=3)
    assert film.captions[0].startswith("typicality: lerp")
    assert "slerp" not in film.captions[0]


def test_a_generator_without_gradients_has_all_but_the_geodesic():
    generator = lk.wrap(lambda z: torch.from_numpy(np.tanh(z.detach().numpy())), PLANE)
    found = bake_off(generator, A, B, steps=12)
    assert [row.name for row in found.rows if row.missing] == ["geodesic"]
    assert "no geodesic" in rows_of(found)["geodesic"].note


def test_lengths_are_measured_in_features_if_they_are_given():
    found = rows_of(bake_off(IDENTITY, A, B, features=lambda x: 2.0 * x[:, :1], steps=12))
    assert found["lerp"].length == pytest.approx(6.0, rel=1e-5)


def test_ends_may_be_rows_of_the_map(quality):
    good = quality.top(0.2).index[:2].tolist()
    found = bake_off(IDENTITY, *good, quality=quality, critic=annulus, steps=8)
    for curve in found.curves:
        assert curve([0.0, 1.0]).equal(quality.latents_of(torch.tensor(good)))


def test_the_table_is_aligned_and_in_markdown(judged):
    lines = judged.table().splitlines()
    assert " ".join(lines[0].split()) == "curve mean probability least mean typicality least length worst jump"
    assert len({len(line) for line in lines[:6]}) == 1
    assert lines[6].startswith("route: within the good region")
    markdown = judged.markdown().splitlines()
    assert markdown[0].startswith("| curve | mean probability | least |")
    assert markdown[1] == "| --- | ---: | ---: | ---: | ---: | ---: | ---: |"
    for text, row, plain in zip(markdown[2:7], judged.rows, lines[1:6], strict=True):
        cells = [cell.strip() for cell in text.strip("|").split("|")]
        assert cells == plain.split()
        assert cells[0] == row.name
        assert float(cells[5]) == pytest.approx(row.length, rel=0.01)
    assert markdown[-1].startswith("- route: within")


# ---- the film


def test_points_move_on_one_stage(judged):
    film = judged.film(IDENTITY, frames=5, fps=10.0)
    frames = list(film.frames())
    assert len(frames) == film.count == 5
    assert film.durations == (600.0, 100.0, 100.0, 100.0, 600.0)
    assert all(frame.shape == (film.size[1], film.size[0], 3) for frame in frames)
    assert all(np.array_equal(a, b) for a, b in zip(frames, film.frames(), strict=True))
    assert not np.array_equal(frames[0], frames[1])
    middle = dict(zip(judged.names, judged.probability[:, 31:33].mean(1).tolist(), strict=True))
    said = film.captions[2].removeprefix("probability: ").split(" · ")
    assert said == [f"{name} {value:.2f}" for name, value in middle.items()]


@pytest.mark.parametrize("extra", [0, 4], ids=["one row", "two rows"])
def test_images_move_side_by_side(extra, tmp_path):
    """Each window is grey where its curve's latent is: black at first, white at last, under different curves alike."""
    prior = lk.Normal(1)
    generator = lk.wrap(lambda z: z.reshape(-1, 1, 1, 1).expand(-1, 1, 8, 8), prior)
    a, b = torch.tensor([-1.0]), torch.tensor([0.9])
    mine = {f"number {k}": lk.lerp(a, b) for k in range(extra)}
    found = bake_off(generator, a, b, steps=8, curves=mine)
    made = [curve for curve in found.curves if curve is not None]
    film = found.film(generator, frames=4, batch_size=3)
    frames = list(film.frames())
    assert len(frames) == 4
    black = (frames[0] == 0).all(2).sum()
    assert black > len(made) * 80 * 80
    assert (frames[-1] == 0).all(2).sum() < 0.05 * black
    assert (frames[-1] == round(0.9 * 127.5 + 127.5)).all(2).sum() > 0.95 * black
    assert film.save(tmp_path / "film.gif").stat().st_size > 0


def test_what_cannot_be_drawn_is_refused():
    generator = lk.wrap(lambda z: z.repeat(1, 4).reshape(-1, 4, 2, 1), PLANE)
    found = bake_off(generator, A, B, steps=4)
    with pytest.raises(ShapeError, match=r"images \(C, H, W\) or points \(2,\), got samples \(4, 2, 1\)"):
        found.film(generator)
    with pytest.raises(ArgumentError, match="frames"):
        bake_off(IDENTITY, A, B, steps=4).film(IDENTITY, frames=1)
    with pytest.raises(ArgumentError, match="fps"):
        bake_off(IDENTITY, A, B, steps=4).film(IDENTITY, fps=0)


def test_bad_calls_say_what_was_wanted(quality):
    bare = lk.QualityMap.of(PLANE, quality.latents, quality.logits, quality.calibration, 3)
    both = {"quality": quality, "critic": annulus}
    for call, error, text in (
        (lambda: bake_off(IDENTITY, A, A), CurveError, "the ends are equal"),
        (lambda: bake_off(IDENTITY, 5, 5, **both), CurveError, "the ends are equal"),
        (lambda: bake_off(IDENTITY, 5, 6), ShapeError, r"the first end must be \(2,\)"),
        (lambda: bake_off(IDENTITY, A, torch.zeros(3)), ShapeError, r"the second end must be \(2,\)"),
        (lambda: bake_off(IDENTITY, A, B * math.nan), NonFiniteError, "the second end"),
        (lambda: bake_off(IDENTITY, A, B, quality=quality), ArgumentError, "go together"),
        (lambda: bake_off(IDENTITY, A, B, critic=annulus), ArgumentError, "go together"),
        (lambda: bake_off(IDENTITY, A, B, quality=bare, critic=annulus, threshold=0.5), ArgumentError, "no chart"),
        (lambda: bake_off(IDENTITY, A, B, **both, threshold=2), ArgumentError, "threshold"),
        (lambda: bake_off(IDENTITY, A, B, steps=1), ArgumentError, "steps"),
        (lambda: bake_off(IDENTITY, A, B, curves={"slerp": lk.lerp(A, B)}), ArgumentError, "another name"),
        (lambda: bake_off(IDENTITY, A, B, curves={"own": lk.lerp(B, A)}), ArgumentError, "own must begin at a"),
        (lambda: bake_off(IDENTITY, A, B, curves={"own": lk.lerp(A[:1], B[:1])}), ShapeError, "2 dimensions, got 1"),
    ):
        with pytest.raises(error, match=text):
            call()
