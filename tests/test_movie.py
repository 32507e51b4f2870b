"""Films of a training: they show what was trained, and watching changes nothing."""

import dataclasses

import numpy as np
import pytest
import torch

from latentkit.conditional import marginal
from latentkit.encoders.gif import gif_info
from latentkit.errors import ArgumentError
from latentkit.priors import Empirical, Normal
from latentkit.protocols import wrap
from trainers import Data, GANConfig, GLOConfig, Movie, VAEConfig, digits, ring, train_gan, train_glo, train_vae
from trainers.__main__ import main
from trainers.movie import COLUMNS, ROWS, _fixed_latents, _latent_grid, share_below

# Runs this short make nearly equal samples, and say so.
pytestmark = pytest.mark.filterwarnings("ignore:the samples are nearly identical")

POINTS = GANConfig(steps=40, width=16)
IMAGES = GANConfig(steps=6, width=4, latent_dim=8, batch_size=8)


def few_digits():
    return dataclasses.replace(digits(), samples=digits().samples[:80], labels=digits().labels[:80])


@pytest.mark.parametrize(("data", "config"), [(ring(400), POINTS), (few_digits(), IMAGES)], ids=["points", "images"])
def test_watching_changes_nothing(data, config):
    plain = train_gan(data, config, progress=False)
    watched = train_gan(data, config, on_step=Movie(data, frames=5), progress=False)
    for network in ("generator", "critic"):
        ours, theirs = (getattr(c, network) for c in (plain, watched))
        ours, theirs = (m.module if network == "generator" else m for m in (ours, theirs))
        for (name, a), (_, b) in zip(ours.state_dict().items(), theirs.state_dict().items(), strict=True):
            assert a.equal(b), name


def test_a_film_begins_with_the_first_step_ends_with_the_last_and_looks_closer_early():
    movie = Movie(ring(400), frames=8)
    train_gan(ring(400), POINTS, on_step=movie, progress=False)
    film = movie.film(fps=10)
    steps = [int(caption.removeprefix("step ")) for caption in film.captions]
    assert (steps[0], steps[-1]) == (1, 40)
    assert steps == sorted(set(steps))
    gaps = np.diff(steps)
    assert gaps[0] < gaps[-1]
    assert film.durations[:-1] == (100.0,) * (film.count - 1)
    assert film.durations[-1] == 2000.0


def test_frames_of_points_have_fixed_axes():
    movie = Movie(ring(400), frames=4)
    train_gan(ring(400), POINTS, on_step=movie, progress=False)
    frames = list(movie.film().frames())
    assert len({frame.shape for frame in frames}) == 1
    # The strips that hold the axes' numbers are the same in all frames.
    assert all(np.array_equal(frame[-40:, :40], frames[0][-40:, :40]) for frame in frames)
    assert not np.array_equal(frames[0], frames[-1])


def test_a_frame_of_images_holds_the_samples_of_the_fixed_latents():
    movie, seen = Movie(few_digits(), frames=2), []

    def look(state):
        movie(state)
        seen.append(state.generator)

    train_gan(few_digits(), IMAGES, on_step=look, progress=False)
    frame = list(movie.film().frames())[-1]
    assert frame.shape == (ROWS * 34 - 2, 2 * (COLUMNS * 34 - 2) + 12, 3)


def test_the_latent_grid_is_lines_at_even_quantiles():
    grid = _latent_grid(Normal(2)).reshape(2, 15, -1, 2)
    assert (grid[0, :, :, 0].std(1) == 0).all(), "the first lines keep their first coordinate"
    assert (grid[1, :, :, 1].std(1) == 0).all()
    below = torch.special.ndtr(grid[0, :, 0, 0].double())
    torch.testing.assert_close(below, (torch.arange(15).double() + 0.5) / 15, atol=1e-6, rtol=0)
    assert _latent_grid(Normal(1)).shape == (2 * 15 * 60, 1)
    assert (_latent_grid(Normal(5))[:, 2:] == 0).all()


def test_the_command_films(tmp_path):
    out = tmp_path / "training.gif"
    argv = ["gan", "--data", "ring", "--steps", "30", "--width", "8", "--out", str(tmp_path / "run")]
    assert main([*argv, "--movie", str(out), "--quiet"]) == 0
    assert gif_info(out).milliseconds > 2000


@pytest.mark.parametrize(("movie", "says"), [("x.mp4", "--movie must end in .gif"), ("run.txt/x.gif", "not a folder")])
def test_a_film_that_cannot_be_written_is_refused_before_training(movie, says, tmp_path, capsys, monkeypatch):
    (tmp_path / "run.txt").write_text("mine")
    monkeypatch.setattr("trainers.gan.train_gan", None)
    argv = ["gan", "--data", "ring", "--out", str(tmp_path / "run"), "--movie", str(tmp_path / movie)]
    assert main(argv) == 2
    assert says in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_what_cannot_be_filmed_is_refused():
    with pytest.raises(ArgumentError, match="images or points"):
        Movie(Data("rows", torch.zeros(10, 7)))
    with pytest.raises(ArgumentError, match="at least 2"):
        Movie(ring(100), frames=1)
    with pytest.raises(ArgumentError, match="nothing has been filmed"):
        Movie(ring(100)).film()
    movie = Movie(ring(100))
    train_gan(ring(100), GANConfig(steps=2, width=8, batch_size=16), on_step=movie, progress=False)
    with pytest.raises(ArgumentError, match="fps"):
        movie.film(fps=0)


def test_the_grid_of_a_mixture_is_that_of_its_heaviest_component():
    shift, scale = torch.tensor([3.0, -1.0]), torch.tensor([[2.0, 0.0], [1.0, 0.5]])
    mixture = Empirical(
        torch.tensor([0.3, 0.7]), torch.stack([torch.zeros(2), shift]), torch.stack([torch.eye(2), scale])
    )
    torch.testing.assert_close(_latent_grid(mixture), shift + _latent_grid(Normal(2)) @ scale.T)


@pytest.mark.parametrize(("train", "config"), [(train_vae, VAEConfig), (train_glo, GLOConfig)])
@pytest.mark.parametrize("data", [ring(200), few_digits()], ids=["points", "images"])
def test_without_a_critic_there_is_no_field_and_no_score(train, config, data):
    """Points keep the background white, and images have no second panel."""
    movie = Movie(data, frames=3)
    train(data, config(steps=6, width=4, latent_dim=2, batch_size=8, threads=1), on_step=movie, progress=False)
    frames = list(movie.film().frames())
    assert len(frames) == len({frame.tobytes() for frame in frames}) == 3
    scored = Movie(data, frames=2)
    train_gan(data, GANConfig(steps=3, width=4, batch_size=8, threads=1), on_step=scored, progress=False)
    (judged, *_) = scored.film().frames()
    if data.is_images:
        assert frames[0].shape[1] < judged.shape[1]
    else:
        assert frames[0].shape == judged.shape
        assert np.mean(np.all(frames[0] == 255, axis=2)) > np.mean(np.all(judged == 255, axis=2))


def classes_of_images(count):
    """A generator whose images are the first latent on the left half and the class on the right one."""

    def make(z, labels):
        halves = torch.stack([z[:, 0].tanh(), labels / count], 1)
        return halves[:, None, None, :].repeat_interleave(2, 3).expand(-1, 1, 4, 4)

    return marginal(wrap(make, Normal(3), classes=count))


@pytest.mark.parametrize(("count", "columns"), [(2, 8), (3, 6), (10, 10), (40, 12)])
def test_a_row_holds_one_latent_in_each_class_and_a_column_one_class(count, columns):
    generator = classes_of_images(count)
    latents, found = _fixed_latents(generator)
    assert found == columns
    images = generator(latents).reshape(ROWS, columns, 4, 4)
    classes, inner = images[..., 0, 3] * count, images[..., 0, 0]
    assert (classes == classes[0]).all()
    each = columns // len(classes[0].unique())
    torch.testing.assert_close(classes[0], torch.arange(columns) // each * 1.0)
    assert (inner == inner[:, :each].repeat(1, columns // each)).all()
    assert len(inner.unique()) == ROWS * each, "and no latent twice"


def test_the_grid_of_a_conditional_generator_is_of_one_class():
    """Also with one latent coordinate, where the second of the grid must not become a class."""
    seen = []

    def make(z, labels):
        seen.append(labels)
        return torch.cat([z, z], 1)

    generator = marginal(wrap(make, Normal(1), classes=["a", "b"]))

    class State:
        step, steps, critic, losses = 1, 1, None, {}

    State.generator = generator
    movie = Movie(ring(100), frames=2)
    movie(State)
    assert set(torch.cat(seen[:1]).tolist()) == {0, 1}, "samples are of all classes"
    assert (seen[-1] == 0).all()


def test_a_conditional_generator_is_filmed():
    movie = Movie(ring(200), frames=3)
    train_gan(ring(200), GANConfig(steps=6, width=8, batch_size=8, conditional=True), on_step=movie, progress=False)
    assert movie.film().count == 3


class Look:
    """What a film is given: a step of one, the critic as a function of samples, and a generator that stays."""

    step, steps, losses = 1, 1, {}

    def __init__(self, generator, critic):
        self.generator, self.critic = generator, critic


def constant_images(z):
    return z[:, :1, None, None].tanh().expand(-1, 1, 32, 32)


FILMED = {
    "points": (ring(400), wrap(lambda z: 1.5 * z, Normal(2)), lambda x: (x[:, 0] - 0.3 * x[:, 1].square()).double()),
    "images": (few_digits(), wrap(constant_images, Normal(2)), lambda x: x.mean((1, 2, 3)).double()),
}


def filmed(kind, judged=lambda logits: logits):
    data, generator, critic = FILMED[kind]
    movie = Movie(data, frames=2)
    movie(Look(generator, lambda x: judged(critic(x))))
    return next(iter(movie.film().frames()))


@pytest.mark.parametrize("kind", FILMED)
def test_a_critic_is_shown_by_the_order_of_its_scores_alone(kind):
    """A Wasserstein critic has neither zero nor scale: what is added to it, or multiplies it, is not seen."""
    plain = filmed(kind)
    for same_order in (lambda x: 1000.0 * x + 500.0, lambda x: 1e-3 * x - 7e-3, torch.sinh, lambda x: x**3):
        shown = filmed(kind, same_order).astype(int)
        # float32 may make two scores one, and so move a rank by one sample of those that are compared.
        assert np.abs(shown - plain).max() <= 2
    assert np.abs(filmed(kind, lambda x: -x).astype(int) - plain).max() > 50, "and another order is seen"
    level = filmed(kind, torch.zeros_like)
    assert np.abs(level.astype(int) - plain).max() > 50


def test_a_rank_is_the_share_below_real_and_generated_ones_counting_alike(draw):
    values, known = draw(50), draw(200, seed=1)
    torch.testing.assert_close(share_below(values, known), (known[None] < values[:, None]).float().mean(1))
    assert torch.equal(share_below(torch.ones(3), torch.ones(7)), torch.full((3,), 0.5))
    data = Data("few", torch.tensor([[-1.0, 0.0], [1.0, 0.0]]))  # beside a thousand generated points
    movie = Movie(data, frames=2)
    movie(Look(wrap(lambda z: 0.0 * z + torch.tensor([0.5, 0.0]), Normal(2)), lambda x: x[:, 0]))
    ((field, *_),) = movie._looks
    x = np.linspace(*movie._limits[:2], field.shape[1])
    expected = ((x[:, None] > [-1.0, 1.0]).mean(1) + (x > 0.5)) / 2
    np.testing.assert_allclose(field, np.broadcast_to(expected, field.shape))


@pytest.mark.parametrize("images", [False, True])
def test_what_is_compared_comes_from_all_over_the_data(images):
    """Data may lie class by class: the first ones would be of one class."""
    levels = torch.arange(4000) * 4 // 4000
    samples = levels.to(torch.uint8)[:, None, None, None].expand(-1, 1, 16, 16).contiguous()
    movie = Movie(Data("sorted", samples if images else levels[:, None].float().expand(-1, 2).contiguous()))
    counts = torch.unique(movie._real.flatten(1)[:, 0], return_counts=True)[1]
    assert len(counts) == 4
    assert counts.max() - counts.min() <= 1
