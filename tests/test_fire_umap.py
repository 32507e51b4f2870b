"""UMAP never breaks: whatever few or degenerate rows there are, each has a finite place, or one clear refusal."""

import numpy as np
import pytest
import torch

import latentkit as lk
from latentkit.errors import ShapeError

pytestmark = pytest.mark.promise("umap")

SIZES = [0, 1, 2, 3, 4, 5, 7, 10, 16, 17, 33, 50]


def rows_of(kind, count):
    rows = torch.from_numpy(np.random.default_rng(count).standard_normal((count, 6))).float()
    if kind == "all equal":
        rows[:] = 0.5
    elif kind == "two places":
        rows = torch.where(torch.arange(count)[:, None] % 2 == 0, 1.0, -1.0).expand(count, 6).clone()
    elif kind == "one column varies":
        rows[:, 1:] = 3.0
    elif kind == "huge":
        rows *= 1e30
    elif kind == "one far away" and count:
        rows[0] = 1e6
    return rows


@pytest.mark.parametrize("neighbours", [2, 15, 100])
@pytest.mark.parametrize("kind", ["normal", "all equal", "two places", "one column varies", "huge", "one far away"])
@pytest.mark.parametrize("count", SIZES)
def test_every_row_has_a_place(count, kind, neighbours):
    rows = rows_of(kind, count)
    if count == 0:
        with pytest.raises(ShapeError, match="at least one row"):
            lk.project(rows, "umap", neighbours=neighbours)
        return
    before = rows.clone()
    plane = lk.project(rows, "umap", neighbours=neighbours, seed=1)
    assert plane.points.shape == (count, 2)
    assert bool(torch.isfinite(plane.points).all())
    assert rows.equal(before)
    # Rows share a place exactly if they are equal, and the picture is never praised where there is nothing to see.
    for k in range(count):
        equal = (rows == rows[k]).all(1)
        assert (plane.points[equal] == plane.points[k]).all()
    assert plane.distinct == len(torch.unique(rows, dim=0))
    assert plane.shows_nothing == (plane.distinct < 3)
    assert plane.verdict
