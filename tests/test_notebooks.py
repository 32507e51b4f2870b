"""What a notebook shows: pictures that open, tables whose texts stay text, films that play."""

import base64
import io
import re
from html.parser import HTMLParser

import numpy as np
import pytest
import torch
from PIL import Image

import latentkit as lk
from latentkit.animation import from_frames
from latentkit.errors import ArgumentError
from latentkit.notebooks import html_of, png_of

WAVES = lk.wrap(lambda z: z.tanh().reshape(-1, 1, 2, 2), lk.Normal(4))
HOSTILE = "<script>alert(1)</script>"


class Tags(HTMLParser):
    def __init__(self, text):
        super().__init__()
        self.found, self.texts = [], []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.found.append(tag)

    def handle_data(self, data):
        self.texts.append(data)


@pytest.fixture(scope="module")
def results():
    z = WAVES.prior.sample(60, seed=0)
    direction = lk.learn_direction(WAVES, lambda x: x.mean((1, 2, 3)), name=HOSTILE, n=200)
    return {
        "projection": lk.project(z, "pca"),
        "sweep": lk.sweep(WAVES, direction, z[:2]),
        "inversion": lk.invert(WAVES, lk.generate(WAVES, z[:3]), steps=5, pool=20),
        "bake-off": lk.bake_off(WAVES, z[0], z[1], steps=8, curves={HOSTILE: lk.tour(z[:2])}),
        "audit": lk.audit(
            WAVES, direction, attributes={HOSTILE: lambda x: x.mean((1, 2, 3))}, n=16, draws=50, random=2
        ),
        "film": lk.animate(WAVES, lk.lerp(z[0], z[1]), frames=12, fps=10),
    }


@pytest.mark.parametrize("name", ["projection", "sweep", "inversion"])
def test_a_picture_opens(name, results):
    with Image.open(io.BytesIO(results[name]._repr_png_())) as image:
        assert image.format == "PNG"
        assert len(np.unique(np.asarray(image.convert("RGB")).reshape(-1, 3), axis=0)) > 2


def test_a_quality_map_and_its_calibration_are_pictures():
    plane = lk.wrap(lambda z: z, lk.Normal(2))
    quality = lk.quality_map(
        plane, lambda x: 2.0 - x.norm(dim=1), lk.Normal(2, std=0.7).sample(200, seed=1), n=300, seed=0
    )
    for result in (quality, quality.calibration):
        with Image.open(io.BytesIO(result._repr_png_())) as image:
            assert image.size[0] > 100


@pytest.mark.parametrize("name", ["bake-off", "audit"])
def test_a_tables_texts_stay_text(name, results):
    page = Tags(results[name]._repr_html_())
    assert set(page.found) <= {"table", "thead", "tbody", "tr", "th", "td", "p"}
    assert page.found.count("table") == 1
    assert any(HOSTILE in text for text in page.texts)


def test_a_film_plays_inline_and_a_long_one_is_named(results):
    found = re.fullmatch(
        r'<img src="data:(image/\w+);base64,([^"]+)" alt="a film of 12 frames, 1.2 s" .*>',
        results["film"]._repr_html_(),
    )
    with Image.open(io.BytesIO(base64.b64decode(found[2]))) as image:
        assert image.n_frames == 12
        assert Image.MIME[image.format] == found[1]
    frame = np.zeros((4, 4, 3), dtype=np.uint8)
    long = from_frames(lambda: iter([frame] * 700), count=700, fps=20)
    assert "too long to show" in long._repr_html_()


def test_a_checkpoint_is_a_table(point_checkpoint):
    page = Tags(point_checkpoint._repr_html_())
    assert page.found.count("tr") == 7
    assert repr(point_checkpoint.generator.prior) in page.texts


def test_what_has_no_picture_is_refused():
    with pytest.raises(ArgumentError, match="no picture of a Tensor"):
        png_of(torch.zeros(2))
    with pytest.raises(ArgumentError, match="no page of a Tensor"):
        html_of(torch.zeros(2))
