"""Files that several processes share: errors, locks and names."""

import contextlib
import errno
import fcntl
import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from spectra.core.errors import StorageError

__all__ = [
    "flush",
    "is_taken",
    "locked",
    "open_shared",
    "remove",
    "require_room",
    "token",
    "writing",
]

_CODES = {
    errno.ENOSPC: "E_DISK_FULL",
    errno.EDQUOT: "E_DISK_FULL",
    errno.EROFS: "E_READ_ONLY",
    errno.EACCES: "E_READ_ONLY",
    errno.EPERM: "E_READ_ONLY",
}
_ELSEWHERE = "SPECTRA_CACHE names another place for the cache"


@contextmanager
def writing(path: Path, /) -> Iterator[None]:
    """Make a StorageError of what the system says about a file of the cache.

    Raises
    ------
    StorageError
        E_DISK_FULL, E_READ_ONLY or E_STORAGE.
    """
    try:
        yield
    except StorageError:
        raise
    except OSError as error:
        code = _CODES.get(error.errno or 0, "E_STORAGE")
        reason = error.strerror or type(error).__name__
        raise StorageError(
            code, str(path), f"{reason}; {_ELSEWHERE}"
        ) from error


def require_room(path: Path, nbytes: int, /) -> None:
    """Refuse to begin what the disk has no room for.

    Raises
    ------
    StorageError
        E_DISK_FULL.
    """
    free = shutil.disk_usage(path).free
    if nbytes > free:
        raise StorageError(
            "E_DISK_FULL",
            str(path),
            f"{nbytes / 2**20:.1f} MiB are needed, {free / 2**20:.1f} are"
            f" free: `spectra cache prune`, or {_ELSEWHERE}",
        )


def open_shared(path: Path, /) -> int:
    """Return the descriptor of a file that is made where it is not there."""
    flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
    return os.open(path, flags, 0o666)


def is_taken(descriptor: int, /) -> bool | None:
    """Lock a file unless a live process has; None where no locks are kept."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return None
    return False


@contextmanager
def locked(path: Path, /, *, shared: bool) -> Iterator[None]:
    """Wait for a lock, a courtesy: without it where none can be had."""
    with contextlib.ExitStack() as stack:
        with contextlib.suppress(OSError):
            descriptor = open_shared(path)
            stack.callback(os.close, descriptor)
            fcntl.flock(descriptor, fcntl.LOCK_SH if shared else fcntl.LOCK_EX)
        yield


def flush(path: Path, /) -> None:
    """Wait until a file, or the names in a folder, are on the disk."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def remove(folder: Path, /) -> None:
    """Remove a folder, which is gone for others at once."""
    gone = folder.with_name(f"{folder.name}.{token()}.gone")
    folder.rename(gone)
    if gone.is_symlink() or not gone.is_dir():
        gone.unlink()
    else:
        shutil.rmtree(gone)


def token() -> str:
    """Return letters for a name that no other process chooses."""
    return secrets.token_hex(8)
