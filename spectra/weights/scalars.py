"""Single numbers that a file keeps among its tensors, read together."""

from collections.abc import Iterable, Iterator, Mapping

import numpy as np

from spectra.core.errors import Quarantine
from spectra.core.tensors import REAL_DTYPES, FileRef, TensorRef
from spectra.core.text import printable
from spectra.weights.bytes import Opener, read_bytes
from spectra.weights.dtypes import decode_into

__all__ = ["read_scalars"]

# To read on over so many bytes costs less than to ask again: 0.1 ms of a
# disk, a tenth of a request to a hub.
_GAP = 64 * 2**10
_SPAN = 4 * 2**20

_INTEGERS = ("I", "U")


def read_scalars(
    tensors: Iterable[TensorRef],
    files: Iterable[FileRef],
    opener: Opener,
    /,
) -> Mapping[str, float]:
    """Return the numbers in tensors of one element each, by name.

    Parameters
    ----------
    tensors
        Those that lie close together are read in one go.
    files
        What the files are that they lie in.
    opener
        Opens them.

    Raises
    ------
    Quarantine
        ADAPTER_CONFIG where a tensor is no number; as `opener` does.
    """
    held: dict[str, list[TensorRef]] = {}
    for ref in tensors:
        _check_number(ref)
        held.setdefault(ref.file, []).append(ref)
    pinned = {file.path: file for file in files}
    numbers: dict[str, float] = {}
    for path, refs in held.items():
        with opener(path, pinned=pinned.get(path)) as source:
            for span in _spans(refs):
                start, stop = span[0].start, span[-1].stop
                raw = read_bytes(source, start, stop - start)
                for ref in span:
                    own = raw[ref.start - start : ref.stop - start]
                    numbers[ref.name] = _number(ref, own)
    return numbers


def _spans(refs: list[TensorRef]) -> Iterator[list[TensorRef]]:
    """Return tensors that are read together, in the order of their bytes."""
    span: list[TensorRef] = []
    for ref in sorted(refs, key=lambda ref: ref.start):
        if span and (
            ref.start - span[-1].stop > _GAP
            or ref.stop - span[0].start > _SPAN
        ):
            yield span
            span = []
        span.append(ref)
    if span:
        yield span


def _check_number(ref: TensorRef) -> None:
    known = ref.dtype in REAL_DTYPES or ref.dtype.startswith(_INTEGERS)
    if ref.size != 1 or not known:
        raise Quarantine(
            "ADAPTER_CONFIG",
            f"{printable(ref.name, 80)} is no number but {ref.dtype} of shape"
            f" {ref.shape}",
        )


def _number(ref: TensorRef, raw: bytes) -> float:
    if ref.dtype not in REAL_DTYPES:
        return int.from_bytes(raw, "little", signed=ref.dtype[0] == "I")
    value = np.empty(1)
    decode_into(np.frombuffer(raw, np.uint8), ref.dtype, value)
    return float(value[0])
