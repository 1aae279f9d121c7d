"""Files that are either whole or not there."""

import contextlib
import errno
import glob
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from spectra.core.errors import StorageError

__all__ = ["flush", "make_folder", "refusing", "replacing", "sweep"]

_CODES = {
    errno.ENOSPC: "E_DISK_FULL",
    errno.EDQUOT: "E_DISK_FULL",
    errno.EROFS: "E_READ_ONLY",
    errno.EACCES: "E_READ_ONLY",
    errno.EPERM: "E_READ_ONLY",
}


@contextmanager
def refusing(path: Path, /) -> Iterator[None]:
    """Turn what the system says about `path` into one of our errors.

    Raises
    ------
    StorageError
        E_DISK_FULL, E_READ_ONLY or E_STORAGE, for an OSError of the block.
    """
    try:
        yield
    except OSError as error:
        if isinstance(error, StorageError):
            raise
        code = _CODES.get(error.errno or 0, "E_STORAGE")
        raise StorageError(
            code, str(path), error.strerror or str(error)
        ) from error


@contextmanager
def replacing(
    path: Path, /, *, part_of: Path | None = None, draft: Path | None = None
) -> Iterator[Path]:
    """Give a temporary path that takes the place of `path` at the end.

    The file is flushed to the disk before it is renamed, and the folder after,
    so that a crash leaves the old file or the new one. When the block raises,
    `path` is as it was. Errors speak of what it is a part of, where it is one.
    The temporary one is named after `draft` and stands beside that, where the
    name of `path` may be as long as names can be.

    Raises
    ------
    StorageError
        When the file cannot be written.
    """
    draft = draft or path
    temporary = draft.with_name(f".{draft.name}.{os.getpid()}.tmp")
    with refusing(part_of or path):
        try:
            make_folder(path.parent)
            if part_of is None:  # Else its folder is cleared in the end.
                sweep(draft.parent, draft.name)
            yield temporary
            flush(temporary)
            temporary.replace(path)
            flush(path.parent)
        finally:
            with contextlib.suppress(OSError):
                temporary.unlink(missing_ok=True)


def sweep(folder: Path, name: str | None = None, /) -> None:
    """Take away what processes that are no more had begun to write here.

    Parameters
    ----------
    folder
        Where.
    name
        Of what it was to become; None for any.
    """
    pattern = "*" if name is None else glob.escape(name)
    for draft in folder.glob(f".{pattern}.*.tmp"):
        writer = draft.name.removesuffix(".tmp").rpartition(".")[2]
        if writer.isdecimal() and not _is_alive(int(writer)):
            draft.unlink(missing_ok=True)


def _is_alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        pass
    return True


def flush(path: Path, /) -> None:
    """Wait until a file's bytes, or a folder's names, are on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def make_folder(path: Path, /) -> None:
    """Make a folder that need not be missing; its name is on the disk then."""
    missing = [each for each in (path, *path.parents) if not each.exists()]
    path.mkdir(parents=True, exist_ok=True)
    for each in missing:
        flush(each.parent)
