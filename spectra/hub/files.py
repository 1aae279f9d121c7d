"""Files of a hub by their pinned paths, from wherever they lie already."""

import re
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from threading import Lock
from typing import Self

from spectra.core.errors import Quarantine
from spectra.core.events import Observer, Progress
from spectra.core.tensors import FileRef
from spectra.hub.client import Client
from spectra.hub.heads import Head, Heads
from spectra.hub.hfcache import cached_file
from spectra.hub.ranges import RemoteFile
from spectra.hub.record import Key
from spectra.hub.reference import Reference, pinned
from spectra.hub.spool import Spool
from spectra.weights.bytes import ByteSource, FileSource, OpenFile

__all__ = ["HubFiles", "is_remote"]

_SHA256 = re.compile(r"[0-9a-f]{64}")
_SHA1 = re.compile(r"[0-9a-f]{40}")


def is_remote(path: str, /) -> bool:
    """Return whether a path of a `FileRef` is a hub's."""
    return path.startswith("hf://")


@dataclass(slots=True)
class _Opened:
    """A file that is read from `source`, known by its pinned path."""

    path: str
    source: ByteSource
    etag: str
    close: Callable[[], None]

    @property
    def nbytes(self) -> int:
        return self.source.nbytes

    def read_into(self, start: int, buffer: memoryview, /) -> None:
        self.source.read_into(start, buffer)

    def reference(self, header_sha256: str, /) -> FileRef:
        return FileRef(
            self.path, self.source.nbytes, 0, header_sha256, _hash(self.etag)
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


@dataclass(slots=True)
class _Remembering:
    """A remote file, less what is known of it, and what was read of it."""

    remote: RemoteFile
    known: Head | None
    pieces: list[tuple[int, bytes]] = field(default_factory=list)

    @property
    def nbytes(self) -> int:
        return self.known.nbytes if self.known else self.remote.nbytes

    @property
    def etag(self) -> str:
        return self.known.etag if self.known else self.remote.etag

    def read_into(self, start: int, buffer: memoryview, /) -> None:
        if self.known and self.known.fill(start, buffer):
            return
        self.remote.read_into(start, buffer)
        self.pieces.append((start, bytes(buffer)))

    @property
    def head(self) -> Head:
        known = self.known.pieces if self.known else ()
        return Head(self.nbytes, self.etag, (*known, *self.pieces))


class HubFiles:
    """Opens files of a hub, and all others: an opener like `FileSource`.

    A file that the Hugging Face cache or the spool holds is read there. Of
    others what is asked for is read by range.

    Parameters
    ----------
    client
        Of the hub.
    spool
        Whole files.
    heads
        Headers and small texts.
    """

    def __init__(self, client: Client, spool: Spool, heads: Heads, /) -> None:
        self.client, self.spool, self.heads = client, spool, heads
        self._remote: dict[str, RemoteFile] = {}
        self._failed: dict[str, Quarantine] = {}
        self._lock = Lock()

    def __call__(
        self, path: str, /, *, pinned: FileRef | None = None
    ) -> AbstractContextManager[OpenFile]:
        """Return a file for a ``with`` block.

        Parameters
        ----------
        path
            Local, or ``hf://org/name@commit/path``.
        pinned
            What it was when it was scanned.

        Raises
        ------
        Quarantine
            SOURCE_CHANGED where it is another one, or why it is not there.
        """
        if not is_remote(path):
            return FileSource(path, pinned=pinned)
        with self._lock:
            if path in self._failed:
                raise self._failed[path]
        local = self._cached(path, pinned)
        if local is not None:
            return local
        return self._scanned(path) if pinned is None else self._range(pinned)

    def fetch(
        self, files: Iterable[FileRef], /, *, on_event: Observer | None = None
    ) -> None:
        """Put whole files into the spool, those that are nowhere yet.

        Parameters
        ----------
        files
            Of the hub. Of one that cannot be had `open` will say why.
        on_event
            Told after each file.

        Raises
        ------
        HubError
            Where the hub cannot be reached: what was fetched is kept.
        StorageError
            Where the cache cannot be written.
        """
        waiting = [file for file in files if not self._is_here(file)]
        done, total = 0, len(waiting)
        pool = ThreadPoolExecutor(self.client.limits.connections)
        try:
            futures = {pool.submit(self._spool, f): f for f in waiting}
            for future in as_completed(futures):
                future.result()
                done, file = done + 1, futures[future]
                if on_event is not None:
                    on_event(
                        Progress("fetch", done, total, file.path, file.nbytes)
                    )
        except BaseException:
            # Ctrl-C too: what is under way ends now, its pieces are kept.
            self.client.close()
            raise
        finally:
            pool.shutdown(cancel_futures=True)

    def missing(self, files: Iterable[FileRef], /) -> tuple[FileRef, ...]:
        """Return those that `fetch` would have to fetch."""
        return tuple(file for file in files if not self._is_here(file))

    def _is_here(self, file: FileRef) -> bool:
        opened = self._cached(file.path, file)
        if opened is not None:
            opened.close()
        return opened is not None

    def _spool(self, file: FileRef) -> None:
        tag = file.etag or ""
        try:
            self.spool.fetch(
                self._remote_file(file.path, file),
                _key(file),
                origin=file.path,
                sha256=tag if _SHA256.fullmatch(tag) else None,
                git_sha1=tag if _SHA1.fullmatch(tag) else None,
            )
        except Quarantine as fault:
            with self._lock:
                self._failed[file.path] = fault

    def _cached(self, path: str, known: FileRef | None) -> _Opened | None:
        """Return a file that lies on this machine and is what it should be."""
        at = _reference(path)
        place = cached_file(at.repo, at.revision or "", at.path)
        tag = place.name if place and place.parent.name == "blobs" else ""
        if place and known and known.etag and tag not in {"", known.etag}:
            place = None
        if place is None and known is not None:
            place, tag = self.spool.find(_key(known)), known.etag or ""
        if place is None:
            return None
        source = FileSource(place)
        if known is not None and source.nbytes != known.nbytes:
            source.close()
            return None
        return _Opened(path, source, tag, source.close)

    def _scanned(self, path: str) -> _Opened:
        source = _Remembering(
            self._remote_file(path, None), self.heads.find(path)
        )
        etag = source.etag

        def close() -> None:
            if source.pieces:
                self.heads.keep(path, source.head)

        return _Opened(path, source, etag, close)

    def _range(self, file: FileRef) -> _Opened:
        with self._lock:
            remote = self._remote.get(file.path)
            if remote is None:
                remote = self._remote_file(file.path, file)
                self._remote[file.path] = remote
        return _Opened(file.path, remote, file.etag or "", lambda: None)

    def _remote_file(self, path: str, known: FileRef | None) -> RemoteFile:
        at = _reference(path)
        return RemoteFile(
            self.client,
            at.repo,
            at.revision or "",
            at.path,
            nbytes=known.nbytes if known else None,
            etag=known.etag if known else None,
        )


def _hash(etag: str) -> str | None:
    """Return what a hub calls a content where that is the content's hash.

    Anything else might be said of two files.
    """
    found = _SHA256.fullmatch(etag) or _SHA1.fullmatch(etag)
    return etag if found else None


def _key(file: FileRef) -> Key:
    return Key(file.etag or file.path, file.nbytes)


def _reference(path: str) -> Reference:
    found = pinned(path)
    if found is None:
        raise Quarantine("SOURCE_UNREADABLE", f"{path} is no file of a hub")
    return found
