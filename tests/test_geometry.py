"""The Jacobian of a generator and its effective rank: exact for linear maps, invariant where they must be."""

import math

import pytest
import torch
from torch import nn

import latentkit as lk
from latentkit.errors import ArgumentError, NonFiniteError, ShapeError

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
