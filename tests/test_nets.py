import copy
import json

import pytest
import torch
from torch import nn

from latentkit import Checkpoint, Normal, load, wrap
from latentkit.errors import ArgumentError, LabelError
from latentkit.nets import NETWORKS, build
from trainers.loop import initialised

POINTS = {"width": 8, "depth": 2}
IMAGES = {"channels": 3, "size": 16, "width": 4}
EVERY = {"classes": 3, "spectral": True, "minibatch_kernels": 2}
# What each network is tried with: as plainly as it goes, and with everything that it offers.
STYLES = {"w_dim": 6, "mapping_depth": 2, "channel_base": 64, "channel_max": 8}
CASES = {
    "mlp-generator": [{"latent_dim": 5, "out_dim": 2, **POINTS}, {"classes": 3}],
    "mlp-critic": [{"in_dim": 2, **POINTS}, {"classes": 3}, EVERY],
    "mlp-classifier": [{"in_dim": 2, **POINTS, "classes": 3}],
    "mlp-encoder": [{"latent_dim": 5, "in_dim": 2, **POINTS}],
    "conv-generator": [{"latent_dim": 5, **IMAGES}, {"classes": 3}, {"classes": 3, "virtual_batch_norm": True}],
    "conv-critic": [IMAGES, {"classes": 3}, EVERY],
    "conv-classifier": [{**IMAGES, "classes": 3}],
    "conv-encoder": [{"latent_dim": 5, **IMAGES}],
    "dcgan-generator": [{"latent_dim": 5, **IMAGES}, {"classes": 3}, {"virtual_batch_norm": True}],
    "dcgan-critic": [IMAGES, {"classes": 3, "minibatch_kernels": 2}, EVERY],
    "progressive-generator": [{"latent_dim": 5, **IMAGES}, {"widest": 8}],
    "progressive-critic": [IMAGES, {"widest": 8}],
    "residual-generator": [{"latent_dim": 5, **IMAGES}, {"classes": 3}, {"classes": 3, "virtual_batch_norm": True}],
    "fourier-critic": [{"in_dim": 2, "waves": 4, "finest": 16, "width": 8, "depth": 2}],
    "stylegan2-generator": [{"latent_dim": 5, "channels": 3, "size": 16, **STYLES}, {"classes": 3}],
    "stylegan2-critic": [{"channels": 3, "size": 16, "channel_base": 64, "channel_max": 8, "group": 2}],
    "stylegan3-generator": [{"latent_dim": 5, "channels": 3, "size": 16, "depth": 4, **STYLES}, {"classes": 3}],
}
WITH_CLASSES = ["mlp-generator", "conv-generator", "dcgan-generator"]
PLAIN = {name: cases[0] for name, cases in CASES.items()}
ALL = [
    pytest.param(name, {**cases[0], **case}, id="-".join([name, *(case if k else ())]))
    for name, cases in CASES.items()
    for k, case in enumerate(cases)
]
every_case = pytest.mark.parametrize(("name", "settings"), ALL)


def make(name, settings, seed=0):
    net = initialised(lambda: build(name, settings), seed)
    if settings.get("virtual_batch_norm"):
        net.reference(normals(4, 5, seed=1), *labels(settings, 4))
    return net


def normals(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def inputs(name, n=6, seed=0):
    if name.endswith("generator"):
        return normals(n, 5, seed=seed)
    return normals(n, *((2,) if name.startswith(("mlp", "fourier")) else (3, 16, 16)), seed=seed).clamp(-1, 1)


def labels(settings, n=6):
    return (torch.arange(n) % settings["classes"],) if settings.get("classes") else ()


def outputs(net, x):
    """Everything that a network says about its inputs, one row each."""
    kind = net.network.split("-")[1]
    known = labels(net.settings, len(x))
    if kind == "generator":
        return [net(x, *known)]
    if kind == "encoder":
        return [net(x), *net.moments(x), net.features(x)]
    if kind == "classifier":
        return [net(x), net.classify(x), net.features(x)]
    return [net(x), net.features(x), *(net.both(x, *known) if known else ())]


def trained(net, name):
    """The network after a few passes in training mode, in eval mode: buffers and spectra have moved."""
    with torch.no_grad():
        for seed in range(3):
            outputs(net.train(), inputs(name, seed=seed))
    return net.eval()


def assert_same(ones, others):
    assert len(ones) == len(others)
    assert all(torch.equal(one, other) for one, other in zip(ones, others, strict=True))


class TestLaws:
    def test_every_network_is_tried(self):
        assert list(CASES) == list(NETWORKS)

    @every_case
    def test_settings_rebuild_the_network(self, name, settings):
        net = trained(make(name, settings), name)
        assert net.network == name
        assert NETWORKS[name] is type(net)
        assert settings.items() <= net.settings.items()
        again = make(name, json.loads(json.dumps(net.settings)), seed=1)
        assert again.settings == net.settings
        again.load_state_dict(net.state_dict())
        assert_same(outputs(again.eval(), inputs(name)), outputs(net, inputs(name)))

    @every_case
    def test_meta_construction_then_assigned_weights(self, name, settings):
        net = trained(make(name, settings), name)
        state = torch.random.get_rng_state()
        with torch.device("meta"):
            empty = build(name, settings)
        assert torch.equal(state, torch.random.get_rng_state())
        assert all(tensor.is_meta for tensor in empty.state_dict().values())
        empty.load_state_dict(net.state_dict(), strict=True, assign=True)
        assert not any(t.is_meta for t in (*empty.parameters(), *empty.buffers()))
        assert_same(outputs(empty.eval(), inputs(name)), outputs(net, inputs(name)))

    @every_case
    def test_a_deep_copy_says_the_same_and_shares_nothing(self, name, settings):
        net = trained(make(name, settings), name)
        before = outputs(net, inputs(name))
        twin = copy.deepcopy(net)
        assert_same(outputs(twin, inputs(name)), before)
        with torch.no_grad():
            for tensor in (*twin.parameters(), *twin.buffers()):
                tensor.fill_(1)
        assert_same(outputs(net, inputs(name)), before)

    @every_case
    def test_the_seed_decides_the_weights(self, name, settings):
        one, same, other = (make(name, settings, seed).state_dict() for seed in (1, 1, 2))
        assert_same(list(one.values()), list(same.values()))
        assert not all(torch.equal(one[key], other[key]) for key in one)

    @every_case
    def test_every_parameter_in_use_gets_a_gradient(self, name, settings):
        net = make(name, settings)
        sum(output.square().sum() for output in outputs(net, inputs(name))).backward()
        # A full-size progressive network does not make or see small images.
        idle = {f"{door}.{k}" for door in ("to_image", "from_image") for k in range(2)} if "progr" in name else set()
        for key, p in net.named_parameters():
            if not any(key.startswith(part) for part in idle):
                assert p.grad is not None, key
                assert torch.isfinite(p.grad).all(), key
                assert p.grad.any(), key

    @every_case
    def test_scores_do_not_depend_on_the_batch(self, name, settings):
        net, x = trained(make(name, settings), name), inputs(name)
        together, reordered = outputs(net, x), outputs(net, x[[3, 1, 2, 0, 4, 5]])
        for k, whole in enumerate(together):
            torch.testing.assert_close(reordered[k][[3, 1, 2, 0, 4, 5]], whole, rtol=1e-4, atol=1e-5)
            # Rows 0 to 2 have classes 0 to 2 in each batch.
            torch.testing.assert_close(outputs(net, x[:3])[k], whole[:3], rtol=1e-4, atol=1e-5)
            assert whole.std(0).max() > 0

    @every_case
    def test_half_precision_gives_finite_single_precision(self, name, settings):
        net = make(name, settings)
        with torch.autocast("cpu", torch.bfloat16):
            said = outputs(net, inputs(name))
        assert said[0].dtype == torch.float32
        assert all(torch.isfinite(part).all() for part in said)

    @every_case
    def test_an_eval_pass_changes_nothing(self, name, settings):
        net = trained(make(name, settings), name)
        before = copy.deepcopy(net.state_dict())
        outputs(net, inputs(name, seed=9))
        assert_same(list(net.state_dict().values()), list(before.values()))

    @pytest.mark.parametrize(("name", "settings"), [case for case in ALL if "generator" not in case.values[0]])
    def test_a_checkpoint_keeps_what_it_says(self, name, settings, tmp_path):
        net = trained(make(name, settings), name).requires_grad_(False)
        generator = wrap(make("mlp-generator", PLAIN["mlp-generator"]).eval(), Normal(5))
        role = "encoder" if name.endswith("encoder") else "critic"
        classes = tuple("abc") if settings.get("classes") else ()
        parts = {"critic": None, role: net, "classes": classes}
        back = getattr(load(Checkpoint(generator, holdout=torch.zeros(2, 2), **parts).save(tmp_path / "run")), role)
        assert_same(outputs(back, inputs(name)), outputs(net, inputs(name)))


class TestGenerators:
    @pytest.mark.parametrize("size", [16, 32, 64])
    @pytest.mark.parametrize("family", ["conv", "dcgan", "progressive"])
    def test_images_have_the_size_and_range_asked_for(self, family, size):
        shape = {"channels": 1, "size": size, "width": 2}
        x = make(f"{family}-generator", {"latent_dim": 5, **shape}).eval()(10 * torch.ones(2, 5))
        assert x.shape == (2, 1, size, size)
        assert x.abs().max() <= 1
        assert make(f"{family}-critic", shape)(x).shape == (2,)

    @pytest.mark.parametrize("name", WITH_CLASSES)
    def test_the_class_changes_the_sample(self, name):
        net, z = make(name, PLAIN[name] | {"classes": 3}).eval(), inputs(name, 1).expand(3, -1)
        one, two, three = net(z, torch.arange(3))
        assert not torch.allclose(one, two)
        assert not torch.allclose(two, three)

    @pytest.mark.parametrize("name", WITH_CLASSES)
    def test_a_class_is_a_one_hot_part_of_the_latent(self, name):
        """A conditional generator is the plain one of a latent that is longer by the number of classes."""
        net = make(name, PLAIN[name] | {"classes": 3}).eval()
        plain = make(name, PLAIN[name] | {"latent_dim": 8}).eval()
        plain.load_state_dict(net.state_dict())
        z, classes = inputs(name), torch.tensor([2, 0, 1, 1, 2, 0])
        assert torch.equal(net(z, classes), plain(torch.cat([z, torch.eye(3)[classes]], 1)))

    def test_a_reference_is_needed_to_train_with_virtual_batch_norm(self):
        settings = PLAIN["conv-generator"] | {"virtual_batch_norm": True}
        net, z = initialised(lambda: build("conv-generator", settings), 0), inputs("conv-generator")
        with pytest.raises(ArgumentError, match=r"call reference\(z\) first"):
            net(z)
        assert net.eval()(z).shape == (6, 3, 16, 16)
        with pytest.raises(ArgumentError, match="at least 2 latents"):
            net.reference(z[:1])
        with pytest.raises(ArgumentError, match="virtual_batch_norm=True"):
            make("conv-generator", PLAIN["conv-generator"]).reference(z)

    @pytest.mark.parametrize("training", [True, False])
    def test_virtual_batch_norm_makes_samples_independent_and_says_the_same_in_both_modes(self, training):
        settings = PLAIN["conv-generator"] | {"virtual_batch_norm": True}
        net, z = make("conv-generator", settings).train(training), inputs("conv-generator")
        rows = torch.cat([net(row) for row in z.split(1)])
        torch.testing.assert_close(net(z), rows, rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(net.train(not training)(z), rows, rtol=1e-4, atol=1e-5)

    def test_giving_a_reference_leaves_the_modes_and_makes_no_gradient(self):
        net = make("conv-generator", PLAIN["conv-generator"] | {"virtual_batch_norm": True}).eval()
        before = net.state_dict()["start_norm.0.reference_mean"].clone()
        net.reference(normals(8, 5, seed=2).requires_grad_())
        after = net.state_dict()["start_norm.0.reference_mean"]
        assert not torch.equal(after, before)
        assert not after.requires_grad
        assert not any(part.training for part in net.modules())


# The keys of checkpoints of earlier versions, whose settings are those of PLAIN.
LAYERS = ["layers.0.weight", "layers.0.bias", "layers.2.weight", "layers.2.bias"]
NORM = ["weight", "bias", "running_mean", "running_var", "num_batches_tracked"]
KEYS = {
    "mlp-generator": [*LAYERS, "layers.4.weight", "layers.4.bias"],
    "mlp-critic": [*LAYERS, "score.weight", "score.bias"],
    "conv-generator": [
        *["start.weight", *(f"start_norm.0.{key}" for key in NORM)],
        *["blocks.0.weight", *(f"blocks.1.{key}" for key in NORM)],
        *["to_image.weight", "to_image.bias"],
    ],
    "conv-critic": [
        *["blocks.0.weight", "blocks.0.bias", "blocks.2.weight", "blocks.2.bias"],
        *["hidden.0.weight", "hidden.0.bias", "score.weight", "score.bias"],
    ],
}


@pytest.mark.parametrize("name", KEYS)
def test_the_keys_of_earlier_checkpoints_stay(name):
    assert list(make(name, PLAIN[name]).state_dict()) == KEYS[name]


class TestDoor:
    @pytest.mark.parametrize(
        ("name", "change", "said"),
        [
            *[(name, {key: 0}, key) for name, settings in PLAIN.items() for key in settings],
            *[(name, {key: 1.5}, key) for name, settings in PLAIN.items() for key in settings],
            # Not even a network without numbers can be of any size.
            *[(name, {key: 2**60}, key) for name, settings in PLAIN.items() for key in settings],
            *[(name, {"colour": 3}, "colour") for name in NETWORKS],
            *[(name, {"size": 24}, "power of two") for name, settings in PLAIN.items() if "size" in settings],
            *[(name, {"size": 2048}, "power of two") for name, settings in PLAIN.items() if "size" in settings],
            *[(name, {"depth": 65}, "depth") for name, settings in PLAIN.items() if "depth" in settings],
            *[(name, {"classes": -1}, "classes") for name in ("mlp-generator", "conv-critic", "dcgan-generator")],
            *[(name, {"minibatch_kernels": -1}, "kernels") for name in ("mlp-critic", "dcgan-critic")],
            *[(name, {"spectral": 1}, "spectral") for name in ("mlp-critic", "conv-critic", "dcgan-critic")],
            *[(f"{name}-generator", {"virtual_batch_norm": "no"}, "virtual") for name in ("conv", "dcgan")],
            *[("conv-critic", {"size": 8}, "power of two"), ("progressive-critic", {"size": 2}, "power of two")],
            *[("mlp-critic", {"in_dim": True}, "in_dim"), ("progressive-generator", {"widest": 0}, "widest")],
        ],
    )
    def test_wrong_settings_are_argument_errors(self, name, change, said):
        with torch.device("meta"), pytest.raises(ArgumentError, match=said):
            build(name, PLAIN[name] | change)

    def test_missing_settings_and_unknown_names_are_argument_errors(self):
        with pytest.raises(ArgumentError, match="depth"):
            build("mlp-critic", {"in_dim": 2, "width": 8})
        with pytest.raises(ArgumentError, match="conv-generator"):
            build("vit", {})

    @pytest.mark.parametrize("name", [*WITH_CLASSES, "mlp-critic", "conv-critic"])
    @pytest.mark.parametrize(
        ("wrong", "said"),
        [
            (torch.zeros(6), "whole numbers"),
            (torch.zeros(6, dtype=torch.bool), "whole numbers"),
            (torch.zeros(5, dtype=torch.long), r"\(6,\)"),
            (torch.zeros(6, 1, dtype=torch.long), r"\(6,\)"),
            (torch.arange(6), "from 0 to 2, got 0 to 5"),
            (torch.arange(6) - 4, "got -4 to 1"),
            ([0] * 6, "got list"),
        ],
    )
    def test_labels_must_fit(self, name, wrong, said):
        net = make(name, PLAIN[name] | {"classes": 3})
        with pytest.raises(LabelError, match=said):
            net(inputs(name), wrong)

    @pytest.mark.parametrize("name", [*WITH_CLASSES, "residual-generator"])
    def test_weights_of_one_class_say_what_its_number_says(self, name):
        net, z, numbers = make(name, PLAIN[name] | {"classes": 3}).eval(), inputs(name), torch.arange(6) % 3
        one_hot = torch.eye(3)[numbers]
        assert net(z, one_hot).equal(net(z, numbers))
        assert net(z, one_hot.double()).equal(net(z, numbers))
        between = net(z, one_hot.roll(1, 1) * 0.5 + one_hot * 0.5)
        assert between.shape == net(z, numbers).shape
        assert not between.isclose(net(z, numbers)).flatten(1).all(1).any()
        torch.testing.assert_close(net(z[:2], one_hot[:2]), net(z, one_hot)[:2])

    @pytest.mark.parametrize("name", WITH_CLASSES)
    @pytest.mark.parametrize(
        ("wrong", "said"),
        [
            (torch.ones(6, 2), r"class weights must be \(6, 3\), one a row and class, got \(6, 2\)"),
            (torch.ones(5, 3), r"class weights must be \(6, 3\)"),
            (torch.full((6, 3), torch.nan), "class weights must be finite"),
            (torch.ones(6, 3, 1), r"whole numbers \(6,\)"),
        ],
    )
    def test_weights_must_fit(self, name, wrong, said):
        with pytest.raises(LabelError, match=said):
            make(name, PLAIN[name] | {"classes": 3})(inputs(name), wrong)
        with pytest.raises(LabelError, match="no classes"):
            make(name, PLAIN[name])(inputs(name), torch.ones(6, 3))

    @pytest.mark.parametrize("name", ["mlp-critic", "conv-critic"])
    def test_a_critic_takes_numbers_alone(self, name):
        with pytest.raises(LabelError, match="whole numbers"):
            make(name, PLAIN[name] | {"classes": 3})(inputs(name), torch.ones(6, 3))

    @pytest.mark.parametrize("name", WITH_CLASSES)
    def test_a_conditional_generator_needs_labels(self, name):
        with pytest.raises(LabelError, match=r"needs labels \(6,\): class numbers from 0 to 2"):
            make(name, PLAIN[name] | {"classes": 3})(inputs(name))

    @pytest.mark.parametrize("name", [*WITH_CLASSES, "mlp-critic", "conv-critic"])
    def test_a_network_without_classes_takes_no_labels(self, name):
        net, x, known = make(name, PLAIN[name]), inputs(name), torch.zeros(6, dtype=torch.long)
        calls = [lambda: net(x, known)]
        if name.endswith("critic"):
            calls += [lambda: net.classify(x), lambda: net.both(x, known)]
        for call in calls:
            with pytest.raises(LabelError, match="no classes"):
                call()


def test_networks_are_plain_modules():
    assert all(issubclass(network, nn.Module) for network in NETWORKS.values())
