"""Which critic to believe: a generator's own or a second opinion."""

import math
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional

from latentkit.calibration import Calibration, calibrate, score
from latentkit.opinions.opinion import SecondOpinion
from latentkit.protocols import Critic

__all__ = ["BestCritic", "best_critic"]


@dataclass(frozen=True, eq=False)
class BestCritic:
    """The critic that was chosen, with its calibration.

    Attributes: `critic`; `calibration`; `name`, "own" or "second opinion"; `explanation`, which one and why.
    """

    critic: Critic
    calibration: Calibration
    name: Literal["own", "second opinion"]
    explanation: str


def best_critic(
    own: Critic | None, opinion: SecondOpinion, *, method: str | None = None, batch_size: int = 256
) -> BestCritic:
    """Choose between a generator's own critic and a second opinion by their log loss on the same held-out samples.

    Both are calibrated on the opinion's held-out samples, which the fresh critic never saw. Where the own critic was
    trained on these real samples, its loss flatters it.

    Args:
        own: the critic that came with the generator, or None.
        opinion: the other one.
        method: of the own critic's calibration, see `calibrate`.
        batch_size: samples a call.

    Raises:
        ShapeError: if the own critic does not take these samples, or does not return one number a sample.
        NonFiniteError: if a logit is not finite.
    """
    other = opinion.calibration
    if own is None:
        text = f"There is no other critic than the second opinion (log loss {other.log_loss:.4f}). {other.explanation}"
        return BestCritic(opinion.critic, other, "second opinion", text)
    mine = calibrate(own, opinion.real, opinion.generated, method=method, batch_size=batch_size)
    gap = _losses(own, mine, opinion, batch_size) - _losses(opinion.critic, other, opinion, batch_size)
    error = 2.0 * float(gap.std()) / math.sqrt(len(gap))
    figures = (
        f"calibrated log loss {other.log_loss:.4f} against {mine.log_loss:.4f} of the generator's own critic, on the "
        f"same {other.count} held-out real and as many generated samples (0.6931 says nothing)"
    )
    if abs(mine.log_loss - other.log_loss) < error:
        figures += f"; a difference below {error:.4f} may be chance, which more held-out samples would settle"
    if other.log_loss <= mine.log_loss:
        text = f"The second opinion tells real from generated samples better: {figures}. {other.explanation}"
        return BestCritic(opinion.critic, other, "second opinion", text)
    text = f"The second opinion is no better: {figures}. So the own critic is used. {mine.explanation}"
    return BestCritic(own, mine, "own", text)


def _losses(critic: Critic, calibration: Calibration, opinion: SecondOpinion, batch_size: int) -> Tensor:
    """Return the log loss (2 M,) of each of an opinion's held-out samples, real ones first."""
    ratios = [
        calibration.log_ratio(score(critic, side, batch_size=batch_size)) for side in (opinion.real, opinion.generated)
    ]
    return functional.softplus(torch.cat([-ratios[0], ratios[1]]))
