"""Constant speed and seams, on generators whose speed along a line is known in closed form."""

import math
from dataclasses import replace

import pytest
import torch

import latentkit as lk
from latentkit.curves import there_and_back
from latentkit.errors import ArgumentError, NonFiniteError, ShapeError
from latentkit.walks import constant_speed, seam

LINE = lk.Normal(1)
ENDS = torch.tensor([-1.0, 2.0])
TWO = ENDS[:1], ENDS[1:]


def turned(z):
    """Return a point of the circle (N, 2) by its angle, which changes slowly here and fast there."""
    angle = z[:, 0] + 0.8 * torch.sin(z[:, 0])
    return torch.stack([angle.cos(), angle.sin()], 1)


# What a line is sent to, and where constant speed must be at a quarter, a half and three quarters of the time.
KNOWN = {
    "cube": (lambda z: z**3, [(-1 + 9 * t) for t in (0.25, 0.5, 0.75)]),
    "exponential": (
        torch.exp,
        [math.exp(-1) + t * (math.exp(2) - math.exp(-1)) for t in (0.25, 0.5, 0.75)],
    ),
    "steep": (lambda z: torch.tanh(40.0 * (z - 0.6)), [-0.5, 0.0, 0.5]),
}


@pytest.mark.parametrize("name", KNOWN)
def test_samples_are_where_constant_speed_puts_them(name):
    function, wanted = KNOWN[name]
    generator = lk.wrap(function, LINE)
    paced = constant_speed(generator, lk.lerp(*TWO))
    found = generator(paced.curve([0.25, 0.5, 0.75]))[:, 0]
    reach = float(generator(ENDS[1:, None]) - generator(ENDS[:1, None]))
    torch.testing.assert_close(found, torch.tensor(wanted), rtol=0.0, atol=4e-3 * reach)
    assert paced.curve([0.0, 1.0]).equal(ENDS[:, None]), "ends are exact"
    assert paced.length == pytest.approx(reach, rel=1e-4)
    assert paced.variation_before > 0.5
    assert paced.variation_after < 0.02
    assert paced.speed_after.mean() == pytest.approx(reach, rel=1e-4)
    assert paced.speed_before.mean() == pytest.approx(reach, rel=1e-4)
    assert (paced.jumps, paced.note) == ((), "")


def test_what_is_measured_is_the_variation_of_steps_at_even_times():
    """A speed that is 1 for half of the time and 3 for the other varies by 1/2."""
    generator = lk.wrap(lambda z: torch.where(z < 0, z, 3 * z), LINE)
    line = lk.lerp(torch.tensor([-1.0]), torch.tensor([1.0]))
    paced = constant_speed(generator, line)
    assert paced.variation_before == pytest.approx(0.5, abs=0.01)
    assert paced.length == pytest.approx(4.0, rel=1e-5)
    # The side of speed 3 now has three quarters of the time.
    assert paced.curve([0.25])[0].item() == pytest.approx(0.0, abs=0.01)
    again = constant_speed(generator, paced.curve)
    assert again.variation_before == pytest.approx(paced.variation_after)
    slow = generator(line.steps(152))[:, 0].double().diff() * 151
    torch.testing.assert_close(paced.speed_before, slow)


def test_the_same_latents_are_shown_in_the_same_order():
    paced = constant_speed(lk.wrap(lambda z: z**3, LINE), lk.lerp(*TWO))
    z = paced.curve.steps(500)[:, 0]
    assert (z.diff() > 0).all()
    assert z.min() == -1.0
    assert z.max() == 2.0


@pytest.mark.parametrize("closed", [False, True], ids=["tour", "loop"])
def test_keyframes_are_visited_at_their_new_times(closed, draw):
    keys = draw(5, 12)
    prior = lk.Normal(12)
    matrix = draw(12, 12, seed=1)
    generator = lk.wrap(lambda z: (z @ matrix).sinh(), prior)
    curve = (lk.loop if closed else lk.tour)(keys, prior=prior)
    paced = constant_speed(generator, curve)
    wanted = torch.cat([keys, keys[:1]]) if closed else keys
    torch.testing.assert_close(paced.curve(paced.key_times), wanted, rtol=0.0, atol=1e-5)
    assert (paced.key_times.diff() > 0).all()
    assert paced.variation_after < 0.3 * paced.variation_before
    assert (paced.curve.closed, paced.curve.prior) == (closed, prior)
    ends = paced.curve([0.0, 1.0])
    assert ends.equal(wanted[[0, -1]])


def test_a_closed_curve_has_one_speed_across_its_seam():
    generator = lk.wrap(turned, LINE)
    # Angles add up: the line is a closed curve once its samples are.
    circle = replace(lk.lerp(torch.tensor([0.5]), torch.tensor([0.5 + 2 * math.pi])), closed=True)
    paced = constant_speed(generator, circle)
    assert paced.length == pytest.approx(2 * math.pi, rel=1e-3)
    assert paced.variation_before > 0.4
    assert paced.variation_after < 0.01
    samples = generator(paced.curve.steps(60))
    steps = (samples.roll(-1, 0) - samples).norm(dim=1)
    torch.testing.assert_close(steps, torch.full((60,), 2 * math.sin(math.pi / 60)), rtol=0.01, atol=0.0)


def test_speed_is_measured_in_features_if_they_are_given():
    generator = lk.wrap(lambda z: torch.cat([z, z**3], 1), LINE)
    line = lk.lerp(*TWO)
    for features, function in (
        (lambda x: x[:, 1:], lambda z: z**3),
        (lambda x: x[:, :1].exp(), torch.exp),
    ):
        paced = constant_speed(generator, line, features=features)
        alone = constant_speed(lk.wrap(function, LINE), line)
        torch.testing.assert_close(paced.curve.steps(50), alone.curve.steps(50))
        assert paced.length == pytest.approx(alone.length)


def test_jumps_are_named_and_the_rest_is_even():
    generator = lk.wrap(lambda z: z**3 + 10.0 * (z > 0.3) + 4.0 * (z > 1.5), LINE)
    paced = constant_speed(generator, lk.lerp(*TWO))
    assert len(paced.jumps) == 2
    assert [jump.length for jump in paced.jumps] == pytest.approx([10.0, 4.0], rel=1e-3)
    # Between them 9 are covered at constant speed, to which jumps add nothing.
    assert [jump.place for jump in paced.jumps] == pytest.approx([(1 + 0.3**3) / 9, (1 + 1.5**3) / 9], abs=3e-3)
    assert paced.length == pytest.approx(9 + 14, rel=1e-4)
    assert "samples jump 2 times" in paced.note
    assert "61% of the length" in paced.note
    speed = paced.speed_after.sort().values[:-2]
    assert speed.std() < 0.02 * speed.mean(), "but for the two steps over jumps"
    assert paced.variation_after > 1.0, "which count"


def test_the_classes_of_a_marginal_generator_are_jumps():
    base = lk.wrap(lambda z, y: z + 50.0 * y[:, None], lk.Normal(2), classes=3)
    both = lk.marginal(base)
    z = both.prior.sample(2, seed=3)
    a, b = both.in_class(z[:1], 0)[0], both.in_class(z[1:], 2)[0]
    line = lk.lerp(a, b)
    changes = both.labels(line.steps(4000)).diff().ne(0).sum()
    assert len(constant_speed(both, line).jumps) == changes > 0


def test_where_nothing_moves_the_curve_stays():
    line = lk.lerp(*TWO)
    for function in (torch.zeros_like, lambda z: 100.0 + 1e-7 * z):
        paced = constant_speed(lk.wrap(function, LINE), line)
        assert paced.curve is line
        assert paced.length == 0.0
        assert math.isnan(paced.variation_before)
        assert math.isnan(paced.variation_after)
        assert "all equal" in paced.note


def test_a_stretch_that_stands_still_is_passed_over():
    generator = lk.wrap(lambda z: z.clamp(-0.5, 0.5), LINE)
    paced = constant_speed(generator, lk.lerp(*TWO))
    assert paced.variation_before > 1.0
    assert paced.variation_after < 0.02
    assert paced.curve([0.5])[0].item() == pytest.approx(0.0, abs=0.01)
    assert paced.jumps == ()


def test_the_batch_size_changes_nothing(draw):
    matrix = draw(6, 20)
    generator = lk.wrap(lambda z: (z @ matrix).tanh(), lk.Normal(6))
    curve = lk.loop(draw(3, 6, seed=1), prior=generator.prior)
    found = [constant_speed(generator, curve, samples=40, batch_size=size) for size in (1, 7, 500)]
    for other in found[1:]:
        torch.testing.assert_close(other.curve.steps(30), found[0].curve.steps(30), rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(other.speed_after, found[0].speed_after, rtol=1e-3, atol=1e-3)
    seams = [seam(generator, curve, steps=20, batch_size=size) for size in (1, 2, 3, 500)]
    for other in seams[1:]:
        assert other.turn == pytest.approx(seams[0].turn, abs=1e-4)
        assert other.usual_turn == pytest.approx(seams[0].usual_turn, abs=1e-4)
        assert other.step == pytest.approx(seams[0].step, rel=1e-4)


# ---- seams

PLANE = lk.Normal(2)
IDENTITY = lk.wrap(lambda z: z, PLANE)
CORNERS = torch.tensor([[1.0, 0.0], [0.0, 1.0], [-1.0, 0.0], [0.0, -1.0]])


def round_and_round(turns=1.0):
    """Return so many turns of a circle, closed by force."""
    angle = lambda t: 2 * math.pi * turns * t  # noqa: E731
    return lk.Curve(lambda t: torch.stack([angle(t).cos(), angle(t).sin()], 1).float(), "circle", 2, closed=True)


def test_a_circle_has_no_seam():
    found = seam(IDENTITY, round_and_round(), steps=90)
    assert found.verdict == "no seam"
    assert found.to_median == pytest.approx(1.0, abs=1e-4)
    assert found.to_largest == pytest.approx(1.0, abs=1e-4)
    # Steps two apart differ by two of 90 angles.
    wanted = math.cos(2 * 2 * math.pi / 90)
    assert (found.turn, found.usual_turn, found.sharpest_turn) == pytest.approx((wanted,) * 3, abs=1e-4)


def test_an_open_curve_closed_by_force_jumps():
    line = lk.lerp(torch.tensor([-1.0, 0.0]), torch.tensor([1.0, 0.0]))
    for curve, times in ((replace(line, closed=True), 49.0), (line, 49.0)):
        found = seam(IDENTITY, curve, steps=50)
        assert found.to_median == pytest.approx(times, rel=1e-3)
        assert found.to_largest == pytest.approx(times, rel=1e-3)
        assert found.verdict == "a jump of 49 times the median step, 49 times the largest"
        assert found.turn == pytest.approx(1.0, abs=1e-4), "on both sides of it the way leads on alike"


def test_a_curve_that_returns_by_another_way_turns_at_its_seam():
    # Half a circle from its start and back over the line: nothing jumps; there is a corner at both ends.
    def at(t):
        arc = torch.stack([(2 * math.pi * t).cos(), (2 * math.pi * t).sin()], 1)
        chord = torch.stack([(t - 0.5) * 4 - 1, torch.zeros_like(t)], 1)
        return torch.where(t[:, None] < 0.5, arc, chord).float()

    found = seam(IDENTITY, lk.Curve(at, "half", 2, closed=True), steps=200)
    assert "turn" not in found.verdict, "the corner half-way is as sharp"
    assert found.turn == pytest.approx(0.0, abs=0.05)
    # A drop has one corner alone, where its two arms meet at a right angle.
    radius = lambda t: (math.pi * t).sin()  # noqa: E731
    drop = lk.Curve(
        lambda t: (
            radius(t)[:, None] * torch.stack([(math.pi * (t - 0.5) / 2).cos(), (math.pi * (t - 0.5) / 2).sin()], 1)
        ).float(),
        "drop",
        2,
        closed=True,
    )
    found = seam(IDENTITY, drop, steps=200)
    assert found.verdict.startswith("a turn sharper than any other: cosine")
    assert found.turn == pytest.approx(0.0, abs=0.1)
    assert found.usual_turn > 0.98


def test_a_doubled_frame_is_a_halt():
    back = there_and_back(lk.lerp(torch.tensor([-1.0, 0.0]), torch.tensor([1.0, 0.0])))
    doubled = replace(back, closed=False)
    found = seam(IDENTITY, doubled, steps=51)
    assert found.step == pytest.approx(0.0, abs=1e-6)
    assert found.verdict.startswith("a halt: the last frame is nearly the first again")
    assert seam(IDENTITY, back, steps=50).verdict == "no seam", "it turns back at both ends alike"


def test_loops_have_no_seam_and_constant_speed_leaves_it_so(draw):
    prior = lk.Normal(20)
    matrix = draw(20, 30)
    generator = lk.wrap(lambda z: (z @ matrix / 5).sinh(), prior)
    curve = lk.loop(draw(5, 20, seed=2), prior=prior)
    assert seam(generator, curve).verdict == "no seam"
    paced = constant_speed(generator, curve)
    found = seam(generator, paced.curve)
    assert found.verdict == "no seam"
    assert found.to_median == pytest.approx(1.0, abs=0.1)


def test_a_collapsed_generator_has_no_seam():
    found = seam(lk.wrap(torch.zeros_like, PLANE), lk.loop(CORNERS, prior=PLANE))
    assert found.verdict == "no seam: the samples do not change at all"
    assert (found.step, found.to_median, found.to_largest) == (0.0, 1.0, 1.0)
    assert math.isnan(found.turn)


def test_bad_calls_say_what_was_wanted():
    cube, line = lk.wrap(lambda z: z**3, LINE), lk.lerp(*TWO)
    batch = lk.lerp(torch.zeros(4, 1), torch.ones(4, 1))
    for call, error, text in (
        (lambda: constant_speed(cube, line, samples=7), ArgumentError, "samples must be .* at least 8"),
        (lambda: constant_speed(cube, batch), ShapeError, "between 4 pairs of ends"),
        (lambda: constant_speed(IDENTITY, line), ShapeError, r"latents must be \(N, 2\)"),
        (lambda: constant_speed(cube, line, features=lambda x: x.sum()), ShapeError, "one row a sample"),
        (lambda: constant_speed(lk.wrap(torch.log, LINE), line), NonFiniteError, "features of samples 0 to"),
        (lambda: seam(cube, line, steps=5), ArgumentError, "steps must be .* at least 6"),
        (lambda: seam(cube, batch), ShapeError, "between 4 pairs of ends"),
    ):
        with pytest.raises(error, match=text):
            call()
