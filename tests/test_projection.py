import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.decomposition import PCA
from sklearn.manifold import trustworthiness as reference

import latentkit as lk
from latentkit.errors import ArgumentError, LatentkitError, NonFiniteError, ShapeError
from latentkit.projection import trustworthiness

METHODS = pytest.mark.parametrize("method", ["umap", "pca"])


def clusters(draw, n=120, width=8):
    """Three groups far apart, and their numbers."""
    group = torch.arange(n) % 3
    return draw(n, width) + 20.0 * torch.eye(width)[group], group


@METHODS
def test_a_layout_has_a_place_a_row_and_repeats_itself(method, draw):
    rows, _ = clusters(draw)
    plane = lk.project(rows, method, seed=1)
    assert plane.points.shape == (120, 2)
    assert plane.points.dtype == torch.float32
    assert plane.points.isfinite().all()
    assert (plane.method, plane.seed, plane.distinct, plane.note) == (method, 1, 120, "")
    assert lk.project(rows, method, seed=1).points.equal(plane.points)
    assert plane.verdict.startswith("neighbours can be believed")


@METHODS
def test_groups_stay_together(method, draw):
    rows, group = clusters(draw)
    points = lk.project(rows, method).points
    centres = torch.stack([points[group == g].mean(0) for g in range(3)])
    assert (torch.cdist(points, centres).argmin(1) == group).all()


@METHODS
@pytest.mark.parametrize("unit", [1e-25, 1e30])
def test_the_unit_and_the_offset_change_nothing(method, unit, draw):
    rows, _ = clusters(draw)
    plane, scaled = lk.project(rows.double(), method), lk.project(unit * rows.double() + unit, method)
    torch.testing.assert_close(scaled.points, plane.points, atol=0.05 * plane.points.std().item(), rtol=0)
    assert scaled.trustworthiness == pytest.approx(plane.trustworthiness, abs=0.02)


def test_samples_are_flattened(draw):
    images = draw(40, 3, 4, 4)
    assert lk.project(images, "pca").points.equal(lk.project(images.flatten(1), "pca").points)
    assert lk.project(images, "pca").features.shape == (40, 48)


@pytest.mark.parametrize(("n", "width"), [(200, 2), (200, 6), (20, 100), (60, 1500)])
def test_pca_is_that_of_sklearn_up_to_sign_and_scale(n, width, draw):
    rows = draw(n, width) * torch.linspace(3, 0.1, width) ** 2
    points = lk.project(rows, "pca").points.double()
    wanted = torch.from_numpy(PCA(2, svd_solver="full").fit_transform(rows.double().numpy()))
    for k in range(2):
        assert abs(torch.corrcoef(torch.stack([points[:, k], wanted[:, k]]))[0, 1]) > 0.9999
    assert (points[:, 0].std() / points[:, 1].std()).item() == pytest.approx(
        (wanted[:, 0].std() / wanted[:, 1].std()).item(), rel=1e-3
    )


def test_one_column_is_laid_out_on_a_line(draw):
    rows = draw(30, 1)
    points = lk.project(rows, "pca").points
    assert points[:, 1].abs().max() == 0
    assert points[:, 0].argsort().equal(rows[:, 0].argsort())


@pytest.mark.parametrize(("n", "k"), [(30, 3), (200, 15), (41, 20)])
def test_trustworthiness_is_that_of_sklearn(n, k, draw):
    rows, points = draw(n, 6), draw(n, 2, seed=1) + draw(n, 6)[:, :2]
    assert trustworthiness(rows, points, k=k) == pytest.approx(reference(rows, points, n_neighbors=k), abs=1e-6)
    assert trustworthiness(rows, rows[:, :2], k=k) == pytest.approx(
        reference(rows, rows[:, :2], n_neighbors=k), abs=1e-6
    )


def test_trustworthiness_of_the_rows_themselves_is_one_and_of_noise_a_half(draw):
    rows = draw(1500, 2)
    assert trustworthiness(rows, rows, k=15) == 1
    # Beyond 1,000 rows it is an estimate from some of them.
    assert trustworthiness(rows, draw(1500, 2, seed=1), k=15) == pytest.approx(0.5, abs=0.02)


def test_gaussian_latents_are_called_noise():
    plane = lk.project(lk.Normal(64).sample(300, seed=0))
    assert plane.verdict.startswith("little more than noise (trustworthiness 0.")


# ---- degenerate rows


@METHODS
def test_equal_rows_share_a_place(method, draw):
    rows, _ = clusters(draw, n=60)
    twice = torch.cat([rows, rows.flip(0), rows[:7]])
    plane = lk.project(twice, method)
    assert plane.distinct == 60
    assert "67 of 127 rows are copies" in plane.note
    assert plane.points[60:120].flip(0).equal(plane.points[:60])
    assert plane.points[120:].equal(plane.points[:7])
    torch.testing.assert_close(plane.points[:60], lk.project(rows, method).points)


@METHODS
@pytest.mark.parametrize("distinct", [1, 2, 3, 4, 7])
def test_few_different_rows_have_few_places(method, distinct, draw):
    rows = draw(distinct, 5)[torch.arange(100) % distinct]
    plane = lk.project(rows, method)
    assert plane.points.isfinite().all()
    assert plane.distinct == distinct
    assert len(plane.points.unique(dim=0)) == distinct
    assert f"{100 - distinct} of 100 rows are copies" in plane.note
    if distinct < 3:
        assert plane.verdict.startswith(f"nothing to see: only {distinct} different rows")
    assert ("this is PCA" in plane.note) == (method == "umap" and 1 < distinct <= 3)


@METHODS
@pytest.mark.parametrize(
    "rows",
    [torch.zeros(50, 8), torch.ones(200, 3), torch.zeros(1, 4), torch.zeros(2, 1)],
    ids=lambda x: str(tuple(x.shape)),
)
def test_a_collapsed_generator_has_nothing_to_see(method, rows):
    plane = lk.project(rows, method)
    assert plane.points.abs().max() == 0
    assert plane.verdict.startswith("nothing to see")
    assert plane.transform(rows[:1]).isfinite().all()


@METHODS
def test_a_constant_column_changes_nothing(method, draw):
    rows, _ = clusters(draw)
    constant = torch.cat([rows, torch.full((120, 1), 0.7)], dim=1)
    torch.testing.assert_close(lk.project(constant, method).points, lk.project(rows, method).points, atol=0.5, rtol=0.2)


# ---- new rows


@METHODS
def test_rows_of_the_fit_keep_their_places(method, draw):
    rows, _ = clusters(draw)
    rows = torch.cat([rows, rows[:30]])
    plane = lk.project(rows, method)
    assert plane.transform(rows).equal(plane.points)
    order = torch.arange(149, -1, -1)
    assert plane.transform(rows[order]).equal(plane.points[order])


@METHODS
def test_new_rows_land_among_their_neighbours(method, draw):
    rows, group = clusters(draw)
    plane = lk.project(rows, method)
    new, new_group = draw(60, 8, seed=5) + 20.0 * torch.eye(8)[torch.arange(60) % 3], torch.arange(60) % 3
    placed = plane.transform(new)
    torch.testing.assert_close(placed, torch.cat([plane.transform(row[None]) for row in new]), atol=1e-4, rtol=1e-4)
    assert (group[torch.cdist(placed, plane.points).argmin(1)] == new_group).all()
    low, high = plane.points.min(0).values, plane.points.max(0).values
    assert ((placed >= low - 1e-4) & (placed <= high + 1e-4)).all(), "a mean of places lies among them"


def test_the_saved_projection_is_the_projection(tmp_path, draw):
    plane = lk.project(draw(20, 3), "pca", seed=2**64 - 1)
    with np.load(plane.save(tmp_path / "plane.npz")) as arrays:
        np.testing.assert_array_equal(arrays["points"], plane.points)
        assert arrays["seed"] == 2**64 - 1
        assert arrays["method"] == "pca"


def bad(value, rows=(3, 7)):
    x = torch.zeros(50, 8)
    x[list(rows), 1] = value
    return x


@METHODS
@pytest.mark.parametrize(
    ("features", "options", "error", "text"),
    [
        (bad(float("nan")), {}, NonFiniteError, r"features must be finite.*2 of 50 rows \(3, 7\)"),
        (bad(float("inf")), {}, NonFiniteError, r"2 of 50 rows \(3, 7\)"),
        (torch.zeros(0, 8), {}, ShapeError, r"at least one row, got \(0, 8\)"),
        (torch.zeros(8), {}, ShapeError, r"features must be \(N, ...\) .*got \(8,\)"),
        (torch.zeros(9, 8), {"seed": -1}, ArgumentError, "seed must be a whole number"),
        (torch.zeros(9, 8), {"neighbours": 1}, ArgumentError, "neighbours must be a whole number of at least 2, got 1"),
        (torch.zeros(9, 8), {"min_dist": 2}, ArgumentError, "min_dist must be .* at most 1, got 2"),
        ("x", {}, ShapeError, "features must be a tensor of floats, got str"),
    ],
)
def test_bad_calls_say_what_was_wanted(method, features, options, error, text):
    with pytest.raises(LatentkitError, match=text) as caught:
        lk.project(features, method, **options)
    assert isinstance(caught.value, error)


def test_unknown_methods_and_rows_of_another_width(draw):
    with pytest.raises(ArgumentError, match="method must be one of umap, pca; got 'tsne'"):
        lk.project(draw(9, 2), "tsne")
    with pytest.raises(ShapeError, match="rows must have 3 values, got 2"):
        lk.project(draw(9, 3), "pca").transform(draw(4, 2))


def test_without_a_writable_home_the_kernel_cache_is_private(tmp_path):
    """Numba unpickles its cache: the folder must be new and closed to others."""
    script = (
        "import os, stat\n"
        "from latentkit import projection\n"
        "projection._import_umap()\n"
        "folder = os.environ['NUMBA_CACHE_DIR']\n"
        "print(folder, oct(stat.S_IMODE(os.stat(folder).st_mode)))\n"
    )
    stub = tmp_path / "stubs"
    stub.mkdir()
    (stub / "umap.py").write_text("")
    (stub / "numba.py").write_text("def njit(*a, **k): ...\n")
    root = Path(__file__).resolve().parent.parent
    environment = {**os.environ, "HOME": "/proc/nowhere", "TMPDIR": str(tmp_path), "PYTHONPATH": f"{stub}:{root}"}
    for name in ("XDG_CACHE_HOME", "NUMBA_CACHE_DIR"):
        environment.pop(name, None)
    done = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True, timeout=120)
    folder, mode = done.stdout.split()
    assert Path(folder).parent == tmp_path
    assert mode == "0o700"
    assert not Path(folder).exists(), "and gone afterwards"
