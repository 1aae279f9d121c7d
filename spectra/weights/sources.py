"""What a SOURCE is: a string to the places where checkpoints lie."""

import os
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from spectra.core.catalog import Quarantined
from spectra.core.errors import UsageError
from spectra.core.text import printable
from spectra.weights.folders import Folder, open_folder, repository_of
from spectra.weights.formats.refused import FOREIGN, PICKLES
from spectra.weights.search import (
    CONFIGS,
    STANDARD,
    WEIGHTS,
    Spot,
    search,
)

__all__ = ["Place", "expand", "places"]

_CARD = "README.md"
_COMMIT = re.compile(r"[0-9a-f]{40}")
_REMOTE = re.compile(
    r"hf://.*|https?://.*|[\w-][\w.-]*(/[\w-][\w.-]*)?(@[\w./-]+)?"
)
_LISTS = 8


@dataclass(frozen=True, slots=True)
class Place:
    """Where one checkpoint lies.

    Attributes
    ----------
    folder
        Its files, and no file of another checkpoint.
    path
        The folder, or the file where the folder holds others too: absolute,
        or ``hf://org/name@commit/path``.
    ids
        Names for it, the shortest first; the longest says the most.
    revision
        Commit of a snapshot in a Hugging Face cache.
    license, base
        Where more is known than its own files say: claims.
    """

    folder: Folder
    path: str
    ids: tuple[str, ...]
    revision: str | None = None
    license: str | None = None
    base: str | None = None


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
        found = _below(path)
        if any(found):
            return found
        raise UsageError(
            "E_SOURCE",
            f"no checkpoint lies in or below {source}",
            advice="a checkpoint is a folder with safetensors weights",
        )
    if path.suffix.lower() in (WEIGHTS, *PICKLES, *FOREIGN):
        if os.path.lexists(path):
            return (_single(path),), ()
    elif path.exists():
        raise UsageError("E_SOURCE", f"{source} is not a checkpoint")
    raise _not_found(source)


def _below(
    root: Path,
) -> tuple[tuple[Place, ...], tuple[Quarantined, ...]]:
    real = Path(os.path.realpath(root))
    found = search(lambda steps: open_folder(root.joinpath(*steps), root=real))
    faults = tuple(
        Quarantined(
            "/".join((root.name, *steps)), None, fault.code, fault.detail
        )
        for steps, fault in found.faults
    )
    return tuple(_place(spot, root) for spot in found.spots), faults


def _single(path: Path) -> Place:
    """Return one file that was named; a link that was named is followed."""
    parent = open_folder(path.parent, root=path.parent)
    folder = parent.only(*CONFIGS, *([_CARD] * (path.name in STANDARD)))
    files = {**folder.files, path.name: os.path.realpath(path)}
    file = "" if path.name in STANDARD else path.name
    place = _place(Spot((), file, Folder(files)), path.parent)
    return replace(place, path=str(path))


def _place(spot: Spot, root: Path) -> Place:
    inner = root.joinpath(*spot.steps)
    repository = repository_of(inner)
    if repository is not None:
        found = _in_cache(spot, inner, repository)
        if found:
            return found
    parts = [root.name, *spot.steps, spot.stem]
    parts = [part for part in parts if part] or ["checkpoint"]
    ids = tuple("/".join(parts[n:]) for n in reversed(range(len(parts))))
    return Place(spot.folder, str(inner / spot.file), ids)


def _in_cache(spot: Spot, inner: Path, repository: Path) -> Place | None:
    """Return a place in ``models--org--name/snapshots/<commit>``."""
    parts = inner.relative_to(repository).parts
    if len(parts) < 2 or parts[0] != "snapshots":
        return None
    commit, *below = parts[1:]
    if not _COMMIT.fullmatch(commit):
        return None
    name = repository.name.removeprefix("models--").replace("--", "/")
    ids = tuple(
        "/".join((name + end, *below, *([spot.stem] if spot.stem else [])))
        for end in ("", f"@{commit[:7]}", f"@{commit}")
    )
    return Place(spot.folder, str(inner / spot.file), ids, commit)


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
    return UsageError(
        "E_SOURCE",
        f"{printable(source)} is neither a folder nor a file",
        advice="a hub's are ORG/NAME or hf://NAME",
    )
