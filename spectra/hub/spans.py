"""Which requests fetch the wanted ranges of a file: few, and little else."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

__all__ = ["Span", "coalesce"]


@dataclass(frozen=True, slots=True, order=True)
class Span:
    """One request: the bytes ``[start, stop)``, `wanted` of them wanted."""

    start: int
    stop: int
    wanted: int

    @property
    def waste(self) -> int:
        """Return the bytes that nobody wants."""
        return self.stop - self.start - self.wanted


def coalesce(
    wanted: Iterable[tuple[int, int]],
    /,
    *,
    gap: int,
    span: int,
    waste: float,
) -> tuple[Span, ...]:
    """Return the requests that together cover each wanted byte once.

    Parameters
    ----------
    wanted
        Ranges ``(start, stop)`` in any order; they may overlap or be empty.
    gap
        Most unwanted bytes in a row that are read along.
    span
        Most bytes of a request; a longer range is split.
    waste
        Most unwanted bytes of a request, as a share of its wanted ones.

    Returns
    -------
    tuple of Span
        In order of the file, none touching the next unless one is full.

    Examples
    --------
    >>> coalesce([(0, 50), (52, 100)], gap=8, span=64, waste=0.1)
    (Span(start=0, stop=50, wanted=50), Span(start=52, stop=100, wanted=48))
    >>> coalesce([(0, 50), (52, 100)], gap=8, span=128, waste=0.1)
    (Span(start=0, stop=100, wanted=98),)
    """
    spans: list[Span] = []
    for start, stop in _pieces(wanted, span):
        if spans:
            last = spans[-1]
            joined = Span(last.start, stop, last.wanted + stop - start)
            if (
                start - last.stop <= gap
                and joined.stop - joined.start <= span
                and joined.waste <= waste * joined.wanted
            ):
                spans[-1] = joined
                continue
        spans.append(Span(start, stop, stop - start))
    return tuple(spans)


def _pieces(
    wanted: Iterable[tuple[int, int]], span: int
) -> Iterator[tuple[int, int]]:
    """Yield the union of ranges in order, in pieces no longer than a span."""
    covered = 0
    for start, stop in sorted(wanted):
        begin = max(start, covered)
        for piece in range(begin, stop, span):
            yield piece, min(piece + span, stop)
        covered = max(covered, stop)
