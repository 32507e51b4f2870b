"""Layouts of more rows than can be laid out: a subset of them is, and every other is placed among it, block by block.

The subset is drawn evenly. To draw half of it with odds by the squared distance from the other half, as k-means++ does,
was tried on 50,000 rows with rare groups among them: by 5,000 landmarks the places nearest to a group's were its own in
.71 instead of .33 of cases for groups of 5 rows, .97 instead of .96 for 20, and the trustworthiness was the same. It
takes another pass over all rows, for samples making all of them twice, and shows odd rows out of proportion.

References:
    de Silva, Tenenbaum (2004), "Sparse multidimensional scaling using landmark points" (the idea; the placing differs).
"""

from collections.abc import Iterator
from dataclasses import replace

import torch
from torch import Tensor

from latentkit.projection.copies import digests
from latentkit.projection.faith import ASKED, faithfulness, sampled
from latentkit.projection.laying import Setting, lay_out
from latentkit.projection.linear import unit_of
from latentkit.projection.projection import Projection
from latentkit.projection.sources import Source, block_rows

__all__ = ["FEWEST", "MOST", "by_landmarks", "landmark_limit"]

#: Rows that are laid out at most, without being asked for more. Measured on one thread, of rows of 128 values: to lay
#: one out takes 0.24 ms and 10 KB, and the time grows with their number; to place one among 100,000 takes a third of
#: that and 16 bytes. So many are laid out in about 24 s of a processor and 1.3 GiB; a million rows take 100 s, and no
#: more memory.
MOST = 100_000

#: Of wide rows as many as hold so many values, a GiB as float64, but not fewer than `FEWEST`.
VALUES, FEWEST = 2**27, 10_000


def landmark_limit(width: int) -> int:
    """Return how many rows (N, F) of a width F are laid out at most, without being asked for more."""
    return max(FEWEST, min(MOST, VALUES // width))


def by_landmarks(source: Source, count: int, setting: Setting, *, labels: Tensor | None = None) -> Projection:
    """Return a layout of `count` of the rows, which the seed chooses evenly, with all others placed among them.

    Copies are found among the landmarks, and of landmarks among the rest. Memory holds the landmarks and one block of
    rows besides the places.

    Args:
        source: N rows.
        count: how many, below N; of equal ones among them one is laid out.
        setting: how they are laid out.
        labels: for UMAP, class numbers (N,) long of all rows, -1 for unknown, or None.

    Raises:
        NonFiniteError: if a value is not finite; the text names the rows.
    """
    source.check()
    drawn = sampled(len(source), setting.seed, count + ASKED)
    rows = drawn[:count].sort().values
    plane = lay_out(source.take(rows), setting, labels=None if labels is None else labels[rows])
    numbers, own = rows[plane.fitted], plane.points[plane.fitted]
    features = plane.features if len(numbers) == len(rows) else plane.features[plane.fitted]
    points, copy_of = torch.empty((len(source), 2)), torch.arange(len(source))
    at = {digest: place for place, digest in enumerate(digests(features))}
    for start, block in _shown(source, setting.progress):
        places = plane.transform(block)
        known = [(i, at[digest]) for i, digest in enumerate(digests(block)) if digest in at]
        if known:
            index, place = torch.tensor(known).T
            places[index] = own[place]
            copy_of[start + index] = numbers[place]
        points[start : start + len(block)] = places
    # Samples that are made twice may differ by a rounding: a landmark is where it was laid out.
    points[rows], copy_of[rows] = plane.points, rows[plane.copy_of]
    whole = replace(
        plane,
        points=points,
        features=features,
        copy_of=copy_of,
        knn=None,
        landmarks=numbers,
    )
    asked = drawn[count:].sort().values
    return _judged(whole, source, asked[copy_of[asked] == asked])


def _shown(source: Source, progress: bool) -> Iterator[tuple[int, Tensor]]:
    from tqdm import tqdm

    with tqdm(total=len(source), desc="placing", unit="row", disable=not progress, leave=False) as bar:
        for start, block in source.blocks(block_rows(source.width)):
            yield start, block
            bar.update(len(block))


def _judged(plane: Projection, source: Source, asked: Tensor) -> Projection:
    """Return a projection that says how far the places of rows (M,) long that are no landmarks can be believed."""
    numbers = plane.fitted
    others = int((plane.copy_of == torch.arange(len(plane))).sum()) - len(numbers)
    note = f"{others:,} of {len(plane):,} rows were placed among {len(numbers):,} landmarks, not laid out"
    if not len(asked):
        return replace(plane, note=f"{note}. {plane.note}".strip())
    rows = torch.cat([plane.features, source.take(asked)])
    centre, unit = unit_of(rows)
    rows = ((rows.double() - centre) / unit).float()
    points = plane.points[torch.cat([numbers, asked])]
    k = min(plane.neighbours, (len(numbers) - 1) // 2)
    trust, kept = faithfulness(rows, points, torch.arange(len(numbers), len(rows)), k=k)
    note = f"{note} (trustworthiness {float(trust.mean()):.2f})."
    return replace(
        plane,
        placed_trustworthiness=float(trust.mean()),
        placed_preservation=float(kept.mean()),
        note=f"{note} {plane.note}".strip(),
    )
