"""Films: play time, order, exactness, loops, refusals, whole files or none, and memory that does not grow."""

import dataclasses
import errno
import weakref

import numpy as np
import pytest
import torch
from PIL import Image, ImageSequence

import latentkit as lk
from latentkit.animation import Animation, animate, from_frames
from latentkit.captions import CAPTION_HEIGHT, captioned
from latentkit.encoders.frames import ticks
from latentkit.encoders.gif import gif_info
from latentkit.errors import ArgumentError, NonFiniteError, OutputError, ShapeError

PRIOR = lk.Normal(4)
GREY = lk.wrap(lambda z: z.tanh().reshape(-1, 1, 2, 2), PRIOR)
COLOUR = lk.wrap(
    lambda z: torch.einsum("nd,dk->nk", z, torch.linspace(-1, 1, 4 * 48).reshape(4, 48)).sin().reshape(-1, 3, 4, 4),
    PRIOR,
)
POINTS = lk.wrap(lambda z: z[:, :2], PRIOR)


def grey(value, side=8):
    return np.full((side, side, 3), value, dtype=np.uint8)


def noise(count, side=16, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (count, side, side, 3), dtype=np.uint8)


def shown(path):
    """Return the pictures of a file by Pillow, and when each one begins and ends in ms."""
    with Image.open(path) as image:
        frames, ends = [], [0]
        for frame in ImageSequence.Iterator(image):
            frames.append(np.asarray(frame.convert("RGB")))
            ends.append(ends[-1] + frame.info["duration"])
    return frames, ends


@pytest.mark.parametrize("fps", [1, 7, 10, 24, 25, 29.97, 30, 33.3, 48, 49, 50])
def test_every_frame_begins_on_time(tmp_path, fps):
    film = from_frames([grey(i) for i in range(100)], fps=fps)
    info = gif_info(film.save(tmp_path / "a.gif"))
    assert info.frames == film.count == 100
    begins = np.cumsum([0, *info.durations])
    assert np.abs(begins - np.arange(101) * 1000 / fps).max() <= 5 + 1e-6
    assert min(info.durations) >= 20
    assert film.seconds == pytest.approx(100 / fps)


def test_rounding_does_not_add_up():
    assert sum(ticks([1000 / 30] * 10_000)) == 33_333
    assert set(ticks([20.0] * 500)) == {2}


def test_equal_frames_are_merged_and_keep_their_time(tmp_path):
    film = from_frames([grey(10)] * 16 + [grey(200)] + [grey(10)] * 16, fps=25)
    info = gif_info(film.save(tmp_path / "a.gif"))
    assert (film.count, info.frames, info.durations) == (33, 3, (640, 40, 640))
    still = from_frames([grey(10)] * 8, fps=25)
    info = gif_info(still.save(tmp_path / "b.gif"))
    assert (still.count, info.frames, info.milliseconds) == (8, 1, 320)


def test_a_collapsed_generator_keeps_its_time(tmp_path):
    collapsed = lk.wrap(lambda z: torch.zeros(len(z), 1, 4, 4), PRIOR)
    film = animate(collapsed, PRIOR.sample(50, seed=0), fps=30)
    info = gif_info(film.save(tmp_path / "a.gif"))
    assert (film.count, info.frames) == (50, 1)
    assert abs(info.milliseconds - 50_000 / 30) <= 10


def test_a_pause_longer_than_a_delay_can_be_keeps_its_time(tmp_path):
    film = from_frames([grey(1), grey(2)], durations=[2_000_000, 40])
    info = gif_info(film.save(tmp_path / "a.gif"))
    assert info.milliseconds == 2_000_040


@pytest.mark.parametrize("count", [1, 7, 8, 9, 40])
def test_greys_are_exact_and_in_order(tmp_path, count):
    frames = np.repeat(noise(count)[..., :1], 3, axis=3)
    back, _ = shown(from_frames(frames).save(tmp_path / "a.gif"))
    assert (np.stack(back) == frames).all()


def test_all_256_greys_in_one_frame_are_exact(tmp_path):
    ramp = np.arange(256, dtype=np.uint8).reshape(16, 16, 1).repeat(3, axis=2)
    frames = [ramp, ramp[::-1], ramp[:, ::-1], ramp]
    back, _ = shown(from_frames(frames).save(tmp_path / "a.gif"))
    assert (np.stack(back) == np.stack(frames)).all()


def test_greys_with_captions_are_exact(tmp_path):
    frames = np.repeat(noise(20, side=80)[..., :1], 3, axis=3)
    back, _ = shown(from_frames(frames, captions=[f"step {i}" for i in range(20)]).save(tmp_path / "a.gif"))
    assert (np.stack(back)[:, :80] == frames).all()


@pytest.mark.parametrize("colours", [2, 60, 255])
def test_few_colours_are_exact_even_if_only_a_part_moves(tmp_path, colours):
    rng = np.random.default_rng(1)
    table = rng.integers(0, 256, (colours, 3), dtype=np.uint8)
    index = rng.integers(0, colours, (20, 20))
    frames = []
    for _ in range(30):
        index = index.copy()
        index[3:9, 5:8] = rng.integers(0, colours, (6, 3))
        frames.append(table[index])
    back, _ = shown(from_frames(frames).save(tmp_path / "a.gif"))
    assert (np.stack(back) == np.stack(frames)).all()


def test_colours_stay_close_through_changes_of_palette(tmp_path):
    ys, xs = np.mgrid[0:48, 0:48] / 48
    frames = []
    for i in range(40):
        waves = [np.sin(6 * xs + k + 0.15 * i * (k + 1)) * np.cos(5 * ys - k) for k in range(3)]
        frames.append((np.stack(waves, axis=-1) * 127 + 128).astype(np.uint8))
    back, _ = shown(from_frames(frames).save(tmp_path / "a.gif"))
    error = ((np.stack(back).astype(float) - np.stack(frames)) ** 2).mean((1, 2, 3))
    assert 10 * np.log10(255**2 / error.max()) > 28
    assert len(back) == 40


def test_grey_then_colour_then_grey(tmp_path):
    frames = [
        *np.repeat(noise(10)[..., :1] // 4 * 4, 3, axis=3),
        *noise(10, seed=1) // 64 * 64,
        *[grey(i, 16) for i in range(10)],
    ]
    back, _ = shown(from_frames(frames).save(tmp_path / "a.gif"))
    assert (np.stack(back) == np.stack(frames)).all()


def test_noise_of_many_colours_is_written(tmp_path):
    frames = noise(12, side=160)
    back, _ = shown(from_frames(frames).save(tmp_path / "a.gif"))
    assert ((np.stack(back).astype(float) - frames) ** 2).mean() < 900


def test_loop_flag(tmp_path):
    frames = [grey(0), grey(9)]
    assert gif_info(from_frames(frames).save(tmp_path / "a.gif")).loop
    assert not gif_info(from_frames(frames, loop=False).save(tmp_path / "b.gif")).loop
    with Image.open(tmp_path / "b.gif") as image:
        assert "loop" not in image.info


@pytest.mark.parametrize("fps", [0, -1, 50.1, 60, 100, float("nan"), float("inf"), "fast", None])
def test_impossible_speeds_are_refused(fps):
    if fps is not None:
        with pytest.raises(ArgumentError, match="fps"):
            from_frames([grey(0)], fps=fps)
    with pytest.raises(ArgumentError, match="fps"):
        animate(GREY, PRIOR.sample(2, seed=0), fps=fps)


@pytest.mark.parametrize("duration", [0, 10, -40, float("nan"), float("inf")])
def test_impossible_durations_are_refused(duration):
    with pytest.raises(ArgumentError, match="20 ms"):
        from_frames([grey(0)], durations=[duration])


@pytest.mark.parametrize("name", ["a.mov", "a", "a.gif.jpg", "gif"])
def test_another_suffix_is_refused(tmp_path, name):
    with pytest.raises(ArgumentError, match=r"\.gif, \.webp"):
        from_frames([grey(0)]).save(tmp_path / name)
    assert not list(tmp_path.iterdir())


def test_save_returns_the_path_in_any_script_and_makes_its_folder(tmp_path):
    path = tmp_path / "实验 ü 😀 a b" / 'クラス "x"\n.GIF'
    assert from_frames([grey(0)]).save(str(path)) == path
    assert gif_info(path).frames == 1
    (tmp_path / "dir.gif").mkdir()
    with pytest.raises(OutputError, match="folder"):
        from_frames([grey(0)]).save(tmp_path / "dir.gif")


@pytest.mark.parametrize(
    "error", [RuntimeError("half-way"), KeyboardInterrupt(), OSError(errno.ENOSPC, "No space left")]
)
def test_a_failure_half_way_leaves_the_old_file_and_nothing_else(tmp_path, error):
    path = tmp_path / "a.gif"
    before = from_frames([grey(0)]).save(path).read_bytes()

    def failing():
        yield from noise(30)
        raise error

    with pytest.raises((type(error), OutputError)):
        from_frames(failing, count=40).save(path)
    assert path.read_bytes() == before
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.gif"]


@pytest.mark.parametrize("made", [0, 3, 5])
def test_a_wrong_count_is_refused_and_writes_nothing(tmp_path, made):
    with pytest.raises(ArgumentError):
        from_frames(lambda: iter(noise(made)), count=4).save(tmp_path / "a.gif")
    assert not list(tmp_path.iterdir())


def test_frames_of_another_size_or_type_are_refused(tmp_path):
    with pytest.raises(ShapeError, match=r"\(8, 8, 3\)"):
        from_frames([grey(0), grey(0, 9)]).save(tmp_path / "a.gif")
    with pytest.raises(ShapeError, match="uint8"):
        from_frames([grey(0).astype(float)])
    with pytest.raises(ShapeError, match="uint8"):
        from_frames(np.zeros((4, 8, 8), np.uint8))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "bad",
    [
        {"frames": []},
        {"frames": [grey(0)], "count": 2},
        {"frames": lambda: iter([grey(0)])},
        {"frames": [grey(0)], "captions": ["a", "b"]},
        {"frames": [grey(0)], "durations": [40, 40]},
        {"frames": [grey(0)], "durations": [40], "fps": 25},
    ],
)
def test_from_frames_refuses_what_does_not_add_up(bad):
    with pytest.raises(ArgumentError):
        from_frames(**bad)


def test_frames_are_made_when_asked_for_and_few_are_held(tmp_path):
    living, most = weakref.WeakSet(), 0

    class Frame(np.ndarray):
        pass

    def frames():
        nonlocal most
        for i in range(400):
            frame = grey(i % 256).view(Frame)
            living.add(Holder(frame))
            most = max(most, len(living))
            yield frame

    class Holder:
        def __init__(self, frame):
            frame.holder = self

    film = from_frames(frames, count=400)
    assert most == 1
    film.save(tmp_path / "a.gif")
    assert most <= 12


def test_one_array_drawn_into_again_and_again_gives_its_frames(tmp_path):
    def frames():
        canvas = grey(0)
        for i in range(20):
            canvas[...] = i * 10
            yield canvas

    back, _ = shown(from_frames(frames, count=20).save(tmp_path / "a.gif"))
    assert [frame[0, 0, 0] for frame in back] == [i * 10 for i in range(20)]


def test_the_generator_runs_batch_by_batch_and_again_for_every_save(tmp_path):
    sizes = []

    def module(z):
        sizes.append(len(z))
        return z.tanh().reshape(-1, 1, 2, 2)

    film = animate(lk.wrap(module, PRIOR), PRIOR.sample(20, seed=0), batch_size=8)
    assert sizes == [1]
    frames = film.frames()
    next(frames)
    assert sizes == [1, 8]
    first = film.save(tmp_path / "a.gif").read_bytes()
    assert sizes == [1, 8, 8, 8, 4]
    assert film.save(tmp_path / "b.gif").read_bytes() == first


def test_a_closed_curve_loops_without_a_doubled_frame():
    keys = PRIOR.sample(3, seed=0)
    film = animate(COLOUR, lk.loop(keys, prior=PRIOR), frames=30)
    frames = np.stack(list(film.frames())).astype(int)
    assert len(frames) == film.count == 30
    steps = np.abs(frames - np.roll(frames, -1, axis=0)).sum((1, 2, 3))
    assert steps.min() > 0


def test_an_open_curve_has_both_ends_and_holds_them(tmp_path):
    keys = PRIOR.sample(3, seed=0)
    film = animate(COLOUR, lk.tour(keys, prior=PRIOR), frames=21, hold=0.5, scale=1)
    frames = list(film.frames())
    ends = (
        next(iter(animate(COLOUR, keys[[0]], scale=1).frames())),
        next(iter(animate(COLOUR, keys[[2]], scale=1).frames())),
    )
    assert (frames[0] == ends[0]).all()
    assert (frames[-1] == ends[1]).all()
    info = gif_info(film.save(tmp_path / "a.gif"))
    assert info.durations == (540, *[40] * 19, 540)
    assert film.seconds == pytest.approx(1.84)


def test_latents_are_shown_in_order():
    z = PRIOR.sample(10, seed=0)
    film = animate(GREY, z, scale=1, batch_size=3)
    expected = lk.generate(GREY, z)[:, 0] * 127.5 + 127.5
    assert (np.stack(list(film.frames()))[..., 0] == expected.round().numpy()).all()


@pytest.mark.parametrize(
    ("shape", "size"),
    [((1, 8, 8), (128, 128)), ((3, 5, 5), (130, 130)), ((1, 2, 64), (128, 4)), ((1, 200, 100), (100, 200))],
)
def test_small_images_are_enlarged(shape, size):
    generator = lk.wrap(lambda z: torch.zeros(len(z), *shape), PRIOR)
    film = animate(generator, PRIOR.sample(2, seed=0))
    assert film.size == size
    assert next(film.frames()).shape == (size[1], size[0], 3)


def test_points_move_over_random_samples(tmp_path):
    film = animate(POINTS, lk.loop(PRIOR.sample(4, seed=0), prior=PRIOR), frames=24)
    assert (film.count, film.size) == (24, (320, 320))
    frames = list(film.frames())
    back, ends = shown(film.save(tmp_path / "a.gif"))
    assert (len(back), ends[-1]) == (24, 960)
    assert ((np.stack(back).astype(float) - np.stack(frames)) ** 2).mean() < 1


def test_animate_refuses_what_it_cannot_film():
    z = PRIOR.sample(5, seed=0)
    with pytest.raises(ArgumentError, match=r"prior=generator\.prior"):
        animate(lk.wrap(lambda z: z[:, :2], lk.Normal(4, std=2.0)), lk.tour(z, prior=PRIOR))
    with pytest.raises(ShapeError, match="4"):
        animate(GREY, lk.tour(lk.Normal(5).sample(3, seed=0)))
    with pytest.raises(ShapeError, match="single ends"):
        animate(GREY, lk.interpolate(z, z.roll(1, 0), PRIOR))
    with pytest.raises(ArgumentError, match="hold"):
        animate(GREY, lk.loop(z, prior=PRIOR), hold=1.0)
    with pytest.raises(ArgumentError, match="leave frames out"):
        animate(GREY, z, frames=9)
    for bad in ({"frames": 0}, {"scale": 0}, {"batch_size": 0}, {"hold": -1.0}, {"hold": float("nan")}):
        with pytest.raises(ArgumentError):
            animate(GREY, lk.tour(z, prior=PRIOR), **bad)
    with pytest.raises(ShapeError, match=r"points \(N, 2\)"):
        animate(lk.wrap(lambda z: z.reshape(-1, 4, 1, 1), PRIOR), z)


@pytest.mark.parametrize("together", [1, 3])
def test_series_and_rows_are_filmed_on_one_scale(together):
    """A frame shows the same sample in the same way whatever else is filmed."""
    generator = lk.wrap(lambda z: z.repeat(1, 10), PRIOR)
    z = PRIOR.sample(2 * together, seed=0)
    curves = [lk.lerp(z[2 * k], z[2 * k + 1]) for k in range(together)]
    film, again = animate(generator, curves, frames=5), animate(generator, curves, frames=9)
    assert (list(film.pictures())[2] == list(again.pictures())[4]).all()
    assert len({frame.tobytes() for frame in film.pictures()}) == 5


def test_a_curve_without_a_prior_is_taken():
    a, b = PRIOR.sample(2, seed=0)
    assert animate(GREY, lk.lerp(a, b)).count == 90
    assert animate(GREY, lk.slerp(a, b), frames=1).count == 1


def test_a_sample_that_is_not_finite_names_its_frames_and_writes_nothing(tmp_path):
    def module(z):
        return torch.where(z > 2.0, float("nan"), z).reshape(-1, 1, 2, 2)

    z = PRIOR.sample(20, seed=0).clamp(-1, 1)
    z[13, 2] = 3.0
    film = animate(lk.wrap(module, PRIOR), z, batch_size=8)
    with pytest.raises(NonFiniteError, match="frames 8 to 15"):
        film.save(tmp_path / "a.gif")
    assert not list(tmp_path.iterdir())
    with pytest.raises(NonFiniteError, match="frame 0"):
        animate(lk.wrap(module, PRIOR), z.flip(0)[6:])


TEXTS = ["", "t = 0.25", "实验 日本語", "مرحبا", "a\nb\t\u202ec", "\ud800", "x" * 5000, "😀 é ← $5", "\x00\x1b[0m"]


@pytest.mark.parametrize("text", TEXTS)
def test_any_caption_can_be_drawn(text):
    for width in (1, 40, 200):
        frame = np.zeros((10, width, 3), np.uint8)
        whole = captioned(frame, text)
        assert whole.shape == (10 + CAPTION_HEIGHT, width, 3)
        assert (whole[:10] == frame).all()
    assert (whole[10:] < 128).any() == bool(text.strip("\x00\n\t\ud800"))


def test_captions_are_drawn_below_their_frames(tmp_path):
    z = PRIOR.sample(3, seed=0)
    film = animate(GREY, z, caption=lambda i, t: f"{i}: {t:.2f}")
    assert film.captions == ("0: 0.00", "1: 0.50", "2: 1.00")
    back, _ = shown(film.save(tmp_path / "a.gif"))
    for frame, text, plain in zip(back, film.captions, film.frames(), strict=True):
        assert (frame == captioned(plain, text)).all()
    closed = animate(GREY, lk.loop(z, prior=PRIOR), frames=4, caption=lambda i, t: str(t))
    assert closed.captions == ("0.0", "0.25", "0.5", "0.75")


def test_an_animation_can_be_changed_by_replace(tmp_path):
    film = dataclasses.replace(animate(GREY, PRIOR.sample(2, seed=0)), loop=False)
    assert isinstance(film, Animation)
    assert not gif_info(film.save(tmp_path / "a.gif")).loop


def test_what_is_no_gif_is_said_so(tmp_path):
    (tmp_path / "a.gif").write_bytes(b"not a film")
    with pytest.raises(ArgumentError, match="no GIF"):
        gif_info(tmp_path / "a.gif")


def test_several_curves_are_one_sheet_of_the_films_of_each():
    generator = lk.wrap(lambda z: z.tanh().reshape(-1, 1, 2, 2), lk.Normal(4))
    keys = generator.prior.sample(9, seed=0)
    loops = [lk.loop(keys[3 * k : 3 * k + 3]) for k in range(3)]
    together = lk.animate(generator, loops, frames=5, scale=4, columns=3)
    alone = [list(lk.animate(generator, one, frames=5, scale=4).frames()) for one in loops]
    assert together.size == (3 * 8 + 2 * 2, 8)
    for t, frame in enumerate(together.frames()):
        for k in range(3):
            assert np.array_equal(frame[:, 10 * k : 10 * k + 8], alone[k][t])


def test_curves_that_cannot_be_filmed_together_are_refused():
    generator = lk.wrap(lambda z: z.tanh().reshape(-1, 1, 2, 2), lk.Normal(4))
    keys = generator.prior.sample(3, seed=0)
    with pytest.raises(ArgumentError, match="all closed or all open"):
        lk.animate(generator, [lk.loop(keys), lk.tour(keys)])
    with pytest.raises(ArgumentError, match="needs a curve"):
        lk.animate(generator, [])
    flat = lk.wrap(lambda z: z[:, :2], lk.Normal(4))
    with pytest.raises(ArgumentError, match="points are filmed along one curve"):
        lk.animate(flat, [lk.loop(keys), lk.loop(keys)])
