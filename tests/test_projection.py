import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from sklearn.decomposition import PCA

import latentkit as lk
from latentkit.errors import ArgumentError, LabelError, LatentkitError, NonFiniteError, ShapeError
from latentkit.projection import nearest_rows

METHODS = pytest.mark.parametrize("method", ["umap", "pca", "tsne"])


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


@pytest.mark.parametrize("method", ["umap", "pca"])
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


def test_the_order_of_rows_does_not_matter_to_pca(draw):
    rows, _ = clusters(draw)
    order = torch.arange(len(rows)).roll(37).flip(0)
    torch.testing.assert_close(lk.project(rows[order], "pca").points, lk.project(rows, "pca").points[order])


# ---- labels and known neighbours


def separation(points, labels):
    """How far apart two groups are, in units of their spread."""
    a, b = points[labels == 0], points[labels == 1]
    return float((a.mean(0) - b.mean(0)).norm() / (a.std(0).norm() + b.std(0).norm()))


def test_labels_pull_classes_apart_and_the_note_says_so(draw):
    rows, labels = draw(200, 5), torch.arange(200) % 2
    alone, guided = lk.project(rows), lk.project(rows, labels=labels)
    assert separation(guided.points, labels) > 2 * separation(alone.points, labels)
    assert "Labels guided it" in guided.verdict
    assert "Labels" not in alone.verdict
    some = torch.where(torch.arange(200) < 100, labels, -1)
    assert lk.project(rows, labels=some).points.isfinite().all()


def test_copies_that_disagree_about_their_label_are_unknown(draw):
    rows = draw(60, 4)
    doubled = torch.cat([rows, rows])
    labels = torch.arange(60) % 2
    known = lk.project(doubled, labels=torch.cat([labels, labels]))
    unsure = lk.project(doubled, labels=torch.cat([labels, 1 - labels]))
    assert known.points.equal(lk.project(doubled, labels=torch.cat([labels, labels])).points)
    assert unsure.points.equal(lk.project(doubled, labels=torch.full((120,), -1)).points)


@pytest.mark.parametrize(
    ("labels", "error", "text"),
    [
        (torch.zeros(8, dtype=torch.long), LabelError, r"whole numbers \(9,\), .*got torch.int64 \(8,\)"),
        (torch.zeros(9), LabelError, "got torch.float32"),
        (torch.arange(9) - 2, LabelError, "at least 0, or -1 for unknown, got -2"),
    ],
)
def test_labels_that_do_not_fit(labels, error, text, draw):
    with pytest.raises(error, match=text):
        lk.project(draw(9, 2), labels=labels)
    with pytest.raises(ArgumentError, match="labels guide UMAP only"):
        lk.project(draw(9, 2), "pca", labels=torch.zeros(9, dtype=torch.long))


@pytest.mark.parametrize(("method", "k"), [("umap", 14), ("tsne", 46)])
def test_known_neighbours_give_the_same_layout(method, k, draw):
    rows, _ = clusters(draw)
    plane = lk.project(rows, method)
    assert plane.knn is not None
    assert plane.knn.indices.shape == (120, k)
    wanted = nearest_rows(rows, k)
    assert plane.knn.indices.equal(wanted.indices)
    torch.testing.assert_close(plane.knn.distances, wanted.distances)
    assert lk.project(rows, method, knn=plane.knn).points.equal(plane.points)
    more = lk.project(rows, method, neighbours=30).knn
    assert more is not None
    assert more.indices.shape[1] > k
    assert lk.project(rows, method, knn=more).points.equal(plane.points), "what is not needed is left out"


def test_neighbours_that_are_given_are_used(draw):
    """Two interleaved halves of one cloud that know only each other are laid out apart."""
    rows, half = draw(120, 6), torch.arange(120) % 2
    index, distance = torch.empty((120, 20), dtype=torch.long), torch.empty((120, 20))
    for side in (0, 1):
        own = (half == side).nonzero()[:, 0]
        near = nearest_rows(rows[own], 20)
        index[own], distance[own] = own[near.indices], near.distances
    points = lk.project(rows, knn=(index, distance)).points
    assert separation(points, half) > 3 * separation(lk.project(rows).points, half)
    copies = torch.cat([rows[:119], rows[:1]])
    assert lk.project(copies, "umap", knn=nearest_rows(copies, 14)).knn is None, "found anew where rows are equal"


@pytest.mark.parametrize(
    ("spoil", "error", "text"),
    [
        (lambda i, d: (i[:, :5], d[:, :5]), ShapeError, "k at least 14"),
        (lambda i, d: (i[:9], d[:9]), ShapeError, r"both \(40, k\)"),
        (lambda i, d: (d, i), ShapeError, "indices must be whole numbers"),
        (lambda i, d: i, ShapeError, "knn must be"),
        (lambda i, d: (i + 1, d), ArgumentError, "name other rows, 0 to 39"),
        (lambda i, d: (i.index_fill(1, torch.tensor([3]), 0), d), ArgumentError, "no row itself"),
        (lambda i, d: (i, d.flip(1)), ArgumentError, "nearest row first"),
        (lambda i, d: (i, d * float("nan")), NonFiniteError, "distances must be finite"),
    ],
)
def test_neighbours_that_do_not_fit(spoil, error, text, draw):
    rows = draw(40, 5)
    with pytest.raises(error, match=text):
        lk.project(rows, knn=spoil(*nearest_rows(rows, 14)))


def test_progress_goes_to_standard_error_alone(capfd, draw):
    rows, _ = clusters(draw)
    shown = lk.project(rows, progress=True)
    out, err = capfd.readouterr()
    assert out == ""
    assert "UMAP" in err
    assert shown.points.equal(lk.project(rows).points)
    assert capfd.readouterr() == ("", "")


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
    assert ("this is PCA" in plane.note) == (method != "pca" and 1 < distinct <= 3)


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


@pytest.mark.parametrize("method", ["umap", "pca"])
def test_a_constant_column_changes_nothing(method, draw):
    rows, _ = clusters(draw)
    constant = torch.cat([rows, torch.full((120, 1), 0.7)], dim=1)
    torch.testing.assert_close(lk.project(constant, method).points, lk.project(rows, method).points, atol=0.5, rtol=0.2)


# ---- bad calls


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
    with pytest.raises(ArgumentError, match="method must be one of umap, pca, tsne; got 'mds'"):
        lk.project(draw(9, 2), "mds")
    with pytest.raises(ShapeError, match="rows must have 3 values, got 2"):
        lk.project(draw(9, 3), "pca").transform(draw(4, 2))


def test_without_a_writable_home_the_kernel_cache_is_private(tmp_path):
    """Numba unpickles its cache: the folder must be new and closed to others."""
    script = (
        "import os, stat\n"
        "from latentkit.projection.kernels import umap_learn\n"
        "umap_learn()\n"
        "folder = os.environ['NUMBA_CACHE_DIR']\n"
        "print(folder, oct(stat.S_IMODE(os.stat(folder).st_mode)))\n"
    )
    stub = tmp_path / "stubs"
    stub.mkdir()
    (stub / "umap.py").write_text("")
    (stub / "numba.py").write_text("def njit(*a, **k): ...\nclass config: CACHE_DIR = ''\n")
    root = Path(__file__).resolve().parent.parent
    environment = {**os.environ, "HOME": "/proc/nowhere", "TMPDIR": str(tmp_path), "PYTHONPATH": f"{stub}:{root}"}
    for name in ("XDG_CACHE_HOME", "NUMBA_CACHE_DIR"):
        environment.pop(name, None)
    done = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True, timeout=120)
    folder, mode = done.stdout.split()
    assert Path(folder).parent == tmp_path
    assert mode == "0o700"
    assert not Path(folder).exists(), "and gone afterwards"
