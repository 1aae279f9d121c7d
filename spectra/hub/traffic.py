"""How much a client has asked and received."""

from dataclasses import dataclass
from threading import Lock

__all__ = ["Meter", "Traffic"]


@dataclass(frozen=True, slots=True)
class Traffic:
    """Requests sent, each hop of a redirect one, and bytes of bodies."""

    requests: int = 0
    nbytes: int = 0


class Meter:
    """Counts, from any number of threads."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._traffic = Traffic()

    @property
    def traffic(self) -> Traffic:
        """Return the counts so far."""
        return self._traffic

    def asked(self) -> None:
        """Count one request."""
        self._add(1, 0)

    def received(self, nbytes: int, /) -> None:
        """Count bytes of a body."""
        self._add(0, nbytes)

    def _add(self, requests: int, nbytes: int) -> None:
        with self._lock:
            was = self._traffic
            self._traffic = Traffic(
                was.requests + requests, was.nbytes + nbytes
            )
