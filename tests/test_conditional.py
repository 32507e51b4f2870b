"""Conditional generators: one class is the network with that label, all classes are an even mixture of them."""

from dataclasses import replace

import pytest
import torch
from torch import nn

import latentkit as lk
from latentkit.errors import ArgumentError, CheckpointError, LabelError, ShapeError
from latentkit.nets import MLPClassifier, MLPCritic, MLPGenerator
from latentkit.protocols import evaluating

CLASSES = ("near", "far", "beyond")


@pytest.fixture
def shifted():
    return lk.wrap(lambda z, y: z + 10.0 * y[:, None], lk.Normal(2), classes=CLASSES)


@pytest.fixture
def checkpoint(build):
    """Untrained networks with three classes; the held-out samples say which class they are of."""
    generator = build(lambda: MLPGenerator(2, 2, 8, 1, classes=3)).eval()
    critic = build(lambda: MLPCritic(2, 8, 1, classes=3), seed=1).eval()
    labels = torch.arange(30) % 3
    return lk.Checkpoint(
        generator=lk.wrap(generator, lk.Normal(2), classes=CLASSES),
        critic=critic,
        holdout=labels[:, None].repeat(1, 2).float(),
        holdout_labels=labels,
        classes=CLASSES,
        data="steps",
        settings={"steps": 0},
    )


# ---- one class


@pytest.mark.parametrize(("label", "index"), [("near", 0), ("far", 1), (0, 0), (2, 2), (torch.tensor(1), 1)])
def test_condition_narrows_to_one_class(shifted, label, index, draw):
    z = draw(4, 2)
    narrow = lk.condition(shifted, label)
    assert isinstance(narrow, lk.Generator)
    assert narrow.prior == shifted.prior
    assert narrow.label == CLASSES[index]
    assert lk.generate(narrow, z).equal(z + 10.0 * index)
    assert shifted(z, torch.full((4,), index)).equal(narrow(z))


def test_a_class_named_by_a_digit_is_found_by_name_first():
    generator = lk.wrap(lambda z, y: y[:, None], lk.Normal(1), classes=["1", "0"])
    assert lk.condition(generator, "1")(torch.zeros(1, 1)).item() == 0
    assert lk.condition(generator, 1)(torch.zeros(1, 1)).item() == 1


@pytest.mark.parametrize("label", ["middle", 3, -1, 1.0, None, True])
def test_an_unknown_class_lists_the_classes(shifted, label):
    with pytest.raises(LabelError, match=r"label must be one of near, far, beyond \(or 0 to 2\), got"):
        lk.condition(shifted, label)


@pytest.mark.parametrize("view", [lambda model: lk.condition(model, 0), lk.marginal])
def test_what_has_no_classes_is_used_as_it_is(view, checkpoint):
    plain = lk.wrap(lambda z: z, lk.Normal(2))
    with pytest.raises(LabelError, match="this generator is not conditional"):
        view(plain)
    with pytest.raises(LabelError, match="this checkpoint's generator is not conditional"):
        view(replace(checkpoint, generator=plain))


# ---- all classes


@pytest.mark.parametrize("prior", [lk.Normal(3), lk.Normal(3, mean=2.0, std=0.5)])
def test_the_classes_are_equally_frequent_and_change_nothing_else(prior):
    count, n = 5, 20_000
    generator = lk.marginal(lk.wrap(lambda z, y: z, prior, classes=count))
    assert generator.prior == lk.Normal(prior.dim + count, prior.mean, prior.std)
    z = generator.prior.sample(n, seed=0)
    labels = generator.labels(z)
    share = torch.bincount(labels, minlength=count) / n
    assert (share - 1 / count).abs().max() < 4 * (0.2 * 0.8 / n) ** 0.5
    for k in range(count):
        inner = generator.inner(z)[labels == k]
        assert (inner.mean(0) - prior.mean).abs().max() < 5 * prior.std / len(inner) ** 0.5
        torch.testing.assert_close(inner.std(0), torch.full((3,), prior.std), rtol=0.06, atol=0.0)


def test_each_sample_is_that_of_its_class(shifted):
    both = lk.marginal(shifted)
    assert isinstance(both, lk.Generator)
    assert both.classes == CLASSES
    z = both.prior.sample(64, seed=3)
    samples, labels = lk.generate(both, z), both.labels(z)
    assert set(labels.tolist()) == {0, 1, 2}
    for k in range(3):
        narrow = lk.condition(shifted, k)
        assert samples[labels == k].equal(lk.generate(narrow, both.inner(z)[labels == k]))
    assert lk.generate(both, z, batch_size=7).equal(samples)


def test_a_walk_enters_each_class_at_most_once(shifted):
    """Along a combination of two latents the coordinates are proportional to linear functions of the way."""
    both = lk.marginal(lk.wrap(shifted.module, lk.Normal(2), classes=10))
    prior = both.prior
    for seed in range(20):
        a, b = prior.sample(2, seed=seed)
        visited = both.labels(lk.interpolate(a, b, prior).steps(400)).unique_consecutive()
        assert len(visited) == len(visited.unique())


def test_in_class_changes_the_class_and_nothing_else(shifted):
    both = lk.marginal(shifted)
    z = both.prior.sample(5000, seed=1)
    moved = both.in_class(z, 2)
    assert both.labels(moved).eq(2).all()
    assert both.inner(moved).equal(both.inner(z))
    assert moved[:, 2:].sort(1).values.equal(z[:, 2:].sort(1).values)
    own = both.labels(z)
    assert moved[own == 2].equal(z[own == 2])
    assert both.in_class(z, own).equal(z)
    # Draws that are exchanged into a class are distributed as those that were in it.
    torch.testing.assert_close(moved[own != 2].mean(0), z[own == 2].mean(0), rtol=0.0, atol=0.08)


def test_in_class_checks_its_labels(shifted):
    both = lk.marginal(shifted)
    z = both.prior.sample(4, seed=0)
    with pytest.raises(ShapeError, match=r"one a latent, \(4,\), got \(3,\)"):
        both.in_class(z, torch.zeros(3))
    with pytest.raises(LabelError, match="0 to 2, got 0 to 3"):
        both.in_class(z, torch.arange(4))


@pytest.mark.parametrize("prior", [lk.Uniform(2), lk.Sphere(2), lk.Empirical.fit(torch.eye(2))])
def test_another_prior_has_no_marginal_view(prior):
    generator = lk.wrap(lambda z, y: z, prior, classes=2)
    with pytest.raises(ArgumentError, match=r"normal prior.*condition\(generator, label\)"):
        lk.marginal(generator)


@pytest.mark.parametrize("view", [lambda g: lk.condition(g, 0), lk.marginal])
def test_the_network_of_a_view_runs_in_eval_mode(view, build):
    class Noisy(nn.Module):
        def __init__(self):
            super().__init__()
            self.drop = nn.Dropout(0.5)

        def forward(self, z, y):
            return self.drop(z)

    module = build(Noisy).train()
    seen = view(lk.wrap(module, lk.Normal(3), classes=2))
    with evaluating(seen):
        assert not module.drop.training
    assert module.drop.training


# ---- whole checkpoints


def test_a_narrowed_checkpoint_is_all_about_its_class(checkpoint):
    narrow = lk.condition(checkpoint, "far")
    z = narrow.generator.prior.sample(16, seed=0)
    ones = torch.ones(16, dtype=torch.long)
    assert lk.generate(narrow.generator, z).equal(checkpoint.generator(z, ones))
    assert narrow.holdout.eq(1.0).all()
    assert len(narrow.holdout) == 10
    assert narrow.classes == ("far",)
    assert narrow.holdout_labels.eq(0).all()
    x = lk.generate(narrow.generator, z)
    assert lk.score(narrow.critic, x).equal(checkpoint.critic(x, ones))
    assert not lk.score(narrow.critic, x).equal(lk.score(checkpoint.critic, x))
    assert (narrow.data, narrow.settings, narrow.fingerprint) == ("steps", {"steps": 0}, checkpoint.fingerprint)


def test_the_marginal_checkpoint_keeps_its_critic_and_samples(checkpoint, build):
    whole = lk.marginal(replace(checkpoint, encoder=nn.Identity()))
    assert whole.generator.prior == lk.Normal(5)
    assert whole.critic is checkpoint.critic
    assert whole.holdout is checkpoint.holdout
    assert whole.classes == CLASSES
    assert whole.encoder is None, "its latents are not those of this view"
    assert whole.fingerprint == checkpoint.fingerprint


@pytest.mark.parametrize(
    "critic", [lambda: MLPClassifier(2, 8, 1, 3), lambda: nn.Flatten(0), lambda: MLPCritic(2, 8, 1)]
)
def test_a_critic_that_takes_no_labels_stays_as_it_is(checkpoint, critic, build):
    own = build(critic)
    assert lk.condition(replace(checkpoint, critic=own), 0).critic is own
    assert lk.condition(replace(checkpoint, critic=None), 0).critic is None


def test_a_narrowed_critic_is_evaluated_properly(checkpoint, build):
    """In training mode this critic compares a sample with its batch."""
    critic = build(lambda: MLPCritic(2, 8, 1, classes=3, minibatch_kernels=2)).train()
    narrow = lk.condition(replace(checkpoint, critic=critic), 1).critic
    x = torch.linspace(-1, 1, 8).reshape(4, 2)
    torch.testing.assert_close(lk.score(narrow, x, batch_size=4), lk.score(narrow, x, batch_size=1))
    assert critic.training


def test_without_labels_no_held_out_sample_is_of_the_class(checkpoint):
    narrow = lk.condition(replace(checkpoint, holdout_labels=None), 1)
    assert narrow.holdout.shape == (0, 2)
    assert narrow.holdout_labels is None


@pytest.mark.parametrize("view", [lambda c: lk.condition(c, 0), lk.marginal])
def test_a_view_is_not_saved_in_the_place_of_the_whole(checkpoint, view, tmp_path):
    with pytest.raises(CheckpointError, match="save the checkpoint that it was made of"):
        view(checkpoint).save(tmp_path / "run")
    assert list(tmp_path.iterdir()) == []


def test_the_classes_of_a_checkpoint_are_its_generators(checkpoint):
    with pytest.raises(LabelError, match=r"\(near, far, beyond\), got \(a, b, c\)"):
        replace(checkpoint, classes=("a", "b", "c"))
