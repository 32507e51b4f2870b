"""A generator's derivatives and geodesics: exact for linear and isometric maps, invariant where they must be."""

import math

import pytest
import torch
from torch import nn

import latentkit as lk
from latentkit.errors import ArgumentError, CurveError, NonFiniteError, ShapeError
from latentkit.geometry import geodesic, local_geometry, polyline

D, M = 6, 9


def linear(matrix):
    return lk.wrap(lambda z: z.to(matrix.dtype) @ matrix.T - 1.0, lk.Normal(matrix.shape[1]))


def rank_of(matrix):
    """The definition: exp of the entropy of the singular values' shares."""
    shares = torch.linalg.svdvals(matrix.double())
    shares = shares[shares > 0] / shares.sum()
    return math.exp(-(shares * shares.log()).sum())


@pytest.fixture
def curved(build):
    """A network with batch norm in the middle and images at its end."""

    class Curved(nn.Module):
        def __init__(self):
            super().__init__()
            self.body = nn.Sequential(nn.Linear(D, 16), nn.BatchNorm1d(16), nn.Tanh(), nn.Linear(16, 2 * 3 * 3))
            self.body[1].running_var.fill_(2.0)

        def forward(self, z):
            return self.body(z).reshape(-1, 2, 3, 3)

    return lk.wrap(build(Curved), lk.Normal(D))


@pytest.mark.parametrize("shape", [(M, D), (D, M), (5, 5), (1, 4), (4, 1)])
def test_of_a_linear_map_both_are_the_matrixs_everywhere(shape, draw):
    matrix = draw(*shape)
    generator = linear(matrix)
    z = generator.prior.sample(4, seed=0)
    torch.testing.assert_close(lk.jacobian(generator, z), matrix.expand(4, -1, -1))
    wanted = torch.full((4,), rank_of(matrix), dtype=torch.float64)
    torch.testing.assert_close(lk.effective_rank(generator, z), wanted, rtol=1e-5, atol=0)


def test_directions_that_are_ignored_do_not_count(draw):
    orthogonal = torch.linalg.qr(draw(M, D)).Q
    kept = orthogonal.clone()
    kept[:, D // 2 :] = 0.0
    z = lk.Normal(D).sample(3, seed=0)
    torch.testing.assert_close(lk.effective_rank(linear(orthogonal), z), torch.full((3,), float(D)).double())
    torch.testing.assert_close(lk.effective_rank(linear(kept), z), torch.full((3,), D / 2).double())
    assert (lk.effective_rank(linear(torch.zeros(M, D)), z) == 0).all()


def test_the_unit_and_a_rotation_of_either_side_change_nothing(curved, draw):
    left, right = torch.linalg.qr(draw(18, 18)).Q, torch.linalg.qr(draw(D, D, seed=1)).Q
    z = curved.prior.sample(5, seed=0)
    turned = lk.wrap(lambda u: 1e-3 * curved(u @ right.T).flatten(1) @ left.T, lk.Normal(D))
    wanted = lk.effective_rank(curved, z)
    torch.testing.assert_close(lk.effective_rank(turned, z @ right), wanted, rtol=1e-4, atol=0)
    assert ((wanted >= 1) & (wanted <= D)).all()


def test_the_jacobian_is_reverse_modes_and_the_batch_changes_nothing(curved):
    z = curved.prior.sample(3, seed=1)
    curved.module.eval()
    wanted = torch.stack([torch.autograd.functional.jacobian(curved, row[None]).reshape(18, D) for row in z])
    for batch_size in (1, 5, 64):
        torch.testing.assert_close(lk.jacobian(curved, z, batch_size=batch_size), wanted)
        ranks = lk.effective_rank(curved, z, batch_size=batch_size)
        torch.testing.assert_close(ranks, torch.tensor([rank_of(matrix) for matrix in wanted]).double())


@pytest.mark.parametrize("training", [True, False])
def test_the_model_is_left_as_it_was(curved, training):
    curved.module.train(training)
    state = {name: value.clone() for name, value in curved.module.state_dict().items()}
    found = lk.jacobian(curved, curved.prior.sample(2, seed=0))
    assert not found.requires_grad
    assert all(part.training is training for part in curved.module.modules())
    assert all(p.grad is None and p.requires_grad for p in curved.module.parameters())
    assert all(torch.equal(value, state[name]) for name, value in curved.module.state_dict().items())
    with torch.no_grad():
        assert torch.equal(lk.jacobian(curved, curved.prior.sample(2, seed=0)), found)


def test_a_generator_that_torch_cannot_follow_is_refused_rather_than_called_flat():
    @torch.no_grad()
    def silent(z):
        return z * 2

    for function in (silent, lambda z: torch.from_numpy(z.detach().numpy() ** 2), torch.zeros_like):
        with pytest.raises(ArgumentError, match="do not depend on its latents by torch operations"):
            lk.effective_rank(lk.wrap(function, lk.Normal(2)), torch.zeros(1, 2))


def test_wrong_latents_are_named(curved):
    with pytest.raises(ShapeError, match=r"latents must be \(N, 6\), got \(2, 5\)"):
        lk.effective_rank(curved, torch.zeros(2, 5))
    with pytest.raises(ShapeError, match=r"z\[None\]"):
        lk.jacobian(curved, torch.zeros(6))
    with pytest.raises(NonFiniteError):
        lk.jacobian(curved, torch.full((1, 6), torch.nan))
    with pytest.raises(ArgumentError, match="batch_size"):
        lk.jacobian(curved, torch.zeros(1, 6), batch_size=0)


def test_local_geometry_of_a_linear_map_is_its_singular_values(draw):
    values = torch.tensor([4.0, 2.0, 1.0, 0.5])
    matrix = torch.linalg.qr(draw(M, 4)).Q * values @ torch.linalg.qr(draw(4, 4, seed=1)).Q
    generator = linear(matrix.double())
    found = local_geometry(generator, generator.prior.sample(3, seed=0))
    torch.testing.assert_close(found.singular_values, values.double().expand(3, 4), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(found.sensitivity, torch.full((3,), 4.0).double(), rtol=1e-5, atol=0)
    torch.testing.assert_close(found.frobenius, torch.full((3,), math.sqrt(21.25)).double(), rtol=1e-5, atol=0)
    # 4 * 2 * 1 * 0.5 = 4; shares of the squares are 0.753, 0.941, 0.988, 1.
    torch.testing.assert_close(found.log_volume, torch.full((3,), math.log(4.0)).double(), rtol=0, atol=1e-4)
    for explained, dimension in ((0.75, 1), (0.76, 2), (0.95, 3), (0.99, 4), (1.0, 4)):
        some = local_geometry(generator, generator.prior.sample(3, seed=0), explained=explained)
        assert some.dimension.tolist() == [dimension] * 3
    assert found.effective_rank.equal(lk.effective_rank(generator, generator.prior.sample(3, seed=0)))


def test_the_volume_grows_with_the_unit_in_each_direction_and_has_a_floor(curved):
    z = curved.prior.sample(3, seed=2)
    larger = lk.wrap(lambda u: 10.0 * curved(u), lk.Normal(D))
    grown = local_geometry(larger, z).log_volume - local_geometry(curved, z).log_volume
    torch.testing.assert_close(grown, torch.full((3,), D * math.log(10.0)).double(), rtol=1e-4, atol=1e-3)
    flat = lk.wrap(lambda u: torch.cat([3.0 * u[:, :1], 0.0 * u], 1), lk.Normal(2))
    found = local_geometry(flat, torch.zeros(2, 2))
    torch.testing.assert_close(found.log_volume, torch.full((2,), math.log(3.0) + math.log(3e-6)).double())
    assert found.dimension.tolist() == [1, 1]
    still = local_geometry(lk.wrap(lambda u: 0.0 * u, lk.Normal(2)), torch.zeros(1, 2))
    assert still.dimension.tolist() == [0]
    assert still.log_volume.tolist() == [-math.inf]
    assert still.sensitivity.tolist() == [0.0]


def test_the_volume_is_the_pseudo_determinant_where_samples_are_fewer_numbers(draw):
    wide = draw(2, 5)
    found = local_geometry(linear(wide), torch.zeros(1, 5))
    wanted = 0.5 * torch.logdet((wide @ wide.T).double())
    assert found.log_volume.item() == pytest.approx(wanted.item(), abs=1e-4)
    assert found.singular_values.shape == (1, 2)


def decoded(generator, curve, n=257):
    return lk.generate(generator, curve.steps(n)).flatten(1).double().diff(dim=0).norm(dim=1)


def energy(generator, points):
    steps = lk.generate(generator, points).flatten(1).double().diff(dim=0)
    return 0.5 * len(steps) * steps.square().sum()


def test_on_an_isometry_the_geodesic_is_the_straight_line(draw):
    generator = linear(torch.linalg.qr(draw(M, D)).Q)
    a, b = generator.prior.sample(2, seed=4)
    torch.testing.assert_close(geodesic(generator, a, b).steps(33), lk.lerp(a, b).steps(33), rtol=0, atol=1e-3)
    # The cylinder is rolled up without stretching.
    cylinder = lk.wrap(lambda z: torch.stack([z[:, 0].cos(), z[:, 0].sin(), z[:, 1]], 1), lk.Normal(2))
    a, b = torch.tensor([-0.5, -1.0]), torch.tensor([1.5, 0.7])
    torch.testing.assert_close(geodesic(cylinder, a, b).steps(33), lk.lerp(a, b).steps(33), rtol=0, atol=1e-3)


def test_where_samples_fill_the_plane_geodesics_decode_to_straight_lines():
    """Polar coordinates with a logarithmic radius: from one angle to another the line curves in the latents."""
    polar = lk.wrap(lambda z: z[:, :1].exp() * torch.stack([z[:, 1].cos(), z[:, 1].sin()], 1), lk.Normal(2))
    a, b = torch.tensor([0.0, -1.0]), torch.tensor([0.3, 1.0])
    first, last = lk.generate(polar, torch.stack([a, b])).double()
    found = decoded(polar, geodesic(polar, a, b, points=32))
    assert found.sum() == pytest.approx((last - first).norm().item(), rel=1e-3)
    assert decoded(polar, lk.lerp(a, b)).sum() > 1.1 * found.sum()
    assert found.max() < 1.2 * found.mean()


@pytest.mark.parametrize("steps", [1, 2, 50])
def test_the_energy_is_never_above_the_starts_and_the_ends_are_exact(curved, steps):
    for seed in range(3):
        a, b = curved.prior.sample(2, seed=seed)
        found = geodesic(curved, a, b, points=8, steps=steps)
        start = lk.interpolate(a, b, curved.prior).steps(9)
        assert energy(curved, found.steps(9)) <= energy(curved, start) * (1 + 1e-5)
        assert found([0.0, 1.0]).equal(torch.stack([a, b]))
        assert found.kind == "geodesic"
        assert found.steps(20).equal(geodesic(curved, a, b, points=8, steps=steps).steps(20))


def test_opposite_ends_have_a_geodesic_too(draw):
    generator = linear(torch.linalg.qr(draw(M, D)).Q)
    a = generator.prior.sample(1, seed=0)[0]
    torch.testing.assert_close(geodesic(generator, a, -a).steps(9), lk.lerp(a, -a).steps(9), rtol=0, atol=1e-3)


@pytest.mark.parametrize("training", [True, False])
def test_a_geodesic_leaves_the_model_as_it_was(curved, training):
    curved.module.train(training)
    with torch.no_grad():
        geodesic(curved, *curved.prior.sample(2, seed=0), steps=2)
    assert all(part.training is training for part in curved.module.modules())
    assert all(p.grad is None for p in curved.module.parameters())


def test_wrong_ends_are_named(curved):
    a, b = curved.prior.sample(2, seed=0)
    with pytest.raises(CurveError, match="the ends are equal"):
        geodesic(curved, a, a)
    with pytest.raises(ShapeError, match=r"the second end must be \(6,\)"):
        geodesic(curved, a, b[:3])
    with pytest.raises(ArgumentError, match="points"):
        geodesic(curved, a, b, points=0)
    with pytest.raises(ArgumentError, match="do not depend on its latents"):
        geodesic(lk.wrap(torch.zeros_like, lk.Normal(2)), torch.zeros(2), torch.ones(2))
    with pytest.raises(ArgumentError, match="explained"):
        local_geometry(curved, torch.zeros(1, 6), explained=0.0)


def test_a_polyline_goes_straight_through_its_points(draw):
    points = draw(5, 3)
    line = polyline(points, "test")
    assert line.steps(5).equal(points)
    torch.testing.assert_close(line(0.125)[0], (points[0] + points[1]) / 2)
    torch.testing.assert_close(line(0.9375)[0], 0.25 * points[3] + 0.75 * points[4])


def test_attention_has_derivatives_of_derivatives():
    from torch.nn.functional import scaled_dot_product_attention as attention

    generator = lk.wrap(lambda z: attention(*[z.unflatten(1, (1, 3, 2))] * 3).flatten(1), lk.Normal(6))
    z = generator.prior.sample(2, seed=0)
    step = 1e-6 * torch.eye(6, dtype=torch.float64)
    wanted = [(generator(row + step) - generator(row - step)).T / 2e-6 for row in z.double()]
    torch.testing.assert_close(lk.jacobian(generator, z), torch.stack(wanted).float(), rtol=1e-3, atol=1e-4)


def test_a_derivative_without_derivatives_is_named():
    class Once(torch.autograd.Function):
        @staticmethod
        def forward(ctx, z):
            return 2 * z

        @staticmethod
        @torch.autograd.function.once_differentiable
        def backward(ctx, slope):
            return 2 * slope

    with pytest.raises(ArgumentError, match="have none themselves"):
        lk.jacobian(lk.wrap(Once.apply, lk.Normal(2)), torch.zeros(1, 2))
