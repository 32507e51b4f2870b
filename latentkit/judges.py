"""Which critic to score latents with: the generator's own, or a second opinion where that one says little."""

from dataclasses import dataclass, replace

from torch import Tensor, nn

from latentkit.calibration import FEWEST, Calibration
from latentkit.checks import floating
from latentkit.errors import CriticError, ShapeError
from latentkit.opinions import best_critic, second_opinion
from latentkit.protocols import Critic, Generator
from latentkit.quality import calibrate_against

__all__ = ["Judged", "judge"]

#: Held-out samples from which a second opinion is asked for, and its steps for images and points: some seconds.
ENOUGH, STEPS_IMAGES, STEPS_POINTS = 400, 100, 400


@dataclass(frozen=True, eq=False)
class Judged:
    """The critic that latents are scored with.

    Attributes: `critic`; its `calibration`; `own`, that of the generator's own critic, or None without one; `real`
    (M, *S), held-out samples that it was not trained on, and their `labels` (M,), if they are known; `second`, whether
    it is a second opinion; `explanation`, which critic was taken and why, if there was a choice.
    """

    critic: Critic
    calibration: Calibration
    own: Calibration | None
    real: Tensor
    labels: Tensor | None
    second: bool = False
    explanation: str = ""


def judge(
    generator: Generator,
    own: Critic | None,
    real: Tensor,
    *,
    labels: Tensor | None = None,
    seed: int = 0,
    start: int = 0,
    batch_size: int = 64,
) -> Judged:
    """Choose the critic to map a latent space with.

    The generator's own critic is taken if it is informative. If it is not, or there is none, and at least 400 samples
    are held out, a second opinion is trained for some seconds and taken if it is better on the same held-out samples.
    On images it goes on from the own critic, as it would need long to learn from nothing.

    Args:
        generator: the model.
        own: its discriminator, or None.
        real: (M, *S) held-out real samples, that neither was trained on.
        labels: (M,) their class numbers, if they are known.
        seed: of the draws that critics are calibrated on, and of the second opinion.
        start: the number of the first of these draws; those before it can be mapped without being judged by themselves.
        batch_size: latents a call.

    Returns:
        The critic with its calibration: `quality_map(generator, judged.critic, judged.real,
        calibration=judged.calibration)` maps with it.

    Raises:
        CriticError: if there is no critic and too few samples to train one.
        ShapeError: if the real samples are not of the generator's shape.
    """
    real = floating(real, "real samples")
    if real.ndim < 2:
        raise ShapeError(f"real samples must be (M, *S), got {tuple(real.shape)}")
    mine = None
    if own is not None and len(real) >= FEWEST:
        found = calibrate_against(generator, own, real, seed=seed, start=start, batch_size=batch_size)
        mine = Judged(own, found, found, real, labels)
    if mine is not None and (len(real) < ENOUGH or mine.calibration.verdict == "informative"):
        return mine
    if len(real) < ENOUGH:
        raise CriticError(
            f"there is no critic that can be calibrated, and {len(real)} held-out samples are too few to train one; "
            f"give a critic and at least {FEWEST} held-out samples, or {ENOUGH} of these"
        )
    images = real.ndim == 4
    opinion = second_opinion(
        generator,
        real,
        seed=seed,
        steps=STEPS_IMAGES if images else STEPS_POINTS,
        start=own if images and isinstance(own, nn.Module) else None,
    )
    best = best_critic(own, opinion, batch_size=batch_size)
    if mine is not None and best.name == "own":
        return replace(mine, explanation=best.explanation)
    if mine is not None and opinion.calibration.verdict == "uninformative":
        return replace(mine, explanation=f"A second opinion was asked for and says nothing: {opinion.verdict}")
    own_one = None if mine is None else mine.own
    return Judged(opinion.critic, opinion.calibration, own_one, opinion.real, None, True, best.explanation)
