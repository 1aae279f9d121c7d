"""How long, how often and how much a hub may take of us."""

from dataclasses import dataclass

__all__ = ["NetworkLimits"]

_KIB, _MIB, _GIB = 2**10, 2**20, 2**30


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkLimits:
    """Caps on time, attempts, bytes and connections; seconds and bytes.

    Attributes
    ----------
    connect, first_byte
        Until there is a connection, and from then until an answer has its
        headers. No single read waits longer than `first_byte`.
    floor_rate, floor_seconds
        Fewer bytes a second than `floor_rate` over `floor_seconds` end an
        answer; it is continued by another request.
    total, total_rate
        An answer of n bytes may take ``total + n / total_rate`` seconds.
    attempts
        Requests in a row that fail, without progress, before a read is given
        up; `mismatches` where the answer is not what was asked for.
    progress
        Bytes that an attempt has to gain so that it counts as none.
    backoff, backoff_cap
        Wait after the first failure, doubled after each further one.
    retry_after
        Longest pause that a server may ask for.
    redirects, pages
        Hops of one request; pages of one listing.
    json_bytes
        Of one JSON answer.
    connections
        At most so many requests at once.
    prefix
        Of a file that are read first and kept: most headers fit.
    gap, span, waste
        Ranges nearer than `gap` are read as one of `span` bytes at most, of
        which no more than the share `waste` of the wanted ones is unwanted.
    bytes_in_flight
        Bytes read ahead that nobody has taken yet.
    max_stream
        Of one file, read and thrown away in all, where a server cannot serve
        ranges.
    """

    connect: float = 10.0
    first_byte: float = 30.0
    floor_rate: float = 1 * _KIB
    floor_seconds: float = 30.0
    total: float = 60.0
    total_rate: float = 64 * _KIB
    attempts: int = 6
    mismatches: int = 3
    progress: int = 64 * _KIB
    backoff: float = 1.0
    backoff_cap: float = 60.0
    retry_after: float = 300.0
    redirects: int = 5
    pages: int = 100_000
    json_bytes: int = 32 * _MIB
    connections: int = 8
    prefix: int = 128 * _KIB
    gap: int = 1 * _MIB
    span: int = 64 * _MIB
    waste: float = 0.04
    bytes_in_flight: int = 256 * _MIB
    max_stream: int = 1 * _GIB
