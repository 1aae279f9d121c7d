"""Bodies made of others, none of them held in memory as a whole."""

import gzip
import struct
import zlib
from collections.abc import Iterable, Iterator

from tests.hub.content import CHUNK, Body, body_of

BLOCK = 1024 * 1024
GZIP = b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\xff"


def chained(before: bytes, body: Body, after: bytes, /) -> Body:
    def chunks() -> Iterator[bytes]:
        yield before
        yield from body.chunks()
        yield after

    return Body(len(before) + (body.size or 0) + len(after), chunks)


def sliced(body: Body, size: int, /) -> Body:
    """Return the first bytes of a body."""

    def chunks() -> Iterator[bytes]:
        left = size
        for piece in body.chunks():
            yield piece[:left]
            left -= len(piece[:left])

    return Body(size, chunks)


def gzipped(body: Body, /) -> Body:
    return body_of(gzip.compress(b"".join(body.chunks()), mtime=0))


def numbers(size: int, /) -> Iterator[bytes]:
    """Yield a JSON list of zeros, that many bytes or one fewer."""
    yield b"["
    left = (size - 1) // 2
    while left > 1:
        count = min(left - 1, CHUNK // 2)
        yield b"0," * count
        left -= count
    yield b"0]"


def bomb(size: int, /) -> Body:
    """Return gzip of `[`, `size` - 2 blanks and `]`: an empty JSON list."""
    blocks = [b"[", *spaces(size - 2), b"]"]
    packer = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    known: dict[bytes, bytes] = {}
    packed = []
    for block in blocks:
        # A block that was flushed refers to no other, so it can be repeated.
        if block not in known:
            known[block] = packer.compress(block)
            known[block] += packer.flush(zlib.Z_FULL_FLUSH)
        packed.append(known[block])
    end = struct.pack("<II", checksum(blocks), size % 2**32)
    pieces = (GZIP, *packed, packer.flush(), end)
    return Body(sum(map(len, pieces)), lambda: pieces)


def spaces(size: int, /) -> list[bytes]:
    return [b" " * BLOCK] * (size // BLOCK) + [b" " * (size % BLOCK)]


def checksum(blocks: Iterable[bytes], /) -> int:
    value = 0
    for block in blocks:
        value = zlib.crc32(block, value)
    return value
