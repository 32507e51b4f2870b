"""The semi-supervised GAN: which labels count, that no others do, exact resume, and known truths."""

import dataclasses

import pytest
import torch

import latentkit as lk
from latentkit.errors import ArgumentError, LabelError
from latentkit.nets import MLPClassifier
from trainers import Data, digits, moons, parabola, ring
from trainers.semi import SemiConfig, accuracy, labelled_rows, train_semi_supervised

QUICK = {"threads": 1, "precision": "float32"}
POINTS = {**QUICK, "labels_per_class": 2, "steps": 12, "batch_size": 16, "width": 8, "check_every": 5}
IMAGES = {**QUICK, "labels_per_class": 2, "steps": 6, "batch_size": 8, "width": 4, "check_every": 4, "latent_dim": 4}

# Runs this short make samples that are all alike, and say so.
pytestmark = pytest.mark.filterwarnings("ignore:the samples are nearly identical")


def few_digits():
    data = digits()
    return Data("digits", data.samples[:150, :, ::2, ::2].contiguous(), data.labels[:150], data.classes)


DATA = {"points": (lambda: ring(n=200), POINTS), "images": (few_digits, IMAGES)}
each_kind = pytest.mark.parametrize("kind", DATA)


def train(data, settings, *, out=None, resume=False, on_step=None, **changes):
    config = SemiConfig(**{**settings, **changes})
    return train_semi_supervised(data, config, out=out, resume=resume, on_step=on_step, progress=False)


def weights(checkpoint):
    return {**checkpoint.generator.module.state_dict(), **checkpoint.critic.state_dict(prefix="critic.")}


def same(one, other):
    ours, theirs = weights(one), weights(other)
    return ours.keys() == theirs.keys() and all(torch.equal(ours[name], theirs[name]) for name in ours)


def parts(data, settings):
    """The rows of the data whose labels are used, and those of the other samples to train on, in rising order."""
    numbered = Data("numbers", torch.arange(len(data), dtype=torch.float32)[:, None], data.labels, data.classes)
    train_part, _ = numbered.split(20, 0)
    rows = train_part.samples[:, 0].long()
    used = torch.zeros(len(rows), dtype=torch.bool)
    used[labelled_rows(train_part, settings["labels_per_class"], 0)] = True
    return rows[used].sort().values, rows[~used].sort().values


def relabelled(data, rows, kept):
    """The data with other labels at `rows`, as long as `kept(data)` stays as it is; and how many were changed."""
    count, before = 0, kept(data)
    for row in rows.tolist():
        labels = data.labels.clone()
        labels[row] = (labels[row] + 1) % len(data.classes)
        other = dataclasses.replace(data, labels=labels)
        if kept(other).equal(before):
            data, count = other, count + 1
    return data, count


class TestLabelledRows:
    @pytest.mark.parametrize("per_class", [1, 3, 12])
    def test_as_many_of_each_class(self, per_class):
        data = ring(n=200)
        rows = labelled_rows(data, per_class, 0)
        assert torch.bincount(data.labels[rows]).tolist() == [per_class] * 8
        assert rows.equal(rows.unique())

    def test_the_seed_decides_and_more_are_a_superset(self):
        data = ring(n=400)
        rows = labelled_rows(data, 4, 0)
        assert rows.equal(labelled_rows(data, 4, 0))
        assert not rows.equal(labelled_rows(data, 4, 1))
        assert set(rows.tolist()) <= set(labelled_rows(data, 9, 0).tolist())

    def test_every_sample_is_as_likely(self):
        data = dataclasses.replace(moons(n=20), labels=torch.arange(20) % 2)
        counts = torch.stack([torch.bincount(labelled_rows(data, 3, seed), minlength=20) for seed in range(400)]).sum(0)
        assert counts.sum() == 400 * 6
        assert counts.double() == pytest.approx(120, abs=5 * (400 * 0.3 * 0.7) ** 0.5)

    def test_too_few_labels_name_the_class(self):
        data = moons(n=20)
        labels = torch.zeros(20, dtype=torch.long)
        labels[0] = 1
        with pytest.raises(LabelError, match=r"labels_per_class must be at most 1, .* class lower .* got 2"):
            labelled_rows(dataclasses.replace(data, labels=labels), 2, 0)
        with pytest.raises(LabelError, match="no labels"):
            labelled_rows(parabola(n=20), 2, 0)


class TestAccuracy:
    def test_it_is_the_share_that_is_right(self, build):
        classifier = build(lambda: MLPClassifier(2, 4, 1, 3))
        points = moons(n=1201).samples
        right = classifier.classify(points).argmax(1)
        labels = torch.where(torch.arange(1201) < 300, right, (right + 1) % 3)
        assert accuracy(classifier, points, labels) == pytest.approx(300 / 1201)
        assert classifier.training


class TestLaws:
    @each_kind
    def test_the_seed_decides_the_weights(self, kind):
        make, settings = DATA[kind]
        state = torch.random.get_rng_state()
        one = train(make(), settings)
        assert same(one, train(make(), settings))
        assert not same(one, train(make(), settings, seed=1))
        assert torch.equal(state, torch.random.get_rng_state())

    @each_kind
    def test_stopped_it_is_an_unbroken_run(self, kind, tmp_path):
        make, settings = DATA[kind]
        whole = train(make(), settings)
        train(make(), settings, out=tmp_path / "run", steps=settings["steps"] // 2)
        resumed = train(make(), settings, out=tmp_path / "run", resume=True)
        assert same(whole, resumed)
        for name in whole.history.keys() - {"seconds"}:
            assert resumed.history[name] == whole.history[name], name

    @each_kind
    def test_labels_that_are_not_chosen_do_not_count(self, kind):
        make, settings = DATA[kind]
        data = make()
        used, unused = parts(data, settings)
        other, changed = relabelled(data, unused, lambda those: parts(those, settings)[0])
        assert changed > len(unused) / 2
        one, two = (train(those, settings, holdout=20) for those in (data, other))
        assert same(one, two)
        for name in one.history.keys() - {"seconds"}:
            assert one.history[name] == two.history[name], name
        labels = data.labels.clone()
        labels[used] = labels[used.flip(0)]  # the classes as often as before
        assert not same(one, train(dataclasses.replace(data, labels=labels), settings, holdout=20))

    @each_kind
    def test_samples_without_labels_do_count(self, kind):
        make, settings = DATA[kind]
        data = make()
        _, unused = parts(data, settings)
        samples = data.samples.clone()
        samples[unused] = samples[unused].flip(-1)
        mirrored = dataclasses.replace(data, samples=samples)
        assert not same(train(data, settings, holdout=20), train(mirrored, settings, holdout=20))

    @each_kind
    def test_a_snapshot_on_the_way_is_a_checkpoint(self, kind, tmp_path):
        make, settings = DATA[kind]
        made = train(make(), settings, out=tmp_path / "run", save_every=2, keep=9)
        half = lk.load(tmp_path / "run" / "snapshots" / "step-00000004")
        assert half.history["step"][-1] == 4
        assert half.trainer == "semi"
        back = lk.load(tmp_path / "run")
        assert same(made, back)
        assert not same(made, half)
        classes = back.critic.classify(back.holdout)
        assert classes.shape == (len(back.holdout), len(back.classes))
        torch.testing.assert_close(back.critic(back.holdout), classes.logsumexp(1))

    @each_kind
    def test_the_history_holds_the_accuracy(self, kind):
        make, settings = DATA[kind]
        made = train(make(), settings, check_every=settings["steps"])
        assert made.history["accuracy"][-1] == pytest.approx(accuracy(made.critic, made.holdout, made.holdout_labels))
        assert len(made.history["supervised_loss"]) == len(made.history["step"])

    @pytest.mark.filterwarnings("ignore:the critic tells every sample")
    def test_the_accuracy_is_that_of_the_step_and_no_mean_of_several(self, tmp_path):
        """Beyond step 64 a row stands for several steps; it has the newest measurement, also after a pause."""
        data, found = ring(n=400), {}
        settings = {**POINTS, "check_every": 3, "critic_lr": 0.01, "holdout": 100}
        _, held_out = data.split(100, 0)

        def look(state):
            if state.step == 1 or state.step % 3 == 0:
                found[state.step] = accuracy(state.critic, held_out.samples, held_out.labels)

        train(data, settings, out=tmp_path / "run", steps=91, on_step=look)
        made = train(data, settings, out=tmp_path / "run", steps=130, resume=True, on_step=look)
        rows = dict(zip(made.history["step"], made.history["accuracy"], strict=True))
        assert rows == {step: found[max(k for k in found if k <= step)] for step in rows}
        assert len(set(rows.values())) > 10

    def test_the_generator_may_learn_from_a_loss(self):
        one = train(ring(n=200), POINTS, feature_matching=False)
        assert not same(one, train(ring(n=200), POINTS))
        assert not same(one, train(ring(n=200), POINTS, feature_matching=False, loss="hinge"))

    def test_without_weight_labels_teach_nothing(self):
        """The data's classes may then be named otherwise: the critic does not know."""
        data = ring(n=200)
        turned = dataclasses.replace(data, labels=(data.labels + 1) % 8)
        assert same(*(train(those, POINTS, supervised=0.0) for those in (data, turned)))


class TestTruth:
    def test_one_label_a_mode_is_enough(self):
        """What is not labelled says where the modes are, and one label each what they are called."""
        made = train(ring(n=4000), QUICK, labels_per_class=1, steps=500, batch_size=64, width=64, check_every=250)
        assert accuracy(made.critic, made.holdout, made.holdout_labels) > 0.99
        assert made.history["accuracy"][-1] > 0.99

    def test_with_an_adversarial_loss_its_generator_makes_the_ring(self):
        """Matching features alone leaves it within, which serves the classifier: samples where no class is."""
        settings = {"labels_per_class": 1, "steps": 800, "batch_size": 64, "width": 64, "check_every": 400}
        made = train(ring(n=4000), QUICK, feature_matching=False, **settings)
        samples = lk.generate(made.generator, made.generator.prior.sample(1000, seed=1))
        assert samples.norm(dim=1).median() == pytest.approx(2, abs=0.2)


class TestDoor:
    def test_labels_are_needed(self):
        with pytest.raises(LabelError, match="parabola has none"):
            train(parabola(n=100), POINTS)

    def test_and_enough_of_them(self):
        with pytest.raises(LabelError, match=r"labels_per_class must be at most \d+, .* got 90"):
            train(ring(n=200), POINTS, labels_per_class=90)

    @pytest.mark.parametrize(
        "wrong",
        [
            {"labels_per_class": 0},
            {"labels_per_class": 2.5},
            {"supervised": -1.0},
            {"loss": "wrong"},
            {"feature_matching": 1},
            {"shift": 0.6},
            {"beta1": 1.0},
            {"r1": float("nan")},
        ],
    )
    def test_wrong_settings_name_themselves(self, wrong):
        (name,) = wrong
        with pytest.raises(ArgumentError, match=name):
            SemiConfig(**wrong)
