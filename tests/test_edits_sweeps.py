import math

import numpy as np
import pytest
import torch

import latentkit as lk
from latentkit.directions import from_vectors
from latentkit.edits import audit, safe_strengths, sweep
from latentkit.errors import ArgumentError, LatentkitError, ShapeError
from latentkit.strengths import sweep_film, sweep_sheet

PRIOR = lk.Normal(4)
IMAGES = lk.wrap(lambda z: z.tanh().reshape(-1, 1, 2, 2), PRIOR)
POINTS = lk.wrap(lambda z: z[:, :2], PRIOR)


def axis(prior=PRIOR, name="axis"):
    return from_vectors(torch.eye(prior.dim)[:1], [name], "by hand", prior)[0]


def test_each_latent_is_moved_by_each_strength():
    z = PRIOR.sample(3, seed=0)
    found = sweep(POINTS, axis(), z, [-1.0, 0.0, 2.5])
    assert found.latents.shape == (3, 3, 4)
    assert found.samples.shape == (3, 3, 2)
    torch.testing.assert_close(found.samples[:, :, 0], z[:, :1] + torch.tensor([-1.0, 0.0, 2.5]))
    torch.testing.assert_close(found.samples[:, :, 1], z[:, 1:2].expand(3, 3))
    torch.testing.assert_close(found.typicality[:, 1], PRIOR.typicality(z))
    assert found.strengths.tolist() == [-1.0, 0.0, 2.5]
    assert found.probability is None


def test_batches_change_nothing_and_probabilities_are_each_samples():
    def bell(x):
        return torch.exp(-(x[:, 0] ** 2))

    z = PRIOR.sample(5, seed=0)
    a, b = (sweep(POINTS, axis(), z, [0.0, 1.0], critic=bell, batch_size=size) for size in (3, 64))
    torch.testing.assert_close(a.samples, b.samples)
    torch.testing.assert_close(a.probability, torch.exp(-(a.samples[..., 0].double() ** 2)), atol=1e-6, rtol=1e-5)


def test_the_default_strengths_are_seven_over_the_safe_range():
    direction = axis()
    low, high = direction.safe_range
    expected = torch.tensor([low, 2 * low / 3, low / 3, 0, high / 3, 2 * high / 3, high], dtype=torch.float64)
    torch.testing.assert_close(sweep(POINTS, direction, PRIOR.sample(1, seed=0)).strengths, expected)


def test_an_audits_range_is_preferred():
    def near(x):
        return torch.exp(-(x[:, 0] ** 2))

    audited = audit(POINTS, axis(), critic=near, random=0).directions[0]
    strengths = safe_strengths(audited, PRIOR, 5)
    assert (float(strengths[0]), float(strengths[-1])) == pytest.approx(audited.audit.safe_range)
    assert audited.audit.safe_range[1] < audited.safe_range[1]
    assert strengths[2] == 0


def test_a_sphere_is_not_left():
    prior = lk.Sphere(4, 3.0)
    found = sweep(lk.wrap(lambda z: z, prior), axis(prior), prior.sample(5, seed=0))
    assert len(found.strengths) == 7
    assert bool((found.strengths.diff() > 0).all())
    assert bool((found.typicality == 1).all())
    assert bool((found.samples[:, :, 0].diff(dim=1) > 0).all()), "and moves towards the axis all the same"


@pytest.mark.parametrize(
    ("change", "error", "says"),
    [
        ({"strengths": []}, LatentkitError, "strength"),
        ({"strengths": [0.0, math.nan]}, ArgumentError, "strengths"),
        ({"strengths": ["far"]}, ArgumentError, "strengths"),
        ({"strengths": 1.0}, ArgumentError, "strengths"),
        ({"latents": torch.zeros(4)}, ShapeError, r"z\[None\]"),
        ({"latents": torch.zeros(0, 4)}, ShapeError, "at least 1"),
        ({"direction": axis(lk.Normal(3))}, ShapeError, "4 coordinates"),
        ({"critic": lambda x: 5.0 * x[:, 0]}, ArgumentError, "calibrated"),
    ],
)
def test_what_a_sweep_cannot_take(change, error, says):
    given = {"direction": axis(), "latents": PRIOR.sample(2, seed=0), "strengths": [0.0, 1.0], "critic": None, **change}
    with pytest.raises(error, match=says):
        sweep(POINTS, given["direction"], given["latents"], given["strengths"], critic=given["critic"])


@pytest.mark.parametrize("count", [2, 1, 4, 7.0])
def test_safe_strengths_have_a_middle(count):
    with pytest.raises(ArgumentError, match="count"):
        safe_strengths(axis(), PRIOR, count)


def images_of(strengths, rows=3):
    return sweep(IMAGES, axis(name="bold"), PRIOR.sample(rows, seed=0), strengths)


def test_a_sheet_holds_the_samples_pixel_by_pixel():
    """A row a latent and a column a strength, 2 white pixels between them, at the right of the sheet."""
    found = images_of([-2.0, 0.0, 2.0])
    expected = np.full((124, 124), 255, dtype=np.uint8)
    for row in range(3):
        for column in range(3):
            image = (found.samples[row, column, 0] * 127.5 + 127.5).round().numpy().astype(np.uint8)
            place = slice(42 * row, 42 * row + 40), slice(42 * column, 42 * column + 40)
            expected[place] = image.repeat(20, 0).repeat(20, 1)
    sheet = sweep_sheet(found, scale=20)
    places = [y for y in range(len(sheet) - 123) if (sheet[y : y + 124, -124:] == expected[..., None]).all()]
    assert len(places) == 1


def test_a_sheet_says_more_with_a_critic():
    plain = images_of([-1.0, 0.0, 1.0])
    scored = sweep(IMAGES, axis(), PRIOR.sample(3, seed=0), [-1.0, 0.0, 1.0], critic=lambda x: 0.5 + 0 * x[:, 0, 0, 0])
    assert len(sweep_sheet(scored)) > len(sweep_sheet(plain))


def test_a_name_in_any_language_is_drawn():
    found = sweep(IMAGES, axis(name="明るさ $x_1$ <b>"), PRIOR.sample(1, seed=0), [0.0, 1.0])
    assert sweep_sheet(found).dtype == np.uint8
    assert sweep_film(found).count == 2


def test_a_film_goes_there_and_back_without_a_doubled_end():
    found = images_of([1.0, -1.0, 0.0, 2.0])  # in any order
    film = sweep_film(found, fps=10, scale=1)
    assert film.count == 6
    shown = [float(caption.split()[1]) for caption in film.captions]
    assert shown == [-1.0, 0.0, 1.0, 2.0, 1.0, 0.0]
    frames = list(film.frames())
    assert np.array_equal(frames[1], frames[5])
    assert np.array_equal(frames[2], frames[4])
    assert not np.array_equal(frames[0], frames[-1])
    assert film.seconds == pytest.approx(0.6)


def test_points_are_filmed_on_one_stage():
    found = sweep(
        POINTS, axis(), PRIOR.sample(4, seed=0), safe_strengths(axis(), PRIOR, 5), critic=lambda x: 0 * x[:, 0]
    )
    film = sweep_film(found)
    frames = list(film.frames())
    assert len(frames) == film.count == 8
    assert len({frame.tobytes() for frame in frames}) == 5, "each strength is one picture"
    assert all("probability 0.00" in caption for caption in film.captions)
    assert sweep_sheet(found).shape[2] == 3


def test_what_cannot_be_drawn_is_said():
    rows = sweep(
        lk.wrap(lambda z: z.repeat(1, 4).reshape(len(z), 4, -1, 1), PRIOR), axis(), PRIOR.sample(2, seed=0), [0.0, 1.0]
    )
    for draw in (sweep_sheet, sweep_film):
        with pytest.raises(ShapeError, match=r"images .* points"):
            draw(rows)
    with pytest.raises(ArgumentError, match="at least 2 strengths"):
        sweep_film(images_of([1.0]))
