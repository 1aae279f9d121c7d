"""References to bytes: which file, from where to where, and what they are."""

import math
from dataclasses import dataclass

__all__ = ["DTYPE_BITS", "REAL_DTYPES", "FileRef", "TensorRef"]

DTYPE_BITS = {
    "BOOL": 8, "U8": 8, "I8": 8, "U16": 16, "I16": 16, "U32": 32, "I32": 32,
    "U64": 64, "I64": 64, "F64": 64, "F32": 32, "F16": 16, "BF16": 16,
    "F8_E4M3": 8, "F8_E5M2": 8, "F8_E8M0": 8, "F8_E4M3FNUZ": 8,
    "F8_E5M2FNUZ": 8, "F4": 4, "F6_E2M3": 6, "F6_E3M2": 6, "C64": 64,
}  # fmt: skip
"""Bits of one element, by the safetensors format's own names."""

REAL_DTYPES = frozenset(
    {"F64", "F32", "F16", "BF16", "F8_E4M3", "F8_E5M2",
     "F8_E4M3FNUZ", "F8_E5M2FNUZ"}
)  # fmt: skip
"""The dtypes that hold weights which `spectra.weights` can decode."""


@dataclass(frozen=True, slots=True, order=True)
class FileRef:
    """One file of a checkpoint, pinned by what it was when it was scanned.

    Attributes
    ----------
    path
        Absolute path of a local file, or ``hf://org/name@commit/path``.
    nbytes
        Its length.
    mtime_ns
        Its time of last change, 0 on a hub; a file that changed is not read.
    header_sha256
        Hash of the safetensors header, as hex.
    etag
        Hash of its content by the hub, SHA-256 or git's; None where unknown.
    """

    path: str
    nbytes: int
    mtime_ns: int
    header_sha256: str
    etag: str | None = None


@dataclass(frozen=True, slots=True, order=True)
class TensorRef:
    """The bytes of one tensor.

    Attributes
    ----------
    file
        Path of the file (a `FileRef.path` of the same checkpoint).
    name
        The tensor's name in the file, foreign text.
    start, stop
        Byte range ``[start, stop)`` counted from the start of the file.
    dtype
        Name in the file's own vocabulary, such as ``"BF16"``.
    """

    file: str
    name: str
    start: int
    stop: int
    dtype: str
    shape: tuple[int, ...]

    @property
    def size(self) -> int:
        """Return the number of elements."""
        return math.prod(self.shape)

    @property
    def nbytes(self) -> int:
        """Return the number of bytes in the file."""
        return self.stop - self.start
