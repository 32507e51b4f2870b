"""How far a layout can be believed, row by row and as a whole."""

import pytest
import torch
from sklearn.datasets import load_digits
from sklearn.manifold import trustworthiness as reference

import latentkit as lk
from latentkit.projection import faithfulness, trustworthiness

METHODS = pytest.mark.parametrize("method", ["umap", "pca", "tsne"])


def clusters(draw, n=120, width=8):
    """Three groups far apart."""
    return draw(n, width) + 20.0 * torch.eye(width)[torch.arange(n) % 3]


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


def test_trust_and_preservation_of_each_are_those_of_their_definitions(draw):
    n, k = 40, 5
    rows, points = draw(n, 6), draw(n, 2, seed=1)
    trust, kept = faithfulness(rows, points, torch.arange(n), k=k)
    for i in range(n):
        far, flat = (rows - rows[i]).norm(dim=1), (points - points[i]).norm(dim=1)
        order, near = far.argsort().tolist(), flat.argsort()[1 : k + 1].tolist()
        rank = [order.index(j) for j in near]
        assert kept[i] == pytest.approx(sum(r <= k for r in rank) / k)
        penalty = sum(max(r - k, 0) for r in rank)
        assert trust[i] == pytest.approx(1 - 2 * penalty / (k * (2 * n - 3 * k - 1)))
    some = torch.tensor([7, 3, 3])
    assert faithfulness(rows, points, some, k=k)[0].equal(trust[some])


@METHODS
def test_each_rows_figures_average_to_the_overall_ones(method, draw):
    rows = clusters(draw)
    plane = lk.project(torch.cat([rows, rows[:9]]), method)
    trust, kept = plane.trust_of_each, plane.preservation_of_each
    assert float(trust[:120].mean()) == pytest.approx(plane.trustworthiness)
    assert float(kept[:120].mean()) == pytest.approx(plane.preservation)
    assert trust[120:].equal(trust[:9]), "a copy is where its row is"
    assert kept[120:].equal(kept[:9])
    assert ((kept >= 0) & (kept <= 1)).all()
    assert trust.max() <= 1


def test_a_plane_of_the_plane_keeps_every_neighbour(draw):
    plane = lk.project(draw(60, 2), "pca")
    assert plane.trust_of_each.eq(1).all()
    assert plane.preservation_of_each.eq(1).all()


@METHODS
@pytest.mark.parametrize(("dim", "n"), [(16, 400), (64, 200)])
def test_isotropic_latents_show_nothing(method, dim, n):
    plane = lk.project(lk.Normal(dim).sample(n, seed=0), method, of="latents")
    assert plane.shows_nothing
    assert plane.verdict.startswith("little more than noise (trustworthiness 0.")
    names = {"umap": "UMAP", "pca": "PCA", "tsne": "t-SNE"}
    assert repr(plane).startswith(f"{names[method]} of {n} rows (latents): little more than noise (trustworthiness 0.")


@METHODS
def test_handwritten_digits_show_something(method):
    plane = lk.project(torch.from_numpy(load_digits().data[:400]), method)
    assert not plane.shows_nothing
    assert "neighbours can be believed (trustworthiness 0." in repr(plane)
