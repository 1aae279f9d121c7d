"""The safetensors header, read strictly.

The checks stand in `_CHECKS` in the order in which they are made, over all
tensors one after the other, so that a broken file has one exact code.
"""

import hashlib
import re
import struct
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from spectra.core.errors import Quarantine
from spectra.core.tensors import DTYPE_BITS, TensorRef
from spectra.core.text import printable
from spectra.weights.bytes import ByteSource, read_bytes
from spectra.weights.limits import Limits, limits_of_environment
from spectra.weights.strict_json import JsonError, is_sound, parse

__all__ = ["Header", "read_header"]

_PREFIX = 8
_METADATA = "__metadata__"
_BAD_NAME = re.compile("[\x00-\x1f\x7f-\x9f\ud800-\udfff]")
_FIELDS = ("dtype", "shape", "data_offsets")
_LARGEST = 2**48
_WORD = 2**64

_MAGICS = (
    (b"PK\x03\x04", "a zip archive (a PyTorch pickle, .npz or .keras)"),
    (b"\x1f\x8b", "gzip"),
    (b"\x89HDF\r\n\x1a\n", "HDF5"),
    (b"GGUF", "GGUF"),
    (b"version https://", "a git-lfs pointer: the weights were not fetched"),
    (b"<!doctype", "an HTML page"),
    (b"<html", "an HTML page"),
    *((b"\x80" + bytes([n]), "a pickle") for n in range(2, 6)),
)
_SNIFFED = 16

_JSON_CODES = {
    "utf8": "ST_HEADER_UTF8",
    "json": "ST_HEADER_JSON",
    "depth": "ST_HEADER_DEPTH",
    "duplicate": "ST_DUPLICATE_KEY",
}

Entries = dict[str, dict[str, Any]]


@dataclass(frozen=True, slots=True)
class Header:
    """What a safetensors file says of itself.

    Attributes
    ----------
    tensors
        In the order of their bytes.
    metadata
        Free text of the writer.
    sha256
        Of the header's bytes, as hex.
    """

    tensors: tuple[TensorRef, ...]
    metadata: Mapping[str, str]
    sha256: str


def read_header(
    source: ByteSource, /, *, file: str, limits: Limits | None = None
) -> Header:
    """Return the header of a safetensors file, or raise Quarantine.

    Parameters
    ----------
    source
        At most 8 bytes and the header are read of it.
    file
        Its path, for the references.
    limits
        Caps; those of the environment where None.

    Returns
    -------
    Header
        All of whose tensors lie inside the file, without holes or overlap.

    Raises
    ------
    Quarantine
        With the code of the first check that fails.
    """
    limits = limits or limits_of_environment()
    try:
        raw = _header_bytes(source, limits)
        entries = _parse(raw, limits)
    except Quarantine as fault:
        raise _explained(source, fault) from fault
    metadata = entries.pop(_METADATA, {})
    _check_metadata(metadata)
    for check in _CHECKS:
        check(entries, limits)
    start = _PREFIX + len(raw)
    tensors = tuple(sorted(_references(entries, file, start), key=_byte_order))
    _check_layout(tensors, start, source.nbytes)
    return Header(tensors, metadata, hashlib.sha256(raw).hexdigest())


def _header_bytes(source: ByteSource, limits: Limits) -> bytes:
    if source.nbytes < _PREFIX:
        raise Quarantine("ST_PREFIX", f"only {source.nbytes} bytes long")
    (length,) = struct.unpack("<Q", read_bytes(source, 0, _PREFIX))
    if length > limits.header_bytes:
        raise Quarantine(
            "ST_HEADER_TOO_BIG",
            f"header of {length} bytes, more than header_bytes ="
            f" {limits.header_bytes}",
        )
    if length == 0 or _PREFIX + length > source.nbytes:
        raise Quarantine(
            "ST_HEADER_LEN",
            f"header of {length} bytes in a file of {source.nbytes}",
        )
    return read_bytes(source, _PREFIX, length)


def _parse(raw: bytes, limits: Limits) -> dict[str, Any]:
    try:
        entries = parse(raw, depth=limits.depth)
    except JsonError as fault:
        raise Quarantine(_JSON_CODES[fault.kind], fault.detail) from fault
    if not raw.startswith(b"{"):
        raise Quarantine("ST_HEADER_JSON", "header does not begin with '{'")
    return dict(entries)


def _explained(source: ByteSource, fault: Quarantine) -> Quarantine:
    """Return what the file is instead, where its first bytes tell."""
    if not fault.code.startswith(("ST_", "NOT_")):
        return fault
    begin = read_bytes(source, 0, min(_SNIFFED, source.nbytes)).lower()
    for magic, kind in _MAGICS:
        if begin.startswith(magic.lower()):
            return Quarantine("NOT_SAFETENSORS", f"this is {kind}")
    return fault


def _check_metadata(metadata: Any) -> None:
    if not isinstance(metadata, dict) or not all(
        isinstance(value, str) for value in metadata.values()
    ):
        raise Quarantine("ST_HEADER_TYPE", "__metadata__ is not text to text")
    if not is_sound(metadata):
        raise Quarantine("ST_HEADER_JSON", "half a character in __metadata__")


def _check_types(entries: Entries, _: Limits) -> None:
    for name, entry in entries.items():
        if not isinstance(entry, dict):
            raise _fault("ST_HEADER_TYPE", name, "is not an object")
        missing = [field for field in _FIELDS if field not in entry]
        if missing:
            raise _fault("ST_HEADER_TYPE", name, f"has no {missing[0]}")
        if not isinstance(entry["dtype"], str):
            raise _fault("ST_HEADER_TYPE", name, "has a dtype that is no text")
        if len(entry) > len(_FIELDS) and not is_sound(list(entry.items())):
            raise _fault("ST_HEADER_JSON", name, "has an unreadable field")


def _check_count(entries: Entries, limits: Limits) -> None:
    if len(entries) > limits.tensors:
        raise Quarantine(
            "ST_TENSOR_COUNT",
            f"{len(entries)} tensors, more than tensors = {limits.tensors}",
        )


def _check_names(entries: Entries, limits: Limits) -> None:
    for name in entries:
        if not name:
            raise Quarantine("ST_NAME", "a tensor without a name")
        if _BAD_NAME.search(name):
            raise _fault("ST_NAME", name, "has a control or half a character")
        if len(name.encode()) > limits.name_bytes:
            raise _fault(
                "ST_NAME", name, f"has a name of over {limits.name_bytes} B"
            )


def _check_dtypes(entries: Entries, _: Limits) -> None:
    for name, entry in entries.items():
        if entry["dtype"] not in DTYPE_BITS:
            dtype = printable(entry["dtype"], 40)
            raise _fault("ST_DTYPE", name, f"has the unknown dtype {dtype}")


def _check_shapes(entries: Entries, _: Limits) -> None:
    for name, entry in entries.items():
        shape = entry["shape"]
        if not _are_counts(shape):
            raise _fault("ST_SHAPE", name, "has a shape that is no shape")
        # In the order of the axes, as the reference multiplies them.
        size = 1
        for side in shape:
            size *= side
            if size >= _WORD:
                raise _fault("ST_SHAPE", name, "has more than 2**64 entries")
        if size * DTYPE_BITS[entry["dtype"]] >= _WORD:
            raise _fault("ST_SHAPE", name, "has more than 2**64 bits")


def _check_offsets(entries: Entries, _: Limits) -> None:
    for name, entry in entries.items():
        span = entry["data_offsets"]
        if not _are_counts(span) or len(span) != 2 or span[1] < span[0]:
            raise _fault("ST_OFFSETS", name, "has offsets that are no range")


def _check_sizes(entries: Entries, _: Limits) -> None:
    for name, entry in entries.items():
        start, stop = entry["data_offsets"]
        bits = DTYPE_BITS[entry["dtype"]]
        for side in entry["shape"]:
            bits *= side
        if bits != 8 * (stop - start):
            raise _fault(
                "ST_SIZE_MISMATCH",
                name,
                f"has {stop - start} bytes, its shape asks for {bits / 8:g}",
            )


_CHECKS: tuple[Callable[[Entries, Limits], None], ...] = (
    _check_types,
    _check_count,
    _check_names,
    _check_dtypes,
    _check_shapes,
    _check_offsets,
    _check_sizes,
)


def _references(
    entries: Entries, file: str, start: int
) -> Iterator[TensorRef]:
    for name, entry in entries.items():
        begin, end = entry["data_offsets"]
        yield TensorRef(
            file,
            name,
            start + begin,
            start + end,
            entry["dtype"],
            tuple(entry["shape"]),
        )


def _byte_order(ref: TensorRef) -> tuple[int, int, str]:
    return ref.start, ref.stop, ref.name


def _check_layout(
    tensors: tuple[TensorRef, ...], start: int, nbytes: int
) -> None:
    end = start
    for ref in tensors:
        if ref.start != end:
            kind = "overlaps" if ref.start < end else "leaves a hole after"
            raise _fault("ST_OFFSETS", ref.name, f"{kind} the one before")
        end = ref.stop
    if end > nbytes:
        raise Quarantine(
            "ST_TRUNCATED_DATA", f"ends at {nbytes}, its tensors at {end}"
        )
    if end < nbytes:
        raise Quarantine(
            "ST_TRAILING_BYTES", f"{nbytes - end} bytes after the last tensor"
        )


def _are_counts(values: Any) -> bool:
    return isinstance(values, list) and all(
        type(value) is int and 0 <= value < _LARGEST for value in values
    )


def _fault(code: str, name: str, what: str) -> Quarantine:
    return Quarantine(code, f"tensor {printable(name, 80)} {what}")
