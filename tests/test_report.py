"""The report: complete, self-contained, truthful about its critic, and closed to text from users."""

import base64
import json
import re
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pytest
import torch
from PIL import Image

import latentkit as lk
from latentkit.errors import ArgumentError, OutputError
from latentkit.folders import writing_folder
from latentkit.nets import MLPCritic, MLPGenerator
from latentkit.render import to_rgb
from latentkit.reports.build import MARKER
from latentkit.reports.page import Chapter
from latentkit.texts import readable

VOID = {"meta", "img", "input", "br", "hr", "link", "source"}


class Page(HTMLParser):
    """Collects tags, what they point to, and the text; checks that elements are closed in order."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags, self.links, self.words, self.open, self.attributes = [], [], [], [], []
        self.feed(text)
        assert self.open == [], f"not closed: {self.open}"

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += [(tag, name) for name, _ in attrs]
        self.links += [value for name, value in attrs if name in ("src", "href", "srcset")]
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.words.append(data)


def read(path) -> Page:
    return Page(path.read_text(encoding="utf-8"))


@pytest.fixture(scope="module", autouse=True)
def _short_films():
    """Of films only that they are there, and what is said of them, is looked at here."""
    with pytest.MonkeyPatch.context() as patch:
        for place in ("bakeoffs.FRAMES", "classes.FRAMES", "manifold.FRAMES", "walks.FRAMES", "ways.STEPS"):
            patch.setattr(f"latentkit.reports.{place}", 6)
        patch.setattr("latentkit.reports.mapping.FRAMES_EACH", 2)
        yield


@pytest.fixture(scope="module")
def image_report(image_checkpoint, tmp_path_factory):
    folder = tmp_path_factory.mktemp("images") / "report"
    return lk.report(image_checkpoint, folder, n=500, progress=False)


@pytest.fixture(scope="module")
def point_report(point_checkpoint, tmp_path_factory):
    folder = tmp_path_factory.mktemp("points") / "report"
    return lk.report(point_checkpoint, folder, n=500, progress=False)


@pytest.fixture(scope="module")
def plain_checkpoint(point_checkpoint):
    """One whose report is made in no time, as nothing is scored."""
    return replace(point_checkpoint, critic=None)


@pytest.fixture(scope="module")
def class_report(conditional_checkpoint, tmp_path_factory):
    """Of a conditional checkpoint, whose critic is taken at its word so that all its pictures are drawn."""
    folder = tmp_path_factory.mktemp("classes") / "report"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("latentkit.calibration.verdict._judge", lambda *_: ("informative", "taken at its word."))
        return lk.report(conditional_checkpoint, folder, n=500, progress=False)


def leave_out(monkeypatch, *names):
    for name in names:
        monkeypatch.setattr(f"latentkit.reports.{name}.chapter", lambda *_, name=name: Chapter(name, name))


@pytest.fixture
def mapped(monkeypatch):
    """Leave out the chapters that take long, but not the map."""
    leave_out(monkeypatch, "bakeoffs", "directions", "walks")


@pytest.fixture
def brief(mapped, monkeypatch):
    """Leave out all chapters that take long, where a test is about the folder."""
    leave_out(monkeypatch, "mapping")


@pytest.fixture(params=["image_report", "point_report", "class_report"])
def any_report(request):
    return request.getfixturevalue(request.param)


def test_the_path_that_is_returned_is_the_page(any_report):
    assert any_report.name == "index.html"
    assert any_report.is_file()


def test_every_picture_is_there_and_every_file_is_used(any_report):
    page = read(any_report)
    files = {p.name for p in any_report.parent.iterdir()} - {"index.html", "report.json"}
    local = {link for link in page.links if not link.startswith("#")}
    assert local == files


def test_nothing_is_asked_of_any_network(any_report):
    text = any_report.read_text(encoding="utf-8")
    shown = re.sub(r'(?s)id="map-block">.*?</script>', "", text.split("<main>")[1].split("<script>")[0])
    assert not re.search(r"(?:https?:)?//[a-z0-9]", shown, re.IGNORECASE)
    assert "default-src 'none'" in text


def test_no_event_attributes(any_report):
    assert not [name for _, name in read(any_report).attributes if name.startswith("on")]


def test_anchors_lead_somewhere(any_report):
    text = any_report.read_text(encoding="utf-8")
    anchors = {link[1:] for link in read(any_report).links if link.startswith("#")}
    assert anchors <= set(re.findall(r'id="([^"]+)"', text))


def test_pictures_have_a_text_in_their_place(any_report):
    text = any_report.read_text(encoding="utf-8")
    for tag in re.findall(r"<img[^>]*>", text):
        assert re.search(r'alt="[^"]+"', tag) or "hidden" in tag


def test_an_uninformative_critic_chooses_nothing(image_report):
    # The fixture's networks are untrained, so the critic knows nothing and the report must say so.
    names = {p.name for p in image_report.parent.iterdir()}
    assert "best.png" not in names
    assert "walk-best.gif" not in names
    assert "must not be used to choose latents" in " ".join(read(image_report).words)


def test_a_collapsed_generator_is_called_collapsed(image_checkpoint, tmp_path):
    generator = image_checkpoint.generator
    flat = lk.wrap(generator.module, generator.prior)
    state = {k: v.clone() for k, v in generator.module.state_dict().items()}
    try:
        with torch.no_grad():
            next(generator.module.parameters()).zero_()
        page = lk.report(replace(image_checkpoint, generator=flat), tmp_path / "r", n=500, progress=False)
    finally:
        generator.module.load_state_dict(state)
    assert "No: collapsed" in " ".join(read(page).words)


HOSTILE = [
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "</script><script>alert(1)</script>",
    "javascript:alert(1)",
    "\u202egnp.exe",
    "{{ 7 * 7 }}{% for x in y %}",
    "' onmouseover='alert(1)",
]


def test_text_from_users_stays_text(brief, plain_checkpoint, tmp_path):
    """In each of the places that a user fills, beside a page on which nothing is to be escaped."""
    folder = tmp_path / "beside"
    folder.mkdir()
    kinds = []
    for number, texts in enumerate((["plain"] * len(HOSTILE), HOSTILE)):
        (folder / "study.json").write_text(
            json.dumps(
                {"kind": "latentkit study", "data": texts[0], "compared": texts[1], "rows": [{"size": texts[2]}]}
            )
        )
        settings = {f"{number}{k}{text}": text for k, text in enumerate(texts)}
        named = replace(plain_checkpoint, data=texts[0], trainer=texts[1], settings=settings, classes=tuple(texts[:1]))
        page = read(lk.report(named, tmp_path / f"{number}", n=500, beside=folder, progress=False))
        kinds.append(page.tags)
        words = " ".join(page.words)
        assert all(readable(text) in words for text in texts), "shown as it is, but for what would turn the rest round"
        assert not [name for _, name in page.attributes if name.startswith("on")]
    assert kinds[0] == kinds[1]


def test_an_older_report_is_replaced_as_a_whole(brief, plain_checkpoint, tmp_path):
    target = tmp_path / "report"
    lk.report(plain_checkpoint, target, n=500, progress=False)
    left = json.loads((target / "report.json").read_text("utf-8"))
    left["files"].append("left-over.png")
    (target / "report.json").write_text(json.dumps(left), "utf-8")
    (target / "left-over.png").write_text("of the older report")
    lk.report(plain_checkpoint, target, n=500, progress=False)
    assert not (target / "left-over.png").exists()
    assert [p.name for p in tmp_path.iterdir()] == ["report"]
    assert json.loads((target / "report.json").read_text("utf-8"))["files"] == sorted(p.name for p in target.iterdir())


def test_notes_beside_an_older_report_are_not_removed(brief, plain_checkpoint, tmp_path, monkeypatch):
    target = tmp_path / "report"
    page = lk.report(plain_checkpoint, target, n=500, progress=False)
    before = page.read_bytes()
    (target / "notes.txt").write_text("mine")
    monkeypatch.setattr("latentkit.reports.build.make_study", None)
    with pytest.raises(OutputError, match=r"other files \(notes.txt\)"):
        lk.report(plain_checkpoint, target, seed=1, n=500, progress=False)
    assert (target / "notes.txt").read_text() == "mine"
    assert page.read_bytes() == before


def test_a_report_json_of_somebody_else_makes_no_folder_ours(point_checkpoint, tmp_path, monkeypatch):
    (tmp_path / "report.json").write_text('{"files": ["report.json"]}')
    monkeypatch.setattr("latentkit.reports.build.make_study", None)
    with pytest.raises(OutputError, match=r"other files \(report.json\)"):
        lk.report(point_checkpoint, tmp_path)


def test_a_failure_leaves_the_older_report(brief, plain_checkpoint, tmp_path, monkeypatch):
    target = tmp_path / "report"
    page = lk.report(plain_checkpoint, target, n=500, progress=False)
    before = page.read_bytes()

    def broken(*_args):
        raise RuntimeError("in the middle")

    monkeypatch.setattr("latentkit.reports.build.render_page", lambda **_: broken())
    with pytest.raises(RuntimeError, match="in the middle"):
        lk.report(plain_checkpoint, target, seed=4, n=500, progress=False)
    assert page.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["report"]


def test_a_folder_of_somebody_else_is_refused_before_any_work(point_checkpoint, tmp_path, monkeypatch):
    (tmp_path / "thesis.tex").write_text("mine")
    monkeypatch.setattr("latentkit.reports.build.make_study", None)
    with pytest.raises(OutputError, match="already holds other files"):
        lk.report(point_checkpoint, tmp_path)
    assert (tmp_path / "thesis.tex").read_text() == "mine"


def test_samples_that_cannot_be_drawn_are_refused(point_checkpoint, tmp_path):
    with pytest.raises(ArgumentError, match="images"):
        lk.report(replace(point_checkpoint, holdout=torch.zeros(30, 4, 7, 7)), tmp_path / "r")


def test_a_folder_appears_as_a_whole_or_not_at_all(tmp_path):
    with pytest.raises(RuntimeError), writing_folder(tmp_path / "out", marker=MARKER) as part:  # noqa: PT012
        (part / "half").write_text("...")
        raise RuntimeError
    assert list(tmp_path.iterdir()) == []


def test_a_generator_of_your_own_has_a_report_too(point_checkpoint, tmp_path):
    own = lk.wrap(lambda z: z.tanh() * 2.0, lk.Normal(2))
    page = lk.report(replace(point_checkpoint, generator=own, critic=None), tmp_path / "r", n=500, progress=False)
    text = " ".join(read(page).words)
    assert "a wrapped generator" in text
    assert "has no critic" in text


def test_latents_of_one_dimension_have_a_report_without_a_great_circle(monkeypatch, tmp_path):
    leave_out(monkeypatch, "directions", "walks")
    line = lk.wrap(lambda z: torch.cat([z.tanh(), z.sin()], 1), lk.Normal(1))
    page = lk.report(lk.Checkpoint(line, None, lk.Normal(2).sample(120, seed=3)), tmp_path / "r", n=500, progress=False)
    text = chapter_of(page, "bakeoff")
    assert "on a straight line" in text
    assert "on a great circle" not in text


def test_what_is_shown_is_what_the_captions_say(plain_checkpoint, tmp_path):
    page = lk.report(plain_checkpoint, tmp_path / "r", n=500, progress=False)
    text = " ".join(read(page).words)
    assert "the first 125 of seed 0" in text
    assert "2000 of" not in text


def test_noise_is_not_called_good(brief, image_checkpoint, tmp_path):
    """Samples that are all near the mean image have full precision, and must not pass for it."""
    middle = image_checkpoint.holdout.mean(0, keepdim=True)
    grey = lk.wrap(lambda z: middle + 0.02 * z[:, :1, None, None] * middle.abs(), lk.Normal(8))
    page = lk.report(replace(image_checkpoint, generator=grey, critic=None), tmp_path / "r", n=500, progress=False)
    cards = page.read_text(encoding="utf-8").split('class="cards"')[1].split("</section>")[0]
    assert "Mostly" not in cards
    assert "No: collapsed" in cards


def test_the_chapters_come_in_their_order_and_are_timed(brief, plain_checkpoint, tmp_path):
    told = []
    page = lk.report(
        plain_checkpoint,
        tmp_path / "r",
        n=500,
        progress=False,
        on_chapter=lambda name, seconds: told.append((name, seconds)),
    )
    names = [
        "samples",
        "walks",
        "bakeoff",
        "directions",
        "arithmetic",
        "manifold",
        "map",
        "sizes",
        "training",
        "making",
    ]
    assert [name for name, _ in told] == ["study", *names]
    assert all(seconds >= 0 for _, seconds in told)
    slugs = re.findall(r'<section id="([^"]+)">', page.read_text(encoding="utf-8"))
    assert slugs[:2] == ["verdict", "samples"]
    assert slugs[-1] == "making"


def test_pictures_keep_their_place_on_the_page(any_report):
    """Their sizes are said, so that nothing moves while they are loaded."""
    found = re.findall(r'<img src="([^"]+)" alt="[^"]+" width="(\d+)" height="(\d+)"', any_report.read_text("utf-8"))
    assert len(found) > 5
    for file, width, height in found:
        with Image.open(any_report.parent / file) as picture:
            assert picture.size == (int(width), int(height))


def test_films_are_offered_as_gif(any_report):
    text = any_report.read_text(encoding="utf-8")
    films = set(re.findall(r'<a class="gif" href="([^"]+)" download>', text))
    assert "walk-random.gif" in films
    for file in films:
        with Image.open(any_report.parent / file) as film:
            assert film.format == "GIF"
            assert getattr(film, "n_frames", 1) > 1 or "collapsed" in text
    better = re.findall(r'<source srcset="([^"]+)" type="([^"]+)">\s*<img src="([^"]+)"', text)
    for file, kind, gif in better:
        with Image.open(any_report.parent / file) as film:
            assert film.get_format_mimetype() == kind
        assert gif in films, "what stands in for it is the GIF"
    assert better


def test_directions_are_audited_beside_random_ones(opinion_report):
    """Horizontal and vertical move what they are named after, and the shade goes with the number."""
    text = chapter_of(opinion_report, "directions")
    rows = {}
    for row in re.findall(r"<tr><th scope=\"row\">.*?</tr>", text):
        cells = re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", row)
        rows[cells[0]] = cells[1:]
        shades = re.findall(r'class="(plus|minus)" style="--share: ([\d.]+)">([^<]+)<', row)
        assert len(shades) == (0 if "random" in cells[0] else 4)
        for sign, share, number in shades:
            assert abs(min(abs(float(number)), 1.0) - float(share)) < 0.011
            assert (sign == "plus") == (not number.startswith("-"))
    assert float(rows["horizontal"][0]) > 0.7 > 0.3 > abs(float(rows["horizontal"][1]))
    assert float(rows["vertical"][1]) > 0.7 > 0.3 > abs(float(rows["vertical"][0]))
    assert set(rows) >= {"horizontal", "vertical", "radius", "angle", "12 random ones"}
    assert 'src="direction-1.png"' in text


def test_what_lies_beside_the_checkpoint_is_shown(brief, plain_checkpoint, tmp_path):
    """A training's film, and the study that it is part of; nothing that only has such a name."""
    run = tmp_path / "study" / "runs" / "dim-002-seed-0"
    run.mkdir(parents=True)
    frames = [Image.new("RGB", (40, 30), colour) for colour in ("red", "green")]
    for place in (run / "movie.gif", tmp_path / "study" / "study.gif"):
        frames[0].save(place, save_all=True, append_images=frames[1:])
    (run / "movie.webp").write_text("no film")
    frames[0].save(tmp_path / "study" / "study.png")
    row = {"size": 2, "seed": 0, "coverage": 0.51234, "effective_rank": None}
    about = {"kind": "latentkit study", "format": 1, "data": "ring", "compared": 100, "rows": [row]}
    (tmp_path / "study" / "study.json").write_text(json.dumps(about))
    page = lk.report(plain_checkpoint, tmp_path / "r", n=500, beside=run, progress=False)
    assert 'src="movie.gif"' in chapter_of(page, "training")
    assert "movie.webp" not in page.read_text(encoding="utf-8")
    sizes = chapter_of(page, "sizes")
    assert 'src="study.png"' in sizes
    assert 'src="study.gif"' in sizes
    assert re.findall(r"<t[hd][^>]*>([^<]*)</t[hd]>", sizes.split("<tbody>")[1])[:3] == ["2", "0", "0.512"]
    assert (page.parent / "movie.gif").read_bytes() == (run / "movie.gif").read_bytes()


def test_without_a_study_or_a_film_there_is_no_chapter_of_them(brief, plain_checkpoint, tmp_path):
    (tmp_path / "study.json").write_text('{"kind": "of somebody else", "rows": [{"size": 2}]}')
    page = lk.report(plain_checkpoint, tmp_path / "r", n=500, beside=tmp_path, progress=False)
    assert "study" not in page.read_text(encoding="utf-8").split("<main>")[1].split("<script>")[0]


def test_a_page_in_one_file_has_all_its_pictures_in_it(plain_checkpoint, tmp_path):
    whole = lk.report(plain_checkpoint, tmp_path / "folder", n=500, progress=False)
    alone = lk.report(plain_checkpoint, tmp_path / "single", n=500, single_file=True, progress=False)
    assert sorted(p.name for p in alone.parent.iterdir()) == ["index.html", "report.json"]
    links = [link for link in read(alone).links if not link.startswith("#")]
    assert all(link.startswith("data:image/") for link in links)
    held = {base64.b64decode(link.split(",")[1]) for link in links}
    text = whole.read_text(encoding="utf-8")
    best = set(re.findall(r'<source srcset="([^"]+)"', text)) | (
        set(re.findall(r'<img src="([^"]+)"', text)) - set(re.findall(r'<source[^>]*>\s*<img src="([^"]+)"', text))
    )
    assert held == {(whole.parent / name).read_bytes() for name in best}


def test_what_a_report_cannot_show_is_said_before_any_work(image_checkpoint, tmp_path, monkeypatch):
    monkeypatch.setattr("latentkit.reports.build.make_study", None)
    with pytest.raises(ArgumentError, match="at most 30,000 images"):
        lk.report(image_checkpoint, tmp_path / "r", n=40_000)
    with pytest.raises(ArgumentError, match="has none"):
        lk.report(replace(image_checkpoint, holdout=image_checkpoint.holdout[:0]), tmp_path / "r")


# ---- the manifold


@pytest.fixture(scope="module")
def opinion_report(tmp_path_factory):
    """Of two round hills that the generator makes too wide, with a critic that says nothing."""
    generator = lk.wrap(lambda z: torch.where(z > 0, z + 1.0, z - 1.0), lk.Normal(2))
    real = 0.5 * lk.Normal(2).sample(600, seed=5)
    holdout = torch.where(real > 0, real + 1.0, real - 1.0)
    checkpoint = lk.Checkpoint(generator, lambda x: x[:, 0] * 0.0, holdout, data="corners", trainer="none")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("latentkit.judges.STEPS_POINTS", 100)
        return lk.report(checkpoint, tmp_path_factory.mktemp("opinion") / "report", n=1000, progress=False)


def chapter_of(page, slug):
    return page.read_text(encoding="utf-8").split(f'<section id="{slug}">')[1].split("</section>")[0]


def manifold_of(page):
    return chapter_of(page, "manifold")


def test_a_critic_without_signal_makes_way_for_a_second_opinion(opinion_report):
    text = " ".join(read(opinion_report).words)
    assert "So this page scores by a second opinion" in text
    assert "cannot tell real from generated ones" in text, "the checkpoint's own critic is judged all the same"
    chapter = manifold_of(opinion_report)
    assert "The scores are those of a second opinion: it is a fresh network" in chapter
    assert "judged by 75 others" in chapter
    assert "75 held-out, 1000 generated" in chapter


def test_the_manifold_is_drawn_with_its_figures(opinion_report):
    chapter = manifold_of(opinion_report)
    for file in ("landscape.png", "islands.png", "tide.gif", "route.png", "route.gif", "top-plain.png"):
        assert f'"{file}"' in chapter
    # The four corners are four islands, of a fourth of the good latents each.
    rows = re.findall(r'<th scope="row">(\d+)</th><td>([\d.]+) %</td>', chapter)
    assert [number for number, _ in rows] == ["1", "2", "3", "4"]
    assert all(15.0 < float(share) < 35.0 for _, share in rows)


def test_all_curves_are_compared_between_the_same_latents(opinion_report, image_report):
    for page, curves in ((opinion_report, ["route"]), (image_report, [])):
        text = chapter_of(page, "bakeoff")
        assert re.findall(r'<th scope="row">(.*?)</th>', text) == [
            *curves,
            "lerp",
            "slerp",
            "prior-matched",
            "geodesic",
        ]
        assert ("least probability" in text) == bool(curves), "without a critic to be believed there is none"


def test_a_critic_that_says_something_is_not_asked_twice(brief, image_checkpoint, monkeypatch, tmp_path):
    monkeypatch.setattr("latentkit.calibration.verdict._judge", lambda *_: ("informative", "taken at its word."))
    monkeypatch.setattr("latentkit.judges.ENOUGH", 0)
    monkeypatch.setattr("latentkit.judges.second_opinion", None)
    page = lk.report(image_checkpoint, tmp_path / "r", n=500, progress=False)
    assert "The scores are those of the checkpoint&#39;s own critic." in manifold_of(page)


def test_without_signal_there_is_no_map_and_it_is_said_why(image_report):
    chapter = manifold_of(image_report)
    assert "So no map is drawn" in chapter
    assert "tide.gif" not in chapter
    assert 'src="reliability.png"' in chapter


def test_the_manifold_of_several_classes_names_them(class_report):
    assert re.search(r"<td>(zero|One|two &amp; more) \d+ %", manifold_of(class_report))


# ---- several classes

CLASSES = ("zero", "One", "two & more")


def map_data(page):
    text = page.read_text(encoding="utf-8").split('id="map-data">')[1].split("</script>")[0]
    return json.loads(text)


def values_of(page, name):
    """Return the numbers that the map has of each sample."""
    data = map_data(page)
    text = page.read_text(encoding="utf-8").split('id="map-block">')[1].split("</script>")[0]
    field = next(field for field in data["fields"] if field["name"] == name)
    return np.frombuffer(base64.b64decode(text), dtype="<f4")[field["at"] : field["at"] + data["n"]]


def test_rows_of_pictures_are_named_by_their_classes(class_report):
    text = class_report.read_text(encoding="utf-8")
    lists = re.findall(r'<div class="rows"><ol>(.*?)</ol>.*?<img src="([^"]+)"', text, re.DOTALL)
    assert {file for _, file in lists} == {
        "samples.png",
        "real.png",
        "best.png",
        "worst.png",
        "walk-random.gif",
        "walk-best.gif",
    }
    for names, file in lists:
        assert re.findall(r"<li>(.*?)</li>", names) == ["zero", "One", "two &amp; more"]
        with Image.open(class_report.parent / file) as picture:
            assert picture.height == 3 * (34 if file.endswith(".gif") else 66) - 2, "a row each"


def test_rows_show_the_class_that_stands_beside_them(class_report, conditional_checkpoint):
    """The first row of samples is what the narrowed generator makes of the first latents."""
    z = lk.Normal(11).sample(8, seed=0)[:, :8]
    for row, label in enumerate(CLASSES):
        wanted = to_rgb(lk.generate(lk.condition(conditional_checkpoint, label).generator, z)).astype(int)
        with Image.open(class_report.parent / "samples.png") as picture:
            shown = np.asarray(picture)[66 * row : 66 * row + 64 : 2, :].reshape(32, -1, 3)
        for column in range(8):
            cell = shown[:, 66 * column : 66 * column + 64 : 2]
            assert np.abs(cell - wanted[column]).max() <= 1
        real = conditional_checkpoint.holdout[conditional_checkpoint.holdout_labels == row][:1]
        with Image.open(class_report.parent / "real.png") as picture:
            shown = np.asarray(picture)[66 * row : 66 * row + 64 : 2, :64:2]
        assert np.abs(shown.astype(int) - to_rgb(real)[0]).max() == 0


def test_the_map_knows_the_class_of_each_sample(class_report):
    data = map_data(class_report)
    field = data["fields"][0]
    assert field["name"] == "class", "what it is coloured by at first"
    assert tuple(field["names"]) == CLASSES
    assert len(set(field["colours"])) == 3
    assert values_of(class_report, "class").tolist() == lk.Normal(11).sample(500, seed=0)[:, 8:].argmax(1).tolist()


def test_a_page_about_several_classes_says_so(class_report, conditional_checkpoint):
    text = " ".join(read(class_report).words)
    assert "8 latent dimensions and 3 classes" in text
    assert "all 3 classes together, equally often" in text
    whole = lk.marginal(conditional_checkpoint.generator)
    z = whole.prior.sample(500, seed=0)
    samples, labels = lk.generate(whole, z).flatten(1), whole.labels(z)
    spread = [torch.pdist(samples[labels == k]).square().mean() for k in range(3)]
    label = CLASSES[spread.index(max(spread))]
    assert f"All of it is done in one class, {label}, whose samples differ most" in text
    assert f"What a step along each direction in class {label} changes" in text
    rows = class_report.read_text(encoding="utf-8").split("class by class:")[1].split("</table>")[0]
    assert re.findall(r'<th scope="row">(.*?)</th>', rows) == ["zero", "One", "two &amp; more"]
    counts = [int(count) for count in re.findall(r"<td>(\d+)</td>", rows)]
    assert sum(counts[::2]) == 500
    assert sum(counts[1::2]) == 200


def test_a_page_about_one_class_says_which(mapped, conditional_checkpoint, tmp_path):
    page = lk.report(lk.condition(conditional_checkpoint, "One"), tmp_path / "r", n=500, progress=False)
    text = page.read_text(encoding="utf-8")
    assert "<h1>digits, class One · gan</h1>" in text
    assert 'class="rows"' not in text
    assert map_data(page)["fields"][0]["name"] == "probability"
    assert f"checkpoint {conditional_checkpoint.fingerprint}" in text


def test_held_out_samples_that_are_uneven_are_mentioned(brief, class_report, conditional_checkpoint, tmp_path):
    assert "not spread evenly" not in class_report.read_text(encoding="utf-8")
    most = conditional_checkpoint.holdout_labels != 2
    few = replace(
        conditional_checkpoint,
        holdout=conditional_checkpoint.holdout[most],
        holdout_labels=conditional_checkpoint.holdout_labels[most],
    )
    text = lk.report(few, tmp_path / "r", n=500, progress=False).read_text(encoding="utf-8")
    assert "not spread evenly over the classes" in text
    assert "two &amp; more 0.0%" in text


@pytest.mark.parametrize("labelled", [True, False])
def test_points_of_several_classes_have_a_report(mapped, labelled, build, tmp_path):
    names = tuple(f"{text} {k}" for k in range(3) for text in HOSTILE)  # more classes than rows are shown
    holdout = torch.randn(120, 2, generator=torch.Generator().manual_seed(0))
    checkpoint = lk.Checkpoint(
        lk.wrap(build(lambda: MLPGenerator(2, 2, 8, 1, classes=21)).eval(), lk.Normal(2), classes=names),
        build(lambda: MLPCritic(2, 8, 1, classes=21), seed=1).eval(),
        holdout,
        torch.arange(120) % 21 if labelled else None,
        names,
    )
    page = read(lk.report(checkpoint, tmp_path / "r", n=500, progress=False))
    assert page.tags.count("script") == 3, "the map's data and numbers, and the script"
    assert not [name for _, name in page.attributes if name.startswith("on")]
    assert names[20] in " ".join(page.words), "in the table, as text"


def test_hostile_classes_of_images_stay_text(mapped, conditional_checkpoint, class_report, tmp_path):
    generator = lk.wrap(conditional_checkpoint.generator.module, lk.Normal(8), classes=HOSTILE[:3])
    named = replace(conditional_checkpoint, generator=generator, classes=generator.classes)
    page = lk.report(named, tmp_path / "r", n=500, progress=False)
    assert read(page).tags.count("script") == read(class_report).tags.count("script")
    assert map_data(page)["fields"][0]["names"] == list(HOSTILE[:3])
    assert HOSTILE[1] in " ".join(read(page).words)
    assert not [name for _, name in read(page).attributes if name.startswith("on")]
