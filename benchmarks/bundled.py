"""Claim: the figures in the model card of the bundled generator of Fashion-MNIST.

    python -m benchmarks.bundled [--checkpoint DIR] [--json FILE]

10,000 samples over all classes against Fashion-MNIST's 10,000 test images in the features of
`benchmarks.fashion_features` (the squared Fréchet distance there is not FID); how often that classifier sees
in a sample the class that was asked for; and what the critic's scores are worth on held-out images.
"""

import sys
from typing import Any

import torch

import latentkit as lk
from benchmarks.claims import concluded, parsed, parser
from benchmarks.fashion_features import NAME, train_features, unseen_images
from benchmarks.quality import COLUMNS, compare

SAMPLES = 10_000


def main(argv: list[str] | None = None) -> int:
    """Print the table."""
    options = parser(__doc__)
    options.add_argument("--checkpoint", default="fashion-mnist", help="the bundled one by default")
    arguments = parsed(options, argv)
    torch.set_num_threads(1)
    ckpt = lk.load(arguments.checkpoint)
    view = lk.marginal(ckpt)
    whole: Any = view.generator
    features = train_features()
    print(f"{NAME}: accuracy {features.accuracy:.4f}", flush=True)
    latents = view.generator.prior.sample(SAMPLES, seed=1)
    samples, asked = lk.generate(view.generator, latents), whole.labels(latents)
    seen = torch.cat([features.classifier(part).argmax(1) for part in samples.split(500)])
    numbers = compare(features(unseen_images().floats()), features(samples))
    table = {name: numbers[name] for name in COLUMNS}
    table["class agreement"] = float((seen == asked).float().mean())
    for k, name in enumerate(ckpt.classes):
        table[f"class agreement, {name}"] = float((seen[asked == k] == k).float().mean())
    quality = lk.quality_map(view.generator, view.critic, real=view.holdout, n=4_000, seed=2)
    table["critic's AUC"] = quality.calibration.auc
    for name, value in table.items():
        print(f"{name.replace('_', ' '):32}{value:8.3f}")
    print(f"critic: {quality.calibration.verdict}; {quality.calibration.explanation}")
    return concluded(arguments, [], figures=table)


if __name__ == "__main__":
    sys.exit(main())
