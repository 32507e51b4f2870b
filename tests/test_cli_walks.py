"""The verbs that walk, edit and invert: what they write is what the functions of Python give."""

import json

import numpy as np
import pytest
import torch
from PIL import Image

import latentkit as lk
from latentkit.cli import main
from latentkit.encoders.gif import gif_info
from latentkit.options import CURVES
from latentkit.render import to_rgb


@pytest.fixture
def command(capsys, tmp_path):
    """Run the command in a fresh folder: `command("edit", folder, ...)` -> exit code, printed JSON, errors."""

    def run(*argv):
        code = main([*map(str, argv), "--json"])
        out, err = capsys.readouterr()
        return code, json.loads(out) if out else {}, err

    return run


LATENTS = lk.Normal(8).sample(8, seed=0)

KEYS = {
    "interpolate": (0, 1, 2),
    "slerp": (0, 1),
    "lerp": (0, 1),
    "spline": (0, 1, 2, 3),
    "loop": (0, 1, 2),
    "closed-spline": (0, 1, 2),
    "geodesic": (0, 1),
    "circle": (0, 1),
    "orbit": (0,),
    "random": (),
}


@pytest.mark.parametrize("kind", [kind for kind in CURVES if kind != "route"])
def test_each_curve_goes_through_its_keys(kind, image_run, tmp_path, command):
    numbers, out = KEYS[kind], tmp_path / "way.npz"
    between = ["--between", *numbers] if numbers else []
    code, said, err = command("interpolate", image_run, "--out", out, "--curve", kind, "--steps", 13, *between)
    assert (code, err) == (0, "")
    stored = np.load(out)["latents"]
    assert len(stored) == 13
    if kind not in ("orbit", "random"):
        assert np.array_equal(stored[0], LATENTS[numbers[0]].numpy())
    if kind in ("interpolate", "slerp", "lerp", "spline", "geodesic"):
        assert np.array_equal(stored[-1], LATENTS[numbers[-1]].numpy()), "an open curve reaches its end"
    else:
        assert said["seam"]
        assert not np.allclose(stored[-1], stored[0]), "a closed one stops a step before its start"
    if kind == "orbit":
        apart = np.linalg.norm(stored - LATENTS[0].numpy(), axis=1)
        assert np.allclose(apart, apart[0], rtol=1e-4)
        assert apart[0] > 0.1


def test_a_curve_is_the_one_of_python(image_run, tmp_path, command):
    out = tmp_path / "way.npz"
    assert (
        command("interpolate", image_run, "--out", out, "--curve", "spline", "--between", 4, 2, 7, "--steps", 9)[0] == 0
    )
    wanted = lk.spline(LATENTS[[4, 2, 7]], prior=lk.Normal(8)).steps(9)
    assert np.array_equal(np.load(out)["latents"], wanted.numpy())


def test_easing_slows_down_at_the_ends_and_keeps_them(image_run, tmp_path, command):
    found = {}
    for ease in ("none", "smooth"):
        out = tmp_path / f"{ease}.npz"
        assert command("interpolate", image_run, "--out", out, "--curve", "lerp", "--ease", ease, "--steps", 21)[0] == 0
        found[ease] = np.load(out)["latents"]
    steps = {ease: np.linalg.norm(np.diff(z, axis=0), axis=1) for ease, z in found.items()}
    assert np.array_equal(found["none"][[0, -1]], found["smooth"][[0, -1]])
    assert steps["smooth"][0] < 0.3 * steps["none"][0]
    assert steps["smooth"][10] > 1.3 * steps["none"][10]


def test_constant_speed_is_told_before_and_after(image_run, tmp_path, command):
    code, said, _ = command("interpolate", image_run, "--out", tmp_path / "x.npz", "--constant-speed")
    assert code == 0
    assert said["speed_variation_after"] < 0.5 * said["speed_variation_before"]


def test_a_grid_lies_between_its_corners(image_run, tmp_path, command):
    out = tmp_path / "grid.npz"
    assert command("interpolate", image_run, "--out", out, "--grid", "5x3", "--between", 0, 1, 2, 3)[0] == 0
    stored = np.load(out)["latents"].reshape(3, 5, 8)
    corners = stored[[0, 0, -1, -1], [0, -1, 0, -1]]
    assert {tuple(row) for row in corners} == {tuple(row) for row in LATENTS[:4].numpy()}
    sheet = tmp_path / "triangle.png"
    assert command("interpolate", image_run, "--out", sheet, "--grid", "4x4", "--between", 0, 1, 2)[0] == 0
    with Image.open(sheet) as image:
        assert image.width == image.height


def test_a_bake_off_has_a_row_for_each_curve(image_run, tmp_path, command):
    """The critic of this checkpoint says nothing, so the comparison does without it, and says so."""
    for suffix in (".png", ".gif"):
        out = tmp_path / f"all{suffix}"
        code, said, _ = command("interpolate", image_run, "--out", out, "--compare", "--steps", 4)
        assert code == 0
        assert out.stat().st_size > 0
    assert set(said["curves"]) == {"lerp", "slerp", "prior-matched", "geodesic"}
    assert "no route" in said["verdict"]
    assert gif_info(tmp_path / "all.gif").frames >= 2


def test_classes_are_walked_through_in_order(conditional_run, conditional_checkpoint, tmp_path, command):
    out = tmp_path / "classes.npz"
    code, said, _ = command(
        "interpolate", conditional_run, "--out", out, "--classes", "zero", "TWO & MORE", "--steps", 5
    )
    assert code == 0
    assert said["classes"] == ["zero", "two & more"]
    stored, generator = np.load(out), conditional_checkpoint.generator
    assert np.allclose(stored["latents"][:, 8:], [[1 - t, 0, t] for t in (0, 0.25, 0.5, 0.75, 1)], atol=1e-6)
    for row, k in ((0, 0), (-1, 2)):
        wanted = lk.generate(lk.condition(generator, k), torch.from_numpy(stored["latents"][[row], :8]))
        assert np.allclose(stored["samples"][[row]], wanted.numpy(), atol=1e-6)


def test_an_edit_moves_its_latents_along_one_line(image_run, tmp_path, command):
    for argv in (["--attribute", "brightness"], ["--direction", "sefa:2"], ["--direction", "jacobian"]):
        out = tmp_path / "edit.npz"
        code, said, _ = command("edit", image_run, "--out", out, *argv, "--of", 5, 3, "--strength", 2, "--steps", 5)
        assert code == 0
        latents = np.load(out)["latents"].reshape(2, 5, 8)
        assert np.array_equal(latents[:, 2], LATENTS[[5, 3]].numpy()), "the middle is the latent itself"
        steps = np.diff(latents, axis=1).reshape(-1, 8)
        assert np.allclose(steps, steps[0], atol=1e-5)
        assert np.isclose(np.linalg.norm(steps[0]), 1.0, atol=1e-5)
        assert said["strengths"] == [-2, -1, 0, 1, 2]


def test_an_edit_against_another_attribute_is_orthogonal_to_it(image_run, tmp_path, command):
    moves = {}
    for name, argv in {
        "brightness": ["--attribute", "brightness"],
        "contrast": ["--attribute", "contrast"],
        "both": ["--attribute", "brightness", "--against", "contrast"],
    }.items():
        out = tmp_path / f"{name}.npz"
        assert command("edit", image_run, "--out", out, *argv, "-n", 1, "--strength", 1, "--steps", 3)[0] == 0
        latents = np.load(out)["latents"]
        moves[name] = latents[2] - latents[1]
    assert abs(moves["both"] @ moves["contrast"]) < 1e-5
    assert moves["both"] @ moves["brightness"] > 0


def test_an_audit_says_what_else_changes(image_run, tmp_path, command):
    argv = ["--attribute", "brightness", "--audit", "--method", "svm"]
    code, said, _ = command("edit", image_run, "--out", tmp_path / "x.png", *argv, "-n", 1)
    assert code == 0
    assert "a step" in said["audit"]["brightness"]
    assert said["audit"]["verdict"].startswith("raises brightness")
    assert 0.5 < said["audit"]["bootstrap_cosine"] <= 1
    assert said["held_out_auc"] > 0.5


def test_a_layer_is_edited_and_the_latents_stay(image_run, image_checkpoint, tmp_path, command):
    out = tmp_path / "layer.npz"
    code, _, _ = command("edit", image_run, "--out", out, "--direction", "layer:start:1", "-n", 2, "--steps", 3)
    assert code == 0
    stored = np.load(out)
    latents, samples = stored["latents"].reshape(2, 3, 8), stored["samples"].reshape(2, 3, 1, 32, 32)
    assert (latents == LATENTS[:2, None].numpy()).all()
    assert np.allclose(samples[:, 1], lk.generate(image_checkpoint.generator, LATENTS[:2]).numpy(), atol=1e-6)
    assert not np.allclose(samples[:, 0], samples[:, 2], atol=1e-4)


def test_sweeps_are_filmed(image_run, tmp_path, command):
    out = tmp_path / "sweep.gif"
    assert command("edit", image_run, "--out", out, "--attribute", "brightness", "--steps", 5, "-n", 2)[0] == 0
    assert gif_info(out).frames >= 2


def test_a_formula_is_drawn_as_it_is_and_on_the_prior(image_run, tmp_path, command):
    out = tmp_path / "sum.npz"
    code, said, _ = command("edit", image_run, "--out", out, "--formula", "z3 - z5 + z0")
    assert code == 0
    terms = LATENTS[[3, 5, 0]]
    wanted = torch.cat([terms, (terms[0] - terms[1] + terms[2])[None], lk.analogy(*terms)[None]])
    assert np.allclose(np.load(out)["latents"], wanted.numpy(), atol=1e-6)
    assert said["shown"] == ["z3", "z5", "z0", "the sum as it is", "the sum on the prior"]
    assert said["typicality_on_the_prior"] > said["typicality_as_it_is"]


def test_a_vicinity_begins_with_its_latent(image_run, tmp_path, command):
    out = tmp_path / "near.npz"
    assert command("edit", image_run, "--out", out, "--vicinity", 0.2, "-n", 2, "--steps", 4)[0] == 0
    latents = np.load(out)["latents"].reshape(2, 4, 8)
    assert np.array_equal(latents[:, 0], LATENTS[:2].numpy())
    assert (np.linalg.norm(latents[:, 1:] - latents[:, :1], axis=2) < 1.5).all()


@pytest.mark.parametrize("suffix", [".gif", ".webp", ".avif", ".apng"])
def test_a_film_says_how_it_was_made_and_is_made_again(suffix, image_run, tmp_path, command):
    film, again = tmp_path / f"walk{suffix}", tmp_path / f"again{suffix}"
    assert command("interpolate", image_run, "--out", film, "--steps", 12)[0] == 0
    code, said, err = command("replay", film, "--checkpoint", image_run, "--out", again)
    assert (code, err) == (0, "")
    assert (said["same"], said["intact"], said["frames"]) == (True, True, 12)
    assert said["about"]["operations"] == ["interpolate"]
    assert (said["about"]["options"]["steps"], said["about"]["options"]["seed"]) == (12, 0)
    assert command("replay", again, "--checkpoint", image_run)[1]["same"]
    film.write_bytes(film.read_bytes()[:-40] + bytes(40))
    code, said, err = command("replay", film, "--checkpoint", image_run)
    assert code == 2 or not said["intact"]
    code, _, err = command("replay", image_run / "manifest.json")
    assert code == 2
    assert err.count("\n") == 1


def test_what_is_projected_is_said(conditional_run, tmp_path, command):
    found = {}
    for of in ("features", "samples", "latents"):
        out = tmp_path / f"{of}.npz"
        argv = ["--of", of, "--method", "pca", "-n", 120]
        code, said, _ = command("project", conditional_run, "--out", out, *argv)
        assert code == 0
        found[of] = said["of"]
        assert len(lk.load_projection(out)) == 120
    assert "critic" in found["features"]
    assert len(set(found.values())) == 3
    code, _, err = command("project", conditional_run, "--out", tmp_path / "x.png", "--supervised", "--class", "zero")
    assert code == 2
    assert "needs the classes" in err


INVERT = ["--steps", 20, "--pool", 50, "--starts", 2]


def test_samples_are_inverted_from_files_and_from_the_held_out_ones(image_run, image_checkpoint, tmp_path, command):
    z = lk.Normal(8).sample(2, seed=3)
    made = to_rgb(lk.generate(image_checkpoint.generator, z))
    files = [tmp_path / f"{k}.png" for k in range(2)]
    for file, picture in zip(files, made, strict=True):
        Image.fromarray(picture).save(file)
    out = tmp_path / "found.npz"
    code, said, err = command("invert", image_run, "--files", *files, "--out", out, "--steps", 60)
    assert (code, err) == (0, "")
    assert said["samples"] == ["0.png", "1.png"]
    assert min(said["explained"]) > 0.9
    assert np.load(out)["samples"].shape == (2, 1, 32, 32)
    for argv in (["--held-out", 3, 1], ["-n", 2, "--search", "evolution"], ["-n", 2, "--loss", "pyramid"]):
        code, said, _ = command("invert", image_run, "--out", tmp_path / "x.png", *argv, *INVERT)
        assert code == 0
        assert len(said["error"]) == 2


def test_held_out_samples_can_be_walked_edited_and_added(image_run, tmp_path, command):
    for verb, argv in (
        ("interpolate", ["--between", 3, 5, "--steps", 3]),
        ("edit", ["--attribute", "slant", "--of", 3, "--steps", 3]),
        ("edit", ["--formula", "z3 - z5 + z8"]),
    ):
        code, said, _ = command(verb, image_run, "--out", tmp_path / "x.npz", "--held-out", *argv)
        assert code == 0
        assert said["held_out"][0] == 3
        assert len(said["explained"]) == len(said["held_out"])


@pytest.mark.parametrize(
    ("argv", "says"),
    [
        (
            ["interpolate", "{run}", "--curve", "lerp", "--between", "0", "1", "2"],
            "lerp takes 2 latents, got 3",
        ),
        (["interpolate", "{run}", "--curve", "loop", "--between", "0", "1"], "takes 3 to 10,000 latents, got 2"),
        (["interpolate", "{run}", "--curve", "random", "--between", "0"], "--curve random takes 0 latents, got 1"),
        (["interpolate", "{run}", "--radius", "1"], "--radius is that of an orbit"),
        (["interpolate", "{run}", "--detail", "5"], "--detail is that of a random loop"),
        (["interpolate", "{run}", "--compare", "--grid", "3x3"], "two different things to draw"),
        (["interpolate", "{run}", "--grid", "3x1"], "at least 2 columns and 2 rows"),
        (["interpolate", "{run}", "--grid", "3x4", "--between", "0", "1", "2"], "a triangle, as wide as high"),
        (["interpolate", "{run}", "--held-out", "--between", "0", "999"], "held-out samples from 0 to 199, got 999"),
        (["interpolate", "{run}", "--classes", "a", "b"], "has none"),
        (["interpolate", "{classes}", "--classes", "zero", "nine"], "--classes must be one of zero, One"),
        (["interpolate", "{classes}", "--class", "zero", "--classes", "zero", "One"], "give one of them"),
        (["interpolate", "{run}", "--fps", "0"], "--fps"),
        (["edit", "{run}"], "one of the arguments --attribute --direction --formula --vicinity is required"),
        (["edit", "{run}", "--attribute", "slant", "--formula", "z1"], "not allowed with"),
        (["edit", "{run}", "--direction", "sofa:1"], "sefa:1"),
        (["edit", "{run}", "--direction", "layer:nowhere:1"], "one of start"),
        (["edit", "{run}", "--direction", "layer:start:1", "--audit"], "--audit is for directions of latents"),
        (["edit", "{run}", "--attribute", "slant", "--against", "slant"], "each must be another"),
        (["edit", "{run}", "--attribute", "slant", "--against", "charm"], "--against must be one of brightness"),
        (["edit", "{run}", "--attribute", "slant", "--extreme", "0.9"], "--extreme"),
        (["edit", "{run}", "--formula", "z1", "--audit"], "--audit belongs to"),
        (["edit", "{run}", "--direction", "sefa:1", "--method", "svm"], "--method says how"),
        (["edit", "{run}", "--formula", "z1 * z2"], "multiply by a number"),
        (["edit", "{run}", "--formula", "3 + 4"], "names latents by number"),
        (["edit", "{run}", "--formula", "z1 - z1"], "cancel out"),
        (["edit", "{run}", "--vicinity", "-1"], "--vicinity"),
        (["edit", "{run}", "--attribute", "slant", "--of", "-3"], "--of takes numbers"),
        (["invert", "{run}", "--files", "{tmp}/none.png"], "none.png cannot be read as an image"),
        (["invert", "{run}", "--files", "{tmp}/none.png", "--held-out", "3"], "not both"),
        (["invert", "{run}", "--held-out", "200"], "from 0 to 199, got 200"),
        (["invert", "{run}", "--starts", "0"], "--starts"),
        (["invert", "{run}", "--starts", "90", "--pool", "50"], "--starts"),
        (["invert", "{run}", "--pool", "1"], "--pool"),
        (["invert", "{run}", "--search", "evolution", "--encoder", "fit"], "needs gradients"),
    ],
)
def test_a_mistake_is_one_line_that_says_what_to_do(argv, says, image_run, conditional_run, tmp_path, command):
    places = {"run": image_run, "classes": conditional_run, "tmp": tmp_path}
    code, said, err = command(*(a.format(**places) for a in argv), "--out", tmp_path / "x.png")
    assert (code, said) == (2, {})
    assert says in err
    assert err.count("\n") == 1
    assert list(tmp_path.iterdir()) == []
