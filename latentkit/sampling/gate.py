"""The gate: candidates that score worse than nearly all real samples are left out."""

from torch import Tensor

from latentkit.calibration import score
from latentkit.checks import as_number, floating
from latentkit.errors import ShapeError
from latentkit.protocols import Critic, Generator
from latentkit.sampling.candidates import Call, sift
from latentkit.sampling.guided import GuidedSample, Proposal

__all__ = ["gate_threshold", "gated"]


def gate_threshold(critic: Critic, real: Tensor, quantile: float = 0.01, *, batch_size: int = 256) -> float:
    """Return the logit that a share of real samples stay below.

    Args:
        critic: samples to logits (N,), of any unit: a gate needs their order only.
        real: (M, *S) real samples, at least one; held-out ones for an honest threshold.
        quantile: that share, 0 to 1.
        batch_size: samples a call.

    Raises:
        ShapeError: if there are no real samples.
        ArgumentError: if the quantile is out of range.
        NonFiniteError: if a sample or a logit is not finite.

    Examples:
        >>> import torch
        >>> gate_threshold(lambda x: x[:, 0], torch.arange(101.0)[:, None], 0.25)
        25.0
    """
    quantile = as_number(quantile, "quantile", least=0.0, most=1.0)
    real = floating(real, "real samples")
    if real.ndim < 2 or not len(real):
        raise ShapeError(f"real samples must be (M, ...) with at least one row, got {tuple(real.shape)}")
    return float(score(critic, real, batch_size=batch_size).double().quantile(quantile))


def gated(
    generator: Generator,
    critic: Critic,
    n: int,
    *,
    threshold: float,
    seed: int = 0,
    start: int = 0,
    proposal: Proposal | None = None,
    batch_size: int = 256,
    progress: bool = False,
    most_evaluations: float = 50.0,
) -> GuidedSample:
    """Keep the candidates whose logit is at least a threshold.

    A cut, not a reweighting: what passes keeps the proportions that the generator gave it. It is as cheap as the
    candidates are good, and best behind a proposal that follows the data.

    Args:
        generator: the model.
        critic: samples to logits (N,); only their order counts.
        n: how many samples to keep.
        threshold: the smallest logit that passes, from `gate_threshold`.
        seed: 0 to 2**64 - 1.
        start: number of the first candidate.
        proposal: what candidates are drawn from; None for the generator's prior.
        batch_size: latents a call; changes nothing beyond float rounding.
        progress: show a progress bar on standard error.
        most_evaluations: candidates a kept sample that are too many; at twice as many the sampler stops.

    Returns:
        The samples in the order of their candidates; `ess` is n, as they are independent.

    Raises:
        CostError: if hardly any candidate passes.
        ArgumentError: if an argument is out of range.
        NonFiniteError: if a logit is not finite.

    References:
        Tanielian, Issenhuth, Dohmatob, Mary (2020), "Learning disconnected manifolds: a no GAN's land": truncation of
        the generated law, there where the generator's Jacobian is largest, here where the critic's logit is smallest.
    """
    call = Call(
        "gated",
        generator,
        critic,
        n,
        seed=seed,
        start=start,
        proposal=proposal,
        batch_size=batch_size,
        progress=progress,
    )
    threshold = as_number(threshold, "threshold")
    most = as_number(most_evaluations, "most_evaluations", least=1.0)

    def judge(latents: Tensor, first: int) -> tuple[Tensor, ...]:
        samples, logits = call.evaluator.scored(latents)
        return logits >= threshold, samples, logits

    advice = f"lower the threshold, which is {threshold:g}, or use a proposal nearer to the data"
    end, latents, (samples, log_ratio) = sift(call, judge, most_evaluations=most, advice=advice)
    target = (
        f"not the candidates' law times the density ratio: that law cut off where the logit is below {threshold:.4g}, "
        "and otherwise as it was"
    )
    return call.result(target, latents, samples, log_ratio, next=end, acceptance=call.n / (end - call.start))
