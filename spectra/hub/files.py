"""Files of a hub by their pinned paths, from wherever they lie already."""

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from pathlib import Path
from threading import Lock

from spectra.core.errors import Quarantine
from spectra.core.events import Observer, Progress
from spectra.core.tensors import FileRef, TensorRef
from spectra.hub.ahead import Job, ReadAhead
from spectra.hub.client import Client
from spectra.hub.heads import Heads
from spectra.hub.hfcache import cached_file
from spectra.hub.opened import (
    SHA1,
    SHA256,
    AheadInOrder,
    Opened,
    Remembering,
)
from spectra.hub.ranges import RemoteFile
from spectra.hub.record import Key
from spectra.hub.reference import Reference, pinned
from spectra.hub.spool import Spool
from spectra.weights.bytes import Ahead, ByteSource, FileSource, OpenFile

__all__ = ["AHEAD", "HubFiles", "is_remote"]

AHEAD = 32 * 2**20
"""Bytes that a layer's reading may be ahead of its computing."""


def is_remote(path: str, /) -> bool:
    """Return whether a path of a `FileRef` is a hub's."""
    return path.startswith("hf://")


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
        self._local: dict[str, tuple[Path, str]] = {}
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
        done, read = 0, 0
        total = sum(file.nbytes for file in waiting)
        pool = ThreadPoolExecutor(self.client.limits.connections)
        try:
            futures = {pool.submit(self._spool, f): f for f in waiting}
            for future in as_completed(futures):
                future.result()
                done, file = done + 1, futures[future]
                read += file.nbytes
                if on_event is not None:
                    on_event(
                        Progress(
                            "fetch",
                            done,
                            len(waiting),
                            file.path,
                            file.nbytes,
                            read,
                            total,
                        )
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
                sha256=tag if SHA256.fullmatch(tag) else None,
                git_sha1=tag if SHA1.fullmatch(tag) else None,
            )
        except Quarantine as fault:
            with self._lock:
                self._failed[file.path] = fault

    @contextmanager
    def read_ahead(
        self, wanted: Sequence[tuple[TensorRef, FileRef]], /
    ) -> Iterator[Ahead]:
        """Fetch tensors that lie on the hub alone, several at a time.

        Parameters
        ----------
        wanted
            In the order in which they will be taken; others than a hub's may
            be among them.

        Yields
        ------
        Ahead
            Hands them over.
        """
        remote = [
            (ref, file)
            for ref, file in wanted
            if is_remote(ref.file)
            and ref.file not in self._failed
            and not self._is_here(file)
        ]
        jobs = [
            Job(partial(self._opened_remote, file), ref.start, ref.nbytes)
            for ref, file in remote
        ]
        with ReadAhead(
            jobs,
            connections=self.client.limits.connections,
            bytes_in_flight=AHEAD,
            abort=self.client.close,
        ) as contents:
            yield AheadInOrder(deque(ref for ref, _ in remote), contents)

    def _opened_remote(self, file: FileRef) -> ByteSource:
        return self._range(file).source

    def _cached(self, path: str, known: FileRef | None) -> Opened | None:
        """Return a file that lies on this machine and is what it should be."""
        found = self._local.get(path)
        if found is None:
            found = self._find(path, known)
        if found is None:
            return None
        place, tag = found
        try:
            source = FileSource(place)
        except Quarantine:
            return None  # taken away meanwhile
        if known is not None and source.nbytes != known.nbytes:
            source.close()
            return None
        if known is not None:
            self._local[path] = found
        return Opened(path, source, tag, source.close)

    def _find(
        self, path: str, known: FileRef | None
    ) -> tuple[Path, str] | None:
        at = _reference(path)
        place = cached_file(at.repo, at.revision or "", at.path)
        tag = place.name if place and place.parent.name == "blobs" else ""
        if place and known and known.etag and tag not in {"", known.etag}:
            place = None
        if place is None and known is not None:
            place, tag = self.spool.find(_key(known)), known.etag or ""
        return None if place is None else (place, tag)

    def _scanned(self, path: str) -> Opened:
        source = Remembering(
            self._remote_file(path, None), self.heads.find(path)
        )
        etag = source.etag

        def close() -> None:
            if source.pieces:
                self.heads.keep(path, source.head)

        return Opened(path, source, etag, close)

    def _range(self, file: FileRef) -> Opened:
        with self._lock:
            remote = self._remote.get(file.path)
            if remote is None:
                remote = self._remote_file(file.path, file)
                self._remote[file.path] = remote
        return Opened(file.path, remote, file.etag or "", lambda: None)

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


def _key(file: FileRef) -> Key:
    return Key(file.etag or file.path, file.nbytes)


def _reference(path: str) -> Reference:
    found = pinned(path)
    if found is None:
        raise Quarantine("SOURCE_UNREADABLE", f"{path} is no file of a hub")
    return found
