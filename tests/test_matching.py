"""Where data lie, and latents matched to them: on modes whose weights and widths are known."""

import re
from pathlib import Path

import pytest
import torch
from torch import nn

import latentkit as lk
from latentkit import streams
from latentkit.errors import ArgumentError, LatentkitError, ShapeError

MEANS = torch.tensor([[-2.0, 0.0], [0.0, 0.0], [2.0, 0.0]])
SD = 0.1


def modes(shares):
    """A generator of Gaussian modes with these shares; what is left of 1 falls on a line above them, as no data do."""
    edges = torch.tensor(shares, dtype=torch.float64).cumsum(0)

    def make(z):
        u = torch.special.ndtr(z.double())
        part = torch.searchsorted(edges, u[:, 0].contiguous(), right=True)
        low = torch.cat([torch.zeros(1), edges])[part]
        high = torch.cat([edges, torch.ones(1)])[part]
        inner = ((u[:, 0] - low) / (high - low)).clamp(1e-6, 1 - 1e-6)
        noise = SD * torch.stack([torch.special.ndtri(inner), z[:, 1].double()], 1)
        astray = torch.stack([4 * inner - 2, torch.ones_like(inner)], 1)
        means = torch.cat([MEANS, torch.zeros(1, 2)]).double()[part]
        return torch.where((part == len(MEANS))[:, None], astray, means + noise).float()

    return lk.wrap(make, lk.Normal(2))


def real(n, seed, shares=(1 / 3, 1 / 3, 1 / 3)):
    return lk.Mixture(MEANS, SD, shares).sample(n, seed)


TRAIN, HELD = real(3000, 1), real(1000, 2)


def shares_of(x):
    return torch.bincount(torch.cdist(x, MEANS).argmin(1), minlength=3).double() / len(x)


class TestSupport:
    def test_the_stated_share_of_unseen_real_samples_lies_inside(self):
        for share in (0.9, 0.99):
            support = lk.fit_support(TRAIN, HELD, share=share)
            assert (support(HELD) >= 0).double().mean() == pytest.approx(share, abs=0.002)
            assert (support(real(4000, 3)) >= 0).double().mean() == pytest.approx(share, abs=0.02)

    def test_what_lies_between_the_modes_is_outside(self):
        between = torch.tensor([[-1.0, 0.0], [1.0, 0.0], [0.0, 1.0], [9.0, 9.0]])
        support = lk.fit_support(TRAIN, HELD)
        assert (support(between) < 0).all()
        assert (support(MEANS) > 0).all()

    def test_the_gate_counts_in_units_of_the_data_there(self):
        """A mode ten times as wide, with as many samples, keeps as large a share: no radius is right for both."""
        wide = torch.cat([TRAIN, 10 * TRAIN[:, :] + 100.0])
        held = torch.cat([HELD, 10 * HELD + 100.0])
        support = lk.fit_support(wide, held)
        inside = support(torch.cat([real(2000, 5), 10 * real(2000, 6) + 100.0])) >= 0
        assert inside[:2000].double().mean() == pytest.approx(0.99, abs=0.012)
        assert inside[2000:].double().mean() == pytest.approx(0.99, abs=0.012)

    def test_units_and_places_do_not_matter(self):
        one, other = lk.fit_support(TRAIN, HELD), lk.fit_support(7 * TRAIN + 3, 7 * HELD + 3)
        x = real(500, 4)
        torch.testing.assert_close(one(x), other(7 * x + 3), atol=1e-3, rtol=1e-3)
        assert other.apart == pytest.approx(7 * one.apart, rel=1e-3)

    def test_features_are_what_is_compared(self):
        support = lk.fit_support(TRAIN, HELD, features=lambda x: x[:, :1])
        assert support(torch.tensor([[0.0, 50.0]])) > 0

    @pytest.mark.parametrize(
        ("call", "error", "text"),
        [
            (lambda: lk.fit_support(TRAIN[:49], HELD), ShapeError, r"train must be .* at least 50"),
            (lambda: lk.fit_support(TRAIN, HELD[:19]), ShapeError, r"held_out must be .* at least 20"),
            (lambda: lk.fit_support(TRAIN, HELD, share=1.5), ArgumentError, "share must be"),
            (lambda: lk.fit_support(TRAIN / 0, HELD), LatentkitError, "train must be finite"),
        ],
    )
    def test_bad_input_says_what_was_wanted(self, call, error, text):
        with pytest.raises(error, match=text):
            call()


class TestMatching:
    def test_wrong_weights_and_strays_become_those_of_the_data(self):
        generator = modes((0.7, 0.15, 0.05))
        plain = lk.generate(generator, generator.prior.sample(4000, seed=9))
        assert shares_of(plain)[0] > 0.6
        matching = lk.match_latents(generator, TRAIN, HELD, pool=20_000, seed=1)
        assert not matching.holes.any()
        assert matching.passed == pytest.approx(0.9, abs=0.03)
        x = lk.generate(generator, matching.sample(4000, seed=2))
        torch.testing.assert_close(shares_of(x), torch.full((3,), 1 / 3).double(), atol=0.03, rtol=0)
        good = lk.gated(generator, matching.support, 2000, threshold=0.0, proposal=matching, seed=3)
        assert (torch.cdist(good.samples, MEANS).amin(1) < 4.5 * SD).all()
        assert good.cost.generator < 1.1

    def test_weights_of_the_data_are_kept_whatever_they_are(self):
        wanted = (0.1, 0.3, 0.6)
        generator = modes((0.5, 0.2, 0.2))
        matching = lk.match_latents(generator, real(3000, 1, wanted), real(1000, 2, wanted), pool=20_000, seed=1)
        x = lk.generate(generator, matching.sample(4000, seed=2))
        torch.testing.assert_close(shares_of(x), torch.tensor(wanted).double(), atol=0.03, rtol=0)

    def test_latent_i_depends_on_seed_and_number_alone(self):
        matching = lk.match_latents(modes((0.3, 0.3, 0.3)), TRAIN, HELD, pool=5_000, seed=1)
        whole = matching.sample(20, seed=4)
        assert matching.sample(7, seed=4, start=6).equal(whole[6:13])
        assert not matching.sample(20, seed=5).equal(whole)
        assert isinstance(matching, lk.Proposal)

    def test_without_spread_proposals_are_the_matches(self):
        generator = modes((0.3, 0.3, 0.3))
        matching = lk.match_latents(generator, TRAIN, HELD, pool=5_000, spread=0.0, seed=1)
        known = {tuple(z) for z in matching.latents.tolist()}
        assert all(tuple(z) in known for z in matching.sample(200, seed=2).tolist())
        # Each match is the nearest usable sample of the pool, so that none is farther than a random usable one.
        x = lk.generate(generator, matching.latents[matching.match])
        torch.testing.assert_close((x - TRAIN).norm(dim=1), matching.distance, atol=1e-4, rtol=1e-4)
        moved = matching.with_spread(1.0).sample(200, seed=2)
        # Only where all neighbours lie across a gap does a latent stay.
        assert sum(tuple(z) in known for z in moved.tolist()) < 20

    def test_one_to_one_no_sample_serves_twice_while_others_are_free(self):
        generator = lk.wrap(lambda z: z, lk.Normal(16))
        train, held = lk.Normal(16).sample(500, seed=1), lk.Normal(16).sample(200, seed=2)
        shared, single = (
            lk.match_latents(generator, train, held, pool=5000, choices=c, spread=0.0, seed=3) for c in (1, 10)
        )
        assert len(shared.latents) < len(shared.match)
        assert len(single.latents) == len(single.match) == 500
        assert (single.distance >= shared.distance - 1e-5).all()
        x = lk.generate(generator, single.latents[single.match])
        torch.testing.assert_close((x - train).norm(dim=1), single.distance, atol=1e-4, rtol=1e-4)

    def test_without_spread_all_matches_come_once_before_any_again(self):
        matching = lk.match_latents(modes((0.3, 0.3, 0.3)), TRAIN, HELD, pool=5_000, spread=0.0, seed=1)
        size = len(matching.match)
        whole = matching.sample(2 * size + 7, seed=4)
        wanted = matching.latents[matching.match].sort(dim=0).values
        for part in (whole[:size], whole[size : 2 * size]):
            assert part.sort(dim=0).values.equal(wanted)
        assert not whole[:size].equal(whole[size : 2 * size])
        assert matching.sample(size, seed=4, start=size - 3).equal(whole[size - 3 : 2 * size - 3])

    def test_batches_change_nothing(self):
        first, second = (
            lk.match_latents(modes((0.3, 0.3, 0.3)), TRAIN, HELD, pool=5_000, batch_size=b, seed=1) for b in (7, 5000)
        )
        assert first.match.equal(second.match)
        assert first.latents.equal(second.latents)

    @pytest.mark.parametrize("prior", [lk.Uniform(2), lk.Sphere(2), lk.Normal(2, mean=3.0, std=0.5)], ids=str)
    def test_proposals_stay_on_the_prior(self, prior):
        generator = lk.wrap(lambda z: z, prior)
        matching = lk.match_latents(
            generator, prior.sample(1000, seed=1), prior.sample(500, seed=2), pool=4000, spread=1.0
        )
        z = matching.sample(500, seed=3)
        assert torch.isfinite(z).all()
        if isinstance(prior, lk.Uniform):
            assert z.abs().max() <= 1
        if isinstance(prior, lk.Sphere):
            torch.testing.assert_close(z.norm(dim=1), torch.full((500,), prior.radius), atol=1e-4, rtol=1e-4)
        assert prior.typicality(z).mean() > 0.4

    def test_a_generator_of_something_else_is_refused(self):
        elsewhere = lk.wrap(lambda z: z + 100, lk.Normal(2))
        with pytest.raises(ArgumentError, match="0 lie where the data lie"):
            lk.match_latents(elsewhere, TRAIN, HELD, pool=2000)
        with pytest.raises(ShapeError, match="3 numbers to compare, the real ones 2"):
            lk.match_latents(lk.wrap(lambda z: z, lk.Normal(3)), TRAIN, HELD, pool=2000)


class TestHoles:
    def missing_third(self):
        generator = modes((0.5, 0.4, 0.0))
        return lk.match_latents(generator, TRAIN, HELD, pool=20_000, seed=1)

    def test_a_missing_mode_is_named(self):
        holes = lk.find_holes(self.missing_third(), TRAIN)
        assert len(holes) == 1
        hole = holes.holes[0]
        assert hole.share == pytest.approx(1 / 3, abs=0.03)
        assert (TRAIN[hole.representative] - MEANS[2]).norm() < 0.2
        assert (TRAIN[hole.rows] - MEANS[2]).norm(dim=1).max() < 1
        assert "33." in holes.verdict or "34." in holes.verdict or "32." in holes.verdict
        assert "No choice of latents adds them" in holes.verdict

    def test_two_missing_modes_are_two_holes(self):
        matching = lk.match_latents(modes((0.0, 0.9, 0.0)), TRAIN, HELD, pool=20_000, seed=1)
        assert len(lk.find_holes(matching, TRAIN)) == 2

    def test_a_complete_generator_has_none(self):
        matching = lk.match_latents(modes((0.3, 0.3, 0.3)), TRAIN, HELD, pool=20_000, seed=1)
        holes = lk.find_holes(matching, TRAIN)
        assert len(holes) == 0
        assert "reaches all groups" in holes.verdict

    def test_other_samples_than_the_matched_ones_are_refused(self):
        with pytest.raises(ShapeError, match="the 3000 samples that were matched, got 10"):
            lk.find_holes(self.missing_third(), TRAIN[:10])


class Net(nn.Module):
    """A small network that makes one spot, at (-2, 0)."""

    def __init__(self):
        super().__init__()
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(0)
            self.body = nn.Sequential(nn.Linear(2, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 2))
            self.drop = nn.Dropout(0.5)

    def forward(self, z):
        return self.drop(0.3 * self.body(z)) + torch.tensor([-2.0, 0.0])


class TestRepair:
    def test_what_was_missed_is_made_and_the_given_generator_stays(self):
        net = Net().requires_grad_(False)
        net.train()
        before = {name: value.clone() for name, value in net.state_dict().items()}
        generator = lk.wrap(net, lk.Normal(2))
        far = (TRAIN - MEANS[0]).norm(dim=1) > 1
        plain = lk.generate(generator, generator.prior.sample(2000, seed=1))
        assert shares_of(plain)[0] > 0.99
        mended = lk.repair(generator, TRAIN, far, pool=2000, seed=3)
        x = lk.generate(mended, mended.prior.sample(2000, seed=1))
        reached = [torch.cdist(TRAIN[far], made).amin(1) for made in (plain, x)]
        assert reached[0].median() > 1
        assert reached[1].median() < 0.3
        assert all(value.equal(before[name]) for name, value in net.state_dict().items())
        assert net.training
        assert not any(p.requires_grad for p in net.parameters())
        assert not any(p.requires_grad for p in mended.module.parameters())
        again = lk.repair(generator, TRAIN, far, pool=2000, seed=3)
        assert all(a.equal(b) for a, b in zip(mended.module.parameters(), again.module.parameters(), strict=True))

    @pytest.mark.parametrize(
        ("call", "error", "text"),
        [
            (lambda g, far: lk.repair(g, TRAIN, far[:5]), ShapeError, r"unreached must be \(3000,\)"),
            (lambda g, far: lk.repair(g, TRAIN, far & False), ArgumentError, "nothing to repair"),
            (lambda g, far: lk.repair(g, TRAIN, far, weight=0.5), ArgumentError, "weight must be"),
            (
                lambda g, far: lk.repair(lk.wrap(lambda z: z, lk.Normal(2)), TRAIN, far),
                ArgumentError,
                "no parameters to fine-tune",
            ),
        ],
    )
    def test_bad_input_says_what_was_wanted(self, call, error, text):
        with pytest.raises(error, match=text):
            call(lk.wrap(Net(), lk.Normal(2)), torch.ones(len(TRAIN), dtype=torch.bool))


class TestSmoothed:
    def test_noise_adds_its_variance_and_nothing_else(self):
        generator = lk.wrap(lambda z: 2 * z, lk.Normal(3))
        soft = lk.smoothed(generator, 0.5)
        u = soft.prior.sample(20_000, seed=1)
        x = lk.generate(soft, u)
        torch.testing.assert_close(x.var(0), torch.full((3,), 4.25), atol=0.15, rtol=0)
        torch.testing.assert_close(x - lk.generate(generator, u[:, :3]), 0.5 * u[:, 3:], atol=1e-5, rtol=0)
        assert u[:, :3].equal(generator.prior.sample(20_000, seed=1))

    def test_it_is_a_generator_of_its_own_size_and_a_proposal_gets_its_noise(self):
        soft = lk.smoothed(lk.wrap(lambda z: z[:, :1].expand(-1, 4).reshape(-1, 2, 2), lk.Normal(3)), 0.1)
        assert soft.prior.dim == 7
        z = soft.proposal(lk.Uniform(3)).sample(50, seed=2)
        assert z.shape == (50, 7)
        assert z[:, 3:].equal(soft.prior.sample(50, seed=2)[:, 3:])
        assert lk.generate(soft, z).shape == (50, 2, 2)

    def test_bad_noise_is_refused(self):
        generator = lk.wrap(lambda z: z, lk.Normal(2))
        with pytest.raises(ArgumentError, match="tau must be"):
            lk.smoothed(generator, 0.0)
        with pytest.raises(ArgumentError, match=r"smoothed by 0\.1 already"):
            lk.smoothed(lk.smoothed(generator, 0.1), 0.1)


class TestJoint:
    def test_density_and_sums_are_those_of_the_parts(self):
        joint = lk.Joint(lk.Normal(2, mean=1.0), lk.Uniform(3))
        z = joint.sample(400, seed=3)
        torch.testing.assert_close(
            joint.log_prob(z), lk.Normal(2, mean=1.0).log_prob(z[:, :2]) + lk.Uniform(3).log_prob(z[:, 2:])
        )
        weights = torch.tensor([0.5, 0.5])
        middle = joint.match(z[:200] * 0.5 + z[200:] * 0.5, weights)
        torch.testing.assert_close(middle[:, 2:], lk.Uniform(3).match(z[:200, 2:] * 0.5 + z[200:, 2:] * 0.5, weights))

    def test_typicality_is_uniform_over_draws(self):
        values = lk.Joint(lk.Normal(4), lk.Normal(9)).typicality(
            lk.Joint(lk.Normal(4), lk.Normal(9)).sample(4000, seed=1)
        )
        for q in (0.05, 0.25, 0.5, 0.9):
            assert (values <= q).double().mean() == pytest.approx(q, abs=0.025)

    def test_its_parts_are_not_the_same_numbers(self):
        z = lk.Joint(lk.Normal(3), lk.Normal(3)).sample(1000, seed=1)
        assert abs(float((z[:, :3] * z[:, 3:]).mean())) < 0.05


def test_stream_numbers_are_used_once():
    source = Path(streams.__file__).read_text(encoding="utf-8")
    numbers = re.findall(r"^[A-Z]+ = (\d+)  #", source, re.MULTILINE)
    assert len(numbers) > 10
    assert len(numbers) == len(set(numbers))
