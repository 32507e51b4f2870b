"""Samples to pictures: the formula, grids, scatters, files, and no trace left in matplotlib."""

import os
import subprocess
import sys

import numpy as np
import pytest
import torch
from PIL import Image

from latentkit.errors import ArgumentError, NonFiniteError, OutputError, ShapeError
from latentkit.render import (
    render_samples,
    samples_sheet,
    save_image,
    save_png,
    sheet,
    thumbnails,
    to_rgb,
    upscale,
)
from latentkit.scatter import plane_limits, points_rgb


def noise(*shape, seed=0):
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed)) * 2 - 1


def test_to_rgb_is_one_formula_rounded_to_even_and_clipped():
    values = torch.tensor([-3.0, -1.0, 0.0, 1.0, 7.0, 0.5 / 127.5 - 1, 1.5 / 127.5 - 1])
    grey = to_rgb(values.reshape(1, 1, 1, -1))[0, 0]
    assert grey[:, 0].tolist() == [0, 0, 128, 255, 255, 0, 2]
    assert (grey == grey[:, :1]).all()


def test_bytes_survive_the_way_there_and_back():
    pixels = torch.arange(256, dtype=torch.float32).reshape(1, 1, 16, 16)
    assert (to_rgb(pixels / 127.5 - 1)[0, ..., 0].ravel() == np.arange(256)).all()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_a_batch_is_a_stack_of_singles_in_any_float(dtype):
    images = noise(3, 3, 5, 4).to(dtype)
    together = to_rgb(images)
    assert together.shape == (3, 5, 4, 3)
    assert together.dtype == np.uint8
    assert (together == np.concatenate([to_rgb(image[None]) for image in images])).all()


@pytest.mark.parametrize("shape", [(4, 2, 8, 8), (4, 4, 8, 8), (3, 8, 8), (8,), (4, 0), (2, 3, 4, 8, 8), (4, 1, 0, 8)])
def test_what_cannot_be_drawn_is_refused_with_what_can(shape):
    with pytest.raises(ShapeError, match=r"\(N, 3, H, W\), or points \(N, 2\)"):
        samples_sheet(torch.zeros(shape))
    with pytest.raises(ShapeError):
        render_samples(torch.zeros(shape))


def test_bytes_and_nan_are_refused():
    with pytest.raises(ShapeError, match="floats"):
        to_rgb(torch.zeros(1, 1, 2, 2, dtype=torch.uint8))
    images = noise(4, 1, 2, 2)
    images[2, 0, 1, 1] = float("nan")
    with pytest.raises(NonFiniteError, match="2"):
        to_rgb(images)
    with pytest.raises(NonFiniteError):
        points_rgb(torch.tensor([[0.0, float("inf")]]))


def test_sheet_places_every_image_and_leaves_white_between():
    images = to_rgb(noise(5, 3, 4, 6))
    grid = sheet(images, 3, gap=2, scale=2)
    assert grid.shape == (2 * 8 + 2, 3 * 12 + 4, 3)
    for i in range(5):
        row, column = divmod(i, 3)
        cell = grid[row * 10 : row * 10 + 8, column * 14 : column * 14 + 12]
        assert (cell == upscale(images[i], 2)).all()
    assert (grid[8:10] == 255).all()
    assert (grid[10:, 28:] == 255).all()
    assert sheet(images).shape == (2 * 4 + 2, 3 * 6 + 4, 3)


@pytest.mark.parametrize("bad", [{"columns": 0}, {"gap": -1}, {"scale": 0}, {"columns": 1.5}])
def test_sheet_refuses_impossible_layouts(bad):
    with pytest.raises(ArgumentError):
        sheet(to_rgb(noise(2, 1, 2, 2)), **bad)
    with pytest.raises(ShapeError):
        sheet(np.zeros((0, 2, 2, 3), np.uint8))


def test_thumbnails_keep_the_mean_and_are_square():
    images = noise(300, 3, 32, 32)
    small = thumbnails(images, 8)
    assert small.shape == (300, 8, 8, 3)
    assert np.abs(small.mean((1, 2)) - to_rgb(images).mean((1, 2))).max() < 1
    wide = thumbnails(torch.ones(1, 1, 8, 16), 16)[0]
    assert (wide[:4] == 0).all()
    assert (wide[4:12] == 255).all()


def test_png_round_trip_with_metadata(tmp_path):
    picture = to_rgb(noise(1, 3, 9, 7))[0]
    path = tmp_path / "neu" / "实验 ü 😀 a b.png"
    assert save_png(picture, path, metadata={"made by": "Zürich 実験"}) == path
    with Image.open(path) as image:
        assert (np.asarray(image) == picture).all()
        assert image.text["made by"] == "Zürich 実験"
    assert [entry.name for entry in path.parent.iterdir()] == [path.name]


def test_webp_is_written_by_suffix(tmp_path):
    with Image.open(save_image(np.zeros((4, 6, 3), np.uint8), tmp_path / "a.webp")) as image:
        assert (image.format, image.size) == ("WEBP", (6, 4))


def test_wrong_suffix_shape_or_place_is_refused_and_harms_nothing(tmp_path):
    picture = np.zeros((4, 4, 3), np.uint8)
    with pytest.raises(ArgumentError, match=r"\.png"):
        save_png(picture, tmp_path / "a.jpg")
    (tmp_path / "dir.png").mkdir()
    with pytest.raises(OutputError, match="folder"):
        save_png(picture, tmp_path / "dir.png")
    good = save_png(picture, tmp_path / "good.png").read_bytes()
    for bad in (picture[..., 0], picture.astype(float), picture[:0]):
        with pytest.raises(ShapeError):
            save_png(bad, tmp_path / "good.png")
    assert (tmp_path / "good.png").read_bytes() == good


def test_limits_hold_every_point_and_survive_equal_ones():
    points = noise(50, 2) * torch.tensor([1.0, 5.0]) + 100
    left, right, bottom, top = plane_limits(points)
    assert left < points[:, 0].min() < points[:, 0].max() < right
    assert bottom < points[:, 1].min() < points[:, 1].max() < top
    assert right - left == pytest.approx(top - bottom)
    for value in (0.0, 1e8):
        left, right, _, _ = plane_limits(torch.full((3, 2), value))
        assert left < value < right


def test_scatter_has_its_size_and_any_text_is_drawn_as_it_is():
    picture = points_rgb(
        noise(40, 2), values=noise(40), label="a_b $x", title="$5 \\frac{", backdrop=noise(9, 2), size=200
    )
    assert picture.shape == (200, 200, 3)
    assert picture.dtype == np.uint8
    with pytest.raises(ShapeError, match="values"):
        points_rgb(noise(4, 2), values=noise(3))


def test_moving_points_keep_their_axes_and_a_closed_way_has_no_seam():
    angle = torch.arange(20) / 20 * 2 * torch.pi
    ring = torch.stack([angle.cos(), angle.sin()], 1)
    frames = list(render_samples(ring, closed=True))
    assert len(frames) == 20
    assert {frame.shape for frame in frames} == {(320, 320, 3)}
    changes = [(a != b).any(-1) for a, b in zip(frames, [*frames[1:], frames[0]], strict=True)]
    amounts = [int(change.sum()) for change in changes]
    assert max(amounts) < 1.5 * min(amounts)  # the step over the seam is like every other
    still = ~np.any(changes, axis=0)
    assert still.mean() > 0.8  # axes and labels do not move
    assert not (next(iter(render_samples(ring))) == frames[0]).all()  # an open way starts without a trail


def test_images_come_one_frame_a_sample_enlarged():
    images = noise(3, 1, 4, 4)
    frames = list(render_samples(images, scale=3))
    assert (np.stack(frames) == upscale(to_rgb(images), 3)).all()


def test_drawing_leaves_settings_alone_and_obeys_none_of_them():
    import matplotlib

    plain = points_rgb(noise(5, 2), size=128)
    with matplotlib.rc_context({"font.size": 20, "axes.facecolor": "red", "lines.markersize": 30}):
        before = dict(matplotlib.rcParams)
        moving = render_samples(noise(4, 2))
        next(moving)
        assert dict(matplotlib.rcParams) == before  # also while frames are still to come
        assert (points_rgb(noise(5, 2), size=128) == plain).all()


def test_plots_need_neither_home_nor_screen(tmp_path):
    blocked = tmp_path / "file"
    blocked.write_text("")
    environment = {k: v for k, v in os.environ.items() if k not in ("MPLCONFIGDIR", "XDG_CONFIG_HOME", "DISPLAY")}
    environment |= {"HOME": str(blocked), "XDG_CONFIG_HOME": str(blocked / "x"), "MPLBACKEND": "TkAgg"}
    code = (
        "import sys, torch; from latentkit.scatter import points_rgb; "
        "print(points_rgb(torch.zeros(2, 2)).shape, 'matplotlib.pyplot' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout.strip(), done.stderr) == (0, "(320, 320, 3) False", "")
