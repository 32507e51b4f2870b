"""Repositories of the Hugging Face Hub, pinned to a commit; weights from safetensors only."""

import json
import os
import re
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from torch import Tensor

from latentkit.adapters.foreign import needed, reason
from latentkit.adapters.weights import read_weights
from latentkit.errors import ArgumentError, CheckpointError

__all__ = ["HubSnapshot", "hub_snapshot"]

_COMMIT = re.compile(r"[0-9a-f]{40}")
_NAME = re.compile(r"\w[\w.-]*(/\w[\w.-]*)?")
#: What is fetched: weights as tensors alone, settings and text. None of it can run code.
_FETCHED = ("*.safetensors", "*.json", "*.txt")
_PICKLES = (".bin", ".pt", ".pth", ".ckpt", ".pkl", ".pickle", ".msgpack", ".h5", ".joblib")


@dataclass(frozen=True)
class HubSnapshot:
    """The files of a repository at one commit, on this machine.

    A part of it goes to the loader of its family: `load_autoencoder(snapshot.folder / "vae")` takes the autoencoder of
    a pipeline.

    Attributes: `repository`, its name; `commit`, 40 hexadecimal digits; `folder`, where its files lie.
    """

    repository: str
    commit: str
    folder: Path

    def weights(self, file: str = "model.safetensors") -> dict[str, Tensor]:
        """Return the tensors by name of a safetensors file of the repository.

        Raises:
            CheckpointError: if it is no safetensors file, or missing or damaged.
        """
        if not file.endswith(".safetensors"):
            raise CheckpointError(f"only safetensors are read from the hub, and {file} is none")
        return read_weights(self._inside(file))

    def settings(self, file: str = "config.json") -> Any:
        """Return what a JSON file of the repository holds.

        Raises:
            CheckpointError: if it is missing or damaged.
        """
        path = self._inside(file)
        try:
            return json.loads(path.read_text(encoding="utf-8"))
        except OSError as error:
            raise CheckpointError(f"cannot read {path}: {error.strerror or error}") from None
        except ValueError as error:
            raise CheckpointError(f"{path} is no JSON: {reason(error)}") from None

    def _inside(self, file: str) -> Path:
        name = PurePosixPath(file)
        if name.is_absolute() or ".." in name.parts:
            raise CheckpointError(f"{file} does not lie within {self.repository}")
        return self.folder / name


def hub_snapshot(
    repository: str,
    revision: str,
    *,
    folders: Sequence[str] = (),
    cache: str | os.PathLike[str] | None = None,
    offline: bool = False,
) -> HubSnapshot:
    """Fetch a repository of the Hugging Face Hub at one commit: safetensors, JSON and text, and no pickle.

    A branch such as "main" is refused, since what it names changes. A tag is looked up, and a warning tells the commit
    that it names now: give that instead to get the same files for ever.

    Args:
        repository: "owner/name".
        revision: a commit of 40 hexadecimal digits, or a tag.
        folders: only these folders of the repository, such as ("vae",); by default all.
        cache: folder of the hub's cache; by default the hub's own.
        offline: use what is in the cache, and ask nobody; this needs a commit.

    Raises:
        MissingDependencyError: if huggingface_hub is not installed.
        ArgumentError: if the name is none, or the revision is neither a commit nor a tag.
        CheckpointError: if the repository cannot be reached, or has no weights as safetensors.
    """
    if not isinstance(repository, str) or not _NAME.fullmatch(repository):
        raise ArgumentError(f'repository must be a name like "owner/name", got {repository!r}')
    if not isinstance(revision, str) or not revision:
        raise ArgumentError(f"revision must be a commit of 40 hexadecimal digits, or a tag, got {revision!r}")
    library = needed("huggingface_hub", "hub")
    pinned = _COMMIT.fullmatch(revision) is not None
    if offline and not pinned:
        raise ArgumentError(f"without the network only a commit can be found, not the tag {revision!r}")
    commit = revision if pinned else _tagged(library, repository, revision)
    if not offline:
        _require_safetensors(library, repository, commit, folders)
    wanted = [f"{folder.strip('/')}/{pattern}" for folder in folders for pattern in _FETCHED] or list(_FETCHED)
    try:
        found = library.snapshot_download(
            repository, revision=commit, allow_patterns=wanted, cache_dir=cache, local_files_only=offline
        )
    except Exception as error:  # the library and what it uses to reach the hub have no common error
        raise CheckpointError(f"cannot fetch {repository} at {commit}: {reason(error)}") from error
    folder = Path(found)
    if not any(folder.rglob("*.safetensors")):
        raise CheckpointError(f"{repository} at {commit} has no safetensors here; nothing was loaded")
    if not pinned:
        warnings.warn(
            f"{revision} of {repository} is the commit {commit} now; give that as the revision, since tags move",
            stacklevel=2,
        )
    return HubSnapshot(repository, commit, folder)


def _tagged(library: Any, repository: str, tag: str) -> str:
    """Return the commit of a tag, or refuse what is none."""
    try:
        refs = library.HfApi().list_repo_refs(repository)
    except Exception as error:  # as above
        raise CheckpointError(f"cannot look up {tag} of {repository}: {reason(error)}") from error
    for ref in refs.tags:
        if ref.name == tag and _COMMIT.fullmatch(str(ref.target_commit)):
            return ref.target_commit
    branch = next((ref for ref in refs.branches if ref.name == tag), None)
    if branch is not None:
        raise ArgumentError(
            f"{tag} is a branch of {repository}, which changes; its commit now is {branch.target_commit}: give that"
        )
    names = ", ".join(ref.name for ref in refs.tags[:5]) or "none"
    raise ArgumentError(f"{repository} has no tag {tag!r} (its tags: {names}); give a commit of 40 hexadecimal digits")


def _require_safetensors(library: Any, repository: str, commit: str, folders: Sequence[str]) -> None:
    """Raise `CheckpointError` if a repository has no safetensors in the folders."""
    try:
        names = library.HfApi().list_repo_files(repository, revision=commit)
    except Exception as error:  # as above
        raise CheckpointError(f"cannot list {repository} at {commit}: {reason(error)}") from error
    if folders:
        names = [name for name in names if any(name.startswith(f"{folder.strip('/')}/") for folder in folders)]
    if any(name.endswith(".safetensors") for name in names):
        return
    pickles = [name for name in names if name.endswith(_PICKLES)]
    if pickles:
        raise CheckpointError(
            f"{repository} has its weights as {pickles[0]}, which could run code; only safetensors are read"
        )
    raise CheckpointError(
        f"{repository} at {commit} has no safetensors{' in ' + ', '.join(folders) if folders else ''}"
    )
