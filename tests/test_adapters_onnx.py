"""ONNX files: parity with the same network in PyTorch, batches, labels, and no gradients, which is said."""

import pytest
import torch

import latentkit as lk
from latentkit.adapters.onnx import ONNXModel, load_onnx
from latentkit.errors import ArgumentError, CheckpointError, MissingDependencyError
from latentkit.inversion import invert_without_gradients

onnx = pytest.importorskip(
    "onnx", reason="onnx writes the files of these tests: pip install onnx", exc_type=ImportError
)
pytest.importorskip("onnxruntime", reason='ONNX needs pip install "latentkit[onnx]"', exc_type=ImportError)

PRIOR = lk.Normal(5)


def weights(seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(5, 48, generator=generator) * 0.3, torch.randn(48, generator=generator) * 0.3


def theirs(z):
    weight, bias = weights()
    return torch.tanh(z @ weight + bias).reshape(-1, 3, 4, 4)


def written(path, *, batch="n", latent=(5,), labels=False, ready=False, external=False):
    """Write a generator, a linear layer and tanh, as an ONNX file."""
    from onnx import TensorProto, helper, numpy_helper

    weight, bias = weights()
    held = [numpy_helper.from_array(weight.numpy(), "w"), numpy_helper.from_array(bias.numpy(), "b")]
    held.append(numpy_helper.from_array(torch.tensor([-1, 5]).numpy(), "flat"))
    held.append(numpy_helper.from_array(torch.tensor([-1, 3, 4, 4]).numpy(), "image"))
    nodes = [
        helper.make_node("Reshape", ["z", "flat"], ["rows"]),
        helper.make_node("Gemm", ["rows", "w", "b"], ["sums"]),
        helper.make_node("Tanh", ["sums"], ["flat_x"]),
        helper.make_node("Reshape", ["flat_x", "image"], ["x"]),
    ]
    inputs = [helper.make_tensor_value_info("z", TensorProto.FLOAT, [batch, *latent])]
    outputs = [helper.make_tensor_value_info("x", TensorProto.FLOAT, [batch, 3, 4, 4])]
    if labels:
        inputs.append(helper.make_tensor_value_info("y", TensorProto.INT64, [batch]))
        held.append(numpy_helper.from_array(torch.tensor([1, 2, 3]).numpy(), "last"))
        nodes += [
            helper.make_node("Cast", ["y"], ["number"], to=TensorProto.FLOAT),
            helper.make_node("Unsqueeze", ["number", "last"], ["column"]),
            helper.make_node("Add", ["x", "column"], ["shifted"]),
        ]
        outputs = [helper.make_tensor_value_info("shifted", TensorProto.FLOAT, [batch, 3, 4, 4])]
    graph = helper.make_graph(nodes, "g", inputs, outputs, held)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, path, save_as_external_data=external, size_threshold=0)
    return path


@pytest.mark.parametrize("form", [{}, {"batch": 4}, {"batch": 1}, {"latent": (5, 1, 1)}])
def test_an_onnx_file_is_its_network(form, tmp_path):
    generator = load_onnx(written(tmp_path / "g.onnx", **form))
    assert generator.prior == PRIOR
    z = PRIOR.sample(7, seed=0)
    torch.testing.assert_close(lk.generate(generator, z), theirs(z), rtol=0, atol=1e-5)


def test_class_numbers_are_its_second_input(tmp_path):
    file = written(tmp_path / "g.onnx", labels=True, batch=2)
    generator = load_onnx(file, classes=3)
    z = PRIOR.sample(5, seed=0)
    torch.testing.assert_close(lk.generate(lk.condition(generator, 2), z), theirs(z) + 2, rtol=0, atol=1e-5)
    with pytest.raises(CheckpointError, match="takes 2 inputs, and 1 is what it would get; give classes"):
        load_onnx(file)


def test_what_needs_no_gradients_works(tmp_path):
    generator = load_onnx(written(tmp_path / "g.onnx"))
    z = PRIOR.sample(4, seed=0)
    film = lk.animate(generator, lk.loop(z, prior=PRIOR), frames=6)
    assert len(film.save(tmp_path / "a.gif").read_bytes()) > 0
    found = invert_without_gradients(generator, theirs(z[:1]), seed=0)
    assert float((lk.generate(generator, found.latents) - theirs(z[:1])).abs().mean()) < 0.05


def test_what_needs_gradients_says_so_in_one_line(tmp_path):
    generator = load_onnx(written(tmp_path / "g.onnx"))
    z = PRIOR.sample(2, seed=0)
    for work in (
        lambda: generator(z.clone().requires_grad_()),
        lambda: lk.invert(generator, theirs(z)),
        lambda: lk.local_geometry(generator, z),
    ):
        with pytest.raises(ArgumentError) as told:
            work()
        assert "\n" not in str(told.value)
        assert "gradient" in str(told.value) or "derivative" in str(told.value)


def test_bad_files_are_said_in_one_line(tmp_path):
    (tmp_path / "text.onnx").write_text("no network")
    (tmp_path / "pointer.onnx").write_text("version https://git-lfs.github.com/spec/v1\n")
    written(tmp_path / "outside.onnx", external=True)
    for name, text in (
        ("text", "cannot be run by onnxruntime"),
        ("pointer", "Git LFS pointer"),
        ("none", "cannot read"),
        ("outside", "with its weights in one file"),
    ):
        with pytest.raises(CheckpointError, match=text) as told:
            ONNXModel(tmp_path / f"{name}.onnx")
        assert "\n" not in str(told.value)


def test_latents_of_a_wrong_size_are_said(tmp_path):
    open_file = written(tmp_path / "g.onnx", latent=("d",))
    with pytest.raises(ArgumentError, match="does not say how large its latents are"):
        load_onnx(open_file)
    with pytest.raises(ArgumentError, match="the ONNX network fails"):
        lk.generate(load_onnx(open_file, lk.Normal(7)), torch.zeros(2, 7))


def test_a_missing_onnxruntime_names_the_extra(tmp_path, monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(MissingDependencyError, match=r'pip install "latentkit\[onnx\]"'):
        load_onnx(written(tmp_path / "g.onnx"))
