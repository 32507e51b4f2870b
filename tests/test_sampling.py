import pytest
import torch
from scipy import stats
from torch import nn

import latentkit as lk
from latentkit.errors import ArgumentError, LatentkitError, NonFiniteError, ShapeError


class Noisy(nn.Module):
    """A network whose training mode gives itself away: batch norm and dropout."""

    def __init__(self, out=1):
        super().__init__()
        with torch.random.fork_rng():
            torch.random.default_generator.manual_seed(0)
            self.body = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.Dropout(0.5), nn.Linear(8, out))
        self.body[1].running_mean.fill_(0.3)

    def forward(self, z):
        return self.body(z)


Z = lk.Normal(4).sample(37, seed=0)


@pytest.mark.parametrize("batch_size", [1, 2, 7, 37, 1000])
def test_the_batch_size_and_the_mode_change_nothing(batch_size):
    module = Noisy(3)
    generator = lk.wrap(module, lk.Normal(4))
    wanted = module.eval()(Z).detach()
    for training in (True, False):
        module.train(training)
        x = lk.generate(generator, Z, batch_size=batch_size)
        assert module.training is training
        assert module.body[2].training is training
        torch.testing.assert_close(x, wanted)
        assert not x.requires_grad
        torch.testing.assert_close(torch.cat(list(lk.stream(generator, Z, batch_size=batch_size))), x)
    assert module.body[1].num_batches_tracked == 0
    assert all(p.grad is None and p.requires_grad for p in module.parameters())


def test_permuting_latents_permutes_samples():
    generator = lk.wrap(Noisy(3), lk.Normal(4))
    order = torch.arange(36, -1, -1)
    torch.testing.assert_close(lk.generate(generator, Z[order]), lk.generate(generator, Z)[order])


def test_a_stream_holds_one_batch_and_the_mode_is_back_in_between():
    module, sizes = Noisy(3).train(), []
    module.register_forward_hook(lambda _, args, __: sizes.append(len(args[0])))
    parts = lk.stream(lk.wrap(module, lk.Normal(4)), Z, batch_size=10)
    assert sizes == [], "nothing runs before the first batch is asked for"
    next(parts)
    assert sizes == [10]
    assert module.training
    assert module.body[1].training
    assert len(list(parts)[-1]) == 7
    assert sizes == [10, 10, 10, 7]


def test_arguments_of_a_stream_are_checked_before_the_first_batch():
    with pytest.raises(ShapeError, match=r"must be \(N, 4\), got \(3, 5\)"):
        lk.stream(lk.wrap(Noisy(), lk.Normal(4)), torch.zeros(3, 5))


def test_the_mode_is_restored_when_a_model_fails():
    module = Noisy().train()
    module.register_forward_hook(lambda *_: 1 / 0)
    for call in (lambda: lk.generate(lk.wrap(module, lk.Normal(4)), Z), lambda: lk.score(module, Z)):
        with pytest.raises(ZeroDivisionError):
            call()
        assert module.training
        assert module.body[1].training


@pytest.mark.parametrize("dtype", [torch.float16, torch.float32, torch.float64])
def test_samples_have_the_models_dtype_and_latents_any(dtype, build):
    generator = lk.wrap(build(lambda: nn.Linear(4, 2, dtype=dtype)), lk.Normal(4))
    for z in (Z, Z.double(), Z.half(), Z.numpy()):
        assert lk.generate(generator, z).dtype == dtype


def test_samples_of_any_shape():
    for shape in ((), (1,), (3, 5, 7)):
        x = lk.generate(
            lk.wrap(lambda z, s=shape: z[:, 0].reshape(-1, *[1] * len(s)).expand(-1, *s), lk.Normal(4)), Z, batch_size=5
        )
        assert x.shape == (37, *shape)
        assert x.reshape(37, -1)[:, 0].equal(Z[:, 0])


@pytest.mark.parametrize(
    ("generator", "latents", "options", "error", "text"),
    [
        (lambda z: z, Z[0], {}, ShapeError, r"must be \(N, 4\), got \(4,\); for one latent pass z\[None\]"),
        (lambda z: z, Z / 0, {}, NonFiniteError, "37 of 37 rows"),
        (lambda z: z, Z, {"batch_size": 0}, ArgumentError, "batch_size must be a whole number of at least 1, got 0"),
        (lambda z: z[:1], Z, {}, ShapeError, r"the generator must return one row a latent \(37, ...\), got \(1, 4\)"),
        (lambda z: z.numpy(), Z, {}, ShapeError, "the generator must return a tensor .*got ndarray"),
    ],
)
def test_bad_calls_say_what_was_wanted(generator, latents, options, error, text):
    with pytest.raises(LatentkitError, match=text) as caught:
        lk.generate(lk.wrap(generator, lk.Normal(4)), latents, **options)
    assert isinstance(caught.value, error)


# ---- truncation of w

MEAN = torch.tensor([1.0, -2.0, 3.0, 0.5])


def test_psi_one_is_the_identity_and_psi_zero_the_mean():
    assert lk.truncate(Z, MEAN, 1.0).equal(Z)
    assert lk.truncate(Z, MEAN, 0.0).equal(MEAN.expand(37, 4))
    kept = lk.truncate(Z, MEAN, 1.0)
    kept.zero_()
    assert Z.abs().sum() > 0


@pytest.mark.parametrize("psi", [-1.0, 0.5, 0.7, 2.0])
def test_spread_scales_with_psi_and_truncations_compose(psi):
    w = lk.truncate(Z, MEAN, psi)
    torch.testing.assert_close(w - MEAN, psi * (Z - MEAN))
    torch.testing.assert_close(lk.truncate(w, MEAN, 1 / psi), Z)
    torch.testing.assert_close(lk.truncate(w, MEAN, 0.5), lk.truncate(Z, MEAN, 0.5 * psi))
    torch.testing.assert_close(w, torch.cat([lk.truncate(row[None], MEAN, psi) for row in Z]))


@pytest.mark.parametrize("dtype", [torch.float16, torch.float32, torch.float64])
def test_truncation_keeps_the_dtype_and_works_in_more(dtype):
    w = lk.truncate(Z.to(dtype), MEAN.double(), 0.7)
    assert w.dtype == dtype
    assert w.equal(lk.truncate(Z.to(dtype).double(), MEAN, 0.7).to(dtype))


@pytest.mark.parametrize("psi", [float("nan"), float("inf"), None, "a lot"])
def test_psi_must_be_a_finite_number(psi):
    with pytest.raises(ArgumentError, match=r"psi must be a .*number, got"):
        lk.truncate(Z, MEAN, psi)


def test_the_mean_must_fit_the_latents():
    with pytest.raises(ShapeError, match=r"mean must be \(4,\), got \(3,\)"):
        lk.truncate(Z, MEAN[:3], 0.5)
    with pytest.raises(ShapeError, match=r"mean must be \(4,\), got \(1, 4\)"):
        lk.truncate(Z, MEAN[None], 0.5)


# ---- truncated draws of z


@pytest.mark.parametrize("threshold", [0.1, 0.5, 1.0, 2.0])
@pytest.mark.parametrize("prior", [lk.Normal(8), lk.Normal(8, mean=5.0, std=0.25)])
def test_a_truncated_draw_is_a_truncated_normal(threshold, prior):
    z = (lk.truncated_sample(prior, 2000, threshold=threshold, seed=3).double() - prior.mean) / prior.std
    assert z.abs().max() <= threshold * (1 + 1e-6)
    assert z.abs().max() > 0.99 * threshold
    assert stats.kstest(z.flatten(), stats.truncnorm(-threshold, threshold).cdf).pvalue > 1e-3
    scaled = (lk.Normal(8).sample(2000, seed=4).double().flatten() * threshold / 3).clamp(-threshold, threshold)
    assert stats.ks_2samp(z.flatten(), scaled).pvalue < 1e-3, "not a scaled normal"


def test_a_wide_threshold_gives_the_plain_draw_and_a_narrow_one_the_mean():
    prior = lk.Normal(8, mean=2.0, std=3.0)
    assert lk.truncated_sample(prior, 50, threshold=40.0, seed=3).equal(prior.sample(50, seed=3))
    torch.testing.assert_close(lk.truncated_sample(prior, 50, threshold=1e-9, seed=3), torch.full((50, 8), 2.0))
    spreads = [lk.truncated_sample(prior, 500, threshold=t, seed=3).std().item() for t in (0.1, 0.5, 1.0, 2.0, 4.0)]
    assert spreads == sorted(spreads)


def test_truncated_latents_depend_on_seed_and_index_alone():
    prior = lk.Normal(5)
    whole = lk.truncated_sample(prior, 32, threshold=1.0, seed=9)
    parts = [lk.truncated_sample(prior, 4, threshold=1.0, seed=9, start=s) for s in range(0, 32, 4)]
    assert torch.cat(parts).equal(whole)
    assert whole.dtype == torch.float32
    assert not lk.truncated_sample(prior, 32, threshold=1.0, seed=10).equal(whole)


@pytest.mark.parametrize(
    ("prior", "options", "text"),
    [
        (lk.Uniform(2), {"threshold": 1.0, "seed": 0}, "needs a Normal prior, got Uniform"),
        (lk.Normal(2), {"threshold": 0.0, "seed": 0}, "threshold must be a finite number, above 0, got 0"),
        (lk.Normal(2), {"threshold": float("nan"), "seed": 0}, "threshold must be a finite number, above 0, got nan"),
        (lk.Normal(2), {"threshold": 1.0, "seed": -1}, "seed must be a whole number"),
        (lk.Normal(2), {"threshold": 1.0, "seed": 0, "start": -1}, "start must be a whole number"),
    ],
)
def test_bad_truncated_draws_say_what_was_wanted(prior, options, text):
    with pytest.raises(ArgumentError, match=text):
        lk.truncated_sample(prior, 3, **options)
