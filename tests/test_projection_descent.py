"""The descent by which UMAP lays rows out."""

import numpy as np
import pytest
import torch
from scipy.sparse import csr_array

from latentkit.projection.descent import descend, slopes


def joined(pairs, n, weight=1.0):
    """A symmetric graph of n rows of which some pairs belong together."""
    i, j = np.array(pairs).T
    return csr_array((np.full(2 * len(pairs), weight), (np.r_[i, j], np.r_[j, i])), shape=(n, n))


def settled(graph, start, **options):
    return descend(start, graph, **{"epochs": 200, "a": 1.58, "b": 0.9, "seed": 0, "progress": False, **options})


@pytest.mark.parametrize(("a", "b"), [(1.58, 0.9), (0.6, 1.3), (1.0, 1.0)])
def test_slopes_are_the_gradients_of_the_two_log_likelihoods(a, b):
    squared, attract, repel = slopes(a, b)
    assert (np.diff(squared) > 0).all()
    x = torch.from_numpy(squared[np.searchsorted(squared, [0.05, 0.5, 3.0, 40.0])]).double().sqrt().requires_grad_()
    at = np.searchsorted(squared, x.detach().square().numpy())
    similarity = 1 / (1 + a * x.square() ** b)
    (pull,) = torch.autograd.grad(similarity.log().sum(), x, retain_graph=True)
    (push,) = torch.autograd.grad((1 - similarity).log().sum(), x)
    np.testing.assert_allclose(attract[at] * x.detach().numpy(), pull.numpy(), rtol=0.01)
    np.testing.assert_allclose(repel[at] * x.detach().numpy(), push.numpy(), rtol=0.03)


def test_what_is_joined_ends_up_together_and_what_is_not_apart():
    n = 40
    side = np.arange(n) % 2
    pairs = [(i, j) for i in range(n) for j in range(i) if side[i] == side[j]]
    start = np.random.default_rng(0).uniform(0, 10, (n, 2))
    places = settled(joined(pairs, n), start)
    apart = np.linalg.norm(places[:, None] - places[None], axis=2)
    same = side[:, None] == side[None]
    assert apart[same].max() < apart[~same].min()


def test_a_chain_is_laid_out_in_its_order():
    n = 60
    start = np.stack([np.linspace(0, 10, n), np.zeros(n)], 1)
    places = settled(joined([(i, i + 1) for i in range(n - 1)], n), start)
    steps = np.linalg.norm(np.diff(places, axis=0), axis=1)
    assert np.linalg.norm(places[0] - places[-1]) > 5 * np.median(steps)
    assert np.median(steps) < 3


def test_the_seed_decides_and_the_start_is_left_alone():
    graph, start = joined([(i, (i + 1) % 30) for i in range(30)], 30), np.random.default_rng(1).uniform(0, 10, (30, 2))
    before = start.copy()
    one = settled(graph, start)
    assert (settled(graph, start) == one).all()
    assert (settled(graph, start, seed=1) != one).any()
    assert (start == before).all()
    assert one.dtype == np.float32
    assert np.isfinite(one).all()


@pytest.mark.parametrize("start", [0.0, 1e-30, 1e6], ids=["one spot", "nearly one spot", "far"])
def test_no_start_gives_places_that_are_not_finite(start):
    places = settled(joined([(0, 1), (1, 2)], 4), start * np.arange(8.0).reshape(4, 2))
    assert np.isfinite(places).all()


def test_without_any_edge_nothing_moves():
    start = np.arange(6.0).reshape(3, 2)
    assert (settled(csr_array((3, 3)), start) == start).all()
