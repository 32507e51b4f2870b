import pytest
import torch

from latentkit import attributes
from latentkit.errors import ArgumentError, ShapeError


def picture(rows, channels=1):
    """Return an image (1, C, H, W) in [-1, 1] from rows of '#' and '.'."""
    grey = torch.tensor([[1.0 if c == "#" else -1.0 for c in row] for row in rows])
    return grey.expand(1, channels, *grey.shape).clone()


RIGHT = picture(["....#", "...#.", "..#..", ".#...", "#...."])  # one pixel to the right a row upwards
UPRIGHT = picture(["..#.."] * 5)
IMAGES = attributes.attributes_of(UPRIGHT)
every_image = pytest.mark.parametrize("measure", IMAGES.values(), ids=IMAGES)


@every_image
def test_a_batch_is_measured_image_by_image(measure, draw):
    images = draw(6, 3, 9, 7).tanh()
    values = measure(images)
    assert values.shape == (6,)
    torch.testing.assert_close(values, torch.cat([measure(image[None]) for image in images]))
    order = torch.tensor([3, 1, 5, 0, 2, 4])
    assert measure(images[order]).equal(values[order])
    torch.testing.assert_close(measure(images.mean(1, keepdim=True)), values, rtol=1e-4, atol=1e-5)


@every_image
@pytest.mark.parametrize("level", [-1.0, 0.0, 1.0])
def test_plain_images_have_finite_attributes(measure, level):
    assert measure(torch.full((2, 1, 8, 8), level)).isfinite().all()


def test_brightness_runs_from_black_to_white():
    images = torch.stack([torch.full((1, 4, 4), v) for v in (-1.0, 0.0, 1.0)])
    torch.testing.assert_close(attributes.brightness(images), torch.tensor([0.0, 0.5, 1.0]).double())


def test_slant_is_in_pixels_a_row_upwards():
    assert attributes.slant(RIGHT).item() == pytest.approx(1)
    assert attributes.slant(RIGHT.flip(3)).item() == pytest.approx(-1)
    assert attributes.slant(RIGHT.flip(2)).item() == pytest.approx(-1)
    assert attributes.slant(UPRIGHT).item() == pytest.approx(0)


def test_width_is_the_horizontal_standard_deviation():
    assert attributes.width(UPRIGHT).item() == pytest.approx(0)
    assert attributes.width(RIGHT).item() == pytest.approx(2**0.5)
    assert attributes.width(picture(["#...#"])).item() == pytest.approx(2)


def test_symmetry_is_one_for_a_mirror_image():
    assert attributes.symmetry(UPRIGHT).item() == 1
    assert attributes.symmetry(picture(["##.."])).item() == 0
    assert attributes.symmetry(RIGHT).item() == attributes.symmetry(RIGHT.flip(3)).item()


def test_points_have_coordinates(draw):
    points = draw(5, 2)
    assert attributes.attributes_of(points).keys() == {"horizontal", "vertical"}
    assert attributes.horizontal(points).equal(points[:, 0].double())
    assert attributes.vertical(points).equal(points[:, 1].double())


@every_image
def test_images_are_asked_for(measure):
    with pytest.raises(ShapeError, match=r"images \(N, C, H, W\), got \(4, 4\)"):
        measure(torch.zeros(4, 4))


def test_points_are_asked_for():
    for measure in (attributes.horizontal, attributes.vertical):
        with pytest.raises(ShapeError, match=r"points \(N, 2\), got \(4, 3\)"):
            measure(torch.zeros(4, 3))
    with pytest.raises(ArgumentError, match=r"images \(N, C, H, W\) or points \(N, 2\), got \(4, 3\)"):
        attributes.attributes_of(torch.zeros(4, 3))
