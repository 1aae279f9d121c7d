"""The bytes of a file, in memory or on disk, and their names in git."""

import hashlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path

CHUNK = 64 * 1024
LARGE = 1024 * 1024
STORED = (".safetensors", ".h5", ".parquet")
FLIPPED = bytes(byte ^ 1 for byte in range(256))


@dataclass(frozen=True, slots=True)
class Body:
    """What follows the headers: `size` bytes, or None till the end."""

    size: int | None
    chunks: Callable[[], Iterable[bytes]]


EMPTY = Body(0, tuple)


def body_of(data: bytes, /) -> Body:
    return Body(len(data), lambda: (data,))


@dataclass(frozen=True)
class Content:
    """A file as it was when it was first looked at.

    A path is never read as a whole, so that it may be larger than memory.
    """

    source: bytes | Path

    @cached_property
    def size(self) -> int:
        if isinstance(self.source, bytes):
            return len(self.source)
        return self.source.stat().st_size

    @cached_property
    def sha256(self) -> str:
        if isinstance(self.source, bytes):
            return hashlib.sha256(self.source).hexdigest()
        return digest_on_disk(self.source, self.source.stat().st_mtime_ns)

    @cached_property
    def blob(self) -> str:
        """The name that git has for a blob of these bytes."""
        body = b"".join(self.chunks(0, self.size))
        return git_name(body)

    @property
    def pointer(self) -> bytes:
        """The blob that stands in git for a large file."""
        return (
            "version https://git-lfs.github.com/spec/v1\n"
            f"oid sha256:{self.sha256}\nsize {self.size}\n"
        ).encode()

    def chunks(self, start: int, stop: int, /) -> Iterator[bytes]:
        """Yield the bytes of a range, piece by piece."""
        if isinstance(self.source, bytes):
            yield self.source[start:stop]
            return
        with self.source.open("rb") as file:
            file.seek(start)
            while piece := file.read(min(CHUNK, stop - start)):
                start += len(piece)
                yield piece


@dataclass(frozen=True, slots=True)
class Altered:
    """The same number of bytes, each another one from an offset on.

    Only the lowest bit changes, so that a float stays a number.
    """

    content: "Content | Altered"
    first: int = 0

    @property
    def size(self) -> int:
        return self.content.size

    def chunks(self, start: int, stop: int, /) -> Iterator[bytes]:
        for piece in self.content.chunks(start, stop):
            kept = max(min(self.first - start, len(piece)), 0)
            yield piece[:kept] + piece[kept:].translate(FLIPPED)
            start += len(piece)


def is_large(name: str, content: Content, /) -> bool:
    """Return whether git holds only a pointer to the file."""
    return name.endswith(STORED) or content.size > LARGE


def git_name(blob: bytes, /) -> str:
    header = b"blob %d\0" % len(blob)
    return hashlib.sha1(header + blob, usedforsecurity=False).hexdigest()


@lru_cache(maxsize=256)
def digest_on_disk(path: Path, _modified: int, /) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
