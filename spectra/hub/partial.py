"""A file on its way into the cache: every piece counts from the first."""

import contextlib
import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from spectra.hub.disk import (
    flush,
    is_taken,
    open_shared,
    remove,
    require_room,
    token,
    writing,
)
from spectra.hub.record import PIECE, Digests, Record, line, read_record
from spectra.weights.bytes import ByteSource

__all__ = ["CONTENT", "RECORD", "Partial", "partial", "take"]

CONTENT = "content"
RECORD = "record"


class Partial:
    """A folder that holds a content, its record, and the record's lock.

    A piece is written before its line of the record is: after a crash at any
    instant the record tells of nothing that is not there, and whatever it
    tells of is hashed again before it is built upon.

    Parameters
    ----------
    folder
        Where both lie.
    lock
        Descriptor of the record, locked by this process.
    wanted
        What the file is to be.

    Attributes
    ----------
    nbytes
        How much of the content is on the disk, a multiple of a piece.
    """

    def __init__(self, folder: Path, lock: int, wanted: Record) -> None:
        self.folder, self._wanted = folder, wanted
        self._lock = lock
        self._end = 0
        self._content = open_shared(folder / CONTENT)
        self.nbytes = 0

    def fill(self, source: ByteSource, /) -> Record:
        """Read what is missing, make it safe, and return the whole record.

        Raises
        ------
        StorageError
            E_DISK_FULL before anything is read, where that can be foreseen.
        """
        stop, digests = self._wanted.key.nbytes, Digests(source.nbytes)
        with writing(self.folder):
            known = self._resume(digests)
            require_room(self.folder, stop - self.nbytes)
        pieces = list(known.pieces)
        buffer = memoryview(bytearray(min(PIECE, stop - self.nbytes)))
        while self.nbytes < stop:
            piece = buffer[: stop - self.nbytes]
            source.read_into(self.nbytes, piece)
            digests.update(piece)
            pieces.append(hashlib.sha256(piece).hexdigest())
            with writing(self.folder):
                self._append(piece, pieces[-1])
        whole = replace(
            known,
            pieces=tuple(pieces),
            sha256=digests.sha256,
            git_sha1=digests.git_sha1,
        )
        with writing(self.folder):
            self._finish(whole)
        return whole

    def discard(self) -> None:
        """Remove what was read so far."""
        with writing(self.folder):
            remove(self.folder)

    def close(self) -> None:
        """Close the content."""
        os.close(self._content)

    def _resume(self, digests: Digests) -> Record:
        """Go back to the last piece that is on the disk as it was read."""
        known = read_record(self.folder / RECORD)
        if known is None or known.key != self._wanted.key:
            known = self._wanted
        sound = tuple(self._sound(known.pieces, digests))
        known = replace(known, pieces=sound, sha256=None, git_sha1=None)
        text = known.text
        if os.pread(self._lock, len(text), 0) != text:
            os.ftruncate(self._lock, 0)
            _write(self._lock, text, 0)
        self._end = len(text)
        os.ftruncate(self._lock, self._end)
        os.ftruncate(self._content, self.nbytes)
        return known

    def _sound(
        self, pieces: tuple[str, ...], digests: Digests
    ) -> Iterator[str]:
        for digest in pieces:
            piece = os.pread(self._content, PIECE, self.nbytes)
            if hashlib.sha256(piece).hexdigest() != digest:
                return
            digests.update(piece)
            self.nbytes += len(piece)
            yield digest

    def _append(self, piece: memoryview, digest: str) -> None:
        _write(self._content, piece, self.nbytes)
        _write(self._lock, line(digest), self._end)
        self.nbytes += len(piece)
        self._end += len(line(digest))

    def _finish(self, whole: Record) -> None:
        _write(self._lock, whole.end, self._end)
        os.fsync(self._content)
        os.fsync(self._lock)
        flush(self.folder)


def _write(descriptor: int, content: bytes | memoryview, start: int) -> None:
    done, view = 0, memoryview(content)
    while done < len(view):
        done += os.pwrite(descriptor, view[done:], start + done)


@contextmanager
def partial(entry: Path, wanted: Record, /) -> Iterator[Partial]:
    """Give a partial file that no other live process writes.

    One that a dead process left is taken over. Where nothing comes of it, not
    a piece, it is removed again.

    Parameters
    ----------
    entry
        Where the whole file will lie.
    wanted
        What the file is to be.
    """
    with contextlib.ExitStack() as stack:
        with writing(entry):
            entry.parent.mkdir(parents=True, exist_ok=True)
            folder, lock = _take_over(entry) or _make(entry)
            stack.callback(os.close, lock)
            found = Partial(folder, lock, wanted)
            stack.callback(found.close)
        try:
            yield found
        except BaseException:
            if not found.nbytes:
                with contextlib.suppress(OSError):
                    found.discard()
            raise


def take(folder: Path, /) -> int | None:
    """Return the locked record of a partial file, None where it is taken."""
    if folder.is_symlink():
        return None
    path = folder / RECORD
    with contextlib.suppress(OSError), contextlib.ExitStack() as stack:
        lock = open_shared(path)
        stack.callback(os.close, lock)
        # Whoever held it may have moved it away meanwhile.
        ours = is_taken(lock) is False
        if ours and os.fstat(lock).st_ino == path.lstat().st_ino:
            stack.pop_all()
            return lock
    return None


def _take_over(entry: Path) -> tuple[Path, int] | None:
    for folder in sorted(entry.parent.glob(f"{entry.name}.*.part")):
        lock = take(folder)
        if lock is not None:
            return folder, lock
    return None


def _make(entry: Path) -> tuple[Path, int]:
    """Return a new partial file, without a lock where none are kept."""
    while True:
        folder = entry.with_name(f"{entry.name}.{token()}.part")
        folder.mkdir()
        lock = open_shared(folder / RECORD)
        if not is_taken(lock):
            return folder, lock
        os.close(lock)
