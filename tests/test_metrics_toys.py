"""Known distributions in the plane, what is measured against them, and the copies that pass all of it."""

import math

import numpy as np
import pytest
import torch
from scipy import stats

import latentkit as lk
from latentkit.errors import ArgumentError, DataError, NonFiniteError, ShapeError
from latentkit.metrics import (
    Mixture,
    SwissRoll,
    copy_ratio,
    density_ratio_error,
    grid25_mixture,
    jensen_shannon,
    ring_mixture,
    toy_truth,
)
from trainers import grid25, imbalanced_ring, ring, swiss_roll

LOPSIDED = Mixture([[0.0, 0.0], [1.0, 0.5], [-1.0, 2.0]], sd=0.2, weights=[1, 2, 5])
TOYS = {
    "grid25": grid25_mixture(),
    "ring": ring_mixture(),
    "imbalanced ring": ring_mixture(range(1, 9)),
    "lopsided": LOPSIDED,
    "swiss roll": SwissRoll(),
}
each_toy = pytest.mark.parametrize("toy", TOYS.values(), ids=TOYS)


@each_toy
class TestToys:
    def test_a_larger_set_begins_with_the_smaller(self, toy):
        assert torch.equal(toy.sample(50, 3), toy.sample(80, 3)[:50])
        assert not torch.equal(toy.sample(50, 3), toy.sample(50, 4))
        assert toy.sample(5, 0).dtype == torch.float32

    def test_the_density_is_that_of_the_samples(self, toy):
        """The mean of q / p over draws of p is 1 for any density q where p is; here for a bump on the first part."""
        x = toy.sample(4_000, 1)
        centre = x[toy.locate(x).part == 0].double().mean(0)
        bump = Mixture(centre[None], 0.8 * toy.sd)
        ratio = (bump.log_prob(x) - toy.log_prob(x)).exp()
        assert ratio.mean() == pytest.approx(1.0, abs=5.0 * float(ratio.std()) / 4_000**0.5 + 1e-3)

    def test_shares(self, toy):
        found = toy.locate(toy.sample(20_000, 0))
        expected = toy.shares * 20_000
        counts = torch.bincount(found.part, minlength=len(toy.shares))
        assert float(((counts - expected) ** 2 / expected).sum()) < stats.chi2.ppf(0.9999, len(expected) - 1)
        assert toy.shares.sum() == pytest.approx(1.0)

    def test_offsets_are_the_noise(self, toy):
        offsets = toy.locate(toy.sample(5_000, 2)).offsets
        for coordinate in offsets.T:
            assert stats.kstest(coordinate.numpy() / toy.sd, "norm").pvalue > 1e-3

    def test_real_samples_pass(self, toy):
        found = toy_truth(toy.sample(10_000, 5), toy)
        assert found.high_quality > 0.999
        assert found.strict_modes == found.modes == len(toy.shares)
        assert found.missing == ()
        assert found.sd == pytest.approx(toy.sd, rel=0.02)
        assert found.js < 0.001
        assert sum(found.counts) == round(found.high_quality * found.count)


@pytest.mark.parametrize("toy", [LOPSIDED, SwissRoll(sd=0.3)], ids=["mixture", "roll"])
def test_the_density_integrates_to_one(toy):
    """By the midpoint rule on a grid that is finer than the noise."""
    step = 0.05
    axis = torch.arange(-4.5, 4.5, step) + step / 2
    assert float(toy.log_prob(torch.cartesian_prod(axis, axis)).exp().sum()) * step**2 == pytest.approx(1.0, abs=1e-3)


def test_trainers_draw_from_the_same_truth():
    for data, toy in (
        (grid25(500, 3), grid25_mixture()),
        (ring(500, 3), ring_mixture()),
        (imbalanced_ring(500, 3), ring_mixture(range(1, 9))),
    ):
        points, modes = toy.draw(500, 3)
        assert torch.equal(data.samples, points)
        assert torch.equal(data.labels, modes)
        assert torch.equal(toy.locate(points).part, modes)
    assert torch.equal(swiss_roll(500, 3).samples, SwissRoll().sample(500, 3))


class TestSwissRoll:
    def test_the_nearest_point_is_the_nearest_of_many(self, draw):
        roll, points = SwissRoll(), 1.5 * draw(300, 2)
        dense = torch.from_numpy(roll.curve(np.linspace(0.0, 1.0, 200_001)))
        wanted = torch.stack([(dense - point).norm(dim=1).min() for point in points.double()])
        torch.testing.assert_close(roll.locate(points).distance * roll.sd, wanted, rtol=0, atol=1e-6)

    def test_points_across_the_curve_lie_as_far_as_they_were_moved(self):
        roll, u = SwissRoll(), np.linspace(0.01, 0.99, 50)
        step = 1e-6
        along = (roll.curve(u + step) - roll.curve(u - step)) / (2 * step)
        across = np.stack([along[:, 1], -along[:, 0]], 1) / np.linalg.norm(along, axis=1, keepdims=True)
        found = roll.locate(torch.from_numpy(roll.curve(u) + 0.1 * across))
        torch.testing.assert_close(found.distance, torch.full((50,), 2.0).double(), rtol=1e-5, atol=0)
        torch.testing.assert_close(found.offsets[:, 0], torch.full((50,), 0.1).double(), rtol=1e-5, atol=0)
        assert found.part.tolist() == np.floor(50 * u).astype(int).tolist()

    def test_beyond_the_ends_points_are_far_but_not_across(self):
        roll = SwissRoll()
        end = roll.curve(np.array([0.99999, 1.0]))
        beyond = end[1] + 1.0 * (end[1] - end[0]) / np.linalg.norm(end[1] - end[0])
        found = roll.locate(torch.from_numpy(beyond[None]))
        assert found.distance[0] == pytest.approx(20.0, rel=1e-3)
        assert abs(found.offsets[0, 0]) < 0.01

    def test_half_a_roll(self):
        roll = SwissRoll()
        points = roll.sample(20_000, 1)
        inner = toy_truth(points[roll.locate(points).part < 25], roll)
        assert inner.high_quality > 0.999
        assert inner.missing == tuple(range(25, 50))
        assert inner.js == pytest.approx(jensen_shannon([2 / 50] * 25 + [0] * 25, [1 / 50] * 50), rel=0.02)


class TestTruth:
    """The 25 Gaussians: floors that were measured for real points, and generators that fail in known ways."""

    grid = grid25_mixture()

    def test_the_floor_of_real_points(self):
        found = [toy_truth(self.grid.sample(10_000, 10 + k), self.grid, seed=k) for k in range(4)]

        def mean(name):
            return sum(getattr(one, name) for one in found) / len(found)

        # For a Gaussian in the plane: 1 - exp(-r^2 / 2) within r, and the variance that the cut at 4 leaves.
        assert mean("high_quality") == pytest.approx(1 - math.exp(-8), abs=3e-4)
        assert mean("within_3_sd") == pytest.approx(1 - math.exp(-4.5), abs=2e-3)
        assert mean("sd") == pytest.approx(0.05 * math.sqrt(1 - 8 * math.exp(-8) / (1 - math.exp(-8))), rel=0.005)
        # 2 N JS is about half a chi-square of 24 degrees, over N: 24 / (8 N).
        assert mean("js") == pytest.approx(24 / (8 * 10_000), rel=0.6)
        assert all(0.008 < one.sliced_wasserstein < 0.045 for one in found)
        assert all(one.strict_modes == 25 for one in found)

    def test_modes_that_shrank_have_more_quality_and_less_width(self):
        points, modes = self.grid.draw(10_000, 1)
        means = self.grid.means[modes].float()
        found = toy_truth(means + 0.4 * (points - means), self.grid)
        assert found.high_quality == 1.0
        assert found.sd == pytest.approx(0.020, rel=0.02)

    def test_dropped_and_thin_modes_are_named(self):
        points, modes = self.grid.draw(12_000, 1)
        thin = (modes == 3) & (torch.arange(12_000) % 10 > 0)  # a tenth of them stays
        found = toy_truth(points[(modes != 7) & (modes != 24) & ~thin], self.grid)
        assert (found.missing, found.modes, found.strict_modes) == ((3, 7, 24), 23, 22)
        assert found.js > 0.02

    def test_weights_count(self):
        flat = toy_truth(ring_mixture().sample(8_000, 1), ring_mixture(range(1, 9)))
        assert flat.js == pytest.approx(jensen_shannon([1 / 8] * 8, [k / 36 for k in range(1, 9)]), rel=0.05)
        assert flat.missing == ()

    def test_a_collapsed_generator(self):
        found = toy_truth(torch.zeros(1_000, 2), self.grid)
        assert (found.high_quality, found.sd, found.modes, len(found.missing)) == (1.0, 0.0, 1, 24)
        assert found.js == pytest.approx(jensen_shannon([1.0] + [0.0] * 24, [1 / 25] * 25))
        assert found.sliced_wasserstein > 1

    def test_noise_and_nothing_good(self, draw):
        found = toy_truth(3 * draw(5_000, 2), self.grid)
        assert 0.02 < found.high_quality < 0.2
        nothing = toy_truth(torch.full((30, 2), 9.0), self.grid)
        assert (nothing.high_quality, nothing.modes) == (0.0, 0)
        assert math.isnan(nothing.sd)
        assert math.isnan(nothing.js)

    def test_copies_of_the_fresh_points_cannot_be_made_by_accident(self):
        """Trained on seed 0 and measured with seed 0, the reference must be other points."""
        assert toy_truth(self.grid.sample(2_000, 0), self.grid, seed=0).sliced_wasserstein > 0.005

    def test_bad_points(self):
        with pytest.raises(ShapeError, match=r"points must be \(N, 2\)"):
            toy_truth(torch.zeros(5, 3), self.grid)
        with pytest.raises(NonFiniteError, match="points must be finite"):
            toy_truth(torch.full((5, 2), math.nan), self.grid)


class TestJensenShannon:
    def test_closed_forms(self):
        assert jensen_shannon([0.5, 0.5], [0.5, 0.5]) == 0.0
        assert jensen_shannon([1.0, 0.0], [0.0, 1.0]) == pytest.approx(math.log(2))
        # Half of [1, 0] against all of [1/2, 1/2]: (ln 4/3 + ln 2/3 / 2 + ln 2 / 2) / 2.
        wanted = (math.log(4 / 3) + 0.5 * math.log(2 / 3) + 0.5 * math.log(2)) / 2
        assert jensen_shannon([1.0, 0.0], [0.5, 0.5]) == pytest.approx(wanted)
        assert jensen_shannon([0.2, 0.8, 0.0], [0.5, 0.5, 0.0]) == pytest.approx(jensen_shannon([0.5, 0.5], [0.2, 0.8]))

    @pytest.mark.parametrize(
        ("p", "error"), [([0.5, 0.6], ArgumentError), ([1.5, -0.5], ArgumentError), ([1.0], ShapeError)]
    )
    def test_refuses_what_is_no_distribution(self, p, error):
        with pytest.raises(error, match="p "):
            jensen_shannon(p, [0.5, 0.5])


class TestDensityRatioError:
    def test_the_exact_ratio_has_none_and_an_offset_is_itself(self):
        model = Mixture([[0.2, 0.0]], sd=0.5)
        x = torch.cat([LOPSIDED.sample(200, 0), model.sample(200, 0)])
        exact = LOPSIDED.log_prob(x) - model.log_prob(x)
        assert density_ratio_error(exact, x, LOPSIDED, model) == 0.0
        assert density_ratio_error(exact - 0.3, x, LOPSIDED, model) == pytest.approx(0.3)

    def test_two_gaussians(self):
        """log p / q of N(m, 1) and N(0, 1) is m x - m^2 / 2; that of 0 is wrong by |m x - m^2 / 2|."""
        p, q = lk.Normal(1, mean=2.0), lk.Normal(1)
        x = torch.tensor([[0.0], [1.0], [3.0]])
        assert density_ratio_error(torch.zeros(3), x, p, q) == pytest.approx((2 + 0 + 4) / 3)

    def test_one_ratio_a_point(self):
        with pytest.raises(ShapeError, match=r"log ratios must be \(3,\)"):
            density_ratio_error(torch.zeros(2), torch.zeros(3, 2), LOPSIDED, LOPSIDED)


class TestMixture:
    @pytest.mark.parametrize(
        ("arguments", "error"),
        [
            (([[0.0, 0.0, 0.0]], 1.0), ShapeError),
            (([[0.0, 0.0]], 0.0), ArgumentError),
            (([[0.0, 0.0]], 1.0, [1.0, 2.0]), ArgumentError),
            (([[0.0, 0.0], [1.0, 1.0]], 1.0, [1.0, 0.0]), ArgumentError),
            (([[0.0, 0.0], [1.0, 1.0]], 1.0, [1.0, math.inf]), NonFiniteError),
        ],
    )
    def test_bad_arguments(self, arguments, error):
        with pytest.raises(error):
            Mixture(*arguments)

    def test_the_density_of_one_mode(self):
        one = Mixture([[1.0, 2.0]], sd=0.5)
        assert one.log_prob([[1.0, 2.5]]).item() == pytest.approx(-0.5 - math.log(2 * math.pi * 0.25))


class TestCopyRatio:
    grid = grid25_mixture()

    @pytest.mark.parametrize("dim", [2, 12], ids=["by tree", "by products"])
    def test_new_samples_are_one_and_copies_near_zero(self, dim, draw):
        train, held_out, new = draw(2_000, dim), draw(800, dim, seed=1), draw(700, dim, seed=2)
        found = copy_ratio(train, held_out, new, resamples=200)
        assert found.interval[0] <= 1.0 <= found.interval[1]
        assert found.ratio == pytest.approx(1.0, abs=0.1)
        copies = copy_ratio(train, held_out, train[:500] + 1e-4 * draw(500, dim, seed=3), resamples=200)
        assert copies.interval[1] < 0.05
        assert copy_ratio(train, held_out, new + 30, resamples=20).ratio > 10

    def test_the_ratio_is_that_of_the_definition(self, draw, monkeypatch):
        monkeypatch.setattr("latentkit.metrics.copies._BLOCK", 16)
        for dim in (3, 20):
            t, h, g = draw(50, dim), draw(31, dim, seed=1), draw(21, dim, seed=2)
            near = [torch.cdist(x.double(), t.double()).amin(1).median().item() for x in (h, g)]
            assert copy_ratio(t, h, g, resamples=20).ratio == pytest.approx(near[1] / near[0], rel=1e-5)

    def test_copies_pass_all_else(self):
        """The training set with a little noise has every figure of real points; only the copy ratio sees it."""
        train, held_out = self.grid.sample(10_000, 0), self.grid.sample(5_000, 1)
        noise = Mixture([[0.0, 0.0]], sd=0.0005).sample(10_000, 2)
        truth = toy_truth(train + noise, self.grid)
        assert truth.high_quality > 0.999
        assert truth.strict_modes == 25
        assert truth.sd == pytest.approx(0.05, rel=0.02)
        assert truth.js < 0.001
        assert truth.sliced_wasserstein < 0.05
        assert copy_ratio(train, held_out, train + noise, resamples=100).interval[1] < 0.2
        assert copy_ratio(train, held_out, self.grid.sample(5_000, 3), resamples=100).ratio == pytest.approx(
            1, abs=0.06
        )

    def test_the_unit_changes_nothing(self, draw):
        t, h, g = draw(200, 3).double(), draw(90, 3, seed=1).double(), draw(80, 3, seed=2).double()
        found, scaled = copy_ratio(t, h, g, resamples=50), copy_ratio(1e-9 * t, 1e-9 * h, 1e-9 * g, resamples=50)
        assert (scaled.ratio, *scaled.interval) == pytest.approx((found.ratio, *found.interval))

    def test_bad_sets(self, draw):
        x = draw(30, 2)
        with pytest.raises(DataError, match="half of the held-out samples are equal to a training sample"):
            copy_ratio(x, x[:10], x)
        with pytest.raises(ShapeError, match="one shape, got 2, 2 and 1 values"):
            copy_ratio(x, x + 1, x[:, :1])
        with pytest.raises(ShapeError, match="held-out samples must be"):
            copy_ratio(x, x[:0], x)
