"""Films in every format: play time, order, loops, sizes, exactness, and the choice of a format."""

import importlib.util
import math
import re
import subprocess
import sys

import numpy as np
import pytest
import torch
from PIL import Image

import latentkit as lk
from latentkit.animation import Animation, animate, best_format, from_frames
from latentkit.captions import CAPTION_HEIGHT, STRIP_HEIGHT, captioned, captions_of, stripped
from latentkit.encoders.frames import rhythm, ticks
from latentkit.encoders.gif import gif_info
from latentkit.encoders.mp4 import crf_of, read_mp4
from latentkit.errors import ArgumentError, MissingDependencyError, OutputError, ShapeError

needs_ffmpeg = pytest.mark.skipif(importlib.util.find_spec("imageio_ffmpeg") is None, reason="no imageio-ffmpeg")
PICTURES = [".gif", ".webp", ".apng", ".png", ".avif"]
EVERY = pytest.mark.parametrize("suffix", [*PICTURES, pytest.param(".mp4", marks=needs_ffmpeg)])
EXACT = pytest.mark.parametrize("suffix", [".webp", ".apng"])


def about(path):
    """Return the line in which ffmpeg describes a video, its size and its rate."""
    import imageio_ffmpeg

    told = subprocess.run([imageio_ffmpeg.get_ffmpeg_exe(), "-i", str(path)], capture_output=True, text=True).stderr
    width, height, rate = re.search(r"Video: .*?, (\d+)x(\d+).*?, ([\d.]+) fps", told).groups()
    return told, (int(width), int(height)), float(rate)


def read(path):
    """Return the pictures of a file, and when each one begins and ends in ms."""
    frames, ends = [], [0.0]
    if path.suffix == ".mp4":
        import imageio_ffmpeg

        _, size, rate = about(path)
        for frame in read_mp4(path, size):
            frames.append(frame)
            ends.append(ends[-1] + 1000.0 / rate)
        seconds = imageio_ffmpeg.count_frames_and_secs(str(path))[1]
        assert abs(seconds * 1000 - ends[-1]) < 10
        return frames, ends
    with Image.open(path) as image:
        for i in range(getattr(image, "n_frames", 1)):
            image.seek(i)
            image.load()
            frames.append(np.asarray(image.convert("RGB")))
            ends.append(ends[-1] + image.info.get("duration", 0))
    return frames, ends


def at(path, ms):
    """Return what a file shows at a time."""
    frames, ends = read(path)
    return frames[int(np.searchsorted(ends, ms, side="right")) - 1]


def grey(value, height=32, width=32):
    return np.full((height, width, 3), value, dtype=np.uint8)


def noise(count, height=24, width=40, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (count, height, width, 3), dtype=np.uint8)


@EVERY
@pytest.mark.parametrize("fps", [1, 10, 24, 30, 50])
def test_the_play_time_is_right(tmp_path, suffix, fps):
    film = from_frames([grey(5 * i) for i in range(31)], fps=fps)
    frames, ends = read(film.save(tmp_path / f"a{suffix}"))
    assert abs(ends[-1] - 31_000 / fps) <= 10
    assert len(frames) == 31
    assert np.abs(np.array(ends) - np.arange(32) * 1000 / fps).max() <= 10


@EVERY
def test_holds_and_equal_frames_keep_their_time(tmp_path, suffix):
    frames = [grey(10)] * 16 + [grey(200)] + [grey(10)] * 16
    durations = [300.0] + [41.7] * 31 + [555.5]
    path = from_frames(frames, durations=durations).save(tmp_path / f"a{suffix}")
    _, ends = read(path)
    assert abs(ends[-1] - sum(durations)) <= 10
    begin = sum(durations[:16])
    for ms, value in ((begin - 12, 10), (begin + 12, 200), (begin + 41.7 - 12, 200), (begin + 41.7 + 12, 10)):
        assert abs(int(at(path, ms)[0, 0, 0]) - value) < 8


@EVERY
@pytest.mark.parametrize("count", [1, 40])
def test_a_film_of_equal_frames_keeps_its_time(tmp_path, suffix, count):
    path = from_frames([grey(77)] * count, fps=30).save(tmp_path / f"a{suffix}")
    frames, ends = read(path)
    assert all(np.abs(frame.astype(int) - 77).max() <= 3 for frame in frames)
    if count > 1 and not (len(frames) == 1 and suffix in (".apng", ".png", ".webp")):
        assert abs(ends[-1] - count * 1000 / 30) <= 10


@EVERY
@pytest.mark.parametrize(("height", "width"), [(32, 32), (33, 47), (17, 16), (1, 1), (2, 301)])
def test_any_size_comes_back_in_order(tmp_path, suffix, height, width):
    frames = [grey(i, height, width) for i in range(0, 250, 10)]
    path = from_frames(frames, fps=10).save(tmp_path / f"a{suffix}")
    back, _ = read(path)
    assert len(back) == len(frames)
    for frame, shown in zip(frames, back, strict=True):
        even = (height + height % 2, width + width % 2) if suffix == ".mp4" else (height, width)
        assert shown.shape == (*even, 3)
        assert np.abs(shown.astype(int) - int(frame[0, 0, 0])).max() <= 4


@pytest.mark.parametrize("suffix", PICTURES)
def test_loops_loop_and_others_play_once(tmp_path, suffix):
    frames = [grey(0), grey(90), grey(180)]
    for loop in (True, False):
        path = from_frames(frames, loop=loop).save(tmp_path / f"a{suffix}")
        if suffix == ".avif":  # Pillow does not tell: the flag of the edit list does
            data = path.read_bytes()
            assert data[data.index(b"elst") + 4 : data.index(b"elst") + 8] == bytes((1, 0, 0, loop))
        else:
            with Image.open(path) as image:
                assert image.info.get("loop", 1) == (0 if loop else 1)
        assert len(read(path)[0]) == 3


@EXACT
def test_exact_formats_are_exact(tmp_path, suffix):
    frames = noise(37)
    frames[5:9] = frames[4]
    frames[20, 3:7, 5:30] = 0
    path = from_frames(frames, fps=25).save(tmp_path / f"a{suffix}", lossless=True)
    for i in range(37):
        assert (at(path, 40 * i + 20) == frames[i]).all()


@EXACT
def test_a_small_change_is_stored_as_a_small_part(tmp_path, suffix):
    still = noise(1, 200, 200)[0]
    moving = [still.copy() for _ in range(16)]
    for i, frame in enumerate(moving):
        frame[10 * i : 10 * i + 5, 10 * i : 10 * i + 5] = 255
    one = from_frames([still]).save(tmp_path / f"one{suffix}", lossless=True).stat().st_size
    assert from_frames(moving).save(tmp_path / f"all{suffix}", lossless=True).stat().st_size < 1.3 * one


@EVERY
def test_the_same_film_is_the_same_file(tmp_path, suffix):
    film = from_frames(noise(6), fps=20, provenance={"a": 1})
    one, two = (film.save(tmp_path / f"{i}{suffix}").read_bytes() for i in range(2))
    assert one == two


@pytest.mark.parametrize("suffix", [".webp", ".avif", pytest.param(".mp4", marks=needs_ffmpeg)])
def test_quality_buys_fidelity_with_bytes(tmp_path, suffix):
    ys, xs = np.mgrid[0:96, 0:96] / 15
    frames = [
        (np.stack([np.sin(xs * k + i / 9) + np.cos(ys + k) for k in (1, 2, 3)], -1) * 60 + 128).astype(np.uint8)
        for i in range(10)
    ]
    found = []
    for quality in (20, 90):
        path = from_frames(frames, fps=25).save(tmp_path / f"a{suffix}", quality=quality)
        back = [at(path, 40 * i + 20).astype(float) for i in range(10)]
        error = np.mean((np.stack(back) - np.stack(frames)) ** 2)
        found.append((path.stat().st_size, error))
    assert found[0][0] < found[1][0]
    assert found[0][1] > found[1][1]
    assert 10 * math.log10(255**2 / found[1][1]) > 35


def test_options_of_another_format_are_refused(tmp_path):
    film = from_frames([grey(0)])
    for name, options in (
        ("a.gif", {"quality": 80}),
        ("a.apng", {"quality": 80}),
        ("a.gif", {"lossless": True}),
        ("a.avif", {"lossless": True}),
        ("a.png", {"lossless": False}),
        ("a.webp", {"quality": 80, "lossless": True}),
        ("a.webp", {"quality": 101}),
        ("a.webp", {"quality": -1}),
        ("a.webp", {"quality": 80.5}),
    ):
        with pytest.raises(ArgumentError, match=r"quality|lossless"):
            film.save(tmp_path / name, **options)
    assert not list(tmp_path.iterdir())


@EVERY
def test_a_failure_half_way_leaves_the_old_file_and_nothing_else(tmp_path, suffix):
    path = from_frames([grey(0)]).save(tmp_path / f"a{suffix}")
    before = path.read_bytes()

    def failing():
        yield from noise(30)
        raise RuntimeError("half-way")

    with pytest.raises(RuntimeError, match="half-way"):
        from_frames(failing, count=40).save(path)
    for made in (3, 5):
        with pytest.raises(ArgumentError, match="frames"):
            from_frames(lambda made=made: iter(noise(made)), count=4).save(path)
    with pytest.raises(ShapeError, match="uint8"):
        from_frames([grey(0), grey(0)[:-1]]).save(path)
    assert path.read_bytes() == before
    assert [entry.name for entry in tmp_path.iterdir()] == [path.name]


def test_without_ffmpeg_the_error_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "imageio_ffmpeg", None)
    with pytest.raises(MissingDependencyError, match=r'pip install "latentkit\[video\]"'):
        from_frames([grey(0)]).save(tmp_path / "a.mp4")
    assert not list(tmp_path.iterdir())


@needs_ffmpeg
def test_ffmpeg_that_fails_is_an_error_and_no_file(tmp_path, monkeypatch):
    import imageio_ffmpeg

    monkeypatch.setattr(imageio_ffmpeg, "get_ffmpeg_exe", lambda: "false")
    with pytest.raises(OutputError, match="ffmpeg"):
        from_frames(noise(30, 200, 200)).save(tmp_path / "a.mp4")
    assert not list(tmp_path.iterdir())


@needs_ffmpeg
def test_an_odd_side_is_made_even_by_its_last_line(tmp_path):
    frame = grey(40, 31, 33)
    frame[-1], frame[:, -1] = 220, 220
    back = read(from_frames([frame] * 3).save(tmp_path / "a.mp4", quality=95))[0][1].astype(int)
    assert back.shape == (32, 34, 3)
    assert np.abs(back[:30, :32] - 40).max() < 16
    assert np.abs(back[30:] - 220).max() < 16
    assert np.abs(back[:, 32:] - 220).max() < 16


@needs_ffmpeg
def test_a_video_plays_everywhere(tmp_path):
    told, size, rate = about(from_frames(noise(5), fps=30).save(tmp_path / "a.mp4"))
    assert (size, rate) == ((40, 24), 30)
    assert "Video: h264" in told
    assert "yuv420p(tv, bt709, progressive)" in told
    assert [crf_of(q) for q in (0, 65, 100)] == [51, 18, 0]


def test_a_rhythm_is_exact_where_it_can_be():
    for durations in (
        [40.0] * 5,
        [1000 / 24] * 4 + [13000 / 24],
        [1000 / 30, 1000.0, 1000 / 30],
        [20.0, 25.0],
        [33.0, 1e5],
    ):
        rate, times = rhythm(durations)
        assert rate <= 100
        assert min(times) >= 1
        begins = np.cumsum([0, *times]) * 1000 / float(rate)
        assert np.abs(begins - np.cumsum([0, *durations])).max() <= 10 + 1e-6
    assert rhythm([1000 / 24] * 4 + [13000 / 24])[1] == [1, 1, 1, 1, 13]
    # Frames of the commonest duration are repeated alike: no judder.
    assert len(set(rhythm([1000 / 30] * 20 + [77.0])[1][:20])) == 1


@pytest.mark.parametrize("tick", [1.0, 10.0])
def test_ticks_do_not_drift(tick):
    durations = np.random.default_rng(0).uniform(20, 90, 500)
    assert np.abs(np.cumsum(ticks(durations, tick)) * tick - np.cumsum(durations)).max() <= tick / 2 + 1e-6


def smooth(side=96):
    ys, xs = np.mgrid[0:side, 0:side]
    return np.stack([xs + ys, xs * 2 + 9, ys * 2 + xs // 2], -1).astype(np.uint8)


def plot(side=96):
    frame = grey(255, side, side)
    frame[20:22], frame[:, 40:41], frame[50:60, 50:60] = (200, 30, 30), (0, 0, 0), (0, 114, 178)
    return frame


def test_photographs_become_avif_and_flat_colours_stay_exact(tmp_path):
    assert best_format(from_frames([smooth(), smooth()[::-1]])) == ".avif"
    assert best_format(from_frames([plot(), plot()[::-1]])) in (".gif", ".webp")
    paths = from_frames([plot(), plot()[::-1]]).save_best(tmp_path / "plot.v1")
    assert paths[-1] == tmp_path / "plot.v1.gif"
    for path in paths:
        assert (read(path)[0][0] == plot()).all()
    best, gif = from_frames([smooth(), smooth()[::-1]]).save_best(tmp_path / "photo")
    assert (best.suffix, gif.suffix) == (".avif", ".gif")
    assert best.stat().st_size < gif.stat().st_size


@pytest.mark.parametrize("moving", [True, False])
@pytest.mark.parametrize("lossless", [True, False])
def test_webp_says_that_frames_are_partly_transparent_exactly_if_they_are(moving, lossless, tmp_path):
    """Browsers take frames of a file that does not say so for opaque, and show other pixels than were written."""
    still = np.full((64, 64, 3), 40, np.uint8)
    frames = [still.copy() for _ in range(20)]
    for k, frame in enumerate(frames):
        if moving:
            frame[2 * k : 2 * k + 10, 20:30] = 200
        else:
            frame += np.uint8(k)
    data = from_frames(frames).save(tmp_path / "a.webp", lossless=lossless).read_bytes()
    transparent, at = False, 12
    while at + 8 <= len(data):
        kind, length = data[at : at + 4], int.from_bytes(data[at + 4 : at + 8], "little")
        if kind == b"ANMF":
            inner = data[at + 24 : at + 8 + length]
            # RFC 9649, section 3.4: alpha_is_used follows a byte of signature and two sides of 14 bits.
            used = inner[:4] == b"VP8L" and bool(int.from_bytes(inner[9:13], "little") >> 28 & 1)
            transparent |= used or inner[:4] == b"ALPH"
        at += 8 + length + length % 2
    assert bool(data[20] & 16) == transparent
    assert transparent or not (moving and lossless)


def test_webp_is_exact_for_flat_colours_unless_told_otherwise(tmp_path):
    for frame, exact in ((plot(), True), (smooth(), False)):
        path = from_frames([frame, frame[::-1]]).save(tmp_path / "a.webp")
        assert bool((read(path)[0][0] == frame).all()) == exact
    path = from_frames([smooth(), smooth()[::-1]]).save(tmp_path / "a.webp", lossless=True)
    assert (read(path)[0][0] == smooth()).all()


def test_a_strip_says_how_far_the_film_is():
    film = from_frames([grey(200, 20, 100)] * 4, progress_strip=True, captions=["a", "b", "c", "d"])
    frames = list(film.pictures())
    assert film.whole_size == (100, 20 + STRIP_HEIGHT + CAPTION_HEIGHT)
    assert all(frame.shape == (film.whole_size[1], 100, 3) for frame in frames)
    dark = [int((frame[20 + STRIP_HEIGHT - 1, :, 0] < 128).sum()) for frame in frames]
    assert dark == [25, 50, 75, 100]
    assert (stripped(grey(9), 0.0)[:32] == 9).all()


def test_a_strip_leaves_greys_exact(tmp_path):
    frames = np.repeat(noise(9)[..., :1], 3, axis=3)
    path = from_frames(frames, progress_strip=True).save(tmp_path / "a.gif")
    assert all((back[:24] == frame).all() for back, frame in zip(read(path)[0], frames, strict=True))


def test_captions_of_numbers():
    prior = lk.Normal(4)
    z = prior.sample(5, seed=0)
    caption = captions_of(score=torch.linspace(0, 1, 5), typicality=prior.typicality(z))
    film = animate(lk.wrap(lambda z: z.tanh().reshape(-1, 1, 2, 2), prior), z, caption=caption)
    assert film.captions[0].startswith("t 0.00 · score 0.00 · typicality 0.")
    assert film.captions[2].startswith("t 0.50 · score 0.50")
    assert captions_of(t=False, critic_logit=[1.0])(0, 0.3) == "critic logit 1.00"
    with pytest.raises(ShapeError, match="as many"):
        captions_of(a=[1.0], b=[1.0, 2.0])
    with pytest.raises(ArgumentError, match="1 frames"):
        captions_of(a=[1.0])(1, 0.0)
    with pytest.raises(ArgumentError, match="something to say"):
        captions_of(t=False)


def test_a_long_caption_on_a_narrow_frame_is_not_cut_before_its_numbers():
    frame = grey(0, 10, 128)
    text = "t 0.38 · score 0.83 · typicality 0.63"
    whole = captioned(frame, text)[10:]
    assert whole.shape == (CAPTION_HEIGHT, 128, 3)
    for other in ("t 0.38 · score 0.84 · typicality 0.63", "t 0.38 · score 0.83 · typicality 0.64"):
        assert (captioned(frame, other)[10:] != whole).any()
    # Two lines: ink in the upper and in the lower half, and none on the frame's edge, where it would be cut.
    ink = (whole < 128).any(2)
    assert ink[: CAPTION_HEIGHT // 2].any()
    assert ink[CAPTION_HEIGHT // 2 :].any()
    assert not ink[[0, -1]].any()
    assert not ink[:, -1].any()
    assert (captioned(grey(0, 10, 60), "x" * 300)[10:, -1] == 255).all()


def test_native_pixels_are_small_files(tmp_path):
    generator = lk.wrap(lambda z: z.tanh().reshape(-1, 1, 2, 2), lk.Normal(4))
    z = lk.Normal(4).sample(20, seed=0)
    small = animate(generator, z, scale=1)
    assert small.size == (2, 2)
    paths = small.save(tmp_path / "small.gif"), animate(generator, z, about={}).save(tmp_path / "large.gif")
    assert paths[0].stat().st_size < paths[1].stat().st_size
    large, _ = read(paths[1])
    assert all((a[::64, ::64] == b).all() for a, b in zip(large, read(paths[0])[0], strict=True))


def test_gif_info_reads_only_gifs(tmp_path):
    path = from_frames([grey(1)]).save(tmp_path / "a.webp")
    with pytest.raises(ArgumentError, match="no GIF"):
        gif_info(path)


def test_a_film_is_still_made_by_position():
    film = Animation(lambda: iter([grey(1)]), 1, (32, 32), (40.0,), ("a",), False)
    assert (film.captions, film.loop, film.strip, film.provenance) == (("a",), False, False, None)
