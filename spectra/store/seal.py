"""A run file says what its own bytes add up to.

The first 512 bytes (HDF5's user block, which its readers skip) are a line of
text with the SHA-256 of all that follow: no byte of the file can change
unnoticed.
"""

import hashlib
from pathlib import Path

from spectra.store.atomic import flush

__all__ = ["BLOCK", "SCHEMA", "is_whole", "seal"]

SCHEMA = "spectra/2"

BLOCK = 512
"""Bytes of the user block: the least that HDF5 allows."""


def seal(path: Path, /) -> None:
    """Write the user block of a file whose other bytes are final."""
    with path.open("r+b") as file:
        file.write(_line(path))
    flush(path)


def is_whole(path: Path, /) -> bool:
    """Return whether a file holds the bytes it was sealed with."""
    with path.open("rb") as file:
        return file.read(BLOCK) == _line(path)


def _line(path: Path) -> bytes:
    with path.open("rb", buffering=0) as file:
        file.seek(BLOCK)
        digest = hashlib.file_digest(file, "sha256")
    line = f"{SCHEMA} sha256 {digest.hexdigest()}\n"
    return line.encode().ljust(BLOCK, b"\0")
