"""Rows that are read block by block, wherever they lie, and what is found of each block."""

import numpy as np
import pytest
import torch

import latentkit as lk
from latentkit import stores
from latentkit.errors import NonFiniteError, ShapeError
from latentkit.projection import project_samples
from latentkit.projection.copies import copies, digests
from latentkit.projection.faith import sampled
from latentkit.projection.search import Nearby
from latentkit.streams import permutation

FAST = pytest.mark.parametrize("method", ["umap", "pca"])
N, LANDMARKS = 600, 150


class Column:
    """What a store gives: a length, slices and rows by number, as NumPy arrays, and nothing more."""

    def __init__(self, rows):
        self._rows, self.largest = rows.numpy(), 0

    def __len__(self):
        return len(self._rows)

    def __getitem__(self, rows):
        part = self._rows[rows].copy()
        self.largest = max(self.largest, len(part))
        return part


@pytest.fixture(scope="module")
def rows():
    """600 rows in three groups far apart."""
    draw = torch.randn(N, 8, generator=torch.Generator().manual_seed(0))
    return draw + 20.0 * torch.eye(8)[torch.arange(N) % 3]


@pytest.fixture(scope="module")
def planes(rows):
    """Return planes(method): a layout of those rows, in memory, by 150 landmarks."""
    made = {method: lk.project(rows, method, landmarks=LANDMARKS, seed=5) for method in ("umap", "pca")}
    return made.__getitem__


def same(one, other):
    return one.points.equal(other.points) and one.landmarks.equal(other.landmarks) and one.note == other.note


@FAST
def test_blocks_of_any_size_give_the_same_places(method, rows, planes, monkeypatch):
    monkeypatch.setattr("latentkit.projection.landmarks.block_rows", lambda _: 37)
    plane = lk.project(rows, method, landmarks=LANDMARKS, seed=5)
    torch.testing.assert_close(plane.points, planes(method).points, atol=1e-4, rtol=1e-4)


@FAST
def test_a_file_and_a_column_are_as_good_as_a_tensor(method, rows, planes, tmp_path, monkeypatch):
    np.save(tmp_path / "rows.npy", rows.numpy())
    for mode in ("r", "r+"):
        mapped = np.load(tmp_path / "rows.npy", mmap_mode=mode)
        assert same(lk.project(mapped, method, landmarks=LANDMARKS, seed=5), planes(method))
        assert lk.project(mapped[:60], method).points.equal(lk.project(rows[:60], method).points)
    assert lk.project(Column(rows[:60]), method).points.equal(lk.project(rows[:60], method).points)
    images = rows.reshape(N, 2, 2, 2)
    for module in ("landmarks", "sources"):
        monkeypatch.setattr(f"latentkit.projection.{module}.block_rows", lambda _: 100)
    column = Column(images)
    plane = lk.project(column, method, landmarks=LANDMARKS, seed=5)
    torch.testing.assert_close(plane.points, planes(method).points, atol=1e-4, rtol=1e-4)
    # Besides the landmarks and the placed rows that are judged no more than a block is read at once.
    assert column.largest == max(LANDMARKS, N - LANDMARKS)


@pytest.mark.parametrize("kind", [torch.float64, torch.float16, torch.uint8, torch.int32])
def test_numbers_of_other_kinds_are_taken(kind, rows, tmp_path):
    numbers = (10 * rows + 50).clamp(0, 255).to(kind)
    np.save(tmp_path / "rows.npy", numbers.numpy())
    plane = lk.project(np.load(tmp_path / "rows.npy", mmap_mode="r"), "pca", landmarks=LANDMARKS)
    assert plane.features.dtype == (torch.float64 if kind == torch.float64 else torch.float32)
    assert plane.features.equal(numbers[plane.landmarks].to(plane.features.dtype))


def test_samples_are_made_block_by_block(image_checkpoint, monkeypatch):
    generator, critic = image_checkpoint.generator, image_checkpoint.critic
    latents = generator.prior.sample(90, seed=0)
    rows = lk.sample_features(generator, latents, critic=critic)
    monkeypatch.setattr("latentkit.projection.landmarks.block_rows", lambda _: 20)
    for given in (latents, latents.numpy(), Column(latents)):
        plane = project_samples(generator, given, critic=critic, landmarks=40)
        wanted = lk.project(rows, landmarks=40)
        assert plane.landmarks.equal(wanted.landmarks)
        assert plane.features.shape == (40, rows.shape[1])
        assert plane.of == "the critic's last features"
        assert plane.points[plane.landmarks].equal(lk.project(plane.features).points), "though made twice"
        torch.testing.assert_close(plane.features, wanted.features, rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(plane.transform(rows), plane.points, rtol=0, atol=0.05 * plane.points.std().item())
    latent = project_samples(generator, latents, "pca", features="latents", landmarks=40)
    torch.testing.assert_close(latent.points, lk.project(latents, "pca", landmarks=40).points)


def test_a_row_that_is_not_finite_is_named_wherever_it_lies(draw, monkeypatch, tmp_path):
    rows = draw(500, 4)
    rows[431, 2] = float("nan")
    np.save(tmp_path / "rows.npy", rows.numpy())
    monkeypatch.setattr("latentkit.projection.sources.block_rows", lambda _: 60)
    for given in (rows, np.load(tmp_path / "rows.npy", mmap_mode="r")):
        with pytest.raises(NonFiniteError, match=r"1 of 60 rows read last, of 500 \(431\)"):
            lk.project(given, landmarks=50)
    identity = lk.wrap(lambda z: z.log(), lk.Normal(4))
    positive = draw(500, 4).abs() + 0.1
    positive[431] = -1.0
    monkeypatch.setattr("latentkit.projection.landmarks.block_rows", lambda _: 60)
    with pytest.raises(NonFiniteError, match=r"of 500 \(431\)"):
        project_samples(identity, positive, "pca", landmarks=50)


@pytest.mark.parametrize(
    ("features", "text"),
    [
        (np.float64(3.0), r"at least one row, got \(\)"),
        (np.zeros((0, 4)), "at least one row"),
        (np.zeros(40), "at least one row, got"),
        (np.zeros((40, 0)), "at least one row, got"),
        ({"rows": 1}, "tensor of floats, got dict"),
        (np.array(["a", "b"]), "tensor of floats"),
        (np.zeros((9, 2), dtype=complex), "tensor of floats, got dtype torch.complex128"),
    ],
)
def test_what_is_no_rows_is_refused(features, text):
    with pytest.raises(ShapeError, match=text):
        lk.project(features, landmarks=30)


def test_drawing_in_parts_gives_the_first_of_the_permutation(monkeypatch):
    monkeypatch.setattr("latentkit.projection.faith._DRAWN", 100)
    for most in (7, 250, 999, 2000):
        assert sampled(999, 3, most).equal(torch.from_numpy(permutation(999, seed=3)[:most]))


def test_copies_are_those_of_equal_values(draw):
    rows = torch.cat([draw(50, 3), draw(50, 3)[::2], torch.tensor([[0.0, -0.0, 1.0], [-0.0, 0.0, 1.0]])])
    equal = (rows[:, None] == rows[None]).all(2)
    assert copies(rows).equal(equal.int().argmax(1))
    assert len(set(digests(rows))) == int((copies(rows) == torch.arange(len(rows))).sum())
    turned = torch.stack([draw(4, 2), draw(4, 2)]).flatten(0, 1).T
    assert list(digests(turned)) == list(digests(turned.contiguous())), "however it lies in memory"


def test_new_rows_are_searched_cell_by_cell_among_many(draw, monkeypatch):
    rows = draw(2000, 20) + 4.0 * draw(12, 20, seed=1)[torch.arange(2000) % 12]
    new = draw(300, 20, seed=2) + 4.0 * draw(12, 20, seed=1)[torch.arange(300) % 12]
    exact = Nearby(rows, 10, seed=0).to(new)
    wanted = torch.cdist(new, rows, compute_mode="donot_use_mm_for_euclid_dist").topk(10, largest=False)
    assert exact[1].equal(wanted.indices)
    monkeypatch.setattr("latentkit.projection.search.EXACT", 100)
    near = Nearby(rows, 10, seed=0)
    distances, indices = near.to(new)
    found = (indices[:, :, None] == wanted.indices[:, None]).any(2).double().mean()
    assert found > 0.95
    assert (distances.diff(dim=1) >= 0).all()
    torch.testing.assert_close(distances, (rows[indices] - new[:, None]).norm(dim=2), rtol=1e-4, atol=1e-4)
    assert near.to(rows)[1][:, 0].equal(torch.arange(2000)), "a row itself lies in its own cell"
    one_by_one = torch.cat([near.to(row[None])[1] for row in new[:40]])
    assert one_by_one.equal(indices[:40])


@pytest.mark.parametrize("kind", ["npy", "zarr", "parquet"])
def test_a_column_of_a_store_is_projected_as_it_lies(kind, rows, planes, tmp_path):
    pytest.importorskip({"npy": "numpy", "zarr": "zarr", "parquet": "pyarrow"}[kind])
    store = stores.create_store(
        tmp_path / f"rows.{kind}", kind=kind, rows=N, block=250, columns={"x": stores.Column("float32", (8,))}, plan={}
    )
    for k in range(store.blocks):
        start, stop = store.span(k)
        store.write(k, {"x": rows[start:stop].numpy()})
    assert same(lk.project(store.finish()["x"], "pca", landmarks=LANDMARKS, seed=5), planes("pca"))
