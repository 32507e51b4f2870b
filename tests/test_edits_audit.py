import math

import pytest
import torch

import latentkit as lk
from latentkit.directions import from_vectors, mean_difference
from latentkit.edits import Audited, audit, learn_direction, safe_strengths
from latentkit.edits.ranges import held_ranges, kept_range
from latentkit.errors import ArgumentError, LatentkitError, NonFiniteError, ShapeError

D = 8
PRIOR = lk.Normal(D)
#: How each of three attributes hangs on the latents: x = z, attribute a = weights[a] . x.
WEIGHTS = torch.zeros(3, D)
WEIGHTS[0, 0], WEIGHTS[1, 1], WEIGHTS[1, 0], WEIGHTS[2, 2] = 5.0, 0.8, 0.6, 0.01
ATTRIBUTES = {
    "first": lambda x: x @ WEIGHTS[0] + 100.0,
    "second": lambda x: x @ WEIGHTS[1],
    "third": lambda x: x @ WEIGHTS[2],
}
PLAIN = lk.wrap(lambda z: z, PRIOR)


def axes(*numbers, names=None, prior=PRIOR):
    rows = torch.eye(prior.dim)[list(numbers)]
    return from_vectors(rows, names or [f"axis {i}" for i in numbers], "by hand", prior)


def test_the_matrix_is_the_known_one():
    """A unit step along axis i changes attribute a by weights[a, i] / |weights[a]| standard deviations."""
    found = audit(PLAIN, axes(0, 1, 2, 3), attributes=ATTRIBUTES, random=0, draws=5_000)
    known = (WEIGHTS / WEIGHTS.norm(dim=1, keepdim=True))[:, :4].T.double()
    torch.testing.assert_close(found.matrix, known, atol=0.01, rtol=0.03)
    assert float(found.errors.max()) < 1e-6, "a linear attribute changes alike from everywhere"
    assert found.attributes == tuple(ATTRIBUTES)
    assert found.step == pytest.approx(1.0, abs=0.02)


def test_an_effect_does_not_depend_on_the_unit_of_the_latents():
    scaled = lk.wrap(lambda z: z / 7.0, lk.Normal(D, std=7.0))
    a = audit(PLAIN, axes(0, 1), attributes=ATTRIBUTES, random=0)
    b = audit(scaled, axes(0, 1, prior=scaled.prior), attributes=ATTRIBUTES, random=0)
    torch.testing.assert_close(a.matrix, b.matrix, atol=1e-4, rtol=1e-4)
    assert b.step == pytest.approx(7.0 * a.step, rel=1e-4)


def test_the_standard_error_is_that_of_the_mean_change():
    """For z0^2 a step changes 2 z0: mean 0, standard deviation 2, in units of sd(z0^2) = sqrt(2)."""
    found = audit(PLAIN, axes(0), attributes={"square": lambda x: x[:, 0] ** 2}, n=2_000, random=0)
    assert float(found.errors[0, 0]) == pytest.approx(2 / 2**0.5 / 2_000**0.5, rel=0.1)
    assert abs(float(found.matrix[0, 0])) < 4 * float(found.errors[0, 0])


def test_a_random_direction_changes_an_attribute_by_its_cosine():
    """Even over the sphere: the root mean square of a cosine in D dimensions is 1 / sqrt(D)."""
    found = audit(PLAIN, axes(0), attributes=ATTRIBUTES, random=400, n=8)
    torch.testing.assert_close(
        found.chance, torch.full((3,), 1 / math.sqrt(D), dtype=torch.float64), atol=0.03, rtol=0.05
    )
    again = audit(PLAIN, axes(1), attributes=ATTRIBUTES, random=400, n=8)
    assert torch.equal(again.random, found.random)


def test_a_learned_direction_beats_random_ones_and_an_unrelated_one_does_not():
    learned = learn_direction(PLAIN, ATTRIBUTES["first"], name="first")
    unrelated = axes(5, names=["third"])[0]
    found = audit(PLAIN, [learned, unrelated], attributes=ATTRIBUTES, refit=mean_difference)
    good, bad = found.audits
    assert good.beats_random
    assert not bad.beats_random
    assert good.own == 0
    assert good.z_score == pytest.approx(math.sqrt(D), rel=0.4)
    assert good.auc > 0.99
    assert good.accuracy > 0.95
    assert bad.auc == pytest.approx(0.5, abs=0.05)
    assert good.leakage == pytest.approx(0.6, abs=0.05), "the second attribute goes along by 0.6"
    assert "first by" in found.verdicts[0]
    assert f"drags second by {float(good.effects[1]):+.2f} sd" in found.verdicts[0]
    assert "within chance" in found.verdicts[1]


def test_stability_is_high_for_much_signal_and_low_for_none():
    directions = [learn_direction(PLAIN, ATTRIBUTES["first"], name="first"), axes(3, names=["noise"])[0]]

    def noise(x):
        """What has nothing to do with where the latent is: the digits behind the fourth."""
        return (x.double().sum(1) * 1e4) % 1.0

    attributes = {**ATTRIBUTES, "noise": noise}
    found = audit(PLAIN, directions, attributes=attributes, refit=mean_difference, random=0)
    steady, loose = found.audits
    assert steady.stability > 0.99
    assert steady.stability_range[0] <= steady.stability <= steady.stability_range[1]
    assert loose.stability < 0.9
    without = audit(PLAIN, directions, attributes=attributes, random=0)
    assert all(math.isnan(one.stability) for one in without.audits)


def test_scores_are_of_latents_that_no_direction_was_found_on():
    """A direction fitted to noise ranks its own latents better than chance, and others no better."""

    def noise(x):
        return (x.double().sum(1) * 1e4) % 1.0

    ranked = []
    for seed in range(6):
        learned = learn_direction(PLAIN, noise, name="noise", n=100, seed=seed)
        z = PRIOR.sample(100, seed=seed)
        own = torch.corrcoef(torch.stack([noise(z), learned.score(z).double()]))[0, 1]
        assert float(own) > 0.15
        one = audit(PLAIN, learned, attributes={"noise": noise}, random=0, n=2, draws=100, seed=seed).audits[0]
        ranked.append(one.auc)
    assert sum(ranked) / 6 == pytest.approx(0.5, abs=0.06)


def test_quality_holds_up_to_the_known_strength():
    """Of exp(-x0^2 / 2) the mean over z0 + s is proportional to exp(-s^2 / 4): 90 % are left at s = 0.649."""

    def bell(x):
        return torch.exp(-0.5 * x[:, 0] ** 2)

    z = PRIOR.sample(20_000, seed=3)
    tried = torch.linspace(-2, 2, 41)
    typical, quality = held_ranges(PLAIN, axes(0)[0], z, tried, bell, batch_size=len(z))
    end = math.sqrt(-4 * math.log(0.9))
    assert quality == pytest.approx((-end, end), abs=0.05)
    assert typical == pytest.approx((-2, 2))
    blind = held_ranges(PLAIN, axes(1)[0], z, tried, bell, batch_size=len(z))[1]
    assert blind == pytest.approx((-2, 2)), "it does not see this axis"
    found = audit(PLAIN, axes(0, 1), attributes=ATTRIBUTES, critic=bell, random=0)
    for one in found.audits:
        assert one.safe_range[0] == max(one.typical_range[0], one.quality_range[0])
    assert found.audits[0].safe_range[1] < 1.5 < found.audits[1].safe_range[1]


def test_without_a_critic_typicality_alone_limits_the_strength():
    direction = axes(0)[0]
    one = audit(PLAIN, direction, attributes=ATTRIBUTES, random=0).audits[0]
    assert math.isnan(one.quality_range[0])
    assert one.safe_range == one.typical_range == pytest.approx(direction.safe_range, abs=0.5)


def test_a_calibrated_critic_gives_probabilities_and_a_bare_one_is_refused():
    real, made = PRIOR.sample(400, seed=1) + 1.0, PRIOR.sample(400, seed=2)

    def bare(x):
        return 3.0 * x.sum(1)

    ready = lk.calibrate(bare, real, made, method="logistic").applied(bare)
    up = from_vectors(torch.ones(1, D), ["up"], "by hand", PRIOR)
    low, high = audit(PLAIN, up, attributes=ATTRIBUTES, critic=ready, random=0).audits[0].quality_range
    assert -2.0 < low < 0.0, "downwards samples look less real"
    assert high > 2.0
    with pytest.raises(ArgumentError, match="calibrated"):
        audit(PLAIN, up, attributes=ATTRIBUTES, critic=bare, random=0)


@pytest.mark.parametrize(
    ("values", "ends"),
    [
        ([1.0, 1.0, 1.0, 1.0, 1.0], (-2.0, 2.0)),
        ([0.0, 1.0, 1.0, 1.0, 0.6], (-1.5, 2.0)),
        ([1.0, 0.0, 1.0, 0.0, 1.0], (-0.5, 0.5)),
        ([1.0, 1.0, 0.4, 1.0, 1.0], (0.0, 0.0)),
        ([0.5, 0.5, 0.5, 0.5, 0.4999], (-2.0, 1.0)),
    ],
)
def test_a_range_ends_where_the_line_between_neighbours_crosses(values, ends):
    strengths = torch.tensor([-2.0, -1.0, 0.0, 1.0, 2.0])
    assert kept_range(strengths, torch.tensor(values, dtype=torch.float64), 0.5) == pytest.approx(ends)


@pytest.mark.parametrize("prior", [lk.Sphere(16, 4.0), lk.Uniform(16)], ids=["sphere", "box"])
def test_steps_stay_on_the_priors_support(prior):
    """Neither the critic, which finds latents off the support unreal, nor the attribute, which cries, sees one."""

    def on_it(x):
        return (prior.typicality(x) > 0).float()

    generator = lk.wrap(lambda z: z, prior)

    def crying(x):
        return x[:, 0] + 100.0 * (1.0 - on_it(x)) * (x[:, 0] > 0)

    found = audit(generator, axes(0, prior=prior), attributes={"x": crying}, critic=on_it, random=0)
    one = found.audits[0]
    tried = safe_strengths(axes(0, prior=prior)[0], prior, 17)
    assert one.quality_range == pytest.approx((float(tried[0]), float(tried[-1])))
    # A clamped step near the bounds is shorter, one on a sphere turns by less.
    assert 0.7 < float(found.matrix[0, 0]) < 1.01


def test_over_classes_a_direction_is_judged_within_them():
    both = lk.marginal(lk.wrap(lambda z, y: z + 50.0 * y[:, None], lk.Normal(3), classes=4))
    first = learn_direction(both, lambda x: x[:, 0], name="first")
    found = audit(both, first, attributes={"first": lambda x: x[:, 0]}, refit=mean_difference, random=40)
    one = found.audits[0]
    assert one.auc > 0.99, "which it could not be across classes: the axis does not choose the class"
    assert one.stability > 0.99
    spread = math.sqrt(1 + 2500 * 1.25)  # the class numbers 0 to 3 have variance 1.25
    assert float(found.matrix[0, 0]) == pytest.approx(1 / spread, rel=0.05)
    assert float(found.chance[0]) == pytest.approx(1 / spread / 3**0.5, rel=0.3), "random ones leave the class alone"


def test_what_is_the_same_for_all_samples_is_left_out():
    some = {"flat": lambda x: torch.ones(len(x)), **ATTRIBUTES}
    assert audit(PLAIN, axes(0), attributes=some, random=0).attributes == tuple(ATTRIBUTES)
    with pytest.raises(ArgumentError, match="same for all"):
        audit(PLAIN, axes(0), attributes={"flat": some["flat"]}, random=0)


def test_the_tables_hold_every_direction_and_attribute():
    found = audit(PLAIN, axes(0, 1, names=["a|b", "first"]), attributes=ATTRIBUTES, random=3)
    lines = found.table().splitlines()
    assert len(lines) == 1 + 2 + 2 + 1 + 2
    assert lines[1].startswith("a|b ")
    assert f"{float(found.matrix[0, 0]):+.2f}" in lines[1]
    rows = found.markdown().splitlines()
    assert len({row.replace("\\|", "").count("|") for row in rows}) == 1
    assert "a\\|b" in rows[2]
    assert "3 random ones" in rows[-1]
    assert isinstance(found, Audited)
    alone = audit(PLAIN, axes(0), attributes=ATTRIBUTES, random=0)
    assert "random ones" not in alone.table()
    assert "nan" not in alone.table() + alone.markdown() + "".join(alone.verdicts)


def test_the_default_attributes_are_those_that_apply():
    plane = lk.wrap(lambda z: z, lk.Normal(2))
    found = audit(plane, axes(0, prior=plane.prior), random=0)
    assert {"horizontal", "vertical"} <= set(found.attributes)
    effects = dict(zip(found.attributes, found.matrix[0].tolist(), strict=True))
    assert effects["horizontal"] == pytest.approx(1.0, abs=0.05)
    assert effects["vertical"] == pytest.approx(0.0, abs=1e-6)


@pytest.mark.parametrize(
    ("change", "error", "says"),
    [
        ({"directions": []}, ArgumentError, "at least|one Direction or several"),
        ({"directions": torch.ones(D)}, ArgumentError, "one Direction or several"),
        ({"directions": [*axes(0), *axes(0)]}, ArgumentError, "distinct names"),
        ({"directions": axes(0, prior=lk.Normal(3))}, ShapeError, "8 coordinates"),
        ({"attributes": {}}, ArgumentError, "at least one"),
        ({"attributes": {"x": 3}}, ArgumentError, "must be a function"),
        ({"attributes": {"x": lambda x: x[:, 0] * math.nan}}, NonFiniteError, "the attribute x"),
        ({"attributes": {"x": lambda x: x}}, ShapeError, "one number a sample"),
        ({"n": 1}, ArgumentError, "n must be"),
        ({"random": -1}, ArgumentError, "random"),
        ({"strengths": [math.nan]}, ArgumentError, "strengths"),
        ({"strengths": 2.0}, ArgumentError, "strengths"),
        ({"strengths": "far"}, ArgumentError, "strength"),
    ],
)
def test_what_an_audit_cannot_take(change, error, says):
    given = {"directions": axes(0), "attributes": ATTRIBUTES, "random": 0, **change}
    with pytest.raises(error, match=says):
        audit(PLAIN, given.pop("directions"), **given)
    assert issubclass(error, LatentkitError)
