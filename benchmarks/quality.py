"""Claim: on Fashion-MNIST the default recipe of `train_gan` beats the plain DCGAN recipe at every time.

    python -m benchmarks.quality [--minutes 5 10 20] [--seed N] [--json FILE]

Both train in this process, on one thread, in turns of `--slice` seconds, so that they see the same load.
Time is this process's CPU time (`time.process_time`), so that a busy machine does not count; what evaluation
takes is left out. The plain recipe is the published one at 32x32: both networks with batch norm at width 64,
100 latent dimensions, weights N(0, 0.02), batches of 128, Adam at 2e-4 with beta1 0.5, the non-saturating
loss, float32, no averaged weights, in a plain loop. Both generators are measured in eval mode, with
batch-norm statistics of 20 batches.

What is measured compares 10,000 generated images with Fashion-MNIST's 10,000 test images, which no recipe and
not the classifier was trained on, in the features of `benchmarks.fashion_features`: the squared Fréchet distance
(it is not FID: the features are others), precision, recall, density and coverage with 5 neighbours. The
first rows say what real images reach and how the classifier did.
"""

import copy
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from benchmarks.claims import at_least, concluded, parsed, parser
from benchmarks.fashion_features import NAME, Features, frechet_distance, train_features, unseen_images
from latentkit import streams
from latentkit.metrics import sample_quality
from latentkit.nets import DCGANCritic, DCGANGenerator
from latentkit.priors import Normal
from latentkit.protocols import Generator, wrap
from latentkit.sampling.generate import generate
from trainers import Data, GANConfig, fashion_mnist, train_gan
from trainers.loop import initialised, settle_batch_norm

SAMPLES, NEIGHBOURS = 10_000, 5
COLUMNS = ("frechet_distance", "precision", "recall", "density", "coverage")
_SETTLING_BATCHES = 20


class PlainDCGAN:
    """The plain recipe: the published networks and settings, and one step of the loop that everybody writes."""

    latent_dim, batch, rate, betas = 100, 128, 2e-4, (0.5, 0.999)

    def __init__(self, data: Data, seed: int) -> None:
        def networks() -> tuple[nn.Module, nn.Module]:
            return DCGANGenerator(self.latent_dim, 1, 32, 64), DCGANCritic(1, 32, 64)

        self.data = data
        self.generator, self.critic = initialised(networks, seed)
        self.noise = torch.Generator().manual_seed(seed)
        self.critic_adam = torch.optim.Adam(self.critic.parameters(), self.rate, self.betas)
        self.generator_adam = torch.optim.Adam(self.generator.parameters(), self.rate, self.betas)
        self.order = torch.empty(0, dtype=torch.long)

    def step(self) -> None:
        """Update the critic, then the generator, on one batch."""
        if len(self.order) < self.batch:
            self.order = torch.randperm(len(self.data), generator=self.noise)
        rows, self.order = self.order[: self.batch], self.order[self.batch :]
        real = self.data.floats(rows)
        ones, zeros = torch.ones(self.batch), torch.zeros(self.batch)
        entropy = functional.binary_cross_entropy_with_logits
        self.critic_adam.zero_grad()
        entropy(self.critic(real), ones).backward()
        fake = self.generator(torch.randn(self.batch, self.latent_dim, generator=self.noise))
        entropy(self.critic(fake.detach()), zeros).backward()
        self.critic_adam.step()
        self.generator_adam.zero_grad()
        entropy(self.critic(fake), ones).backward()
        self.generator_adam.step()


@dataclass
class Account:
    """One recipe's CPU time, steps and measurements.

    Attributes: `name`; `times`, the CPU seconds at which it is measured, rising; `seconds` and `steps` so far;
    `rows`, what was measured.
    """

    name: str
    times: list[float]
    seconds: float = 0.0
    steps: int = 0
    rows: list[dict[str, Any]] = field(default_factory=list)

    def due(self) -> bool:
        """Whether the next measurement is due."""
        return len(self.rows) < len(self.times) and self.seconds >= self.times[len(self.rows)]


class Finished(Exception):
    """All measurements are made."""


class Race:
    """Two recipes in turns: `train_gan` calls `on_step`, which lets the plain recipe have its turn.

    Args:
        accounts: the default recipe's and the plain one's.
        plain: the plain recipe.
        measure: a generator to its numbers.
        turn: CPU seconds of one turn.
    """

    def __init__(
        self, accounts: tuple[Account, Account], plain: PlainDCGAN, measure: Callable[..., dict[str, Any]], turn: float
    ) -> None:
        self.accounts, self.plain, self.measure, self.turn = accounts, plain, measure, turn
        self.mark, self.left = time.process_time(), turn

    def on_step(self, state: Any) -> None:
        """Count the default recipe's step, and pass the turn on when it is used up."""
        ours, plain = self.accounts
        self._count(ours)
        if ours.due():
            self._measure(ours, state.generator)
        if self.left <= 0.0 or len(ours.rows) == len(ours.times):
            self.left = self.turn
            # The plain recipe goes on until it has had as much time, or to its end.
            while len(plain.rows) < len(plain.times) and (self.left > 0.0 or len(ours.rows) == len(ours.times)):
                self.plain.step()
                self._count(plain)
                if plain.due():
                    self._measure(plain, wrap(self.plain.generator, Normal(PlainDCGAN.latent_dim)))
            if len(ours.rows) == len(ours.times):
                raise Finished
            self.left = self.turn
        self.mark = time.process_time()

    def _count(self, account: Account) -> None:
        now = time.process_time()
        account.seconds += now - self.mark
        account.steps += 1
        self.left -= now - self.mark
        self.mark = now

    def _measure(self, account: Account, generator: Generator) -> None:
        numbers = self.measure(generator)
        account.rows.append({"recipe": account.name, "seconds": account.seconds, "steps": account.steps, **numbers})
        report(account.rows[-1])
        self.mark = time.process_time()


def report(row: dict[str, Any]) -> None:
    """Print a row of the table."""
    print(f"{row['recipe']:24}{row['seconds']:8.0f}{row['steps']:9d}", end="")
    print("".join(f"{row[column]:18.3f}" for column in COLUMNS), flush=True)


def compare(real: Tensor, generated: Tensor) -> dict[str, float]:
    """Return the numbers of generated features (N, F) against real ones (M, F)."""
    quality = sample_quality(real, generated, k=NEIGHBOURS, features=NAME)
    numbers = {name: value for name, value in asdict(quality).items() if name in COLUMNS}
    return {"frechet_distance": frechet_distance(real, generated), **numbers}


def measured(generator: Generator, features: Features, real: Tensor, seed: int) -> dict[str, float]:
    """Return the numbers of a copy of a generator whose batch-norm statistics are settled; it is left alone."""
    settled: Any = copy.deepcopy(generator)
    latents = settled.prior.sample(SAMPLES + 100 * _SETTLING_BATCHES, seed=streams.derived_seed(seed, streams.LATENTS))
    batches = latents[SAMPLES:].split(100)
    settle_batch_norm(settled.module, ((batch,) for batch in batches))
    return compare(real, features(generate(settled, latents[:SAMPLES])))


def main(argv: list[str] | None = None) -> int:
    """Print the table, and write JSON if asked."""
    options = parser(__doc__)
    options.add_argument("--minutes", type=float, nargs="+", default=[5.0, 10.0, 20.0], help="CPU minutes of training")
    options.add_argument("--slice", type=float, default=30.0, help="CPU seconds of one turn (default 30)")
    options.add_argument("--seed", type=int, default=0)
    options.add_argument("--set", nargs="*", default=[], metavar="NAME=VALUE", help="settings of ours to change")
    arguments = parsed(options, argv)
    torch.set_num_threads(1)

    train, test = fashion_mnist(), unseen_images()
    features = train_features(train, test)
    print(f"{NAME}: accuracy {features.accuracy:.4f} on the test images, {features.seconds:.0f} s of training")
    real = features(test.floats())
    print(f"{'recipe':24}{'CPU s':>8}{'steps':>9}" + "".join(f"{column.replace('_', ' '):>18}" for column in COLUMNS))
    rows_of_real = np.sort(streams.permutation(len(train), seed=arguments.seed)[:SAMPLES])
    floor = compare(real, features(train.floats(torch.from_numpy(rows_of_real))))
    report({"recipe": "training images", "seconds": 0.0, "steps": 0, **floor})

    times = sorted(60.0 * minutes for minutes in arguments.minutes)
    accounts = Account("train_gan's default", times), Account("plain DCGAN", times)

    def measure(generator: Generator) -> dict[str, float]:
        return measured(generator, features, real, arguments.seed)

    race = Race(accounts, PlainDCGAN(train, arguments.seed), measure, arguments.slice)
    changes: dict[str, Any] = dict(item.split("=") for item in arguments.set)
    numbers = {name: float(value) for name, value in changes.items() if value.replace(".", "", 1).isdigit()}
    config = GANConfig(**{**changes, **numbers, "seed": arguments.seed, "steps": 10**9, "threads": 1})
    try:
        race.mark = time.process_time()
        train_gan(train, config, on_step=race.on_step, progress=False)
    except Finished:
        pass
    ours, plain = (account.rows for account in accounts)
    wins = {column: [_better(column, *pair) for pair in zip(ours, plain, strict=True)] for column in COLUMNS}
    for column, won in wins.items():
        print(f"{column.replace('_', ' ')}: the default recipe is better at {sum(won)} of {len(won)} times")
    ratios = [
        at_least(
            f"{column.replace('_', ' ')}: times at which the default recipe beats the plain one",
            sum(wins[column]),
            len(times),
            unit=f"of {len(times)}",
            limit="both learn the same images; the longer they train, the closer they come",
        )
        for column in ("frechet_distance", "coverage")
    ]
    figures = {
        "features": NAME,
        "accuracy": features.accuracy,
        "classifier_seconds": features.seconds,
        "seed": arguments.seed,
        "samples": SAMPLES,
        "neighbours": NEIGHBOURS,
        "training_images": floor,
        "rows": [*ours, *plain],
    }
    return concluded(arguments, ratios, **figures)


def _better(column: str, ours: dict[str, Any], plain: dict[str, Any]) -> bool:
    return (ours[column] < plain[column]) if column == "frechet_distance" else (ours[column] > plain[column])


if __name__ == "__main__":
    sys.exit(main())
