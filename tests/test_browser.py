"""The report in a real browser: what is hovered over, chosen, cut and downloaded is what NumPy has."""

import base64
import io
import json
import re
import time

import numpy as np
import pytest
import torch
from PIL import Image

import latentkit as lk
from latentkit.animation import from_frames
from latentkit.render import thumbnails

N, EDGE = 500, 14

#: Four of the generator's, and one for each class.
LATENTS = lk.Normal(7).sample(N, seed=0)
HOSTILE = ("<script>alert(1)</script>", '"><img src=x onerror=alert(1)>', "</script ><!--<script><b>two & more</b>")


@pytest.fixture(scope="module", autouse=True)
def _short_films():
    """Films are tested elsewhere; here they only have to be there."""
    with pytest.MonkeyPatch.context() as patch:
        for place in ("bakeoffs.FRAMES", "classes.FRAMES", "manifold.FRAMES", "walks.FRAMES", "ways.STEPS"):
            patch.setattr(f"latentkit.reports.{place}", 4)
        patch.setattr("latentkit.reports.mapping.FRAMES_EACH", 2)
        yield


def quadrants(z, labels):
    """Make images (N, 1, 8, 8) of latents (N, 4): a grey a quarter, and a bright row whose place is the class."""
    x = z.tanh().reshape(-1, 1, 2, 2).repeat_interleave(4, 2).repeat_interleave(4, 3)
    rows = torch.arange(8)[None, None, :, None] == 2 * labels[:, None, None, None] + 1
    return torch.where(rows, 1.0, 0.9 * x)


@pytest.fixture(scope="module")
def named_checkpoint():
    """Of three classes whose names are markup, as is the run's; real samples are less bold than generated ones."""
    labels = torch.arange(240) % 3
    real = quadrants(0.5 * lk.Normal(4).sample(240, seed=5), labels)
    return lk.Checkpoint(
        lk.wrap(quadrants, lk.Normal(4), classes=HOSTILE),
        lambda x: -8.0 * x.square().mean((1, 2, 3)),
        real,
        labels,
        HOSTILE,
        data=HOSTILE[0],
        trainer=HOSTILE[1],
    )


@pytest.fixture(scope="module")
def image_page(named_checkpoint, tmp_path_factory):
    return lk.report(named_checkpoint, tmp_path_factory.mktemp("browser") / "images", n=N, progress=False)


@pytest.fixture(scope="module")
def single_page(point_checkpoint, tmp_path_factory):
    folder = tmp_path_factory.mktemp("browser") / "single"
    return lk.report(point_checkpoint, folder, n=N, seed=2**64 - 1, single_file=True, progress=False)


class Page:
    """A report in the browser, at a size, with what it embeds."""

    def __init__(self, driver, path, *, width=1200, height=1000, dark=False):
        self.driver, self.path = driver, path
        for kind in ("browser", "performance"):
            driver.get_log(kind)
        features = {"prefers-color-scheme": "dark" if dark else "light", "prefers-reduced-motion": "reduce"}
        self.cdp(
            "Emulation.setEmulatedMedia",
            media="screen",
            features=[{"name": k, "value": v} for k, v in features.items()],
        )
        self.cdp(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=width < 500
        )
        driver.get(path.as_uri())
        text = path.read_text(encoding="utf-8")
        self.data = json.loads(text.split('id="map-data">')[1].split("</script>")[0])
        block = base64.b64decode(text.split('id="map-block">')[1].split("</script>")[0])
        self.block = np.frombuffer(block, dtype="<f4")
        at, n = self.data["layouts"][0]["at"], self.data["n"]
        self.places = self.block[at : at + 2 * n].reshape(2, n).T.astype(float)
        self.until("return document.getElementById('map-count').textContent")
        self.js("document.getElementById('map-canvas').scrollIntoView()")
        self.frame()

    def cdp(self, command, **arguments):
        return self.driver.execute_cdp_cmd(command, arguments)

    def js(self, code, *arguments):
        return self.driver.execute_script(code, *arguments)

    def frame(self):
        """Wait until what was asked for has been drawn."""
        self.driver.execute_async_script("requestAnimationFrame(() => requestAnimationFrame(arguments[0]))")

    def until(self, code, seconds=20.0):
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            found = self.js(code)
            if found:
                return found
            time.sleep(0.05)
        raise AssertionError(f"waited {seconds} s in vain for {code}")

    def part(self, name):
        return self.driver.find_element("id", f"map-{name}")

    def text(self, name):
        return self.js("return document.getElementById(arguments[0]).textContent", f"map-{name}")

    def values(self, name):
        field = next(f for f in self.data["fields"] if f["name"] == name)
        return self.block[field["at"] : field["at"] + self.data["n"]]

    def latents(self):
        n, dim, at = self.data["n"], self.data["dim"], self.data["latents"]
        return self.block[at : at + n * dim].reshape(n, dim)

    def pixels(self):
        """Return where samples lie on the canvas (N, 2) in CSS pixels: the map in the middle, as large as it can be."""
        width, height = self.js(
            "const c = document.getElementById('map-canvas'); return [c.clientWidth, c.clientHeight]"
        )
        low, high = self.places.min(0), self.places.max(0)
        scale = min((width - 2 * EDGE) / (high - low)[0], (height - 2 * EDGE) / (high - low)[1])
        shifted = (self.places - (low + high) / 2) * scale
        return np.stack([width / 2 + shifted[:, 0], height / 2 - shifted[:, 1]], axis=1)

    def mouse(self, kind, place, *, buttons=0, modifiers=0):
        box = self.js("const b = document.getElementById('map-canvas').getBoundingClientRect(); return [b.left, b.top]")
        self.cdp(
            "Input.dispatchMouseEvent",
            type=kind,
            x=box[0] + place[0],
            y=box[1] + place[1],
            button="left" if buttons else "none",
            buttons=buttons,
            clickCount=1 if kind in ("mousePressed", "mouseReleased") else 0,
            modifiers=modifiers,
        )

    def drag(self, start, end, *, modifiers=0):
        self.mouse("mouseMoved", start)
        self.mouse("mousePressed", start, buttons=1, modifiers=modifiers)
        self.mouse("mouseMoved", (np.add(start, end)) / 2, buttons=1, modifiers=modifiers)
        self.mouse("mouseMoved", end, buttons=1, modifiers=modifiers)
        self.mouse("mouseReleased", end, buttons=1, modifiers=modifiers)

    def press(self, *keys):
        self.part("canvas").send_keys(*keys)

    def set(self, name, value, event):
        self.js(
            "const e = document.getElementById(arguments[0]); e.value = arguments[1];"
            "e.dispatchEvent(new Event(arguments[2]));",
            f"map-{name}",
            value,
            event,
        )
        self.frame()

    def shot(self, name):
        with Image.open(io.BytesIO(self.part(name).screenshot_as_png)) as picture:
            return np.asarray(picture.convert("RGB")).astype(int)

    def chosen(self):
        """Return which samples are chosen, as the page says it."""
        text = self.js(
            "const p = document.getElementById('map-chosen'); return p.hidden ? '' : "
            "document.getElementById('map-chosen-which').textContent"
        )
        return [int(k) for k in re.findall(r"\d+", text.split(" of seed")[0])]

    def troubles(self):
        """Return what the browser complains of, and what it was asked for that is not beside the page."""
        said = [entry["message"] for entry in self.driver.get_log("browser")]
        own = self.path.parent.as_uri()
        for entry in self.driver.get_log("performance"):
            message = json.loads(entry["message"])["message"]
            if message["method"] == "Network.requestWillBeSent":
                url = message["params"]["request"]["url"]
                said += [url] if not url.startswith((own, "data:", "blob:")) else []
        return said


@pytest.fixture
def page(driver, image_page):
    return Page(driver, image_page)


def middle_box(pixels):
    """Return the corners of a box around the middle half of the samples, none of which lies on its edge."""
    low, high = np.quantile(pixels, [0.25, 0.75], axis=0)
    return low, high


def inside(pixels, low, high):
    return np.flatnonzero(((pixels >= np.minimum(low, high)) & (pixels <= np.maximum(low, high))).all(1)).tolist()


@pytest.mark.parametrize("dark", [False, True])
@pytest.mark.parametrize("width", [390, 1200])
def test_a_page_loads_without_complaints_or_requests_and_fits(driver, image_page, width, dark):
    page = Page(driver, image_page, width=width, dark=dark)
    assert page.text("count") == f"{N} of {N} samples"
    page.js("for (const i of document.images) i.loading = 'eager'")
    page.until("return [...document.images].every((i) => i.complete && i.naturalWidth > 0)")
    assert page.js("return document.documentElement.scrollWidth") == width
    assert page.troubles() == []
    assert not page.part("tip").is_displayed(), "nothing is looked at yet"
    ground = page.shot("points")[2, 2]
    assert (ground.max() < 60) if dark else (ground.min() > 200), "the map goes with the page"


def test_names_that_are_markup_stay_text(page):
    assert page.driver.title == f"{HOSTILE[0]} · {HOSTILE[1]}"
    assert page.js("return [...document.querySelectorAll('#map-legend button')].map((b) => b.textContent)") == [
        *HOSTILE
    ]
    assert page.js("return document.querySelectorAll('script').length") == 3, "data, numbers, and the script itself"
    assert page.js("return document.querySelectorAll('main b, img[src=x]').length") == 0
    page.press("\ue014")  # an arrow
    assert any(name in page.text("text") for name in HOSTILE)


def test_hovering_shows_the_sample_that_lies_there(page, named_checkpoint):
    pixels, whole = page.pixels(), lk.marginal(named_checkpoint).generator
    latents = whole.prior.sample(N, seed=0)
    small = thumbnails(lk.generate(whole, latents), 32).astype(int)
    apart = np.linalg.norm(pixels[:, None] - pixels[None], axis=2) + 1e9 * np.eye(N)
    for i in np.argsort(-apart.min(1))[:3]:  # far from all others
        page.mouse("mouseMoved", pixels[i])
        assert page.text("text").splitlines()[0] == f"latent {i} of seed 0"
        label = HOSTILE[int(whole.labels(latents[i : i + 1])[0])]
        assert f"class {label}" in page.text("text").splitlines()
        shown = page.shot("thumb")[2::4, 2::4]
        others = np.abs(small - shown).mean((1, 2, 3))
        assert others.argmin() == i
        assert others[i] < 6.0, "the atlas may lose a little"


def test_a_box_chooses_what_lies_in_it_with_its_latents(page):
    pixels = page.pixels()
    low, high = middle_box(pixels)
    page.drag(low, high)
    rows = inside(pixels, low, high)
    assert 10 < len(rows) < N
    assert page.text("chosen-count") == f"{len(rows)} samples chosen"
    assert page.text("said") == f"{len(rows)} samples chosen"
    assert page.chosen() == rows[:200]
    listed = np.array(json.loads(page.js("return document.getElementById('map-chosen-list').value")), dtype=np.float32)
    np.testing.assert_array_equal(listed, LATENTS.numpy()[rows][:200])


def test_a_second_box_takes_the_place_of_the_first_or_adds_to_it(page):
    pixels = page.pixels()
    low, high = middle_box(pixels)
    left, right = (low, (low + high) / 2), ((low + high) / 2, high)
    page.drag(*left)
    page.drag(*right)
    assert page.chosen() == inside(pixels, *right)[:200]
    page.drag(*left, modifiers=8)
    assert page.chosen() == sorted({*inside(pixels, *left), *inside(pixels, *right)})[:200]
    page.part("chosen-clear").click()
    assert page.chosen() == []


def downloaded(page, folder):
    page.cdp("Browser.setDownloadBehavior", behavior="allow", downloadPath=str(folder))
    page.part("chosen-load").click()
    end = time.monotonic() + 20.0
    while not (folder / "latents.npz").exists():
        assert time.monotonic() < end, "no file came"
        time.sleep(0.05)
    return np.load(folder / "latents.npz", allow_pickle=False)


def test_the_file_holds_the_latents_that_were_chosen(page, tmp_path):
    pixels = page.pixels()
    page.drag(*middle_box(pixels))
    rows = inside(pixels, *middle_box(pixels))
    with downloaded(page, tmp_path) as file:
        assert sorted(file) == ["index", "latents", "seed"]
        np.testing.assert_array_equal(file["index"], rows)
        np.testing.assert_array_equal(file["latents"], LATENTS.numpy()[rows])
        assert (file["latents"].dtype, file["index"].dtype) == (np.float32, np.int64)
        assert file["seed"] == 0
    assert page.troubles() == []


def test_a_click_chooses_and_another_lets_go(page):
    pixels = page.pixels()
    i = int(np.argmax(pixels[:, 0]))
    for expected in ([i], []):
        page.drag(pixels[i], pixels[i])
        assert page.chosen() == expected


def test_the_threshold_fades_the_samples_below(page):
    page.set("colour", "probability", "change")
    values = page.values("probability")
    assert len(np.unique(values)) > 2
    level = round(float(np.quantile(values, 0.6)), 2) + 0.005
    page.js("document.getElementById('map-threshold').step = 'any'")
    page.set("threshold", str(level), "input")
    kept = np.flatnonzero(values >= np.float32(level))
    assert page.text("count") == f"{len(kept)} of {N} samples"
    for curve in page.driver.find_elements("css selector", "#map-curves button"):
        curve.click()  # nothing lies over the points
    picture, pixels = page.shot("canvas"), page.pixels()
    saturated = np.ptp(picture, axis=2)[np.floor(pixels[:, 1]).astype(int), np.floor(pixels[:, 0]).astype(int)]
    # A pale point may lie under a coloured one, but no coloured one is under a pale one.
    assert (saturated[kept] > 60).all()
    gone = np.setdiff1d(np.arange(N), kept)
    apart = np.linalg.norm(pixels[gone][:, None] - pixels[kept][None], axis=2).min(1) > 5.0
    assert apart.any()
    assert (saturated[gone[apart]] < 30).all()
    pale = picture[np.floor(pixels[gone[apart], 1]).astype(int), np.floor(pixels[gone[apart], 0]).astype(int)]
    ground = np.median(picture.reshape(-1, 3), axis=0)
    assert (np.abs(pale - ground).max(1) > 10).all(), "faded, not gone"
    page.drag(*middle_box(pixels))
    assert page.chosen() == [i for i in inside(pixels, *middle_box(pixels)) if i in set(kept.tolist())]


def test_a_class_is_shown_alone(page, named_checkpoint):
    labels = LATENTS[:, 4:].argmax(1)
    button = page.driver.find_elements("css selector", "#map-legend button")[1]
    button.click()
    assert button.get_attribute("aria-pressed") == "true"
    assert page.text("count") == f"{int((labels == 1).sum())} of {N} samples"
    pixels = page.pixels()
    page.drag(*middle_box(pixels))
    assert all(labels[i] == 1 for i in page.chosen())
    button.click()
    assert page.text("count") == f"{N} of {N} samples"


def test_the_keyboard_goes_from_sample_to_sample_and_chooses(page):
    right, enter, escape, shift = "\ue014", "\ue007", "\ue00c", "\ue008"
    pixels = page.pixels()
    page.press(right)
    width, height = page.js("const c = document.getElementById('map-canvas'); return [c.clientWidth, c.clientHeight]")
    first = int(np.argmin(np.linalg.norm(pixels - [width / 2, height / 2], axis=1)))
    assert page.text("said").startswith(f"latent {first} of seed 0, class ")
    page.press(right)
    second = int(re.match(r"latent (\d+)", page.text("said"))[1])
    assert pixels[second][0] > pixels[first][0]
    page.press(enter)
    assert page.chosen() == [second]
    page.press(shift + right * 3 + "\ue015" * 3)
    box = pixels[second], pixels[second] + [3 * 24, 3 * 24]
    assert page.text("said") == f"{len(inside(pixels, *box))} samples in the box"
    page.press(enter)
    assert page.chosen() == inside(pixels, *box)
    page.press(escape)
    assert not page.part("tip").is_displayed()
    page.press(escape)
    assert page.chosen() == []
    assert page.js("return document.activeElement.id") == "map-canvas"
    outline = page.js("return getComputedStyle(document.activeElement).outlineStyle")
    assert outline == "solid", "the focus is seen"


def test_zoom_and_move_keep_what_is_under_the_pointer(page):
    pixels = page.pixels()
    i = int(np.argmax(pixels[:, 0]))
    page.press("+")
    page.press("-")
    page.mouse("mouseMoved", pixels[i])
    assert page.text("text").startswith(f"latent {i} ")
    box = page.js("const b = document.getElementById('map-canvas').getBoundingClientRect(); return [b.left, b.top]")
    x, y = np.add(box, pixels[i])
    page.cdp("Input.dispatchMouseEvent", type="mouseWheel", x=x, y=y, deltaX=0, deltaY=-200)
    page.frame()
    page.mouse("mouseMoved", pixels[i] + [1, 0])
    assert page.text("text").startswith(f"latent {i} "), "the wheel enlarges around the pointer"
    page.part("move").click()
    page.drag(pixels[i], pixels[i] - [60, 30])
    page.mouse("mouseMoved", pixels[i] - [60, 30])
    assert page.text("text").startswith(f"latent {i} ")
    assert page.chosen() == [], "the map was moved, nothing was chosen"
    page.part("whole").click()
    page.mouse("mouseMoved", pixels[i])
    assert page.text("text").startswith(f"latent {i} ")


def touch(page, kind, *places):
    box = page.js("const b = document.getElementById('map-canvas').getBoundingClientRect(); return [b.left, b.top]")
    points = [{"x": box[0] + x, "y": box[1] + y, "id": k} for k, (x, y) in enumerate(places)]
    page.cdp("Input.dispatchTouchEvent", type=kind, touchPoints=points)


def test_fingers_enlarge_the_map_and_choose(driver, image_page):
    driver.execute_cdp_cmd("Emulation.setTouchEmulationEnabled", {"enabled": True})
    try:
        page = Page(driver, image_page, width=390, height=900)
        pixels = page.pixels()
        assert page.part("choose").get_attribute("aria-pressed") == "false", "a finger scrolls the page at first"
        assert page.js("return getComputedStyle(document.getElementById('map-canvas')).touchAction") == "pan-y"
        middle = pixels.mean(0)
        i = int(np.argmin(np.linalg.norm(pixels - middle, axis=1)))
        touch(page, "touchStart", pixels[i] - [20, 0], pixels[i] + [20, 0])
        for reach in (30, 45, 60):
            touch(page, "touchMove", pixels[i] - [reach, 0], pixels[i] + [reach, 0])
        touch(page, "touchEnd")
        page.frame()
        spread = pixels[i] + 3.0 * (pixels - pixels[i])  # three times as large around what was between the fingers
        width, height = page.js(
            "const c = document.getElementById('map-canvas'); return [c.clientWidth, c.clientHeight]"
        )
        seen = ((spread > 10) & (spread < [width - 10, height - 10])).all(1)
        apart = np.linalg.norm(spread[:, None] - spread[None], axis=2) + 1e9 * np.eye(N)
        j = int(np.argmax(np.where(seen, apart.min(1), -1.0)))
        touch(page, "touchStart", spread[j])
        touch(page, "touchEnd")
        assert page.chosen() == [j]
    finally:
        driver.execute_cdp_cmd("Emulation.setTouchEmulationEnabled", {"enabled": False})


def test_the_page_scrolls_past_the_map(page):
    """A wheel over a map that was not clicked is the page's."""
    before = page.js("document.activeElement.blur(); return window.scrollY")
    box = page.js("const b = document.getElementById('map-canvas').getBoundingClientRect(); return [b.left, b.top]")
    page.cdp("Input.dispatchMouseEvent", type="mouseWheel", x=box[0] + 50, y=box[1] + 50, deltaX=0, deltaY=-300)
    page.until(f"return window.scrollY < {before}")


def test_a_page_in_one_file_needs_no_other(driver, single_page, tmp_path):
    alone = tmp_path / "page.html"
    alone.write_bytes(single_page.read_bytes())
    assert sorted(p.name for p in single_page.parent.iterdir()) == ["index.html", "report.json"]
    page = Page(driver, alone)
    page.js("for (const i of document.images) i.loading = 'eager'")
    assert page.js("return document.images.length") > 5
    page.until("return [...document.images].every((i) => i.complete && i.naturalWidth > 0)")
    assert page.troubles() == []


def test_points_are_a_map_too_and_the_largest_seed_is_told_exactly(driver, single_page, tmp_path):
    page = Page(driver, single_page)
    assert page.js("return [...document.getElementById('map-layout').options].map((o) => o.text)") == [
        "samples",
        "latents",
    ]
    wanted = lk.Normal(2).sample(N, seed=2**64 - 1).numpy()
    np.testing.assert_array_equal(page.latents(), wanted)
    page.set("layout", "latents", "change")
    at = page.data["layouts"][1]["at"]
    page.places = page.block[at : at + 2 * N].reshape(2, N).T.astype(float)
    np.testing.assert_array_equal(page.places, wanted)
    pixels = page.pixels()
    i = int(np.argmin(pixels[:, 1]))
    page.drag(pixels[i], pixels[i])
    assert page.text("chosen-which") == f"Latent {i} of seed {2**64 - 1}."
    with downloaded(page, tmp_path) as file:
        assert file["seed"] == 2**64 - 1
        assert file["seed"].dtype == np.uint64
        np.testing.assert_array_equal(file["latents"], wanted[i : i + 1])


def test_torn_places_of_a_curve_are_marked(page):
    """Every step that the projection calls torn is one of the page's, and lies where it says."""
    for curve in page.data["curves"]:
        way = curve["ways"][0]
        places = page.block[way["at"] : way["at"] + 2 * way["count"]]
        assert np.isfinite(places).all()
        assert all(0 <= t < way["count"] - 1 for t in way["torn"])
    assert [curve["name"] for curve in page.data["curves"]] == ["route", "lerp", "prior-matched"]
    with_curves = page.shot("canvas")
    for button in page.driver.find_elements("css selector", "#map-curves button"):
        button.click()
        assert button.get_attribute("aria-pressed") == "false"
    assert (page.shot("canvas") != with_curves).any()


def test_it_can_be_printed(page):
    """On paper a dark page is light, and its tools are gone."""
    scheme = {"name": "prefers-color-scheme", "value": "dark"}
    page.cdp("Emulation.setEmulatedMedia", media="print", features=[scheme])
    ink = page.js("return getComputedStyle(document.documentElement).getPropertyValue('--ink').trim()")
    assert ink == "#1c2430"
    for name in ("tools", "controls", "help"):
        assert page.js(f"return getComputedStyle(document.querySelector('.{name}')).display") == "none"


def test_the_archive_is_that_of_zip(page, tmp_path):
    """Its parts have the right check sums, which NumPy does not look at before it reads them."""
    import zipfile

    pixels = page.pixels()
    page.drag(*middle_box(pixels))
    downloaded(page, tmp_path).close()
    with zipfile.ZipFile(tmp_path / "latents.npz") as archive:
        assert archive.testzip() is None
        assert all(info.compress_type == zipfile.ZIP_STORED for info in archive.infolist())


def test_torch_reads_the_list(page):
    pixels = page.pixels()
    i = int(np.argmax(pixels[:, 1]))
    page.drag(pixels[i], pixels[i])
    rows = json.loads(page.js("return document.getElementById('map-chosen-list').value"))
    assert torch.tensor(rows).equal(LATENTS[i : i + 1])


@pytest.mark.parametrize(("suffix", "options"), [(".gif", {}), (".webp", {"lossless": True}), (".apng", {})])
def test_a_browser_shows_the_frames_that_were_written(suffix, options, driver, tmp_path):
    """Differences between frames are the writer's business: decoders agree, and browsers may still show others."""
    grey = np.add.outer(np.arange(64), np.arange(64))[None] + 9 * np.arange(24)[:, None, None]
    frames = [np.repeat(np.uint8(frame % 256 // (1 + k % 3))[..., None], 3, 2) for k, frame in enumerate(grey)]
    for k, frame in enumerate(frames):
        frame[20:40] = frames[0][20:40]  # what stays, beside what changes
        frame[2 * k : 2 * k + 10, 5:15] = 255
    film = from_frames(frames, fps=25, loop=False).save(tmp_path / f"film{suffix}", **options)
    (tmp_path / "page.html").write_text(f'<body style="margin: 0"><img src="{film.name}">', encoding="utf-8")
    driver.get((tmp_path / "page.html").as_uri())
    until, shown = time.monotonic() + 20, None
    while time.monotonic() < until:  # it stays at its last frame
        picture = Image.open(io.BytesIO(driver.find_element("tag name", "img").screenshot_as_png))
        shown = np.array(picture.convert("RGB"))
        if (shown == frames[-1]).all():
            break
        time.sleep(0.2)
    assert shown is not None
    assert np.abs(shown.astype(int) - frames[-1]).max() == 0
