"""The bundled checkpoints: found by name, after what lies in the current directory, and fit to be shipped."""

import json
from configparser import ConfigParser
from pathlib import Path

import pytest

import latentkit as lk
from latentkit import bundled
from latentkit.cli import main
from latentkit.errors import CheckpointError

NAME = "fashion-mnist"
MOST_BYTES = 6_000_000


@pytest.fixture
def shipped(conditional_checkpoint, tmp_path, monkeypatch):
    """A small checkpoint in the place of the bundled one, seen from an empty directory."""
    monkeypatch.setattr(bundled, "HOME", tmp_path / "package")
    here = tmp_path / "here"
    here.mkdir()
    monkeypatch.chdir(here)
    return conditional_checkpoint.save(tmp_path / "package" / NAME)


def test_a_bundled_checkpoint_is_loaded_by_its_name(shipped, conditional_checkpoint):
    assert NAME in lk.BUNDLED
    assert lk.load(NAME).fingerprint == conditional_checkpoint.fingerprint


def test_what_is_here_comes_first(shipped, point_checkpoint, tmp_path):
    point_checkpoint.save(NAME)
    assert lk.load(NAME).fingerprint == point_checkpoint.fingerprint
    assert lk.load(shipped).fingerprint != point_checkpoint.fingerprint


def test_a_path_is_no_name(shipped):
    with pytest.raises(CheckpointError, match="there is no checkpoint at"):
        lk.load(f"./{NAME}")


def test_what_is_neither_here_nor_bundled_names_what_is(shipped):
    with pytest.raises(CheckpointError, match=f"there is no checkpoint at fashion; .*bundled one: {NAME}"):
        lk.load("fashion")


def test_an_installation_without_it_says_so(tmp_path, monkeypatch):
    monkeypatch.setattr(bundled, "HOME", tmp_path)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(CheckpointError, match=f"bundled checkpoint {NAME} is missing from this installation"):
        lk.load(NAME)


def test_commands_take_the_name(shipped, capsys):
    assert main(["info", NAME, "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["folder"] == str(shipped)
    assert main(["sample", NAME, "--out", "sheet.png", "-n", "4"]) == 0


there = pytest.mark.skipif(not (bundled.HOME / NAME).is_dir(), reason="the bundled checkpoint is not in this tree")


@there
def test_it_is_small_whole_and_says_how_it_was_made():
    folder = bundled.HOME / NAME
    assert sum(file.stat().st_size for file in folder.iterdir()) <= MOST_BYTES
    checkpoint = lk.load(folder)
    assert checkpoint.conditional
    assert checkpoint.critic is not None
    assert len(checkpoint.holdout) >= 1000
    assert checkpoint.holdout_labels is not None
    card = (folder / "MODEL_CARD.md").read_text(encoding="utf-8")
    assert "latentkit-train" in card
    assert checkpoint.fingerprint in card, "the card is that of this very checkpoint"


@there
def test_it_is_part_of_wheels_and_source_archives():
    """setup.cfg and MANIFEST.in name files by patterns, and a file that none matches is left out without a word."""
    root = Path(__file__).resolve().parent.parent
    settings = ConfigParser()
    settings.read(root / "setup.cfg", encoding="utf-8")
    patterns = settings["options.package_data"]["latentkit"].split()
    packaged = {file for pattern in patterns for file in (root / "latentkit").glob(pattern)}
    manifest = (root / "MANIFEST.in").read_text(encoding="utf-8")
    suffixes = {word[1:] for line in manifest.splitlines() if "include latentkit " in line for word in line.split()[2:]}
    for file in (root / "latentkit" / "bundled" / NAME).iterdir():
        assert file in packaged
        assert file.suffix in suffixes
