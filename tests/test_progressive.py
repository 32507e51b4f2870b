"""Progressive growing: the schedule, what is shown while a side fades in, exact resume, and a known truth."""

import pytest
import torch
from torch.nn import functional

import latentkit as lk
from latentkit import streams
from latentkit.errors import ArgumentError
from trainers import Data, digits
from trainers.growth import at_stage, schedule
from trainers.progressive import Progressive, ProgressiveConfig, train_progressive

TINY = {"latent_dim": 4, "width": 2, "widest": 8, "batch_size": 4, "threads": 1, "precision": "float32"}
# Side 4 to step 2, 8 faded in to 4 and settling to 6, 16 faded in to 8.
GROWING = {**TINY, "steps": 9, "phase_steps": 2}

# Runs this short make samples that are all alike, and some end before they are fully grown; both say so.
pytestmark = pytest.mark.filterwarnings("ignore:the samples are nearly identical", "ignore:.* steps end at side")


@pytest.fixture(scope="module")
def few():
    """60 digits of 16x16."""
    return Data("digits", digits().samples[:60, :, ::2, ::2].contiguous())


def train(data, *, out=None, resume=False, on_step=None, **changes):
    config = ProgressiveConfig(**{**GROWING, **changes})
    return train_progressive(data, config, out=out, resume=resume, on_step=on_step, progress=False)


def weights(checkpoint):
    return {**checkpoint.generator.module.state_dict(), **checkpoint.critic.state_dict(prefix="critic.")}


def same(one, other):
    ours, theirs = weights(one), weights(other)
    return ours.keys() == theirs.keys() and all(torch.equal(ours[name], theirs[name]) for name in ours)


class TestSchedule:
    @pytest.mark.parametrize("size", [4, 8, 16, 64, 256, 1024])
    @pytest.mark.parametrize("phase", [1, 2, 7, 50])
    def test_it_grows_from_4_to_the_full_side_without_a_jump(self, size, phase):
        doublings = size.bit_length() - 3
        stages = [schedule(step, size, phase) for step in range(1, phase * (2 * doublings + 1) + 20)]
        assert stages[0] == (4, 1.0)
        assert stages[-1] == (size, 1.0)
        # How many doublings are there: a new side begins at the height of the one before.
        grown = torch.tensor([side.bit_length() - 4 + alpha for side, alpha in stages], dtype=torch.float64)
        rises = grown.diff()
        assert rises.min() >= 0
        assert rises.max() <= 1 / phase + 1e-9
        assert rises.sum() == doublings
        assert all(0 < alpha <= 1 for _, alpha in stages)

    def test_phases_are_of_one_length(self):
        stages = [schedule(step, 32, 5) for step in range(1, 100)]
        assert [sum(side == s for s, _ in stages) for side in (4, 8, 16)] == [5, 10, 10]
        fading = [sum(side == s and alpha < 1 for s, alpha in stages) for side in (4, 8, 16, 32)]
        assert fading == [0, 4, 4, 4]  # and a fifth step at 1, as while it settles
        assert schedule(1 + 6 * 5 - 1, 32, 5) == (32, 1.0)

    def test_by_default_the_full_side_is_reached_and_gets_a_share(self, few):
        checkpoint = train(few, steps=12, phase_steps=None)
        assert checkpoint.settings["phase_steps"] == 2
        assert checkpoint.history["side"] == [4, 4, 8, 8, 8, 8, 16, 16, 16, 16, 16, 16]

    @pytest.mark.parametrize(("step", "phase"), [(0, 3), (-1, 3), (1.5, 3), (1, 0)])
    def test_counts_are_counts(self, step, phase):
        with pytest.raises(ArgumentError, match="step"):
            schedule(step, 16, phase)


class TestStage:
    def test_its_ends(self, draw):
        images = draw(3, 2, 32, 32)
        assert torch.equal(at_stage(images, 32, 1.0), images)
        half = functional.avg_pool2d(images, 2)
        assert torch.equal(at_stage(images, 16, 1.0), half)
        assert torch.equal(at_stage(images, 32, 0.0), half.repeat_interleave(2, 2).repeat_interleave(2, 3))

    @pytest.mark.parametrize("side", [4, 8, 16, 32])
    @pytest.mark.parametrize("alpha", [0.0, 0.3, 1.0])
    def test_it_keeps_the_mean_and_is_linear(self, draw, side, alpha):
        images, others = draw(3, 2, 32, 32), draw(3, 2, 32, 32, seed=1)
        shown = at_stage(images, side, alpha)
        assert shown.shape == (3, 2, side, side)
        torch.testing.assert_close(shown.mean((2, 3)), images.mean((2, 3)))
        torch.testing.assert_close(
            at_stage(images + 2 * others, side, alpha), shown + 2 * at_stage(others, side, alpha)
        )
        ends = [at_stage(images, side, end) for end in (0.0, 1.0)]
        torch.testing.assert_close(shown, torch.lerp(*ends, alpha))


class TestLaws:
    def test_the_seed_decides_the_weights(self, few):
        state = torch.random.get_rng_state()
        one = train(few)
        assert same(one, train(few))
        assert not same(one, train(few, seed=1))
        assert torch.equal(state, torch.random.get_rng_state())

    @pytest.mark.parametrize("at", [2, 3, 5, 6])
    def test_stopped_in_any_phase_it_is_an_unbroken_run(self, few, tmp_path, at):
        whole = train(few)
        train(few, out=tmp_path / "run", steps=at)
        resumed = train(few, out=tmp_path / "run", resume=True)
        assert same(whole, resumed)
        for name in whole.history.keys() - {"seconds"}:
            assert resumed.history[name] == whole.history[name], name

    def test_more_steps_keep_the_schedule(self, few, tmp_path):
        """Given none, it would be that of the longer run."""
        train(few, out=tmp_path / "run", steps=10, phase_steps=None)
        longer = train(few, out=tmp_path / "run", steps=15, phase_steps=None, resume=True)
        assert longer.settings["phase_steps"] == 2
        assert same(longer, train(few, steps=15, phase_steps=2))

    @pytest.mark.parametrize(("weight", "column"), [("gradient_penalty", "critic_loss"), ("drift", "real_logit")])
    def test_each_penalty_holds_the_critic_back(self, few, weight, column):
        """Before a generator that stands still one keeps the scores near each other, the other the real ones near 0."""
        sizes = []
        for value in (0.0, 10.0):
            weights = {"gradient_penalty": 0.0, "drift": 0.0, weight: value}
            history = train(few, steps=40, phase_steps=40, generator_lr=0.0, critic_lr=0.02, **weights).history
            sizes.append(sum(abs(number) for number in history[column][-10:]))
        assert sizes[1] < 0.5 * sizes[0]

    def test_another_schedule_is_another_run(self, few, tmp_path):
        train(few, out=tmp_path / "run", steps=4)
        with pytest.raises(ArgumentError, match="phase_steps was 2 and is 3"):
            train(few, out=tmp_path / "run", resume=True, phase_steps=3)

    @pytest.mark.parametrize(("at", "side", "alpha"), [(1, 4, 1), (3, 8, 0.5), (5, 8, 1), (7, 16, 0.5), (9, 16, 1)])
    def test_a_snapshot_on_the_way_shows_what_there_is(self, few, tmp_path, at, side, alpha):
        made = train(few, out=tmp_path / "run", steps=at)
        back = lk.load(tmp_path / "run" / "snapshots" / f"step-{at:08d}")
        generator, critic = back.generator.module, back.critic
        assert generator.grown() == critic.grown() == (side, alpha)
        z = back.generator.prior.sample(4, seed=1)
        images = lk.generate(back.generator, z)
        assert images.shape == (4, 1, 16, 16)
        assert torch.equal(images, lk.generate(made.generator, z))
        there = generator.at(z, side, alpha)
        times = 16 // side
        torch.testing.assert_close(images, there.repeat_interleave(times, 2).repeat_interleave(times, 3))
        # The critic looks at full images as they were shown to it.
        torch.testing.assert_close(critic(back.holdout), critic.at(at_stage(back.holdout, side, 1.0), alpha))

    def test_what_is_not_there_yet_has_not_moved(self, few):
        early, begun = (weights(train(few, steps=n)) for n in (6, 1))
        for name, value in early.items():
            newest = name.startswith(("blocks.1", "to_image.2", "critic.blocks.1", "critic.from_image.2"))
            if value.ndim > 1:
                assert torch.equal(value, begun[name]) == newest, name

    def test_watching_changes_nothing_and_sees_full_images(self, few):
        seen = []

        def look(state):
            seen.append((state.generator, lk.generate(state.generator, state.generator.prior.sample(2, seed=0))))

        assert same(train(few, on_step=look), train(few))
        assert [images.shape for _, images in seen] == [(2, 1, 16, 16)] * 9
        for generator, images in seen:  # which is kept as it was
            assert torch.equal(lk.generate(generator, generator.prior.sample(2, seed=0)), images)

    def test_the_result_is_at_rest(self, few):
        checkpoint = train(few, precision="bfloat16")
        for module in (checkpoint.generator.module, checkpoint.critic):
            assert not any(part.training for part in module.modules())
            assert not any(p.requires_grad for p in module.parameters())
            assert all(torch.isfinite(value).all() for value in module.state_dict().values())
            assert {p.dtype for p in module.parameters()} == {torch.float32}
        assert set(checkpoint.history) >= {"step", "seconds", "critic_loss", "generator_loss", "side", "spread"}

    def test_a_change_of_side_changes_little(self, few):
        """From the last step of a side to the first of the next, the averaged images hardly move."""
        images = {}

        def look(state):
            if state.step % 25 <= 1:
                images[state.step] = lk.generate(state.generator, state.generator.prior.sample(64, seed=0))

        train(few, steps=50, phase_steps=25, on_step=look, width=4, generator_lr=1e-4, critic_lr=1e-4)
        across = (images[26] - images[25]).square().mean().sqrt()
        within = (images[50] - images[25]).square().mean().sqrt()
        assert across < 0.1 * within


class TestTo256:
    def test_a_step_at_each_side(self):
        draws = torch.from_numpy(streams.uniform(6, 3 * 256**2, seed=0)).mul(256).to(torch.uint8)
        data = Data("noise", draws.reshape(6, 3, 256, 256))
        training = Progressive(data, data, ProgressiveConfig(**TINY, phase_steps=1))
        sides = []
        for step in range(1, 15):
            before = {name: value.clone() for name, value in training.generator_net.state_dict().items()}
            numbers = training.step(step)
            sides.append(int(numbers["side"]))
            assert all(torch.isfinite(value) for value in numbers.values())
            moved = [
                k
                for k in range(7)
                if not torch.equal(
                    *(state[f"to_image.{k}.weight"] for state in (before, training.generator_net.state_dict()))
                )
            ]
            assert moved == [sides[-1].bit_length() - 3]
        assert sides == [4, *(side for side in (8, 16, 32, 64, 128) for _ in range(2)), 256, 256, 256]
        image = lk.generate(training.generator(), training.prior.sample(1, seed=0))
        assert image.shape == (1, 3, 256, 256)


class TestTruth:
    """Images of two halves: 0.6 beside -0.6 with odds of 0.3, and the mirrored ones."""

    SHARE, GREY = 0.3, 0.6

    def images(self, share, n=1000):
        grey = torch.where(torch.from_numpy(streams.uniform(n, 1, seed=7)) < share, 204, 51).to(torch.uint8)
        halves = torch.cat([grey, 255 - grey], 1)
        return Data("halves", halves[:, None, None, :].repeat_interleave(8, 3).expand(-1, 1, 16, 16).contiguous())

    def misses(self, samples):
        """What of the truth the samples (N, 1, 16, 16) do not have."""
        left = torch.tensor([1.0] * 8 + [-1.0] * 8)
        modes = self.GREY * torch.stack([left, -left])[:, None, None, :]
        apart = (samples[:, None] - modes).square().mean((2, 3, 4)).sqrt()
        level = samples[..., :8].mean((1, 2, 3))
        mean, spread = self.GREY * (2 * self.SHARE - 1), 2 * self.GREY * (self.SHARE * (1 - self.SHARE)) ** 0.5
        right = {
            "near a mode": (apart.min(1).values < 0.25).float().mean() > 0.75,
            "share": abs((apart.argmin(1) == 0).float().mean() - self.SHARE) < 0.12,
            "mean": abs(level.mean() - mean) < 0.12,
            "spread": abs(level.std() - spread) < 0.12,
        }
        return [name for name, holds in right.items() if not holds]

    def test_samples_have_its_modes_with_their_odds(self):
        quick = {**TINY, "width": 4, "widest": 16, "latent_dim": 2, "batch_size": 16, "check_every": 10_000}
        rates = {"generator_lr": 5e-3, "critic_lr": 5e-3, "ema": 0.98}
        truth, made = self.images(self.SHARE), {}
        for steps in (1, 240):
            checkpoint = train(truth, **quick, **rates, steps=steps, phase_steps=30)
            made[steps] = lk.generate(checkpoint.generator, checkpoint.generator.prior.sample(1000, seed=1))
        assert self.misses(made[240]) == []
        assert "near a mode" in self.misses(made[1]), "nor would any samples do"
        assert self.misses(truth.floats()) == []
        assert self.misses(self.images(0.5).floats()) == ["share", "mean"], "nor any odds"
