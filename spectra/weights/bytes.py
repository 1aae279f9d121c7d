"""Where bytes come from: anything that fills a buffer from an offset."""

import errno
import os
import stat
from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import Protocol, Self, runtime_checkable

from spectra.core.errors import Quarantine
from spectra.core.tensors import FileRef, TensorRef

__all__ = [
    "Ahead",
    "ByteSource",
    "FileSource",
    "MemorySource",
    "OpenFile",
    "Opener",
    "ReadsAhead",
    "read_bytes",
]

# A link as the last part of the path is refused, a FIFO does not block.
_FLAGS = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


@runtime_checkable
class ByteSource(Protocol):
    """A file, a piece of memory or a remote object of known length."""

    @property
    def nbytes(self) -> int:
        """Return the length."""
        ...

    def read_into(self, start: int, buffer: memoryview, /) -> None:
        """Fill `buffer` from offset `start`, wholly, or raise Quarantine."""
        ...


class OpenFile(ByteSource, Protocol):
    """A file of a checkpoint, on a disk or on a hub."""

    def reference(self, header_sha256: str, /) -> FileRef:
        """Return what pins it, with the hash of its header."""
        ...


class Opener(Protocol):
    """Opens a file by the path that a `FileRef` has; raises Quarantine."""

    def __call__(
        self, path: str, /, *, pinned: FileRef | None = None
    ) -> AbstractContextManager[OpenFile]:
        """Return it for a ``with`` block, where it is what `pinned` says."""
        ...


class Ahead(Protocol):
    """Tensors that are fetched before anybody asks for them."""

    def take(self, ref: TensorRef, /) -> bytes | bytearray | None:
        """Return a tensor's bytes, once; None where it is not among them."""
        ...


@runtime_checkable
class ReadsAhead(Protocol):
    """An `Opener` to which it makes a difference what is read next."""

    def read_ahead(
        self, wanted: Sequence[tuple[TensorRef, FileRef]], /
    ) -> AbstractContextManager[Ahead]:
        """Return what fetches tensors, in the order they will be read."""
        ...


class MemorySource:
    """Bytes that are in memory already."""

    def __init__(self, content: bytes, /) -> None:
        self._content = content

    @property
    def nbytes(self) -> int:
        """Return the length."""
        return len(self._content)

    def read_into(self, start: int, buffer: memoryview, /) -> None:
        """Copy from offset `start`."""
        _check_range(start, buffer.nbytes, self.nbytes)
        buffer[:] = self._content[start : start + buffer.nbytes]


class FileSource:
    """A local file, read with pread and never mapped.

    A mapping of a file that somebody truncates kills the process; pread
    returns too little, which becomes a `Quarantine`. Use it as a context
    manager. Many threads may read from one source.

    Parameters
    ----------
    path
        A regular file, not a link: `spectra.weights.sources` has followed the
        links that are allowed.
    pinned
        What the file was when it was scanned; SOURCE_CHANGED if it differs.
    """

    def __init__(
        self, path: str | os.PathLike[str], *, pinned: FileRef | None = None
    ) -> None:
        self.path = os.fspath(path)
        self._descriptor = _open(self.path)
        try:
            self._seen = self._identity()
            if pinned is not None:
                self._check_pin(pinned)
        except BaseException:
            self.close()
            raise

    @property
    def nbytes(self) -> int:
        """Return the length when the file was opened."""
        return self._seen[0]

    def reference(self, header_sha256: str, /) -> FileRef:
        """Return what the file was when it was opened."""
        nbytes, mtime_ns, _ = self._seen
        return FileRef(self.path, nbytes, mtime_ns, header_sha256)

    def read_into(self, start: int, buffer: memoryview, /) -> None:
        """Fill `buffer` from offset `start`.

        Raises
        ------
        Quarantine
            ST_TRUNCATED_DATA where the file ends too early, SOURCE_CHANGED
            where it is no longer the file that was opened.
        """
        _check_range(start, buffer.nbytes, self.nbytes)
        flat = buffer.cast("B")
        done = 0
        while done < flat.nbytes:
            got = self._pread(flat[done:], start + done)
            if got == 0:
                break
            done += got
        if self._identity() != self._seen:
            raise Quarantine(
                "SOURCE_CHANGED", f"{self.path} changed while it was read"
            )
        if done < flat.nbytes:
            raise _truncated(start, flat.nbytes, start + done)

    def close(self) -> None:
        """Close the file; a second call does nothing."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _pread(self, buffer: memoryview, start: int) -> int:
        try:
            return os.preadv(self._descriptor, [buffer], start)
        except OSError as error:
            raise _unreadable(self.path, error) from error

    def _identity(self) -> tuple[int, int, int]:
        status = os.fstat(self._descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise Quarantine(
                "SOURCE_UNREADABLE", f"{self.path} is not a regular file"
            )
        return status.st_size, status.st_mtime_ns, status.st_ino

    def _check_pin(self, pinned: FileRef) -> None:
        if self._seen[:2] != (pinned.nbytes, pinned.mtime_ns):
            raise Quarantine(
                "SOURCE_CHANGED", f"{self.path} changed since it was scanned"
            )


def read_bytes(source: ByteSource, start: int, nbytes: int, /) -> bytes:
    """Return `nbytes` bytes of a source from offset `start`."""
    buffer = bytearray(nbytes)
    source.read_into(start, memoryview(buffer))
    return bytes(buffer)


def _open(path: str) -> int:
    try:
        return os.open(path, _FLAGS)
    except OSError as error:
        raise _unreadable(path, error) from error


def _unreadable(path: str, error: OSError) -> Quarantine:
    reason = error.strerror or type(error).__name__
    if error.errno == errno.ELOOP:
        reason = "a link that leads outside of what is scanned, or nowhere"
    return Quarantine("SOURCE_UNREADABLE", f"{path}: {reason}")


def _truncated(start: int, nbytes: int, end: int) -> Quarantine:
    return Quarantine(
        "ST_TRUNCATED_DATA",
        f"wanted {nbytes} bytes from offset {start}, the file ends at {end}",
    )


def _check_range(start: int, nbytes: int, length: int) -> None:
    if start < 0 or start + nbytes > length:
        raise _truncated(start, nbytes, length)
