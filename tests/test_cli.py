"""The command line: what it writes, and one clear line with exit code 2 for a user's mistake."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
import warnings
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from latentkit import Checkpoint, condition, generate, marginal, wrap
from latentkit.cli import main
from latentkit.errors import LabelError
from latentkit.options import MORE, parser
from latentkit.priors import Normal, Uniform
from latentkit.verbs import output

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


@pytest.mark.parametrize("label", [None, "zero"])
@pytest.mark.parametrize("verb", VERBS)
def test_each_verb_shows_all_classes_or_one(verb, label, conditional_run, tmp_path, capsys):
    out = tmp_path / f"result{SUFFIX.get(verb, '.png')}"
    narrow = [] if label is None else ["--class", label]
    code, printed, err = run(capsys, verb, conditional_run, "--out", out, "--json", *narrow, *VERBS[verb])
    assert (code, err) == (0, "")
    assert json.loads(printed)["wrote"] == str(out)
    assert out.stat().st_size > 0


def test_samples_of_all_classes_come_with_their_labels(conditional_run, conditional_checkpoint, tmp_path, capsys):
    out = tmp_path / "some.npz"
    assert run(capsys, "sample", conditional_run, "--out", out, "-n", 40, "--seed", 5)[0] == 0
    stored, whole = np.load(out), marginal(conditional_checkpoint.generator)
    latents = whole.prior.sample(40, seed=5)
    assert np.array_equal(stored["latents"], latents.numpy())
    assert np.array_equal(stored["labels"], whole.labels(latents).numpy())
    assert np.array_equal(stored["samples"], generate(whole, latents).numpy())


@pytest.mark.parametrize(("said", "index"), [("zero", 0), ("One", 1), ("one", 1), ("TWO & MORE", 2), ("2", 2)])
def test_a_class_is_given_by_name_or_number(said, index, conditional_run, conditional_checkpoint, tmp_path, capsys):
    out = tmp_path / "some.npz"
    assert run(capsys, "sample", conditional_run, "--out", out, "-n", 3, "--class", said)[0] == 0
    stored, narrow = np.load(out), condition(conditional_checkpoint.generator, index)
    assert np.array_equal(stored["latents"], Normal(8).sample(3, seed=0).numpy())
    assert np.array_equal(stored["samples"], generate(narrow, Normal(8).sample(3, seed=0)).numpy())
    assert "labels" not in stored


def test_a_class_of_one_spelling_is_not_taken_for_another():
    from latentkit.views import viewed

    generator = wrap(lambda z, y: z + y[:, None], Normal(2), classes=("a", "A", "3"))
    checkpoint = Checkpoint(generator, None, torch.zeros(0, 2), classes=generator.classes)
    for said, name in (("a", "a"), ("A", "A"), ("3", "3"), ("1", "A")):
        assert viewed(checkpoint, said, "it").generator.label == name
    for said in ("b", "4", "-1", ""):
        with pytest.raises(LabelError, match=r"--class must be one of a, A, 3 \(or 0 to 2\)"):
            viewed(checkpoint, said, "it")


def test_an_edit_over_all_classes_keeps_each(conditional_run, tmp_path, capsys):
    out = tmp_path / "edit.npz"
    argv = ["edit", conditional_run, "--out", out, "--attribute", "slant", "-n", 4, "--steps", 3, "--json"]
    code, printed, _ = run(capsys, *argv)
    assert code == 0
    latents = np.load(out)["latents"].reshape(4, 3, 11)
    assert np.allclose(latents[:, 1], Normal(11).sample(4, seed=0).numpy(), atol=1e-6)
    assert (latents[:, :, 8:] == latents[:, :1, 8:]).all(), "the class coordinates are not moved"
    assert not np.allclose(latents[:, 0, :8], latents[:, 2, :8])
    names = ("zero", "One", "two & more")
    assert json.loads(printed)["classes"] == [names[k] for k in latents[:, 1, 8:].argmax(1)]


def test_classes_are_told_where_they_matter(conditional_run, tmp_path, capsys):
    told = json.loads(run(capsys, "info", conditional_run, "--json")[1])
    assert told["conditional"] is True
    assert told["classes"] == ["zero", "One", "two & more"]
    _, printed, _ = run(capsys, "interpolate", conditional_run, "--out", tmp_path / "x.png", "--json")
    z = Normal(11).sample(2, seed=0)[:, 8:].argmax(1).tolist()
    assert json.loads(printed)["classes"] == [told["classes"][k] for k in z], "of both ends"
    argv = ["quality", conditional_run, "--out", tmp_path / "q.npz", "-n", "300", "--allow-uninformative", "--json"]
    means = json.loads(run(capsys, *argv)[1])["mean_probability_by_class"]
    stored = np.load(tmp_path / "q.npz")
    for k, name in enumerate(told["classes"]):
        rows = stored["latents"][:, 8:].argmax(1) == k
        assert means[name] == pytest.approx(stored["probability"][rows].mean())


def test_a_prior_that_is_not_normal_is_shown_class_by_class(conditional_checkpoint, tmp_path, capsys):
    flat = wrap(conditional_checkpoint.generator.module, Uniform(8), classes=conditional_checkpoint.classes)
    folder = replace(conditional_checkpoint, generator=flat).save(tmp_path / "run")
    code, _, err = run(capsys, "sample", folder, "--out", tmp_path / "x.png")
    assert code == 2
    assert "give --class, one of zero, One, two & more" in err
    assert run(capsys, "sample", folder, "--out", tmp_path / "x.png", "--class", "One")[0] == 0


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


@pytest.fixture
def believed(monkeypatch):
    """Take every critic at its word, so that maps of untrained networks are made."""
    monkeypatch.setattr("latentkit.calibration.verdict._judge", lambda *_: ("informative", "taken at its word."))


@pytest.mark.parametrize("kind", ["point_run", "conditional_run"])
def test_a_map_is_filmed_and_travelled(kind, request, believed, tmp_path, capsys):
    folder, gif = request.getfixturevalue(kind), tmp_path / "film.gif"
    code, printed, err = run(capsys, "tide", folder, "--out", gif, "-n", 200, "--frames", 4, "--json")
    assert (code, err) == (0, "")
    told = json.loads(printed)
    assert told["frames"] == 4
    assert told["seconds"] == pytest.approx(1.4), "the last frame stands for a second"
    for name in ("way.gif", "way.png"):
        argv = ["route", folder, 3, 8, "--out", tmp_path / name, "-n", 200, "--steps", 5, "--json"]
        code, printed, err = run(capsys, *argv)
        assert (code, err) == (0, "")
        told = json.loads(printed)
        assert list(told["curves"]) == ["route", "lerp", "slerp", "prior-matched", "geodesic"]
        assert (tmp_path / name).stat().st_size > 0


def test_a_map_lists_its_islands(conditional_run, believed, tmp_path, capsys):
    out = tmp_path / "map.npz"
    argv = ["quality", conditional_run, "--out", out, "-n", 600]
    code, printed, _ = run(capsys, *argv, "--json")
    assert code == 0
    told = json.loads(printed)
    stored = np.load(out)
    assert told["good"] == (stored["probability"] >= told["threshold"]).mean()
    assert told["islands_in_all"] == len(told["islands"]) >= 1
    first = told["islands"]["1"]
    assert 0 <= first["share"] <= 1
    assert sum(first["classes"].values()) == pytest.approx(1.0)
    assert stored["probability"][first["representative"]] >= told["threshold"]
    assert 0 <= told["coverage"]["of_good"] <= 1
    for more, least in (([], np.sort(stored["probability"])[-150]), (["--balanced"], told["threshold"])):
        code, printed, _ = run(capsys, *argv, "--best", 0.25, *more, "--json")
        assert code == 0
        assert json.loads(printed)["latents"] == len(np.load(out)["latents"]) == 150
        assert np.load(out)["probability"].min() >= least
    assert run(capsys, "sample", conditional_run, "--out", out, "-n", 9, "--best", 0.5, "--balanced")[0] == 0


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
        (["sample", "{run}", "--out", "{tmp}/x.png", "--class", "zero"], "holds none; leave it out"),
        (["sample", "{classes}", "--out", "{tmp}/x.png", "--class", "three"], "--class must be one of zero, One, two"),
        (["report", "{classes}", "--out", "{tmp}/r", "--class", "3"], "(or 0 to 2), got '3'"),
        (["sample", "{tmp}/nothing", "--out", "{tmp}/x.png"], "no checkpoint at"),
        (["sample", "{tmp}", "--out", "{tmp}/x.png"], "manifest.json"),
        (["sample", "{run}", "--out", "{tmp}/file/x.png"], "is a file, not a folder"),
        (["sample", "{run}", "--out", "{tmp}/x.png", "-n", "0"], "at least 1"),
        (["sample", "{run}", "--out", "{tmp}/x.png", "--seed", "-1"], "2**64"),
        (["sample", "{run}", "--out", "{tmp}/x.png", "--truncation", "0"], "--truncation"),
        (["sample", "{run}", "--out", "{tmp}/x.png", "--batch-size", "0"], "--batch-size"),
        (["sample", "{run}", "--out", "{tmp}/x.png", "--threads", "0"], "--threads"),
        (["sample", "{run}", "--out", "{tmp}/x.png", "--threads", "100000"], "--threads must be at most"),
        (["sample", "{run}", "--out", "{tmp}/x.npz", "-n", "1000000000000"], "GB of memory"),
        (["sample", "{run}", "--out", "{tmp}/x.png", "-n", "100000"], "ask for at most 41,082 images, or write"),
        (["sample", "{run}", "--out", "{tmp}/x.png", "--best", "1e-9", "-n", "1"], "means to score 2,000,000,"),
        (["sample", "{run}", "--out", "{tmp}/x.png", "--best", "5e-324", "-n", "1"], "means to score inf"),
        (["quality", "{run}", "--out", "{tmp}/x.npz", "-n", "1000000000000"], "-n must be at most 10,000,000"),
        (["project", "{run}", "--out", "{tmp}/x.npz", "-n", "1000000000000"], "GB of memory"),
        (["sample", "{run}", "--out", "{tmp}/x.png", "--truncation", "1", "--best", "0.5"], "one of them"),
        (["sample", "{run}", "--out", "{tmp}/x.png", "--best", "1.5"], "at most 1"),
        (
            ["interpolate", "{run}", "--out", "{tmp}/x.png", "--steps", "0"],
            "--steps must be a whole number of at least 1",
        ),
        (["interpolate", "{run}", "--out", "{tmp}/x.npz", "--steps", "100000000000"], "--steps asks for"),
        (["interpolate", "{run}", "--out", "{tmp}/x.gif", "--steps", "100000000000"], "--steps must be at most"),
        (["interpolate", "{run}", "--out", "{tmp}/x.png", "--between", "0", "9" * 30], "--between takes"),
        (["interpolate", "{run}", "--out", "{tmp}/x.png", "--between", "-1", "2"], "--between"),
        (["edit", "{run}", "--out", "{tmp}/x.png", "--attribute", "charm"], "brightness"),
        (["edit", "{run}", "--out", "{tmp}/x.png", "--attribute", "slant", "--strength", "nan"], "--strength"),
        (["edit", "{run}", "--out", "{tmp}/x.png", "--attribute", "slant", "--strength", "-1"], "--strength"),
        (["edit", "{run}", "--out", "{tmp}/x.png", "--attribute", "slant", "--strength", "1e30"], "--strength"),
        (["edit", "{run}", "--out", "{tmp}/x.png", "--attribute", "slant", "--steps", "1"], "--steps"),
        (["edit", "{run}", "--out", "{tmp}/x.png", "--attribute", "slant", "-n", "9" * 20], "-n times --steps"),
        (["project", "{run}", "--out", "{tmp}/x.png", "-n", "0"], "-n must be"),
        (["sample", "{run}", "--out", "{tmp}/x.png", "--balanced"], "needs --best FRACTION"),
        (["quality", "{run}", "--out", "{tmp}/x.npz", "--balanced"], "needs --best FRACTION"),
        (["tide", "{run}", "--out", "{tmp}/x.png"], "--out must end in .gif"),
        (["tide", "{run}", "--out", "{tmp}/x.gif", "--frames", "1"], "--frames must be a whole number of at least 2"),
        (["tide", "{run}", "--out", "{tmp}/x.gif", "-n", "1000000"], "-n must be at most 100,000"),
        (["tide", "{run}", "--out", "{tmp}/x.gif", "--fps", "90"], "--fps"),
        (["route", "{run}", "3", "3", "--out", "{tmp}/x.gif"], "A and B are both 3"),
        (["route", "{run}", "3", "-4", "--out", "{tmp}/x.gif"], "-4"),
        (["route", "{run}", "3", "4", "--out", "{tmp}/x.gif", "--steps", "1"], "--steps must be a whole number"),
        (["route", "{run}", "3", "--out", "{tmp}/x.gif"], "B"),
        (["animate", "{run}", "--out", "{tmp}/x.gif", "--keys", "2"], "--keys must be a whole number of at least 3"),
        (["animate", "{run}", "--out", "{tmp}/x.gif", "--keys", "100000"], "--keys"),
        (["animate", "{run}", "--out", "{tmp}/x.gif", "--grid", "999x999"], "--grid 999x999 makes frames of"),
        (["animate", "{points}", "--out", "{tmp}/x.gif", "--grid", "2x2"], "--grid shows images"),
        (["animate", "{run}", "--out", "{tmp}/x.gif", "--best", "0.01", "--frames", "0"], "--frames"),
        (["animate", "{run}", "--out", "{tmp}/x.gif", "--best", "0.01", "--fps", "100"], "--fps"),
        (["animate", "{run}", "--out", "{tmp}/x.gif", "--frames", "10000000000"], "--frames must be at most"),
        (["animate", "{run}", "--out", "{tmp}/x.gif", "--grid", "0x2"], "--grid takes columns x rows"),
        (["animate", "{run}", "--out", "{tmp}/x.gif", "--fps", "0"], "--fps"),
        (["animate", "{run}", "--out", "{tmp}/x.gif", "--frames", "0"], "at least 1"),
        (["report", "{run}", "--out", "{tmp}/file"], "a file has that name"),
        (["report", "{run}", "--out", "{tmp}"], "holds other files"),
        (["report", "{run}", "--out", "{tmp}/r", "-n", "3"], "-n must be a whole number of at least 500"),
        (["report", "{run}", "--out", "{tmp}/r", "-n", "1000000000000"], "GB of memory"),
        ([], "VERB"),
        (["dance"], "dance"),
        (["sample"], "CHECKPOINT"),
        (["sample", "{run}", "--out", "{tmp}/x.png", "-n", "many"], "-n"),
        (["sample", "{run}", "--out", "{tmp}/x.png", "--trunc", "1"], "--trunc"),
    ],
)
def test_a_users_mistake_is_one_line_and_code_2(
    argv, says, image_run, point_run, conditional_run, tmp_path, capsys, monkeypatch
):
    def work(*_args, **_options):
        raise AssertionError("a mistake was found only after work had begun")

    for name in (
        "latentkit.verbs.output.generate",
        "latentkit.verbs.walks.film_of",
        "latentkit.drawn.quality_map",
        "latentkit.priors.Normal.sample",
        "latentkit.reports.build.make_study",
    ):
        monkeypatch.setattr(name, work)
    (tmp_path / "file").write_text("mine")
    before = sorted(p.name for p in tmp_path.iterdir())
    places = {"run": image_run, "points": point_run, "classes": conditional_run, "tmp": tmp_path}
    code, printed, err = run(capsys, *(a.format(**places) for a in argv))
    assert code == 2
    assert printed == ""
    assert err.startswith("latentkit: ")
    assert err.count("\n") == 1
    assert says in err
    assert sorted(p.name for p in tmp_path.iterdir()) == before
    assert (tmp_path / "file").read_text() == "mine"


@pytest.mark.parametrize("argv", [["--help"], ["--version"], ["sample", "--help"]])
def test_help_and_version_return_0(argv, capsys):
    assert main(argv) == 0
    assert "latentkit" in capsys.readouterr().out


def test_an_interrupt_exits_with_130(image_run, tmp_path, capsys, monkeypatch):
    def stop(*_args, **_options):
        raise KeyboardInterrupt

    monkeypatch.setattr("latentkit.verbs.output.generate", stop)
    code, _, err = run(capsys, "sample", image_run, "--out", tmp_path / "x.png")
    assert code == 130
    assert "interrupted" in err
    assert list(tmp_path.iterdir()) == []


def test_a_request_to_end_is_an_interrupt_with_143(image_run, tmp_path, capsys, monkeypatch):
    def asked(*_args, **_options):
        (tmp_path / "seen").touch()
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(10)

    monkeypatch.setattr("latentkit.files.os.fsync", asked)
    before = signal.getsignal(signal.SIGTERM)
    code, _, err = run(capsys, "sample", image_run, "--out", tmp_path / "x.png", "-n", 4)
    assert code == 143
    assert err == "latentkit: terminated; nothing half-written was left\n"
    assert [p.name for p in tmp_path.iterdir()] == ["seen"]
    assert signal.getsignal(signal.SIGTERM) is before


def test_requests_that_were_ignored_stay_ignored(image_run, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(
        "latentkit.verbs.output.generate", lambda *_a, **_o: os.kill(os.getpid(), signal.SIGHUP) or 1 / 0
    )
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with pytest.raises(ZeroDivisionError):
            main(["sample", str(image_run), "--out", str(tmp_path / "x.png")])
    finally:
        signal.signal(signal.SIGHUP, before)


def test_a_command_runs_in_any_thread(image_run, tmp_path):
    codes = []
    argv = ["sample", str(image_run), "--out", str(tmp_path / "x.png"), "-n", "1"]
    thread = threading.Thread(target=lambda: codes.append(main(argv)))
    thread.start()
    thread.join()
    assert codes == [0]


@pytest.mark.parametrize(
    ("shortage", "says"),
    [
        (lambda: torch.empty(2**50), "for 4503599627370496 bytes more"),
        (lambda: np.empty(2**50), "for 8.00 PiB more"),
        (lambda: (_ for _ in ()).throw(MemoryError()), "memory; ask"),
    ],
    ids=["torch", "numpy", "python"],
)
def test_too_little_memory_is_one_line(image_run, tmp_path, capsys, monkeypatch, shortage, says):
    monkeypatch.setattr(output, "generate", lambda *_a, **_o: next(iter(shortage())))
    code, _, err = run(capsys, "sample", image_run, "--out", tmp_path / "x.png")
    assert code == 2
    assert err.startswith("latentkit: there is not enough memory")
    assert says in err
    assert err.count("\n") == 1


def test_a_broken_tool_shows_its_traceback(image_run, tmp_path, monkeypatch):
    def bug(*_args, **_options):
        raise RuntimeError("a bug, not a user's mistake")

    monkeypatch.setattr("latentkit.verbs.output.generate", bug)
    with pytest.raises(RuntimeError, match="a bug"):
        main(["sample", str(image_run), "--out", str(tmp_path / "x.png")])


def test_an_uninformative_critic_refuses_a_map(image_run, tmp_path, capsys):
    code, _, err = run(capsys, "quality", image_run, "--out", tmp_path / "q.npz", "-n", 100)
    assert code == 2
    assert "no quality map was made" in err
    assert "give --allow-uninformative to see" in err
    code, _, err = run(capsys, "sample", image_run, "--out", tmp_path / "q.npz", "-n", 1, "--best", 0.5)
    assert code == 2
    assert "leave out --best" in err
    assert "allow" not in err
    assert list(tmp_path.iterdir()) == []


def test_help_teaches_without_torch():
    code = (
        "import sys\nfrom latentkit.cli import main\n"
        "assert main(['--help']) == 0\n"
        "assert 'torch' not in sys.modules and 'numpy' not in sys.modules"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    for verb in (*VERBS, "info", "report", "route", "tide"):
        assert verb in done.stdout


@pytest.mark.parametrize("own", [None, "ACTIVE"])
def test_waiting_threads_sleep_unless_the_user_says_otherwise(own, point_run):
    code = (
        "import os, sys\nfrom latentkit.cli import main\n"
        "assert main(['info', sys.argv[1]]) == 0\nprint(os.environ['OMP_WAIT_POLICY'])"
    )
    place = {name: value for name, value in os.environ.items() if name != "OMP_WAIT_POLICY"}
    place |= {} if own is None else {"OMP_WAIT_POLICY": own}
    command = [sys.executable, "-c", code, str(point_run)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=place)
    assert done.stdout.splitlines()[-1] == (own or "PASSIVE")


def test_the_same_call_gives_the_same_bytes(image_run, tmp_path, capsys):
    torch.set_num_threads(1)
    for name in ("a.png", "b.png"):
        assert run(capsys, "sample", image_run, "--out", tmp_path / name, "-n", 4)[0] == 0
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()


def test_a_warning_is_one_line_too(image_run, tmp_path, capsys, monkeypatch):
    real = output.generate

    def generate(*arguments, **options):
        warnings.warn("two images\nwere skipped", UserWarning, stacklevel=2)
        return real(*arguments, **options)

    monkeypatch.setattr(output, "generate", generate)
    with warnings.catch_warnings():
        warnings.simplefilter("default")
        code, _, err = run(capsys, "sample", image_run, "--out", tmp_path / "x.png", "--json")
    assert code == 0
    assert err == "latentkit: warning: two images were skipped\n"


@pytest.mark.parametrize("verb", MORE)
def test_the_example_in_a_verbs_help_is_one_that_works(verb, capsys):
    assert parser().parse_args(MORE[verb][1].split()).verb == verb
    assert main([verb, "--help"]) == 0
    assert f"latentkit {MORE[verb][1]}" in capsys.readouterr().out
