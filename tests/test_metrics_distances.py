"""Two-sample distances: laws that they share, and the closed forms that they estimate."""

import math

import pytest
import torch

from latentkit.errors import ArgumentError, NonFiniteError, ShapeError
from latentkit.metrics import frechet_distance, mmd, sliced_wasserstein


def squared_mmd(real, generated):
    return mmd(real, generated, bandwidths=[0.5, 2.0], resamples=20).squared


def default_mmd(real, generated):
    return mmd(real, generated, resamples=20).squared


def frechet(real, generated):
    return frechet_distance(real, generated, features="coordinates").distance


def rotation(dim, draw):
    return torch.linalg.qr(draw(dim, dim, seed=77).double())[0]


DISTANCES = {
    "sliced": sliced_wasserstein,
    "mmd": squared_mmd,
    "mmd with its own bandwidths": default_mmd,
    "frechet": frechet,
}
each_distance = pytest.mark.parametrize("distance", DISTANCES.values(), ids=DISTANCES)


@each_distance
class TestLaws:
    def test_one_set_has_no_distance_to_itself(self, distance, draw):
        x = draw(120, 3)
        # The unbiased estimate leaves out each sample's similarity to itself, but not that to its copy.
        assert -0.02 < distance(x, x.flip(0)) < 1e-9

    def test_symmetric(self, distance, draw):
        a, b = draw(60, 3), 0.8 * draw(90, 3, seed=1)
        assert distance(a, b) == pytest.approx(distance(b, a), rel=1e-5)

    def test_the_order_of_samples_changes_nothing(self, distance, draw):
        a, b = draw(60, 3), 0.8 * draw(90, 3, seed=1)
        assert distance(a.flip(0), b.roll(7, 0)) == pytest.approx(distance(a, b), rel=1e-6)

    def test_a_common_offset_changes_nothing(self, distance, draw):
        a, b = draw(60, 3).double(), 0.8 * draw(90, 3, seed=1).double()
        assert distance(a + 1000.0, b + 1000.0) == pytest.approx(distance(a, b), rel=1e-5)

    def test_images_are_compared_as_the_rows_of_their_pixels(self, distance, draw):
        a, b = draw(40, 3, 2, 2), draw(50, 3, 2, 2, seed=1) + 0.5
        assert distance(a, b) == distance(a.flatten(1), b.flatten(1))

    def test_growing_with_the_shift(self, distance, draw):
        a, b = draw(300, 3), draw(300, 3, seed=1)
        found = [distance(a, b + shift) for shift in (0.0, 0.4, 0.8, 1.6)]
        assert found == sorted(found)

    @pytest.mark.parametrize(
        ("change", "error", "text"),
        [
            (lambda x: x[:, 0], ShapeError, r"generated (samples|features) must be \(N, ...\)"),
            (lambda x: x[:, :1], ShapeError, "one shape, got 2 and 1 values"),
            (lambda x: x[:0], ShapeError, r"rows, got \(0, 2\)"),
            (lambda x: x / 0, NonFiniteError, "must be finite"),
        ],
    )
    def test_bad_sides(self, change, error, text, distance):
        x = torch.zeros(20, 2)
        with pytest.raises(error, match=text):
            distance(x, change(x))


@pytest.mark.parametrize("distance", [frechet, squared_mmd], ids=["frechet", "mmd"])
def test_a_common_rotation_changes_nothing(distance, draw):
    a, b, turn = (
        draw(60, 4).double(),
        draw(70, 4, seed=1) * torch.tensor([1.0, 2.0, 0.5, 1.0]).double(),
        rotation(4, draw),
    )
    assert distance(a @ turn, b @ turn) == pytest.approx(distance(a, b), rel=1e-5)


@pytest.mark.parametrize("power", [1e-20, 0.01, 100.0, 1e20])
def test_units(power, draw):
    a, b = draw(60, 3).double(), 0.8 * draw(90, 3, seed=1).double()
    assert sliced_wasserstein(power * a, power * b) == pytest.approx(power * sliced_wasserstein(a, b), rel=1e-9)
    assert frechet(power * a, power * b) == pytest.approx(power**2 * frechet(a, b), rel=1e-9)
    assert default_mmd(power * a, power * b) == pytest.approx(default_mmd(a, b), rel=1e-4)


class TestSliced:
    def test_along_a_line_it_is_exact(self, draw):
        """Between sets of unequal sizes it is the integral of |F - G|, here summed between all jumps."""
        a, b = draw(7, 1), 2.0 * draw(12, 1, seed=1)
        jumps = torch.cat([a, b]).flatten().sort().values.double()
        gap = ((a <= jumps).double().mean(0) - (b <= jumps).double().mean(0)).abs()
        wanted = (gap[:-1] * jumps.diff()).sum()
        assert sliced_wasserstein(a, b) == pytest.approx(float(wanted), rel=1e-6)

    def test_repeated_rows_weigh_as_many_times(self, draw):
        a, b = draw(20, 3), draw(30, 3, seed=1)
        assert sliced_wasserstein(a.repeat(3, 1), b) == pytest.approx(sliced_wasserstein(a, b), rel=1e-9)

    @pytest.mark.parametrize("dim", [1, 2, 3, 10])
    def test_of_a_shift_it_is_its_mean_length_along_the_lines(self, dim, draw):
        """W1 of a shifted set is |u v| along u, and the mean of |u v| over the sphere is known."""
        shift = torch.zeros(dim)
        shift[0] = 3.0
        x = draw(50, dim)
        mean = math.gamma(dim / 2) / (math.sqrt(math.pi) * math.gamma((dim + 1) / 2))
        assert sliced_wasserstein(x, x + shift, directions=4000) == pytest.approx(
            3.0 * mean, rel=0.03 if dim > 2 else 1e-3
        )

    def test_lines_are_those_of_the_seed(self, draw):
        a, b = draw(50, 5), draw(50, 5, seed=1)
        assert sliced_wasserstein(a, b, seed=3) == sliced_wasserstein(a, b, seed=3)
        assert sliced_wasserstein(a, b, seed=3) != sliced_wasserstein(a, b, seed=4)
        assert sliced_wasserstein(a[:, :2], b[:, :2], seed=3) == sliced_wasserstein(a[:, :2], b[:, :2], seed=4)

    def test_many_samples_are_taken_some_lines_at_a_time(self, draw, monkeypatch):
        a, b = draw(50, 3), draw(60, 3, seed=1)
        whole = sliced_wasserstein(a, b)
        monkeypatch.setattr("latentkit.metrics.sliced._NUMBERS", 500)
        assert sliced_wasserstein(a, b) == pytest.approx(whole, rel=1e-12)

    def test_no_lines(self, draw):
        with pytest.raises(ArgumentError, match="directions must be"):
            sliced_wasserstein(draw(5, 2), draw(5, 2), directions=0)


def population_mmd(shift, spread, dim, widths):
    """Between N(0, 1) and N(shift, spread^2) in `dim` coordinates, the first of them shifted.

    Of a difference N(mu, v) in one coordinate the mean kernel is sqrt(w^2 / (w^2 + v)) exp(-mu^2 / (2 (w^2 + v))).
    """

    def mean_kernel(width, variance, mu):
        sum_ = width**2 + variance
        return (width**2 / sum_) ** (dim / 2) * math.exp(-(mu**2) / (2 * sum_))

    return sum(
        mean_kernel(w, 2, 0) + mean_kernel(w, 2 * spread**2, 0) - 2 * mean_kernel(w, 1 + spread**2, shift)
        for w in widths
    ) / len(widths)


class TestMMD:
    def test_the_estimate_is_that_of_its_definition(self, draw):
        """Gretton et al. (2012), equation 3, over all pairs."""
        a, b, widths = draw(11, 3).double(), draw(14, 3, seed=1).double(), (0.7, 2.0)

        def kernel(x, y):
            return sum(torch.exp(-torch.cdist(x, y).square() / (2 * w**2)) for w in widths) / 2

        def off_diagonal(k):
            return (k.sum() - k.trace()) / (len(k) * (len(k) - 1))

        wanted = off_diagonal(kernel(a, a)) + off_diagonal(kernel(b, b)) - 2 * kernel(a, b).mean()
        assert mmd(a, b, bandwidths=widths, resamples=20).squared == pytest.approx(float(wanted), rel=1e-5)

    def test_the_interval_holds_the_population_value(self, draw):
        """In about 95 of 100 repetitions where the distributions differ."""
        shift, spread, widths = 0.5, 1.2, (0.5, 1.0, 2.0)
        wanted = population_mmd(shift, spread, 2, widths)
        held, mean, width, lean = 0, 0.0, 0.0, 0.0
        for k in range(40):
            b = spread * draw(100, 2, seed=2 * k + 1)
            b[:, 0] += shift
            found = mmd(draw(100, 2, seed=2 * k), b, bandwidths=widths, resamples=100, seed=k)
            held += found.interval[0] <= wanted <= found.interval[1]
            mean += found.squared / 40
            width += (found.interval[1] - found.interval[0]) / 40
            lean += (sum(found.interval) / 2 - found.squared) / 40
        assert mean == pytest.approx(wanted, rel=0.15)
        assert held >= 34
        assert abs(lean) < 0.08 * width, "resamples repeat samples, and a sample is like its copy"

    def test_the_p_value_is_uniform_where_the_distributions_are_equal(self, draw):
        p = torch.tensor(
            [mmd(draw(40, 2, seed=2 * k), draw(40, 2, seed=2 * k + 1), resamples=60, seed=k).p_value for k in range(60)]
        )
        assert p.mean() == pytest.approx(0.5, abs=0.13)
        assert (p < 0.1).double().mean() < 0.22

    def test_a_small_shift_is_found_and_shuffled_kinds_are_not(self, draw):
        a, b = draw(300, 2), draw(300, 2, seed=1)
        assert mmd(a, b + 0.4, resamples=100).p_value == pytest.approx(1 / 101)
        assert mmd(a, b, resamples=100).p_value > 0.02
        assert mmd(a, a.flip(0), resamples=100).p_value > 0.9

    def test_dropped_modes_are_found_by_kernels_as_wide(self, draw):
        modes = torch.arange(300)[:, None] % 5 * torch.tensor([[1.0, 0.0]])
        real, dropped = modes + 0.05 * draw(300, 2), modes.clamp(max=3.0) + 0.05 * draw(300, 2, seed=1)
        assert mmd(real, dropped, resamples=50).p_value < 0.05

    def test_bandwidths_follow_the_median_distance(self, draw):
        a, b = draw(30, 2), draw(40, 2, seed=1)
        both = torch.cat([a, b]).double()
        apart = torch.pdist(both)
        lower = apart.sort().values[(len(apart) - 1) // 2]
        assert mmd(a, b, resamples=20).bandwidths == pytest.approx(
            [float(lower) * f for f in (0.125, 0.25, 0.5, 1, 2)], rel=1e-5
        )

    def test_collapsed_samples(self):
        same = torch.ones(20, 3)
        found = mmd(same, same, resamples=20)
        assert found.squared == pytest.approx(0.0, abs=1e-12)
        assert found.p_value == 1.0
        assert mmd(same, same + 1, resamples=20).p_value < 0.05

    def test_more_samples_than_one_block(self, draw, monkeypatch):
        a, b = draw(90, 2), 0.7 * draw(70, 2, seed=1)
        whole = mmd(a, b, resamples=30)
        monkeypatch.setattr("latentkit.neighbours._BLOCK", 32)
        parts = mmd(a, b, resamples=30)
        assert parts.squared == pytest.approx(whole.squared, rel=1e-9)
        assert parts.interval == pytest.approx(whole.interval, rel=1e-9)
        assert parts.p_value == whole.p_value

    @pytest.mark.parametrize(
        ("options", "text"),
        [
            ({"bandwidths": []}, "at least one bandwidth"),
            ({"bandwidths": [0.0]}, "a bandwidth must be a finite number, above 0"),
            ({"resamples": 5}, "resamples must be a whole number of at least 20"),
            ({"seed": -1}, "seed must be"),
        ],
    )
    def test_bad_options(self, options, text, draw):
        with pytest.raises(ArgumentError, match=text):
            mmd(draw(20, 2), draw(20, 2), **options)


def whitened(x):
    """Rows with exactly the mean 0 and the covariance 1."""
    x = x.double() - x.double().mean(0)
    return torch.linalg.solve_triangular(torch.linalg.cholesky(torch.cov(x.T)), x.T, upper=False).T


class TestFrechet:
    def test_commuting_gaussians(self, draw):
        """|m|^2 + sum (s_i - t_i)^2 for covariances with the same eigenvectors."""
        s, t = torch.tensor([1.0, 2.0, 0.5]).double(), torch.tensor([1.5, 2.0, 0.0]).double()
        turn, shift = rotation(3, draw), torch.tensor([1.0, -2.0, 0.5]).double()
        a, b = (whitened(draw(40, 3)) * s) @ turn, (whitened(draw(50, 3, seed=1)) * t) @ turn + shift
        found = frechet_distance(a, b, features="coordinates")
        assert found.mean == pytest.approx(float(shift.square().sum()), rel=1e-9)
        assert found.covariance == pytest.approx(float((s - t).square().sum()), rel=1e-9)
        assert found.distance == found.mean + found.covariance

    def test_gaussians_that_do_not_commute(self, draw):
        """For 2x2 matrices the trace of the root of P is sqrt(tr P + 2 sqrt(det P))."""
        mix = torch.tensor([[1.0, 0.7], [0.0, 0.5]]).double(), torch.tensor([[0.3, 0.0], [0.9, 1.4]]).double()
        a, b = whitened(draw(40, 2)) @ mix[0], whitened(draw(40, 2, seed=1)) @ mix[1]
        one, other = mix[0].T @ mix[0], mix[1].T @ mix[1]
        product = one @ other
        root = (product.trace() + 2 * torch.linalg.det(product).sqrt()).sqrt()
        assert frechet(a, b) == pytest.approx(float(one.trace() + other.trace() - 2 * root), rel=1e-9)

    def test_copies_and_singular_covariances_lose_no_digits(self, draw):
        flat = torch.cat([draw(50, 3), torch.zeros(50, 20)], 1)
        few = draw(8, 30)
        for x in (flat, few, torch.ones(5, 4)):
            assert frechet(x, x.flip(0)) < 1e-10
        assert frechet(flat, flat + 2.0) == pytest.approx(4.0 * 23, rel=1e-6)

    def test_the_floor_is_what_equal_gaussians_give(self, draw):
        scale = torch.tensor([1.0, 0.5, 2.0, 0.1, 1.0])
        pairs = [(scale * draw(120, 5, seed=2 * k), scale * draw(80, 5, seed=2 * k + 1)) for k in range(60)]
        found = [frechet_distance(a, b, features="coordinates") for a, b in pairs]
        mean = sum(one.distance for one in found) / len(found)
        assert mean == pytest.approx(sum(one.floor for one in found) / len(found), rel=0.12)

    def test_too_few_samples_are_recorded(self, draw):
        found = frechet_distance(draw(30, 8), draw(8, 8), features="the features")
        assert (found.full_rank, found.dim, found.real, found.generated) == (False, 8, 30, 8)
        assert found.features == "the features"
        assert frechet_distance(draw(30, 8), draw(9, 8), features="x").full_rank

    def test_one_feature(self):
        x = torch.tensor([[0.0], [2.0]])  # variance 2
        assert frechet(x, 3 * x) == pytest.approx(4.0 + (2 * 2**0.5) ** 2)

    def test_refusals(self, draw):
        with pytest.raises(ShapeError, match=r"real features must be .* at least 2 rows"):
            frechet(draw(1, 3), draw(5, 3))
        with pytest.raises(ArgumentError, match="features must name the feature space"):
            frechet_distance(draw(5, 3), draw(5, 3), features="")
