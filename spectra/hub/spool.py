"""Whole small files of the hub, kept by content and shared by processes.

::

    spool/
    |-- lock                      for a moment: shared to find, else to change
    |-- leases/<token>            what each live process may still read
    `-- 3f/
        |-- <name>/content        a file; the name is a hash of its key
        |-- <name>/record         what it is, and the hash of each piece
        `-- <name>.<token>.part/  the same on its way, the record locked

One rename makes a file appear whole, with its record. Locks are a courtesy:
without them two processes read the same file twice, and both are right.
"""

import contextlib
import os
import stat
import threading
import weakref
from pathlib import Path
from typing import Self

from spectra.core.errors import Quarantine
from spectra.hub.disk import flush, locked, remove, writing
from spectra.hub.lease import Lease
from spectra.hub.partial import CONTENT, RECORD, Partial, partial
from spectra.hub.record import Key, Record, read_record
from spectra.weights.bytes import ByteSource

__all__ = ["LEASES", "LOCK", "Spool"]

LOCK = "lock"
LEASES = "leases"


class Spool:
    """The files in one folder, which need not be there yet.

    What it gives is not pruned until it is closed or the process ends. Use it
    as a context manager; many threads may share one.

    Parameters
    ----------
    folder
        Such as ``cache_folder() / "spool"``.
    """

    def __init__(self, folder: Path, /) -> None:
        self.folder = folder
        self._guard = threading.Lock()
        self._lease: Lease | None = None

    def find(self, key: Key, /) -> Path | None:
        """Return where a file lies, None where it is not here whole."""
        with locked(self.folder / LOCK, shared=True):
            return self._kept(key, None, None)

    def fetch(
        self,
        source: ByteSource,
        key: Key,
        /,
        *,
        origin: str,
        sha256: str | None = None,
        git_sha1: str | None = None,
    ) -> Path:
        """Return where a file lies, read from its source unless it is here.

        Parameters
        ----------
        source
            Read in pieces of at most 8 MiB, in their order; after a crash the
            next fetch reads from the first that was not complete.
        key
            What the server calls the content.
        origin
            ``hf://org/name@commit/path``, for ``spectra cache ls``.
        sha256
            What the whole must hash to, where that is known (git-lfs).
        git_sha1
            The same by git's own name for a content.

        Returns
        -------
        Path
            Open it with `~spectra.weights.bytes.FileSource`.

        Raises
        ------
        Quarantine
            SOURCE_CHANGED where the source has another length, SOURCE_HASH
            where the content is another: then nothing is kept.
        StorageError
            Where the cache cannot be written.
        """
        with locked(self.folder / LOCK, shared=True):
            kept = self._kept(key, sha256, git_sha1)
        if kept is not None:
            return kept
        if source.nbytes != key.nbytes:
            raise Quarantine(
                "SOURCE_CHANGED",
                f"{origin} has {source.nbytes} bytes, not {key.nbytes}",
            )
        with partial(self._entry(key), Record(key, origin)) as part:
            whole = part.fill(source)
            if not whole.agrees(sha256, git_sha1):
                part.discard()
                raise Quarantine(
                    "SOURCE_HASH",
                    f"{origin} hashes to {whole.sha256}, not to"
                    f" {sha256 or git_sha1}",
                )
            return self._commit(part, whole)

    def close(self) -> None:
        """Let go of the files that were given; a second call does nothing."""
        with self._guard:
            if self._lease is not None:
                self._lease.close()
            self._lease = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _entry(self, key: Key) -> Path:
        return self.folder / key.name[:2] / key.name

    def _kept(
        self, key: Key, sha256: str | None, git_sha1: str | None
    ) -> Path | None:
        entry = self._entry(key)
        record = None if entry.is_symlink() else read_record(entry / RECORD)
        if record is None or record.sha256 is None or record.key != key:
            return None
        if not record.agrees(sha256, git_sha1):
            return None
        if not _is_whole(entry / CONTENT, key.nbytes):
            return None
        self._hold(entry)
        return entry / CONTENT

    def _commit(self, part: Partial, whole: Record) -> Path:
        """Let a file appear, unless another process was faster."""
        key, entry = whole.key, self._entry(whole.key)
        proof = whole.sha256, whole.git_sha1
        with writing(entry), locked(self.folder / LOCK, shared=False):
            kept = self._kept(key, *proof)
            if kept is None:
                with contextlib.suppress(FileNotFoundError):
                    remove(entry)
                try:
                    part.folder.rename(entry)
                except OSError:
                    kept = self._kept(key, *proof)
                    if kept is None:
                        raise
            if kept is not None:
                part.discard()
            flush(entry.parent)
            self._hold(entry)
        return entry / CONTENT

    def _hold(self, entry: Path) -> None:
        """Note that a file is in use, where the cache can be written."""
        with contextlib.suppress(OSError), self._guard:
            os.utime(entry / RECORD)
            if self._lease is None:
                self._lease = Lease(self.folder / LEASES)
                weakref.finalize(self, self._lease.close)
            self._lease.add(entry.name)


def _is_whole(content: Path, nbytes: int) -> bool:
    try:
        status = content.lstat()
    except OSError:
        return False
    return stat.S_ISREG(status.st_mode) and status.st_size == nbytes
