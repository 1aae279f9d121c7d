"""What is finished of a run that is not: the folder ``run.h5.work``.

A unit is the outcome of one layer. Its file is named by a key, which says what
was to be computed, and by the SHA-256 of its content: it is whole or it does
not count. A unit is acknowledged once its file and its name are on the disk
(fsync, rename, fsync of the folder); there is no other record that could
disagree. Nothing is decided by a time or by an order. A mark ``begun.KEY.N``
stands while a unit is under way, and stays where the process dies at it.
"""

import contextlib
import fcntl
import hashlib
import os
import re
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from spectra.core.catalog import Quarantined
from spectra.core.errors import LockedError
from spectra.store.atomic import make_folder, refusing, replacing
from spectra.store.units import header_within, pack
from spectra.subspaces.result import LayerOutcome

__all__ = ["Journal", "Unit", "journal", "work_folder"]

_LOCK = "lock"

_ATTEMPTS = 1000
"""How often the folder may vanish while we are about to lock it."""

_MARK = re.compile(r"begun\.(?P<key>[0-9a-f]{64})\.(?P<deaths>[0-9]{1,9})")

_OURS = re.compile(
    rf"([0-9a-f]{{64}}\.[0-9a-f]{{64}}|{_MARK.pattern}|\..*\.tmp"
    r"|(manifest|report)\.json)\Z"
)
"""Names of files that a journal makes; others are left alone."""


@dataclass(frozen=True, slots=True)
class Unit:
    """One finished unit.

    Attributes
    ----------
    path
        The file that holds it.
    name
        Of the layer; None where too few members were left to be compared.
    """

    path: Path
    name: str | None
    quarantine: tuple[Quarantined, ...]
    left_out: tuple[Quarantined, ...]

    @property
    def has_layer(self) -> bool:
        """Return whether there is a result."""
        return self.name is not None

    @property
    def digest(self) -> str:
        """Return the SHA-256 of its bytes, as hex."""
        return self.path.suffix[1:]

    @property
    def key(self) -> str:
        """Return what was computed."""
        return self.path.stem


@dataclass(frozen=True, slots=True)
class Journal:
    """The finished units of one run; made by `journal`."""

    folder: Path

    def __len__(self) -> int:
        """Return how many units there are."""
        return sum(1 for _ in self.folder.glob("*." + "[0-9a-f]" * 64))

    def damaged(self) -> tuple[Path, ...]:
        """Return the files of units that are not whole."""
        units = self.folder.glob("*." + "[0-9a-f]" * 64)
        return tuple(path for path in sorted(units) if not _is_whole(path))

    def find(self, key: str, /) -> Unit | None:
        """Return the unit of that key, None where it is not whole.

        Raises
        ------
        StorageError
            When what stands there can be neither read nor taken away.
        """
        for path in sorted(self.folder.glob(f"{key}.*")):
            with refusing(path):
                if _is_whole(path):
                    return _unit(path)
                path.unlink()
        return None

    def begin(self, key: str, /, *, deaths: int = 0) -> None:
        """Mark a unit as under way; a process that dies leaves the mark.

        Parameters
        ----------
        key
            Of the unit.
        deaths
            How many processes have died at it, this one included if it does.
        """
        with refusing(self.folder):
            for mark in self.marks(key):
                mark.unlink()
            (self.folder / f"begun.{key}.{deaths}").touch()

    def begun(self) -> dict[str, int]:
        """Return the marks that are left of processes that died."""
        marks = (_MARK.fullmatch(path.name) for path in self.marks())
        return {mark["key"]: int(mark["deaths"]) for mark in marks if mark}

    def marks(self, key: str = "*", /) -> list[Path]:
        """Return the files that say what is under way."""
        found = self.folder.glob(f"begun.{key}.*")
        return [path for path in found if _MARK.fullmatch(path.name)]

    def keep(self, key: str, outcome: LayerOutcome, /) -> Unit:
        """Store a unit; it is acknowledged when this returns.

        Raises
        ------
        StorageError
            When it cannot be written; other units stay as they are.
        """
        data = pack(outcome)
        path = self.folder / f"{key}.{hashlib.sha256(data).hexdigest()}"
        with replacing(path, part_of=self.folder) as temporary:
            temporary.write_bytes(data)
        with refusing(self.folder):
            for other in (*self.folder.glob(f"{key}.*"), *self.marks(key)):
                if other != path:
                    other.unlink()
        name = None if outcome.fit is None else outcome.fit.name
        return Unit(path, name, outcome.quarantine, outcome.left_out)

    def clear(self) -> None:
        """Take away all units: the run file has them.

        What they were units of goes last: until then it is known.
        """
        with refusing(self.folder):
            ours = [p for p in self.folder.iterdir() if _OURS.match(p.name)]
            for path in sorted(ours, key=lambda path: path.suffix == ".json"):
                path.unlink()


def _is_whole(path: Path) -> bool:
    if not path.is_file():
        return False
    with path.open("rb", buffering=0) as file:
        digest = hashlib.file_digest(file, "sha256")
    return digest.hexdigest() == path.suffix[1:]


def _unit(path: Path) -> Unit:
    header = header_within(path)
    found = (
        tuple(Quarantined(**record) for record in header[name])
        for name in ("quarantine", "left_out")
    )
    layer = header["layer"]
    return Unit(path, None if layer is None else layer["name"], *found)


def work_folder(run: Path, /) -> Path:
    """Return where the unfinished work of a run file is kept."""
    return run.with_name(f"{run.name}.work")


@contextmanager
def journal(run: Path, /) -> Iterator[Journal]:
    """Give the journal of a run file to its one writer.

    The folder is made where there is none, and is gone at the end where no
    unit is left in it.

    Raises
    ------
    LockedError
        E_RUN_LOCKED when another process writes that run.
    StorageError
        When the folder cannot be written.
    """
    folder = work_folder(run)
    with refusing(folder):
        descriptor = _locked(folder)
    try:
        with refusing(folder):
            for half in folder.glob(".*.tmp"):
                half.unlink()
        yield Journal(folder)
    finally:
        with contextlib.suppress(OSError):
            for mark in Journal(folder).marks():
                mark.unlink()
            if [path.name for path in folder.iterdir()] == [_LOCK]:
                (folder / _LOCK).unlink()
                folder.rmdir()
        os.close(descriptor)


def _locked(folder: Path) -> int:
    """Return the descriptor that holds the lock until it is closed.

    The kernel lets go of it with the process, however that ends, so that no
    lock is ever stale.
    """
    for attempt in range(_ATTEMPTS):
        try:
            make_folder(folder)
            descriptor = os.open(
                folder / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666
            )
        except (FileExistsError, FileNotFoundError):
            # The one before has just taken the folder away.
            if attempt == _ATTEMPTS - 1:
                raise
            continue
        if _is_held(descriptor, folder):
            _sign(descriptor)
            return descriptor
        os.close(descriptor)
    raise LockedError(str(folder.with_suffix("")), "many processes")


def _sign(descriptor: int) -> None:
    """Write who holds the lock: a courtesy, which a full disk may refuse."""
    holder = f"process {os.getpid()} on {socket.gethostname()}"
    with contextlib.suppress(OSError):
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, holder.encode(), 0)


def _is_held(descriptor: int, folder: Path) -> bool:
    """Take the lock; return False where its file is gone by then."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        holder = os.pread(descriptor, 200, 0).decode("utf-8", "replace")
        os.close(descriptor)
        raise LockedError(
            str(folder.with_suffix("")), holder or "another process"
        ) from None
    return _is_there(descriptor, folder / _LOCK)


def _is_there(descriptor: int, path: Path) -> bool:
    """Return whether that open file still is the one of that name."""
    try:
        return os.path.samestat(os.fstat(descriptor), path.lstat())
    except FileNotFoundError:
        return False
