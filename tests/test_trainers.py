import json
import subprocess
import sys
import warnings

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from latentkit.checkpoint import load
from latentkit.errors import ArgumentError, DataError, DivergenceError
from latentkit.nets import ConvGenerator
from trainers import Data, GANConfig, digits, parabola, ring, train_gan
from trainers.__main__ import main
from trainers.loop import Average, initialised, settle_batch_norm, shifted

QUICK = {"threads": 1, "precision": "float32"}
IMAGES = GANConfig(latent_dim=4, steps=4, batch_size=8, width=4, **QUICK)
POINTS = GANConfig(steps=20, batch_size=32, width=16, **QUICK)

# Runs this short make samples that are all alike, and say so.
short_runs = pytest.mark.filterwarnings("ignore:the samples are nearly identical")


def few_digits(n=60):
    data = digits()
    return Data("digits", data.samples[:n, :, ::2, ::2].contiguous(), data.labels[:n], data.classes)


DATA = {"images": (few_digits, IMAGES), "points": (lambda: ring(n=200), POINTS)}


def train(kind, **changes):
    make, config = DATA[kind]
    return train_gan(make(), GANConfig(**{**vars(config), **changes}), progress=False)


def weights(checkpoint):
    parts = (checkpoint.generator.module, checkpoint.critic)
    return [value for part in parts for value in part.state_dict().values()]


def equal(a, b):
    return all(torch.equal(x, y) for x, y in zip(weights(a), weights(b), strict=True))


@short_runs
class TestLaws:
    @pytest.mark.parametrize("kind", DATA)
    def test_the_seed_decides_the_weights(self, kind):
        before = torch.random.get_rng_state()
        one = train(kind, seed=5)
        assert torch.equal(before, torch.random.get_rng_state())
        with torch.random.fork_rng(devices=[]):
            torch.rand(3)
            assert equal(one, train(kind, seed=5))
        assert not equal(one, train(kind, seed=6))
        assert one.generator.prior.dim == train(kind, seed=2**64 - 1).generator.prior.dim

    @pytest.mark.parametrize("kind", DATA)
    def test_the_checkpoint_is_ready_to_use_and_complete(self, kind, tmp_path):
        checkpoint = train(kind, holdout=20)
        for module in (checkpoint.generator.module, checkpoint.critic):
            assert not any(part.training for part in module.modules())
            assert not any(p.requires_grad for p in module.parameters())
            assert all(t.device.type == "cpu" for t in module.state_dict().values())
            assert all(p.dtype == torch.float32 for p in module.parameters())
        samples = checkpoint.generator(checkpoint.generator.prior.sample(3, seed=0))
        assert checkpoint.holdout.shape == (20, *samples.shape[1:])
        assert checkpoint.holdout_labels.shape == (20,)
        assert torch.isfinite(checkpoint.critic(samples)).all()
        config = DATA[kind][1]
        assert checkpoint.settings["steps"] == config.steps
        assert None not in checkpoint.settings.values()
        assert GANConfig(**json.loads(json.dumps(checkpoint.settings))).width == config.width
        assert {len(column) for column in checkpoint.history.values()} == {config.steps}
        assert checkpoint.history["step"][-1] == config.steps
        back = load(checkpoint.save(tmp_path / "实验 ü"))
        assert equal(back, checkpoint)
        assert torch.equal(back.holdout, checkpoint.holdout)

    @pytest.mark.parametrize("kind", DATA)
    def test_scores_do_not_depend_on_the_batch(self, kind):
        checkpoint = train(kind)
        x = checkpoint.holdout[:6]
        alone = torch.cat([checkpoint.critic(row) for row in x.split(1)])
        torch.testing.assert_close(checkpoint.critic(x), alone, rtol=1e-4, atol=1e-5)

    def test_both_networks_move(self):
        before, after = train("points", steps=1), train("points", steps=2)
        assert not any(torch.equal(a, b) for a, b in zip(weights(before), weights(after), strict=True))

    def test_held_out_samples_are_not_trained_on(self):
        data = few_digits()
        _, held = data.split(15, seed=0)
        rows = (data.samples[:, None] == held.samples[None]).flatten(2).all(2).any(1)
        changed = data.samples.clone()
        changed[rows] = 0
        other = Data("digits", changed, data.labels, data.classes)
        config = GANConfig(**{**vars(IMAGES), "holdout": 15})
        assert equal(train_gan(data, config, progress=False), train_gan(other, config, progress=False))

    def test_on_step_sees_every_step_and_an_interrupt_passes(self):
        seen = []

        def watch(state):
            seen.append((state.step, state.steps, state.generator(torch.zeros(1, 2)).shape, len(state.losses)))
            if state.step == 3:
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            train_gan(ring(n=200), POINTS, on_step=watch, progress=False)
        assert seen == [(k, 20, (1, 2), 4) for k in (1, 2, 3)]

    def test_watching_changes_nothing(self):
        watched = train_gan(
            ring(n=200), POINTS, on_step=lambda state: state.generator(torch.ones(2, 2)), progress=False
        )
        assert equal(watched, train("points"))

    @pytest.mark.parametrize("precision", ["float32", "bfloat16"])
    def test_both_precisions_train_images(self, precision):
        checkpoint = train("images", precision=precision)
        assert all(torch.isfinite(value).all() for value in weights(checkpoint))
        assert checkpoint.settings["precision"] == precision

    def test_the_number_of_threads_is_put_back(self):
        before = torch.get_num_threads()
        train("points", threads=before + 1, steps=1)
        assert torch.get_num_threads() == before


def _distance_to_parabola(points):
    x = torch.linspace(-2.2, 2.2, 1000)
    return torch.cdist(points, torch.stack([x, x**2 - 2], 1)).min(1).values


class TestTruth:
    def test_a_short_run_finds_the_parabola(self):
        config = GANConfig(steps=800, batch_size=128, width=64, **QUICK)
        checkpoint = train_gan(parabola(n=5000), config, progress=False)
        samples = checkpoint.generator(checkpoint.generator.prior.sample(1000, seed=1))
        assert _distance_to_parabola(samples).mean() < 0.15
        assert samples[:, 0].std() == pytest.approx(4 / 12**0.5, rel=0.25)

    def test_a_run_that_learns_nothing_is_reported(self):
        with pytest.warns(UserWarning, match="nearly identical"):
            train("points", generator_lr=0.0, steps=2)


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
        ],
    )
    def test_wrong_settings_name_themselves(self, wrong):
        (name,) = wrong
        with pytest.raises(ArgumentError, match=name):
            GANConfig(**wrong)

    @pytest.mark.parametrize("kind", DATA)
    def test_networks_that_memory_cannot_hold_are_refused_before_work(self, kind, monkeypatch):
        monkeypatch.setattr("trainers.gan.machine_memory", lambda: 10_000)
        monkeypatch.setattr("trainers.gan._train", None)
        with pytest.raises(
            ArgumentError, match=r"width \d+ and latent_dim \d+ make networks of .* weights.*lower them"
        ):
            train(kind)

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
        assert checkpoint.history["step"][-1] == 4

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
        settle_batch_norm(net, iter(images.split(4)))
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

        def look(_data, _config, *, on_step, progress):
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

    def test_help_says_what_every_setting_means(self, capsys):
        main(["gan", "--help"])
        text = " ".join(capsys.readouterr().out.split())
        for name in GANConfig.__dataclass_fields__:
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
        "c = GANConfig(steps=20, batch_size=32, width=16, threads=1, precision='float32')\n"
        "print(train_gan(ring(n=200), c, progress=False).fingerprint)"
    )
    there = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout.strip()
    assert there == here.fingerprint


def test_conv_generator_average_keeps_its_kind():
    net = initialised(lambda: ConvGenerator(2, 1, 16, 2), 0)
    assert isinstance(Average(net, 0.5).module, ConvGenerator)
