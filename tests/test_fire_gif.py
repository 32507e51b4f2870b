"""GIFs say what was asked: of random films each frame is shown at its time, in its order, and loops if asked to."""

import numpy as np
import pytest
from PIL import Image, ImageSequence

from latentkit.animation import from_frames
from latentkit.encoders.gif import gif_info

pytestmark = pytest.mark.promise("gif")

#: Ms by which a whole film may be off, and any frame's beginning.
WHOLE, BEGIN = 10.0, 5.0


def random_film(rng):
    """Return frames (T, H, W, 3) that a GIF can hold exactly, many of them equal to the one before, and their times."""
    count, height, width = (int(n) for n in rng.integers((1, 1, 1), (40, 24, 24)))
    colours = rng.integers(0, 256, (int(rng.integers(2, 200)), 3), dtype=np.uint8)
    if rng.random() < 0.5:
        colours[:] = colours[:, :1]  # greys
    frames = [colours[rng.integers(0, len(colours), (height, width))]]
    for _ in range(count - 1):
        new = frames[-1].copy()
        kind = rng.random()
        if kind > 0.7:
            new = colours[rng.integers(0, len(colours), (height, width))]
        elif kind > 0.4:  # only a spot changes
            new[rng.integers(height), rng.integers(width)] = colours[rng.integers(len(colours))]
        frames.append(new)
    if rng.random() < 0.5:
        fps = float(rng.uniform(1.0, 50.0))
        return np.stack(frames), {"fps": fps}, [1000.0 / fps] * count
    times = (20.0 + rng.exponential(100.0, count)).tolist()
    return np.stack(frames), {"durations": times}, times


@pytest.mark.parametrize("seed", range(200))
def test_a_random_film_is_read_back_as_asked(tmp_path, seed):
    rng = np.random.default_rng(seed)
    frames, timing, times = random_film(rng)
    loop = bool(rng.random() < 0.5)
    path = from_frames(frames, loop=loop, **timing).save(tmp_path / "film.gif")

    info = gif_info(path)
    assert info.loop == loop
    assert abs(info.milliseconds - sum(times)) <= WHOLE
    # By another reader: what is on the screen in the middle of each frame's time is that frame.
    with Image.open(path) as image:
        assert ("loop" in image.info) == loop
        shown = [(np.asarray(part.convert("RGB")), part.info["duration"]) for part in ImageSequence.Iterator(image)]
    ends = np.cumsum([duration for _, duration in shown])
    begins = np.cumsum([0.0, *times])
    for frame, begin, end in zip(frames, begins[:-1], begins[1:], strict=True):
        place = int(np.searchsorted(ends, (begin + end) / 2.0, side="right"))
        assert np.array_equal(shown[place][0], frame)
    # A picture changes when it should.
    changes = [0, *(k for k in range(1, len(frames)) if not np.array_equal(frames[k], frames[k - 1]))]
    assert len(changes) == len(shown)
    assert np.abs(np.array([0, *ends[:-1]]) - begins[changes]).max() <= BEGIN + 1e-6
