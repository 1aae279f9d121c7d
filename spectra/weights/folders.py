"""What lies in a folder that somebody else filled."""

import os
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from spectra.core.errors import Quarantine
from spectra.weights.bytes import FileSource, Opener, OpenFile

__all__ = ["LEADS_OUTSIDE", "Folder", "open_folder", "repository_of"]

LEADS_OUTSIDE = (
    "is a link that leads outside the folder that is scanned; name its target"
    " as a SOURCE of its own"
)

_REPOSITORY = "models--"


@dataclass(frozen=True, slots=True)
class Folder:
    """One folder, listed once.

    Attributes
    ----------
    files
        The path of each name that it is opened by. A local link that leads
        outside stays a link, which is never opened.
    folders
        Names of those below it, in order; hidden ones and links are not
        followed.
    outside
        Names of links to folders outside of what is scanned.
    opener
        Opens its files.
    """

    files: Mapping[str, str]
    folders: tuple[str, ...] = ()
    outside: tuple[str, ...] = ()
    opener: Opener = FileSource

    def open(self, name: str, /) -> AbstractContextManager[OpenFile]:
        """Open one of its files for a ``with`` block."""
        path = self.files[name]
        if Path(path).is_symlink() and Path(path).exists():
            raise Quarantine("SOURCE_OUTSIDE", f"{path} {LEADS_OUTSIDE}")
        return self.opener(path)

    def only(self, *names: str) -> "Folder":
        """Return this folder as if it held just the files named."""
        kept = {name: self.files[name] for name in names if name in self.files}
        return Folder(MappingProxyType(kept), opener=self.opener)

    def ending(self, *endings: str) -> tuple[str, ...]:
        """Return the file names with one of some endings, sorted."""
        return tuple(
            name for name in self.files if name.lower().endswith(endings)
        )


def open_folder(path: Path, /, *, root: Path) -> Folder:
    """Return what lies in the folder `path`.

    Parameters
    ----------
    path
        An absolute path.
    root
        Real path of what is scanned: links may lead anywhere inside it, or to
        the blobs of the same repository of a Hugging Face cache.

    Returns
    -------
    Folder
        Its entries, sorted by name.

    Raises
    ------
    Quarantine
        SOURCE_UNREADABLE where it cannot be listed.
    """
    files, folders, outside = {}, [], []
    for entry in _entries(path):
        if not entry.is_symlink():
            if not entry.is_dir(follow_symlinks=False):
                files[entry.name] = os.path.realpath(entry.path)
            elif not entry.name.startswith("."):
                folders.append(entry.name)
        elif not Path(entry.path).is_dir():
            files[entry.name] = str(_followed(Path(entry.path), root))
        elif not _inside(Path(os.path.realpath(entry.path)), root):
            outside.append(entry.name)
    return Folder(MappingProxyType(files), tuple(folders), tuple(outside))


def repository_of(path: Path, /) -> Path | None:
    """Return the folder ``models--org--name`` of a cache around `path`."""
    for parent in (path, *path.parents):
        if parent.name.startswith(_REPOSITORY):
            return parent
    return None


def _entries(path: Path) -> Iterator[os.DirEntry[str]]:
    try:
        with os.scandir(path) as found:
            entries = sorted(found, key=lambda entry: entry.name)
    except OSError as error:
        raise Quarantine(
            "SOURCE_UNREADABLE", f"{path}: {error.strerror}"
        ) from error
    yield from entries


def _followed(link: Path, root: Path) -> Path:
    target = Path(os.path.realpath(link))
    repository = repository_of(link)
    blobs = repository and Path(os.path.realpath(repository)) / "blobs"
    if _inside(target, root) or (blobs and _inside(target, blobs)):
        return target
    return link


def _inside(path: Path, folder: Path) -> bool:
    return path.is_relative_to(folder)
