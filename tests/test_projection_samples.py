"""What of a sample is projected, and how neighbours are found."""

import pytest
import torch
from torch import nn

import latentkit as lk
from latentkit.errors import ArgumentError, NonFiniteError, ShapeError
from latentkit.nets import ConvCritic, MLPCritic
from latentkit.projection import critic_features, nearest_rows, project_samples, sample_features
from latentkit.projection.cells import part_into_cells


@pytest.fixture(scope="module")
def made(image_checkpoint):
    """A generator of images, its critic, and latents."""
    generator = image_checkpoint.generator
    return generator, image_checkpoint.critic, generator.prior.sample(40, seed=0)


def mean_and_spread(x):
    return torch.stack([x.mean((1, 2, 3)), x.std((1, 2, 3))], 1)


def test_by_default_it_is_the_critics_last_features(made):
    generator, critic, latents = made
    samples = lk.generate(generator, latents)
    with torch.no_grad():
        wanted = critic.features(samples)
    rows = sample_features(generator, latents, critic=critic, batch_size=7)
    torch.testing.assert_close(rows, wanted, rtol=1e-4, atol=1e-5)
    plane = project_samples(generator, latents, "pca", critic=critic)
    torch.testing.assert_close(plane.features, rows, rtol=1e-4, atol=1e-5)
    assert plane.of == "the critic's last features"
    assert repr(plane).startswith("PCA of 40 rows (the critic's last features): ")


@pytest.mark.parametrize(
    ("features", "wanted", "of"),
    [
        ("samples", lambda x, z: x.flatten(1), "all numbers of the samples"),
        ("latents", lambda x, z: z, "latents"),
        (mean_and_spread, lambda x, z: mean_and_spread(x), "features by mean_and_spread"),
    ],
    ids=["samples", "latents", "function"],
)
def test_anything_else_is_named(features, wanted, of, made):
    generator, critic, latents = made
    plane = project_samples(generator, latents, "pca", features=features, critic=critic)
    torch.testing.assert_close(plane.features, wanted(lk.generate(generator, latents), latents), rtol=1e-4, atol=1e-5)
    assert plane.of == of


def test_without_a_critic_that_has_features_it_is_the_samples(made):
    generator, _, latents = made
    for critic in (None, lambda x: x.mean((1, 2, 3))):
        assert project_samples(generator, latents, "pca", critic=critic).of == "all numbers of the samples"


def test_further_latents_are_placed_by_the_same_features(made):
    generator, critic, latents = made
    plane = project_samples(generator, latents, critic=critic)
    rows = sample_features(generator, latents[:5], critic=critic)
    torch.testing.assert_close(plane.transform(rows), plane.points[:5], atol=1e-2, rtol=1e-2)


def test_wrappers_are_looked_through_and_modes_are_kept(build):
    critic = build(lambda: ConvCritic(1, 32, 4, minibatch_kernels=3)).train()
    x = torch.linspace(-1, 1, 6 * 1024).reshape(6, 1, 32, 32)

    class Held:
        module = critic

    for found in (critic_features(critic), critic_features(Held()), critic_features(critic.forward)):
        assert found is not None
        rows = found(x)
        torch.testing.assert_close(rows[:1], found(x[:1]))
        assert critic.training
    assert critic_features(build(lambda: MLPCritic(2, 8, 2))) is not None
    assert critic_features(None) is None
    assert critic_features(nn.Flatten()) is None


@pytest.mark.parametrize(
    ("options", "error", "text"),
    [
        ({"features": "critic"}, ArgumentError, "no critic was given"),
        ({"features": "critic", "critic": nn.Flatten()}, ArgumentError, "Flatten has no `features`"),
        ({"features": "vgg"}, ArgumentError, "one of critic, samples, latents; got 'vgg'"),
        ({"features": lambda x: x.mean()}, ShapeError, "one row a sample"),
        ({"features": lambda x: x.flatten(1) / 0}, NonFiniteError, "features must be finite.*40 of 40 rows"),
        ({"method": "mds"}, ArgumentError, "method must be one of"),
        ({"batch_size": 0}, ArgumentError, "batch_size"),
    ],
)
def test_bad_calls_say_what_was_wanted(options, error, text, made):
    generator, _, latents = made
    with pytest.raises(error, match=text):
        project_samples(generator, latents, **options)
    with pytest.raises(ShapeError, match=r"latents must be \(N, 8\)"):
        project_samples(generator, latents[:, :3])


# ---- neighbours


@pytest.fixture
def clouds(draw):
    """2,000 rows in twelve clouds of 20 dimensions."""
    return draw(2000, 20) + 4.0 * draw(12, 20, seed=1)[torch.arange(2000) % 12]


def recall(found, exact):
    return (found.indices[:, :, None] == exact.indices[:, None, :]).any(2).double().mean().item()


def test_few_rows_are_searched_exactly(clouds):
    found = nearest_rows(clouds, 7)
    apart = torch.cdist(clouds.double(), clouds.double(), compute_mode="donot_use_mm_for_euclid_dist")
    wanted = apart.fill_diagonal_(torch.inf).topk(7, largest=False)
    assert found.indices.equal(wanted.indices)
    torch.testing.assert_close(found.distances.double(), wanted.values, rtol=1e-5, atol=0)
    assert nearest_rows(clouds, 7, seed=9).indices.equal(found.indices)


def test_many_rows_are_searched_cell_by_cell(clouds, monkeypatch):
    exact = nearest_rows(clouds, 10)
    monkeypatch.setattr("latentkit.projection.search.EXACT", 100)
    found = nearest_rows(clouds, 10, seed=1)
    assert recall(found, exact) > 0.96
    assert not (found.indices == torch.arange(2000)[:, None]).any()
    assert (found.distances.diff(dim=1) >= 0).all()
    assert (found.distances >= exact.distances - 1e-5).all(), "nothing is nearer than the nearest"
    measured = (clouds[found.indices] - clouds[:, None]).norm(dim=2)
    torch.testing.assert_close(found.distances, measured, rtol=1e-4, atol=1e-4)
    assert nearest_rows(clouds, 10, seed=1).indices.equal(found.indices)
    monkeypatch.setattr("latentkit.projection.search.RECALL", 1.0)
    assert recall(nearest_rows(clouds, 10, seed=1), exact) > recall(found, exact)


def test_cells_part_the_rows_and_all_of_them_are_all_rows(clouds):
    cells = part_into_cells(clouds, seed=0)
    assert len(cells) == 45
    assert torch.cat([cells.of(c) for c in range(45)]).sort().values.equal(torch.arange(2000))
    assert all((cells.cell[cells.of(c)] == c).all() for c in range(45))
    assert cells.around[:, 0].equal(torch.arange(45))
    assert 1 <= cells.reach(10, 0.5, seed=0) <= cells.reach(10, 0.98, seed=0) <= 45
    distances, indices = cells.nearest(3, 10, 45)
    assert indices.equal(nearest_rows(clouds, 10).indices[cells.of(3)])
    assert distances.shape == (len(cells.of(3)), 10)
    few = cells.nearest(3, 1000, 1)[1]
    assert few.shape[1] == 1000, "where a cell holds too few, the next ones are taken in"
    assert not (few == cells.of(3)[:, None]).any()


def test_more_neighbours_than_rows_are_refused(draw):
    with pytest.raises(ArgumentError, match="k must be below the number of rows, 5, got 5"):
        nearest_rows(draw(5, 2), 5)
