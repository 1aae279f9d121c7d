"""Where checkpoints lie on a hub: by the names of their files alone."""

import os
from collections.abc import Iterator, Mapping
from pathlib import PurePosixPath
from types import MappingProxyType

from spectra.core.catalog import Quarantined
from spectra.core.errors import Quarantine, UsageError
from spectra.core.settings import HubQuery
from spectra.hub.endpoint import require_online
from spectra.hub.failures import HubError
from spectra.hub.files import HubFiles
from spectra.hub.hfcache import cached_commit, cached_files
from spectra.hub.listing import (
    Repository,
    list_repositories,
    read_repository,
)
from spectra.hub.parse import parse_reference
from spectra.hub.reference import Reference, is_inside, pinned_path
from spectra.weights.folders import Folder
from spectra.weights.search import CONFIGS, Spot, search
from spectra.weights.sources import Place

__all__ = ["is_reference", "places_of", "query_places"]

_CARD = "README.md"

Steps = tuple[str, ...]
Found = tuple[tuple[Place, ...], tuple[Quarantined, ...]]


def is_reference(source: str, /) -> bool:
    """Return whether a SOURCE is meant for a hub and for no local path."""
    if source.startswith(("hf://", "http://", "https://")):
        return True
    if source.startswith((".", "/", "~")) or os.path.lexists(source):
        return False
    if "/" not in source:
        return False  # a mistyped folder more often than hf://gpt2
    try:
        parse_reference(source)
    except UsageError:
        return False
    return not source.endswith((".safetensors", ".toml", ".jsonl", ".h5"))


def query_places(
    files: HubFiles, query: HubQuery, /, *, limit: int | None
) -> Iterator[Found]:
    """Yield what each repository that a query finds holds.

    Parameters
    ----------
    files
        Opens them.
    query
        What to look for.
    limit
        At most so many repositories.
    """
    folder = files.heads.folder.parent / "listings"
    found = list_repositories(files.client, query, limit=limit, folder=folder)
    for entry in found:
        if isinstance(entry, Quarantined):
            yield (), (entry,)
        else:
            yield _places(files, entry, "")


def places_of(
    files: HubFiles, source: str, /, *, revision: str | None
) -> Found:
    """Return where the checkpoints of one SOURCE lie.

    Parameters
    ----------
    files
        Opens them.
    source
        As for `~spectra.hub.parse.parse_reference`.
    revision
        Where the source names none.

    Raises
    ------
    UsageError
        E_SOURCE where it refers to nothing.
    HubError
        Where the hub cannot be reached.
    """
    asked = parse_reference(source, endpoint=files.client.endpoint.url)
    if asked.revision is None:
        asked = Reference(asked.repo, revision, asked.path)
    try:
        repository = _repository(files, asked)
    except Quarantine as fault:
        name = asked.text.removeprefix("hf://")
        return (), (Quarantined(name, None, fault.code, fault.detail),)
    return _places(files, repository, asked.path)


def _repository(files: HubFiles, asked: Reference) -> Repository:
    """Ask the hub; offline, the cache of huggingface_hub."""
    try:
        require_online()
    except HubError:
        commit = cached_commit(asked.repo, asked.revision or "main")
        if commit is None:
            raise
        return Repository(
            asked.repo, commit, tuple(cached_files(asked.repo, commit))
        )
    return read_repository(files.client, asked)


def _places(files: HubFiles, found: Repository, inner: str) -> Found:
    name = f"{found.id}/{inner}" if inner else found.id
    folders = _tree(found, files)
    steps = tuple(inner.split("/")) if inner else ()
    *above, last = steps or ("",)
    holder = folders.get(tuple(above))
    if holder is not None and last in holder.files:
        folder = holder.only(last, *CONFIGS)
        return (_place(found, Spot(tuple(above), last, folder)),), ()
    if steps not in folders:
        fault = Quarantine("ENTRY", f"{found.id} has no {inner}")
        return (), (Quarantined(name, None, fault.code, fault.detail),)
    searched = search(folders.__getitem__, steps)
    faults = [
        Quarantined("/".join((found.id, *at)), None, fault.code, fault.detail)
        for at, fault in searched.faults
    ]
    if not searched.spots and not faults:
        detail = f"none of {len(found.files)} files holds weights"
        faults.append(Quarantined(name, None, "NO_WEIGHTS", detail))
    return tuple(_place(found, spot) for spot in searched.spots), tuple(faults)


def _place(found: Repository, spot: Spot) -> Place:
    inner = [*spot.steps, *([spot.stem] if spot.stem else [])]
    ids = tuple(
        "/".join((found.id + end, *inner))
        for end in ("", f"@{found.commit[:7]}", f"@{found.commit}")
    )
    path = "/".join([*spot.steps, *([spot.file] if spot.file else [])])
    return Place(
        spot.folder,
        Reference(found.id, found.commit, path).text,
        ids,
        found.commit,
        found.license,
        found.base,
    )


def _tree(found: Repository, files: HubFiles) -> Mapping[Steps, Folder]:
    """Return every folder of a repository.

    The card is left out: the listing has told what is asked of it.
    """
    names: dict[Steps, dict[str, str]] = {(): {}}
    below: dict[Steps, dict[str, None]] = {(): {}}
    for path in found.files:
        parts = PurePosixPath(path).parts
        if not is_inside(path) or any(p.startswith(".") for p in parts):
            continue
        for depth in range(1, len(parts)):
            at = parts[:depth]
            names.setdefault(at, {})
            below.setdefault(at, {})
            below[at[:-1]][at[-1]] = None
        if parts[-1] != _CARD:
            pinned = pinned_path(found.id, found.commit, path)
            names[parts[:-1]][parts[-1]] = pinned
    return {
        steps: Folder(
            MappingProxyType(names[steps]), tuple(below[steps]), opener=files
        )
        for steps in names
    }
