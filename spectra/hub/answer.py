"""One answer of a server: its body as it comes, and not too slowly."""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from spectra.hub.breakage import explain, network
from spectra.hub.http import httpx
from spectra.hub.limits import NetworkLimits

__all__ = ["Answer", "Hop"]


@dataclass(frozen=True, slots=True)
class Hop:
    """Who answered, and the headers."""

    url: httpx.URL
    headers: httpx.Headers


class Answer:
    """Status and headers of the last server, and its body as it comes.

    Parameters
    ----------
    response
        Of the last server.
    hops
        The redirects before it, and it.
    limits
        Time that the body may take.
    count
        Is told the length of each piece received.
    """

    def __init__(
        self,
        response: httpx.Response,
        hops: tuple[Hop, ...],
        limits: NetworkLimits,
        count: Callable[[int], None],
        /,
    ) -> None:
        self.status: int = response.status_code
        self.hops = hops
        self.headers: httpx.Headers = response.headers
        self._response, self._limits, self._count = response, limits, count

    @property
    def url(self) -> httpx.URL:
        """Return the address that answered at last."""
        return self.hops[-1].url

    @property
    def length(self) -> int | None:
        """Return the length of the body, where one is told."""
        text = self.headers.get("content-length", "")
        return int(text) if text.isdecimal() and len(text) < 19 else None

    @property
    def encoding(self) -> str:
        """Return how the body is packed, "" where it is not."""
        text = self.headers.get("content-encoding", "").strip().lower()
        return "" if text == "identity" else text

    def next_link(self) -> str | None:
        """Return where the next page of a listing is said to be."""
        found = self._response.links.get("next", {}).get("url")
        return None if found is None else str(found)

    def pieces(self) -> Iterator[bytes]:
        """Yield the body as it arrives.

        Raises
        ------
        Transient
            Where it breaks off, or is slower than the limits allow.
        """
        pace = _Pace(self._limits, self.length or 0, self.url.host)
        pieces = self._response.iter_raw()
        while True:
            try:
                piece = next(pieces, None)
            except (httpx.TransportError, httpx.StreamError) as error:
                raise explain(error, self.url.host) from None
            if piece is None:
                return
            self._count(len(piece))
            yield piece
            pace.add(len(piece))

    def read(self, limit: int, /) -> bytes | None:
        """Return the body, or None as soon as it is longer than `limit`."""
        found = bytearray()
        for piece in self.pieces():
            found += piece
            if len(found) > limit:
                return None
        return bytes(found)


class _Pace:
    def __init__(self, limits: NetworkLimits, nbytes: int, host: str) -> None:
        self._limits, self._host = limits, host
        self._since = time.monotonic()
        self._window = 0
        self._end = self._since + limits.total + nbytes / limits.total_rate

    def add(self, nbytes: int) -> None:
        now = time.monotonic()
        self._window += nbytes
        elapsed = now - self._since
        if elapsed >= self._limits.floor_seconds:
            if self._window < self._limits.floor_rate * elapsed:
                raise network(f"{self._host}: too slow, below the floor")
            self._since, self._window = now, 0
        if now > self._end:
            raise network(f"{self._host}: too slow for so long an answer")
