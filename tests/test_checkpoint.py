import errno
import hashlib
import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
import safetensors.torch
import torch
from torch import nn

import latentkit as lk
from latentkit.errors import CheckpointError, OutputError
from latentkit.manifest import FORMAT, MANIFEST
from latentkit.nets import NETWORKS, build

PAIRS = {
    "mlp": (
        ("mlp-generator", {"latent_dim": 3, "out_dim": 2, "width": 8, "depth": 2}),
        ("mlp-critic", {"in_dim": 2, "width": 8, "depth": 2}),
        (3, 2),
    ),
    "conv": (
        ("conv-generator", {"latent_dim": 3, "channels": 1, "size": 16, "width": 2}),
        ("conv-critic", {"channels": 1, "size": 16, "width": 2}),
        (3, 1, 16, 16),
    ),
}


def make(kind="mlp", seed=0, **about):
    (g_name, g_settings), (c_name, c_settings), shape = PAIRS[kind]
    with torch.random.fork_rng():
        torch.random.default_generator.manual_seed(seed)
        generator, critic = build(g_name, g_settings).eval(), build(c_name, c_settings).eval()
    holdout = torch.randint(0, 256, (20, *shape[1:]), generator=torch.Generator().manual_seed(seed)) / 127.5 - 1.0
    return lk.Checkpoint(lk.wrap(generator, about.pop("prior", lk.Normal(3))), critic, holdout, **about)


ABOUT = {
    "holdout_labels": torch.arange(20) % 2,
    "classes": ("猫", '<b>"dog"</b>'),
    "data": "实验 ü 😀",
    "trainer": "gan",
    "settings": {"lr": 1e-4, "betas": [0, 0.9], "name": None},
    "history": {"loss": [1.0, 0.5], "step": [1.0, 2.0]},
}


@pytest.fixture
def folder(tmp_path):
    return make(**ABOUT).save(tmp_path / "run")


def names(folder):
    return sorted(entry.name for entry in folder.iterdir())


def state(checkpoint):
    return {**checkpoint.generator.module.state_dict(), **checkpoint.critic.state_dict()}


def same(a, b):
    return a.keys() == b.keys() and all(a[key].equal(b[key]) and a[key].dtype == b[key].dtype for key in a)


@pytest.mark.parametrize("kind", PAIRS)
@pytest.mark.parametrize(
    "prior",
    [lk.Normal(3, 1.0, 2.0), lk.Uniform(3), lk.Sphere(3), lk.Empirical.fit(torch.eye(3))],
    ids=lambda p: type(p).__name__,
)
def test_what_was_saved_comes_back_bit_for_bit(tmp_path, kind, prior):
    checkpoint = make(kind, prior=prior, **ABOUT)
    assert checkpoint.save(tmp_path / "runs" / "one") == tmp_path / "runs" / "one"
    back = lk.load(tmp_path / "runs" / "one")
    assert same(state(back), state(checkpoint))
    assert back.holdout.equal(checkpoint.holdout)
    assert back.holdout_labels.equal(checkpoint.holdout_labels)
    for field in ("classes", "data", "trainer", "settings", "history", "fingerprint"):
        assert getattr(back, field) == getattr(checkpoint, field)
    z = prior.sample(5, seed=0)
    assert back.generator.prior.sample(5, seed=0).equal(z)
    x = lk.generate(checkpoint.generator, z)
    assert lk.generate(back.generator, z).equal(x)
    assert lk.score(back.critic, x).equal(lk.score(checkpoint.critic, x))
    assert not any(part.training for model in (back.generator.module, back.critic) for part in model.modules())


def test_saving_twice_writes_the_same_bytes(tmp_path):
    one, two = (make(**ABOUT).save(tmp_path / name) for name in ("one", "two"))
    again = lk.load(one).save(tmp_path / "three")
    for other in (two, again):
        assert names(one) == names(other)
        assert all((one / name).read_bytes() == (other / name).read_bytes() for name in names(one))


def test_the_fingerprint_tells_models_apart():
    prints = {make(seed=0).fingerprint, make(seed=1).fingerprint, make(prior=lk.Uniform(3)).fingerprint}
    assert len(prints) == 3
    assert make(seed=0, data="other").fingerprint == make(seed=0).fingerprint


def test_a_checkpoint_may_lack_critic_and_labels(tmp_path):
    checkpoint = make()
    back = lk.load(lk.Checkpoint(checkpoint.generator, None, checkpoint.holdout).save(tmp_path / "run"))
    assert back.critic is None
    assert back.holdout_labels is None


@pytest.mark.parametrize("samples", [torch.rand(20, 2) * 3, torch.full((20, 1, 16, 16), 0.123)])
def test_samples_that_are_no_bytes_are_kept_as_floats(tmp_path, samples):
    checkpoint = make()
    back = lk.load(lk.Checkpoint(checkpoint.generator, checkpoint.critic, samples).save(tmp_path / "run"))
    assert back.holdout.equal(samples)


def test_an_overwrite_replaces_and_leaves_nothing_stale(folder):
    (folder / "notes.txt").write_text("mine")
    before = names(folder)
    make("conv", seed=5).save(folder)
    assert same(state(lk.load(folder)), state(make("conv", seed=5)))
    assert len(names(folder)) == len(before)
    assert (folder / "notes.txt").read_text() == "mine"
    assert not {name for name in names(folder) if name.endswith(".safetensors")} & set(before)


@pytest.mark.parametrize("step", range(6))
@pytest.mark.parametrize("error", [OSError(errno.ENOSPC, "No space left on device"), KeyboardInterrupt()])
def test_a_failure_at_any_step_leaves_the_old_one_loadable(folder, monkeypatch, step, error):
    """Four parts and the manifest are written: each write in turn fails."""
    from latentkit import files

    old, calls = state(lk.load(folder)), []
    replace = files.Path.replace

    def fail(self, target):
        calls.append(target)
        if len(calls) > step:
            raise error
        return replace(self, target)

    monkeypatch.setattr(files.Path, "replace", fail)
    new = make(seed=9, **ABOUT | {"data": "new"})
    if step == 5:
        new.save(folder)
    else:
        with pytest.raises((OutputError, KeyboardInterrupt)):
            new.save(folder)
    monkeypatch.undo()
    assert same(state(lk.load(folder)), state(new) if step == 5 else old)
    assert not [name for name in names(folder) if name.endswith(".part")]


def test_a_folder_with_other_things_is_refused(tmp_path):
    (tmp_path / "thesis.tex").write_text("")
    with pytest.raises(OutputError, match="already holds other files"):
        make().save(tmp_path)
    with pytest.raises(OutputError, match="a file has that name"):
        make().save(tmp_path / "thesis.tex")
    assert names(tmp_path) == ["thesis.tex"]


@pytest.mark.parametrize("step", range(5))
@pytest.mark.parametrize("error", [OSError(errno.ENOSPC, "No space left on device"), KeyboardInterrupt()])
@pytest.mark.parametrize("moment", ["before", "after"])
@pytest.mark.parametrize("empty", [False, True])
def test_a_first_save_that_fails_leaves_nothing(tmp_path, monkeypatch, step, error, moment, empty):
    from latentkit import files

    target, calls, replace = tmp_path / "runs" / "one", [], files.Path.replace
    if empty:
        target.mkdir(parents=True)

    def fail(self, goal):
        calls.append(goal)
        failing = len(calls) == step + 1
        if not failing or moment == "after":
            replace(self, goal)
        if failing:
            raise error

    monkeypatch.setattr(files.Path, "replace", fail)
    with pytest.raises((OutputError, KeyboardInterrupt)):
        make(**ABOUT).save(target)
    monkeypatch.undo()
    if step == 4 and moment == "after":  # all was written by then
        assert same(state(lk.load(target)), state(make(**ABOUT)))
    else:
        assert names(tmp_path) == (["runs"] if empty else [])
        assert not empty or names(target) == []
    make(**ABOUT).save(target)
    assert same(state(lk.load(target)), state(make(**ABOUT)))


def test_a_failed_save_leaves_no_new_parts_beside_the_old_ones(folder, monkeypatch):

    before = names(folder)

    def fail(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("latentkit.manifest.write_json", fail)
    with pytest.raises(KeyboardInterrupt):
        make(seed=9).save(folder)
    assert names(folder) == before


def test_parts_of_a_save_that_was_killed_do_not_bar_the_next(tmp_path):
    make(seed=1).save(tmp_path / "run")
    (tmp_path / "run" / MANIFEST).unlink()
    make(seed=2).save(tmp_path / "run")
    assert same(state(lk.load(tmp_path / "run")), state(make(seed=2)))
    assert len(names(tmp_path / "run")) == 5


@pytest.mark.parametrize("text", ['{"name": "My app", "icons": []}', "{", "[]", "\0", '{"kind": "latentkit report"}'])
def test_a_manifest_of_somebody_else_is_refused(tmp_path, text):
    (tmp_path / MANIFEST).write_text(text)
    with pytest.raises(OutputError, match=r"manifest.json is damaged or not that of a latentkit checkpoint"):
        make().save(tmp_path)
    assert names(tmp_path) == [MANIFEST]
    assert (tmp_path / MANIFEST).read_text() == text


def test_a_link_to_a_folder_stays_a_link(tmp_path):
    (tmp_path / "link").symlink_to(tmp_path / "real")
    for seed in (1, 2):
        assert make(seed=seed).save(tmp_path / "link") == tmp_path / "link"
        assert same(state(lk.load(tmp_path / "real")), state(make(seed=seed)))
    assert (tmp_path / "link").is_symlink()


# ---- damage


def refusal(folder):
    try:
        lk.load(folder)
    except CheckpointError as error:
        return error
    return None


def test_any_damage_to_any_file_is_found(folder, tmp_path):
    """Flipped bits, cuts, additions and zeroed blocks, some hundred over all files."""
    rng = np.random.default_rng(0)
    originals = {name: (folder / name).read_bytes() for name in names(folder)}
    manifest = json.loads(originals[MANIFEST])
    loads = 0
    for trial in range(400):
        name = names(folder)[trial % len(originals)]
        data = bytearray(originals[name])
        place = int(rng.integers(len(data)))
        kind = trial // len(originals) % 4
        if kind == 0:
            data[place] ^= 1 << int(rng.integers(8))
        elif kind == 1:
            del data[place:]
        elif kind == 2:
            data[place : place + 64] = bytes(len(data[place : place + 64]))
        else:
            data += bytes(rng.integers(0, 256, 1 + place % 40, dtype=np.uint8))
        if bytes(data) == originals[name]:
            continue
        (folder / name).write_bytes(data)
        error = refusal(folder)
        if error is None:
            # Nothing but the manifest's own words about itself may change without harm.
            loads += 1
            assert name == MANIFEST
            assert json.loads(data)["files"] == manifest["files"]
        else:
            assert str(folder) in str(error)
        (folder / name).write_bytes(originals[name])
    assert loads < 20
    lk.load(folder)


def test_a_missing_file_is_named(folder):
    for name in names(folder):
        shutil.move(folder / name, folder.parent / name)
        with pytest.raises(CheckpointError, match=name if name != MANIFEST else f"has no {MANIFEST}"):
            lk.load(folder)
        shutil.move(folder.parent / name, folder / name)


def test_what_is_no_checkpoint_is_refused(tmp_path, folder):
    with pytest.raises(CheckpointError, match=r"there is no checkpoint at .*latentkit-train"):
        lk.load(tmp_path / "nowhere")
    with pytest.raises(CheckpointError, match=f"has no {MANIFEST}.*a checkpoint is a folder"):
        lk.load(tmp_path)
    with pytest.raises(CheckpointError, match="is a file"):
        lk.load(folder / MANIFEST)


# ---- forgery: everything fits its hash and still makes no sense


def forge(folder, change_manifest=None, change_about=None, **change_tensors):
    """Change what the folder says and sign it anew."""
    manifest = json.loads((folder / MANIFEST).read_text())
    entries = manifest["files"]

    def put(role, data):
        digest = hashlib.sha256(data).hexdigest()
        name = f"{role}-{digest[:16]}.{'json' if role == 'about' else 'safetensors'}"
        (folder / name).write_bytes(data)
        entries[role] = {"name": name, "bytes": len(data), "sha256": digest}

    if change_about:
        about = json.loads((folder / entries["about"]["name"]).read_text("utf-8"))
        change_about(about)
        put("about", json.dumps(about).encode())
    for role, change in change_tensors.items():
        tensors = safetensors.torch.load((folder / entries[role]["name"]).read_bytes())
        put(role, safetensors.torch.save(change(tensors)))
    if change_manifest:
        change_manifest(manifest)
    (folder / MANIFEST).write_text(json.dumps(manifest))


def test_forging_nothing_changes_nothing(folder):
    forge(folder, change_about=lambda a: None, generator=lambda t: t, holdout=lambda t: t)
    assert same(state(lk.load(folder)), state(make(**ABOUT)))


def test_a_newer_format_says_so(folder):
    forge(folder, lambda m: m.update(format=FORMAT + 1, latentkit="9.9"))
    with pytest.raises(CheckpointError, match=rf"format {FORMAT + 1} \(latentkit 9.9\), newer .* upgrade latentkit"):
        lk.load(folder)


@pytest.mark.parametrize(
    "name", ["../generator-0123456789abcdef.safetensors", "/etc/passwd", "about.json", "", "a\0b", None, 3]
)
def test_a_path_in_the_manifest_is_not_followed(folder, name):
    forge(folder, lambda m: m["files"]["generator"].update(name=name))
    with pytest.raises(CheckpointError, match="unusable entry for 'generator'"):
        lk.load(folder)


@pytest.mark.parametrize(
    "change",
    [
        lambda m: m.update(kind="other"),
        lambda m: m.update(format="1"),
        lambda m: m.update(format=0),
        lambda m: m.pop("files"),
        lambda m: m.update(files=[]),
        lambda m: m["files"].pop("holdout"),
        lambda m: m["files"].pop("critic"),
        lambda m: m["files"].update(generator="x"),
        lambda m: m["files"]["generator"].update(bytes="many"),
        lambda m: m["files"]["generator"].update(bytes=-1),
        lambda m: m["files"]["generator"].update(bytes=10**30),
        lambda m: m["files"]["generator"].update(sha256=None),
        lambda m: m["files"].update(generator=m["files"]["critic"]),
    ],
)
def test_a_manifest_that_makes_no_sense_is_refused(folder, change):
    forge(folder, change)
    with pytest.raises(CheckpointError):
        lk.load(folder)


HUGE = 2**40


@pytest.mark.parametrize(
    "change",
    [
        lambda a: a["networks"]["generator"].update(name="os.system"),
        lambda a: a["networks"]["generator"].update(name=["mlp-generator"]),
        lambda a: a["networks"]["generator"].update(name="mlp-critic"),
        lambda a: a["networks"]["generator"].update(settings=None),
        lambda a: a["networks"]["generator"]["settings"].update(width=9),
        lambda a: a["networks"]["generator"]["settings"].update(width=HUGE),
        lambda a: a["networks"]["generator"]["settings"].update(width=2**70),
        lambda a: a["networks"]["generator"]["settings"].update(depth=HUGE),
        lambda a: a["networks"]["generator"]["settings"].update(width=-1),
        lambda a: a["networks"]["generator"]["settings"].update(extra=1),
        lambda a: a["networks"]["generator"]["settings"].pop("width"),
        lambda a: a["networks"].update(spy=a["networks"]["critic"]),
        lambda a: a["networks"].pop("generator"),
        lambda a: a.update(networks=[]),
        lambda a: a.update(prior={"family": "cauchy"}),
        lambda a: a.update(prior={"family": "normal", "dim": 4, "mean": 0, "std": 1}),
        lambda a: a.update(prior=None),
        lambda a: a.update(settings=3),
        lambda a: a.update(history="x"),
        lambda a: a.update(classes=4),
        lambda a: a.pop("data"),
    ],
)
def test_a_description_that_makes_no_sense_is_refused(folder, change):
    forge(folder, change_about=change)
    with pytest.raises(CheckpointError):
        lk.load(folder)


def test_other_weights_give_a_short_diff(folder):
    def rename(tensors):
        return {key.replace("layers.0", "layers.9"): value for key, value in tensors.items()}

    forge(folder, generator=rename)
    with pytest.raises(
        CheckpointError, match=r"does not fit its network mlp-generator: missing: layers.0.*unexpected: layers.9"
    ):
        lk.load(folder)


def resize(key):
    return lambda tensors: {**tensors, key: tensors[key][:-1].clone()}


@pytest.mark.parametrize(
    "change",
    [
        resize("layers.0.weight"),
        lambda t: {key: value.to(torch.int64) for key, value in t.items()},
        lambda t: {key: value * float("nan") for key, value in t.items()},
        lambda t: {},
        lambda t: {**t, "more": torch.zeros(1)},
    ],
    ids=["shape", "integers", "nan", "empty", "more"],
)
def test_weights_that_do_not_fit_are_refused(folder, change):
    forge(folder, generator=change)
    with pytest.raises(CheckpointError):
        lk.load(folder)


@pytest.mark.parametrize(
    "change",
    [
        lambda t: {},
        lambda t: {"labels": t["labels"]},
        lambda t: {**t, "labels": t["labels"][:3]},
        lambda t: {**t, "samples": t["samples"] * float("inf")},
    ],
    ids=["empty", "labels only", "few labels", "infinite"],
)
def test_held_out_samples_that_make_no_sense_are_refused(folder, change):
    forge(folder, holdout=change)
    with pytest.raises(CheckpointError):
        lk.load(folder)


# ---- what cannot be stored


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
@pytest.mark.parametrize("role", ["generator", "critic"])
def test_weights_that_are_not_finite_are_not_written(folder, role, bad):
    checkpoint = make()
    module = checkpoint.generator.module if role == "generator" else checkpoint.critic
    with torch.no_grad():
        next(module.parameters())[0, 0] = bad
    before = names(folder)
    with pytest.raises(CheckpointError, match=f"the {role} has weights that are not finite.*nothing was written"):
        checkpoint.save(folder)
    assert names(folder) == before
    assert same(state(lk.load(folder)), state(make(**ABOUT)))


def test_only_bundled_networks_are_stored(tmp_path):
    checkpoint = make()
    foreign = lk.Checkpoint(lk.wrap(nn.Identity(), lk.Normal(3)), None, checkpoint.holdout)
    for call in (lambda: foreign.save(tmp_path / "run"), lambda: foreign.fingerprint):
        with pytest.raises(CheckpointError, match=r"only the bundled networks .*this generator is a Identity"):
            call()
    with pytest.raises(CheckpointError, match="this critic is a function"):
        lk.Checkpoint(checkpoint.generator, lambda x: x, checkpoint.holdout).save(tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("value", [float("nan"), {1, 2}, np.float64("inf"), np.zeros(2), object(), lambda: 0])
def test_settings_must_be_plain_json(tmp_path, value):
    with pytest.raises(CheckpointError, match="plain, finite JSON values"):
        make(settings={"x": value}).save(tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_the_table_names_its_networks():
    for name, network in NETWORKS.items():
        assert network.network == name


# ---- classes and encoders

CLASSES = ("bag", "boot", "<i>coat</i>")


def conditional(kind="mlp", count=3, **about):
    (g_name, g_settings), (c_name, c_settings), _ = PAIRS[kind]
    plain = make(kind)
    with torch.random.fork_rng():
        torch.random.default_generator.manual_seed(3)
        generator = build(g_name, g_settings | {"classes": count}).eval()
        critic = build(c_name, c_settings | {"classes": about.pop("critic_classes", count)}).eval()
    names = about.pop("names", CLASSES)
    return lk.Checkpoint(
        lk.wrap(generator, lk.Normal(3), classes=names),
        critic,
        plain.holdout,
        **{"classes": names, "holdout_labels": torch.arange(20) % 3} | about,
    )


@pytest.mark.parametrize("kind", PAIRS)
def test_a_conditional_generator_comes_back_as_one(tmp_path, kind):
    checkpoint = conditional(kind)
    back = lk.load(checkpoint.save(tmp_path / "run"))
    assert back.conditional
    assert isinstance(back.generator, lk.ConditionalGenerator)
    assert back.generator.classes == back.classes == CLASSES
    assert back.fingerprint == checkpoint.fingerprint
    z, labels = lk.Normal(3).sample(6, seed=0), torch.arange(6) % 3
    samples = checkpoint.generator(z, labels)
    assert back.generator(z, labels).equal(samples)
    assert back.critic(samples, labels).equal(checkpoint.critic(samples, labels))
    for view in (lk.marginal, lambda model: lk.condition(model, "boot")):
        one, two = view(checkpoint), view(back)
        z = one.generator.prior.sample(5, seed=0)
        x = lk.generate(one.generator, z)
        assert lk.generate(two.generator, z).equal(x)
        assert lk.score(two.critic, x).equal(lk.score(one.critic, x))


def test_a_generator_without_classes_is_none_that_needs_them(tmp_path):
    back = lk.load(make(**ABOUT).save(tmp_path / "run"))
    assert not back.conditional
    assert back.classes == ABOUT["classes"]
    assert lk.generate(back.generator, lk.Normal(3).sample(2, seed=0)).shape == (2, 2)


def test_a_checkpoint_of_before_there_were_classes_loads_unchanged(folder):
    def age(about):
        for network in about["networks"].values():
            for name in ("classes", "spectral", "minibatch_kernels"):
                network["settings"].pop(name, None)

    forge(folder, change_about=age)
    back = lk.load(folder)
    assert not back.conditional
    assert same(state(back), state(make(**ABOUT)))


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"names": CLASSES[:2]}, "the names of 2 classes and a generator for 3"),
        ({"critic_classes": 2}, "the names of 3 classes and a critic for 2"),
        ({"count": 0}, "a generator network without classes; wrap it accordingly"),
    ],
)
def test_classes_that_do_not_fit_are_not_stored(tmp_path, change, says):
    with pytest.raises(CheckpointError, match=f"not stored, and this one has {says}"):
        conditional(**change).save(tmp_path / "run")
    assert list(tmp_path.iterdir()) == []


def test_a_network_for_classes_must_be_wrapped_with_them(tmp_path):
    whole = conditional()
    bare = lk.Checkpoint(lk.wrap(whole.generator.module, lk.Normal(3)), None, whole.holdout, classes=CLASSES)
    with pytest.raises(CheckpointError, match="a generator network for classes; wrap it accordingly"):
        bare.save(tmp_path / "run")


@pytest.mark.parametrize(
    "change",
    [
        lambda a: a["classes"].pop(),
        lambda a: a.update(classes=["bag", "bag", "coat"]),
        lambda a: a.update(classes=[]),
        lambda a: a["networks"]["generator"]["settings"].update(classes=0),
        lambda a: a["networks"]["generator"]["settings"].update(classes=4),
        lambda a: a["networks"]["critic"]["settings"].update(classes=2),
    ],
)
def test_classes_that_make_no_sense_are_refused(tmp_path, change):
    run = conditional().save(tmp_path / "run")
    forge(run, change_about=change)
    with pytest.raises(CheckpointError):
        lk.load(run)


def encoding(kind="mlp", size=3):
    checkpoint, shape = make(kind), PAIRS[kind][2]
    settings = {"latent_dim": size, **PAIRS[kind][1][1]}
    with torch.random.fork_rng():
        torch.random.default_generator.manual_seed(4)
        encoder = build(f"{kind}-encoder", settings).eval()
    assert encoder(torch.zeros(2, *shape[1:])).shape == (2, size)
    return replace(checkpoint, encoder=encoder)


@pytest.mark.parametrize("kind", PAIRS)
def test_an_encoder_comes_back_bit_for_bit(tmp_path, kind):
    checkpoint = encoding(kind)
    back = lk.load(checkpoint.save(tmp_path / "run"))
    assert same(back.encoder.state_dict(), checkpoint.encoder.state_dict())
    assert back.encoder(back.holdout).equal(checkpoint.encoder(checkpoint.holdout))
    assert not back.encoder.training
    assert lk.load(make(kind).save(tmp_path / "none")).encoder is None


def test_an_encoder_gives_latents_of_the_prior(tmp_path):
    with pytest.raises(CheckpointError, match="a prior of 3 coordinates and an encoder that gives 5"):
        encoding(size=5).save(tmp_path / "run")
    run = encoding().save(tmp_path / "run")
    five = {key: value.clone() for key, value in encoding(size=5).encoder.state_dict().items()}
    forge(run, change_about=lambda a: a["networks"]["encoder"]["settings"].update(latent_dim=5), encoder=lambda t: five)
    with pytest.raises(CheckpointError, match=r"run has a prior of 3 coordinates and an encoder that gives 5"):
        lk.load(run)
