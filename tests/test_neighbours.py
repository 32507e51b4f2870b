import pytest
import torch

from latentkit.neighbours import distances, nearest


def brute(queries, points):
    return (queries.double()[:, None] - points.double()[None]).square().sum(2).sqrt()


def all_distances(queries, points):
    return torch.cat([block for _, block in distances(queries, points)])


# Two points on 25 tight clusters: where products of float32 lose the neighbours' digits.
CLUSTERS = torch.cartesian_prod(torch.arange(-2.0, 3), torch.arange(-2.0, 3))
CASES = {
    "plane": lambda draw: draw(300, 2),
    "tight clusters": lambda draw: CLUSTERS.repeat(12, 1) + 1e-3 * draw(300, 2),
    "images": lambda draw: draw(300, 1024).tanh(),
    "offset": lambda draw: draw(300, 3) + 1000.0,
    "huge": lambda draw: 1e30 * draw(300, 100),
    "tiny": lambda draw: 1e-30 * draw(300, 100),
}


@pytest.mark.parametrize("points", CASES.values(), ids=CASES)
def test_distances_and_neighbours_are_those_of_brute_force(points, draw):
    points = points(draw)
    queries = points[:40] + 0.01 * points.std() * draw(40, points.shape[1], seed=1)
    wanted = brute(queries, points)
    torch.testing.assert_close(
        all_distances(queries, points).double(), wanted, rtol=1e-4, atol=1e-4 * wanted.max().item()
    )
    found, index = nearest(points, points, 5, same=True)
    own = brute(points, points).fill_diagonal_(torch.inf)
    torch.testing.assert_close(found.double(), own.topk(5, largest=False).values, rtol=1e-3, atol=0)
    torch.testing.assert_close(own.gather(1, index), own.topk(5, largest=False).values, rtol=1e-3, atol=0)


def test_blocks_make_no_difference(draw, monkeypatch):
    points = draw(300, 4)
    whole = nearest(points, points, 3, same=True)
    monkeypatch.setattr("latentkit.neighbours._BLOCK", 7)
    parts = nearest(points, points, 3, same=True)
    torch.testing.assert_close(parts[0], whole[0])
    assert parts[1].equal(whole[1])


def test_a_row_finds_its_copies_but_not_itself(draw):
    points = draw(50, 6)
    points[7] = points[3]
    found, index = nearest(points, points, 2, same=True)
    assert found[7, 0] < 1e-6
    assert index[7, 0] == 3
    assert index[3, 0] == 7
    assert not (index == torch.arange(50)[:, None]).any()
    assert nearest(points, points, 1)[0].max() < 1e-6


@pytest.mark.parametrize("value", [0.0, 0.1, 1e30])
def test_equal_points_are_at_no_distance(value):
    points = torch.full((20, 100), value)
    assert all_distances(points, points).max() <= 1e-5 * value


@pytest.mark.parametrize("width", [3, 30])
def test_some_of_the_points_do_not_find_themselves(width, draw):
    points, some = draw(80, width), torch.tensor([70, 3, 3, 41])
    every = nearest(points, points, 4, same=True)
    found = nearest(points[some], points, 4, same=some)
    assert found[1].equal(every[1][some])
    torch.testing.assert_close(found[0], every[0][some])
