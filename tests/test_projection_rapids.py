"""Which engine lays a UMAP out, and what RAPIDS cuML is given where it does: tried on a stand-in, for want of a GPU."""

import sys
from types import ModuleType

import numpy as np
import pytest
import torch

import latentkit as lk
from latentkit.errors import ArgumentError, MissingDependencyError, NonFiniteError
from latentkit.projection import load_projection, nearest_rows, project_samples

#: The arguments of cuml.manifold.UMAP 26.x, all by keyword, as its documentation lists them.
TAKEN = (
    "n_neighbors n_components metric metric_kwds n_epochs learning_rate min_dist spread set_op_mix_ratio "
    "local_connectivity repulsion_strength negative_sample_rate transform_queue_size init a b target_n_neighbors "
    "target_weight target_metric hash_input random_state force_serial_epochs precomputed_knn callback build_algo "
    "build_kwds device_ids verbose output_type"
)


class Calls(list):
    """What a stand-in was called with, and how it answers."""

    answer = staticmethod(lambda init: init + 1.0)


@pytest.fixture
def cuml(monkeypatch):
    """Put a cuml and a cupy in place that check what they are given, and return their calls."""
    calls = Calls()

    class UMAP:
        def __init__(self, *positional, **options):
            assert not positional, "cuML takes its settings by keyword alone"
            unknown = set(options) - set(TAKEN.split())
            assert not unknown, f"cuML takes no {sorted(unknown)}"
            self._options = options

        def fit_transform(self, x, y=None, *, convert_dtype=True, knn_graph=None):
            options, (indices, distances) = self._options, self._options["precomputed_knn"]
            assert isinstance(x, np.ndarray)
            assert x.dtype == np.float32
            assert options["init"].shape == (len(x), options["n_components"])
            assert options["init"].dtype == np.float32
            assert options["init"].flags.c_contiguous
            assert indices.shape == distances.shape == (len(x), options["n_neighbors"])
            assert (indices.dtype, distances.dtype) == (np.int64, np.float32)
            assert (indices[:, 0] == np.arange(len(x))).all(), "a row is its own first neighbour"
            assert (distances[:, 0] == 0).all()
            assert 0 <= options["random_state"] < 2**32
            assert options["output_type"] == "numpy"
            assert y is None or y.shape == (len(x),)
            calls.append((x, y, options))
            return calls.answer(options["init"])

    package, manifold, cupy, cuda = (ModuleType(name) for name in ("cuml", "cuml.manifold", "cupy", "cupy.cuda"))
    manifold.UMAP, cuda.is_available, package.manifold, cupy.cuda = UMAP, lambda: True, manifold, cuda
    for module in (package, manifold, cupy, cuda):
        monkeypatch.setitem(sys.modules, module.__name__, module)
    return calls


@pytest.fixture
def without(monkeypatch):
    """Make cuML one that is not installed."""
    monkeypatch.setitem(sys.modules, "cuml", None)
    monkeypatch.setitem(sys.modules, "cuml.manifold", None)


@pytest.mark.parametrize("engine", ["auto", "cuml"])
def test_where_cuml_is_it_lays_the_same_rows_out_from_the_same_start(engine, cuml, draw):
    rows = draw(80, 6)
    plane = lk.project(rows, seed=2**64 - 1, min_dist=0.25, neighbours=9, engine=engine)
    ((given, labels, options),) = cuml
    assert labels is None
    assert (options["n_neighbors"], options["min_dist"], options["metric"]) == (9, 0.25, "euclidean")
    assert options["n_epochs"] == 500
    assert (options["precomputed_knn"][0][:, 1:] == nearest_rows(rows, 8).indices.numpy()).all()
    assert np.abs(given).max() == pytest.approx(1.0), "in a unit of their own size"
    assert (options["init"].min(0) == 0).all()
    np.testing.assert_allclose(options["init"].max(0), 10.0, rtol=1e-6)
    np.testing.assert_array_equal(plane.points.numpy(), options["init"] + 1.0)
    assert plane.engine == "cuml"
    assert "RAPIDS cuML laid it out." in plane.note
    assert 0.5 < plane.trustworthiness <= 1, "and judged as any other: here it is the flat start that is judged"


def test_labels_landmarks_and_files_go_with_it(cuml, draw, tmp_path):
    rows, labels = draw(90, 6), torch.arange(90) % 3 - 1
    plane = lk.project(rows, labels=labels, landmarks=40)
    assert (cuml[0][1] == labels[plane.landmarks].numpy()).all()
    assert len(cuml[0][0]) == 40
    assert "were placed among 40 landmarks" in plane.note
    again = load_projection(plane.save(tmp_path / "plane.npz"))
    assert again.engine == "cuml"
    identity = lk.wrap(lambda z: z, lk.Normal(6))
    assert project_samples(identity, rows, engine="cuml").engine == "cuml"
    assert project_samples(identity, rows, engine="cpu").engine == "cpu"
    assert len(cuml) == 2


def test_other_layouts_and_the_cpu_leave_it_alone(cuml, draw):
    rows = draw(60, 4)
    for method in ("pca", "tsne"):
        assert lk.project(rows, method).engine == "cpu"
        with pytest.raises(ArgumentError, match="lays out UMAP only"):
            lk.project(rows, method, engine="cuml")
    assert lk.project(rows, engine="cpu").engine == "cpu"
    assert lk.project(rows[:3], engine="cuml").engine == "cpu", "three rows are laid out flat"
    assert not cuml


def test_places_that_are_not_finite_are_tried_once_more_and_then_refused(cuml, draw):
    rows, first = draw(60, 4), []

    def fails_once(init):
        first.append(init)
        return np.full_like(init, np.nan) if len(first) == 1 else init

    cuml.answer = fails_once
    plane = lk.project(rows)
    assert len(cuml) == 2
    assert (first[0] != first[1]).any()
    assert "failed from its PCA start" in plane.note
    cuml.answer = lambda init: np.full_like(init, np.inf)
    with pytest.raises(NonFiniteError, match="cuML's UMAP gave places that are not finite, twice"):
        lk.project(rows + 1.0)


def test_a_cuml_that_does_not_take_a_start_says_what_to_do(cuml, draw):
    def refuses(init):
        raise ValueError("Expected `init` to be one of ['random', 'spectral']")

    cuml.answer = refuses
    with pytest.raises(ArgumentError, match=r"Expected `init`.*update it, or use engine='cpu'"):
        lk.project(draw(60, 4))


def test_without_it_auto_is_the_cpu_and_cuml_is_an_error(without, draw):
    rows = draw(60, 4)
    auto, cpu = lk.project(rows), lk.project(rows, engine="cpu")
    assert auto.points.equal(cpu.points)
    assert auto.engine == cpu.engine == "cpu"
    with pytest.raises(MissingDependencyError, match=r"needs RAPIDS cuML and an NVIDIA GPU.*pip install cuml-cu"):
        lk.project(rows, engine="cuml")


def test_without_a_gpu_it_is_not_used(cuml, draw, monkeypatch):
    def no_driver():
        raise RuntimeError("cudaErrorInsufficientDriver")

    for answer, text in ((lambda: False, "there is no GPU"), (no_driver, "cudaErrorInsufficientDriver")):
        monkeypatch.setattr(sys.modules["cupy.cuda"], "is_available", answer)
        assert lk.project(draw(30, 4)).engine == "cpu"
        with pytest.raises(MissingDependencyError, match=text):
            lk.project(draw(30, 4), engine="cuml")
    assert not cuml


def test_there_are_no_other_engines(draw):
    with pytest.raises(ArgumentError, match="engine must be one of auto, cpu, cuml; got 'gpu'"):
        lk.project(draw(30, 4), engine="gpu")
