"""Files that are in the user's own Hugging Face cache, without any network.

::

    models--org--name/
    |-- refs/<revision>             a commit
    |-- snapshots/<commit>/<path>   a link into blobs/, or the file itself
    |-- blobs/
    `-- .no_exist/<commit>/<path>   known not to be there

What lies there is read as it is found: a snapshot may be a part of one, and a
link that leads anywhere but to its repository's own blobs is no file.
"""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

from spectra.core.errors import Quarantine
from spectra.hub.reference import is_commit, is_inside, is_repository
from spectra.weights.bytes import FileSource, read_bytes

__all__ = [
    "cached_absence",
    "cached_commit",
    "cached_file",
    "cached_files",
    "cached_repositories",
    "hugging_face_cache",
]

_PREFIX = "models--"
# A commit and the end of a line.
_LONGEST_REF = 42
_MOST_FILES = 100_000


def hugging_face_cache() -> Path | None:
    """Return the folder that the environment names at this moment."""
    places = (
        ("HF_HUB_CACHE", ""),
        ("HF_HOME", "hub"),
        ("XDG_CACHE_HOME", "huggingface/hub"),
    )
    for name, below in places:
        if text := os.environ.get(name):
            return _expanded(text, below)
    return _expanded("~/.cache", "huggingface/hub")


def cached_repositories() -> Iterator[str]:
    """Yield the names of the models in the cache, in their order."""
    cache = hugging_face_cache()
    with contextlib.suppress(OSError):
        folders = sorted(cache.iterdir()) if cache else []
        for folder in folders:
            if folder.name.startswith(_PREFIX) and folder.is_dir():
                name = folder.name.removeprefix(_PREFIX).replace("--", "/")
                if is_repository(name):
                    yield name


def cached_commit(repo: str, revision: str, /) -> str | None:
    """Return the commit a revision was at when the cache last asked.

    None where the cache does not know it, or has nothing of that commit.
    """
    folder = _repository(repo)
    if folder is None or not is_inside(revision):
        return None
    commit = revision
    if not is_commit(revision):
        commit = _ref(folder / "refs", revision)
    snapshot = folder / "snapshots" / commit
    return commit if is_commit(commit) and snapshot.is_dir() else None


def cached_file(repo: str, commit: str, path: str, /) -> Path | None:
    """Return the real path of a file at a commit, None where it is not here.

    Parameters
    ----------
    repo
        ``org/name``, or a bare name.
    commit
        40 hexadecimal digits.
    path
        Of the file, within the repository.
    """
    folder = _repository(repo)
    if folder is None or not (is_commit(commit) and is_inside(path)):
        return None
    return _real(folder, commit, path)


def cached_files(repo: str, commit: str, /) -> dict[str, Path]:
    """Return the real path of every file of a snapshot, by its own path."""
    folder = _repository(repo)
    if folder is None or not is_commit(commit):
        return {}
    found: dict[str, Path] = {}
    for path in _paths(folder / "snapshots" / commit):
        real = _real(folder, commit, path) if is_inside(path) else None
        if real is not None:
            found[path] = real
        if len(found) == _MOST_FILES:
            break
    return dict(sorted(found.items()))


def cached_absence(repo: str, commit: str, path: str, /) -> bool:
    """Return whether the cache knows that a commit has no such file."""
    folder = _repository(repo)
    if folder is None or not (is_commit(commit) and is_inside(path)):
        return False
    return os.path.lexists(folder / ".no_exist" / commit / path)


def _expanded(text: str, below: str) -> Path | None:
    path = os.path.expandvars(os.path.expanduser(text))  # noqa: PTH111 - no error
    return None if path.startswith("~") else Path(path).absolute() / below


def _repository(repo: str) -> Path | None:
    """Return the real folder of a repository."""
    cache = hugging_face_cache()
    if cache is None or not is_repository(repo):
        return None
    folder = cache / (_PREFIX + repo.replace("/", "--"))
    return Path(os.path.realpath(folder)) if folder.is_dir() else None


def _ref(refs: Path, revision: str) -> str:
    """Return what a ref holds, "" where it is none."""
    path = refs / revision
    # A link on the way would lead away.
    if Path(os.path.realpath(path)) != path:
        return ""
    try:
        with FileSource(path) as source:
            raw = read_bytes(source, 0, min(source.nbytes, _LONGEST_REF))
    except Quarantine:
        return ""
    return raw.decode("ascii", errors="replace").strip()


def _real(folder: Path, commit: str, path: str) -> Path | None:
    named = folder / "snapshots" / commit / path
    real = Path(os.path.realpath(named))
    ours = real == named or real.is_relative_to(folder / "blobs")
    # Path.is_file would raise where the name is too long.
    is_there = os.path.isfile(real)  # noqa: PTH113 - as said
    return real if ours and is_there else None


def _paths(snapshot: Path) -> Iterator[str]:
    for parent, folders, files in os.walk(snapshot):
        folders.sort()
        for name in sorted(files):
            yield (Path(parent) / name).relative_to(snapshot).as_posix()
