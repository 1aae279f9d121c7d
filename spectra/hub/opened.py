"""Files of a hub while they are open, and tensors before their turn."""

import re
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Self

from spectra.core.errors import Quarantine
from spectra.core.tensors import FileRef, TensorRef
from spectra.hub.ahead import ReadAhead
from spectra.hub.heads import Head
from spectra.hub.ranges import RemoteFile
from spectra.weights.bytes import ByteSource

__all__ = ["SHA1", "SHA256", "AheadInOrder", "Opened", "Remembering"]

SHA256 = re.compile(r"[0-9a-f]{64}")
SHA1 = re.compile(r"[0-9a-f]{40}")


@dataclass(slots=True)
class Opened:
    """A file that is read from `source`, known by its pinned path."""

    path: str
    source: ByteSource
    etag: str
    close: Callable[[], None]

    @property
    def nbytes(self) -> int:
        """Return the length."""
        return self.source.nbytes

    def read_into(self, start: int, buffer: memoryview, /) -> None:
        """Fill `buffer` from offset `start`."""
        self.source.read_into(start, buffer)

    def reference(self, header_sha256: str, /) -> FileRef:
        """Return what pins the file, wherever it was read."""
        return FileRef(
            self.path, self.source.nbytes, 0, header_sha256, _hash(self.etag)
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


@dataclass(slots=True)
class Remembering:
    """A remote file, less what is known of it, and what was read of it."""

    remote: RemoteFile
    known: Head | None
    pieces: list[tuple[int, bytes]] = field(default_factory=list)

    @property
    def nbytes(self) -> int:
        """Return the length."""
        return self.known.nbytes if self.known else self.remote.nbytes

    @property
    def etag(self) -> str:
        """Return the hub's tag of the content."""
        return self.known.etag if self.known else self.remote.etag

    def read_into(self, start: int, buffer: memoryview, /) -> None:
        """Fill `buffer` from offset `start`, and remember what was read."""
        if self.known and self.known.fill(start, buffer):
            return
        self.remote.read_into(start, buffer)
        self.pieces.append((start, bytes(buffer)))

    @property
    def head(self) -> Head:
        """Return what is known by now."""
        known = self.known.pieces if self.known else ()
        return Head(self.nbytes, self.etag, (*known, *self.pieces))


@dataclass(frozen=True, slots=True)
class AheadInOrder:
    """Tensors in the order in which they arrive."""

    waiting: deque[TensorRef]
    contents: ReadAhead

    def take(self, ref: TensorRef, /) -> bytearray | None:
        """Return a tensor's bytes, once; None where it is not among them."""
        if ref not in self.waiting:
            return None
        while self.waiting[0] != ref:
            # One that was not asked for, since its twin could not be had.
            self.waiting.popleft()
            with suppress(Quarantine):
                next(self.contents)
        self.waiting.popleft()
        return next(self.contents)


def _hash(etag: str) -> str | None:
    """Return what a hub calls a content where that is the content's hash.

    Anything else might be said of two files.
    """
    found = SHA256.fullmatch(etag) or SHA1.fullmatch(etag)
    return etag if found else None
