"""The 26 known cases of tools of this kind, each as its smallest try, with its right value.

What is tried at length, over all formats, families or sizes, is tried where that is tested; here is each fault itself.
"""

import io
import json
import math
import os
import pickle
import subprocess
import sys
import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file
from test_files import small_disk
from test_report import Page
from torch import nn
from torch.utils.data import DataLoader
from writers import MORE_WRITERS, WRITERS, brief_report, content

import latentkit as lk
from latentkit.adapters.torch_modules import load_module
from latentkit.encoders.gif import gif_info
from latentkit.errors import (
    ArgumentError,
    CheckpointError,
    CurveError,
    DataError,
    LabelError,
    NonFiniteError,
    OutputError,
)
from latentkit.nets import MLPCritic, MLPGenerator
from latentkit.nets.fitting import initialised
from latentkit.render import samples_sheet
from latentkit.texts import readable
from trainers import Data, GANConfig, digits, image_folder, ring, train_gan
from trainers.data import DATA
from trainers.health import PATIENCE, Health

pytestmark = [
    pytest.mark.promise("cases"),
    # Of runs of a few steps that is true.
    pytest.mark.filterwarnings("ignore:the samples are nearly identical"),
    pytest.mark.filterwarnings("ignore:the critic tells every sample"),
]

T = torch.linspace(0, 1, 11, dtype=torch.float64)
HERE = Path(__file__).parent
ROOT = HERE.parent
FAST = GANConfig(steps=3, batch_size=8, latent_dim=2, width=4, holdout=1, check_every=1, seed=0)


def mlp(dim=3, depth=2, seed=0, **about):
    """A checkpoint of untrained networks of points of the plane."""
    generator = initialised(lambda: MLPGenerator(dim, 2, 8, depth), seed).eval().requires_grad_(False)
    critic = initialised(lambda: MLPCritic(2, 8, depth), seed).eval().requires_grad_(False)
    return lk.Checkpoint(lk.wrap(generator, lk.Normal(dim)), critic, ring(120).samples, **about)


def process(script, *words, first="", **environment):
    """Run a script in a process of its own and return what it prints, read as JSON."""
    set_ = {name: value for name, value in environment.items() if value is not None}
    unset = {name for name, value in environment.items() if value is None}
    own = {key: value for key, value in os.environ.items() if key not in unset}
    path = os.pathsep.join(filter(None, map(str, (first, ROOT, HERE, os.environ.get("PYTHONPATH")))))
    done = subprocess.run(
        [sys.executable, "-c", script, *map(str, words)],
        env={**own, "PYTHONPATH": path, **set_},
        capture_output=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr.decode("utf-8", "replace")
    return json.loads(done.stdout.splitlines()[-1])


# ---- 1 to 8: curves, films, maps


def test_01_parallel_and_independent_pairs_in_one_batch():
    """A branch for near-parallel pairs ran backwards, and one mean dot product decided for the whole batch."""
    a, b = (lk.Normal(512).sample(4, seed=seed).double() for seed in (0, 1))
    b[:3] = a[:3]
    for join in (lk.slerp, lk.interpolate):
        there, back = join(a, b)(T), join(b, a)(1.0 - T)
        torch.testing.assert_close(there, back)
        torch.testing.assert_close(there, torch.stack([join(*pair)(T) for pair in zip(a, b, strict=True)], dim=1))
        torch.testing.assert_close(there[:, :3], a[:3].expand(11, 3, 512))
    for size in range(1, 12):
        near = a[3] + 10.0**-size * b[3]
        early = lk.slerp(a[3], near)(0.1)[0]
        assert (early - a[3]).norm() < (early - near).norm()


def test_02_opposite_and_zero_ends():
    """NaN, a way through the origin, or an end that was not reached."""
    for dim in (2, 512):
        z = lk.Normal(dim).sample(1, seed=0)[0].double()
        zero = torch.zeros_like(z)
        for end in (-z, -z * (1.0 + 1e-6)):
            for join in (lk.slerp, lk.interpolate):
                with pytest.raises(CurveError, match="opposite"):
                    join(z, end)
        for a, b in ((zero, z), (z, zero)):
            with pytest.raises(CurveError, match="a zero latent has no direction"):
                lk.slerp(a, b)
            way = lk.interpolate(a, b)(T)
            assert way.isfinite().all()
            assert way[0].equal(a)
            assert way[-1].equal(b)
        side = lk.Normal(dim).sample(2, seed=0)[1].double()
        assert lk.tour(torch.stack([z, side, -z]))(T).norm(dim=1).min() > 0.1, "the way out that the error names"


def test_03_the_frames_of_open_and_closed_curves():
    """Segment ends counted twice or not at all; loops that lack their last segment or double a frame."""
    keys = lk.Normal(8).sample(3, seed=0).double()
    for make, closed in (
        (lk.tour, False),
        (lk.loop, True),
        (lk.spline, False),
        (lambda k: lk.spline(k, closed=True), True),
    ):
        frames = make(keys).steps_per_segment(10)
        assert len(frames) == (30 if closed else 21)
        assert len(frames.unique(dim=0)) == len(frames)
        assert frames[::10].equal(keys)
        assert len(make(keys).steps_per_segment(1)) == (3 if closed else 2 + 1)
        with pytest.raises(ArgumentError, match="at least 1"):
            make(keys).steps_per_segment(0)
        for few in (keys[:1], torch.stack([keys[0], keys[0]]), keys[[0, 0, 1]]):
            with pytest.raises(CurveError):
                make(few)
    steps = lk.orbit(keys[0], 0.5, seed=0).steps(30)
    sizes = (steps.roll(-1, 0) - steps).norm(dim=1)
    torch.testing.assert_close(sizes, sizes[:1].expand(30))
    assert len(lk.spline(keys[:2]).steps_per_segment(10)) == 11


def test_04_equal_frames_keep_their_time(tmp_path):
    """Equal neighbours are joined when a film is written: pauses and frame numbers disappeared."""
    a, b, c = (np.full((8, 8, 3), grey, np.uint8) for grey in (10, 100, 200))
    for frames, durations in (([a] * 16 + [b] + [c] * 16, (640, 40, 640)), ([a] * 8, (320,))):
        film = lk.from_frames(frames, fps=25)
        info = gif_info(film.save(tmp_path / "film.gif"))
        assert film.count == len(frames), "asked"
        assert info.durations == durations, "stored"
        assert info.milliseconds == 40 * len(frames) == round(1000 * film.seconds)
    flat = lk.wrap(lambda z: torch.zeros(len(z), 1, 4, 4), lk.Normal(4))
    film = lk.animate(flat, lk.lerp(torch.zeros(4), torch.ones(4)), frames=10, fps=25, hold=0.5)
    info = gif_info(film.save(tmp_path / "held.gif"))
    assert (film.count, info.frames, info.milliseconds) == (10, 1, 10 * 40 + 2 * 500)


def test_05_the_speed_of_a_film(tmp_path):
    """Seconds taken for milliseconds, and delays cut down to the 10 ms of a GIF's clock."""
    frames = np.random.default_rng(0).integers(0, 256, (12, 4, 4, 3), dtype=np.uint8)
    for fps in (1, 10, 24, 30, 50):
        info = gif_info(lk.from_frames(frames, fps=fps).save(tmp_path / "film.gif"))
        assert info.loop
        assert abs(info.milliseconds - 12_000 / fps) <= 10
        assert np.abs(np.cumsum(info.durations) - 1000 / fps * np.arange(1, 13)).max() <= 5
    for fps in (60, 100, 0, -1, math.nan):
        with pytest.raises(ArgumentError, match="fps must be"):
            lk.from_frames(frames, fps=fps)
    assert not gif_info(lk.from_frames(frames, fps=10, loop=False).save(tmp_path / "film.gif")).loop


def test_06_copies_of_rows_have_one_place():
    """A hundred copies of one latent landed on a hundred places, as if there were clusters."""
    rows = lk.Normal(8).sample(100, seed=0)
    flat = lk.wrap(lambda z: torch.zeros(len(z), 1, 4, 4), lk.Normal(8))
    for equal in (rows[:1].expand(200, -1), torch.zeros(200, 8), lk.generate(flat, rows)):
        plane = lk.project(equal)
        assert plane.distinct == 1
        assert len(plane.points.unique(dim=0)) == 1
        assert plane.shows_nothing
        assert "only 1 different rows" in plane.verdict
    seven = torch.arange(100) % 7
    plane = lk.project(rows[seven])
    assert plane.distinct == len(plane.points.unique(dim=0)) == 7
    assert plane.points.equal(plane.points[seven])
    constant = torch.cat([rows, torch.full((100, 1), 3.0)], 1)
    assert lk.project(constant, "pca").points.isfinite().all()
    assert lk.project(constant, "pca").distinct == 100


def test_07_numbers_that_are_none_or_huge():
    """A map made only of NaN; or a refusal that names no row."""
    rows = lk.Normal(8).sample(50, seed=0)
    for bad in (math.nan, math.inf):
        spoilt = rows.clone()
        spoilt[17, 3] = bad
        with pytest.raises(NonFiniteError, match=r"1 of 50 rows \(17\)"):
            lk.project(spoilt)
    plane = lk.project(rows, "pca")
    huge, zero = lk.project(1e30 * rows, "pca"), rows.clone()
    zero[0] = 0.0
    torch.testing.assert_close(huge.points, plane.points, rtol=1e-2, atol=1e-2)
    assert lk.project(1e30 * rows).points.isfinite().all()
    assert lk.project(zero, "pca").points.isfinite().all()
    with pytest.raises(NonFiniteError, match="50 of 50 rows"):
        samples_sheet(torch.full((50, 2), math.nan))


LAYOUT = """
import hashlib, json, sys
import torch
torch.set_num_threads(int(sys.argv[1]))
import latentkit as lk
plane = lk.project(lk.Normal(8).sample(500, seed=0), seed=7)
again = lk.project(lk.Normal(8).sample(500, seed=0), seed=7)
digest = hashlib.sha256(plane.points.numpy().tobytes()).hexdigest()
print(json.dumps([digest, again.points.equal(plane.points), plane.seed]))
"""


def test_08_a_seed_gives_one_map(point_checkpoint, tmp_path):
    """With a seed the map still changed with the number of threads, or from the first call to the second."""
    found = [process(LAYOUT, threads, OMP_NUM_THREADS=str(threads)) for threads in (1, 2)]
    assert found[0] == found[1]
    assert found[0][1:] == [True, 7]
    with brief_report():
        page = lk.report(replace(point_checkpoint, critic=None), tmp_path / "r", n=500, seed=7, progress=False)
    words = " ".join(Page(page.read_text("utf-8")).words)
    assert all(said in words for said in ("torch threads", "umap-learn", "numba", lk.__version__, "seed"))


# ---- 9 to 11: weights and checkpoints


class Inside(nn.Module):
    """A generator that has a part called `module`."""

    def __init__(self):
        super().__init__()
        self.module = nn.Linear(3, 2)

    def forward(self, z):
        return self.module(z)


def test_09_the_prefixes_of_wrappers(tmp_path):
    """Weights saved under a parallel or compiled wrapper had every key missing, or were quietly left random."""
    plain, inside = (initialised(make, 3).requires_grad_(False) for make in (lambda: nn.Linear(3, 2), Inside))
    z, file = lk.Normal(3).sample(4, seed=0), tmp_path / "weights.pt"
    for lead in ("", "module.", "_orig_mod.", "module._orig_mod.", "_orig_mod.module."):
        torch.save({lead + key: value for key, value in plain.state_dict().items()}, file)
        assert lk.generate(load_module(lambda: nn.Linear(3, 2), file, lk.Normal(3)), z).equal(plain(z))
    weight, bias = plain.state_dict().values()
    torch.save({"module.weight": weight, "bias": bias}, file)
    with pytest.raises(CheckpointError, match=r"nothing was loaded \(missing: weight; unexpected: module\.weight\)"):
        load_module(lambda: nn.Linear(3, 2), file, lk.Normal(3))
    for lead in ("", "module."):
        torch.save({lead + key: value for key, value in inside.state_dict().items()}, file)
        assert lk.generate(load_module(Inside, file, lk.Normal(3)), z).equal(inside(z))


def test_10_what_is_saved_can_be_read_back(tmp_path):
    """Settings with a NumPy scalar or a path saved without complaint and failed at the resume, days later."""
    import argparse
    from collections import defaultdict

    # Of the library's own settings numbers of any type become plain ones before the first step.
    config = replace(FAST, critic_lr=np.float64(1e-3), steps=np.int64(3), seed=np.uint64(5), ema=np.float32(0.5))
    checkpoint = train_gan(ring(60), config, out=tmp_path / "run", progress=False)
    assert lk.load(tmp_path / "run").settings == checkpoint.settings
    assert {type(checkpoint.settings[name]) for name in ("critic_lr", "steps", "seed", "ema")} == {int, float}
    # And what has no plain form is refused when it is saved, not when it is read.
    for value in (
        np.zeros(2),
        Path("x"),
        argparse.Namespace(a=1),
        {"deep": [np.int64(1)]},
        np.random.default_rng(0),
        {1, 2},
        math.nan,
    ):
        with pytest.raises(CheckpointError, match="plain, finite JSON values"):
            mlp(settings={"x": value}).save(tmp_path / "other")
    assert not (tmp_path / "other").exists()
    back = lk.load(mlp(settings={"x": np.float64(0.1), "y": defaultdict(int, a=1)}).save(tmp_path / "other"))
    assert back.settings == {"x": 0.1, "y": {"a": 1}}
    files = [file for file in tmp_path.rglob("*") if file.is_file()]
    assert {file.suffix for file in files} == {".json", ".safetensors"}, "and nothing that runs code is written"
    for file in files:
        assert load_file(file) if file.suffix == ".safetensors" else json.loads(file.read_text("utf-8"))


def test_11_weights_of_another_shape_or_role(tmp_path):
    """Keys missing or renamed between versions or depths, ignored, after which pictures are partly random."""
    shallow, deep, wide = mlp(depth=2).generator.module, mlp(depth=3).generator.module, mlp(dim=6).generator.module
    file = tmp_path / "weights.pt"
    z = lk.Normal(3).sample(2, seed=0)
    for found, make, said in (
        (shallow, lambda: MLPGenerator(3, 2, 8, 3), "missing: "),
        (deep, lambda: MLPGenerator(3, 2, 8, 2), "unexpected: "),
        (wide, lambda: MLPGenerator(3, 2, 8, 2), r"shape: .* instead of "),
        (mlp().critic, lambda: MLPGenerator(3, 2, 8, 2), r"shape: .* instead of "),
    ):
        torch.save(found.state_dict(), file)
        with pytest.raises(CheckpointError, match=f"nothing was loaded.*{said}"):
            load_module(make, file, lk.Normal(3))
    torch.save({key.replace("0", "9"): value for key, value in shallow.state_dict().items()}, file)
    with pytest.raises(CheckpointError, match=r"missing: .*unexpected: "):
        load_module(lambda: MLPGenerator(3, 2, 8, 2), file, lk.Normal(3))
    folder = mlp().save(tmp_path / "run")
    manifest = json.loads((folder / "manifest.json").read_bytes())
    assert (manifest["format"], manifest["latentkit"]) == (1, lk.__version__)
    for change, said in (({"format": 99}, "newer"), ({"format": None}, "manifest"), ({"files": {}}, "about")):
        (folder / "manifest.json").write_text(json.dumps({**manifest, **change}))
        with pytest.raises(CheckpointError, match=said):
            lk.load(folder)
    (folder / "manifest.json").write_text(json.dumps(manifest))
    assert lk.generate(lk.load(folder).generator, z).equal(shallow(z))


# ---- 12 to 16: pictures and data


NOISE = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)


def encoded(form, pixels=NOISE, **options):
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, form, **options)
    return file.getvalue()


def test_12_broken_images_are_named_before_training(tmp_path):
    """ "Image file is truncated" from a loader worker, hours later and without a file name."""
    jpeg, png = encoded("JPEG"), encoded("PNG")
    for k in range(20):
        (tmp_path / f"{k:02}.jpg").write_bytes(jpeg)
    broken = {
        "a.jpg": jpeg[:-1],
        "b.jpg": jpeg[: len(jpeg) // 2],
        "c.jpg": jpeg[:100],
        "d.png": png[:-100],
        "e.png": b"",
        "f.jpg": b"a text file",
    }
    for name, data in broken.items():
        (tmp_path / name).write_bytes(data)
        with pytest.warns(UserWarning, match=f"1 of 21 images .*{name}"):
            assert len(image_folder(tmp_path)) == 20
        (tmp_path / name).unlink()
    (tmp_path / "gif.png").write_bytes(encoded("GIF"))
    assert len(image_folder(tmp_path)) == 21, "what is called otherwise is what it is"
    for name, data in broken.items():
        (tmp_path / name).write_bytes(data)
    with pytest.raises(DataError, match=r"6 of 27 images .*a\.jpg.*b\.jpg.*c\.jpg"):
        image_folder(tmp_path)


def test_13_sixteen_bits_are_scaled_not_clipped(tmp_path):
    """A whole set turned white, because values above 255 were clipped, and training went on."""
    ramp = np.arange(65536, dtype=np.uint16).reshape(256, 256)
    Image.fromarray(ramp).save(tmp_path / "a.png")
    Image.frombytes("I;16B", (256, 256), ramp.astype(">u2").tobytes()).save(tmp_path / "b.tif")
    Image.fromarray((ramp >> 8).astype(np.uint8)).save(tmp_path / "c.png")
    deep, big, eight = image_folder(tmp_path, 256, grey=True).samples
    assert eight.numpy()[0].tolist() == (ramp >> 8).tolist()
    assert deep.equal(eight)
    assert big.equal(eight)
    (tmp_path / "float").mkdir()
    Image.fromarray(ramp.astype(np.float32)).save(tmp_path / "float" / "d.tif")
    with pytest.raises(DataError, match=r"d\.tif.*floating-point pixels have no stated range"):
        image_folder(tmp_path / "float")
    (tmp_path / "white").mkdir()
    Image.fromarray(np.clip(ramp, 0, 255).astype(np.uint8)).save(tmp_path / "white" / "e.png")
    with pytest.warns(UserWarning, match="one value in more than 95%"):
        image_folder(tmp_path / "white")


def test_14_folders_as_people_have_them(tmp_path):
    """ "num_samples=0" from PyTorch; a class too many; linked folders skipped."""
    root, png = tmp_path / "fotos ", encoded("PNG")
    for name in ("IMG_1.JPG", "a/b/c/deep.png", ".ipynb_checkpoints/x.png", ".hidden.png"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(png)
    (root / "Thumbs.db").write_bytes(b"x")
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "y.png").write_bytes(png)
    for link, target in (("linked", tmp_path / "other"), ("again", tmp_path / "other"), ("a/loop", root)):
        (root / link).symlink_to(target)
    (root / "gone.png").symlink_to(tmp_path / "nowhere.png")
    assert len(image_folder(root)) == 3
    classes = tmp_path / "classes"
    for name in ("one/1.png", "two/2.png", ".ipynb_checkpoints/3.png"):
        (classes / name).parent.mkdir(parents=True)
        (classes / name).write_bytes(png)
    assert image_folder(classes).classes == ("one", "two")
    (tmp_path / "empty").mkdir()
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "a.txt").write_text("x")
    for path, said in (
        (tmp_path / "empty", "nothing is in it"),
        (tmp_path / "notes", r"1 with suffix '\.txt'"),
        (root / "IMG_1.JPG", "is a file"),
        (tmp_path / "fotos", r"no folder .*fotos'.*spaces"),
    ):
        with pytest.raises(DataError, match=said):
            image_folder(path)


def test_15_huge_images(tmp_path):
    """A decompression-bomb error without a name, and the advice to turn the limit off."""
    Image.new("1", (20_000, 20_000)).save(tmp_path / "bomb.png")
    before = Image.MAX_IMAGE_PIXELS
    with pytest.raises(DataError, match=r"bomb\.png has more than 89,478,485 pixels .*larger max_pixels"):
        image_folder(tmp_path)
    (tmp_path / "bomb.png").unlink()
    Image.new("1", (10_000, 10_000)).save(tmp_path / "warned.png")  # of which Pillow would only warn
    with pytest.raises(DataError, match=r"warned\.png has more than 89,478,485 pixels"):
        image_folder(tmp_path)
    (tmp_path / "warned.png").unlink()
    Image.new("L", (12_000, 8_000), 7).save(tmp_path / "photo.jpg")
    with pytest.raises(DataError, match=r"photo\.jpg"):
        image_folder(tmp_path)
    with pytest.warns(UserWarning, match="one value in more than 95%"):
        assert image_folder(tmp_path, 16, max_pixels=96_000_000).samples.unique().tolist() == [7]
    for limit in (None, 0, math.inf):
        with pytest.raises(ArgumentError, match="max_pixels"):
            image_folder(tmp_path, max_pixels=limit)
    assert before == Image.MAX_IMAGE_PIXELS


def some(n):
    return Data("some", digits().samples[:n])


def test_16_fewer_samples_than_a_batch_and_a_last_one():
    """The only batch was dropped and training "succeeded"; or a last batch of one broke batch norm."""
    untouched = train_gan(some(12), replace(FAST, generator_lr=0.0, ema=0.0), progress=False)
    for count, loss in ((7, {}), (9, {}), (10, {}), (9, {"loss": "wasserstein", "gradient_penalty": 10.0})):
        with warnings.catch_warnings(record=True) as said:
            warnings.simplefilter("always")
            found = train_gan(some(count), replace(FAST, ema=0.0, **loss), progress=False)
        lowered = [str(one.message) for one in said if "batch_size is lowered" in str(one.message)]
        assert len(lowered) == (count - 1 < 8)
        assert found.history["step"][-1] == 3
        pairs = zip(found.generator.module.parameters(), untouched.generator.module.parameters(), strict=True)
        assert any(not a.equal(b) for a, b in pairs), "at least one step was taken"
    with pytest.raises(DataError, match="1 samples; training needs at least 4"):
        train_gan(some(1), FAST, progress=False)
    with pytest.raises(ArgumentError, match="batch_size must be at least 2"):
        replace(FAST, batch_size=1)


# ---- 17 to 21: what a result is worth


def test_17_a_collapse_is_noticed(point_checkpoint, tmp_path):
    """Users found out at the end, from the pictures."""
    config = replace(FAST, steps=2 * PATIENCE, generator_lr=0.0, save_every=2, keep=2)
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        found = train_gan(ring(60), config, out=tmp_path / "run", progress=False)
    assert sum("nothing is learned" in str(one.message) for one in said) == 1
    assert {"spread", "near_duplicates", "critic_auc"} <= found.history.keys()
    assert len(list((tmp_path / "run" / "snapshots").iterdir())) == 2, "earlier ones are kept"
    real = ring(100).samples
    for samples, critic, text in (
        (lambda k: torch.full((100, 2), 0.1 * k), None, "nearly identical"),
        (lambda k: real.flip(0) + 0.01 * k, lambda x: torch.zeros(len(x)), "gives all samples one score"),
    ):
        health = Health(real)
        with warnings.catch_warnings(record=True) as said:
            warnings.simplefilter("always")
            for k in range(PATIENCE + 1):
                health.look(k, samples(k), critic)
        assert sum(text in str(one.message) for one in said) == 1
    blind = initialised(lambda: MLPGenerator(2, 2, 16, 2), 0).eval().requires_grad_(False)
    with torch.no_grad():
        next(blind.parameters()).zero_()  # it ignores z
    flat = replace(point_checkpoint, generator=lk.wrap(blind, lk.Normal(2)), critic=None)
    with brief_report():
        text = lk.report(flat, tmp_path / "report", n=500, progress=False).read_text("utf-8")
    assert text.index("Samples are nearly identical") < text.rindex("How it was made")


def test_18_labels_that_leave_a_side_empty():
    """ "Number of classes has to be greater than one" from a solver, or a direction that is all NaN."""
    z = lk.Normal(4).sample(20, seed=0)
    ones = torch.ones(20, dtype=torch.bool)
    one = ones.clone()
    one[0] = False
    for find in (lk.mean_difference, lk.svm_boundary, lk.logistic_boundary):
        for labels, said in (
            (ones, "got 0 negative and 20 positive"),
            (one, "got 1 negative and 19 positive"),
            (~ones, "got 20 negative and 0 positive"),
            (ones[:19], r"\(20,\), got \(19,\)"),
            (torch.full((20,), math.nan), "NaN in 20 of 20"),
            (["yes", "no"] * 10, "bool, or of 0 and 1, got list"),
        ):
            with pytest.raises(LabelError, match=said):
                find(z, labels)
        right = z[:, 1] > z[:, 1].median()
        found = [find(z, kind(right)) for kind in (torch.Tensor.bool, torch.Tensor.long, torch.Tensor.double)]
        assert all(direction.vector.equal(found[0].vector) for direction in found)
        assert float(found[0].vector.norm()) == pytest.approx(1.0, abs=1e-6)
        assert found[0].vector[1] > 0.5, "towards the positive side"
        assert found[0].counts == (10, 10)
        assert 0.0 <= found[0].accuracy <= 1.0
        far = find(z + 100.0, right)
        assert ((far.score(z + 100.0) > 0) == right).float().mean() > 0.8, "a boundary has its offset"


def test_19_results_stay_on_the_prior():
    """Washed-out pictures, because a result had another norm than any draw."""
    prior = lk.Normal(512)
    a, b, c = (prior.sample(1000, seed=seed) for seed in range(3))
    usual = a.norm(dim=1).mean()
    plain = {"line": lk.lerp(a, b)(0.5)[0], "sum": a - b + c}
    ratios = {name: float(z.norm(dim=1).mean() / usual) for name, z in plain.items()}
    assert ratios == {"line": pytest.approx(0.706, abs=0.01), "sum": pytest.approx(1.73, abs=0.01)}
    for z in plain.values():
        assert prior.typicality(z).max() < 1e-6, "and it is said how far off they are"
        assert prior.typicality(lk.pulled_back(z, prior)).min() >= 0.05
    for z in (lk.interpolate(a, b)(0.5)[0], lk.analogy(a, b, c)):
        assert float(z.norm(dim=1).mean() / usual) == pytest.approx(1.0, abs=0.01)
        assert (prior.typicality(z) < 0.01).float().mean() < 0.03
    curve = lk.spline(a[:8]).steps_per_segment(20)
    assert prior.typicality(curve).min() > 1e-5
    assert curve.norm(dim=1).min() > 0.87 * usual
    direction = lk.Direction(torch.eye(512)[0], "one", "given", (-3.0, 3.0))
    edited = a
    for _ in range(5):
        edited = direction.moved(edited, 10.0)
    torch.testing.assert_close(edited, a + 50.0 * torch.eye(512)[0], msg="the norm is not changed silently")
    assert prior.typicality(edited).max() < 1e-6
    home = lk.pulled_back(edited, prior)
    assert prior.typicality(home).min() >= 0.05
    torch.testing.assert_close(home / home.norm(dim=1, keepdim=True), edited / edited.norm(dim=1, keepdim=True))
    with pytest.warns(lk.OffPriorWarning, match="pulled_back"):
        lk.combine([a[0], a[0] + 0.1 * b[0], a[0] - 0.1 * b[0]], [1.0, 1.0, 1.0])


def test_20_truncation_does_what_it_says():
    """The knob had no effect, or the wrong one."""
    z = lk.Normal(16).sample(500, seed=0)
    generator = lk.wrap(lambda w: w.tanh(), lk.Normal(16))
    middle = z.mean(0)
    spreads = [float(torch.pdist(lk.generate(generator, lk.truncate(z, middle, psi))).mean()) for psi in (0, 0.5, 1, 2)]
    assert spreads[0] == 0.0
    assert spreads == sorted(spreads)
    assert len(set(spreads)) == 4
    assert lk.truncate(z, middle, 1.0).equal(z)
    torch.testing.assert_close(lk.truncate(z, middle, -1.0) - middle, middle - z)
    other = torch.ones(16)
    assert lk.truncate(z, other, 0.0).equal(other.expand(500, -1)), "towards the mean that is given"
    for call in (
        lambda: lk.truncate(z, middle, math.nan),
        lambda: lk.truncated_sample(lk.Normal(16), 9, threshold=math.nan, seed=0),
    ):
        with pytest.raises(ArgumentError, match="finite"):
            call()
    cut = lk.truncated_sample(lk.Normal(1), 10_000, threshold=1.0, seed=0)
    assert cut.abs().max() <= 1.0
    assert float(cut.std()) == pytest.approx(0.5396, abs=0.01), "a truncated normal, not one that is scaled down"
    assert ((cut.abs() > 0.9).float().mean() / 0.1).item() == pytest.approx(0.75, abs=0.1)


def test_21_latent_i_of_a_seed_is_one_latent():
    """Image 1 of seed 42 changed when the batch grew."""
    for dim in (5, 8, 10, 15, 16, 64, 100, 128):
        prior = lk.Normal(dim)
        wanted = prior.sample(32, seed=0)
        assert wanted.dtype == torch.float32
        for n in (1, 2, 3, 4, 8, 16, 32):
            assert prior.sample(n, seed=0).equal(wanted[:n])
        assert torch.cat([prior.sample(3, seed=0, start=3 * k) for k in range(4)]).equal(wanted[:12])
    prior = lk.Normal(10)
    draws = {seed: prior.sample(1, seed=seed) for seed in (0, 2**32 - 1, 2**32, 2**64 - 1)}
    assert len(torch.cat([*draws.values()]).unique(dim=0)) == 4
    for seed in (-1, 2**64, 1.5, None, True):
        with pytest.raises(ArgumentError, match="seed must be a whole number"):
            prior.sample(1, seed=seed)
    if torch.cuda.is_available():
        generator = lk.wrap(nn.Linear(10, 2).cuda(), prior)
        assert lk.generate(generator, prior.sample(4, seed=0)).device.type == "cpu"


# ---- 22 to 26: machines


BARE = """
import json, os, sys
import latentkit as lk
from latentkit.projection.kernels import umap_learn
from latentkit.render import samples_sheet
assert "numba" not in sys.modules, "UMAP is imported where it is needed"
umap_learn()
sheet = samples_sheet(lk.Normal(2).sample(9, seed=0))
print(json.dumps([sheet.dtype.name, os.environ["NUMBA_CACHE_DIR"], "matplotlib.pyplot" in sys.modules]))
"""


def test_22_no_home_no_display(tmp_path):
    """UMAP could not be imported as Numba found no place for its cache; plotting failed without a screen.

    Stubs stand for Numba and UMAP, which take long to compile; test_fire_locked tries every command with the real ones.
    """
    stubs, room = tmp_path / "stubs", tmp_path / "room"
    for folder in (stubs, room):
        folder.mkdir()
    (stubs / "umap.py").write_text("")
    (stubs / "numba.py").write_text("def njit(*a, **k): ...\nclass config: CACHE_DIR = ''\n")
    bare = {"HOME": "/proc/nowhere", "TMPDIR": str(room), "MPLBACKEND": "TkAgg"}
    unset = dict.fromkeys(("DISPLAY", "NUMBA_CACHE_DIR", "MPLCONFIGDIR", "XDG_CACHE_HOME"))
    kind, cache, pyplot = process(BARE, first=stubs, **bare, **unset)
    assert (kind, pyplot) == ("uint8", False)
    assert Path(cache).parent == room
    assert not list(room.iterdir()), "and nothing is left there"


def test_23_worker_processes_that_are_spawned():
    """ "Can't pickle local object": it worked on Linux only, as that forks."""
    sets = [make() for name, make in DATA.items() if name != "fashion-mnist"]
    for data in sets:
        again = pickle.loads(pickle.dumps(data))
        assert torch.equal(again.samples, data.samples)
        assert torch.equal(again[0][0], data[0][0])
    data = some(8)
    workers = {"num_workers": 2, "multiprocessing_context": "spawn", "generator": torch.Generator()}
    found = torch.cat([images for images, _ in DataLoader(data, batch_size=4, **workers)])
    assert torch.equal(found, data.floats())


NAMES = """
import io, json, os, sys
from contextlib import redirect_stdout
from pathlib import Path
from latentkit.cli import main
from trainers.__main__ import main as train
# As the command line would give them.
*places, label, sheet, film = (os.fsdecode(word.encode()) for word in json.loads(sys.argv[1]))
run, photos, out = map(Path, places)
said = io.TextIOWrapper(io.BytesIO(), encoding="utf-8")
with redirect_stdout(said):
    codes = [
        train(["gan", "--data", "folder", "--data-dir", str(photos), "--out", str(run), "--steps", "2", "--conditional",
               "--latent-dim", "4", "--batch-size", "8", "--width", "4", "--size", "16", "--holdout", "2"]),
        main(["info", str(run), "--json"]),
        main(["sample", str(run), "--class", label, "-n", "4", "--out", str(out / sheet)]),
        main(["interpolate", str(run), "--out", str(out / film), "--steps", "4"]),
    ]
print(json.dumps([codes, sorted(os.fsencode(entry.name).decode() for entry in out.iterdir())]))
"""


def test_24_names_outside_of_ascii(tmp_path):
    """Garbled names and UnicodeEncodeError where the locale is C."""
    run, out = tmp_path / "实验 ü 😀 a b" / ("x" * 250), tmp_path / "结果"
    out.mkdir()
    for k, name in enumerate(["犬", "قط"] * 6):
        file = tmp_path / "фото" / name / f"é {k}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(encoded("PNG", NOISE[k:]))
    words = [str(run), str(tmp_path / "фото"), str(out), "قط", "样 ü.png", '"a\nb".gif']
    plain = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0", "PYTHONIOENCODING": None}
    codes, made = process(NAMES, json.dumps(words), **plain)
    assert codes == [0, 0, 0, 0]
    assert made == sorted(words[-2:])
    found = lk.load(run)
    assert found.classes == ("قط", "犬")
    assert found.data == "фото"


def test_25_a_full_disk_costs_nothing(tmp_path):
    """A cut file under the final name, and the earlier good one gone."""
    kinds = {**{kind: WRITERS[kind] for kind in ("gif", "png", "html", "checkpoint")}, "csv": MORE_WRITERS["csv"]}
    for kind, write in kinds.items():
        place = tmp_path / kind
        place.mkdir()
        before = content(write(place, 0))
        limit = max(map(len, before.values())) // 2
        with small_disk(limit), pytest.raises(OutputError, match=r"MiB free there") as caught:
            write(place, 1)
        assert str(place) in str(caught.value)
        assert content(next(iter(place.iterdir()))) == before
        assert len(list(place.iterdir())) == 1, "and nothing partial beside it"


#: What a user may write; the last one turns round what is written after it, and is shown by its code.
HOSTILE = (
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "</script>",
    "javascript:alert(1)",
    "\u202egnp.exe",
)


def test_26_text_from_users_is_no_html(point_checkpoint, tmp_path):
    """A class or run name with markup ran as a script when a colleague opened the report."""
    pages = []
    for number, texts in enumerate((("plain",) * 5, HOSTILE)):
        named = replace(
            point_checkpoint,
            critic=None,
            data=texts[0],
            trainer=texts[1],
            classes=texts[2:3],
            settings={f"{k} {text}": text for k, text in enumerate(texts)},
        )
        with brief_report():
            path = lk.report(named, tmp_path / f"{number} {texts[3][:4]}", n=500, progress=False)
        pages.append(Page(path.read_text("utf-8")))
    plain, hostile = pages
    assert hostile.tags == plain.tags, "no tag more than of a page without markup"
    assert [name for _, name in hostile.attributes] == [name for _, name in plain.attributes]
    assert not [name for _, name in hostile.attributes if name.startswith("on")]
    assert not [link for link in hostile.links if "javascript:" in str(link)]
    words = " ".join(hostile.words)
    assert all(readable(text) in words for text in HOSTILE)
    assert "\u202e" not in words
    assert ("meta", "http-equiv") in hostile.attributes
