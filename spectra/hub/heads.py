"""What was read of files at a commit: headers and small texts, kept.

A commit never changes, so that a second scan asks the hub for nothing that
the first one has read. A damaged entry is as good as none.
"""

import contextlib
import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from spectra.hub.disk import token

__all__ = ["Head", "Heads"]

_MOST = 32 * 2**20
_LINE = 2**20


@dataclass(frozen=True, slots=True)
class Head:
    """Parts of one file.

    Attributes
    ----------
    nbytes, etag
        Of the whole file.
    pieces
        (offset, bytes) of each part.
    """

    nbytes: int
    etag: str
    pieces: tuple[tuple[int, bytes], ...]

    def fill(self, start: int, buffer: memoryview, /) -> bool:
        """Fill `buffer` from offset `start`; return whether that was known."""
        stop = start + buffer.nbytes
        for first, piece in self.pieces:
            if first <= start and stop <= first + len(piece):
                buffer[:] = piece[start - first : stop - first]
                return True
        return False


@dataclass(frozen=True, slots=True)
class Heads:
    """The folder they are kept in, by pinned path."""

    folder: Path

    def find(self, path: str, /) -> Head | None:
        """Return what is known of a file, None where nothing is."""
        try:
            with self._place(path).open("rb") as file:
                told = json.loads(file.readline(_LINE))
                content = file.read(_MOST + 1)
        except (OSError, ValueError):
            return None
        return _head(told, content, path)

    def keep(self, path: str, head: Head, /) -> None:
        """Keep a head where the cache can be written."""
        content = b"".join(piece for _, piece in head.pieces)
        if len(content) > _MOST:
            return
        told = {
            "path": path,
            "nbytes": head.nbytes,
            "etag": head.etag,
            "pieces": [(start, len(piece)) for start, piece in head.pieces],
            "sha256": hashlib.sha256(content).hexdigest(),
        }
        place = self._place(path)
        temporary = place.with_name(f"{place.name}.{token()}.part")
        with contextlib.suppress(OSError):
            place.parent.mkdir(parents=True, exist_ok=True)
            temporary.write_bytes(json.dumps(told).encode() + b"\n" + content)
            temporary.replace(place)

    def _place(self, path: str) -> Path:
        name = hashlib.sha256(path.encode()).hexdigest()
        return self.folder / name[:2] / name


def _head(told: Any, content: bytes, path: str) -> Head | None:
    try:
        sound = told["path"] == path
        sound &= told["sha256"] == hashlib.sha256(content).hexdigest()
        pieces, end = [], 0
        for start, length in told["pieces"]:
            pieces.append((int(start), content[end : end + length]))
            end += length
        head = Head(int(told["nbytes"]), str(told["etag"]), tuple(pieces))
    except (LookupError, TypeError, ValueError):
        return None
    return head if sound and end == len(content) else None
