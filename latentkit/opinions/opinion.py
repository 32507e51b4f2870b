"""The second opinion itself: which real samples it learns from, which it is judged by, and what comes out."""

import copy
import time
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from latentkit import streams
from latentkit.calibration import FEWEST, METHODS, Calibration, calibrate
from latentkit.checks import as_count, as_number, as_seed, floating, one_of, require_finite
from latentkit.errors import ArgumentError, ShapeError
from latentkit.nets.fitting import initialised
from latentkit.nets.fresh import are_images, fresh_critic, merged
from latentkit.opinions.training import Fresh, Plan, fitted
from latentkit.protocols import Generator, place_of
from latentkit.sampling.guided import Proposal

__all__ = ["SecondOpinion", "second_opinion"]

#: Fewest real samples that training stops by, and fewest that are left to train on.
FEWEST_WATCHED, FEWEST_TRAINED = 10, 20

#: Most samples a side that training is watched by, an eighth as many images: more would take time from training.
MOST_WATCHED = 4096

#: Fewer training images than this are shifted, which delays learning them by heart.
FEW_IMAGES = 2000

#: Learning rates of a fresh network, and of one that goes on from another's weights.
RATE, RATE_ON = 2e-3, 5e-4


@dataclass(frozen=True, eq=False)
class SecondOpinion:
    """A fresh critic and what it is worth.

    Attributes: `critic`, in eval mode, whose logits estimate log(p_real / p_model) (for samplers use
    `calibration.applied(critic)`); `calibration`, on held-out samples that had no part in its training; `real` and
    `generated`, (M, *S) each, these samples; `steps` of training that its weights had, and the `seconds` that all
    took; `history` (E, 2) float64, steps and the loss then on the samples that training was stopped by, in nats a
    sample (ln 2 = 0.693 says nothing).
    """

    critic: nn.Module
    calibration: Calibration
    real: Tensor
    generated: Tensor
    steps: int
    seconds: float
    history: Tensor

    @property
    def verdict(self) -> str:
        """Whether the critic is worth believing, in one sentence."""
        return f"{self.calibration.verdict}: {self.calibration.explanation}"


def second_opinion(
    generator: Generator,
    real: Tensor,
    *,
    seed: int = 0,
    steps: int | None = None,
    width: int | None = None,
    start: nn.Module | None = None,
    holdout: float = 0.25,
    batch_size: int | None = None,
    weight_decay: float = 1.0,
    proposal: Proposal | None = None,
    method: str | None = None,
    device: str | torch.device | None = None,
    progress: bool = False,
) -> SecondOpinion:
    """Train a fresh critic on real samples against a frozen generator, and calibrate it on held-out ones.

    Points of at most 8 dimensions get a `FourierCritic`, longer vectors an `MLPCritic`, square images whose side is
    a power of two from 16 a `ConvCritic` (fewer than 2000 are moved by up to a sixteenth of the side), and other
    samples an `MLPCritic` on all their numbers. Half of the held-out samples only say when to stop, so that luck in
    that choice does not count as signal; the weights are those of the lowest loss.

    Args:
        generator: the model; it runs where it is, in eval mode, and is not changed.
        real: (M, *S) real samples, at least 50. They may be those that the generator was trained on, unless it
            repeats them.
        seed: decides the split, the initial weights and all draws; on one machine it gives the same weights again.
        steps: most steps of training, by default 2000 for vectors and 1000 for images; a quarter of a minute to one
            minute on one processor core, less for few real samples.
        width: units of a hidden layer, by default 128, or channels of the first feature maps, by default 32.
        start: a critic to start from instead, which is copied: the GAN's own saves most of the time on images, of
            which a fresh one needs many. If it was trained on these real samples it knows them, held out or not:
            give others, or calibrate the result on others.
        holdout: share of the real samples that is not trained on; at least 30 are held out.
        batch_size: samples a side and step, by default 1024, and 64 for images.
        weight_decay: AdamW's.
        proposal: what latents are drawn from, by default the generator's prior.
        method: of calibration, see `calibrate`; for samplers that follow gradients "logistic" or "beta".
        device: where the critic is trained and stays, by default where the generator is.
        progress: show a progress bar on standard error.

    Raises:
        ShapeError: if there are fewer than 50 real samples, or the generator's have another shape.
        ArgumentError: if an argument is out of its range, or `start` has nothing to train.
        NonFiniteError: if a sample holds NaN or infinity.
    """
    began = time.perf_counter()
    seed, holdout = as_seed(seed), as_number(holdout, "holdout", least=0.0, most=0.9)
    if method is not None:
        one_of(method, "method", METHODS)
    real = floating(real, "real samples")
    if real.ndim < 2 or len(real) == 0 or real[0].numel() == 0:
        raise ShapeError(f"real samples must be (M, ...), got {tuple(real.shape)}")
    real = require_finite(real, "real samples").float().cpu()
    images = are_images(real)
    width = as_count(width if width is not None else 32 if images else 128, "width")
    most = MOST_WATCHED // 8 if images else MOST_WATCHED
    trained, watched, judged = _split(real, holdout, most, seed)
    plan = Plan(
        steps=as_count(steps if steps is not None else 1000 if images else 2000, "steps"),
        rows=as_count(batch_size if batch_size is not None else 64 if images else 1024, "batch_size"),
        rate=RATE if start is None else RATE_ON,
        weight_decay=as_number(weight_decay, "weight_decay", least=0.0),
        place=torch.device(device) if device is not None else place_of(generator)[0],
        shift=real.shape[-1] // 16 if images and len(trained) < FEW_IMAGES else 0,
        seed=seed,
        progress=progress,
    )
    prior = generator.prior if proposal is None else proposal
    fresh = Fresh(generator, prior, streams.derived_seed(seed, streams.TRAINING), plan.rows)
    fake = fresh(len(judged))
    if fake.shape[1:] != real.shape[1:]:
        raise ShapeError(
            f"real samples must be of the generator's shape, (M, {', '.join(map(str, fake.shape[1:]))}), "
            f"got {tuple(real.shape)}"
        )
    # Generated samples are free, so that only the real ones make the loss uncertain.
    both_watched = watched, fresh(most)
    network = _copied(start) if start is not None else initialised(lambda: fresh_critic(trained, width), seed)
    best, steps, history = fitted(network.to(plan.place), trained, fresh, both_watched, plan)
    critic = merged(best).eval()
    return SecondOpinion(
        critic=critic,
        calibration=calibrate(critic, judged, fake, method=method),
        real=judged,
        generated=fake,
        steps=steps,
        seconds=time.perf_counter() - began,
        history=torch.tensor(history, dtype=torch.float64),
    )


def _copied(start: nn.Module) -> nn.Module:
    """Return a copy of a critic whose weights can be trained, or raise `ArgumentError`."""
    if not isinstance(start, nn.Module) or not any(True for _ in start.parameters()):
        raise ArgumentError(f"start must be a torch module with weights to train, got {type(start).__name__}")
    return copy.deepcopy(start).requires_grad_(True)


def _split(real: Tensor, holdout: float, most: int, seed: int) -> tuple[Tensor, Tensor, Tensor]:
    """Return the real samples to train on, those to stop by, and those to calibrate on."""
    n = len(real)
    half = round(0.5 * holdout * n)
    watched, judged = min(max(half, FEWEST_WATCHED), most), max(half, FEWEST)
    if n - watched - judged < FEWEST_TRAINED:
        raise ShapeError(
            f"a second opinion needs {FEWEST_TRAINED} real samples to train on, {watched} to stop by and {judged} to "
            f"calibrate on, got {n} in all; give more, or hold out less"
        )
    order = torch.from_numpy(streams.permutation(n, seed=seed))
    return real[order[watched + judged :]], real[order[:watched]], real[order[watched : watched + judged]]
