"""One layer of many checkpoints, read whole or in column blocks.

Bytes are read with pread into one reused buffer, widened into place, and the
base is subtracted there. Nothing is held but what the caller gave room for.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spectra.core.catalog import DenseSource, LowRankSource
from spectra.core.errors import Quarantine
from spectra.core.tensors import FileRef, TensorRef
from spectra.weights.bytes import Ahead, FileSource, Opener
from spectra.weights.dtypes import (
    decode_into,
    rounding_power,
    rounding_squares,
)
from spectra.weights.kept import KeptMaps, Store
from spectra.weights.maps import LowRank
from spectra.weights.moments import NOTHING, Moments, moments
from spectra.weights.soundness import fault_in

__all__ = ["DenseReader", "Loaded", "TensorReader", "read_low_rank"]

Array = NDArray[Any]

_NAMES = {4: "F32", 8: "F64"}

_NARROW = 4
"""Bytes of a number that float32 holds exactly."""


@dataclass(slots=True)
class TensorReader:
    """Reads parts of tensors into one buffer, which it uses again and again.

    Attributes
    ----------
    files
        What each file was when it was scanned, by path: a file that is
        another one now is not read.
    opener
        Opens them.
    ahead
        What has been fetched already; None for nothing.
    nbytes
        Bytes read so far.
    """

    files: Mapping[str, FileRef]
    opener: Opener = FileSource
    ahead: Ahead | None = None
    nbytes: int = 0
    _buffer: NDArray[np.uint8] = field(
        default_factory=lambda: np.empty(0, np.uint8)
    )

    def read(self, ref: TensorRef, start: int, stop: int, /) -> Any:
        """Return the elements ``[start, stop)`` of a tensor as raw bytes.

        The next call overwrites them.

        Raises
        ------
        Quarantine
            When the file has changed or cannot be read.
        """
        width = ref.nbytes // ref.size
        count = (stop - start) * width
        if self._buffer.size < count:
            self._buffer = np.empty(count, np.uint8)
        raw = self._buffer[:count]
        self.nbytes += count
        if self.ahead is not None and count == ref.nbytes:
            content = self.ahead.take(ref)
            if content is not None:
                raw[:] = np.frombuffer(content, np.uint8)
                return raw
        pinned = self.files.get(ref.file)
        with self.opener(ref.file, pinned=pinned) as source:
            source.read_into(ref.start + start * width, raw.data)
        return raw


@dataclass(frozen=True, slots=True)
class Loaded:
    """One dense map and what was learned while it was read.

    Attributes
    ----------
    flat
        All entries in the reader's stored order.
    rounding
        Sum of ulp^2 / 12 over the stored entries.
    digest
        Hash of the stored bytes.
    fault
        Why it cannot be used; None where it can.
    moments
        How its stored entries are distributed.
    raw, dtype
        Its entries in the reader's stored order as bytes, the base not yet
        subtracted. The next reading overwrites them.
    """

    flat: Array
    rounding: float
    digest: bytes
    fault: Quarantine | None
    moments: Moments
    raw: NDArray[np.uint8]
    dtype: str


@dataclass(slots=True)
class DenseReader:
    """Reads one dense layer of many checkpoints, less a base where given.

    Attributes
    ----------
    shape
        ``(out, in)`` of the layer.
    sources
        One a member.
    base
        Subtracted from each; None for none.
    dtype
        ``float32`` or ``float64``, of everything returned.
    transposed
        Whether the common order of entries is in x out: what most members
        store should be asked for, since the others are then read whole.
    tensors
        Does the reading.
    """

    shape: tuple[int, int]
    sources: tuple[DenseSource, ...]
    base: DenseSource | None
    dtype: Any
    transposed: bool
    tensors: TensorReader
    _base_entries: Array | None = None

    @property
    def size(self) -> int:
        """Return the number of entries of one map."""
        return self.shape[0] * self.shape[1]

    def member(self, i: int, /) -> Loaded:
        """Return all of member i's map."""
        source = self.sources[i]
        raw = self._read(source, 0, self.size)
        digest = _digest(source, raw)
        flat = self._decode(source, raw)
        rounding = rounding_power(flat, source.weight.dtype)
        fault = fault_in(flat, source.weight.dtype)
        found = NOTHING if fault else moments(flat)
        dtype = source.weight.dtype
        if source.transposed != self.transposed:
            flat = self._ordered(source, flat)
            raw, dtype = (
                flat.copy().view(np.uint8),
                _NAMES[flat.dtype.itemsize],
            )
        if self.base is not None and fault is None:
            flat -= self._of_base(self.base, 0, self.size)
        return Loaded(flat, rounding, digest, fault, found, raw, dtype)

    @property
    def kept_nbytes(self) -> int:
        """Return at most how many bytes `Loaded.raw` has for all members."""
        width = int(np.dtype(self.dtype).itemsize)
        return sum(
            source.weight.nbytes
            if source.transposed == self.transposed
            else self.size * width
            for source in self.sources
        )

    def kept_in(self, store: Store, /) -> KeptMaps:
        """Return room for maps that this reader has read."""
        if self.base is None:
            return KeptMaps(store, self.dtype, None)
        base = self._of_base(self.base, 0, self.size)
        return KeptMaps(store, self.dtype, base)

    def digest(self, i: int, /) -> bytes:
        """Return the hash of member i's stored bytes."""
        source = self.sources[i]
        return _digest(source, self._read(source, 0, self.size))

    def base_digest(self) -> bytes | None:
        """Return the hash of the base's stored bytes, None without one.

        The base is read here, once, and its entries kept for the members.

        Raises
        ------
        Quarantine
            When the base cannot be used: no member of the layer can, then.
        """
        return None if self.base is None else self._read_base(self.base)[0]

    def matrix(self, flat: Array, /) -> Array:
        """Return entries in stored order as the map (out, in), a view."""
        rows, columns = self.shape
        if self.transposed:
            return flat.reshape(columns, rows).T
        return flat.reshape(rows, columns)

    def base_matrix(self) -> Array | None:
        """Return the base as the map (out, in), a view; None without one."""
        if self.base is None:
            return None
        return self.matrix(self._of_base(self.base, 0, self.size))

    def block(self, i: int, start: int, stop: int, /) -> Array:
        """Return entries ``[start, stop)`` of member i, in stored order."""
        values = self._entries(self.sources[i], start, stop)
        if self.base is not None:
            values -= self._of_base(self.base, start, stop)
        return values

    def _read_base(self, base: DenseSource) -> tuple[bytes, Array]:
        raw = self._read(base, 0, self.size)
        digest, flat = _digest(base, raw), self._decode(base, raw)
        fault = fault_in(flat, base.weight.dtype)
        if fault is not None:
            raise Quarantine(fault.code, f"the base {fault.detail}")
        self._base_entries = self._ordered(base, flat)
        return digest, self._base_entries

    def _of_base(self, base: DenseSource, start: int, stop: int) -> Array:
        entries = self._base_entries
        if entries is None:
            entries = self._read_base(base)[1]
        return entries[start:stop]

    def _read(self, source: DenseSource, start: int, stop: int) -> Any:
        return self.tensors.read(source.weight, start, stop)

    def _decode(self, source: DenseSource, raw: Any) -> Array:
        width = source.weight.nbytes // source.weight.size
        values = np.empty(raw.size // width, self.dtype)
        decode_into(raw, source.weight.dtype, values)
        return values

    def _entries(self, source: DenseSource, start: int, stop: int) -> Array:
        if source.transposed == self.transposed:
            return self._decode(source, self._read(source, start, stop))
        whole = self._decode(source, self._read(source, 0, self.size))
        return self._ordered(source, whole)[start:stop]

    def _ordered(self, source: DenseSource, flat: Array) -> Array:
        """Return the entries of a map in the common order."""
        if source.transposed == self.transposed:
            return flat
        rows, columns = self.shape
        stored = (columns, rows) if source.transposed else (rows, columns)
        return np.ascontiguousarray(flat.reshape(stored).T).reshape(-1)


def _digest(source: DenseSource, raw: Any) -> bytes:
    digest = hashlib.sha256(raw)
    digest.update(source.weight.dtype.encode())
    digest.update(bytes([source.transposed]))
    return digest.digest()


def read_low_rank(source: LowRankSource, tensors: TensorReader, /) -> LowRank:
    """Return one adapter's update of one layer."""
    digest = hashlib.sha256()
    A, around_A, start = _factor(source.A, tensors, digest, axis=1)
    B, around_B, _ = _factor(source.B, tensors, digest, axis=0)
    digest.update(np.float64(source.scale).tobytes())
    # An error in B_ok moves row o by A_k, one in A_kj column j by B_k.
    rounding = source.scale**2 * float(
        around_B @ np.einsum("kj,kj->k", A, A)
        + around_A @ np.einsum("ok,ok->k", B, B)
    )
    stored = start, source.A.dtype
    return LowRank(A, B, source.scale, rounding, digest.digest(), stored)


def _factor(
    ref: TensorRef, tensors: TensorReader, digest: Any, /, *, axis: int
) -> tuple[Array, Array, NDArray[np.uint8]]:
    """Return a factor, its sums of ulp^2 / 12 and its bytes."""
    raw = tensors.read(ref, 0, ref.size)
    digest.update(raw)
    digest.update(ref.dtype.encode())
    wide = ref.nbytes // ref.size > _NARROW
    values = np.empty(ref.shape, np.float64 if wide else np.float32)
    decode_into(raw, ref.dtype, values)
    around = rounding_squares(values, ref.dtype, axis=axis)
    return values.astype(np.float64, copy=False), around, raw.copy()
