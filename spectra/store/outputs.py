"""Refusing, before any work starts, to write over what is not ours."""

import os
import stat
from collections.abc import Callable, Collection
from pathlib import Path

from spectra.core.errors import UsageError

__all__ = ["check_folder", "check_output"]


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


def check_folder(
    folder: Path,
    names: Collection[str],
    /,
    *,
    mark: str,
    is_ours: Callable[[Path], bool],
    inputs: Collection[str] = (),
) -> None:
    """Refuse a folder that holds anything but an older result of ours.

    Parameters
    ----------
    folder
        It need not be there.
    names
        Of the files that are to be written in it.
    mark
        The one among them by which it is known.
    is_ours
        As of `check_output`, for `mark`.
    inputs
        Files that are read: none of `names` may be one.

    Raises
    ------
    UsageError
        When it is a file or a device, or holds something else.
    """
    if not folder.is_dir():
        check_output(folder, is_ours=lambda _: False)
        return
    for name in names:
        if (folder / name).exists():
            check_output(
                folder / name,
                is_ours=is_ours if name == mark else lambda _: True,
                inputs=inputs,
            )
    held = [each.name for each in folder.iterdir()]
    held = [name for name in held if not name.endswith(".tmp")]
    if held and (mark not in held or not {*names} >= {*held}):
        raise _refused(
            folder,
            "is not empty and was not made by this command",
            "choose another",
        )


def _refused(path: Path, what: str, advice: str) -> UsageError:
    return UsageError("E_OUTPUT", f"{path} {what}", advice=advice)
