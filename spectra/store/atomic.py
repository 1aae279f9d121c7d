"""Files that are either whole or not there."""

import contextlib
import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from spectra.core.errors import StorageError

__all__ = ["replacing"]

_CODES = {
    errno.ENOSPC: "E_DISK_FULL",
    errno.EDQUOT: "E_DISK_FULL",
    errno.EROFS: "E_READ_ONLY",
    errno.EACCES: "E_READ_ONLY",
    errno.EPERM: "E_READ_ONLY",
}


@contextmanager
def replacing(path: Path, /) -> Iterator[Path]:
    """Give a temporary path that takes the place of `path` at the end.

    The file is flushed to the disk before it is renamed, and the folder after,
    so that a crash leaves the old file or the new one. When the block raises,
    `path` is as it was.

    Raises
    ------
    StorageError
        When the file cannot be written.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        _flush(temporary, os.O_RDWR)
        temporary.replace(path)
        _flush(path.parent, os.O_RDONLY)
    except OSError as error:
        if isinstance(error, StorageError):
            raise
        code = _CODES.get(error.errno or 0, "E_STORAGE")
        raise StorageError(
            code, str(path), error.strerror or str(error)
        ) from error
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)


def _flush(path: Path, flags: int) -> None:
    descriptor = os.open(path, flags)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
