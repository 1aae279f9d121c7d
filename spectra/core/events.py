"""What a long step tells whoever watches it; only the command line prints."""

from collections.abc import Callable
from dataclasses import dataclass

__all__ = ["Observer", "Progress"]


@dataclass(frozen=True, slots=True)
class Progress:
    """`done` of `total` units of a stage are finished.

    Attributes
    ----------
    stage
        ``"scan"``, ``"fit"``, ``"overlap"`` or ``"report"``.
    subject
        The unit just finished: a checkpoint, a layer, a file.
    nbytes
        Bytes read for that unit.
    nbytes_done, nbytes_total
        The same of all units that are finished, and of all there are; 0
        where nobody knows.
    """

    stage: str
    done: int
    total: int
    subject: str = ""
    nbytes: int = 0
    nbytes_done: int = 0
    nbytes_total: int = 0


Observer = Callable[[Progress], None]
