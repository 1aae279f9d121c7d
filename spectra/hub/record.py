"""The record beside a file of the cache: what it is, and each piece's hash.

One JSON value a line, each written when what it tells of is on the disk: what
the file is, the SHA-256 of each piece, and at the end those of the whole. A
record without its end belongs to a file that is not whole.
"""

import hashlib
import json
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, TypeGuard

from spectra.weights.strict_json import JsonError, parse

__all__ = ["PIECE", "Digests", "Key", "Record", "line", "read_record"]

PIECE = 8 * 2**20
"""Bytes that are read, hashed and acknowledged together."""

_SCHEMA = "spectra-spool/1"
_HASH = re.compile("[0-9a-f]{64}")
_LONGEST = 16 * 2**20


class Key(NamedTuple):
    """What a server calls a content: its etag or oid, and its length."""

    tag: str
    nbytes: int

    @property
    def name(self) -> str:
        """Return 64 hex digits: no text of a server becomes a path."""
        text = json.dumps([_SCHEMA, self.tag, self.nbytes])
        return hashlib.sha256(text.encode()).hexdigest()


class Digests:
    """The hashes of a content of known length, piece by piece."""

    def __init__(self, nbytes: int, /) -> None:
        self._sha256 = hashlib.sha256()
        self._git = hashlib.sha1(b"blob %d\0" % nbytes, usedforsecurity=False)

    def update(self, piece: bytes | memoryview, /) -> None:
        """Take in the next piece."""
        self._sha256.update(piece)
        self._git.update(piece)

    @property
    def sha256(self) -> str:
        """Return the SHA-256 of what was taken in, as hex."""
        return self._sha256.hexdigest()

    @property
    def git_sha1(self) -> str:
        """Return the name that git gives to the content, as hex."""
        return self._git.hexdigest()


@dataclass(frozen=True, slots=True)
class Record:
    """What is known of a file in the cache.

    Attributes
    ----------
    origin
        Where it was read from: ``hf://org/name@commit/path``.
    pieces
        SHA-256 of each piece that is complete, in their order.
    sha256, git_sha1
        Of the whole, None until it is complete.
    """

    key: Key
    origin: str
    pieces: tuple[str, ...] = ()
    sha256: str | None = None
    git_sha1: str | None = None

    @property
    def text(self) -> bytes:
        """Return the lines without the end."""
        head = {
            "schema": _SCHEMA,
            "tag": self.key.tag,
            "nbytes": self.key.nbytes,
            "piece": PIECE,
            "origin": self.origin,
        }
        return b"".join(map(line, (head, *self.pieces)))

    @property
    def end(self) -> bytes:
        """Return the line that makes the file whole."""
        return line({"sha256": self.sha256, "git_sha1": self.git_sha1})

    def agrees(self, sha256: str | None, git_sha1: str | None, /) -> bool:
        """Return whether the whole has these hashes, where they are given."""
        return sha256 in {None, self.sha256} and (
            git_sha1 in {None, self.git_sha1}
        )


def line(value: Any, /) -> bytes:
    """Return a line of a record."""
    return json.dumps(value, sort_keys=True).encode() + b"\n"


def read_record(path: Path, /) -> Record | None:
    """Return what a record holds, None where it is none of ours.

    What follows the last whole line of a known form is passed over.
    """
    try:
        lines = _lines(path)
    except OSError:
        return None
    head = _value(lines[0]) if lines else None
    if not _is_head(head):
        return None
    key = Key(head["tag"], head["nbytes"])
    pieces: list[str] = []
    for each in lines[1:]:
        value = _value(each)
        if _is_hash(value):
            pieces.append(value)
            continue
        if _is_end(value):
            return Record(key, head["origin"], tuple(pieces), **value)
        break
    return Record(key, head["origin"], tuple(pieces))


def _lines(path: Path) -> list[bytes]:
    # Not a FileSource: whoever uses the file moves the record's time.
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    with open(descriptor, "rb") as file:  # noqa: PTH123 - a descriptor
        return file.read(_LONGEST).split(b"\n")[:-1]


def _value(text: bytes) -> Any:
    try:
        return parse(text, depth=1)
    except JsonError:
        return None


def _is_head(value: Any) -> TypeGuard[dict[str, Any]]:
    return (
        isinstance(value, dict)
        and (value.get("schema"), value.get("piece")) == (_SCHEMA, PIECE)
        and isinstance(value.get("tag"), str)
        and type(value.get("nbytes")) is int
        and isinstance(value.get("origin"), str)
    )


def _is_hash(value: Any) -> TypeGuard[str]:
    return isinstance(value, str) and _HASH.fullmatch(value) is not None


def _is_end(value: Any) -> TypeGuard[dict[str, str]]:
    return (
        isinstance(value, dict)
        and value.keys() == {"sha256", "git_sha1"}
        and _is_hash(value["sha256"])
        and isinstance(value["git_sha1"], str)
    )
