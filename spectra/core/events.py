"""What a long step tells whoever watches it; only the command line prints."""

from collections.abc import Callable
from dataclasses import dataclass

__all__ = ["Observer", "Progress", "Tally"]


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


@dataclass(slots=True)
class Tally:
    """Counts units of a stage that read bytes, and tells of each.

    Attributes
    ----------
    on_event
        Told; None for nobody.
    stage, total, nbytes_total, done, nbytes_done
        As of `Progress`.
    """

    on_event: Observer | None
    stage: str
    total: int
    nbytes_total: int
    done: int = 0
    nbytes_done: int = 0

    def tell(self, subject: str, nbytes: int, /) -> None:
        """Tell of one more unit that is finished, and the bytes it took."""
        self.done, self.nbytes_done = self.done + 1, self.nbytes_done + nbytes
        if self.on_event is not None:
            self.on_event(
                Progress(
                    self.stage,
                    self.done,
                    self.total,
                    subject,
                    nbytes,
                    self.nbytes_done,
                    self.nbytes_total,
                )
            )
