"""Repositories of the Hugging Face Hub, from a stand-in for its library: nothing here asks the network."""

import fnmatch
import json
import sys
from types import ModuleType, SimpleNamespace

import pytest
import torch
from safetensors.torch import save_file

from latentkit.adapters.hub import hub_snapshot
from latentkit.errors import ArgumentError, CheckpointError, MissingDependencyError

COMMIT = "0123456789abcdef0123456789abcdef01234567"
OTHER = "f" * 40
NAME = "owner/model"


class Hub:
    """A repository as the library shows it: files by commit, tags and branches."""

    def __init__(self, cache):
        self.cache, self.asked = cache, []
        self.files = {"config.json": b"{}", "model.safetensors": None, "vae/vae.safetensors": None, "run.py": b"exit()"}
        self.broken = False

    def list_repo_refs(self, repository):
        self.ask(repository)
        tag, branch = (SimpleNamespace(name=n, target_commit=c) for n, c in (("v1.0", COMMIT), ("main", OTHER)))
        return SimpleNamespace(tags=[tag], branches=[branch])

    def list_repo_files(self, repository, *, revision):
        self.ask(repository)
        assert revision == COMMIT
        return list(self.files)

    def snapshot_download(self, repository, *, revision, allow_patterns, cache_dir, local_files_only):
        assert revision == COMMIT
        if not local_files_only:
            self.ask(repository)
        folder = self.cache / revision
        for name, content in self.files.items():
            if not any(fnmatch.fnmatch(name, pattern) for pattern in allow_patterns):
                continue
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            if content is None:
                save_file({"weight": torch.arange(3.0)}, folder / name)
            else:
                (folder / name).write_bytes(content)
        folder.mkdir(exist_ok=True)
        return str(folder)

    def ask(self, repository):
        self.asked.append(repository)
        if self.broken:
            raise ConnectionError("no route\nto anywhere")


@pytest.fixture
def hub(tmp_path, monkeypatch):
    made = Hub(tmp_path / "cache")
    made.cache.mkdir()
    library = ModuleType("huggingface_hub")
    library.HfApi = lambda: made
    library.snapshot_download = made.snapshot_download
    monkeypatch.setitem(sys.modules, "huggingface_hub", library)
    return made


def test_a_commit_gives_tensors_and_settings_and_no_code(hub):
    hub.files["config.json"] = json.dumps({"size": 16}).encode()
    hub.files["model.bin"] = b"\x80"
    found = hub_snapshot(NAME, COMMIT)
    assert (found.repository, found.commit) == (NAME, COMMIT)
    assert found.weights()["weight"].tolist() == [0.0, 1.0, 2.0]
    assert found.settings() == {"size": 16}
    assert {file.name for file in found.folder.rglob("*.*")} == {"config.json", "model.safetensors", "vae.safetensors"}


def test_only_some_folders(hub):
    found = hub_snapshot(NAME, COMMIT, folders=["vae"])
    assert [file.name for file in found.folder.rglob("*.*")] == ["vae.safetensors"]
    assert found.weights("vae/vae.safetensors")["weight"].shape == (3,)
    with pytest.raises(CheckpointError, match="no safetensors in unet"):
        hub_snapshot(NAME, COMMIT, folders=("unet",))


def test_a_tag_is_told_by_its_commit(hub):
    with pytest.warns(UserWarning, match=f"v1.0 of {NAME} is the commit {COMMIT} now"):
        found = hub_snapshot(NAME, "v1.0")
    assert found.commit == COMMIT


def test_what_changes_is_refused(hub):
    with pytest.raises(ArgumentError, match=f"main is a branch of {NAME}, which changes; its commit now is {OTHER}"):
        hub_snapshot(NAME, "main")
    with pytest.raises(ArgumentError, match=r"no tag 'v2' \(its tags: v1.0\)"):
        hub_snapshot(NAME, "v2")
    with pytest.raises(ArgumentError, match="no tag '0123456'"):
        hub_snapshot(NAME, COMMIT[:7])


@pytest.mark.parametrize("file", ["pytorch_model.bin", "weights.ckpt", "G.pkl"])
def test_pickles_are_refused_by_name(hub, file):
    hub.files = {"config.json": b"{}", file: b"\x80"}
    with pytest.raises(CheckpointError, match=f"weights as {file}, which could run code"):
        hub_snapshot(NAME, COMMIT)
    assert not list(hub.cache.rglob("*.*"))


def test_without_the_network(hub):
    online = hub_snapshot(NAME, COMMIT)
    hub.asked.clear()
    assert hub_snapshot(NAME, COMMIT, offline=True) == online
    assert hub.asked == []
    with pytest.raises(ArgumentError, match="only a commit can be found"):
        hub_snapshot(NAME, "v1.0", offline=True)
    hub.broken = True
    for revision, doing in ((COMMIT, "cannot list"), ("v1.0", "cannot look up v1.0")):
        with pytest.raises(CheckpointError, match=f"{doing}.*: no route$"):
            hub_snapshot(NAME, revision)


def test_bad_files_and_names(hub):
    hub.files["model.safetensors"] = b"version https://git-lfs.github.com/spec/v1\n"
    hub.files["config.json"] = b"{"
    found = hub_snapshot(NAME, COMMIT)
    with pytest.raises(CheckpointError, match="is a Git LFS pointer"):
        found.weights()
    with pytest.raises(CheckpointError, match="is no JSON"):
        found.settings()
    with pytest.raises(CheckpointError, match="only safetensors are read"):
        found.weights("model.bin")
    for outside in ("../model.safetensors", "/etc/model.safetensors"):
        with pytest.raises(CheckpointError, match="does not lie within"):
            found.weights(outside)
    with pytest.raises(CheckpointError, match="cannot read"):
        found.settings("other.json")
    for wrong in ("", "a/b/c", "../x", 3):
        with pytest.raises(ArgumentError, match="repository must be a name"):
            hub_snapshot(wrong, COMMIT)
    with pytest.raises(ArgumentError, match="revision must be a commit"):
        hub_snapshot(NAME, "")
    hub.files = {"readme.txt": b""}
    with pytest.raises(CheckpointError, match=r"has no safetensors$"):
        hub_snapshot(NAME, COMMIT)


def test_a_missing_library_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(MissingDependencyError, match=r'pip install "latentkit\[hub\]"'):
        hub_snapshot(NAME, COMMIT)


def test_the_library_has_what_is_used():
    library = pytest.importorskip("huggingface_hub", exc_type=ImportError)
    import inspect

    wanted = {"revision", "allow_patterns", "cache_dir", "local_files_only"}
    assert wanted <= set(inspect.signature(library.snapshot_download).parameters)
    assert "revision" in inspect.signature(library.HfApi.list_repo_files).parameters
    assert callable(library.HfApi.list_repo_refs)
