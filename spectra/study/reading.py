"""How a hub's bytes are read: whole files once, or ranges of big ones."""

import math
import shutil
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from spectra.core.places import cache_folder
from spectra.core.tensors import FileRef, TensorRef
from spectra.hub.files import HubFiles, is_remote
from spectra.hub.limits import NetworkLimits
from spectra.hub.record import PIECE
from spectra.subspaces.layer import LayerTask

__all__ = ["Reading", "reading_of"]

WHOLE = 512 * 2**20
"""Longest file that is fetched whole: an adapter, not a model."""

TINY = 16 * 2**10
"""Files up to here are fetched whole, whatever is wanted of them: a request
costs more than they do."""

_HOPS = 2
"""Requests of a file's first range: the hub sends on to where it lies."""


@dataclass(frozen=True, slots=True)
class Reading:
    """The hub's part of a fit.

    Attributes
    ----------
    repositories
        How many are read.
    whole
        Files that are spooled: at least half of their bytes are wanted, or
        they are tiny.
    ranges
        Bytes that are wanted of each of the others, by path.
    """

    repositories: int
    whole: tuple[FileRef, ...]
    ranges: Mapping[str, tuple[TensorRef, ...]]

    @property
    def nbytes(self) -> int:
        """Return the bytes of all ranges, each read once."""
        parts = (ref for refs in self.ranges.values() for ref in refs)
        return sum(ref.nbytes for ref in parts)

    def requests(self, missing: Iterable[FileRef], /) -> int:
        """Return the requests of all, where `missing` has to be spooled."""
        span = NetworkLimits().span
        whole = sum(
            math.ceil(file.nbytes / PIECE) + _HOPS - 1 for file in missing
        )
        ranges = sum(
            _HOPS - 1 + sum(math.ceil(ref.nbytes / span) for ref in refs)
            for refs in self.ranges.values()
        )
        return whole + ranges

    def missing(self, files: object, /) -> tuple[FileRef, ...]:
        """Return the whole files that are not on this machine yet."""
        return files.missing(self.whole) if isinstance(files, HubFiles) else ()


def reading_of(
    tasks: Iterable[LayerTask], /, *, room: int | None = None
) -> Reading:
    """Return which files of a hub are read whole, and what of the others.

    Parameters
    ----------
    tasks
        The layers of a fit.
    room
        Bytes that the cache may take; of the disk it is on where none.
    """
    wanted: dict[str, set[TensorRef]] = {}
    files: dict[str, FileRef] = {}
    for task in tasks:
        for ref in filter(lambda ref: is_remote(ref.file), task.refs):
            wanted.setdefault(ref.file, set()).add(ref)
            files[ref.file] = task.files[ref.file]
    whole = [
        file
        for path, file in sorted(files.items())
        if _is_worth(file, wanted[path])
    ]
    room = _room() if room is None else room
    if sum(file.nbytes for file in whole) > room:
        whole = []
    fetched = {file.path for file in whole}
    return Reading(
        len({path.partition("@")[0] for path in files}),
        tuple(whole),
        {
            path: tuple(sorted(refs))
            for path, refs in sorted(wanted.items())
            if path not in fetched
        },
    )


def _is_worth(file: FileRef, refs: Iterable[TensorRef]) -> bool:
    wanted = sum(ref.nbytes for ref in refs)
    worth = file.nbytes <= WHOLE and 2 * wanted >= file.nbytes
    return worth or file.nbytes <= TINY


def _room() -> int:
    """Return the bytes that the cache may take, a tenth left free."""
    folder = cache_folder()
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    return int(0.9 * shutil.disk_usage(folder).free)
