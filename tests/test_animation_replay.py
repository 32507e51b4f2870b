"""Films that say how they were made: exact latents, made again bit for bit, and no trust in the file."""

import base64
import importlib.util
import json
import math
import zlib
from dataclasses import dataclass

import numpy as np
import pytest
import torch
from PIL import Image

import latentkit as lk
from latentkit.animation import animate, from_frames, replay
from latentkit.animation.records import MOST_LATENTS, Record, recorded
from latentkit.animation.scenes import Scene
from latentkit.encoders.notes import as_note, read_note, text_of
from latentkit.errors import ArgumentError, CheckpointError, LatentkitError

needs_ffmpeg = pytest.mark.skipif(importlib.util.find_spec("imageio_ffmpeg") is None, reason="no imageio-ffmpeg")
EVERY = pytest.mark.parametrize(
    "suffix", [".gif", ".webp", ".apng", ".png", ".avif", pytest.param(".mp4", marks=needs_ffmpeg)]
)
EXACT = {".gif", ".apng", ".png", ".webp"}


def film_of(checkpoint, count=10, **options):
    prior = checkpoint.generator.prior
    curve = lk.loop(prior.sample(3, seed=0), prior=prior)
    return animate(
        checkpoint, curve, frames=count, fps=24, about={"seed": 0, "how": 'a "loop" <of> 3 & keys'}, **options
    )


def note_of(path):
    with path.open("rb") as file:
        return read_note(file)


def rewritten(path, values):
    """Put other values into a GIF's note, with digests that fit nothing."""
    note = note_of(path)
    data = path.read_bytes()
    path.write_bytes(data[: note.start] + as_note(text_of(values), "gif") + data[note.end :])


@EVERY
def test_frames_are_made_again_bit_for_bit(image_checkpoint, tmp_path, suffix):
    film = film_of(image_checkpoint, caption=lambda i, t: f"é {i}", progress_strip=True)
    path = film.save(tmp_path / f"a{suffix}")
    found = replay(path, image_checkpoint)
    assert found.same
    assert found.intact
    assert (found.psnr == math.inf) == (suffix in EXACT) == (found.largest == 0)
    assert found.psnr > 35
    assert found.about == {"seed": 0, "how": 'a "loop" <of> 3 & keys'}
    assert "bit-equal" in found.verdict
    assert all((a == b).all() for a, b in zip(film.pictures(), found.film.pictures(), strict=True))
    assert (found.film.durations, found.film.captions, found.film.loop) == (film.durations, film.captions, film.loop)


@EVERY
def test_the_latents_are_kept_exactly(image_checkpoint, tmp_path, suffix):
    z = image_checkpoint.generator.prior.sample(7, seed=3)
    path = animate(image_checkpoint, z, scale=1).save(tmp_path / f"a{suffix}")
    record = Record.of(note_of(path).values())
    assert (record.latents[:, 0] == z).all()
    assert record.fingerprint == image_checkpoint.fingerprint
    assert record.prior == image_checkpoint.generator.prior


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_latents_of_every_dtype_are_kept_exactly(dtype):
    generator = lk.wrap(lambda z: z.float().tanh().reshape(-1, 1, 2, 2), lk.Normal(4))
    z = generator.prior.sample(5, seed=0).to(dtype)
    back = Record.of(json.loads(json.dumps(animate(generator, z).provenance))).latents[:, 0]
    assert back.dtype == dtype
    assert (back == z).all()


def test_points_sheets_and_views_are_made_again(point_checkpoint, conditional_checkpoint, tmp_path):
    films = [(film_of(point_checkpoint, count=4), point_checkpoint)]
    for view in (lk.condition(conditional_checkpoint, "two & more"), lk.marginal(conditional_checkpoint)):
        prior = view.generator.prior
        loops = [lk.loop(prior.sample(3, seed=k), prior=prior) for k in range(3)]
        film = animate(view, loops, frames=5, columns=2, batch_size=4)
        films += [(film, conditional_checkpoint), (film, view), (film, view.generator)]
    for film, source in films:
        found = replay(film.save(tmp_path / "a.apng"), source)
        assert (found.same, found.intact, found.largest) == (True, True, 0)


def test_a_bundled_generator_is_found_by_its_fingerprint_and_any_by_its_folder(image_run, image_checkpoint, tmp_path):
    sneakers = lk.condition(lk.load("fashion-mnist"), "sneaker")
    assert replay(film_of(sneakers, count=3).save(tmp_path / "a.webp")).same
    path = film_of(image_checkpoint, count=3).save(tmp_path / "b.webp")
    assert replay(path, image_run).same
    with pytest.raises(CheckpointError, match="give its checkpoint"):
        replay(path)


def test_holds_and_frames_that_are_stored_once_are_compared_at_their_times(image_checkpoint, tmp_path):
    prior = image_checkpoint.generator.prior
    z = prior.sample(3, seed=0)[[0, 0, 0, 1, 1, 2]]
    path = animate(image_checkpoint, z, fps=30, hold=0.7).save(tmp_path / "a.gif")
    with Image.open(path) as image:
        assert image.n_frames == 3
    found = replay(path, image_checkpoint)
    assert (found.same, found.largest) == (True, 0)


@EVERY
def test_a_changed_file_is_noticed(image_checkpoint, tmp_path, suffix):
    path = film_of(image_checkpoint, count=4).save(tmp_path / f"a{suffix}")
    note, data = note_of(path), bytearray(path.read_bytes())
    # A byte whose change leaves the file readable: a GIF's background colour, PNG's and WebP's unused flags, padding
    # of the others' file type.
    place = {".gif": 11, ".apng": 28, ".png": 28, ".webp": 21, ".avif": 12, ".mp4": 12}[suffix]
    assert not note.start <= place < note.end
    with path.open("rb") as file:
        assert note.digest(file) == note.file_digest
    data[place] ^= 1
    path.write_bytes(data)
    with path.open("rb") as file:
        assert read_note(file).digest(file) != note.file_digest


def test_other_pictures_under_the_same_words_are_noticed(image_checkpoint, tmp_path):
    film = film_of(image_checkpoint, count=4)
    path = film.save(tmp_path / "a.gif")
    fake = from_frames(
        [np.full((128, 128, 3), 250, np.uint8)] * 4, durations=film.durations, provenance=film.provenance
    )
    found = replay(fake.save(tmp_path / "fake.gif"), image_checkpoint)
    assert not found.same
    assert found.psnr < 25
    assert "differ" in found.verdict
    # The words of the true one, digests and all, in the file of the false one.
    data, true, false = (tmp_path / "fake.gif").read_bytes(), note_of(path), note_of(tmp_path / "fake.gif")
    block = as_note(true.text, "gif")
    (tmp_path / "fake.gif").write_bytes(data[: false.start] + block + data[false.end :])
    found = replay(tmp_path / "fake.gif", image_checkpoint)
    assert (found.same, found.intact) == (True, False)
    assert found.psnr < 25
    assert "was changed" in found.verdict


def test_other_latents_are_noticed(image_checkpoint, tmp_path):
    film = film_of(image_checkpoint, count=4)
    path = film.save(tmp_path / "a.gif")
    other = animate(image_checkpoint, image_checkpoint.generator.prior.sample(4, seed=9), fps=24)
    rewritten(path, {**film.provenance, "latents": other.provenance["latents"]})
    found = replay(path, image_checkpoint)
    assert (found.same, found.intact) == (False, False)


def test_another_checkpoint_is_refused(image_checkpoint, conditional_checkpoint, tmp_path):
    path = film_of(image_checkpoint, count=3).save(tmp_path / "a.gif")
    with pytest.raises(CheckpointError, match=image_checkpoint.fingerprint):
        replay(path, lk.condition(conditional_checkpoint, 0))
    path = film_of(lk.condition(conditional_checkpoint, 0), count=3).save(tmp_path / "b.gif")
    with pytest.raises(CheckpointError, match="shows"):
        replay(path, lk.condition(conditional_checkpoint, 1))


def test_a_generator_without_a_name_is_made_again_by_itself_alone(tmp_path):
    prior = lk.Normal(4)
    z = prior.sample(3, seed=0)
    path = animate(lk.wrap(lambda z: z.tanh().reshape(-1, 1, 2, 2), prior), z).save(tmp_path / "a.gif")
    assert replay(path, lk.wrap(lambda z: z.tanh().reshape(-1, 1, 2, 2), prior)).same
    assert not replay(path, lk.wrap(lambda z: -z.tanh().reshape(-1, 1, 2, 2), prior)).same
    with pytest.raises(CheckpointError, match="prior"):
        replay(path, lk.wrap(lambda z: z.tanh().reshape(-1, 1, 2, 2), lk.Normal(4, std=2.0)))


def test_too_many_latents_are_left_out_and_replay_says_so(tmp_path):
    prior = lk.Normal(64)
    generator = lk.wrap(lambda z: z[:, :4].tanh().reshape(-1, 1, 2, 2), prior)
    film = animate(generator, prior.sample(MOST_LATENTS // 256 + 2000, seed=0), scale=1)
    assert "left_out" in film.provenance["latents"]
    path = animate(generator, prior.sample(2, seed=0), scale=1).save(tmp_path / "a.gif")
    rewritten(path, film.provenance)
    with pytest.raises(CheckpointError, match="without its latents"):
        replay(path, generator)


def test_too_much_text_is_left_out():
    prior = lk.Normal(4)
    generator = lk.wrap(lambda z: z.tanh().reshape(-1, 1, 2, 2), prior)
    film = animate(generator, prior.sample(3, seed=0), about={"text": "x" * 2**20})
    assert "left_out" in film.provenance["latents"]
    with pytest.raises(CheckpointError, match="without its latents"):
        Record.of(film.provenance)


@pytest.mark.parametrize("about", [{"a": float("nan")}, {"a": object()}, {"a": {1, 2}}])
def test_only_json_is_kept(about):
    prior = lk.Normal(4)
    generator = lk.wrap(lambda z: z.tanh().reshape(-1, 1, 2, 2), prior)
    with pytest.raises(ArgumentError, match="JSON"):
        animate(generator, prior.sample(3, seed=0), about=about)


@EVERY
def test_films_of_other_frames_keep_what_they_are_given(tmp_path, suffix):
    given = {"step": 7, "text": "</latentkit:film> ]]> 'é' <!--", "list": [1, None, True]}
    path = from_frames([np.zeros((8, 8, 3), np.uint8)] * 2, provenance=given).save(tmp_path / f"a{suffix}")
    values = note_of(path).values()
    assert {key: values[key] for key in given} == given
    with pytest.raises(CheckpointError, match="not from latents"):
        replay(path)
    plain = from_frames([np.zeros((8, 8, 3), np.uint8)] * 2).save(tmp_path / f"b{suffix}")
    assert note_of(plain) is None
    with pytest.raises(CheckpointError, match="does not say"):
        replay(plain)


def test_what_is_no_film_is_one_clear_error(tmp_path):
    path = tmp_path / "a.gif"
    with pytest.raises(CheckpointError, match="cannot read"):
        replay(path)
    for data in (
        b"",
        b"GIF8",
        b"GIF89a" + bytes(200),
        b"\x89PNG\r\n\x1a\n",
        b"RIFF\0\0\0\0WEBP",
        b"\0\0\0\x18ftypisom",
        b"text",
    ):
        path.write_bytes(data)
        with pytest.raises(CheckpointError):
            replay(path)


@EVERY
def test_a_cut_file_is_one_clear_error(image_checkpoint, tmp_path, suffix):
    path = film_of(image_checkpoint, count=4).save(tmp_path / f"a{suffix}")
    data = path.read_bytes()
    for share in (0.1, 0.5, 0.9, 0.999):
        path.write_bytes(data[: int(len(data) * share)])
        try:
            found = replay(path, image_checkpoint)
        except CheckpointError:
            continue
        assert not found.intact


def hostile():
    """Return changes that a hand could make to what a film says, each of which must be refused."""
    bomb = zlib.compress(bytes(50_000_000))
    packed = base64.b64encode(bomb).decode()
    yield from (
        {"latents": None},
        {"latents": {"shape": [3, 1, 4], "dtype": "float32", "data": packed}},
        {"latents": {"shape": [10**6, 10**6, 10**6], "dtype": "float32", "data": packed}},
        {"latents": {"shape": [3, -1, 4], "dtype": "float32", "data": packed}},
        {"latents": {"shape": [3, 1, 4], "dtype": "object", "data": packed}},
        {"latents": {"shape": [3, 1, 4], "dtype": "float32", "data": "%%%"}},
        {"prior": {"kind": "os.system"}},
        {"generator": {"fingerprint": None, "view": {"of": "__import__"}}},
        {"generator": {"fingerprint": 7, "view": {"of": "whole"}}},
        {"generator": []},
        {"film": None},
    )
    yield from (
        ("durations", [[40.0, 10**12]]),
        ("durations", [[float("1e999"), 3]]),
        ("durations", [[0.0, 3]]),
        ("captions", ["a"]),
        ("size", [10**9, 10**9]),
        ("size", [5, 5]),
        ("scale", 10**9),
        ("scale", True),
        ("batch_size", 0),
        ("batch_size", 10**12),
        ("columns", "many"),
        ("closed", 1),
        ("loop", None),
    )


@pytest.mark.parametrize("change", list(hostile()), ids=lambda change: str(change)[:50])
def test_a_hostile_note_is_one_clear_error(tmp_path, change):
    prior = lk.Normal(4)
    generator = lk.wrap(lambda z: z.tanh().reshape(-1, 1, 2, 2), prior)
    film = animate(generator, prior.sample(3, seed=0))
    values = json.loads(json.dumps(film.provenance))
    if isinstance(change, tuple):
        values["film"][change[0]] = change[1]
    else:
        values |= change
    path = film.save(tmp_path / "a.gif")
    if isinstance(change, tuple) and change[1] == [[math.inf, 3]]:
        with pytest.raises(CheckpointError, match="damaged"):
            Record.of(values)
        return
    rewritten(path, values)
    with pytest.raises(CheckpointError) as caught:
        replay(path, generator)
    assert len(str(caught.value)) < 500


def test_a_missing_value_is_one_clear_error():
    prior = lk.Normal(4)
    film = animate(lk.wrap(lambda z: z.tanh().reshape(-1, 1, 2, 2), prior), prior.sample(3, seed=0))
    for key in film.provenance:
        with pytest.raises(CheckpointError):
            Record.of({name: value for name, value in film.provenance.items() if name != key})
    for key in film.provenance["film"]:
        less = {name: value for name, value in film.provenance["film"].items() if name != key}
        with pytest.raises(CheckpointError, match="damaged"):
            Record.of({**film.provenance, "film": less})


def test_a_note_of_a_newer_kind_and_one_nested_too_deep(tmp_path):
    film = from_frames([np.zeros((8, 8, 3), np.uint8)] * 2, provenance={"a": 1})
    path = film.save(tmp_path / "a.gif")
    data = path.read_bytes()
    path.write_bytes(data.replace(b'"latentkit film": 1', b'"latentkit film": 2'))
    with pytest.raises(CheckpointError, match="newer"):
        replay(path)
    note = note_of(film.save(path))
    deep = note.text[:-1] + ', "b": ' + "[" * 100_000 + "]" * 100_000 + "}"
    path.write_bytes(data[: note.start] + as_note(deep, "gif") + data[note.end :])
    with pytest.raises(LatentkitError, match=r"damaged|latents"):
        replay(path)


def test_what_is_recorded_is_plain_json(image_checkpoint):
    prior = image_checkpoint.generator.prior
    film = film_of(image_checkpoint, count=3)
    scene = Scene.of(
        image_checkpoint.generator, prior.sample(3, seed=0)[:, None], scale=1, columns=None, batch_size=8, closed=False
    )
    assert json.loads(json.dumps(recorded(film, scene, {"a": (1, 2)})))["about"] == {"a": [1, 2]}
    assert image_checkpoint.fingerprint in json.dumps(film.provenance)


def test_a_blend_and_an_empirical_prior_and_one_of_your_own_are_filmed_and_replayed(conditional_checkpoint, tmp_path):
    """Priors are compared by what makes them; one that is not known is not stored."""

    @dataclass(frozen=True)
    class Own:
        normal: lk.Normal

        def __getattr__(self, name):
            return getattr(self.normal, name)

    def wave(z):
        return z.tanh().reshape(-1, 1, 2, 2)

    codes = lk.Normal(4).sample(60, seed=0)
    between = lk.blend(conditional_checkpoint.generator)
    z = between.module.prior.sample(1, seed=0)[0]
    cases = {
        "blend": (between, lk.class_tour(between, z, [0, 1]).steps(5), conditional_checkpoint),
        "fitted": (lk.wrap(wave, lk.Empirical.fit(codes)), codes[:5], lk.wrap(wave, lk.Empirical.fit(codes))),
        "own": (lk.wrap(wave, Own(lk.Normal(4))), codes[:5], lk.wrap(wave, Own(lk.Normal(4)))),
    }
    for name, (generator, latents, again) in cases.items():
        path = animate(generator, latents, fps=10).save(tmp_path / f"{name}.gif")
        assert replay(path, again).same
    with pytest.raises(CheckpointError, match="of the prior"):
        replay(tmp_path / "fitted.gif", lk.wrap(wave, lk.Empirical.fit(codes + 1.0)))
