"""Training a critic against a frozen generator until it tells held-out samples apart no better."""

import copy
import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from latentkit import streams
from latentkit.nets.fitting import Average, shifted
from latentkit.protocols import Generator
from latentkit.sampling.generate import generate
from latentkit.sampling.guided import Proposal

__all__ = ["Fresh", "Plan", "fitted"]

DECAY = 0.98  # of the averaged weights
EVERY = 20  # steps from one look at the held-out loss to the next
PATIENCE = 25  # looks without a lower loss, after which training stops


@dataclass(frozen=True)
class Plan:
    """How to train: `shift` is the largest move of images in pixels."""

    steps: int
    rows: int
    rate: float
    weight_decay: float
    place: torch.device
    shift: int
    seed: int
    progress: bool


class Fresh:
    """Draws samples of a generator, never of the same latent twice."""

    def __init__(self, generator: Generator, proposal: Proposal, seed: int, batch_size: int) -> None:
        self._generator, self._proposal, self._seed, self._batch_size = generator, proposal, seed, batch_size
        self._next = 0

    def __call__(self, n: int) -> Tensor:
        """Return the next n samples (n, *S) float32, on the CPU."""
        latents = self._proposal.sample(n, seed=self._seed, start=self._next)
        self._next += n
        return generate(self._generator, latents, batch_size=self._batch_size).float()


def fitted(
    network: nn.Module, trained: Tensor, fresh: Fresh, watched: tuple[Tensor, Tensor], plan: Plan
) -> tuple[nn.Module, int, list[tuple[int, float]]]:
    """Return the averaged weights of the lowest held-out loss, the steps they had, and the losses."""
    from tqdm import tqdm

    weights, decay = network.parameters(), plan.weight_decay
    optimiser = torch.optim.AdamW(weights, plan.rate, (0.9, 0.99), weight_decay=decay, fused=True)
    average = Average(network, DECAY)
    best, least, at = average.module, math.inf, 0
    history: list[tuple[int, float]] = []
    with tqdm(total=plan.steps, desc="second opinion", unit="step", disable=not plan.progress, leave=False) as bar:
        for step in range(plan.steps):
            for group in optimiser.param_groups:
                group["lr"] = plan.rate * 0.5 * (1.0 + math.cos(math.pi * step / plan.steps))
            batch = _batch(trained, fresh, step, plan).to(plan.place)
            real, fake = network.train()(batch).split(plan.rows)
            optimiser.zero_grad()
            _logistic_loss(real, fake).backward()
            optimiser.step()
            average.update(network)
            bar.update()
            if (step + 1) % EVERY and step + 1 < plan.steps:
                continue
            loss = _logistic_loss(*(_scored(average.module, side, plan) for side in watched)).item()
            history.append((step + 1, loss))
            bar.set_postfix(loss=f"{loss:.4f}")
            if loss < least:
                best, least, at = copy.deepcopy(average.module), loss, step + 1
            elif step + 1 - at >= PATIENCE * EVERY:
                break
    return best, at, history


def _logistic_loss(real: Tensor, fake: Tensor) -> Tensor:
    """Return the mean log loss of logits of real and of generated samples, both sides counting alike."""
    return 0.5 * (functional.softplus(-real).mean() + functional.softplus(fake).mean())


def _batch(trained: Tensor, fresh: Fresh, step: int, plan: Plan) -> Tensor:
    """Return as many real as new generated samples, (2 rows, *S): those of this step."""
    u = streams.uniform(plan.rows, 1, seed=plan.seed, start=step * plan.rows, stream=streams.BATCHES)[:, 0]
    rows = torch.from_numpy((u * len(trained)).astype("int64"))
    both = torch.cat([trained[rows], fresh(plan.rows)])
    if not plan.shift:
        return both
    moves = streams.uniform(len(both), 2, seed=plan.seed, start=step * len(both), stream=streams.NOISE)
    return shifted(both, torch.from_numpy(moves), plan.shift)


@torch.no_grad()
def _scored(network: nn.Module, samples: Tensor, plan: Plan) -> Tensor:
    """Return logits (N,) of samples (N, *S), where the network is."""
    return torch.cat([network(part.to(plan.place)) for part in samples.split(plan.rows)])
