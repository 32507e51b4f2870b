"""Nearest-neighbour graphs: islands where they are known to be, and ways checked against brute force."""

import itertools

import pytest
import torch

from latentkit.errors import ArgumentError, NonFiniteError, ShapeError
from latentkit.graphs import default_neighbours, neighbour_graph
from latentkit.neighbours import nearest
from trainers.data import gaussian_curve, grid25, moons, parabola, ring, swiss_roll

NEVER = -float("inf")


def islands(points):
    graph = neighbour_graph(points)
    labels = graph.components(least=graph.k + 1)
    return int(labels.max()) + 1, labels


@pytest.mark.parametrize("n", [2000, 7000, 20_000])
@pytest.mark.parametrize(
    ("data", "wanted"),
    [(grid25, 25), (ring, 8), (moons, 2), (swiss_roll, 1), (parabola, 1), (gaussian_curve, 1)],
    ids=["grid25", "ring", "moons", "swiss roll", "parabola", "bell"],
)
def test_it_finds_the_islands_that_there_are(data, wanted, n):
    drawn = data(n, seed=n)
    count, labels = islands(drawn.samples)
    assert count == wanted
    assert (labels >= 0).float().mean() > 0.999
    if drawn.labels is not None and wanted > 1:
        # Each island is one mode, whole.
        assert len(set(zip(labels[labels >= 0].tolist(), drawn.labels[labels >= 0].tolist(), strict=True))) == wanted


def test_islands_may_differ_in_density_and_be_smaller_than_a_neighbourhood(draw):
    dense, thin, tiny = 0.01 * draw(2000, 2), draw(300, 2, seed=1) + 8.0, 0.05 * draw(7, 2, seed=2) - 4.0
    graph = neighbour_graph(torch.cat([dense, thin, tiny]))
    labels = graph.components(least=5)
    assert labels.max() == 2
    for part, name in zip(labels.split([2000, 300, 7]), range(3), strict=True):
        assert (part == name).float().mean() > 0.99
    assert graph.k > 7
    assert graph.components(least=8).max() == 1
    assert (graph.components(least=8)[-7:] == -1).all()


def test_stragglers_are_no_bridge(draw):
    """Five points in a row between two clouds, each the next one's neighbour."""
    clouds = torch.cat([0.1 * draw(500, 2), 0.1 * draw(500, 2, seed=1) + torch.tensor([2.0, 0.0])])
    row = torch.stack([torch.linspace(0.4, 1.6, 5), torch.zeros(5)], 1)
    assert islands(torch.cat([clouds, row]))[0] == 2


def test_the_unit_the_place_and_the_order_change_nothing(draw):
    points = grid25(1500, seed=3).samples
    order = torch.randperm(1500, generator=torch.Generator().manual_seed(0))
    labels = islands(points)[1]
    for other in (0.25 * points, points + 4.0, points @ torch.tensor([[0.0, 1.0], [-1.0, 0.0]])):
        assert islands(other)[1].equal(labels)
    shuffled = islands(points[order])[1]
    same = labels[order][:, None] == labels[order][None]
    assert (shuffled[:, None] == shuffled[None]).equal(same)


def test_neighbours_are_the_nearest_in_few_and_in_many_dimensions(draw):
    for width in (2, 8, 9, 40):
        points, queries = draw(300, width), draw(50, width, seed=1)
        gaps = torch.cdist(queries.double(), points.double())
        found, index = nearest(queries, points, 5)
        wanted = gaps.topk(5, largest=False)
        torch.testing.assert_close(found.double(), wanted.values, rtol=1e-4, atol=1e-5)
        assert index.equal(wanted.indices)
        own = torch.cdist(points.double(), points.double()).fill_diagonal_(torch.inf)
        graph = neighbour_graph(points, k=6)
        torch.testing.assert_close(graph.scale, own.topk(4, largest=False).values[:, 3], rtol=1e-4, atol=1e-5)
        near = own.topk(6, largest=False).indices
        for (i, j), length in zip(graph.edges.tolist(), graph.lengths.tolist(), strict=True):
            assert i < j
            assert j in near[i] or i in near[j]
            assert length == pytest.approx(float(own[i, j]), rel=1e-4)
        assert len({tuple(pair) for pair in graph.edges.tolist()}) == len(graph.edges)


@pytest.mark.parametrize("dimension", [1, 2, 3])
def test_the_dimension_is_that_of_the_cloud_not_of_its_room(dimension, draw):
    axes = torch.linalg.qr(draw(20, 20)).Q[:dimension]
    points = torch.rand(3000, dimension, generator=torch.Generator().manual_seed(0)) @ axes
    assert neighbour_graph(points).dimension == pytest.approx(dimension, rel=0.12)


def brute_bottleneck(graph, values):
    """Max over ways of the least value, by relaxing all pairs (Floyd and Warshall's algorithm with max and min)."""
    level = torch.full((graph.count, graph.count), NEVER, dtype=torch.float64)
    i, j = graph.edges.T
    level[i, j] = level[j, i] = torch.minimum(values[i], values[j]).double()
    level.fill_diagonal_(torch.inf)
    for k in range(graph.count):
        level = torch.maximum(level, torch.minimum(level[:, k, None], level[None, k]))
    level.diagonal().copy_(values)
    return level


@pytest.mark.parametrize("seed", range(3))
def test_bottlenecks_are_those_of_all_ways(draw, seed):
    points = torch.cat([draw(60, 2, seed=seed), draw(30, 2, seed=seed + 9) + 30.0])
    graph, values = neighbour_graph(points, k=4), draw(90, seed=seed + 5)
    i, j = torch.meshgrid(torch.arange(90), torch.arange(90), indexing="ij")
    wanted = brute_bottleneck(graph, values)
    found = graph.bottleneck(values, i.reshape(-1), j.reshape(-1)).reshape(90, 90)
    torch.testing.assert_close(found, wanted)
    assert (found[:60, 60:] == NEVER).all()
    # A pair hangs together above a level exactly if its bottleneck is no lower.
    level = float(values.median())
    labels = graph.components(values >= level)
    assert ((labels[:, None] == labels[None]) & (labels >= 0)[:, None]).equal(found >= level)


def test_the_widest_path_keeps_to_its_bottleneck_and_is_a_way(draw):
    graph, values = neighbour_graph(draw(200, 2), k=5), draw(200, seed=1)
    edges = {tuple(pair) for pair in graph.edges.tolist()}
    for a, b in ((0, 100), (3, 77), (150, 20)):
        level = float(graph.bottleneck(values, torch.tensor([a]), torch.tensor([b])))
        way = graph.widest_path(values, a, b)
        assert (len(way) == 0) == (level == NEVER)
        if len(way):
            assert (int(way[0]), int(way[-1])) == (a, b)
            assert float(values[way].min()) == pytest.approx(level)
            assert all(tuple(sorted(pair)) in edges for pair in itertools.pairwise(way.tolist()))


def test_the_shortest_path_is_no_longer_than_any_other_and_heeds_costs(draw):
    graph = neighbour_graph(draw(60, 2), k=6)
    i, j = graph.edges.T
    for cost in (None, draw(60, seed=2).abs() + 0.1):
        gaps = torch.full((60, 60), torch.inf, dtype=torch.float64)
        rate = torch.ones(60).double() if cost is None else cost.double()
        gaps[i, j] = gaps[j, i] = graph.lengths * (rate[i] + rate[j]) / 2
        total = gaps.clone().fill_diagonal_(0.0)
        for k in range(60):
            total = torch.minimum(total, total[:, k, None] + total[None, k])
        for a, b in ((0, 1), (5, 40), (59, 2)):
            way = graph.shortest_path(a, b, cost=cost)
            assert float(gaps[way[:-1], way[1:]].sum()) == pytest.approx(float(total[a, b]))
    keep = torch.ones(60, dtype=torch.bool)
    way = graph.shortest_path(0, 40)
    keep[way[1:-1]] = False
    around = graph.shortest_path(0, 40, keep=keep)
    assert not set(way[1:-1].tolist()) & set(around.tolist())
    assert len(graph.shortest_path(0, 40, keep=torch.zeros(60, dtype=torch.bool))) == 0


def test_the_nearest_kept_point_is_along_the_graph():
    graph = neighbour_graph(torch.tensor([[0.0], [1.0], [2.1], [3.3], [100.0]]).repeat(1, 2), k=2)
    keep = torch.tensor([True, False, False, True, False])
    assert graph.nearest_kept(keep).tolist() == [0, 0, 3, 3, -1]
    assert graph.nearest_kept(torch.zeros(5, dtype=torch.bool)).tolist() == [-1] * 5


def test_copies_and_lone_points_are_no_trouble():
    points = torch.tensor([[0.0, 0.0]] * 30 + [[5.0, 5.0]] * 20)
    count, labels = islands(points)
    assert count == 2
    assert labels.bincount().tolist() == [30, 20]
    assert neighbour_graph(points[:1]).components().tolist() == [0]
    graph = neighbour_graph(points)
    assert graph.shortest_path(0, 29)[[0, -1]].tolist() == [0, 29]
    assert float(graph.bottleneck(torch.arange(50), torch.tensor([3]), torch.tensor([9]))) == 3.0


def test_more_points_get_more_neighbours():
    counts = [default_neighbours(n) for n in (1, 100, 148, 2000, 20_000, 10**6)]
    assert counts == sorted(counts)
    assert counts[0] == counts[2] == 10
    assert counts[-1] == 28


def test_bad_features_are_named():
    with pytest.raises(ShapeError, match=r"features must be \(N, F\)"):
        neighbour_graph(torch.zeros(3))
    with pytest.raises(ShapeError, match="at least one row"):
        neighbour_graph(torch.zeros(0, 2))
    with pytest.raises(NonFiniteError):
        neighbour_graph(torch.full((3, 2), torch.nan))
    with pytest.raises(ArgumentError, match="k must be a whole number"):
        neighbour_graph(torch.zeros(3, 2), k=0)
