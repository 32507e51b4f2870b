"""Places on a chart by the short way: those of the sample and the chart alone, and as good as the exact ones."""

import os
import subprocess
import sys

import numpy as np
import pytest
import torch

import latentkit as lk
from latentkit.quality import charting, load_quality, mapping, placing
from latentkit.quality.chart import GRAPH_LIMIT, NUMBERS, SEEN
from latentkit.quality.placing import Placing, exact_places

SEED = 11
CENTRES = torch.tensor([[-1.5, 0.0], [1.2, 1.0], [1.0, -1.3]])


def normals(n, width, seed):
    return torch.randn(n, width, generator=torch.Generator().manual_seed(seed))


def turned(width=12):
    """Return an orthonormal (2, width), along which a plane lies among more coordinates."""
    return torch.linalg.qr(normals(width, 2, 1)).Q.T


FRAME = turned()


def log_ratio(x):
    squares = (x @ FRAME.T)[:, None] - CENTRES
    return torch.logsumexp(-squares.square().sum(2) / 0.125, 1) + 1.7 + x.square().sum(1) / 2


G = lk.wrap(lambda z: z @ FRAME, lk.Normal(2))


def real(n=600):
    return (CENTRES[torch.arange(n) % 3] + 0.25 * normals(n, 2, 3)) @ FRAME


@pytest.fixture
def short(monkeypatch):
    """Small maps and charts take the short way too."""
    monkeypatch.setattr(placing, "PLACED_EXACTLY", 500)
    monkeypatch.setattr(placing, "CHARTED_FROM", 100)


@pytest.fixture
def small_blocks(monkeypatch):
    monkeypatch.setattr(mapping, "block_rows", lambda n, batch_size, dim: 128)


def mapped(n=4000, **options):
    options = {"seed": SEED, "batch_size": 32, "graph_limit": 1000, "method": "logistic"} | options
    return lk.quality_map(G, log_ratio, real(), n=n, **options)


def nearest_of(samples, features):
    return torch.cdist(samples.double(), features.double()).argmin(1)


def test_small_maps_small_charts_and_few_numbers_are_placed_exactly():
    assert SEEN * GRAPH_LIMIT == placing.PLACED_EXACTLY
    assert exact_places(200_000, 20_000, 1024)
    assert not exact_places(200_001, 20_000, 1024)
    assert exact_places(10**9, 4095, 1024)
    assert exact_places(10**9, 20_000, 8)
    assert not exact_places(10**9, 4096, 9)
    made = mapped()
    assert made.exact_places
    assert made.chart.exact
    assert made.places.long().equal(nearest_of(G(made.latents), made.chart.features))


def test_islands_ways_and_counts_are_those_of_exact_places(short, monkeypatch):
    made = mapped()
    assert not made.exact_places
    monkeypatch.setattr(placing, "PLACED_EXACTLY", 10**9)
    exact = mapped()
    assert exact.exact_places
    assert made.chart.features.equal(exact.chart.features)
    for level in (None, 0.3, 0.7, 0.78):
        one, other = made.islands(level, least=5), exact.islands(level, least=5)
        assert len(one) == len(other) >= 2
        assert (one.labels == other.labels).double().mean() > 0.995
        assert ((one.count - other.count).abs() <= 0.01 * other.count + 1).all()
    rows = torch.arange(4000)
    apart = made.bottleneck(rows, 7).nan_to_num(0.0) - exact.bottleneck(rows, 7).nan_to_num(0.0)
    assert apart.abs().mean() < 0.005
    # What is charted lies where it is.
    itself = (made.latents[:, None] == made.chart.latents).all(2).nonzero()
    assert len(itself) == 1000
    assert made.places[itself[:, 0]].long().equal(itself[:, 1])


@pytest.mark.parametrize("width", [9, 40, 300])
def test_a_place_is_that_of_the_sample_alone(width):
    features, samples = normals(1500, width, 0), normals(400, width, 1)
    made = Placing.of(features)
    whole = made.nearest([samples])
    assert whole.dtype == torch.int32
    singles = torch.cat([made.nearest([row]) for row in samples.split(1)])
    assert singles.equal(whole)
    assert made.nearest(samples.split(7)).equal(whole)
    assert made.nearest(samples.split(7), [made.coded(part) for part in samples.split(7)]).equal(whole)
    order = torch.randperm(400, generator=torch.Generator().manual_seed(2))
    assert made.nearest([samples[order]]).equal(whole[order])
    # Its neighbours in memory don't matter either.
    wide = torch.zeros(400, width + 5)
    wide[:, 3:-2] = samples
    assert made.nearest([wide[:, 3:-2]]).equal(whole)
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(2)
        assert Placing.of(features).nearest([samples]).equal(whole)
    finally:
        torch.set_num_threads(before)


PLACED = """
import sys
sys.path.insert(0, sys.argv[1])
import numpy as np, test_quality_places as t
t.placing.PLACED_EXACTLY, t.placing.CHARTED_FROM = 500, 100
np.save(sys.argv[2], t.mapped(n=1500, graph_limit=300).places.numpy())
"""


def test_blocks_stores_and_processes_change_nothing(short, small_blocks, tmp_path, monkeypatch):
    made = mapped(store=tmp_path / "map")
    assert not made.exact_places
    monkeypatch.setattr(mapping, "block_rows", lambda n, batch_size, dim: 4096)
    again = mapped()
    assert again.places.equal(made.places)
    # What the memory of a chart has no room for is made again.
    monkeypatch.setattr(charting, "NUMBERS", 0)
    assert mapped().places.equal(made.places)
    command = [sys.executable, "-c", PLACED, os.path.dirname(__file__), str(tmp_path / "p.npy")]  # noqa: PTH120
    subprocess.run(command, timeout=120, check=True)
    few = mapped(n=1500, graph_limit=300)
    assert few.places.numpy().tobytes() == np.load(tmp_path / "p.npy").tobytes()


def test_files_and_new_latents_keep_the_way(short, small_blocks, tmp_path):
    made = mapped(n=1200)
    kept = mapped(n=1200, store=tmp_path / "map")
    for back in (load_quality(tmp_path / "map"), load_quality(made.save(tmp_path / "map.npz")), kept):
        assert not back.exact_places
        assert back.places.equal(made.places)
        assert "exact=False" in repr(back.chart)
        found = back.scored(G, log_ratio, made.latents[1100:], batch_size=17)
        assert not found.exact_places
        charted = (found.latents[:, None] == made.chart.latents).all(2).any(1)
        assert found.places[~charted].equal(made.places[1100:][~charted])
    late = mapped(n=1200, graph_limit=0)
    assert late.exact_places  # none are
    late = late.charted(G, graph_limit=1000, batch_size=32)
    assert not late.exact_places
    assert late.places.equal(made.places)


@pytest.mark.parametrize(("kind", "share", "further"), [("smooth", 0.85, 1.01), ("noise", 0.01, 1.1)])
def test_places_are_nearly_the_nearest(kind, share, further):
    """Samples whose variance falls off as that of images, and the worst: no component says more than another."""
    scales = torch.arange(1, 257) ** -1.0 if kind == "smooth" else torch.ones(256)
    features, samples = normals(5000, 256, 0) * scales, normals(1000, 256, 1) * scales
    found, wanted = Placing.of(features).nearest([samples]).long(), nearest_of(samples, features)
    assert (found == wanted).double().mean() > share
    # The worst place is not far from the best.
    away = [(samples - features[rows]).norm(dim=1) for rows in (found, wanted)]
    assert (away[0] / away[1]).mean() < further


@pytest.mark.parametrize("unit", [1e-12, 1.0, 3e8])
def test_far_clusters_are_never_mistaken(unit):
    """Eight clusters of unequal sizes, with an offset: a sample's place lies in its own."""
    middles = 20.0 * normals(8, 30, 5) + 100.0
    of = (torch.rand(3000, generator=torch.Generator().manual_seed(6)) ** 3 * 8).long()
    features = unit * (middles[of] + 0.3 * normals(3000, 30, 7))
    asked = torch.arange(800) % 8
    samples = unit * (middles[asked] + 0.3 * normals(800, 30, 8))
    assert of[Placing.of(features).nearest([samples]).long()].equal(asked)


@pytest.mark.parametrize(
    "features",
    [
        torch.zeros(300, 10),
        torch.ones(1, 10),
        normals(20, 10, 0),
        torch.cat([normals(300, 3, 1), torch.full((300, 7), 5.0)], 1),
        torch.cat([normals(600, 10, 2) * 1e-3, 1e3 * normals(5, 10, 3)]),
        normals(5, 10, 4)[torch.arange(2000) % 5],
    ],
    ids=["all alike", "one", "few", "constant numbers", "outliers", "copies"],
)
def test_odd_charts_have_places_too(features):
    made = Placing.of(features)
    samples = torch.cat([normals(50, 10, 9), 1e4 * normals(3, 10, 10), features[:20]])
    found = made.nearest([samples]).long()
    assert 0 <= int(found.min()) <= int(found.max()) < len(features)
    # A charted sample has one just like it.
    torch.testing.assert_close(features[found[53:]], features[:20], rtol=1e-2, atol=1e-2)


@pytest.mark.parametrize("scale", [1e-9, 1.0, 1e9])
@pytest.mark.parametrize("count", [200, 4100])
def test_all_products_are_whole_numbers_that_float32_has(scale, count):
    made = Placing.of(scale * normals(count, 50, 0) * torch.linspace(0.1, 3.0, 50))
    for part in (made.basis, made.coordinates, made.centres, made.weights, made.reach):
        assert part.equal(part.round())
    assert made.basis.abs().sum(0).max() * 127 < 2**24
    # A weight, and twice a product of two samples' coordinates, with room for a point's row.
    assert made.weights.abs().max() + 2 * 16 * made.reach.square().sum() < 2**24
    coded = made.coded(1e3 * scale * normals(100, 50, 1))
    assert (coded.abs() <= made.reach).all()
    assert sorted(made.members.unique().tolist()) == list(range(count))


def test_a_chart_of_the_largest_width_has_room():
    width = NUMBERS // placing.CHARTED_FROM
    assert width / 2 < placing._WHOLE / placing._STEPS
