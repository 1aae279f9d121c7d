"""A run file says what its own bytes add up to.

The first 512 bytes (HDF5's user block, which its readers skip) are a line of
text with the SHA-256 of all that follow (and of the second digest), so that no
byte of the file can change unnoticed, and with that of everything but the
layers and the report, so that the rest of a damaged file can be told from what
is lost.
"""

import hashlib
import json
from pathlib import Path

import h5py

from spectra.store.atomic import flush

__all__ = ["BLOCK", "PARTS", "SCHEMA", "is_whole", "parts_are_whole", "seal"]

SCHEMA = "spectra/2"

BLOCK = 512
"""Bytes of the user block: the least that HDF5 allows."""

PARTS = ("header", "models", "quarantine", "left_out", "catalog", "base")
"""What a run is besides its layers and its report."""


def seal(path: Path, /) -> None:
    """Write the user block of a file whose other bytes are final."""
    with h5py.File(path, "r") as file:
        parts = _digest_of_parts(file)
    line = _line(_digest(path, parts), parts)
    with path.open("r+b") as raw:
        raw.write(line)
    flush(path)


def is_whole(path: Path, /) -> bool:
    """Return whether a file holds the bytes it was sealed with."""
    block, (whole, parts) = _block(path)
    return block == _line(whole, parts) and whole == _digest(path, parts)


def parts_are_whole(path: Path, file: h5py.File, /) -> bool:
    """Return whether all but layers and report is what was sealed.

    Parameters
    ----------
    path
        A file that is not whole.
    file
        The same, opened.
    """
    _, (whole, parts) = _block(path)
    found = _digest_of_parts(file)
    # Or else the damage is in the block itself.
    return parts == found or whole == _digest(path, found)


def _line(whole: str, parts: str) -> bytes:
    line = f"{SCHEMA} sha256 {whole} parts {parts}\n"
    return line.encode().ljust(BLOCK, b"\0")


def _block(path: Path) -> tuple[bytes, tuple[str, str]]:
    """Return the user block, and the digests in it, empty for none."""
    with path.open("rb") as raw:
        block = raw.read(BLOCK)
    words = block.split(b"\n")[0].decode("ascii", "replace").split(" ")
    if len(words) != len(("schema", "sha256", "", "parts", "")):
        return block, ("", "")
    return block, (words[2], words[4])


def _digest(path: Path, parts: str) -> str:
    """Return the hash of what follows the block, and of its second digest."""
    with path.open("rb", buffering=0) as raw:
        raw.seek(BLOCK)
        digest = hashlib.file_digest(raw, "sha256")
    digest.update(parts.encode())
    return digest.hexdigest()


def _digest_of_parts(file: h5py.File) -> str:
    parts = {name: _raw(file[name]) for name in PARTS if name in file}
    text = json.dumps(parts, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def _raw(dataset: h5py.Dataset) -> str | list[str]:
    """Return the text of a part, or one for each row."""
    value = dataset[()]
    if isinstance(value, bytes):
        return value.hex()
    if value.dtype == object:
        return [row.hex() for row in value]
    return hashlib.sha256(value.tobytes()).hexdigest()
