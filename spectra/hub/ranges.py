"""A file of a hub, read in exact ranges: the right bytes, or an error."""

from collections.abc import Sequence
from threading import Lock
from urllib.parse import quote

from spectra.core.errors import Quarantine
from spectra.core.text import printable
from spectra.hub.client import Client
from spectra.hub.pin import Pin
from spectra.hub.reader import Reader
from spectra.hub.reference import is_commit, is_inside, is_repository
from spectra.hub.scatter import Scatter
from spectra.hub.spans import coalesce

__all__ = ["RemoteFile"]


class RemoteFile:
    """One file at one commit: a `~spectra.weights.bytes.ByteSource`.

    Nothing is requested before it is needed. The first bytes of a file of
    which nothing is known come in one piece and are kept, so that a header
    costs a request. Many threads may read from one file.

    Parameters
    ----------
    client
        Of the hub.
    repo
        ``org/name``, or ``datasets/org/name``.
    commit
        40 hexadecimal digits: a branch could change while it is read.
    path
        Of the file in the repository.
    nbytes, etag
        Where they are known already, such as from a listing: the length, and
        the SHA-256 of a large file or the git name of a small one. An answer
        that differs is SOURCE_CHANGED.

    Raises
    ------
    ValueError
        Where `repo` is misnamed or `commit` is none.
    Quarantine
        INDEX_PATH where `path` does not stay within the repository.
    """

    def __init__(
        self,
        client: Client,
        repo: str,
        commit: str,
        path: str,
        /,
        *,
        nbytes: int | None = None,
        etag: str | None = None,
    ) -> None:
        named = is_repository(repo.removeprefix("datasets/"))
        if not (named and is_commit(commit)):
            raise ValueError(f"not a repository at a commit: {repo}@{commit}")
        name = f"{repo}/{printable(path)}"
        if not is_inside(path):
            raise Quarantine("INDEX_PATH", f"{name} is no path of a file")
        self.repo, self.commit, self.path = repo, commit, path
        self._limits = client.limits
        self._pin = Pin(client.endpoint.origin, name, commit, nbytes, etag)
        url = client.url(f"/{repo}/resolve/{commit}/{quote(path)}")
        self._reader = Reader(client, url, self._pin, repo)
        self._is_known = nbytes is not None and etag is not None
        self._prefix: bytes | None = None
        self._lock = Lock()

    def __repr__(self) -> str:
        return f"RemoteFile({self.repo!r}, {self.commit!r}, {self.path!r})"

    @property
    def nbytes(self) -> int:
        """Return the length, which the first answer tells."""
        if self._pin.nbytes is None:
            self._first_bytes()
        return self._pin.nbytes or 0

    @property
    def etag(self) -> str:
        """Return the hub's tag of the content, "" where it gives none."""
        if self._pin.etag is None:
            self._first_bytes()
        return self._pin.etag or ""

    def read_into(self, start: int, buffer: memoryview, /) -> None:
        """Fill `buffer` from offset `start`.

        Raises
        ------
        Quarantine
            ST_TRUNCATED_DATA where the file ends too early, SOURCE_CHANGED,
            RANGE_MISMATCH, RANGE_IGNORED, ENCODING, LINK_REFUSED, or what the
            hub refuses the file with.
        HubError
            Where the hub cannot be reached; nothing says so of the file.
        """
        self.read_many([(start, buffer)])

    def read_many(self, wanted: Sequence[tuple[int, memoryview]], /) -> None:
        """Fill many buffers, each from its offset, with few requests.

        Parameters
        ----------
        wanted
            Offsets and buffers, in any order. Raises what `read_into` does;
            the content of all buffers is undefined then.
        """
        flat = [
            (start, buffer.cast("B"))
            for start, buffer in wanted
            if buffer.nbytes
        ]
        self._check_ranges(flat)
        left = self._without_prefix(flat)
        limits = self._limits
        spans = coalesce(
            ((start, start + buffer.nbytes) for start, buffer in left),
            gap=limits.gap,
            span=limits.span,
            waste=limits.waste,
        )
        for span in spans:
            if self._reader.ignores_ranges:
                self._reader.fetch(Scatter(span.start, left), spans[-1].stop)
                return
            self._reader.fetch(Scatter(span.start, left), span.stop)

    def _check_ranges(self, wanted: list[tuple[int, memoryview]]) -> None:
        for start, buffer in wanted:
            if start < 0 or start + buffer.nbytes > self.nbytes:
                raise Quarantine(
                    "ST_TRUNCATED_DATA",
                    f"wanted {buffer.nbytes} bytes from offset {start}, the"
                    f" file ends at {self.nbytes}",
                )

    def _without_prefix(
        self, wanted: list[tuple[int, memoryview]]
    ) -> list[tuple[int, memoryview]]:
        """Fill what the first bytes hold; return what is left."""
        ends = [start + buffer.nbytes for start, buffer in wanted]
        reach = min(self._limits.prefix, self.nbytes)
        needed = not self._is_known and any(end <= reach for end in ends)
        if self._prefix is None and not needed:
            return wanted
        prefix = self._first_bytes()
        left = []
        for start, buffer in wanted:
            held = prefix[start : start + buffer.nbytes]
            buffer[: len(held)] = held
            if len(held) < buffer.nbytes:
                left.append((start + len(held), buffer[len(held) :]))
        return left

    def _first_bytes(self) -> bytes:
        with self._lock:
            if self._prefix is None:
                buffer = bytearray(self._limits.prefix)
                scatter = Scatter(0, [(0, memoryview(buffer))])
                self._reader.fetch(scatter, len(buffer))
                self._prefix = bytes(buffer[: scatter.position])
            return self._prefix
