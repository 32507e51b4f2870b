"""The report: complete, self-contained, truthful about its critic, and closed to text from users."""

import json
import re
import shutil
import subprocess
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

VOID = {"meta", "img", "input", "br", "hr", "link"}


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
        self.links += [value for name, value in attrs if name in ("src", "href")]
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.words.append(data)


def read(path) -> Page:
    return Page(path.read_text(encoding="utf-8"))


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
    assert not re.search(r"(?:https?:)?//[a-z0-9]", text.split("<main>")[1].split("<script>")[0], re.IGNORECASE)
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


def test_text_from_users_stays_text(plain_checkpoint, tmp_path):
    plain = read(lk.report(plain_checkpoint, tmp_path / "plain", n=500, progress=False))
    for k, text in enumerate(HOSTILE):
        named = replace(
            plain_checkpoint, data=text, trainer=text, settings={text: text}, classes=(text,), holdout_labels=None
        )
        page = read(lk.report(named, tmp_path / f"{k}", n=500, progress=False))
        # The settings table of the fixture has other rows than one: compare without table cells.
        kinds = [t for t in page.tags if t not in ("tr", "th", "td")]
        assert kinds == [t for t in plain.tags if t not in ("tr", "th", "td")]
        assert text in " ".join(page.words), "shown as it is"
        assert not [name for _, name in page.attributes if name.startswith("on")]


def test_an_older_report_is_replaced_as_a_whole(plain_checkpoint, tmp_path):
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


def test_notes_beside_an_older_report_are_not_removed(plain_checkpoint, tmp_path, monkeypatch):
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


def test_a_failure_leaves_the_older_report(plain_checkpoint, tmp_path, monkeypatch):
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
        lk.report(replace(point_checkpoint, holdout=torch.zeros(30, 7)), tmp_path / "r")


def test_a_folder_appears_as_a_whole_or_not_at_all(tmp_path):
    with pytest.raises(RuntimeError), writing_folder(tmp_path / "out", marker=MARKER) as part:  # noqa: PT012
        (part / "half").write_text("...")
        raise RuntimeError
    assert list(tmp_path.iterdir()) == []


CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


@pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium")
def test_the_page_runs_in_a_browser(image_report, tmp_path):
    done = in_browser(image_report, tmp_path)
    # The script ran: it counts the samples it drew.
    assert "500 of 500 samples" in done.stdout
    assert "CONSOLE" not in done.stderr, done.stderr


def in_browser(page, tmp_path):
    command = [
        str(CHROMIUM),
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-quic",
        "--no-first-run",
        "--disable-background-networking",
        "--disable-component-update",
        "--disable-sync",
        f"--user-data-dir={tmp_path / 'profile'}",
        "--enable-logging=stderr",
        "--virtual-time-budget=5000",
        "--dump-dom",
        page.as_uri(),
    ]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)


def test_a_generator_of_your_own_has_a_report_too(point_checkpoint, tmp_path):
    own = lk.wrap(lambda z: z.tanh() * 2.0, lk.Normal(2))
    page = lk.report(replace(point_checkpoint, generator=own, critic=None), tmp_path / "r", n=500, progress=False)
    text = " ".join(read(page).words)
    assert "a wrapped generator" in text
    assert "has no critic" in text


def test_what_is_shown_is_what_the_captions_say(plain_checkpoint, tmp_path):
    page = lk.report(plain_checkpoint, tmp_path / "r", n=500, progress=False)
    text = " ".join(read(page).words)
    assert "the first 125 of seed 0" in text
    assert "2000" not in text


def test_noise_is_not_called_good(image_checkpoint, tmp_path):
    """Samples that are all near the mean image have full precision, and must not pass for it."""
    middle = image_checkpoint.holdout.mean(0, keepdim=True)
    grey = lk.wrap(lambda z: middle + 0.02 * z[:, :1, None, None] * middle.abs(), lk.Normal(8))
    page = lk.report(replace(image_checkpoint, generator=grey, critic=None), tmp_path / "r", n=500, progress=False)
    cards = page.read_text(encoding="utf-8").split('class="cards"')[1].split("</section>")[0]
    assert "Mostly" not in cards
    assert "No: collapsed" in cards


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


def manifold_of(page):
    return page.read_text(encoding="utf-8").split('<section id="manifold">')[1].split("</section>")[0]


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
        assert f'src="{file}"' in chapter
    # The four corners are four islands, of a fourth of the good latents each.
    rows = re.findall(r'<th scope="row">(\d+)</th><td>([\d.]+) %</td>', chapter)
    assert [number for number, _ in rows] == ["1", "2", "3", "4"]
    assert all(15.0 < float(share) < 35.0 for _, share in rows)
    for curve in ("route", "prior-matched", "lerp", "slerp", "geodesic"):
        assert f'<th scope="row">{curve}</th>' in chapter


def test_a_critic_that_says_something_is_not_asked_twice(image_checkpoint, monkeypatch, tmp_path):
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


def test_rows_of_pictures_are_named_by_their_classes(class_report):
    text = class_report.read_text(encoding="utf-8")
    lists = re.findall(r'<div class="rows"><ol>(.*?)</ol>\s*<img src="([^"]+)"', text, re.DOTALL)
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
    assert field["values"] == lk.Normal(11).sample(500, seed=0)[:, 8:].argmax(1).tolist()


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
    assert f"Directions in class {label}" in text
    rows = class_report.read_text(encoding="utf-8").split("class by class:")[1].split("</table>")[0]
    assert re.findall(r'<th scope="row">(.*?)</th>', rows) == ["zero", "One", "two &amp; more"]
    counts = [int(count) for count in re.findall(r"<td>(\d+)</td>", rows)]
    assert sum(counts[::2]) == 500
    assert sum(counts[1::2]) == 200


def test_a_page_about_one_class_says_which(conditional_checkpoint, tmp_path):
    page = lk.report(lk.condition(conditional_checkpoint, "One"), tmp_path / "r", n=500, progress=False)
    text = page.read_text(encoding="utf-8")
    assert "<h1>digits, class One · gan</h1>" in text
    assert 'class="rows"' not in text
    assert map_data(page)["fields"][0]["name"] == "probability"
    assert f"checkpoint {conditional_checkpoint.fingerprint}" in text


def test_held_out_samples_that_are_uneven_are_mentioned(class_report, conditional_checkpoint, tmp_path):
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
def test_points_of_several_classes_have_a_report(labelled, build, tmp_path):
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
    assert page.tags.count("script") == 1
    assert not [name for _, name in page.attributes if name.startswith("on")]
    assert names[20] in " ".join(page.words), "in the table, as text"


def test_hostile_classes_of_images_stay_text(conditional_checkpoint, class_report, tmp_path):
    generator = lk.wrap(conditional_checkpoint.generator.module, lk.Normal(8), classes=HOSTILE[:3])
    named = replace(conditional_checkpoint, generator=generator, classes=generator.classes)
    page = lk.report(named, tmp_path / "r", n=500, progress=False)
    assert read(page).tags.count("script") == read(class_report).tags.count("script")
    assert map_data(page)["fields"][0]["names"] == list(HOSTILE[:3])
    assert HOSTILE[1] in " ".join(read(page).words)
    assert not [name for _, name in read(page).attributes if name.startswith("on")]


@pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium")
def test_the_page_of_several_classes_runs_in_a_browser(class_report, tmp_path):
    done = in_browser(class_report, tmp_path)
    assert "500 of 500 samples" in done.stdout
    legend = done.stdout.split('id="map-legend"')[1].split("</div>")[0]
    assert re.findall(r"<button[^>]*>(.*?)</button>", legend) == ["zero", "One", "two &amp; more"]
    assert "CONSOLE" not in done.stderr, done.stderr
