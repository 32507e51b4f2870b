import dataclasses
import json
import subprocess
import sys
import warnings

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

import latentkit as lk
from latentkit.checkpoint import load
from latentkit.conditional import condition
from latentkit.errors import ArgumentError, DataError, DivergenceError
from latentkit.nets import ConvGenerator
from latentkit.protocols import ConditionalGenerator
from trainers import (
    Data,
    GANConfig,
    GLOConfig,
    ProgressiveConfig,
    SemiConfig,
    VAEConfig,
    digits,
    ring,
    train_gan,
    train_glo,
    train_progressive,
    train_semi_supervised,
    train_vae,
)
from trainers.__main__ import main
from trainers.loop import Average, initialised, settle_batch_norm, shifted

QUICK = {"threads": 1, "precision": "float32", "save_every": 3}
TINY = {"latent_dim": 4, "steps": 6, "batch_size": 8, "width": 4, "check_every": 2, **QUICK}
FLAT = {"steps": 8, "batch_size": 16, "width": 8, "check_every": 3, **QUICK}
IMAGES = GANConfig(**TINY)
POINTS = GANConfig(**{**FLAT, "steps": 20})

# Runs this short make samples that are all alike, and say so.
short_runs = pytest.mark.filterwarnings(
    "ignore:the samples are nearly identical",
    "ignore:nothing is learned",
    "ignore:the critic tells",
    r"ignore:\d+ steps end at side",
)


def few_digits(n=60):
    data = digits()
    return dataclasses.replace(
        data, samples=data.samples[:n, :, ::2, ::2].contiguous(), labels=None if n < 10 else data.labels[:n],
        classes=() if n < 10 else data.classes,
    )  # fmt: skip


def few_points():
    return ring(n=200)


# Every trainer, and every option of the GAN that adds code to a step: how it is called, on what, with what.
TRAINERS = {
    "gan, images": (train_gan, few_digits, IMAGES),
    "gan, points": (train_gan, few_points, POINTS),
    "gan, bfloat16": (train_gan, few_digits, GANConfig(**{**TINY, "precision": "bfloat16"})),
    "conditional, images": (train_gan, few_digits, GANConfig(**TINY, conditional=True)),
    "conditional, points": (train_gan, few_points, GANConfig(**FLAT, conditional=True)),
    "dcgan": (train_gan, few_digits, GANConfig.dcgan(**TINY)),
    "dcgan, conditional": (train_gan, few_digits, GANConfig.dcgan(**TINY, conditional=True)),
    "wgan": (train_gan, few_points, GANConfig.wgan(**FLAT)),
    "wgan-gp": (train_gan, few_points, GANConfig.wgan_gp(**FLAT)),
    "wgan-gp, images": (train_gan, few_digits, GANConfig.wgan_gp(**TINY)),
    "least squares": (train_gan, few_points, GANConfig(**FLAT, loss="least-squares")),
    "hinge, spectral": (train_gan, few_digits, GANConfig(**TINY, loss="hinge", spectral_norm=True)),
    "relativistic": (train_gan, few_points, GANConfig(**FLAT, loss="relativistic", r2=0.1)),
    "relativistic, residual": (
        train_gan,
        few_digits,
        GANConfig(**{**TINY, "steps": 9}, loss="relativistic", r2=0.1, network="residual"),
    ),
    "residual, conditional": (
        train_gan,
        few_digits,
        GANConfig(**TINY, network="residual", loss="relativistic", conditional=True, virtual_batch_norm=True),
    ),
    "saturating": (train_gan, few_points, GANConfig(**FLAT, loss="saturating")),
    "label smoothing": (train_gan, few_points, GANConfig(**FLAT, label_smoothing=0.1)),
    "feature matching": (train_gan, few_points, GANConfig(**FLAT, feature_matching=True)),
    "minibatch discrimination": (train_gan, few_digits, GANConfig(**TINY, minibatch_discrimination=3)),
    "virtual batch norm": (train_gan, few_digits, GANConfig(**TINY, virtual_batch_norm=True)),
    "historical averaging": (train_gan, few_points, GANConfig(**FLAT, historical_averaging=0.1)),
    "progressive": (train_progressive, few_digits, ProgressiveConfig(**TINY, phase_steps=1)),
    "semi-supervised, images": (train_semi_supervised, few_digits, SemiConfig(**TINY, labels_per_class=1)),
    "semi-supervised, points": (train_semi_supervised, few_points, SemiConfig(**FLAT, labels_per_class=2)),
    "glo, images": (train_glo, few_digits, GLOConfig(**TINY, prior_components=2)),
    "glo, points": (train_glo, few_points, GLOConfig(**FLAT, prior_components=2)),
    "vae, images": (train_vae, few_digits, VAEConfig(**TINY)),
    "vae, points": (train_vae, few_points, VAEConfig(**FLAT)),
}
every_trainer = pytest.mark.parametrize("name", TRAINERS)
DATA = {"images": (few_digits, IMAGES), "points": (few_points, POINTS)}


def run(name, *, out=None, resume=False, on_step=None, **changes):
    train_one, make, config = TRAINERS[name]
    config = dataclasses.replace(config, **changes)
    return train_one(make(), config, out=out, resume=resume, on_step=on_step, progress=False)


def train(kind, **changes):
    make, config = DATA[kind]
    return train_gan(make(), dataclasses.replace(config, **changes), progress=False)


def modules(checkpoint):
    found = {"generator": checkpoint.generator.module, "critic": checkpoint.critic, "encoder": checkpoint.encoder}
    return {role: module for role, module in found.items() if module is not None}


def weights(checkpoint):
    return [value for part in modules(checkpoint).values() for value in part.state_dict().values()]


def equal(a, b):
    return all(torch.equal(x, y) for x, y in zip(weights(a), weights(b), strict=True))


@short_runs
class TestLaws:
    @every_trainer
    def test_the_seed_decides_the_weights(self, name):
        before = torch.random.get_rng_state()
        one = run(name, seed=5)
        assert torch.equal(before, torch.random.get_rng_state())
        with torch.random.fork_rng(devices=[]):
            torch.rand(3)
            assert equal(one, run(name, seed=5))
        assert not equal(one, run(name, seed=2**64 - 1))

    @every_trainer
    def test_stopped_and_resumed_it_is_one_run(self, name, tmp_path):
        steps = TRAINERS[name][2].steps
        whole = run(name)
        run(name, out=tmp_path / "run", steps=steps // 2)
        resumed = run(name, out=tmp_path / "run", resume=True)
        assert equal(whole, resumed)
        assert whole.history.keys() == resumed.history.keys()
        for column in whole.history.keys() - {"seconds"}:
            assert whole.history[column] == resumed.history[column], column
        assert equal(load(tmp_path / "run"), whole)

    @every_trainer
    def test_the_checkpoint_is_ready_to_use_and_complete(self, name, tmp_path):
        checkpoint = run(name, holdout=20)
        for module in modules(checkpoint).values():
            assert not any(part.training for part in module.modules())
            assert not any(p.requires_grad for p in module.parameters())
            assert all(t.device.type == "cpu" for t in module.state_dict().values())
            assert all(torch.isfinite(p).all() and p.dtype == torch.float32 for p in module.parameters())
        generator = checkpoint.generator
        if isinstance(generator, ConditionalGenerator):
            assert checkpoint.settings["conditional"]
            generator = condition(generator, 1)
        samples = lk.generate(generator, generator.prior.sample(3, seed=0))
        assert torch.isfinite(samples).all()
        assert checkpoint.holdout.shape == (20, *samples.shape[1:])
        assert checkpoint.holdout_labels.shape == (20,)
        if samples.ndim == 4:
            assert samples.abs().max() <= 1.0
        if checkpoint.critic is not None:
            assert torch.isfinite(lk.score(checkpoint.critic, samples)).all()
        config = TRAINERS[name][2]
        assert None not in checkpoint.settings.values()
        again = json.loads(json.dumps(checkpoint.settings))
        assert type(config)(**again) == type(config)(**checkpoint.settings)
        assert {len(column) for column in checkpoint.history.values()} == {config.steps}
        assert checkpoint.history["step"][-1] == config.steps
        assert {"spread", "near_duplicates"} <= checkpoint.history.keys()
        back = load(checkpoint.save(tmp_path / "实验 ü"))
        assert equal(back, checkpoint)
        assert torch.equal(back.holdout, checkpoint.holdout)

    @every_trainer
    def test_all_networks_move_and_watching_changes_nothing(self, name):
        seen = []

        def watch(state):
            seen.append((state.step, state.steps))
            x = lk.generate(state.generator, state.generator.prior.sample(2, seed=0))
            if state.critic is not None:
                lk.score(state.critic, x)

        steps = TRAINERS[name][2].steps
        watched, before = run(name, on_step=watch), run(name, steps=1)
        assert seen == [(k, steps) for k in range(1, steps + 1)]
        assert equal(watched, run(name))
        for role, module in modules(watched).items():
            moved = [
                not torch.equal(a, b)
                for a, b in zip(module.parameters(), modules(before)[role].parameters(), strict=True)
            ]
            assert any(moved), role

    @every_trainer
    def test_held_out_samples_are_not_trained_on(self, name):
        """Others in their place change what is held out, and no weight."""
        train_one, make, config = TRAINERS[name]
        data, config = make(), dataclasses.replace(config, holdout=15)
        _, held = data.split(15, seed=config.seed)
        rows = (data.samples[:, None] == held.samples[None]).flatten(2).all(2).any(1)
        changed = data.samples.clone()
        changed[rows] = 0
        other = dataclasses.replace(data, samples=changed)
        ours, theirs = (train_one(d, config, progress=False) for d in (data, other))
        assert equal(ours, theirs)
        assert not torch.equal(ours.holdout, theirs.holdout)

    @pytest.mark.parametrize("kind", DATA)
    def test_scores_do_not_depend_on_the_batch(self, kind):
        checkpoint = train(kind)
        x = checkpoint.holdout[:6]
        alone = torch.cat([checkpoint.critic(row) for row in x.split(1)])
        torch.testing.assert_close(checkpoint.critic(x), alone, rtol=1e-4, atol=1e-5)

    def test_an_interrupt_passes(self):
        def watch(state):
            raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            train_gan(ring(n=200), POINTS, on_step=watch, progress=False)

    def test_the_number_of_threads_is_put_back(self):
        before = torch.get_num_threads()
        train("points", threads=before + 1, steps=1)
        assert torch.get_num_threads() == before


class TestTruth:
    def test_a_run_that_learns_nothing_is_reported(self):
        with warnings.catch_warnings(record=True) as said:
            warnings.simplefilter("always")
            train("points", generator_lr=0.0, check_every=2)
        assert sum("samples have not changed" in str(one.message) for one in said) == 1
        assert sum("nearly identical" in str(one.message) for one in said) == 1


@short_runs
class TestDoor:
    @pytest.mark.parametrize(
        "wrong",
        [
            {"seed": -1},
            {"seed": 2**64},
            {"steps": 0},
            {"batch_size": 1},
            {"latent_dim": 2.5},
            {"width": 0},
            {"generator_lr": -1.0},
            {"critic_lr": float("nan")},
            {"beta1": 1.0},
            {"ema": -0.1},
            {"shift": 0.7},
            {"threads": 0},
            {"threads": 100_000},
            {"width": 10**6},
            {"latent_dim": 10**9},
            {"steps": 10**18},
            {"batch_size": 10**12},
            {"precision": "float16"},
            {"device": "abacus"},
            {"loss": "cross-entropy"},
            {"optimiser": "sgd"},
            {"network": "resnet"},
            {"critic_steps": 0},
            {"keep": 0},
            {"save_every": 0},
            {"check_every": 0},
            {"label_smoothing": 0.6},
            {"gradient_penalty": -1.0},
            {"clip": float("inf")},
            {"minibatch_discrimination": -1},
            {"conditional": 1},
        ],
    )
    def test_wrong_settings_name_themselves(self, wrong):
        (name,) = wrong
        with pytest.raises(ArgumentError, match=name):
            GANConfig(**wrong)

    @pytest.mark.parametrize("kind", DATA)
    def test_networks_that_memory_cannot_hold_are_refused_before_work(self, kind, monkeypatch):
        monkeypatch.setattr("trainers.settings.machine_memory", lambda: 1_000)
        monkeypatch.setattr("trainers.gan.Adversarial", None)
        with pytest.raises(
            ArgumentError, match=r"width \d+ and latent_dim \d+ make networks of .* weights.*lower them"
        ):
            train(kind)

    @pytest.mark.parametrize(
        ("changes", "said"),
        [
            ({"loss": "hinge", "label_smoothing": 0.1}, "label_smoothing needs a loss with targets"),
            ({"clip": 0.01, "gradient_penalty": 10.0}, "clip bounds the critic by itself"),
            ({"clip": 0.01, "spectral_norm": True}, "clip bounds the critic by itself"),
            ({"network": "conv"}, "network must be mlp for ring"),
            ({"virtual_batch_norm": True}, "virtual_batch_norm is for images"),
        ],
    )
    def test_settings_that_exclude_each_other(self, changes, said):
        with pytest.raises(ArgumentError, match=said):
            train("points", **changes)

    def test_settings_that_the_images_exclude(self):
        for changes, said in (
            ({"network": "mlp"}, "network must be conv, residual or dcgan for digits"),
            ({"network": "dcgan", "spectral_norm": True}, "spectral_norm goes with"),
        ):
            with pytest.raises(ArgumentError, match=said):
                train("images", **changes)
        with pytest.raises(ArgumentError, match="conditional needs labels, and digits has none"):
            train_gan(few_digits(9), GANConfig(conditional=True), progress=False)

    def test_a_device_that_is_not_there(self):
        with pytest.raises(ArgumentError, match="device 'meta' cannot be used"):
            train("points", device="meta")

    @pytest.mark.parametrize("shape", [(8, 1, 24, 24), (8, 1, 32, 16), (8, 1, 8, 8)])
    def test_images_must_fit_the_networks(self, shape):
        with pytest.raises(DataError, match="power of two"):
            train_gan(Data("x", torch.zeros(shape, dtype=torch.uint8)), IMAGES, progress=False)

    @pytest.mark.parametrize("n", [1, 3])
    def test_too_few_samples(self, n):
        with pytest.raises(DataError, match="at least 4"):
            train_gan(few_digits(n), IMAGES, progress=False)

    def test_a_small_set_lowers_the_batch_and_still_trains(self):
        with pytest.warns(UserWarning, match="lowered from 8 to the 6"):
            checkpoint = train_gan(few_digits(7), IMAGES, progress=False)
        assert checkpoint.settings["batch_size"] == 6
        assert checkpoint.history["step"][-1] == IMAGES.steps

    def test_holding_out_too_much(self):
        with pytest.raises(DataError, match="hold out"):
            train("points", holdout=199)

    def test_a_loss_that_is_not_finite_stops_the_run(self):
        with pytest.raises(DivergenceError, match="at step"):
            train("points", critic_lr=1e30, generator_lr=1e30)


class TestLoop:
    def test_shifts_are_moves_by_whole_pixels(self):
        images = torch.arange(2 * 36.0).reshape(2, 1, 6, 6)
        still = torch.full((2, 2), 0.5)
        assert torch.equal(shifted(images, still, 2), images)
        ends = torch.tensor([[0.0, 0.5], [0.99, 0.99]])
        down, up_left = shifted(images, ends, 2)
        assert torch.equal(down[0, 2:], images[0, 0, :4])
        assert torch.equal(down[0, 0], images[0, 0, 0])
        assert torch.equal(up_left[0, :4, :4], images[1, 0, 2:, 2:])

    def test_the_average_copies_buffers_and_follows_weights(self):
        net = nn.BatchNorm1d(2)
        average = Average(net, decay=0.9)
        with torch.no_grad():
            net.weight.fill_(3.0)
            net.running_mean.fill_(7.0)
        for _ in range(200):
            average.update(net)
        assert torch.equal(average.module.running_mean, net.running_mean)
        torch.testing.assert_close(average.module.weight, net.weight)
        assert not average.module.training

    def test_settled_statistics_are_those_of_the_inputs(self):
        net = nn.Sequential(nn.BatchNorm2d(3))
        images = 5 + 2 * torch.randn(8, 3, 4, 4, generator=torch.Generator().manual_seed(0))
        settle_batch_norm(net, ((part,) for part in images.split(4)))
        torch.testing.assert_close(net[0].running_mean, images.mean((0, 2, 3)))
        assert (net.training, net[0].training, net[0].momentum) == (False, False, 0.1)

    def test_initial_weights_come_from_the_seed_alone(self):
        state = torch.random.get_rng_state()
        one, same, other = (initialised(lambda: nn.Linear(3, 3), seed).weight for seed in (1, 1, 2**64 - 1))
        assert torch.equal(one, same)
        assert not torch.equal(one, other)
        assert torch.equal(state, torch.random.get_rng_state())


@short_runs
class TestCommand:
    SHORT = ("--steps", "3", "--width", "4", "--batch-size", "8", "--threads", "1", "--quiet")

    def test_trains_and_saves(self, tmp_path, capsys):
        out = tmp_path / "run"
        assert main(["gan", "--data", "ring", "--out", str(out), "--seed", "7", "--json", *self.SHORT]) == 0
        summary = json.loads(capsys.readouterr().out)
        assert (summary["data"], summary["steps"], summary["settings"]["seed"]) == ("ring", 3, 7)
        assert load(out).settings == summary["settings"]
        assert main(["gan", "--data", "ring", "--out", str(out), *self.SHORT]) == 0  # its own folder may be replaced
        assert str(out) in capsys.readouterr().out

    def test_folder_of_images(self, tmp_path):
        for k in range(12):
            grey = np.random.default_rng(k).integers(0, 256, (20, 20), np.uint8)
            (tmp_path / "in").mkdir(exist_ok=True)
            Image.fromarray(grey).save(tmp_path / "in" / f"{k}.png")
        options = ["--data-dir", str(tmp_path / "in"), "--size", "16", "--grey", "--out", str(tmp_path / "out")]
        assert main(["gan", "--data", "folder", *options, *self.SHORT]) == 0
        assert load(tmp_path / "out").generator.module.settings["channels"] == 1

    @pytest.mark.parametrize(
        ("options", "said"),
        [
            (["--data", "ring", "--steps", "0"], "--steps must"),
            (["--data", "ring", "--batch-size", "1"], "--batch-size must"),
            (["--data", "ring", "--threads", "100000"], "--threads must be at most"),
            (["--data", "ring", "--width", "1000000"], "--width must be at most"),
            (["--data", "folder", "--data-dir", "/nowhere", "--size", "48"], "--size must be a power of two"),
            (["--data", "ring", "--step", "3"], "--step"),
            (["--data", "ring", "--steps", "many"], "--steps"),
            (["--data", "nothing"], "--data"),
            (["--data", "folder"], "--data-dir"),
            (["--data", "folder", "--data-dir", "/nowhere"], "/nowhere"),
            (["--data", "fashion-mnist", "--data-dir", "/nowhere"], "apt-get"),
            (["--data", "ring", "--size", "64"], "--size"),
            (["--data", "ring", "--data-dir", "x"], "--data-dir"),
            (["--data", "ring", "--colour"], "--colour"),
            ([], "--data"),
        ],
    )
    def test_mistakes_are_one_line_and_status_2(self, tmp_path, capsys, options, said):
        assert main(["gan", "--out", str(tmp_path / "run"), *options]) == 2
        captured = capsys.readouterr()
        assert captured.err.count("\n") == 1
        assert captured.err.startswith("latentkit-train: ")
        assert said in captured.err
        assert not (tmp_path / "run").exists()

    def test_the_output_is_checked_first(self, tmp_path, capsys, monkeypatch):
        def fail(*_):
            raise AssertionError("the data were loaded before the output was checked")

        monkeypatch.setattr("trainers.__main__._data", fail)
        (tmp_path / "notes.txt").write_text("mine")
        assert main(["gan", "--data", "ring", "--out", str(tmp_path)]) == 2
        assert "notes.txt" in capsys.readouterr().err

    def test_an_interrupt_is_130_and_leaves_nothing(self, tmp_path, capsys, monkeypatch):
        def interrupt(*_, **__):
            raise KeyboardInterrupt

        monkeypatch.setattr("trainers.gan.train_gan", interrupt)
        assert main(["gan", "--data", "ring", "--out", str(tmp_path / "run")]) == 130
        assert not (tmp_path / "run").exists()

    @pytest.mark.parametrize("text", ['{"name": "My app"}', "{"])
    def test_a_manifest_of_somebody_else_stays(self, tmp_path, capsys, text):
        (tmp_path / "manifest.json").write_text(text)
        assert main(["gan", "--data", "ring", "--out", str(tmp_path), *self.SHORT]) == 2
        assert "manifest.json is damaged or not" in capsys.readouterr().err
        assert (tmp_path / "manifest.json").read_text() == text

    @pytest.mark.parametrize("options", [(), ("--json",)])
    def test_nothing_is_drawn_where_nobody_watches(self, tmp_path, capsys, options):
        quiet = [option for option in self.SHORT if option != "--quiet"]
        assert main(["gan", "--data", "ring", "--out", str(tmp_path / "run"), *quiet, *options]) == 0
        captured = capsys.readouterr()
        assert captured.err == ""
        assert captured.out.count("\n") == 1

    @pytest.mark.parametrize(("options", "shown"), [((), True), (("--json",), False), (("--quiet",), False)])
    def test_a_terminal_shows_the_bar(self, tmp_path, monkeypatch, options, shown):
        seen = []

        def look(_data, _config, *, on_step, progress, **_):
            assert on_step is None
            seen.append(progress)
            raise KeyboardInterrupt

        monkeypatch.setattr("trainers.gan.train_gan", look)
        monkeypatch.setattr("trainers.__main__.watched", lambda: True)
        assert main(["gan", "--data", "ring", "--out", str(tmp_path / "run"), *options]) == 130
        assert seen == [shown]

    def test_an_interrupt_while_torch_is_imported_is_one_line(self, tmp_path):
        code = (
            "import sys, trainers.__main__ as command\n"
            "assert 'torch' not in sys.modules and 'numpy' not in sys.modules\n"
            "class Interrupt:\n"
            "    def find_spec(self, name, *_):\n"
            "        if name == 'torch': raise KeyboardInterrupt\n"
            "sys.meta_path.insert(0, Interrupt())\n"
            "sys.exit(command.main(['gan', '--data', 'ring', '--out', sys.argv[1]]))"
        )
        done = subprocess.run(
            [sys.executable, "-c", code, str(tmp_path / "run")], capture_output=True, text=True, check=False
        )
        assert (done.returncode, done.stderr) == (130, "latentkit-train: interrupted; nothing was written\n")

    def test_help_needs_no_torch(self):
        code = (
            "import sys\nfrom trainers.__main__ import main\n"
            "assert main(['--help']) == 0\nassert main([]) == 2\n"
            "assert 'torch' not in sys.modules and 'numpy' not in sys.modules"
        )
        subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)

    def test_the_study_of_latent_sizes(self, tmp_path, capsys):
        options = ["--sizes", "1", "2", "--steps", "4", "--holdout", "40", "--batch-size", "16", "--width", "8"]
        few = ["--samples", "20", "--inverted", "2", "--inversion-steps", "2", "--inversion-starts", "1"]
        command = ["sweep", "--data", "ring", "--out", str(tmp_path / "study"), "--threads", "1", *options, *few]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            assert main([*command, "--json"]) == 0
            rows = json.loads(capsys.readouterr().out)["rows"]
            assert [row["size"] for row in rows] == [1, 2]
            assert main(command) == 0
        assert "study.png" in capsys.readouterr().out
        assert (tmp_path / "study" / "study.png").exists()

    def test_help_says_what_every_setting_means(self, capsys):
        main(["gan", "--help"])
        text = " ".join(capsys.readouterr().out.split())
        for name in (field.name for field in dataclasses.fields(GANConfig)):
            assert f"--{name.replace('_', '-')}" in text
        assert "by heart [0.0625 below 10,000 images, else 0]" in text

    @pytest.mark.parametrize("arguments", [["--help"], ["gan", "--help"]])
    def test_help_teaches(self, arguments, capsys):
        assert main(arguments) == 0
        assert "latentkit-train gan --data digits" in capsys.readouterr().out


def test_importing_trainers_does_not_import_torch():
    code = "import sys, trainers; assert 'torch' not in sys.modules; trainers.ring"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_seed_gives_one_generator_in_any_process(tmp_path):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        here = train("points")
    code = (
        "import warnings; warnings.simplefilter('ignore')\n"
        "from trainers import *\n"
        f"c = GANConfig(**{vars(POINTS)!r})\n"
        "print(train_gan(ring(n=200), c, progress=False).fingerprint)"
    )
    there = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout.strip()
    assert there == here.fingerprint


def test_conv_generator_average_keeps_its_kind():
    net = initialised(lambda: ConvGenerator(2, 1, 16, 2), 0)
    assert isinstance(Average(net, 0.5).module, ConvGenerator)
