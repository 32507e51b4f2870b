"""What every guided sampler must do: one contract, one table."""

import pytest
import torch
from torch import nn

import latentkit as lk
from latentkit.errors import ArgumentError, CostError, LatentkitError, NonFiniteError, ShapeError
from latentkit.sampling.amortised import amortised, fit_latent_weights
from latentkit.sampling.flow import gradient_flow
from latentkit.sampling.gate import gate_threshold, gated
from latentkit.sampling.guided import GuidedSample, joined, streamed
from latentkit.sampling.langevin import langevin
from latentkit.sampling.metropolis import metropolis
from latentkit.sampling.pilot import chosen_cap, concentration, effective_size, lost_weight
from latentkit.sampling.rejection import rejection
from latentkit.sampling.resampling import resampling, systematic
from latentkit.sampling.transport import transport


class Affine(nn.Module):
    """x = 2 z + 1 in eval mode, and NaN in training mode."""

    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.tensor(2.0))
        self.calls = []

    def forward(self, z):
        self.calls.append(len(z))
        return self.scale * z + (float("nan") if self.training else 1.0)


class LogRatio(nn.Module):
    """Log density ratio of N(2, 1) to N(1, 4), in each of two coordinates; NaN in training mode."""

    def __init__(self):
        super().__init__()
        self.middle = nn.Parameter(torch.tensor(2.0))
        self.calls = []

    def forward(self, x):
        self.calls.append(len(x))
        if self.training:
            return torch.full((len(x),), float("nan"))
        return (-0.5 * (x - self.middle).square() + 0.125 * (x - 1.0).square()).sum(1)


PRIOR = lk.Normal(2)
WEIGHTS = {}


def weights():
    """Weights fitted once for the whole table."""
    if not WEIGHTS:
        generator, critic = lk.wrap(Affine().eval(), PRIOR), LogRatio().eval()
        WEIGHTS["fit"] = fit_latent_weights(generator, critic, pool=5000, steps=200, width=32, depth=2, seed=1)
    return WEIGHTS["fit"]


def with_weights(generator, critic, n, **options):
    return amortised(generator, critic, n, **{"weights": weights(), **options})


# Each sampler, with options that make it quick.
SAMPLERS = {
    "rejection": (rejection, {"pilot": 300}),
    "rejection without a cap": (rejection, {"pilot": 5, "cap": None}),
    "rejection with a percentile": (rejection, {"pilot": 300, "percentile": 80}),
    "metropolis": (metropolis, {"steps": 20}),
    "metropolis from real samples": (metropolis, {"steps": 20, "real_logits": torch.tensor([0.0, 0.5, 6.0])}),
    "langevin": (langevin, {"steps": 10}),
    "langevin, unadjusted": (langevin, {"steps": 10, "adjusted": False}),
    "gradient flow": (gradient_flow, {"steps": 10}),
    "gradient flow, js": (gradient_flow, {"steps": 10, "divergence": "js"}),
    "gradient flow, log-d": (gradient_flow, {"steps": 10, "divergence": "log-d"}),
    "transport": (transport, {"steps": 10, "pilot": 100}),
    "resampling": (resampling, {}),
    "amortised": (with_weights, {}),
    "gated": (gated, {"threshold": -1.0}),
}
KEEPING = {
    "rejection",
    "rejection without a cap",
    "metropolis",
    "metropolis from real samples",
    "langevin",
    "resampling",
}
IN_PARTS = [name for name in SAMPLERS if name != "resampling"]
GRADIENTS = [name for name in SAMPLERS if name.startswith(("langevin", "gradient", "transport"))]
every_sampler = pytest.mark.parametrize("name", SAMPLERS)


def models():
    """Return a generator and a critic, both in training mode."""
    return lk.wrap(Affine().train(), PRIOR), LogRatio().train()


def drawn(name, n=40, **options):
    method, own = SAMPLERS[name]
    return method(*models(), n, **{**own, **options})


def columns(result):
    return {"latents": result.latents, "samples": result.samples, "log_ratio": result.log_ratio}


@every_sampler
def test_the_result_holds_together(name):
    result = drawn(name, seed=3)
    assert isinstance(result, GuidedSample)
    assert len(result) == len(result.latents) == len(result.samples) == len(result.log_ratio) == 40
    assert {value.dtype for value in columns(result).values()} == {torch.float32}
    assert not any(value.requires_grad for value in columns(result).values())
    torch.testing.assert_close(result.samples, 2 * result.latents + 1)
    torch.testing.assert_close(result.log_ratio, LogRatio().eval()(result.samples).detach())
    assert name.startswith(result.method.split("_")[0])
    assert result.seed == 3
    assert result.next > result.start == 0
    assert 0 < result.acceptance <= 1
    assert 0 < result.ess <= 40 + 1e-9
    assert 0 <= result.drift.distance <= 1
    assert result.target.startswith("not ") == (name not in KEEPING and name != "amortised")


@every_sampler
def test_the_seed_decides_and_nothing_else(name):
    first, again, other = drawn(name, seed=5), drawn(name, seed=5), drawn(name, seed=6)
    for key, value in columns(first).items():
        assert value.equal(columns(again)[key])
        assert not value.equal(columns(other)[key])
    assert (first.cost, first.acceptance, first.ess, first.next) == (
        again.cost,
        again.acceptance,
        again.ess,
        again.next,
    )


@every_sampler
@pytest.mark.parametrize("batch_size", [7, 1000])
def test_the_batch_size_changes_rounding_only(name, batch_size):
    whole, parts = drawn(name, seed=1), drawn(name, seed=1, batch_size=batch_size)
    assert parts.next == whole.next
    assert parts.acceptance == pytest.approx(whole.acceptance)
    for key, value in columns(whole).items():
        torch.testing.assert_close(columns(parts)[key], value, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("name", IN_PARTS)
def test_a_stream_of_parts_is_one_call(name):
    method, options = SAMPLERS[name]
    whole = drawn(name, 50, seed=2, start=3)
    parts = list(streamed(method, *models(), 50, each=20, seed=2, start=3, **options))
    assert [len(part) for part in parts] == [20, 20, 10]
    assert [part.start for part in parts] == [3, parts[0].next, parts[1].next]
    together = joined(parts, PRIOR)
    for key, value in columns(whole).items():
        torch.testing.assert_close(columns(together)[key], value, atol=1e-4, rtol=1e-4)
    assert (together.start, together.next) == (3, whole.next)
    assert together.acceptance == pytest.approx(whole.acceptance)
    assert together.cost.pilot == whole.cost.pilot, "what a pilot found out is handed on"
    assert together.drift.distance == pytest.approx(whole.drift.distance, abs=1e-5)
    assert together.notes == pytest.approx(whole.notes)


def test_the_parts_of_a_resampled_stream_have_pools_of_their_own():
    parts = list(streamed(resampling, *models(), 50, each=20))
    assert [part.next for part in parts] == [200, 400, 500]
    assert len(torch.cat([part.latents for part in parts]).unique(dim=0)) > 40


@every_sampler
def test_the_cost_is_what_the_models_saw(name):
    weights()
    method, options = SAMPLERS[name]
    generator, critic = models()
    result = method(generator, critic, 40, batch_size=16, **options)
    cost = result.cost
    assert sum(generator.module.calls) == round(40 * cost.generator) + cost.pilot
    assert sum(critic.calls) == round(40 * cost.critic) + cost.pilot
    assert max(generator.module.calls) <= (64 if name.startswith("langevin") and cost.pilot else 16)
    assert (cost.gradients > 0) == (name in GRADIENTS)


def test_costs_are_what_the_methods_say():
    assert drawn("metropolis").cost == drawn("metropolis").cost
    assert (drawn("metropolis").cost.generator, drawn("metropolis").cost.critic) == (21, 20)
    langevin_cost = drawn("langevin", step_size=0.5).cost
    assert (langevin_cost.generator, langevin_cost.critic, langevin_cost.gradients, langevin_cost.pilot) == (
        11,
        11,
        11,
        0,
    )
    for name in ("gradient flow", "transport"):
        assert (drawn(name).cost.generator, drawn(name).cost.gradients) == (11, 10)
    assert drawn("resampling").cost.critic == 10
    assert drawn("amortised").cost.generator == drawn("amortised").cost.critic == 1
    assert drawn("rejection").cost.pilot == 300


@every_sampler
@pytest.mark.parametrize("training", [True, False])
def test_modes_and_gradients_are_left_alone(name, training):
    generator, critic = models()
    generator.module.train(training)
    critic.train(training)
    method, options = SAMPLERS[name]
    method(generator, critic, 10, **options)
    assert generator.module.training is critic.training is training
    assert generator.module.scale.grad is None
    assert critic.middle.grad is None
    assert generator.module.scale.requires_grad


@every_sampler
def test_it_runs_in_inference_mode(name):
    weights()
    method, options = SAMPLERS[name]
    pair = models()
    wanted = method(*pair, 10, **options)
    with torch.inference_mode():
        result = method(*pair, 10, **options)
    torch.testing.assert_close(result.latents.clone(), wanted.latents, atol=1e-5, rtol=1e-5)


@every_sampler
def test_samples_may_have_any_shape_and_dtype(name, capsys):
    weights()
    method, options = SAMPLERS[name]
    affine, critic = Affine().double(), LogRatio()
    generator = lk.wrap(lambda z: affine(z.reshape(-1, 1, 2, 1)), PRIOR)
    result = method(generator, lambda x: critic(x.flatten(1)), 10, progress=True, **options)
    assert result.samples.shape == (10, 1, 2, 1)
    assert result.samples.dtype == torch.float64
    assert result.latents.dtype == result.log_ratio.dtype == torch.float32
    assert result.method in capsys.readouterr().err


@every_sampler
def test_candidates_come_from_the_proposal(name):
    """From one that only draws near a point, all candidates lie there; moved ones start there."""
    near = lk.Normal(2, mean=0.5, std=1e-3)
    result = drawn(name, 20, proposal=near, **({"steps": 1} if name in GRADIENTS or "metro" in name else {}))
    reach = 3.0 if name.startswith("langevin") else 0.3 if name in GRADIENTS else 0.01
    assert (result.latents - 0.5).abs().max() < reach


@every_sampler
def test_bad_input_is_named(name):
    method, options = SAMPLERS[name]
    generator, critic = models()
    for n in (0, -1, 2.5, None):
        with pytest.raises(ArgumentError, match="n must be a whole number"):
            method(generator, critic, n, **options)
    with pytest.raises(ArgumentError, match="needs a critic"):
        method(generator, None, 5, **options)
    with pytest.raises(ArgumentError, match="needs a generator"):
        method(lambda z: z, critic, 5, **options)
    with pytest.raises(ArgumentError, match="seed"):
        method(generator, critic, 5, seed=-1, **options)
    with pytest.raises(ArgumentError, match="start"):
        method(generator, critic, 5, start=-1, **options)
    with pytest.raises(ArgumentError, match="batch_size"):
        method(generator, critic, 5, batch_size=0, **options)
    with pytest.raises(ArgumentError, match="proposal"):
        method(generator, critic, 5, proposal="prior", **options)
    with pytest.raises(ShapeError, match="size 2, got 3"):
        method(generator, critic, 5, proposal=lk.Normal(3), **options)
    with pytest.raises(NonFiniteError, match="logit"):
        method(generator, lambda x: x.sum(1) * float("nan"), 5, **options)
    with pytest.raises(ShapeError, match="one logit a sample"):
        method(generator, lambda x: x, 5, **options)
    with pytest.raises(ShapeError, match="critic must return"):
        method(generator, lambda x: x.sum(), 5, **options)
    with pytest.raises(ShapeError, match="generator must return"):
        method(lk.wrap(lambda z: z[1:], PRIOR), critic, 5, **options)


OPTIONS = [
    (rejection, {"gamma": float("nan")}),
    (rejection, {"percentile": 101}),
    (rejection, {"cap": "none"}),
    (rejection, {"cap": float("inf")}),
    (rejection, {"pilot": 0}),
    (rejection, {"most_evaluations": 0.5}),
    (metropolis, {"steps": 0}),
    (metropolis, {"real_logits": torch.zeros(3, 1)}),
    (metropolis, {"real_logits": torch.tensor([0.0, float("nan")])}),
    (langevin, {"steps": 0}),
    (langevin, {"step_size": 0.0}),
    (gradient_flow, {"divergence": "chi"}),
    (gradient_flow, {"eta": 0.0}),
    (gradient_flow, {"gamma": -1.0}),
    (transport, {"rate": 0.0}),
    (transport, {"slope": 0.0}),
    (resampling, {"pool": 4}),
    (resampling, {"most_duplicates": 2.0}),
    (with_weights, {"weights": None}),
    (gated, {"threshold": float("nan")}),
]


@pytest.mark.parametrize(("method", "options"), OPTIONS, ids=[f"{m.__name__}-{next(iter(o))}" for m, o in OPTIONS])
def test_options_out_of_range_are_named(method, options):
    with pytest.raises(LatentkitError, match=next(iter(options)).replace("_", ".") + "|pool|percentile"):
        method(*models(), 5, **options)


@pytest.mark.parametrize("name", GRADIENTS)
def test_models_that_lose_gradients_are_refused(name):
    method, options = SAMPLERS[name]
    with pytest.raises(ArgumentError, match="sampler without gradients"):
        method(lk.wrap(lambda z: z.detach(), PRIOR), LogRatio().eval(), 5, **options)


BOUNDED = [lk.Uniform(3), lk.Uniform(3, low=1.0, high=4.0), lk.Sphere(3, radius=2.0)]


@pytest.mark.parametrize("name", GRADIENTS)
@pytest.mark.parametrize("prior", BOUNDED, ids=repr)
def test_moved_latents_stay_on_a_bounded_prior(name, prior):
    method, options = SAMPLERS[name]
    result = method(lk.wrap(lambda z: z, prior), lambda x: 8.0 * x[:, 0], 30, **options)
    assert prior.log_prob(result.latents).isfinite().all()
    assert result.log_ratio.mean() > 8.0 * prior.sample(30, seed=0)[:, 0].mean()


def test_a_flat_critic_moves_nothing_and_refuses_nothing():
    def flat(x):
        return 0.0 * x.sum(1)

    generator = lk.wrap(lambda z: z, PRIOR)
    plain = PRIOR.sample(30, seed=0)
    torch.testing.assert_close(rejection(generator, flat, 30, gamma=0.0).latents, plain)
    torch.testing.assert_close(gradient_flow(generator, flat, 30, gamma=0.0).latents, plain, atol=1e-6, rtol=1e-6)
    assert metropolis(generator, flat, 30, steps=5).acceptance == 1.0
    assert resampling(generator, flat, 30).ess == 30
    with pytest.raises(LatentkitError, match="anywhere to go"):
        transport(generator, flat, 30)


# What a ratio without a bound costs: T7 of the benchmark.
STEEP = (lk.wrap(lambda z: z, PRIOR), lambda x: 6.0 * x[:, 0])


@pytest.mark.parametrize("cap", [None, "auto"])
def test_an_unbounded_ratio_is_refused_by_a_pilot(cap):
    with pytest.raises(CostError, match="would cost about") as caught:
        rejection(*STEEP, 10**9, cap=cap)
    text = str(caught.value)
    assert "most_evaluations=50" in text
    assert "top 1 % of 2000 pilot candidates carry" in text
    for help in ("cap=", "proposal", "smoothed", "repair"):
        assert help in text


def test_a_low_cap_makes_it_affordable():
    result = rejection(*STEEP, 50, cap=3.0)
    assert result.cost.generator < 50
    assert result.notes["capped_weight"] > 0.9, "and the bias is told"
    assert "capped at" in result.target


def test_no_sampler_goes_on_for_ever():
    with pytest.raises(CostError, match="kept 0 of"):
        rejection(*STEEP, 10**9, cap=None, ceiling=60.0)
    with pytest.raises(CostError, match="lower the threshold"):
        gated(*STEEP, 10**9, threshold=60.0)
    with pytest.raises(CostError, match=r"would repeat 9\d% of its samples.*top 1 %"):
        resampling(*STEEP, 1000, cap=None)
    fit = fit_latent_weights(*STEEP, pool=1000, steps=50, width=8, depth=1, cap=18.0)
    with pytest.raises(CostError, match="amortised would try"):
        amortised(*STEEP, 10, weights=fit, most_evaluations=2)


def test_a_ceiling_that_rises_on_the_way_stops_a_call():
    """The pilot, one candidate, sees nothing of it; the call does."""
    with pytest.raises(CostError, match="and stopped"):
        rejection(*STEEP, 10**5, cap=None, pilot=1, seed=1)


def test_the_pilots_figures():
    logits = torch.tensor([0.0] * 98 + [2.0, 5.0])
    total = 98 + 2.718281828**2 + 2.718281828**5
    assert concentration(logits) == pytest.approx(2.718281828**5 / total)
    assert effective_size(torch.zeros(7)) == pytest.approx(7)
    assert effective_size(torch.tensor([0.0, 80.0])) == pytest.approx(1)
    assert chosen_cap(None, logits) == float("inf")
    assert chosen_cap(1.5, logits) == 1.5
    assert chosen_cap("auto", logits) == 5.0, "less than 1 % lies above the largest one only"
    even = torch.arange(1000.0).log1p()
    cap = chosen_cap("auto", even)
    shares = even.double().softmax(0)
    assert shares[even > cap].sum() <= 0.01 < shares[even >= cap].sum()
    capped = even.double().clamp(max=cap).softmax(0)
    variation = 0.5 * (shares - capped).abs().sum()
    assert variation <= lost_weight(even, cap) < 0.01
    assert lost_weight(even, float("inf")) == 0.0


def test_systematic_draws_keep_their_shares():
    weights = torch.tensor([0.05, 0.0, 0.45, 0.3, 0.2], dtype=torch.float64)
    for u in (1e-9, 0.3, 1 - 1e-9):
        counts = systematic(weights.log(), 13, u).bincount(minlength=5)
        assert counts.sum() == 13
        assert ((counts - 13 * weights).abs() < 1).all()
    mean = torch.stack([systematic(weights.log(), 3, (k + 0.5) / 100).bincount(minlength=5) for k in range(100)])
    torch.testing.assert_close(mean.double().mean(0), 3 * weights, atol=0.011, rtol=0)


def test_the_gate_is_set_by_real_samples():
    real = torch.arange(1000.0)[:, None]
    threshold = gate_threshold(lambda x: x[:, 0], real)
    assert threshold == pytest.approx(9.99)
    assert gate_threshold(lambda x: x[:, 0], real, 0.0) == 0.0
    assert gate_threshold(lambda x: x[:, 0], real, 1.0) == 999.0
    with pytest.raises(ArgumentError, match="quantile"):
        gate_threshold(lambda x: x[:, 0], real, 1.5)
    with pytest.raises(ShapeError, match="at least one row"):
        gate_threshold(lambda x: x[:, 0], real[:0])


def test_streams_and_joins_check_their_arguments():
    with pytest.raises(ArgumentError, match="n must"):
        streamed(rejection, *models(), 0)
    with pytest.raises(ArgumentError, match="each must"):
        streamed(rejection, *models(), 5, each=0)
    with pytest.raises(ArgumentError, match="no parts"):
        joined([], PRIOR)
