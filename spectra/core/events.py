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
    """

    stage: str
    done: int
    total: int
    subject: str = ""
    nbytes: int = 0


Observer = Callable[[Progress], None]
