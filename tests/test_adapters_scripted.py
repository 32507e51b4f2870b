"""TorchScript and torch.export files: the same function as their module, gradients, and nothing in them run."""

import json
import warnings
import zipfile

import pytest
import torch
from torch import nn

import latentkit as lk
from latentkit.adapters.exported import ExportedNetwork, load_exported
from latentkit.adapters.scripted import load_torchscript
from latentkit.errors import ArgumentError, CheckpointError, ShapeError
from latentkit.protocols import modules_of

PRIOR = lk.Normal(6)


class Everyday(nn.Module):
    """What generators are made of: maps from a 1x1 latent, batch norm, resizing, attention, sizes from the input."""

    def __init__(self):
        super().__init__()
        self.start = nn.ConvTranspose2d(6, 8, 4)
        self.norm = nn.BatchNorm2d(8)
        self.same = nn.Conv2d(8, 8, 3, padding=1)
        self.heads = nn.MultiheadAttention(8, 2, batch_first=True)
        self.groups = nn.GroupNorm(2, 8)
        self.last = nn.Conv2d(4, 3, 1)
        self.register_buffer("scale", torch.tensor(0.7))

    def forward(self, z):
        x = torch.relu(self.norm(self.start(z)))
        x = nn.functional.interpolate(x, scale_factor=2, mode="bilinear") * self.scale
        x = nn.functional.leaky_relu(self.same(x), 0.2)
        rows = x.flatten(2).transpose(1, 2)
        mixed, _ = self.heads(rows, rows, rows, need_weights=False)
        x = self.groups(x + mixed.transpose(1, 2).reshape(x.shape))
        left, right = x.chunk(2, dim=1)
        x = torch.cat([left * right.sigmoid(), left.mean(1, keepdim=True).expand(-1, 4, -1, -1)], 1)[:, :4]
        return torch.tanh(self.last(x.clamp(-3, 3)))


def module_of(build, make=Everyday):
    return build(make).eval()  # weights keep their gradients: without, attention is traced by a way that has none


def quietly(function, *args, **kwargs):
    """Call what PyTorch has deprecated, as others did when they wrote their files."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return function(*args, **kwargs)


def scripted(module, path, *examples):
    quietly(torch.jit.save, quietly(torch.jit.trace, module, examples, check_trace=False), path)
    return path


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """One module as files of torch.export, for any batch and for batches of 3; its compiler takes seconds to start."""
    from latentkit.nets.fitting import initialised

    home = tmp_path_factory.mktemp("exported")
    module = initialised(Everyday, 0).eval().requires_grad_(False)
    z = torch.randn(3, 6, 1, 1, generator=torch.Generator().manual_seed(0))
    for name, shapes in (("any", ({0: torch.export.Dim("n", min=1, max=64)},)), ("three", None)):
        program = quietly(torch.export.export, module, (z,), dynamic_shapes=shapes)
        torch.export.save(program, home / f"{name}.pt2")
    return module, home


@pytest.mark.parametrize("name", ["any", "three"])
def test_an_exported_file_is_its_module(name, files):
    module, home = files
    generator = load_exported(home / f"{name}.pt2")
    assert generator.prior == lk.Normal(6)
    z = PRIOR.sample(7, seed=1)
    torch.testing.assert_close(lk.generate(generator, z), module(z[:, :, None, None]), rtol=0, atol=1e-5)


def test_gradients_reach_the_latents_of_an_exported_file(files):
    module, home = files
    z = PRIOR.sample(2, seed=1).requires_grad_()
    (found,) = torch.autograd.grad(load_exported(home / "any.pt2")(z).square().sum(), z)
    (wanted,) = torch.autograd.grad(module(z[:, :, None, None]).square().sum(), z)
    torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-5)


def changed(source, target, change, only="models/model.json"):
    """Write an archive again with one of its parts changed."""
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(target, "w") as new:
        for name in old.namelist():
            data = old.read(name)
            new.writestr(name, change(data) if name.endswith(only) else data)
    return target


def with_target(target):
    def change(data):
        model = json.loads(data)
        model["graph_module"]["graph"]["nodes"][0]["target"] = target
        return json.dumps(model)

    return change


@pytest.mark.parametrize(
    "target",
    [
        "torch.os.system",
        "torch.ops.aten.__class__.mro",
        "torch.ops.aten._qualified_op_name.upper",
        "torch.ops.mylib.steal.default",
        "_operator.attrgetter",
        "math.__loader__",
        "builtins.eval",
        "#other:thing",
    ],
)
def test_an_exported_file_can_call_nothing_but_tensor_operators(target, files, tmp_path):
    bad = changed(files[1] / "any.pt2", tmp_path / "bad.pt2", with_target(target))
    with pytest.raises(CheckpointError, match="which is no tensor operator; nothing was run"):
        ExportedNetwork(bad)


@pytest.mark.parametrize(
    "target",
    [
        "torch.ops.aten.from_file.default",
        "torch.ops.aten._sparse_csr_tensor_unsafe.default",
        "torch.ops.aten.sparse_coo_tensor.indices_size",
        "torch.ops.aten._nested_view_from_buffer.default",
        "torch.ops.aten._index_put_impl_.default",
        "torch.ops.aten._unsafe_index_put.default",
        "torch.ops.aten.segment_reduce.default",
        "torch.ops.aten.ctc_loss.IntList",
        "torch.ops.aten.fbgemm_linear_fp16_weight.default",
    ],
)
def test_an_exported_file_calls_only_operators_that_check_what_they_are_given(target, files, tmp_path):
    bad = changed(files[1] / "any.pt2", tmp_path / "bad.pt2", with_target(target))
    with pytest.raises(CheckpointError, match="or does not check what it is given; nothing was run"):
        ExportedNetwork(bad)


def test_a_pickle_inside_an_exported_file_is_not_loaded(files, tmp_path):
    def change(data):
        table = json.loads(data)
        next(iter(table["config"].values()))["use_pickle"] = True
        return json.dumps(table)

    bad = changed(files[1] / "any.pt2", tmp_path / "bad.pt2", change, "model_weights_config.json")
    with pytest.raises(CheckpointError, match="as a pickle, which is not loaded"):
        ExportedNetwork(bad)


def test_text_that_pytorchs_loader_would_evaluate_is_data_here(files, tmp_path):
    canary = tmp_path / "canary"
    code = f"__import__('pathlib').Path({str(canary)!r}).touch()"

    def change(data):
        model = json.loads(data)
        text = json.dumps(model)
        assert "Symbol(" in text
        for sizes in model["graph_module"]["graph"]["tensor_values"].values():
            for side in sizes["sizes"]:
                if "as_expr" in side:
                    side["as_expr"]["expr_str"] = code
        return json.dumps(model)

    module, home = files
    network = ExportedNetwork(changed(home / "any.pt2", tmp_path / "odd.pt2", change))
    z = PRIOR.sample(2, seed=0)[:, :, None, None]
    torch.testing.assert_close(network(z), module(z), rtol=0, atol=1e-5)
    assert not canary.exists()


def weights_cut(data):
    return data[: len(data) // 2]


def test_damaged_exported_files_are_said(files, tmp_path):
    source = files[1] / "any.pt2"
    with pytest.raises(CheckpointError, match="reaches beyond its numbers"):
        ExportedNetwork(changed(source, tmp_path / "cut.pt2", weights_cut, "weight_0"))
    with pytest.raises(CheckpointError, match="is damaged"):
        ExportedNetwork(changed(source, tmp_path / "json.pt2", weights_cut))
    (tmp_path / "half.pt2").write_bytes(source.read_bytes()[:2000])
    with pytest.raises(CheckpointError, match=r"is no file of torch\.export"):
        ExportedNetwork(tmp_path / "half.pt2")
    with pytest.raises(CheckpointError, match=r"cannot read .*none\.pt2"):
        ExportedNetwork(tmp_path / "none.pt2")
    (tmp_path / "pointer.pt2").write_text("version https://git-lfs.github.com/spec/v1\n")
    with pytest.raises(CheckpointError, match="Git LFS pointer"):
        ExportedNetwork(tmp_path / "pointer.pt2")
    torch.save({"a": torch.zeros(2)}, tmp_path / "state.pt2")
    with pytest.raises(CheckpointError, match=r"holds no network of torch\.export"):
        ExportedNetwork(tmp_path / "state.pt2")


def test_an_exported_file_takes_its_own_latents_and_no_labels(files):
    with pytest.raises(ShapeError, match="latents of 5 numbers"):
        load_exported(files[1] / "any.pt2", lk.Normal(5))
    with pytest.raises(CheckpointError, match="takes 1 inputs, and 2 is what it would get"):
        load_exported(files[1] / "any.pt2", classes=3)


@pytest.mark.parametrize("shape", [(6,), (6, 1, 1)])
def test_a_torchscript_file_is_its_module(shape, build, tmp_path):
    make = Everyday if len(shape) == 3 else (lambda: nn.Sequential(nn.Linear(6, 12), nn.Dropout(0.5), nn.Tanh()))
    module = module_of(build, make)
    file = scripted(module, tmp_path / "g.pt", torch.zeros(2, *shape))
    generator = load_torchscript(file, PRIOR)
    z = PRIOR.sample(5, seed=1).requires_grad_()
    torch.testing.assert_close(generator(z), module(z.reshape(-1, *shape)), rtol=0, atol=1e-5)
    assert not any(weight.requires_grad for weight in modules_of(generator)[0].parameters())
    (found,) = torch.autograd.grad(generator(z).sum(), z)
    (wanted,) = torch.autograd.grad(module(z.reshape(-1, *shape)).sum(), z)
    torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-5)


def test_a_torchscript_file_with_classes(tmp_path):
    class Classes(nn.Module):
        def forward(self, z, y):
            return z + y[:, None]

    file = scripted(Classes(), tmp_path / "g.pt", torch.zeros(2, 6), torch.zeros(2, dtype=torch.int64))
    generator = load_torchscript(file, PRIOR, classes=["near", "far"])
    z = PRIOR.sample(3, seed=0)
    torch.testing.assert_close(lk.generate(lk.condition(generator, "far"), z), z + 1)


def test_torchscript_that_reaches_for_files_is_refused_before_it_is_loaded(tmp_path):
    class Reader(nn.Module):
        def forward(self, z):
            return z + torch.from_file("/etc/hostname", size=1, dtype=torch.uint8)

    quietly(torch.jit.save, quietly(torch.jit.script, Reader()), tmp_path / "g.pt")
    with pytest.raises(CheckpointError, match=r"calls torch.from_file, which reaches beyond tensors; nothing was"):
        load_torchscript(tmp_path / "g.pt", PRIOR)


@pytest.mark.parametrize("call", ["torch.sparse_coo_tensor", "ops.aten.sparse_coo_tensor", "torch._indices"])
def test_torchscript_that_calls_what_believes_its_indices_is_refused_before_it_is_loaded(call, tmp_path):
    class Believer(nn.Module):
        def forward(self, z):
            far = torch.tensor([[2**40]])
            return z + torch.sparse_coo_tensor(far, torch.ones(1), [3]).to_dense()

    quietly(torch.jit.save, quietly(torch.jit.script, Believer()), tmp_path / "a.pt")
    file = changed(
        tmp_path / "a.pt",
        tmp_path / "b.pt",
        lambda code: code.replace(b"torch.sparse_coo_tensor", call.encode()),
        only=".py",
    )
    with pytest.raises(CheckpointError, match="which does not check what it is given; nothing was loaded"):
        load_torchscript(file, PRIOR)


def test_what_is_no_torchscript_is_said_in_one_line(build, tmp_path):
    torch.save(build(lambda: nn.Linear(6, 3)), tmp_path / "whole.pt")
    with pytest.raises(CheckpointError, match=r"a pickle of torch\.save without TorchScript in it") as told:
        load_torchscript(tmp_path / "whole.pt", PRIOR)
    assert "\n" not in str(told.value)
    (tmp_path / "pointer.pt").write_text("version https://git-lfs.github.com/spec/v1\n")
    with pytest.raises(CheckpointError, match="Git LFS pointer"):
        load_torchscript(tmp_path / "pointer.pt", PRIOR)
    (tmp_path / "text.pt").write_text("text")
    with pytest.raises(CheckpointError, match="is no TorchScript file"):
        load_torchscript(tmp_path / "text.pt", PRIOR)
    with pytest.raises(CheckpointError, match=r"cannot read .*none\.pt"):
        load_torchscript(tmp_path / "none.pt", PRIOR)
    file = scripted(module_of(build), tmp_path / "g.pt", torch.zeros(2, 6, 1, 1))
    with pytest.raises(ArgumentError, match=r"takes latents neither as \(N, 9\) nor as \(N, 9, 1, 1\)") as told:
        load_torchscript(file, lk.Normal(9))
    assert "\n" not in str(told.value)
    with pytest.raises(ArgumentError, match="does not say how large its latents are"):
        load_torchscript(file, None)
