"""Text stays text: whatever others call things, a page has the elements that it had, and says what they said."""

import base64
import json
import re
from collections import Counter
from dataclasses import fields, is_dataclass, replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image, PngImagePlugin

import latentkit as lk
from latentkit.captions import captioned
from latentkit.encoders.notes import text_of
from latentkit.notebooks import html_of
from latentkit.plots import lines_picture
from latentkit.reports import build
from latentkit.reports.media import Shelf
from latentkit.reports.page import Card, Chapter, Figure, MapData, Table, render_page
from latentkit.texts import readable

#: What would run, break out, be asked for or be turned round if it were anything but text; no two share a part.
TEXTS = {
    "script": "<script>window.canary = 1; alert(1)</script>",
    "image": '"><img src=x onerror="window.canary = 2">',
    "attribute": "' onmouseover='window.canary=3' x='",
    "slash": "/onload=window.canary=4//",
    "end of script": "</script ><b>a</b>",
    "end of title": "</title><svg onload=window.canary=5>",
    "end of style": "</style><link rel=stylesheet href=//evil.example/5>",
    "end of textarea": "</textarea></code></figcaption></section></main>",
    "comment": "<!-- hidden",
    "script in comment": "<!--<script>",
    "end of comment": "--!> --> ]]>",
    "cdata": "<![CDATA[<i>d</i>]]>",
    "processing": "<?php phpinfo(); ?>",
    "doctype": "<!DOCTYPE html [<!ENTITY x SYSTEM 'file:///etc/passwd'>]>&x;",
    "javascript": "javascript:window.canary=6",
    "data address": "data:text/html;base64,PHNjcmlwdD5hbGVydCgxKTwvc2NyaXB0Pg==",
    "frame": "<iframe srcdoc='<script>parent.canary=7</script>'></iframe>",
    "drawing": "<svg><animate onbegin=window.canary=8 attributeName=x dur=1s>",
    "formula": "<math><mtext><table><mglyph><style><img src=x onerror=window.canary=9>",
    "form": "<form action=https://evil.example/><button>x</button></form>",
    "base": "<base href='https://evil.example/'><meta http-equiv=refresh content='0;url=//evil.example/r'>",
    "template": "{{ 7*7 }}{% for x in range(9) %}{{ x }}{% endfor %}{# gone #}",
    "attack on the template": "{{ ''.__class__.__mro__[1].__subclasses__() }}",
    "literal": "${7*7} `${window.canary=10}` #{7*7} <%= 7*7 %>",
    "style": "x; } body { display: none } </ style>url(//evil.example/css) expression(alert(2))",
    "style's escape": "\\3c script\\3e \\22 \\27",
    "json": '"}],"n":1e999,"x":[{"\\u0022,\\',
    "entities": "&lt;script&gt; &amp;amp; &#60;img&#62; &quot &nosuch; &#x202e; &#0;",
    "overlong": "\u00c0\u00bcscript\u00c0\u00be \uff1cscript\uff1e",
    "turned": "invoice\u202egnp.exe \u2066a\u2067b\u2069",
    "nothing": "a\x00b<\x00script>c",
    "terminal": "\x1b[2J\x1b]0;pwned\x07 \x9b31m \b\b\x7f",
    "halves": "x\ud800y\udc41z",
    "lines": "one\ntwo\u2028three\u2029four\x0bfive\x0csix\ttab",
    "returns": "first\rsecond\r\nthird",
    "marks": "z\u0300\u0301\u0302\u0303\u0304\u0305\u0306 \u200d\u200b\ufeff\ufffe\U000e0041",
    "right to left": "\u0627\u0644\u0639\u0631\u0628\u064a\u0629 \u05e2\u05d1\u05e8\u05d9\u05ea",
    "wide": "\u5b9f\u9a13 \U0001f600 \U0010ffff",
    "mathematics": "$\\frac{1}{$ _hidden %s %n {0} \\begin{x}",
    "long": "<p>" * 4_000 + "w" * 60_000,
}
NAMES = tuple(TEXTS)

#: Those that are drawn together in one plot.
DRAWN = ("halves", "mathematics", "lines", "long", "nothing", "wide", "right to left", "terminal")

#: The script element with the names of the map.
MAP = ("script", "map-data")


class Parsed(HTMLParser):
    """What a page is made of: elements with the names of their attributes, texts, values of attributes, scripts."""

    def __init__(self, text):
        super().__init__()
        self.elements, self.texts, self.values, self.scripts, self.others, self._inside = [], [""], [], {}, [], None
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, tuple(name for name, _ in attrs)))
        self.values += [value or "" for _, value in attrs]
        self._inside = (tag, dict(attrs).get("id"))
        self.texts.append("")

    def handle_endtag(self, tag):
        self.elements.append((f"/{tag}", ()))
        self._inside = None
        self.texts.append("")

    def handle_data(self, data):
        if self._inside and self._inside[0] in ("script", "style"):
            self.scripts[self._inside] = self.scripts.get(self._inside, "") + data
        else:
            self.texts[-1] += data

    def handle_comment(self, data):
        self.others.append(data)

    handle_decl = handle_pi = unknown_decl = handle_comment


def swapped(value, pairs):
    """Return a value with texts put in the place of others wherever it holds any, in whatever it is made of."""
    if isinstance(value, str):
        for old, new in pairs:
            value = value.replace(old, new)
        return value
    if isinstance(value, (list, tuple)):
        return type(value)(swapped(part, pairs) for part in value)
    if isinstance(value, dict):
        return {swapped(key, pairs): swapped(part, pairs) for key, part in value.items()}
    if is_dataclass(value) and not isinstance(value, (type, Shelf)):
        return replace(value, **{f.name: swapped(getattr(value, f.name), pairs) for f in fields(value)})
    return value


def token(name):
    """Return a harmless word that stands for a text."""
    return f"q{NAMES.index(name):02d}q"


def check_page(parts):
    """Render a page and the same with a word in the place of each hostile text; return how often each stands where.

    Elements and attributes must be the same, and each text must be there as it was given, with codes for what no page
    can show.
    """
    plain = Parsed(render_page(**swapped(parts, [(text, token(name)) for name, text in TEXTS.items()])))
    text = render_page(**parts)
    page = Parsed(text.encode("utf-8").decode("utf-8"))
    assert page.elements == plain.elements
    shown = [(token(name), readable(text)) for name, text in TEXTS.items()]
    assert page.texts == swapped(plain.texts, shown)
    assert page.values == swapped(plain.values, shown)
    assert page.others == plain.others
    kept = [(token(name), text) for name, text in TEXTS.items()]
    assert page.scripts.keys() == plain.scripts.keys()
    for key, script in page.scripts.items():
        if key == MAP:
            assert json.loads(script) == swapped(json.loads(plain.scripts[key]), kept)
            assert not set(script) & set("<>&")
        else:
            assert script == plain.scripts[key]
    where = "\0".join([*plain.texts, *plain.values, plain.scripts[MAP]])
    return Counter(NAMES[int(found)] for found in re.findall(r"q(\d\d)q", where))


def map_of(text):
    """Return a map of four samples whose fields, groups, layouts and curves have a text for a name."""
    rows = 4
    block = np.arange(32, dtype="<f4")
    field = {"name": text, "at": 8, "low": 0.0, "high": 11.0, "cut": True, "main": True}
    group = {"name": text, "at": 28, "low": 0.0, "high": 1.0, "cut": False, "main": True}
    block[28:32] = [0, 1, 0, 1]
    values = {
        "n": rows,
        "dim": 2,
        "seed": "0",
        "side": 0,
        "columns": 0,
        "layouts": [{"name": text, "at": 0}, {"name": "latents", "at": 12}],
        "fields": [field, {**group, "names": [text, "other"], "colours": ["#0072b2", "#d55e00"]}],
        "curves": [{"name": text, "colour": "#009e73", "ways": [{"at": 20, "count": 3, "torn": []}] * 2}],
        "latents": 12,
    }
    return MapData("", values, base64.b64encode(block.tobytes()).decode())


def page_of(text, folder):
    """Return the parts of a page that has a text wherever one can stand: 20 places and those of the map."""
    figure = Figure("a.png", text, text, text, rows=(text, "other"))
    film = Figure("a.png", text, text, text, gif="a.gif", pixelated=True, wide=True)
    table = Table(text, (text, "b"), ((text, text), ("1", text)))
    shaded = Table("c", ("a", text), (("1", text),), ((-0.5,),))
    first = Chapter("one", text, (text, "more", text), (figure, film), (table, shaded))
    return {
        "title": text,
        "subtitle": text,
        "note": (text,),
        "cards": (Card(text, text, "good", text),),
        "chapters": (first, Chapter("map", "Map", (), map=map_of(text))),
        "files": Shelf(folder),
    }


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    """A folder with the two pictures that the pages show."""
    folder = tmp_path_factory.mktemp("pictures")
    for name in ("a.png", "a.gif"):
        Image.new("L", (4, 4)).save(folder / name)
    return folder


@pytest.mark.promise("text")
@pytest.mark.parametrize("name", NAMES)
def test_a_text_is_shown_as_it_is_wherever_it_stands(name, pictures, tally):
    counts = check_page(page_of(TEXTS[name], pictures))
    assert counts.keys() == {name}
    assert counts[name] >= 25
    tally(counts[name])


def test_what_cannot_be_shown_is_shown_by_its_code():
    assert readable(TEXTS["turned"]) == r"invoice\u202egnp.exe \u2066a\u2067b\u2069"
    assert readable(TEXTS["halves"]) == r"x\ud800y\udc41z"
    assert readable(TEXTS["returns"]) == "first\\rsecond\\r\nthird"
    for name in ("right to left", "wide", "marks", "entities", "long"):
        assert readable(TEXTS[name]) == TEXTS[name]
    for text in TEXTS.values():
        assert readable(readable(text)) == readable(text)
        readable(text).encode("utf-8")


def bands(z, labels):
    """Make images (N, 1, 16, 16) of latents (N, 4): a grey a quarter, and a bright row whose place is the class."""
    x = z.tanh().reshape(-1, 1, 2, 2).repeat_interleave(8, 2).repeat_interleave(8, 3)
    rows = torch.arange(16)[None, None, :, None] == labels[:, None, None, None]
    return torch.where(rows, 1.0, 0.9 * x)


@pytest.fixture(scope="module")
def named_page(tmp_path_factory):
    """The parts of a whole report about a checkpoint, every text of which is hostile, beside a film and a study."""
    classes = tuple(TEXTS[name] for name in NAMES[:12])
    labels = torch.arange(360) % 12
    real = bands(0.5 * lk.Normal(4).sample(360, seed=5), labels)
    checkpoint = lk.Checkpoint(
        lk.wrap(bands, lk.Normal(4), classes=classes),
        lambda x: -8.0 * x.square().mean((1, 2, 3)),
        real,
        labels,
        classes,
        data=TEXTS["halves"],
        trainer=TEXTS["terminal"],
        settings=dict(zip(TEXTS.values(), reversed(TEXTS.values()), strict=True)),
        history={"step": [1.0, 2.0], **{f"{TEXTS[name]} loss": [0.5, 0.25] for name in DRAWN}},
    )
    beside = tmp_path_factory.mktemp("beside") / "実験 <b> ü"
    beside.mkdir()
    frames = [Image.new("L", (16, 16), grey) for grey in (0, 200)]
    frames[0].save(
        beside / "movie.gif", save_all=True, append_images=frames[1:], comment=b"<script>hidden canary</script>"
    )
    said = PngImagePlugin.PngInfo()
    said.add_itxt("Comment", "hidden canary </script>")
    exif = Image.Exif()
    exif[0x010E] = "<script>hidden canary</script>"
    frames[0].save(beside / "study.png", pnginfo=said, exif=exif)
    texts = list(TEXTS.values())
    columns = ("size", "seed", "coverage", "recall", "precision", "separability", "auc", "inversion_error")
    rows = [dict(zip(columns, texts[at : at + 8], strict=True)) for at in range(0, 40, 8)]
    study = {"kind": "latentkit study", "format": 1, "data": texts[0], "compared": texts[1], "rows": rows}
    (beside / "study.json").write_text(json.dumps(study))
    taken = []
    with pytest.MonkeyPatch.context() as patch:
        for place in ("bakeoffs.FRAMES", "classes.FRAMES", "manifold.FRAMES", "walks.FRAMES", "ways.STEPS"):
            patch.setattr(f"latentkit.reports.{place}", 4)
        patch.setattr("latentkit.reports.mapping.FRAMES_EACH", 2)
        patch.setattr(build, "render_page", lambda **parts: taken.append(parts) or render_page(**parts))
        folder = tmp_path_factory.mktemp("named") / "report"
        path = lk.report(checkpoint, folder, n=500, beside=beside, progress=False)
    return path, {**taken[0], "files": Shelf(folder)}


@pytest.mark.promise("text")
def test_a_report_of_hostile_names_is_the_page_that_it_would_be(named_page, tally):
    path, parts = named_page
    assert path.read_text("utf-8") == render_page(**parts)
    counts = check_page(parts)
    tally(counts.total())
    table = 2 + 1  # key and value of a setting, and the study's table
    for k, name in enumerate(NAMES):
        assert counts[name] >= table + 4 * (k < 12), f"{name} stands nowhere"
    assert "hidden canary" not in path.read_text("utf-8")
    assert json.loads((path.parent / "report.json").read_text("utf-8"))["data"] == readable(TEXTS["halves"])


@pytest.mark.promise("text")
@pytest.mark.parametrize("name", NAMES)
def test_what_a_notebook_shows_is_text(name, point_checkpoint, tally):
    text = TEXTS[name]
    shown = [
        Parsed(html_of(replace(point_checkpoint, data=word, trainer=word, classes=(word, "b"))))
        for word in (text, "plain")
    ]
    assert shown[0].elements == shown[1].elements
    assert shown[0].texts == swapped(shown[1].texts, [("plain", readable(text))])
    tally(3)


@pytest.mark.promise("text")
@pytest.mark.parametrize("name", NAMES)
def test_a_film_keeps_a_text_as_it_was_and_closed_to_xml(name):
    text = text_of({"about": {TEXTS[name]: [TEXTS[name]]}})
    assert json.loads(text)["about"] == {TEXTS[name]: [TEXTS[name]]}
    assert text.isascii()
    assert text.isprintable()
    assert not set(text) & set("<>&")


def line(name):
    """Draw a line that has a name."""
    return lines_picture(np.arange(3.0), {name: np.arange(3.0)}, x_label="", y_label="")


@pytest.fixture(scope="module")
def nameless():
    return line("")


@pytest.mark.promise("text")
@pytest.mark.parametrize("name", NAMES)
def test_a_picture_is_drawn_whatever_its_texts_are(name, nameless, tally):
    assert captioned(np.zeros((8, 64, 3), dtype=np.uint8), TEXTS[name]).shape == (30, 64, 3)
    assert (line(TEXTS[name]) != nameless).any(), "the name is in the legend"
    tally(2)


def wait_for(driver, code):
    """Wait until a piece of script finds something."""
    from selenium.webdriver.support.wait import WebDriverWait

    return WebDriverWait(driver, 20, poll_frequency=0.05).until(lambda browser: browser.execute_script(code))


def opened(driver, path, text):
    """Open a page, try what a reader could, and return what the browser complains of and asks for."""
    for kind in ("browser", "performance"):
        driver.get_log(kind)
    Path(path).write_text(text, encoding="utf-8")
    driver.get(Path(path).as_uri())
    wait_for(driver, "return document.getElementById('map-count').textContent")
    driver.execute_script(
        "for (const i of document.images) i.loading = 'eager';"
        "for (const d of document.querySelectorAll('details')) d.open = true;"
        "for (const e of document.querySelectorAll('*')) for (const kind of ['mouseover', 'focus', 'click'])"
        "  if (!e.closest('a, button, form')) e.dispatchEvent(new Event(kind));"
    )
    wait_for(driver, "return [...document.images].every((i) => i.complete)")
    own = Path(path).parent.as_uri()
    said = [entry["message"] for entry in driver.get_log("browser")]
    for entry in driver.get_log("performance"):
        message = json.loads(entry["message"])["message"]
        if message["method"] == "Network.requestWillBeSent":
            url = message["params"]["request"]["url"]
            said += [url] if not url.startswith((own, "data:", "blob:", "chrome:")) else []  # its own first page
        if message["method"] in ("Page.javascriptDialogOpening", "Page.frameAttached"):
            said.append(message["method"])
    return said


#: The units of each text in the page, as Python has them: half of a pair does not survive the way from the browser.
UNITS = "const units = (text) => [...Array(text.length).keys()].map((k) => text.charCodeAt(k));"


def units(text):
    data = text.encode("utf-16-le", "surrogatepass")
    return [int.from_bytes(data[k : k + 2], "little") for k in range(0, len(data), 2)]


#: Those that mean something to a browser; the others are as harmless there as in a parser.
OPENED = (
    *NAMES[:9],
    *("doctype", "frame", "drawing", "formula", "base", "json", "literal", "turned", "nothing", "halves"),
)


@pytest.mark.promise("browser")
@pytest.mark.parametrize("name", OPENED)
def test_a_browser_shows_the_text_and_does_nothing(name, driver, pictures):
    text = TEXTS[name]
    said = opened(driver, pictures / f"{NAMES.index(name)}.html", render_page(**page_of(text, pictures)))
    assert said == []
    assert driver.execute_script("return typeof window.canary") == "undefined"
    counted = "return ['*', 'script', 'img', 'style'].map((tag) => document.querySelectorAll(tag).length)"
    found = driver.execute_script(counted)
    shown = readable(text)
    at = "h1, .subtitle, #one h2, .answer, #one code, #one li, #one p.caption, #one th[scope=col], #one td"
    for place in at.split(", "):
        one = driver.execute_script(f"{UNITS} return units(document.querySelector(arguments[0]).textContent)", place)
        assert one == units(shown), place
    alt = driver.execute_script(f"{UNITS} return units(document.querySelector('#one img').alt)")
    assert alt == units(shown)
    # The map makes elements of its names by a script, from what its JSON holds.
    driver.execute_script(
        "const c = document.getElementById('map-colour'); c.selectedIndex = 1; c.dispatchEvent(new Event('change'))"
    )
    for place in ("#map-legend button", "#map-curves button", "#map-layout option", "#map-colour option"):
        one = driver.execute_script(f"{UNITS} return units(document.querySelector(arguments[0]).textContent)", place)
        assert one == units(text), place
    assert driver.execute_script("return document.title") == " ".join(shown.split())
    said = opened(driver, pictures / "plain.html", render_page(**page_of("plain", pictures)))
    assert said == []
    assert driver.execute_script(counted) == found, "as many elements as with a plain word"


@pytest.mark.promise("browser")
def test_a_browser_shows_a_whole_report_of_hostile_names(driver, named_page):
    path, parts = named_page
    assert opened(driver, path, render_page(**parts)) == []
    assert driver.execute_script("return typeof window.canary") == "undefined"
    assert driver.execute_script("return document.querySelectorAll('script, iframe, svg, form, math').length") == 3
    cells = driver.execute_script(
        f"{UNITS} return [...document.querySelectorAll('#making table')][0].querySelectorAll('td').values()"
        ".map((cell) => units(cell.textContent)).toArray()"
    )
    assert cells == [units(readable(text)) for text in reversed(TEXTS.values())]
