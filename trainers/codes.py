"""Codes: one learned latent for each training sample, kept within the unit ball.

They are one tensor; a step moves the rows whose samples it saw, with Adam's moments kept a row, and looks at no
other. References: Kingma, Ba (2015), "Adam: a method for stochastic optimization", for the moments; Bojanowski,
Joulin, Lopez-Paz, Szlam (2018), "Optimizing the latent space of generative networks", for the ball and the start.
"""

import math
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from latentkit import streams
from trainers.data.dataset import Data

__all__ = ["Codes", "principal_codes", "random_codes", "within_ball"]

_BETA1, _BETA2 = 0.5, 0.99  # a row's last visit is an epoch ago, so its moments forget soon
_EPSILON = 1e-8
_LOOKED_AT = 8192  # samples whose principal components are taken
_PIXELS = 16  # side to which images are averaged down first: the leading components have no finer detail
_BLOCK = 1024
_INSIDE = 0.99  # share of the codes that start within the ball


class Codes:
    """The codes of all training samples, and their average over the last steps.

    Attributes: `values` (N, D), the codes; `average` (N, D), what fits averaged weights.

    Args:
        start: (N, D) where they begin, on the training's device.
        rate: their learning rate.
    """

    def __init__(self, start: Tensor, rate: float) -> None:
        self.values = within_ball(start)
        self.average = self.values.clone()
        self._rate = rate
        self._first, self._second = torch.zeros_like(start), torch.zeros_like(start)
        self._visits = torch.zeros(len(start), 1, device=start.device)

    @torch.no_grad()
    def descend(self, rows: Tensor, gradient: Tensor, keep: float) -> None:
        """Make one step of some codes and put them back into the ball.

        Args:
            rows: (n,) which; none of them twice.
            gradient: (n, D) of the loss with respect to them.
            keep: share of their average that stays.
        """
        visits = self._visits[rows] + 1.0
        first = self._first[rows].lerp(gradient, 1.0 - _BETA1)
        second = self._second[rows].lerp(gradient.square(), 1.0 - _BETA2)
        slope = first / (1.0 - _BETA1**visits)
        size = (second / (1.0 - _BETA2**visits)).sqrt()
        values = within_ball(self.values[rows] - self._rate * slope / (size + _EPSILON))
        self.values[rows], self._first[rows], self._second[rows], self._visits[rows] = values, first, second, visits
        self.average[rows] = self.average[rows].lerp(values, 1.0 - keep)

    def state_dict(self) -> dict[str, Any]:
        """Return what a snapshot holds."""
        return {
            "values": self.values,
            "average": self.average,
            "first": self._first,
            "second": self._second,
            "visits": self._visits,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from such a state."""
        for name, mine in self.state_dict().items():
            mine.copy_(state[name])


def within_ball(codes: Tensor) -> Tensor:
    """Return codes (N, D), those outside of the unit ball moved to the nearest place on it."""
    return codes / codes.norm(dim=1, keepdim=True).clamp(min=1.0)


def random_codes(count: int, dim: int, seed: int) -> Tensor:
    """Return `count` codes (count, dim): normal draws of mean squared norm 1, within the unit ball."""
    draws = streams.normal(count, dim, seed=seed, stream=streams.NOISE) / math.sqrt(dim)
    return within_ball(torch.from_numpy(draws).to(torch.float32))


def principal_codes(data: Data, dim: int, seed: int) -> Tensor:
    """Return codes (N, dim) within the unit ball: the leading principal components of each sample, whitened.

    Samples that look alike begin as neighbours, so a generator can be smooth from the start. All coordinates have
    the same spread, the largest at which all but a hundredth of the codes lie within the ball. Coordinates beyond
    the number of components are small normal draws.

    Args:
        data: N samples.
        dim: size D of a code.
        seed: decides those draws.
    """
    features = torch.cat([_features(data, slice(k, k + _BLOCK)) for k in range(0, min(len(data), _LOOKED_AT), _BLOCK)])
    mean = features.mean(0)
    variances, axes = torch.linalg.eigh((features - mean).T @ (features - mean) / len(features))
    variances, axes = variances.flip(0)[:dim], axes.flip(1)[:, :dim]
    # What floats cannot tell from no variance is no component.
    known = int((variances > 1e-9 * variances[0].clamp(min=1e-30)).sum())
    # An axis has two signs; the one whose largest entry is positive is taken.
    axes = axes * axes.gather(0, axes.abs().argmax(0, keepdim=True)).sign()
    whiten = axes[:, :known] / variances[:known].sqrt()
    codes = random_codes(len(data), dim, seed).double()
    codes[:, :known] = torch.cat(
        [(_features(data, slice(k, k + _BLOCK)) - mean) @ whiten for k in range(0, len(data), _BLOCK)]
    )
    usual = float(codes[:, : max(known, 1)].norm(dim=1).quantile(_INSIDE))
    codes[:, :known] /= max(usual, 1e-30)
    codes[:, known:] *= 0.1
    return within_ball(codes.float())


def _features(data: Data, rows: slice) -> Tensor:
    """Return samples as rows of few numbers (n, F), float64."""
    samples = data.floats(rows)
    if data.is_images and samples.shape[-1] > _PIXELS:
        samples = functional.adaptive_avg_pool2d(samples, _PIXELS)
    return samples.flatten(1).double()
