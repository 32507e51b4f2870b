"""The latent-size study: alike for all sizes, true on models whose answer is known, and exact to go on with."""

import csv
import dataclasses
import json

import numpy as np
import pytest
import torch

import latentkit as lk
from latentkit.encoders.gif import gif_info
from latentkit.errors import ArgumentError, DataError, OutputError
from trainers import Data, GANConfig, digits, ring
from trainers.study import Row, Study
from trainers.study_measures import measure, measure_real
from trainers.sweep import StudyConfig, latent_size_study

# Runs this short make samples that are all alike, and say so.
pytestmark = pytest.mark.filterwarnings("ignore:the samples are nearly identical")

CONFIG = GANConfig(steps=12, batch_size=16, width=8, holdout=40, threads=1)
QUICK = StudyConfig(samples=30, inverted=3, inversion_steps=3, inversion_starts=1, ranked=2)
SIZES, SEEDS = [1, 3], [7, 0]
DATA = ring(n=200)


def study(out, sizes=SIZES, seeds=(0,), config=CONFIG, data=DATA, **options):
    return latent_size_study(data, sizes, seeds, config, out=out, progress=False, **{"measures": QUICK, **options})


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A study of two sizes and two seeds in one go, and its folder."""
    out = tmp_path_factory.mktemp("studies") / "实验 ü"
    return study(out, seeds=SEEDS), out


@pytest.fixture
def unsaved(monkeypatch):
    """Leave the files out: drawing takes longer than all else in studies this small."""
    monkeypatch.setattr(Study, "save", lambda _, folder: folder)


def same(a, b):
    pairs = ("data", "fingerprint", "rows", "real", "compared", "settings", "measures", "filmed")
    return all(getattr(a, name) == getattr(b, name) for name in pairs) and torch.equal(a.samples, b.samples)


class TestLaws:
    def test_there_is_one_row_and_one_checkpoint_a_training(self, whole):
        found, out = whole
        assert [(row.size, row.seed) for row in found.rows] == [(1, 0), (1, 7), (3, 0), (3, 7)]
        assert [(row.size, row.seed) for row in found.real] == [(0, 0), (0, 7)]
        for row in found.rows:
            checkpoint = lk.load(out / "runs" / f"dim-{row.size:03d}-seed-{row.seed}")
            assert checkpoint.generator.prior.dim == row.size
            assert checkpoint.settings["seed"] == row.seed
            _, held_out = DATA.split(40, row.seed)
            assert torch.equal(checkpoint.holdout, held_out.samples), "the same split for all sizes"
            assert row == measure(checkpoint, row.size, row.seed, 30, QUICK)
            assert 1 <= row.effective_rank <= row.size + 1e-6
            assert row.auc_low <= row.auc <= row.auc_high
        first = lk.load(out / "runs" / "dim-001-seed-7").generator
        torch.testing.assert_close(found.samples[0], lk.generate(first, first.prior.sample(1000, seed=0)))

    def test_the_files_hold_the_study(self, whole):
        found, out = whole
        assert {entry.name for entry in out.iterdir()} == {"runs", "study.json", "study.csv", "study.png", "study.gif"}
        about = json.loads((out / "study.json").read_text(encoding="utf-8"))
        assert [Row(**row) for row in about["rows"]] == list(found.rows)
        assert (about["fingerprint"], about["settings"]["width"]) == (DATA.fingerprint, 8)
        with (out / "study.csv").open(encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file))
        assert [float(row["coverage"]) for row in rows] == [row.coverage for row in (*found.rows, *found.real)]
        assert gif_info(out / "study.gif").milliseconds == 2 * 1500

    def test_an_interrupted_study_keeps_what_is_finished_and_goes_on_to_the_same(self, whole, tmp_path, monkeypatch):
        from trainers.gan import train_gan

        trained = []

        def until(stop):
            def train(data, config, *, on_step, **options):
                def watch(state):
                    on_step(state)
                    trained.append((config.latent_dim, config.seed, state.step))
                    if trained[-1] == stop:
                        raise KeyboardInterrupt

                return train_gan(data, config, on_step=watch, **options)

            return train

        monkeypatch.setattr("trainers.sweep.train_gan", until((3, 7, 5)))
        with pytest.raises(KeyboardInterrupt):
            study(tmp_path, seeds=SEEDS)
        assert trained[-1] == (3, 7, 5)
        about = json.loads((tmp_path / "study.json").read_text(encoding="utf-8"))
        assert [Row(**row) for row in about["rows"]] == [row for row in whole[0].rows if (row.size, row.seed) == (1, 7)]
        assert lk.load(tmp_path / "runs" / "dim-001-seed-7").history["step"][-1] == 12

        trained.clear()
        monkeypatch.setattr("trainers.sweep.train_gan", until(None))
        assert same(study(tmp_path, seeds=SEEDS), whole[0])
        assert trained[0] == (3, 7, 6), "what was finished is not trained again"
        for name in ("study.json", "study.csv", "study.png", "study.gif"):
            assert (tmp_path / name).read_bytes() == (whole[1] / name).read_bytes()

    def test_sizes_and_seeds_can_be_added_and_nothing_is_done_twice(self, whole, tmp_path, monkeypatch, unsaved):
        made = []

        def counted(checkpoint, size, seed, *rest):
            made.append((size, seed))
            return measure(checkpoint, size, seed, *rest)

        monkeypatch.setattr("trainers.sweep.measure", counted)
        study(tmp_path, sizes=[3], seeds=[0])
        assert same(study(tmp_path, seeds=SEEDS), whole[0])
        assert made == [(3, 0), (1, 7), (3, 7), (1, 0)]
        assert same(study(tmp_path, sizes=np.array(SIZES[::-1]), seeds=SEEDS), whole[0])
        assert len(made) == 4
        other = study(tmp_path, measures=dataclasses.replace(QUICK, inversion_steps=0))
        assert made[4:] == [(1, 0), (3, 0)], "measured otherwise"
        assert other.rows[0].inversion_error >= whole[0].rows[0].inversion_error

    def test_steps_can_be_added(self, tmp_path, unsaved):
        study(tmp_path / "a", sizes=[2])
        longer = dataclasses.replace(CONFIG, steps=20)
        assert same(study(tmp_path / "a", sizes=[2], config=longer), study(tmp_path / "b", sizes=[2], config=longer))

    def test_damaged_measures_are_made_again(self, tmp_path, unsaved):
        before = study(tmp_path, sizes=[2])
        path = tmp_path / "runs" / "dim-002-seed-0" / "measures.json"
        for text in ("{", "[]", '{"row": {}}', path.read_text().replace('"coverage"', '"cover"')):
            path.write_text(text)
            assert same(study(tmp_path, sizes=[2]), before)

    def test_images_and_classes(self, tmp_path, unsaved):
        some = digits()
        data = Data("digits", some.samples[:120, :, ::2, ::2].contiguous(), some.labels[:120], some.classes)
        config = dataclasses.replace(CONFIG, steps=2, width=4, conditional=True)
        found = study(tmp_path, sizes=[2], config=config, data=data)
        assert found.rows[0].effective_rank <= 2, "of the latents; the class is none of them"
        film = found.film()
        assert film.captions[-1] == "real samples, held out"
        assert (film.count, film.size) == (2, (12 * 50 - 2, 5 * 50 - 2))
        frames = list(film.frames())
        assert not np.array_equal(frames[0], frames[1])
        assert (frames[1][4 * 50 :] == 255).all(), "40 held out: the last row is white"
        assert not (frames[1][3 * 50 : 4 * 50] == 255).all()

    def test_what_cannot_be_drawn_has_no_film(self, tmp_path, draw):
        found = study(tmp_path, sizes=[2], data=Data("rows", draw(200, 5)))
        assert found.film() is None
        assert not (tmp_path / "study.gif").exists()
        assert (tmp_path / "study.png").exists()


def checkpoint_of(function, dim, real, critic=lambda x: torch.sin(50 * x[:, 0])):
    return lk.Checkpoint(generator=lk.wrap(function, lk.Normal(dim)), critic=critic, holdout=real)


class TestTruth:
    MEASURES = StudyConfig(samples=400, inverted=16, ranked=4)
    REAL = lk.Normal(2).sample(400, seed=99)

    def measured(self, function, dim, **models):
        # What is not stored has no fingerprint, and needs none here.
        return measure(checkpoint_of(function, dim, self.REAL, **models), dim, 0, 400, self.MEASURES)

    def test_a_perfect_generator_is_as_good_as_real_samples(self):
        row = self.measured(lambda z: z.clone(), 2)
        other = lk.sample_quality(self.REAL, lk.Normal(2).sample(400, seed=5))
        for name in ("coverage", "recall", "precision", "density", "separability"):
            assert getattr(row, name) == pytest.approx(getattr(other, name), abs=0.12), name
        assert row.inversion_error < 1e-4
        assert row.effective_rank == pytest.approx(2)
        assert (row.probability, row.verdict) == (pytest.approx(0.5, abs=0.08), "uninformative")

    def test_latents_that_are_ignored_do_not_count(self):
        row = self.measured(lambda z: z[:, :2] * 1.0, 6)
        assert row.effective_rank == pytest.approx(2)
        assert row.inversion_error < 1e-4

    def test_a_line_in_the_plane_leaves_the_other_half_of_the_variance(self):
        row = self.measured(lambda z: torch.cat([z, 0 * z], 1), 1)
        rest = self.REAL[:16, 1].square().mean() / 2 / self.REAL.var(0, correction=0).mean()
        assert row.inversion_error == pytest.approx(rest.item(), rel=0.02)
        assert row.effective_rank == pytest.approx(1)
        assert row.coverage < 0.5

    def test_a_critic_that_knows_gives_the_true_probability(self):
        # Samples are N((1.5, 0), I), real ones N(0, I): the log ratio of real to generated is 9/8 - 1.5 x.
        row = self.measured(lambda z: z + torch.tensor([1.5, 0.0]), 2, critic=lambda x: -x[:, 0])
        x = lk.Normal(2).sample(20_000, seed=3)[:, 0] + 1.5
        assert row.probability == pytest.approx(torch.sigmoid(9 / 8 - 1.5 * x).mean().item(), abs=0.05)
        assert row.verdict == "informative"

    def test_real_samples_in_place_of_a_generators(self):
        config = StudyConfig(samples=60, inverted=10)
        row = measure_real(ring(500), 3, 100, config)
        train, held = (part.samples for part in ring(500).split(100, 3))
        nearest = torch.cdist(held[:10], train, compute_mode="donot_use_mm_for_euclid_dist").min(1).values
        wanted = nearest.square().mean() / 2 / held[:60].var(0, correction=0).mean()
        assert row.inversion_error == pytest.approx(wanted.item(), rel=1e-4)
        assert row.coverage == lk.sample_quality(held[:60], train[:60]).coverage
        assert (row.size, row.probability, row.effective_rank) == (0, 0.5, None)


class TestResult:
    def made(self):
        figures = dict.fromkeys(("recall", "precision", "density", "separability", "spread", "auc_low"), 0.5)
        row = Row(
            size=4,
            seed=0,
            coverage=0.5,
            probability=0.4,
            auc=0.7,
            auc_high=0.8,
            verdict="weak",
            inversion_error=0.25,
            effective_rank=3.0,
            **figures,
        )
        rows = [row, dataclasses.replace(row, seed=1, coverage=0.7, verdict="informative")]
        rows += [dataclasses.replace(one, size=16, effective_rank=9.0) for one in rows]
        real = [dataclasses.replace(row, size=0, seed=k, coverage=0.9, effective_rank=None) for k in (0, 1)]
        about = {"data": "x", "fingerprint": "f", "compared": 99, "settings": {}, "measures": {}, "filmed": 1}
        samples, held_out = torch.zeros(2, 5, 2), torch.ones(3, 2)
        return Study(**about, rows=tuple(rows), real=tuple(real), samples=samples, held_out=held_out)

    def test_the_table_gives_means_and_half_ranges(self):
        found = self.made()
        assert found.mean("coverage", 4) == (pytest.approx(0.6), pytest.approx(0.1))
        lines = [[cell.strip() for cell in line.strip("|").split("|")] for line in found.table().splitlines()]
        assert [line[0] for line in lines[:5]] == ["size", "---", "4", "16", "real"]
        assert {len(line) for line in lines[:5]} == {11}
        table = {line[0]: dict(zip(lines[0], line, strict=True)) for line in lines[2:5]}
        assert table["4"]["coverage"] == "0.60 ± 0.10"
        assert table["16"]["effective rank"] == "9.0 ± 0.0"
        assert table["4"]["critic"] == "informative, weak"
        assert (table["real"]["coverage"], table["real"]["effective rank"]) == ("0.90 ± 0.00", "")
        assert "2 seeds; 99 samples" in lines[-1][0]

    def test_the_picture_marks_critics_that_know_nothing(self):
        found = self.made()
        blind = dataclasses.replace(
            found, rows=tuple(dataclasses.replace(r, verdict="uninformative") for r in found.rows)
        )
        shown, hollow = found.picture(), blind.picture()
        assert shown.shape == hollow.shape == (500, 1040, 3)
        changed = np.argwhere((shown != hollow).any(2))
        assert len(changed) > 0
        top, left = changed.min(0)
        bottom, right = changed.max(0)
        assert top > 250, "in the second row's"
        assert 260 < left < right < 520, "second panel"
        assert bottom < 500

    def test_every_panel_shows_its_line_over_most_of_its_width(self):
        """An axis that is far too long would press a figure flat against an edge."""
        found = self.made()
        steep = [dataclasses.replace(row, size=size, effective_rank=size / 2) for row in found.rows for size in (2, 64)]
        picture = dataclasses.replace(found, rows=tuple(steep)).picture()
        blue = (picture == (0x00, 0x72, 0xB2)).all(2)
        for top in (0, 250):
            for left in (0, 260, 520, 780):
                rows, columns = np.nonzero(blue[top : top + 230, left : left + 260])
                assert np.ptp(columns) > 150, "as wide as the sizes reach"
                assert 5 < rows.min() <= rows.max() < 225
        assert np.ptp(np.nonzero(blue[250:480, 780:])[0]) > 80, "ranks from 1 to 32 use the height"

    def test_the_film_shows_the_filmed_seeds_figures(self):
        film = self.made().film()
        assert film.captions == (
            "4 latent dimensions: coverage 0.70, effective rank 3.0",
            "16 latent dimensions: coverage 0.70, effective rank 9.0",
        )


class TestDoor:
    @pytest.mark.parametrize(
        ("sizes", "seeds", "says"),
        [
            ([], [0], "sizes must be at least one"),
            ([2, 2], [0], "sizes must be at least one, all different"),
            ([2], [], "seeds must be"),
            ([2], [1, 1], "seeds must be"),
            ([0], [0], "a size"),
            ([2.5], [0], "a size"),
            ([10**9], [0], "latent_dim must be at most"),
            ([2], [-1], "seed"),
        ],
    )
    def test_sizes_and_seeds_are_checked(self, tmp_path, sizes, seeds, says):
        with pytest.raises(ArgumentError, match=says):
            study(tmp_path / "out", sizes=sizes, seeds=seeds)
        assert not (tmp_path / "out").exists()

    @pytest.mark.parametrize("name", [field.name for field in dataclasses.fields(StudyConfig)])
    def test_measures_are_checked(self, name):
        with pytest.raises(ArgumentError, match=name):
            StudyConfig(**{name: -1})

    def test_the_sizes_say_what_latent_dim_is(self, tmp_path):
        with pytest.raises(ArgumentError, match="latent_dim"):
            study(tmp_path / "out", config=dataclasses.replace(CONFIG, latent_dim=4))

    @pytest.mark.parametrize("holdout", [19, 181])
    def test_too_few_to_compare_with(self, tmp_path, holdout):
        with pytest.raises(DataError, match=f"at least 20 .* {holdout} are to be held out"):
            study(tmp_path / "out", config=dataclasses.replace(CONFIG, holdout=holdout))
        assert not (tmp_path / "out").exists()

    def test_another_study_is_not_gone_on_with(self, whole, monkeypatch):
        monkeypatch.setattr("trainers.sweep.train_gan", None)
        before = (whole[1] / "study.json").read_bytes()
        with pytest.raises(ArgumentError, match=r"width was 8 and is 16; .*resume=False"):
            study(whole[1], config=dataclasses.replace(CONFIG, width=16))
        with pytest.raises(ArgumentError, match="data was"):
            study(whole[1], data=ring(200, seed=1))
        assert (whole[1] / "study.json").read_bytes() == before

    def test_without_resume_everything_is_done_anew(self, tmp_path, unsaved):
        before = study(tmp_path, sizes=[2])
        wider = dataclasses.replace(CONFIG, width=16)
        after = study(tmp_path, sizes=[2], config=wider, resume=False)
        assert after.rows != before.rows
        assert lk.load(tmp_path / "runs" / "dim-002-seed-0").settings["width"] == 16

    def test_a_folder_of_other_things_is_refused(self, tmp_path, monkeypatch):
        monkeypatch.setattr("trainers.sweep.train_gan", None)
        (tmp_path / "notes.txt").write_text("mine")
        with pytest.raises(OutputError, match=r"notes\.txt"):
            study(tmp_path)
        (tmp_path / "notes.txt").rename(tmp_path / "study.json")
        with pytest.raises(OutputError, match=r"study\.json"):
            study(tmp_path)
        with pytest.raises(OutputError):
            study(tmp_path / "study.json")
        assert (tmp_path / "study.json").read_text() == "mine"
