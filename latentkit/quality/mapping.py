"""Making a quality map: many draws of the prior, scored block by block."""

import torch
from torch import Tensor

from latentkit.calibration import Calibration, score
from latentkit.checks import as_count, as_seed
from latentkit.errors import ArgumentError, CriticError
from latentkit.projection import Features, featured
from latentkit.protocols import Critic, Generator
from latentkit.quality.chart import GRAPH_LIMIT, NUMBERS
from latentkit.quality.map import QualityMap
from latentkit.quality.scoring import MOST_REAL, calibrate_against, scored_samples

__all__ = ["quality_map"]

#: Latents that are drawn at once: bounds the memory, changes nothing.
BLOCK = 2**13


def quality_map(
    generator: Generator,
    critic: Critic | None,
    real: Tensor,
    *,
    n: int = 10_000,
    seed: int = 0,
    batch_size: int = 64,
    method: str | None = None,
    calibration: Calibration | None = None,
    features: Features | None = None,
    graph_limit: int = GRAPH_LIMIT,
    allow_uninformative: bool = False,
    progress: bool = False,
) -> QualityMap:
    """Score n draws of the prior with a critic calibrated on held-out data.

    Memory does not grow with the size of samples or latents but for the chart: about 40 bytes a latent.

    Args:
        generator: the model.
        critic: its discriminator, or any scorer.
        real: (M, *S) real samples that neither was trained on, at least 20. Beside calibrating the critic they say
            from which probability on a latent is good.
        n: how many latents to map; latents 0 to n - 1 of the seed.
        seed: 0 to 2**64 - 1.
        batch_size: latents a call.
        method: how to calibrate, such as "isotonic" or "logistic", or None for the best.
        calibration: that of this critic against this generator, if it was calibrated before.
        features: samples (B, *S) to features (B, F), whose Euclidean distance says how alike samples are; by
            default all numbers of a sample.
        graph_limit: how many latents to chart for islands, bottlenecks and routes, at most; see
            `QualityMap.charted`. 0 charts none, and saves their memory.
        allow_uninformative: return the map of a critic without signal instead of refusing.
        progress: show a progress bar on standard error.

    Raises:
        CriticError: if there is no critic, or it carries no signal and `allow_uninformative` is False.
        ShapeError: if there are fewer than 20 real samples, or they are not of the generator's shape.
    """
    n, seed, limit = as_count(n, "n"), as_seed(seed), as_count(graph_limit, "graph_limit", least=0)
    if critic is None:
        raise CriticError("there is no critic to score latents with; pass any function from samples to logits (N,)")
    if calibration is None:
        calibration = calibrate_against(
            generator, critic, real, seed=seed, start=n, method=method, batch_size=batch_size
        )
    elif method is not None:
        raise ArgumentError(f"a calibration is given, so it cannot be made by method={method!r}; leave one out")
    if calibration.verdict == "uninformative" and not allow_uninformative:
        raise CriticError(
            f"no quality map was made. {calibration.explanation} Train longer, use another critic, hold out "
            "more real samples, or pass allow_uninformative=True to see the scores all the same."
        )
    real_logits = score(critic, real[:MOST_REAL], batch_size=batch_size)
    made, found = _scored(generator, critic, calibration, real_logits, n, seed, batch_size, features, limit, progress)
    if not limit:
        return made
    if found is not None:
        return made._with_chart(torch.arange(n), found, generator, features, batch_size, progress)
    return made.charted(generator, features=features, graph_limit=limit, batch_size=batch_size, progress=progress)


def _scored(
    generator: Generator,
    critic: Critic,
    calibration: Calibration,
    real_logits: Tensor,
    n: int,
    seed: int,
    batch_size: int,
    features: Features | None,
    limit: int,
    progress: bool,
) -> tuple[QualityMap, Tensor | None]:
    """Return the map, and the features (n, F) of all samples if so many may be charted, else None."""
    from tqdm import tqdm

    prior = generator.prior
    logits, typicality, found = torch.empty(n), torch.empty(n, dtype=torch.float64), None
    done, charting = 0, n <= limit
    with tqdm(total=n, desc="scoring", unit="latent", disable=not progress, leave=False) as bar:
        for start in range(0, n, BLOCK):
            latents = prior.sample(min(BLOCK, n - start), seed=seed, start=start)
            typicality[start : start + len(latents)] = prior.typicality(latents)
            for batch, scores in scored_samples(generator, critic, latents, batch_size=batch_size):
                rows = slice(done, done + len(batch))
                logits[rows] = scores
                if charting:
                    part = featured(batch, features)
                    charting = n * part.shape[1] <= NUMBERS
                    if found is None and charting:
                        found = torch.empty((n, part.shape[1]))
                    if found is not None:
                        found[rows] = part
                done = rows.stop
                bar.update(len(batch))
    made = QualityMap(
        prior=prior,
        seed=seed,
        index=torch.arange(n),
        given=None,
        logits=logits,
        probability=calibration.probability(logits),
        density_ratio=calibration.density_ratio(logits),
        typicality=typicality,
        calibration=calibration,
        real_logits=real_logits,
    )
    return made, found
