"""Claim: `train_gan` makes at least 1.6 times the images a second of the plain tutorial loop, with the same networks.

    python -m benchmarks.training [--threads 2] [--batch-size 64] [--width 64] [--rounds 7] [--json FILE]

The tutorial loop is the one that most people write: a DataLoader over a folder of PNG files that Pillow
decodes each time, both halves of the critic's loss by themselves, Adam as it comes, gradients for the
critic while the generator learns, float32, contiguous memory. Ours trains on the same folder through
`image_folder`. The two take turns, `rounds` times; decoding the folder once before the first step is left
out of ours, and told. A row without bfloat16 says what the rest of it is worth.
"""

import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch.nn import functional
from torch.utils.data import DataLoader, Dataset

from benchmarks.claims import at_least, concluded, parsed, parser
from benchmarks.clocks import interleaved
from latentkit.nets import ConvCritic, ConvGenerator
from trainers import GANConfig, digits, image_folder, train_gan

LATENT_DIM, SIZE = 64, 32


class Pictures(Dataset):
    """A folder of PNG files, decoded when asked for."""

    def __init__(self, folder: Path) -> None:
        self.files = sorted(folder.glob("*.png"))

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, index: int) -> torch.Tensor:
        with Image.open(self.files[index]) as image:
            pixels = np.asarray(image.convert("RGB"), dtype=np.float32).transpose(2, 0, 1)
        return torch.from_numpy(pixels / 127.5 - 1.0)


def write_pictures(folder: Path, count: int) -> None:
    """Write digits in colours as PNG files."""
    colours = np.random.default_rng(0).uniform(0.4, 1.0, (count, 3))
    for k, image in enumerate(digits().samples[:count, 0].numpy()):
        pixels = (image[..., None] * colours[k]).astype(np.uint8)
        Image.fromarray(pixels).save(folder / f"{k:05d}.png")


def tutorial(folder: Path, batch: int, width: int, workers: int) -> Callable[[int], float]:
    """Return a function that makes so many steps of the plain loop and returns their seconds."""
    with torch.random.fork_rng():
        generator, critic = ConvGenerator(LATENT_DIM, 3, SIZE, width), ConvCritic(3, SIZE, width)
    steps = [torch.optim.Adam(net.parameters(), lr=2e-4, betas=(0.5, 0.999)) for net in (critic, generator)]
    noise = torch.Generator().manual_seed(0)
    loader = DataLoader(Pictures(folder), batch, shuffle=True, drop_last=True, num_workers=workers, generator=noise)

    def batches() -> Iterator[torch.Tensor]:
        while True:
            yield from loader

    def one(real: torch.Tensor) -> None:
        ones, zeros = torch.ones(len(real)), torch.zeros(len(real))
        steps[0].zero_grad()
        functional.binary_cross_entropy_with_logits(critic(real), ones).backward()
        fake = generator(torch.randn(len(real), LATENT_DIM, generator=noise))
        functional.binary_cross_entropy_with_logits(critic(fake.detach()), zeros).backward()
        steps[0].step()
        steps[1].zero_grad()
        functional.binary_cross_entropy_with_logits(critic(fake), ones).backward()
        steps[1].step()

    stream = batches()

    def run(count: int) -> float:
        one(next(stream))  # memory is laid out, workers are there
        begin = time.perf_counter()
        for _ in range(count):
            one(next(stream))
        return time.perf_counter() - begin

    return run


def ours(data: Any, settings: dict[str, Any]) -> Callable[[int], float]:
    """Return a function that makes so many steps of `train_gan` and returns their seconds."""

    def run(count: int) -> float:
        times: list[float] = []
        config = GANConfig(**settings, latent_dim=LATENT_DIM, r1=0.0, shift=0.0, steps=count + 2, check_every=10**6)
        train_gan(data, config, on_step=lambda _: times.append(time.perf_counter()), progress=False)
        return times[count] - times[0]  # the last step is followed by a look at the samples

    return run


LIMIT = (
    "the convolutions' own operations, most of both loops' time; how much faster bfloat16 makes them is the processor's"
)


def main(argv: list[str] | None = None) -> int:
    """Print the table."""
    options = parser(__doc__)
    options.add_argument("--threads", type=int, default=2)
    options.add_argument("--workers", type=int, default=0, help="of the tutorial's DataLoader (default 0)")
    options.add_argument("--batch-size", type=int, default=64)
    options.add_argument("--width", type=int, default=64)
    options.add_argument("--steps", type=int, default=30, help="a round (default 30)")
    options.add_argument("--rounds", type=int, default=7)
    options.add_argument("--pictures", type=int, default=1500, help="in the folder (default 1500)")
    quick = {"threads": 1, "batch_size": 8, "width": 8, "steps": 2, "rounds": 1, "pictures": 40}
    arguments = parsed(options, argv, quick=quick)
    torch.set_num_threads(arguments.threads)
    batch, width = arguments.batch_size, arguments.width
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_pictures(folder, arguments.pictures)
        begin = time.perf_counter()
        data = image_folder(folder, SIZE)
        decoding = time.perf_counter() - begin
        common = {"batch_size": batch, "width": width, "threads": arguments.threads}
        makers = {
            "tutorial": tutorial(folder, batch, width, arguments.workers),
            "ours, float32": ours(data, {**common, "precision": "float32"}),
            "ours": ours(data, common),
        }
        runs = {name: partial(make, arguments.steps) for name, make in makers.items()}
        found = interleaved(runs, arguments.rounds)
    table: dict[str, dict[str, float]] = {}
    for name in runs:
        ratios = found.ratios("tutorial", name)
        table[name] = {
            "images a second": batch * arguments.steps / found.median(name),
            "ratio": found.ratio("tutorial", name),
            "least ratio": min(ratios),
            "largest ratio": max(ratios),
        }
        print(f"{name:16}" + "".join(f"{key} {value:.2f}".rjust(26) for key, value in table[name].items()))
    print(
        f"decoding the folder of {arguments.pictures} once: {decoding:.1f} s; {arguments.threads} threads, "
        f"batch {batch}, width {width}"
    )
    claim = at_least("images a second: train_gan / tutorial loop", table["ours"]["ratio"], 1.6, limit=LIMIT)
    return concluded(arguments, [claim], rates=table, decoding_seconds=decoding)


if __name__ == "__main__":
    sys.exit(main())
