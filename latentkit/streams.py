"""Counter-based random streams: item i of seed s is a function of (s, i, width) and nothing else.

NumPy's Philox is keyed by the seed and advanced by the item's index, so the i-th row is the same
however many rows are drawn, in whatever batches, on whatever device. Two 64-bit words make the key:
the seed and a stream number, so that two uses of one seed never share numbers.

References:
    Salmon, Moraes, Dror, Shaw (2011), "Parallel random numbers: as easy as 1, 2, 3".
"""

import random
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import numpy as np
from numpy.typing import NDArray

from latentkit.checks import as_count, as_seed
from latentkit.errors import ArgumentError

__all__ = [
    "derived_seed",
    "normal",
    "permutation",
    "python_state_kept",
    "resampled_rows",
    "small_seed",
    "uniform",
]

# Stream numbers. One a use; never reuse a number for another meaning.
LATENTS = 0
COMPONENTS = 1  # which component of a mixture prior
SPLITS = 2  # held-out splits and permutations
VICINITY = 3  # the noise around a latent
DATA = 4  # the bundled 2-D distributions
BATCHES = 5  # which training rows a step sees
TRAINING = 6  # the latents of training steps
SETTLING = 7  # inputs that a trained generator's batch norm is measured on
NOISE = 8  # noise that training adds on the way, such as a VAE's
CANDIDATES = 9  # what guided samplers draw beside their latents: acceptance, steps, choices
MATCHED = 10  # which matched latent a proposal starts at, and how far it goes
MOVES = 11  # the noise of those moves
REPAIR = 12  # the real samples that a repair draws
SECOND = 13  # the second part of a joint prior
RESAMPLES = 16  # bootstrap and permutation resamples
MEASURES = 17  # what a measure draws: fresh points, directions, pairs
LOOPS = 18  # the harmonics of random loops, and the planes of orbits

#: Items that a stream holds: with up to 2**34 numbers each they fit the 128-bit part of the counter.
LONGEST = 2**96

_WORDS = 4  # 64-bit words that one step of the counter gives


def _bits(n: int, width: int, seed: int, start: int, stream: int) -> NDArray[np.uint64]:
    blocks = -(-width // _WORDS)
    key = np.array([as_seed(seed), stream], dtype=np.uint64)
    first = start * blocks
    counter = np.array([first & (2**64 - 1), first >> 64, 0, 0], dtype=np.uint64)
    words = np.random.Philox(key=key, counter=counter).random_raw(n * blocks * _WORDS)
    return words.reshape(n, blocks * _WORDS)[:, :width]


def uniform(n: int, width: int, *, seed: int, start: int = 0, stream: int = LATENTS) -> NDArray[np.float64]:
    """Return uniforms (n, width) strictly inside (0, 1); row i belongs to item `start + i`."""
    n, start = as_count(n, "n", least=0), as_count(start, "start", least=0)
    if start >= LONGEST:
        raise ArgumentError(f"start must lie below 2**96, got {start}")
    # 52 bits and half a step: symmetric about 1/2 and never 0 or 1, so an inverse CDF stays finite.
    return ((_bits(n, width, seed, start, stream) >> np.uint64(12)).astype(np.float64) + 0.5) * 2.0**-52


def normal(n: int, width: int, *, seed: int, start: int = 0, stream: int = LATENTS) -> NDArray[np.float64]:
    """Return standard normals (n, width); row i belongs to item `start + i`.

    The inverse CDF takes one uniform a number (a ziggurat takes a random count), and SciPy's is
    evaluated one number at a time, so a value cannot depend on its place in the array.
    """
    from scipy.special import ndtri

    return ndtri(uniform(n, width, seed=seed, start=start, stream=stream))


def derived_seed(seed: int, stream: int) -> int:
    """Return another seed, for draws that must not repeat what `seed` itself gives."""
    return int(_bits(1, 1, as_seed(seed), 0, stream)[0, 0])


def small_seed(seed: int) -> int:
    """Return a seed below 2**32 that depends on all of `seed`, for libraries that take no larger one."""
    return derived_seed(seed, SPLITS) >> 32


def permutation(n: int, *, seed: int, stream: int = SPLITS) -> NDArray[np.int64]:
    """Return a random order (n,) of 0 to n - 1."""
    return np.argsort(uniform(n, 1, seed=seed, stream=stream)[:, 0], kind="stable")


def resampled_rows(sizes: Sequence[int], *, seed: int, index: int) -> list[NDArray[np.int64]]:
    """Return for each side of `sizes` as many of its row numbers, drawn with replacement.

    Resample `index` of a seed depends on (seed, index, sizes) alone.
    """
    u = uniform(1, sum(sizes), seed=seed, start=index, stream=RESAMPLES)[0]
    sides = np.split(u, np.cumsum(sizes)[:-1])
    return [(side * size).astype(np.int64) for side, size in zip(sides, sizes, strict=True)]


@contextmanager
def python_state_kept() -> Iterator[None]:
    """Give Python's global random state back: scikit-learn draws from it while it is imported, where rich is there."""
    state = random.getstate()
    try:
        yield
    finally:
        random.setstate(state)
