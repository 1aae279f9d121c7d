"""A stream of a file's bytes, put where each of them is wanted."""

from collections.abc import Sequence

__all__ = ["Scatter"]


class Scatter:
    """Takes the bytes of a file from `position` on, in order.

    Parameters
    ----------
    position
        Offset of the byte that comes next.
    targets
        Where bytes are wanted: an offset, and the buffer that begins there,
        of single bytes.
    """

    def __init__(
        self, position: int, targets: Sequence[tuple[int, memoryview]], /
    ) -> None:
        self.position = position
        self._targets = sorted(targets, key=lambda target: target[0])
        self._first = 0

    def put(self, piece: bytes, /) -> None:
        """Copy what is wanted of the bytes that come next."""
        begin, end = self.position, self.position + len(piece)
        view = memoryview(piece)
        for offset, buffer in self._targets[self._first :]:
            if offset >= end:
                break
            start = max(begin, offset)
            stop = min(end, offset + buffer.nbytes)
            if start < stop:
                buffer[start - offset : stop - offset] = view[
                    start - begin : stop - begin
                ]
        self.position = end
        self._forget()

    def _forget(self) -> None:
        """Leave out the targets that no later byte can reach."""
        while self._first < len(self._targets):
            offset, buffer = self._targets[self._first]
            if offset + buffer.nbytes > self.position:
                return
            self._first += 1
