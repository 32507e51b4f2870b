"""Numbers that show during a training whether it is learning, and warnings when it is not."""

import warnings
from typing import Any

import torch
from torch import Tensor

from latentkit.calibration import score
from latentkit.checks import require_finite
from latentkit.metrics import COLLAPSED
from latentkit.neighbours import nearest
from latentkit.protocols import Critic
from latentkit.roc import auc

__all__ = ["Health"]

LOOKED_AT = 128  # samples a look, real and generated
NEAR = 0.1  # of the usual distance to a neighbour: samples this near are duplicates to the eye
SATURATED = 0.999
PATIENCE = 3  # looks in a row, so that one odd batch alarms nobody


class Health:
    """Looks at the samples of fixed latents from time to time, beside held-out real ones.

    Its `values` are of the last look: `spread`, the mean distance between two samples over that between
    two real ones; `near_duplicates`, the share of samples that have another one within a tenth of the
    usual distance between neighbouring real ones; `critic_auc`, how often the critic scores a held-out
    real sample above a generated one (1 always: it is saturated and its gradient teaches nothing; NaN is
    never stored: without a critic the column is missing).

    Args:
        real: held-out real samples (M, *S).
    """

    def __init__(self, real: Tensor) -> None:
        self.values: dict[str, float] = {}
        self._real = real[:LOOKED_AT]
        flat = self._real.flatten(1)
        self._usual = float(torch.pdist(flat).mean()) if len(flat) > 1 else 0.0
        self._neighbour = float(nearest(flat, flat, 1, same=True)[0].median()) if len(flat) > 1 else 0.0
        self._last: Tensor | None = None
        self._unmoved = self._saturated = self._blind = self._collapsed = 0
        self._warned: set[str] = set()

    @property
    def count(self) -> int:
        """How many samples a look wants."""
        return max(2, len(self._real))

    def look(self, step: int, samples: Tensor, critic: Critic | None, *, last: bool = False) -> None:
        """Measure the samples (N, *S) of fixed latents after step `step`, and warn once of what is wrong.

        Args:
            step: how many steps have been made.
            samples: of the same latents at every look.
            critic: what scores them, or None.
            last: whether the run ends here; before that only what lasts for several looks is warned of, as a
                generator that has hardly begun makes nearly one sample too.

        Raises:
            NonFiniteError: if a sample or a score is not finite.
        """
        flat = require_finite(samples, "generated samples").flatten(1)
        spread = float(torch.pdist(flat).mean()) / max(self._usual, 1e-30)
        near = float((nearest(flat, flat, 1, same=True)[0] <= NEAR * self._neighbour).float().mean())
        self.values = {"spread": spread, "near_duplicates": near}
        unmoved = self._last is not None and torch.equal(self._last, samples)
        self._unmoved = self._unmoved + 1 if unmoved else 0
        self._last = samples.clone()
        if critic is not None:
            real, fake = score(critic, self._real), score(critic, samples)
            self.values["critic_auc"] = auc(real.double().numpy(), fake.double().numpy())
            self._saturated = self._saturated + 1 if self.values["critic_auc"] > SATURATED else 0
            self._blind = self._blind + 1 if torch.cat([real, fake]).std() == 0 else 0
        self._collapsed = self._collapsed + 1 if spread < COLLAPSED else 0
        self._warn(step, spread, last)

    def _warn(self, step: int, spread: float, last: bool) -> None:
        if self._unmoved >= PATIENCE:
            self._say(
                "unmoved", f"nothing is learned: the samples have not changed for {PATIENCE} looks up to step {step}"
            )
        if self._blind >= PATIENCE:
            self._say("blind", f"nothing is learned: the critic gives all samples one score at step {step}")
        if self._saturated >= PATIENCE:
            self._say(
                "saturated",
                f"the critic tells every sample from a real one at step {step} (AUC {self.values['critic_auc']:.3f}), "
                "so the generator learns little; lower the critic's learning rate or raise r1",
            )
        if self._collapsed >= (1 if last else PATIENCE):
            self._say(
                "collapsed",
                f"the samples are nearly identical at step {step}: their mean distance is {spread:.2g} of that "
                "of real samples; if it stays so, train longer, with another seed or with lower rates",
            )

    def _say(self, what: str, text: str) -> None:
        if what not in self._warned:
            self._warned.add(what)
            warnings.warn(text, UserWarning, stacklevel=9)  # at the line that called the trainer

    def state_dict(self) -> dict[str, Any]:
        """Return what a snapshot holds."""
        return {
            "values": dict(self.values),
            "counts": [self._unmoved, self._saturated, self._blind, self._collapsed],
            "warned": sorted(self._warned),
            **({} if self._last is None else {"last": self._last}),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from what a snapshot held."""
        self.values = {name: float(value) for name, value in state["values"].items()}
        self._unmoved, self._saturated, self._blind, self._collapsed = state["counts"]
        self._warned = set(state["warned"])
        self._last = state.get("last")
