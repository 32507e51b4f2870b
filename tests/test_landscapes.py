"""The landscape, the tide and the journey, on two hills whose heights and pass are known."""

import math
from itertools import pairwise

import numpy as np
import pytest
import torch

import latentkit as lk
from latentkit.errors import ArgumentError, ShapeError
from latentkit.journeys import journey
from latentkit.landscapes import described, islands_picture, landscape, numbered, passes
from latentkit.planes import field_of, ground_of
from latentkit.tides import shores, tide, tide_levels

HILLS = torch.tensor([[-1.3, 0.0], [1.3, 0.0]])
WIDTH = 0.35


def ratio(x):
    """The log ratio of the density of two round hills to that of a standard normal."""
    near = torch.cdist(x, HILLS).square() / (-2.0 * WIDTH**2)
    return near.logsumexp(1) - math.log(2.0 * WIDTH**2) + 0.5 * x.square().sum(1)


def real(n, seed=0):
    z = lk.Normal(2).sample(n, seed=seed)
    return z * WIDTH + HILLS[torch.arange(n) % 2]


@pytest.fixture(scope="module")
def world():
    """The identity, so that the plane of latents is that of samples, and the exact critic."""
    generator = lk.wrap(lambda z: z, lk.Normal(2))
    return generator, lk.quality_map(generator, ratio, real(1000), n=1500, seed=3, method="logistic")


@pytest.fixture(scope="module")
def high():
    """Latents of 4 dimensions, of which the samples are the first two."""
    generator = lk.wrap(lambda z: z[:, :2], lk.Normal(4))
    return generator, lk.quality_map(generator, ratio, real(400), n=400, seed=3, method="logistic")


@pytest.fixture(scope="module")
def pictures():
    """Images that hold the two numbers of their latent."""
    generator = lk.wrap(lambda z: z.tanh().reshape(-1, 1, 1, 2).expand(-1, 1, 8, 2).contiguous(), lk.Normal(2))

    def critic(x):
        return ratio(torch.atanh(x[:, 0, 0].clamp(-0.999, 0.999)))

    return generator, critic, lk.quality_map(generator, critic, generator(real(400)), n=400, seed=3, method="logistic")


# ---- the landscape


def test_the_plane_is_that_of_latents_samples_or_a_projection(world, high, pictures):
    generator, quality = world
    assert ground_of(quality, generator).kind == "latents"
    assert torch.equal(ground_of(quality, generator).points, quality.latents)
    generator, quality = high
    ground = ground_of(quality, generator)
    assert ground.kind == "samples"
    assert torch.equal(ground.points, quality.latents[:, :2])
    plane = lk.project(lk.generate(generator, quality.latents), "pca", seed=0)
    ground = ground_of(quality, generator, plane)
    assert ground.kind == "projection"
    some = quality.latents[:5]
    assert torch.allclose(ground.places(some, some[:, :2]), plane.points[:5].float(), atol=1e-4)
    with pytest.raises(ShapeError, match="projection of the map's 100 samples, has 400"):
        ground_of(quality.rows(torch.arange(100)), generator, plane)
    flat = lk.wrap(lambda z: z, lk.Normal(4))
    with pytest.raises(ArgumentError, match="have no plane of their own"):
        ground_of(quality, flat)


def test_a_field_is_the_map_of_the_middles_of_its_cells(world):
    generator, quality = world
    field = field_of(quality, generator, ratio, side=7)
    assert field is not None
    left, right, bottom, top = field.limits
    for row, column in ((0, 0), (3, 5), (6, 2)):
        place = torch.tensor([[left + (column + 0.5) / 7 * (right - left), bottom + (row + 0.5) / 7 * (top - bottom)]])
        wanted = quality.scored(generator, ratio, place)
        assert field.probability[row, column] == pytest.approx(float(wanted.probability), abs=1e-6)
        assert int(field.places[row, column]) == int(wanted.places)


def test_only_a_prior_that_fills_its_plane_has_a_field():
    for prior, filled in ((lk.Uniform(2), True), (lk.Sphere(2), False)):
        generator = lk.wrap(lambda z: z, prior)
        quality = lk.quality_map(generator, ratio, real(100), n=60, allow_uninformative=True)
        field = field_of(quality, generator, ratio, side=4)
        assert (field is not None) == filled
        if field is not None:
            assert field.limits == (-1.0, 1.0, -1.0, 1.0), "no latent lies beyond the bounds"


def test_charted_latents_have_the_numbers_of_their_islands(world):
    _, quality = world
    islands = quality.islands()
    assert len(islands) == 2
    on = islands.labels >= 0
    assert torch.equal(numbered(quality, islands)[quality.places.long()][on], islands.labels[on])


def test_the_pass_between_two_hills_lies_between_them(world):
    _, quality = world
    islands = quality.islands()
    (found,) = passes(quality, islands)
    assert found.islands == (0, 1)
    assert found.probability == float(quality.bottleneck(*islands.representative))
    assert float(quality.chart.probability[found.row]) == found.probability
    x, y = quality.chart.latents[found.row].tolist()
    # On the straight way the ratio is lowest half-way; a cloud has no point quite there.
    assert abs(x) < 0.6
    assert abs(y) < 1.2
    assert found.probability < islands.threshold


def test_an_island_is_described_by_what_it_holds(world):
    _, quality = world
    labels = (quality.latents[:, 0] > 0).long()
    islands = quality.islands(labels=labels)
    for k in range(2):
        kind = ("left", "right")[int(labels[islands.representative[k]])]
        share = 100 * float(islands.share[k])
        assert described(islands, k, ("left", "right")) == f"{k + 1}: {share:.1f} % ({kind} 100 %)"
        assert described(islands, k) == f"{k + 1}: {share:.1f} %"


def test_pictures_are_the_same_each_time(world, high):
    for generator, quality in (world, high):
        first, second = (landscape(quality, generator, ratio) for _ in range(2))
        assert first.dtype == np.uint8
        assert first.shape[2] == 3
        assert np.array_equal(first, second)
    islands = quality.islands()
    points = ground_of(quality, generator).points
    drawn = islands_picture(points, islands, axes=("x", "y"))
    none = islands_picture(points, quality.islands(1.0), axes=("x", "y"))
    assert not np.array_equal(drawn, none)


# ---- the tide


def test_levels_rise_from_the_lowest_to_the_highest_probability(world):
    _, quality = world
    for count in (2, 3, 4, 60):
        levels = tide_levels(quality, count)
        assert len(levels) == count
        assert bool((levels.diff() >= 0).all())
        assert (levels[0], levels[-1]) == (quality.probability.min(), quality.probability.max())


def test_the_tide_finds_the_islands_of_each_threshold(world):
    _, quality = world
    found = shores(quality, tide_levels(quality, 12))
    for level, count, share in zip(found.levels.tolist(), found.count.tolist(), found.share.tolist(), strict=True):
        islands = quality.islands(level)
        assert count == len(islands)
        assert share == islands.good / len(quality)


def test_an_island_keeps_its_peak_while_that_is_dry(world):
    _, quality = world
    found = shores(quality, tide_levels(quality, 30))
    height = quality.chart.probability
    for t, level in enumerate(found.levels.tolist()):
        for rank in found.peaks[t].unique().tolist():
            if rank < 0:
                continue
            land = (found.peaks[t] == rank) & (height >= level)
            assert height[found.rows[rank]] == height[land].max(), "it is the highest of its island"
    # Rising water splits islands but never gives a point a higher peak.
    for (before, after), level in zip(pairwise(found.peaks), found.levels[1:].tolist(), strict=True):
        dry = (height >= level) & (before >= 0) & (after >= 0)
        peaks = [height[found.rows[side[dry].long()]] for side in (before, after)]
        assert bool((peaks[0] >= peaks[1]).all())


def test_the_order_of_levels_changes_nothing(world):
    _, quality = world
    levels = tide_levels(quality, 9)
    rising, falling = shores(quality, levels), shores(quality, levels.flip(0))
    assert torch.equal(rising.rows, falling.rows)
    assert torch.equal(rising.peaks, falling.peaks.flip(0))


def test_given_islands_keep_their_numbers(world):
    _, quality = world
    islands = quality.islands()
    found = shores(quality, [0.0, islands.threshold], islands=islands)
    on = islands.labels >= 0
    assert torch.equal(found.peaks[1][quality.places.long()][on].long(), islands.labels[on])
    assert found.count.tolist() == [1, 2]


@pytest.mark.parametrize("levels", [[], [0.5, 1.5], [math.nan], [[0.1]]])
def test_levels_are_probabilities(world, levels):
    with pytest.raises(ArgumentError, match="levels must be"):
        shores(world[1], levels)


def test_a_tide_is_filmed_twice_alike_and_says_what_it_shows(world, high):
    for generator, quality in (world, high):
        film = tide(quality, generator, ratio, frames=6, size=200)
        assert film.count == 6
        first, second = (list(film.frames()) for _ in range(2))
        assert all(np.array_equal(a, b) for a, b in zip(first, second, strict=True))
        assert film.captions[0].endswith("100.0 % above water · 1 island")
        # The land that is coloured only shrinks: true colours are far from grey and from the pale blue of water.
        land = [int(((np.ptp(frame.astype(int), axis=2)) > 60).sum()) for frame in first]
        assert land[0] > land[3] > land[-1]


def test_a_tide_that_falls_is_one_that_rises_backwards(high):
    generator, quality = high
    levels = tide_levels(quality, 5)
    up, down = (tide(quality, generator, ratio, levels=some, size=200) for some in (levels, levels.flip(0)))
    assert up.captions == down.captions[::-1]
    assert all(np.array_equal(a, b) for a, b in zip(up.frames(), reversed(list(down.frames())), strict=True))


def test_a_map_without_chart_has_no_tide():
    generator = lk.wrap(lambda z: z, lk.Normal(2))
    quality = lk.quality_map(generator, ratio, real(100), n=100, graph_limit=0)
    with pytest.raises(ArgumentError, match="has no chart"):
        tide(quality, generator, ratio)


# ---- the journey


def test_a_journey_goes_from_end_to_end_by_every_curve(world):
    generator, quality = world
    a, b = torch.tensor([-1.3, 0.1]), torch.tensor([-1.0, 0.4])
    trip = journey(quality, generator, ratio, a, b, steps=11)
    assert trip.names == ("route", "prior-matched", "lerp")
    for latents in trip.latents:
        assert torch.equal(latents[0], a)
        assert torch.equal(latents[-1], b)
    assert torch.allclose(trip.latents[2, 5], (a + b) / 2)
    assert torch.equal(trip.places, trip.latents), "the plane is that of the latents"
    wanted = quality.calibration.probability(ratio(trip.samples.flatten(0, 1))).reshape(3, 11)
    assert torch.allclose(trip.probability, wanted)


def test_a_journey_has_a_picture_and_a_film(world, high, pictures):
    cases = [(*world, ratio), (*high, ratio), (pictures[0], pictures[2], pictures[1])]
    for generator, quality, critic in cases:
        good = quality.top(0.2).index
        trip = journey(quality, generator, critic, int(good[0]), int(good[1]), steps=5)
        assert trip.picture().shape[2] == 3
        film = trip.film()
        frames = list(film.frames())
        assert len(frames) == film.count == 5
        assert not np.array_equal(frames[0], frames[-1])
        assert all(np.array_equal(a, b) for a, b in zip(frames, film.frames(), strict=True))
        assert film.captions[0].startswith("probability: route ")


def test_a_journey_between_opposite_ends_has_no_matched_curve():
    generator = lk.wrap(lambda z: z, lk.Normal(2))
    quality = lk.quality_map(generator, ratio, real(400), n=300, seed=1, method="logistic")
    a = torch.tensor([0.5, 0.5])
    trip = journey(quality, generator, ratio, a, -a, steps=4)
    assert trip.names == ("route", "lerp")
    assert len(trip.latents) == 2
