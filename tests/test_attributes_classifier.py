"""A small classifier of samples: what it scores is what was planted."""

import pytest
import torch

import latentkit as lk
from latentkit.attributes import class_scores
from latentkit.errors import ArgumentError, LabelError, LatentkitError, NonFiniteError, ShapeError
from trainers.data import digits

NAMES = ("left", "right", "top")


def blobs(n=300, seed=0, spread=0.3):
    """Points around three corners, and which corner each is of."""
    corners = torch.tensor([[-2.0, 0.0], [2.0, 0.0], [0.0, 3.0]])
    labels = torch.arange(n) % 3
    return corners[labels] + spread * lk.Normal(2).sample(n, seed=seed), labels


@pytest.fixture(scope="module")
def learned():
    return class_scores(*blobs(), NAMES)


def test_separate_classes_are_told_apart_and_its_own_samples_score_highest(learned):
    assert learned.accuracy == 1.0
    assert learned.by_class == (1.0, 1.0, 1.0)
    assert learned.counts == (100, 100, 100)
    points, labels = blobs(seed=9)
    assert learned.probabilities(points).argmax(1).equal(labels)
    scores = learned.attributes()
    assert tuple(scores) == NAMES
    for k, name in enumerate(NAMES):
        values = scores[name](points)
        assert values[labels == k].min() > 0 > values[labels != k].max()


def test_log_odds_are_those_of_the_probabilities(learned):
    points, _ = blobs(seed=3, spread=1.0)
    probability = learned.probabilities(points)
    torch.testing.assert_close(probability.sum(1), torch.ones(len(points)).double())
    for k, (name, score) in enumerate(learned.attributes().items()):
        torch.testing.assert_close(score(points), (probability[:, k] / (1 - probability[:, k])).log(), msg=name)


def test_overlapping_classes_reach_what_can_be_reached():
    """Two Gaussians a distance d apart are told apart by Phi(d / 2) at best."""
    labels = torch.arange(4000) % 2
    points = lk.Normal(2).sample(4000, seed=0)
    points[:, 0] += 2.0 * labels
    learned = class_scores(points, labels, ["low", "high"])
    best = torch.special.ndtr(torch.tensor(1.0)).item()
    assert best - 0.03 < learned.accuracy < best + 0.03
    # The log-odds of such Gaussians are linear: 2 (x - 1).
    inner = points[(points[:, 0] - 1).abs() < 1.5]
    values = learned.attributes()["high"](inner)
    assert torch.corrcoef(torch.stack([values, inner[:, 0].double()]))[0, 1] > 0.97
    torch.testing.assert_close(values, -learned.attributes()["low"](inner))


def test_labels_that_mean_nothing_have_an_accuracy_of_chance():
    points = lk.Normal(8).sample(1500, seed=0)
    labels = (lk.Normal(1).sample(1500, seed=7)[:, 0] > 0).long()
    assert class_scores(points, labels, ["a", "b"]).accuracy == pytest.approx(0.5, abs=0.1)


def test_digits_are_read():
    data = digits()
    labels = data.labels
    assert labels is not None
    rows = torch.arange(0, len(labels), 2)
    learned = class_scores(data.floats(rows), labels[rows], [str(k) for k in range(10)])
    assert learned.accuracy > 0.95
    others = rows[:-1] + 1
    found = learned.probabilities(data.floats(others)).argmax(1)
    assert (found == labels[others]).double().mean() > 0.95


def test_fitting_again_changes_nothing_and_batches_are_stacks_of_singles(learned):
    points, _ = blobs(seed=5, spread=1.0)
    again = class_scores(*blobs(), NAMES)
    assert again.logits(points).equal(learned.logits(points))
    singles = torch.cat([learned.logits(point[None]) for point in points[:20]])
    torch.testing.assert_close(learned.logits(points[:20]), singles)


def test_far_from_all_samples_the_log_odds_stay_bounded(learned):
    points, _ = blobs()
    near = learned.log_odds(points, 0).abs().max()
    assert learned.log_odds(torch.tensor([[1e3, -1e3], [1e6, 1e6]]), 0).abs().max() < near


POINTS, LABELS = blobs(30)


@pytest.mark.parametrize(
    ("real", "labels", "names", "error", "text"),
    [
        (POINTS, LABELS[:29], NAMES, LabelError, r"one a sample, \(30,\), got \(29,\)"),
        (POINTS, LABELS + 1, NAMES, LabelError, "whole numbers from 0 to 2"),
        (POINTS, LABELS + 0.5, NAMES, LabelError, "whole numbers from 0 to 2"),
        (POINTS, LABELS / 0.0, NAMES, LabelError, "whole numbers from 0 to 2"),
        (POINTS, ["a"] * 30, NAMES, LabelError, "tensor of class numbers, got list"),
        (
            POINTS,
            LABELS * 0,
            NAMES,
            LabelError,
            "each class, got 30 of left, 0 of right, 0 of top",
        ),
        (POINTS, LABELS, ("one",), ArgumentError, "at least 2 classes"),
        (POINTS, LABELS, ("a", "a", "b"), ArgumentError, "different names"),
        (POINTS[:, 0], LABELS, NAMES, ShapeError, r"samples must be \(N, \*S\), got \(30,\)"),
        (POINTS / 0, LABELS, NAMES, NonFiniteError, "samples must be finite"),
        (POINTS * 0, LABELS, NAMES, LabelError, "all samples are the same"),
    ],
)
def test_bad_samples_and_labels_say_what_was_wanted(real, labels, names, error, text):
    with pytest.raises(LatentkitError, match=text) as caught:
        class_scores(real, labels, names)
    assert isinstance(caught.value, error)


def test_samples_of_another_shape_and_classes_that_are_not_there_are_refused(learned):
    with pytest.raises(ShapeError, match=r"fitted on samples \(N, 2\), got \(4, 3\)"):
        learned.probabilities(torch.zeros(4, 3))
    with pytest.raises(ArgumentError, match="0 to 2, got 3"):
        learned.log_odds(POINTS, 3)
