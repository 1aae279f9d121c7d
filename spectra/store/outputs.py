"""Refusing, before any work starts, to write over what is not ours."""

import os
import stat
from collections.abc import Callable, Collection
from pathlib import Path

from spectra.core.errors import UsageError

__all__ = ["check_output"]


def check_output(
    path: Path,
    /,
    *,
    is_ours: Callable[[Path], bool],
    inputs: Collection[str] = (),
) -> None:
    """Refuse a path that names something else than an older result of ours.

    Parameters
    ----------
    path
        The file that is to be written.
    is_ours
        Whether an existing file is of the kind that will take its place.
    inputs
        Paths of the files that are read.

    Raises
    ------
    UsageError
        When it is a folder or a device, an input, or another kind of file.
    """
    if not path.name or path.is_dir():
        raise _refused(path, "is a folder", "name a file in it")
    if not os.path.lexists(path):
        return
    if os.path.realpath(path) in {os.path.realpath(name) for name in inputs}:
        raise _refused(path, "is one of the files to read", "choose another")
    if not stat.S_ISREG(path.lstat().st_mode) or not is_ours(path):
        raise _refused(
            path, "exists and was not made by this command", "choose another"
        )


def _refused(path: Path, what: str, advice: str) -> UsageError:
    return UsageError("E_OUTPUT", f"{path} {what}", advice=advice)
