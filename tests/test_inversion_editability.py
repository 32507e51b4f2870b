"""Editability: latents are judged by the walks away from them, beside draws of the prior."""

import pytest
import torch

import latentkit as lk
from latentkit.errors import ArgumentError, ShapeError
from latentkit.inversion import editability, invert

PLAIN = lk.wrap(lambda z: z, lk.Normal(2))


def ring_critic(x):
    """Believes what lies between 0.8 and 2.5 from the origin: a hole in the middle, and nothing far outside."""
    radius = x.norm(dim=1)
    return 20.0 * torch.minimum(radius - 0.8, 2.5 - radius)


def disc_critic(x):
    return 10.0 * (2.5 - x.norm(dim=1))


def test_in_a_hole_edits_are_worse_than_outside_of_it():
    hole, good = torch.zeros(1, 2), torch.tensor([[1.5, 0.0]])
    found = editability(torch.cat([hole, good]), PLAIN, ring_critic, strengths=(0.2, 0.4))
    assert found.at[0] < 0.01 < 0.99 < found.at[1]
    assert found.score[0] < 0.1 < found.score[1]
    assert found.editable.tolist() == [False, True] or found.rank[0] < found.rank[1]


def test_the_middle_of_what_is_believed_bears_more_than_its_edge():
    ways = torch.cat([torch.eye(2), -torch.eye(2)])
    z = torch.tensor([[0.0, 0.0], [2.4, 0.0], [30.0, 0.0]])
    found = editability(z, PLAIN, disc_critic, directions=ways)
    assert found.score[0] > found.score[1] > found.score[2]
    assert found.rank[0] > 0.9
    assert not found.editable[2]
    assert (found.along[0].diff() <= 1e-6).all(), "farther is worse"
    assert found.verdict.startswith(f"{int(found.editable.sum())} of 3")


def test_draws_of_the_prior_are_usual():
    found = editability(PLAIN.prior.sample(300, seed=9), PLAIN, disc_critic)
    assert found.score.mean() == pytest.approx(1.0, abs=0.05)
    assert found.editable.float().mean() > 0.85
    assert found.prior_along.shape == (4,)
    torch.testing.assert_close(found.along.mean(0), found.prior_along, atol=0.05, rtol=0)
    assert found.rank.mean() == pytest.approx(0.5, abs=0.1)


def test_a_critic_that_believes_everything_finds_all_alike():
    found = editability(torch.zeros(2, 2), PLAIN, lambda x: x[:, 0] * 0)
    torch.testing.assert_close(found.score, torch.ones(2))
    assert found.editable.all()
    assert found.verdict.startswith("All 2")


def test_given_directions_are_walked_and_signs_count():
    """The right half of the plane is believed: to the right all is well, to the left nothing."""
    right = torch.tensor([[1.0, 0.0]])
    z = torch.tensor([[0.5, 0.0]])

    def half(x):
        return 50.0 * x[:, 0]

    there = editability(z, PLAIN, half, directions=right, strengths=(1.0, 2.0))
    back = editability(z, PLAIN, half, directions=right, strengths=(-1.0, -2.0))
    torch.testing.assert_close(there.along, torch.ones(1, 2))
    torch.testing.assert_close(back.along, torch.zeros(1, 2), atol=1e-6, rtol=0)
    assert there.strengths == (1.0, 2.0)


def test_a_latent_is_judged_alike_whatever_is_beside_it():
    z = PLAIN.prior.sample(6, seed=3)
    whole = editability(z, PLAIN, disc_critic)
    alone = editability(z[4:5], PLAIN, disc_critic, batch_size=7)
    torch.testing.assert_close(alone.score, whole.score[4:5])
    torch.testing.assert_close(alone.along, whole.along[4:5])


def test_an_inversion_is_its_latents():
    found = invert(PLAIN, torch.tensor([[0.3, 0.4]]))
    torch.testing.assert_close(
        editability(found, PLAIN, disc_critic).score, editability(found.latents, PLAIN, disc_critic).score
    )


def test_on_a_sphere_walks_stay_on_it():
    sphere = lk.wrap(lambda z: z, lk.Sphere(3, radius=2.0))

    def on_sphere(x):
        return 1e4 * (1e-2 - (x.norm(dim=1) - 2.0).abs())

    found = editability(sphere.prior.sample(4, seed=1), sphere, on_sphere)
    torch.testing.assert_close(found.along, torch.ones(4, 4))


@pytest.mark.parametrize(
    ("wrong", "error", "says"),
    [
        ({"strengths": ()}, ArgumentError, "strengths"),
        ({"strengths": ("far",)}, ArgumentError, "strengths"),
        ({"n": 0}, ArgumentError, "n must be"),
        ({"directions": torch.ones(1, 3)}, ShapeError, "directions"),
    ],
)
def test_wrong_arguments_are_named(wrong, error, says):
    with pytest.raises(error, match=says):
        editability(torch.zeros(1, 2), PLAIN, disc_critic, **wrong)
