"""Which files of the cache a live process may still read."""

import contextlib
import os
import re
from pathlib import Path

from spectra.hub.disk import is_taken, open_shared, token

__all__ = ["Lease", "leased"]

_NAME = re.compile(r"[0-9a-f]{64}")


class Lease:
    """A list of names, locked for as long as it holds.

    One descriptor, however many files: the lock ends with the process, by
    kill -9 too, and the list is then nobody's.

    Parameters
    ----------
    folder
        Where all leases lie; it is made.
    """

    def __init__(self, folder: Path, /) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._path = folder / token()
        self._names: set[str] = set()
        self._process = os.getpid()
        self._descriptor = open_shared(self._path)
        is_taken(self._descriptor)

    def add(self, name: str, /) -> None:
        """Hold one more name."""
        if name not in self._names:
            os.write(self._descriptor, f"{name}\n".encode())
            self._names.add(name)

    def close(self) -> None:
        """Let go of all names; a second call does nothing."""
        if self._descriptor < 0:
            return
        # What a fork closes is still its parent's.
        if os.getpid() == self._process:
            self._path.unlink(missing_ok=True)
        os.close(self._descriptor)
        self._descriptor = -1


def leased(folder: Path, /) -> frozenset[str]:
    """Return the names that are held; what dead processes left is removed."""
    names: set[str] = set()
    with contextlib.suppress(FileNotFoundError):
        for path in folder.iterdir():
            names |= _names(path)
    return frozenset(names)


def _names(path: Path) -> set[str]:
    flags = os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
    try:
        descriptor = os.open(path, flags)
    except OSError:
        return set()
    with os.fdopen(descriptor, encoding="ascii", errors="replace") as file:
        if is_taken(descriptor) is not False:
            return set(_NAME.findall(file.read()))
        path.unlink(missing_ok=True)
    return set()
