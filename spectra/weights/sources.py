"""What a SOURCE is: a string to the places where checkpoints lie."""

import os
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from spectra.core.catalog import Quarantined
from spectra.core.errors import Quarantine, UsageError
from spectra.core.text import printable
from spectra.weights.folders import Folder, open_folder, repository_of
from spectra.weights.formats.full import SHARD_NAME
from spectra.weights.formats.refused import FOREIGN, PICKLES

__all__ = ["Place", "expand", "places"]

_WEIGHTS = ".safetensors"
_INDEX = ".safetensors.index.json"
_STANDARD = ("model.safetensors", "adapter_model.safetensors")
_CONFIGS = ("config.json", "adapter_config.json")
_CARD = "README.md"
_COMMIT = re.compile(r"[0-9a-f]{40}")
_HOST = re.compile(r"^(hf://|https?://[^/]+/)")
_REMOTE = re.compile(
    r"hf://.*|https?://.*|[\w-][\w.-]*(/[\w-][\w.-]*)?(@[\w./-]+)?"
)
_DEEPEST = 64
_LISTS = 8


@dataclass(frozen=True, slots=True)
class Place:
    """Where one checkpoint lies.

    Attributes
    ----------
    folder
        Its files, and no file of another checkpoint.
    path
        The folder, or the file where the folder holds others too.
    ids
        Names for it, the shortest first; the longest says the most.
    revision
        Commit of a snapshot in a Hugging Face cache.
    """

    folder: Folder
    path: Path
    ids: tuple[str, ...]
    revision: str | None = None


@dataclass(frozen=True, slots=True)
class _Found:
    """What lies in a folder and below it."""

    places: tuple[Place, ...] = ()
    faults: tuple[Quarantined, ...] = ()


def expand(
    sources: Iterable[str | os.PathLike[str]], /, *, nested: int = _LISTS
) -> Iterator[str]:
    """Return the sources with every ``@list`` replaced by its lines.

    Lines are relative to the list's folder; empty ones and comments, from
    ``#`` on, are passed over.
    """
    for source in sources:
        text = os.fspath(source)
        if not text.startswith("@"):
            yield text
            continue
        if nested == 0:
            raise UsageError("E_SOURCE", f"{text} is a list within itself")
        yield from expand(_lines(Path(text[1:])), nested=nested - 1)


def places(
    source: str, /
) -> tuple[tuple[Place, ...], tuple[Quarantined, ...]]:
    """Return where the checkpoints of one local SOURCE lie.

    Parameters
    ----------
    source
        A folder of checkpoints, one checkpoint's folder, a file, or a cache
        of huggingface_hub. A checkpoint's folder is not searched further.

    Returns
    -------
    tuple
        Places in order of path, and what could not be looked into.

    Raises
    ------
    UsageError
        E_SOURCE where there is nothing of that name, or nothing in it.
    """
    # resolve() would lose the names that links give.
    path = Path(os.path.abspath(Path(source).expanduser()))  # noqa: PTH100
    if path.is_dir():
        found = _search(path, path)
        if found.places or found.faults:
            return found.places, found.faults
        raise UsageError(
            "E_SOURCE",
            f"no checkpoint lies in or below {source}",
            advice="a checkpoint is a folder with safetensors weights",
        )
    if path.suffix.lower() in (_WEIGHTS, *PICKLES, *FOREIGN):
        if os.path.lexists(path):
            return (_single(path),), ()
    elif path.exists():
        raise UsageError("E_SOURCE", f"{source} is not a checkpoint")
    raise _not_found(source)


def _search(path: Path, root: Path) -> _Found:
    try:
        folder = open_folder(path, root=Path(os.path.realpath(root)))
    except Quarantine as fault:
        return _Found(faults=(_set_aside(path, root, fault),))
    if len(path.parts) - len(root.parts) >= _DEEPEST:
        deep = Quarantine("SOURCE_UNREADABLE", f"over {_DEEPEST} folders deep")
        return _Found(faults=(_set_aside(path, root, deep),))
    below = [_search(lower, root) for lower in folder.folders]
    places = tuple(place for found in below for place in found.places)
    faults = tuple(fault for found in below for fault in found.faults)
    if _is_checkpoint(folder, has_below=bool(places)):
        return _Found((_place(folder, path, root),), ())
    outside = tuple(_outside(link, root) for link in folder.outside)
    strays = tuple(_strays(folder, root))
    return _Found(strays + places, outside + faults)


def _is_checkpoint(folder: Folder, *, has_below: bool) -> bool:
    """Return whether the files of a folder are one checkpoint.

    Beside folders with weights, weights without a configuration are members
    of a population like those; with one, the folders below are its parts.
    """
    weights = folder.ending(_WEIGHTS)
    described = any(name in folder.files for name in _CONFIGS)
    if described or folder.ending(_INDEX):
        return bool(weights) or not has_below
    if has_below:
        return False
    if weights:
        return any(name in folder.files for name in _STANDARD)
    return bool(folder.ending(*PICKLES, *FOREIGN))


def _strays(folder: Folder, root: Path) -> Iterator[Place]:
    """Return each file of weights, numbered shards together, as a place."""
    seen = set()
    for name in folder.ending(_WEIGHTS):
        shard = SHARD_NAME.fullmatch(name)
        stem = shard["stem"] if shard else name.removesuffix(_WEIGHTS)
        if stem not in seen:
            seen.add(stem)
            names = [
                other
                for other in folder.ending(_WEIGHTS)
                if shard and other.startswith(stem)
            ]
            yield _place(
                folder.only(*(names or [name])), folder.path / name, root, stem
            )


def _single(path: Path) -> Place:
    """Return one file that was named; a link that was named is followed."""
    parent = open_folder(path.parent, root=path.parent)
    folder = parent.only(*_CONFIGS, *([_CARD] * (path.name in _STANDARD)))
    files = {**folder.files, path.name: Path(os.path.realpath(path))}
    stem = "" if path.name in _STANDARD else path.stem
    return _place(Folder(path.parent, files), path, path.parent, stem)


def _place(folder: Folder, path: Path, root: Path, stem: str = "") -> Place:
    repository = repository_of(folder.path)
    if repository is not None:
        found = _in_cache(folder, path, repository)
        if found:
            return found
    parts = [root.name, *folder.path.relative_to(root).parts, stem]
    parts = [part for part in parts if part] or ["checkpoint"]
    ids = tuple("/".join(parts[n:]) for n in reversed(range(len(parts))))
    return Place(folder, path, ids)


def _in_cache(folder: Folder, path: Path, repository: Path) -> Place | None:
    """Return a place in ``models--org--name/snapshots/<commit>``."""
    parts = folder.path.relative_to(repository).parts
    if len(parts) < 2 or parts[0] != "snapshots":
        return None
    commit, *inner = parts[1:]
    if not _COMMIT.fullmatch(commit):
        return None
    name = repository.name.removeprefix("models--").replace("--", "/")
    ids = tuple(
        "/".join((name + end, *inner))
        for end in ("", f"@{commit[:7]}", f"@{commit}")
    )
    return Place(folder, path, ids, commit)


def _set_aside(path: Path, root: Path, fault: Quarantine) -> Quarantined:
    name = "/".join((root.name, *path.relative_to(root).parts))
    return Quarantined(name, None, fault.code, fault.detail)


def _outside(link: Path, root: Path) -> Quarantined:
    return _set_aside(
        link,
        root,
        Quarantine(
            "SOURCE_OUTSIDE",
            "is a link that leads outside the folder that is scanned; name"
            " its target as a SOURCE of its own",
        ),
    )


def _lines(path: Path) -> Iterator[str]:
    try:
        text = path.expanduser().read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError("E_SOURCE", f"cannot read {path}: {error}") from error
    for line in text.splitlines():
        entry = line.partition("#")[0].strip()
        if entry.startswith("@"):
            yield f"@{path.parent / entry[1:]}"
        elif entry:
            here = path.parent / Path(entry).expanduser()
            yield (
                entry
                if _REMOTE.fullmatch(entry) and not os.path.lexists(here)
                else str(here)
            )


def _not_found(source: str) -> UsageError:
    if _REMOTE.fullmatch(source):
        name = printable(_HOST.sub("", source).partition("@")[0])
        return UsageError(
            "E_SOURCE",
            f"{printable(source)} is not a local path",
            advice="reading from a hub is not built yet;"
            f" `hf download {name} --local-dir DIR` first",
        )
    return UsageError(
        "E_SOURCE", f"{printable(source)} is neither a folder nor a file"
    )
