"""Pieces of full checkpoints: the parents' entries in, the merged ones out."""

import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from spectra.apply.merging.choice import Choice
from spectra.apply.merging.dense import (
    FULL,
    Maps,
    Rule,
    entry_rule,
    merged_map,
)
from spectra.apply.merging.entries import BLOCK
from spectra.apply.merging.trimming import (
    BINS,
    Counts,
    Digits,
    Vector,
    counted,
)
from spectra.core.errors import Quarantine, UsageError
from spectra.core.tensors import FileRef, TensorRef
from spectra.core.text import printable
from spectra.store.tensorfile import Planned
from spectra.study.merging.full_parents import Tensor
from spectra.weights.bytes import Opener
from spectra.weights.dtypes import decode_into, encoded
from spectra.weights.soundness import fault_in
from spectra.weights.stream import TensorReader

__all__ = ["Made", "Making", "Unit", "made_nbytes", "units_of"]

Numbers = NDArray[np.float64]

_BLOCK = 2**23
"""Bytes of all members' entries that are merged at once, as numbers."""

_FEWEST = 2**15
"""Entries, of however many members: less is more calls than arithmetic."""


@dataclass(frozen=True, slots=True)
class Unit:
    """What is made in one go: some entries of a tensor, or a matrix.

    Attributes
    ----------
    number
        Of the tensor, among all.
    start, stop
        Of its entries, in the order in which they are stored.
    """

    number: int
    tensor: Tensor
    start: int
    stop: int


@dataclass(frozen=True, slots=True)
class Made:
    """A merged unit.

    Attributes
    ----------
    content
        As it is written.
    square
        Sum of squares of what was added to the base.
    moved
        The same of what each parent differs from the base by, and of the
        base; zeros without one.
    """

    content: NDArray[np.uint8]
    square: float
    moved: Vector


@dataclass(frozen=True, slots=True)
class Making:
    """What is done with every tensor.

    Attributes
    ----------
    ids
        Of the parents.
    files
        What each file was when it was scanned, by path.
    planned
        What is written, tensor by tensor.
    least
        Magnitude of each parent's entries below which they are trimmed, where
        all tensors are trimmed together.
    """

    choice: Choice
    ids: Sequence[str]
    files: Mapping[str, FileRef]
    opener: Opener
    planned: Sequence[Planned]
    least: Vector | None = None

    def takes_map(self, tensor: Tensor, /) -> bool:
        """Return whether a tensor is merged as a matrix."""
        row = FULL[self.choice.method.name]
        return row.takes_maps and tensor.is_map and tensor.kept is None

    def rule(self, tensor: Tensor, /) -> Rule | None:
        """Return how a tensor's entries are merged; None of a matrix."""
        if tensor.kept is not None or self.takes_map(tensor):
            return None
        blocks = _Entries(self, tensor)
        return entry_rule(
            self.choice, blocks, _number(tensor), least=self.least
        )

    def trims(self, tensor: Tensor, /) -> bool:
        """Return whether a share of a tensor's entries is kept."""
        is_of_maps = FULL[self.choice.method.name].takes_maps
        return tensor.kept is None and (tensor.is_map or not is_of_maps)

    def counted(self, digits: Digits, unit: Unit, /) -> Counts:
        """Return what `least_kept` asks for, of a unit that is trimmed."""
        entries = self.choice.method.entries
        if not self.takes_map(unit.tensor):
            return counted(_Entries(self, unit.tensor, unit), digits)
        if entries is None:
            raise TypeError(f"{self.choice.method.name} trims nothing")
        maps = Maps(self.maps(unit.tensor)[1])
        return counted(entries(maps, space="dense"), digits)

    def made(self, unit: Unit, rule: Rule | None, /) -> Made:
        """Return what is written of a unit.

        Parameters
        ----------
        unit
            Of one of the tensors.
        rule
            Its tensor's.

        Raises
        ------
        UsageError
            E_MERGE where a parent cannot be used, or what is written does
            not fit the dtype.
        """
        tensor, place = unit.tensor, self.planned[unit.number]
        if tensor.kept is not None:
            return self._kept(unit, place)
        if rule is None:
            below, stack = self.maps(tensor)
            added = merged_map(
                self.choice, Maps(stack), _number(tensor), least=self.least
            )
            found = added if below is None else below + added
            found = found.T if tensor.transposed else found
        else:
            below, stack = self.entries(tensor, unit.start, unit.stop)
            added = rule(stack, unit.start)
            found = added if below is None else below + added
        moved = np.zeros(len(self.ids) + 1)
        if below is not None:
            moved[:-1] = [_square(each) for each in stack]
            moved[-1] = _square(below)
        return Made(_stored(found, place), _square(added), moved)

    def maps(self, tensor: Tensor, /) -> tuple[Numbers | None, Numbers]:
        """Return the base (out, in), and what each differs from it by."""
        below, stack = self.entries(tensor, 0, tensor.size)
        shape = tensor.own.shape
        stack = stack.reshape(-1, *shape)
        below = None if below is None else below.reshape(shape)
        if tensor.transposed:
            stack = stack.swapaxes(1, 2)
            below = None if below is None else below.T
        return below, stack

    def entries(
        self, tensor: Tensor, start: int, stop: int, /
    ) -> tuple[Numbers | None, Numbers]:
        """Return the base's entries, and what each differs from them by."""
        reader = TensorReader(self.files, self.opener)
        below = None
        if tensor.base is not None:
            below = np.empty(stop - start)
            self._read(reader, tensor.base, (start, stop), below, "the base")
        stack = np.empty((len(tensor.sources), stop - start))
        for row, ref, who in zip(stack, tensor.sources, self.ids, strict=True):
            self._read(reader, ref, (start, stop), row, who)
        if below is not None:
            stack -= below
        return below, stack

    def _kept(self, unit: Unit, place: Planned) -> Made:
        """Return entries as they are, in the dtype that is written."""
        (ref,), nothing = unit.tensor.sources, np.zeros(len(self.ids) + 1)
        reader = TensorReader(self.files, self.opener)
        try:
            raw = reader.read(ref, unit.start, unit.stop)
        except Quarantine as fault:
            raise _unusable(ref, unit.tensor.kept or "", fault) from fault
        if place.dtype == ref.dtype:
            return Made(raw, 0.0, nothing)
        values = np.empty(unit.stop - unit.start)
        decode_into(raw, ref.dtype, values)
        return Made(encoded(values, place.dtype).view(np.uint8), 0.0, nothing)

    def _read(
        self,
        reader: TensorReader,
        ref: TensorRef,
        bounds: tuple[int, int],
        out: Numbers,
        who: str,
    ) -> None:
        try:
            decode_into(reader.read(ref, *bounds), ref.dtype, out)
            fault = fault_in(out, ref.dtype)
            if fault is not None:
                raise fault
        except Quarantine as fault:
            raise _unusable(ref, who, fault) from fault


@dataclass(frozen=True, slots=True)
class _Entries:
    """The entries of a tensor, or of a unit of it, read when asked for."""

    making: Making
    tensor: Tensor
    unit: Unit | None = None

    def __len__(self) -> int:
        return len(self.making.ids)

    def blocks(self) -> Iterator[tuple[slice, Numbers]]:
        tensor, unit = self.tensor, self.unit
        for each in [unit] if unit else _pieces(0, tensor, len(self)):
            _, stack = self.making.entries(tensor, each.start, each.stop)
            yield slice(each.start, each.stop), stack


def units_of(tensors: Sequence[Tensor], making: Making, /) -> list[Unit]:
    """Return what is made one after the other, in the order of writing."""
    n = len(making.ids)
    return [
        unit
        for number, tensor in enumerate(tensors)
        for unit in (
            [Unit(number, tensor, 0, tensor.size)]
            if making.takes_map(tensor)
            else _pieces(number, tensor, n)
        )
    ]


def made_nbytes(unit: Unit, making: Making, /) -> int:
    """Return at most what making a unit takes, in bytes."""
    n, tensor = len(making.ids), unit.tensor
    bins = 3 * n * BINS if "trim" in making.choice.options else 0
    if not making.takes_map(tensor):
        # The entries, what is made of them on the way, and what is read.
        return 8 * ((unit.stop - unit.start) * (4 * n + 6) + bins)
    rows, columns = tensor.own.shape
    side = min(rows, columns)
    # The maps, their triplets, these beside each other and made orthogonal,
    # and what a decomposition takes.
    numbers = (n + 6) * rows * columns + n * side * (rows + columns)
    numbers += 6 * side * (rows + columns) + 8 * side**2
    if bins:
        k = min(n * side, max(rows, columns))
        numbers += 4 * n * side * (max(rows, columns) + k)
        numbers += 6 * k * columns + bins
        numbers += 7 * max(n * columns, min(BLOCK // 8, n * k * columns))
    return 8 * numbers


def _pieces(number: int, tensor: Tensor, n: int) -> Iterator[Unit]:
    step = max(_FEWEST, _BLOCK // (8 * n))
    if tensor.size == 0:
        return
    for start in range(0, tensor.size, step):
        yield Unit(number, tensor, start, min(start + step, tensor.size))


def _number(tensor: Tensor) -> int:
    return zlib.crc32(tensor.name.encode("utf-8", "surrogatepass"))


def _square(values: Numbers) -> float:
    flat = values.reshape(-1)
    return float(flat @ flat)


def _stored(values: Numbers, place: Planned) -> NDArray[np.uint8]:
    found = encoded(np.ascontiguousarray(values), place.dtype).reshape(-1)
    if not np.all(np.isfinite(found)):
        raise UsageError(
            "E_MERGE",
            f"{printable(place.name, 80)} does not fit {place.dtype}",
            advice="use --dtype F32, or a smaller --lambda",
        )
    return found.view(np.uint8)


def _unusable(ref: TensorRef, who: str, fault: Quarantine) -> UsageError:
    return UsageError(
        "E_MERGE",
        f"{printable(ref.name, 80)} of {printable(who, 80)} cannot be used"
        f" ({fault.code}: {printable(fault.detail)})",
        advice="a checkpoint lacks nothing: mend that one, or leave it out",
    )
