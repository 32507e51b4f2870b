"""Series and rows as pictures: values are where they belong, scales are fixed, and what draws images draws them."""

import math

import numpy as np
import pytest
import torch

import latentkit as lk
from latentkit.errors import ArgumentError, NonFiniteError, ShapeError
from latentkit.render import render_samples, samples_sheet, thumbnails
from latentkit.series import CELL, FRAME, limits_of, pictured, pictures, sample_kind, table

PRIOR = lk.Normal(2)
TIME = torch.linspace(0, 1, 400)
WAVES = lk.wrap(lambda z: (z[:, :1] * 20 * TIME + z[:, 1:]).sin(), PRIOR)
ROWS = lk.wrap(lambda z: torch.cat([z, 5 + z], 1), PRIOR)

KINDS = {
    (1, 8, 8): "image",
    (3, 4, 9): "image",
    (2,): "point",
    (1,): "row",
    (24,): "row",
    (25,): "series",
    (16000,): "series",
    (2, 100): "series",
    (40, 100): "series",
    (3, 3): "series",
    (28, 28): None,
    (4, 8, 8): None,
    (3, 4, 8, 8): None,
    (): None,
    (3, 0): None,
}


@pytest.mark.parametrize("shape", KINDS)
def test_a_shape_says_what_a_sample_is(shape):
    assert sample_kind(shape) == KINDS[shape]


def dark(picture):
    """Return which pixels have more than half of their ink."""
    return picture.astype(int).sum(-1) < 500


def heights(picture):
    """Return the middle of the ink in each column of pixels, in rows from the top."""
    ink = dark(picture)
    assert ink.any(0).all()  # a line has no gaps
    return (ink * np.arange(len(picture))[:, None]).sum(0) / ink.sum(0)


@pytest.mark.parametrize("length", [30, 160, 161, 5000])
@pytest.mark.parametrize("width", [64, 160])
def test_a_ramp_is_a_straight_line_across_the_picture(length, width):
    ramp = torch.linspace(-1, 1, length)[None]
    found = heights(pictures(ramp, size=(width, 100))[0])
    wanted = np.linspace(99, 0, width)
    assert np.abs(found - wanted).max() < 2.5


def test_every_spike_is_seen_however_long_the_series():
    x = torch.zeros(3, 50_000)
    x[0, 12_345], x[1, 0], x[2, -1] = 1.0, 1.0, -1.0
    drawn = pictures(x, size=(100, 60), limits=torch.tensor([[-1.0, 1.0]]))
    for picture, column, row in zip(drawn, (24, 0, 99), (2, 2, 57), strict=True):
        assert dark(picture)[row, column]
        assert dark(picture)[row].sum() == 1


def test_a_batch_is_a_stack_of_singles_on_one_scale(draw):
    for samples in (draw(130, 50), draw(70, 3, 40), draw(9, 30, 50), draw(70, 5)):
        limits = limits_of(samples)
        together = pictures(samples, limits=limits)
        assert together.shape == (len(samples), CELL[1], CELL[0], 3)
        assert (together == np.concatenate([pictures(one[None], limits=limits) for one in samples])).all()


def test_channels_have_lanes_and_scales_of_their_own():
    quiet, loud = TIME * 1e-3, -TIME * 1e3
    drawn = pictures(torch.stack([quiet, loud])[None], size=(100, 80))[0]
    top, bottom = drawn[:40], drawn[40:]
    assert heights(top)[-1] < 4 < 36 < heights(top)[0]
    assert heights(bottom)[0] < 4 < 36 < heights(bottom)[-1]
    assert not (top[dark(top)].mean(0) == bottom[dark(bottom)].mean(0)).all()  # and colours


@pytest.mark.parametrize(
    ("values", "wanted"),
    [
        ([-0.9, 0.7], [-1, 1]),
        ([-1.0, 1.0], [-1, 1]),
        ([0.0, 0.3], [0, 0.3]),
        ([20.3, 24.9], [20, 25]),
        ([-3e-5, 2e-5], [-5e-5, 5e-5]),
        ([-1e9, -1.0], [-1e9, 0]),
        ([7.0, 7.0], [0, 14]),
        ([0.0, 0.0], [-1, 1]),
    ],
)
def test_scales_are_round_and_hold_every_value(values, wanted):
    low, high = limits_of(torch.tensor([values * 20], dtype=torch.float64))[0].tolist()
    slack = 1e-5 * (high - low)
    assert low - slack <= min(values) <= max(values) <= high + slack
    assert (low, high) == pytest.approx(tuple(wanted), rel=1e-9, abs=1e-12)


def test_bars_stand_on_zero_and_reach_their_values():
    drawn = dark(
        pictures(torch.tensor([[1.0, -1.0, 0.0, 0.5]]), size=(80, 101), limits=torch.tensor([[-1.0, 1.0]] * 4))[0]
    )
    up, down, none, half = (drawn[:, 20 * k + 10] for k in range(4))
    assert up[2:50].all()
    assert not up[52:].any()
    assert down[51:98].all()
    assert not down[:49].any()
    assert none.sum() <= 2
    assert 22 <= half.sum() <= 28
    assert not drawn[:, 19].any()  # a gap before the next


@pytest.mark.parametrize("rate", [100.0, 8000.0, 44100.0])
@pytest.mark.parametrize("share", [0.25, 0.6])
def test_a_tone_is_a_line_at_its_frequency_in_the_spectrogram(rate, share):
    t = torch.arange(4000) / rate
    tone = torch.sin(2 * math.pi * share * rate / 2 * t)[None]
    drawn = pictures(tone, size=(120, 200), rate=rate)[0]
    below = drawn[100:].astype(int)
    bright = below[:, 20:100].sum((1, 2)).argmax()  # yellow ends the scale, dark blue begins it
    assert abs(bright - 99 * (1 - share)) <= 8
    assert (drawn[:100] == pictures(tone, size=(120, 100))[0]).all()


def test_silence_and_short_series_have_pictures_or_an_error():
    pictures(torch.zeros(2, 100), rate=100.0)
    with pytest.raises(ShapeError, match="at least 16 numbers"):
        pictures(torch.zeros(1, 1, 12), rate=100.0)
    with pytest.raises(ShapeError, match="of a series over time, not of rows"):
        pictures(torch.zeros(1, 12), rate=100.0)
    with pytest.raises(ArgumentError, match="rate must be"):
        pictures(torch.zeros(1, 100), rate=0.0)


def test_what_cannot_be_drawn_is_said(draw):
    for samples in (draw(2, 3, 8, 8), draw(2, 28, 28), draw(4, 2)):
        with pytest.raises(ShapeError, match=r"series are \(N, T\) or \(N, C, T\) and rows"):
            pictures(samples)
    with pytest.raises(NonFiniteError, match="1 of 2 rows"):
        pictures(torch.tensor([[0.0] * 30, [float("nan")] * 30]))
    with pytest.raises(ShapeError, match=r"limits must be \(1, 2\), got \(2,\)"):
        pictures(draw(2, 30), limits=torch.zeros(2))
    with pytest.raises(ShapeError, match="at least one sample"):
        limits_of(draw(0, 30))
    with pytest.raises(ShapeError, match="4 columns need as many names, got 1"):
        table(draw(3, 4), names=["a"])


def test_a_table_has_a_cell_for_every_number():
    rows = torch.tensor([[0.0, 10.0], [1.0, 0.0], [0.5, 5.0]])
    drawn = table(rows, names=["a$b", "c_d"])
    colours = {tuple(pixel) for pixel in drawn.reshape(-1, 3)}
    from matplotlib import colormaps

    for share in (0.0, 0.5, 1.0):
        wanted = np.array(colormaps["viridis"](share)[:3]) * 255
        assert any(np.abs(np.array(colour) - wanted).max() <= 2 for colour in colours)
    assert table(rows, scale=2).shape[0] == 2 * drawn.shape[0]


@pytest.mark.parametrize("generator", [WAVES, ROWS], ids=["series", "rows"])
def test_every_way_to_draw_takes_them(generator):
    x = lk.generate(generator, PRIOR.sample(5, seed=0))
    assert samples_sheet(x).dtype == np.uint8
    assert thumbnails(x, 24).shape == (5, 24, 24, 3)
    backdrop = lk.generate(generator, PRIOR.sample(50, seed=1))
    frames = list(render_samples(x, backdrop=backdrop, scale=2))
    assert {frame.shape for frame in frames} == {(2 * FRAME[1], 2 * FRAME[0], 3)}
    alone = next(iter(render_samples(x[2:3], backdrop=backdrop, scale=2)))
    assert (alone == frames[2]).all()  # the backdrop fixes the scale, not the company


def test_points_have_no_thumbnails(draw):
    with pytest.raises(ShapeError, match="no picture each"):
        thumbnails(draw(4, 2), 8)


@pytest.mark.parametrize("generator", [WAVES, ROWS], ids=["series", "rows"])
def test_a_generator_of_pictures_is_one_of_images(generator, tmp_path):
    rate = 400.0 if generator is WAVES else None
    view = pictured(generator, rate=rate, size=(96, 64))
    z = PRIOR.sample(6, seed=0)
    x = lk.generate(view, z)
    assert x.shape == (6, 3, 64, 96)
    assert (x.amin(), x.amax()) >= (-1, -1)
    assert x.amax() == 1
    one = lk.generate(view, z[3:4])
    if rate is None:
        assert one[0].equal(x[3])
    else:  # the spectrogram is relative to its loudest, the waveform is not
        assert one[0, :, :32].equal(x[3, :, :32])
    film = lk.animate(view, lk.loop(z, prior=PRIOR), frames=8)
    assert film.save(tmp_path / "a.gif").exists()


def test_a_generator_of_images_is_no_generator_of_series(draw):
    with pytest.raises(ShapeError, match="series are"):
        pictured(lk.wrap(lambda z: z.repeat(1, 6).reshape(-1, 3, 2, 2), PRIOR))
