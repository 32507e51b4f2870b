"""The command line: what it writes, and one clear line with exit code 2 for a user's mistake."""

import json
import subprocess
import sys
import warnings

import numpy as np
import pytest
import torch
from PIL import Image

from latentkit import verbs
from latentkit.cli import main
from latentkit.priors import Normal

VERBS = {
    "sample": ["-n", "9"],
    "interpolate": ["--steps", "5"],
    "edit": ["--attribute", "brightness", "-n", "2", "--steps", "3"],
    "quality": ["-n", "300", "--allow-uninformative"],
    "project": ["-n", "60", "--method", "pca"],
    "animate": ["--keys", "3", "--frames", "6"],
}
SUFFIX = {"quality": ".npz", "animate": ".gif"}


def run(capsys, *argv):
    code = main([str(a) for a in argv])
    out, err = capsys.readouterr()
    return code, out, err


@pytest.mark.parametrize("verb", VERBS)
def test_each_verb_writes_its_file_and_reports_it_as_json(verb, image_run, tmp_path, capsys):
    out = tmp_path / f"result{SUFFIX.get(verb, '.png')}"
    code, printed, _ = run(capsys, verb, image_run, "--out", out, "--json", *VERBS[verb])
    assert code == 0
    assert json.loads(printed)["wrote"] == str(out)
    assert out.stat().st_size > 0
    assert [p.name for p in tmp_path.iterdir()] == [out.name], "nothing else may be left behind"


def test_sampled_latents_are_those_of_the_seed(image_run, tmp_path, capsys):
    out = tmp_path / "some.npz"
    assert run(capsys, "sample", image_run, "--out", out, "-n", 7, "--seed", 5)[0] == 0
    stored = np.load(out)
    assert np.array_equal(stored["latents"], Normal(8).sample(7, seed=5).numpy())
    assert stored["samples"].shape == (7, 1, 32, 32)


def test_truncation_bounds_every_coordinate(image_run, tmp_path, capsys):
    out = tmp_path / "some.npz"
    assert run(capsys, "sample", image_run, "--out", out, "-n", 200, "--truncation", 0.7)[0] == 0
    assert np.abs(np.load(out)["latents"]).max() <= 0.7


def test_interpolation_reaches_both_named_latents(image_run, tmp_path, capsys):
    out = tmp_path / "way.npz"
    assert run(capsys, "interpolate", image_run, "--out", out, "--between", 3, 8, "--steps", 4)[0] == 0
    z = Normal(8).sample(9, seed=0)
    assert np.array_equal(np.load(out)["latents"][[0, -1]], z[[3, 8]].numpy())


def test_an_edit_keeps_its_own_latent_in_the_middle(image_run, tmp_path, capsys):
    out = tmp_path / "edit.npz"
    code, *_ = run(capsys, "edit", image_run, "--out", out, "--attribute", "slant", "-n", 2, "--steps", 3)
    assert code == 0
    middle = np.load(out)["latents"].reshape(2, 3, 8)[:, 1]
    assert np.allclose(middle, Normal(8).sample(2, seed=0).numpy(), atol=1e-6)


def test_a_film_has_the_frames_and_seconds_that_were_asked(image_run, tmp_path, capsys):
    out = tmp_path / "film.gif"
    code, printed, _ = run(
        capsys, "animate", image_run, "--out", out, "--keys", 3, "--frames", 12, "--fps", 24, "--json"
    )
    assert code == 0
    assert json.loads(printed)["seconds"] == pytest.approx(0.5)
    total = 0
    with Image.open(out) as film:
        for k in range(film.n_frames):
            film.seek(k)
            total += film.info["duration"]
    assert total == pytest.approx(500, abs=10)


def test_info_tells_what_the_checkpoint_holds(point_run, capsys):
    code, printed, _ = run(capsys, "info", point_run, "--json")
    told = json.loads(printed)
    assert code == 0
    assert told["sample_shape"] == [2]
    assert told["critic"] is True


@pytest.mark.parametrize(
    ("argv", "says"),
    [
        (["sample", "{run}", "--out", "{tmp}/x.jpg"], ".png or .npz"),
        (["sample", "{tmp}/nothing", "--out", "{tmp}/x.png"], "no checkpoint at"),
        (["sample", "{tmp}", "--out", "{tmp}/x.png"], "manifest.json"),
        (["sample", "{run}", "--out", "{tmp}/file/x.png"], "is a file, not a folder"),
        (["sample", "{run}", "--out", "{tmp}/x.png", "-n", "0"], "at least 1"),
        (["sample", "{run}", "--out", "{tmp}/x.png", "--seed", "-1"], "2**64"),
        (["sample", "{run}", "--out", "{tmp}/x.png", "--truncation", "0"], "threshold"),
        (["sample", "{run}", "--out", "{tmp}/x.png", "--truncation", "1", "--best", "0.5"], "one of them"),
        (["sample", "{run}", "--out", "{tmp}/x.png", "--best", "1.5"], "at most 1"),
        (["interpolate", "{run}", "--out", "{tmp}/x.png", "--steps", "0"], "at least 1"),
        (["interpolate", "{run}", "--out", "{tmp}/x.png", "--between", "-1", "2"], "--between"),
        (["edit", "{run}", "--out", "{tmp}/x.png", "--attribute", "charm"], "brightness"),
        (["edit", "{run}", "--out", "{tmp}/x.png", "--attribute", "slant", "--strength", "nan"], "--strength"),
        (["project", "{run}", "--out", "{tmp}/x.png", "-n", "0"], "at least 1"),
        (["animate", "{run}", "--out", "{tmp}/x.gif", "--keys", "2"], "at least 3 keyframes"),
        (["animate", "{run}", "--out", "{tmp}/x.gif", "--grid", "0x2"], "--grid takes columns x rows"),
        (["animate", "{run}", "--out", "{tmp}/x.gif", "--fps", "0"], "fps"),
        (["animate", "{run}", "--out", "{tmp}/x.gif", "--frames", "0"], "at least 1"),
        (["report", "{run}", "--out", "{tmp}/file"], "a file has that name"),
        (["report", "{run}", "--out", "{tmp}"], "holds other files"),
        (["report", "{run}", "--out", "{tmp}/r", "-n", "3"], "at least 500"),
    ],
)
def test_a_users_mistake_is_one_line_and_code_2(argv, says, image_run, tmp_path, capsys):
    (tmp_path / "file").write_text("mine")
    before = sorted(p.name for p in tmp_path.iterdir())
    code, printed, err = run(capsys, *(a.format(run=image_run, tmp=tmp_path) for a in argv))
    assert code == 2
    assert printed == ""
    lines = [line for line in err.splitlines() if line.startswith("latentkit:")]
    assert len(lines) == 1, err
    assert says in lines[0]
    assert "Traceback" not in err
    assert sorted(p.name for p in tmp_path.iterdir()) == before
    assert (tmp_path / "file").read_text() == "mine"


@pytest.mark.parametrize("argv", [[], ["dance"], ["sample"], ["sample", "x", "--out", "y.png", "-n", "many"]])
def test_wrong_usage_exits_with_2(argv, capsys):
    with pytest.raises(SystemExit) as stop:
        main(argv)
    assert stop.value.code == 2
    assert "usage: latentkit" in capsys.readouterr().err


def test_an_interrupt_exits_with_130(image_run, tmp_path, capsys, monkeypatch):
    def stop(*_args, **_options):
        raise KeyboardInterrupt

    monkeypatch.setattr("latentkit.verbs.generate", stop)
    code, _, err = run(capsys, "sample", image_run, "--out", tmp_path / "x.png")
    assert code == 130
    assert "interrupted" in err
    assert list(tmp_path.iterdir()) == []


def test_a_broken_tool_shows_its_traceback(image_run, tmp_path, monkeypatch):
    def bug(*_args, **_options):
        raise RuntimeError("a bug, not a user's mistake")

    monkeypatch.setattr("latentkit.verbs.generate", bug)
    with pytest.raises(RuntimeError, match="a bug"):
        main(["sample", str(image_run), "--out", str(tmp_path / "x.png")])


def test_an_uninformative_critic_refuses_a_map(image_run, tmp_path, capsys):
    code, _, err = run(capsys, "quality", image_run, "--out", tmp_path / "q.npz", "-n", 100)
    assert code == 2
    assert "no quality map was made" in err
    assert list(tmp_path.iterdir()) == []


def test_help_teaches_without_torch():
    code = (
        "import sys\nfrom latentkit.cli import main\n"
        "try:\n    main(['--help'])\nexcept SystemExit as stop:\n    assert stop.code == 0\n"
        "assert 'torch' not in sys.modules and 'numpy' not in sys.modules"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    for verb in (*VERBS, "info", "report"):
        assert verb in done.stdout


def test_the_same_call_gives_the_same_bytes(image_run, tmp_path, capsys):
    torch.set_num_threads(1)
    for name in ("a.png", "b.png"):
        assert run(capsys, "sample", image_run, "--out", tmp_path / name, "-n", 4)[0] == 0
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()


def test_a_warning_is_one_line_too(image_run, tmp_path, capsys, monkeypatch):
    real = verbs.generate

    def generate(*arguments, **options):
        warnings.warn("two images\nwere skipped", UserWarning, stacklevel=2)
        return real(*arguments, **options)

    monkeypatch.setattr(verbs, "generate", generate)
    with warnings.catch_warnings():
        warnings.simplefilter("default")
        code, _, err = run(capsys, "sample", image_run, "--out", tmp_path / "x.png", "--json")
    assert code == 0
    assert err == "latentkit: warning: two images were skipped\n"
