"""What lies in the spool: listed, thinned out, and hashed again."""

import contextlib
import os
import re
import shutil
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from spectra.core.errors import Quarantine
from spectra.core.events import Observer, Progress
from spectra.hub.disk import locked, remove, writing
from spectra.hub.lease import leased
from spectra.hub.partial import CONTENT, RECORD, take
from spectra.hub.record import PIECE, Digests, Record, read_record
from spectra.hub.spool import LEASES, LOCK
from spectra.weights.bytes import FileSource

__all__ = [
    "Damage",
    "Entry",
    "Pruned",
    "Verified",
    "entries",
    "prune",
    "verify",
]

_ENTRY = re.compile(r"([0-9a-f]{64})(\.[0-9a-f]{16}\.part)?")


@dataclass(frozen=True, slots=True)
class Entry:
    """A file of the spool, or what there is of it.

    Attributes
    ----------
    folder
        Where content and record lie.
    origin
        Where it was read from, "" where the record does not tell.
    nbytes
        Length of the content.
    used
        When it was last asked for, in seconds since 1970.
    whole
        False while it is on its way.
    """

    folder: Path
    origin: str
    nbytes: int
    used: float
    whole: bool


@dataclass(frozen=True, slots=True)
class Pruned:
    """What was removed, what would have been but is in use, what is left."""

    removed: tuple[Entry, ...]
    held: tuple[Entry, ...]
    left: int


@dataclass(frozen=True, slots=True)
class Damage:
    """A file that does not hold what its record says."""

    entry: Entry
    what: str


@dataclass(frozen=True, slots=True)
class Verified:
    """How many whole files were hashed, and which of them are damaged."""

    n_files: int
    damaged: tuple[Damage, ...]


def entries(spool: Path, /) -> tuple[Entry, ...]:
    """Return what lies in a spool, least recently used first."""
    found = [
        entry
        for folder in spool.glob("[0-9a-f][0-9a-f]/*")
        if (match := _ENTRY.fullmatch(folder.name))
        and (entry := _entry(folder, whole=match[2] is None))
    ]
    return tuple(sorted(found, key=lambda entry: (entry.used, entry.folder)))


def prune(
    spool: Path, /, *, older_than: float | None = None, to: int | None = None
) -> Pruned:
    """Remove files, least recently used first.

    Parameters
    ----------
    spool
        The folder of a `~spectra.hub.spool.Spool`.
    older_than
        Remove what was not used for so many seconds.
    to
        Remove until so many bytes are left.

    Returns
    -------
    Pruned
        A file that a live process was given, or writes, is never removed.

    Raises
    ------
    StorageError
        Where the cache cannot be written.
    """
    removed, held = [], []
    with writing(spool), locked(spool / LOCK, shared=False):
        names, now, found = leased(spool / LEASES), time.time(), entries(spool)
        left = sum(entry.nbytes for entry in found)
        for entry in found:
            old = older_than is not None and now - entry.used > older_than
            if not old and (to is None or left <= to):
                continue
            if entry.folder.name in names or not _remove(entry):
                held.append(entry)
                continue
            left -= entry.nbytes
            removed.append(entry)
        _sweep(spool)
    return Pruned(tuple(removed), tuple(held), left)


def verify(
    spool: Path,
    /,
    *,
    repair: bool = False,
    on_event: Observer | None = None,
) -> Verified:
    """Hash every whole file again.

    Parameters
    ----------
    spool
        The folder of a `~spectra.hub.spool.Spool`.
    repair
        Remove what is damaged; it is fetched again when it is needed.
    on_event
        Told after each file.

    Returns
    -------
    Verified
        Files on their way are not looked at: whoever goes on with one does.

    Raises
    ------
    StorageError
        Where a damaged file cannot be removed.
    """
    found = [entry for entry in entries(spool) if entry.whole]
    damaged = []
    for done, entry in enumerate(found, 1):
        what = _damage(entry)
        # Another process may have pruned it meanwhile.
        if what and entry.folder.exists():
            damaged.append(Damage(entry, what))
            if repair:
                with writing(entry.folder):
                    remove(entry.folder)
        if on_event:
            on_event(Progress("verify", done, len(found), entry.origin))
    return Verified(len(found), tuple(damaged))


def _entry(folder: Path, *, whole: bool) -> Entry | None:
    if folder.is_symlink() or not folder.is_dir():
        return None
    record = read_record(folder / RECORD)
    nbytes, used = 0, 0.0
    with contextlib.suppress(OSError):
        nbytes = (folder / CONTENT).lstat().st_size
    with contextlib.suppress(OSError):
        # A time to come, after the clock was set back, counts as now.
        used = min((folder / RECORD).lstat().st_mtime, time.time())
    origin = "" if record is None else record.origin
    return Entry(folder, origin, nbytes, used, whole)


def _remove(entry: Entry) -> bool:
    """Remove a file unless a live process is writing it."""
    if entry.whole:
        remove(entry.folder)
        return True
    lock = take(entry.folder)
    if lock is None:
        return False
    try:
        remove(entry.folder)
    finally:
        os.close(lock)
    return True


def _sweep(spool: Path) -> None:
    """Finish what a killed process was removing."""
    for gone in spool.glob("[0-9a-f][0-9a-f]/*.gone"):
        shutil.rmtree(gone, ignore_errors=True)


def _damage(entry: Entry) -> str | None:
    """Return what is wrong with a whole file."""
    record = read_record(entry.folder / RECORD)
    if record is None or record.sha256 is None:
        return "has no sound record"
    if record.key.name != entry.folder.name:
        return "has the record of another file"
    try:
        with FileSource(entry.folder / CONTENT) as source:
            return _difference(source, record)
    except Quarantine as fault:
        return f"cannot be read: {fault.detail}"


def _difference(source: FileSource, record: Record) -> str | None:
    if source.nbytes != record.key.nbytes:
        return f"has {source.nbytes} bytes, not {record.key.nbytes}"
    digests = Digests(source.nbytes)
    for piece in _pieces(source):
        digests.update(piece)
    if record.agrees(digests.sha256, digests.git_sha1):
        return None
    return f"hashes to {digests.sha256[:12]}..., not to what was read"


def _pieces(source: FileSource) -> Iterator[memoryview]:
    buffer = memoryview(bytearray(min(PIECE, source.nbytes)))
    for start in range(0, source.nbytes, PIECE):
        piece = buffer[: source.nbytes - start]
        source.read_into(start, piece)
        yield piece
