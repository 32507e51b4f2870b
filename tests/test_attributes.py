import math

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


def test_height_is_the_vertical_standard_deviation():
    for rows in (["#", ".", ".", ".", "#"], ["....#", "...#.", "..#..", ".#...", "#...."], ["###"]):
        image = picture(rows)
        torch.testing.assert_close(attributes.height(image), attributes.width(image.transpose(2, 3)))
    assert attributes.height(picture(["#", ".", ".", ".", "#"])).item() == pytest.approx(2)


def bar(across, along, size=40, value=1.0):
    """Return an image (1, 1, size, size) of an upright bar, `across` pixels wide and `along` high, off-centre."""
    image = torch.full((1, 1, size, size), -1.0)
    image[..., 3 : 3 + along, 5 : 5 + across] = value
    return image


@pytest.mark.parametrize("across", range(1, 12))
@pytest.mark.parametrize("value", [1.0, -0.7])
def test_stroke_width_and_area_of_bars_are_exact(across, value):
    image = bar(across, 30, value=value)
    for turned in (image, image.transpose(2, 3)):
        assert attributes.stroke_width(turned).item() == across
        assert attributes.area(turned).item() == pytest.approx(across * 30 / 40**2)


def test_stroke_width_of_shapes_that_fill_the_image_and_of_nothing():
    assert attributes.stroke_width(torch.ones(1, 1, 20, 7)).item() == 7
    assert attributes.stroke_width(torch.full((1, 1, 20, 7), -1.0)).item() == 0
    assert attributes.stroke_width(bar(9, 9)).item() == 9


def disc(radius, size=64):
    y, x = torch.meshgrid(torch.arange(size), torch.arange(size), indexing="ij")
    inside = (x - size / 2 + 0.5) ** 2 + (y - size / 2 + 0.5) ** 2 <= radius**2
    return torch.where(inside, 1.0, -1.0)[None, None]


@pytest.mark.parametrize("radius", [8.0, 15.0, 25.0])
def test_a_disc_has_its_own_diameter_area_and_spread(radius):
    image = disc(radius)
    assert attributes.stroke_width(image).item() == pytest.approx(2 * radius, abs=1.5)  # a staircase
    assert attributes.area(image).item() == pytest.approx(math.pi * radius**2 / 64**2, rel=0.05)
    assert attributes.width(image).item() == pytest.approx(radius / 2, rel=0.02)
    assert attributes.height(image).item() == pytest.approx(radius / 2, rel=0.02)


@pytest.mark.parametrize("degrees", [0, 20, 45, 70])
def test_stroke_width_follows_slanted_strokes(degrees):
    """Strips across the whole image: what was drawn is found at every angle."""
    y, x = torch.meshgrid(torch.arange(64) - 31.5, torch.arange(64) - 31.5, indexing="ij")
    turn = math.radians(degrees)
    across = (x * math.cos(turn) + y * math.sin(turn)).abs()
    for drawn in (4.0, 8.0, 14.0):
        image = torch.where(across < drawn / 2, 1.0, -1.0)[None, None]
        assert attributes.stroke_width(image).item() == pytest.approx(drawn, abs=1.2)


def test_contrast_is_the_standard_deviation_of_intensity():
    assert attributes.contrast(picture(["##..", "##.."])).item() == pytest.approx(0.5)
    assert attributes.contrast(picture(["#..."])).item() == pytest.approx(math.sqrt(3) / 4)
    halved = picture(["##..", "##.."]) / 2
    assert attributes.contrast(halved).item() == pytest.approx(0.25)


def test_sharpness_of_a_chequerboard_of_noise_and_of_a_shade(draw):
    y, x = torch.meshgrid(torch.arange(8), torch.arange(8), indexing="ij")
    board = torch.where((x + y) % 2 == 0, 1.0, -1.0)[None, None]
    assert attributes.sharpness(board).item() == pytest.approx(2.0)
    noise = 0.2 * draw(1, 1, 200, 200)
    assert attributes.sharpness(noise).item() == pytest.approx(1.0, abs=0.02)
    torch.testing.assert_close(attributes.sharpness(noise), attributes.sharpness(0.5 * noise + 0.3), rtol=1e-4, atol=0)
    shade = torch.linspace(-1, 1, 100).expand(1, 1, 100, 100)
    # One part of the range a step, in one of two directions; a uniform variance is 1 / 12.
    assert attributes.sharpness(shade).item() == pytest.approx(0.5 / 99**2 / (2 / 12 * 101 / 99), rel=1e-3)


COLOURS = {
    # red, green, blue in [0, 1]: warmth, greenness, saturation
    (1.0, 0.0, 0.0): (1.0, -0.5, 1.0),
    (0.0, 1.0, 0.0): (0.0, 1.0, 1.0),
    (0.0, 0.0, 1.0): (-1.0, -0.5, 1.0),
    (0.5, 0.5, 0.5): (0.0, 0.0, 0.0),
    (0.0, 0.0, 0.0): (0.0, 0.0, 0.0),
    (0.8, 0.6, 0.4): (0.4, 0.0, 0.5),
    (0.08, 0.06, 0.04): (0.04, 0.0, 0.5),
}


@pytest.mark.parametrize(("colour", "wanted"), COLOURS.items())
def test_known_colours(colour, wanted):
    image = 2.0 * torch.tensor(colour)[None, :, None, None].expand(1, 3, 4, 5) - 1.0
    measures = (attributes.warmth, attributes.greenness, attributes.saturation)
    assert [measure(image).item() for measure in measures] == pytest.approx(wanted, abs=1e-5)


def test_colours_are_measured_on_colour_images_only(draw):
    colours = {"warmth", "greenness", "saturation"}
    assert attributes.attributes_of(torch.zeros(1, 3, 4, 4)).keys() == IMAGES.keys() | colours
    assert not attributes.attributes_of(torch.zeros(1, 4, 4, 4)).keys() & colours
    images = draw(6, 3, 9, 7).tanh()
    for measure in (attributes.warmth, attributes.greenness, attributes.saturation):
        values = measure(images)
        assert values.equal(torch.cat([measure(image[None]) for image in images]))
        with pytest.raises(ShapeError, match=r"colour images \(N, 3, H, W\), got \(2, 1, 4, 4\)"):
            measure(torch.zeros(2, 1, 4, 4))


def test_symmetry_is_one_for_a_mirror_image():
    assert attributes.symmetry(UPRIGHT).item() == 1
    assert attributes.symmetry(picture(["##.."])).item() == 0
    assert attributes.symmetry(RIGHT).item() == attributes.symmetry(RIGHT.flip(3)).item()


def test_points_have_coordinates(draw):
    points = draw(5, 2)
    assert attributes.attributes_of(points).keys() == {"horizontal", "vertical", "radius", "angle"}
    assert attributes.horizontal(points).equal(points[:, 0].double())
    assert attributes.vertical(points).equal(points[:, 1].double())


def test_points_have_polar_coordinates():
    points = torch.tensor([[3.0, 4.0], [0.0, 2.0], [-1.0, 0.0], [0.0, 0.0]])
    torch.testing.assert_close(attributes.radius(points), torch.tensor([5.0, 2.0, 1.0, 0.0]).double())
    wanted = torch.tensor([math.atan2(4, 3), math.pi / 2, math.pi, 0.0]).double()
    torch.testing.assert_close(attributes.angle(points), wanted)


@every_image
def test_images_are_asked_for(measure):
    with pytest.raises(ShapeError, match=r"images \(N, C, H, W\), got \(4, 4\)"):
        measure(torch.zeros(4, 4))


def test_points_are_asked_for():
    for measure in (attributes.horizontal, attributes.vertical, attributes.radius, attributes.angle):
        with pytest.raises(ShapeError, match=r"points \(N, 2\), got \(4, 3\)"):
            measure(torch.zeros(4, 3))
    with pytest.raises(ArgumentError, match=r"or rows \(N, F\), got \(4,\)"):
        attributes.attributes_of(torch.zeros(4))


def test_a_series_has_a_level_a_loudness_and_a_roughness():
    x = torch.tensor([[3.0, -3.0, 3.0, -3.0], [2.0, 2.0, 2.0, 2.0]])
    wanted = {"level": [0.0, 2.0], "loudness": [3.0, 2.0], "roughness": [6.0, 0.0]}
    for samples in (x, x[:, None], x[:, None].expand(-1, 3, -1)):
        found = {name: measure(samples).tolist() for name, measure in attributes.attributes_of(samples).items()}
        assert found == wanted
