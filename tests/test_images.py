"""Image files as samples: the pixels that were saved, or one line that names the file."""

import numpy as np
import pytest
import torch
from PIL import Image

from latentkit.errors import ArgumentError, DataError, ShapeError
from latentkit.images import read_images


@pytest.fixture
def picture(tmp_path):
    values = np.random.default_rng(0).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    Image.fromarray(values).save(tmp_path / "a.png")
    return tmp_path / "a.png", values


def test_what_was_saved_is_read(picture):
    file, values = picture
    found = read_images([file, file], (3, 8, 8))
    assert found.dtype == torch.float32
    wanted = torch.from_numpy(values).permute(2, 0, 1) / 127.5 - 1.0
    torch.testing.assert_close(found, wanted.expand(2, 3, 8, 8), atol=1e-6, rtol=0)


def test_a_wide_image_gives_its_middle_at_the_size_that_is_asked(tmp_path):
    wide = np.zeros((20, 60), dtype=np.uint8)
    wide[:, 20:40] = 255
    Image.fromarray(wide).save(tmp_path / "wide.png")
    found = read_images([tmp_path / "wide.png"], (1, 16, 16))
    assert found.shape == (1, 1, 16, 16)
    assert found[..., 2:-2].eq(1.0).all(), "only its border may have something of what is beside it"


def test_files_that_cannot_be_read_are_named(picture, tmp_path):
    file, _ = picture
    whole = file.read_bytes()
    (tmp_path / "cut.png").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "text.jpg").write_text("not a picture")
    (tmp_path / "empty.png").touch()
    for name in ("cut.png", "text.jpg", "empty.png", "missing.png"):
        with pytest.raises(DataError, match=f"{name} cannot be read as an image: ."):
            read_images([file, tmp_path / name], (3, 8, 8))
    with pytest.raises(DataError, match="more than 10; make it smaller"):
        read_images([file], (3, 8, 8), max_pixels=10)


def test_what_is_no_request_for_images_is_refused(picture):
    with pytest.raises(ArgumentError, match="no image files"):
        read_images([], (3, 8, 8))
    for shape in ((2,), (3, 8, 9), (2, 8, 8)):
        with pytest.raises(ShapeError, match="read as squares"):
            read_images([picture[0]], shape)
