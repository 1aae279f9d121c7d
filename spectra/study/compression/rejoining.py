"""An adapter made again from shared bases, as PEFT loads it.

Its modules get another rank than they had, so that header and configuration
are new; what else it holds is copied byte for byte.
"""

import json
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from spectra.apply.compression.rejoined import beside, difference, rejoined
from spectra.apply.compression.shared import Tensors
from spectra.backend.memory import Budget
from spectra.core.catalog import LowRankSource
from spectra.core.errors import IntegrityError
from spectra.core.events import Observer, Progress
from spectra.core.tensors import TensorRef
from spectra.core.text import printable
from spectra.store.tensorfile import Planned, write_tensors
from spectra.study.compression.compressed import Compressed, KeptJointly
from spectra.study.compression.rebuilding import Unit, units_of, within
from spectra.study.originals import Original
from spectra.subspaces.recipes.table import Factors
from spectra.weights.bytes import Opener
from spectra.weights.dtypes import decode_into
from spectra.weights.lora.modules import ROOT, plain_name
from spectra.weights.lora.peft import PEFT
from spectra.weights.stream import TensorReader
from spectra.weights.strict_json import parse

__all__ = ["CONFIG", "WEIGHTS", "Draft", "Rejoining"]

WEIGHTS = "adapter_model.safetensors"
CONFIG = "adapter_config.json"

_DEPTH = 32

Document = dict[str, Any]
Numbers = NDArray[Any]
Draft = Callable[[str], BinaryIO]
"""Opens a file of the folder that is written, by its name."""

_Kept = Unit[KeptJointly]


@dataclass(frozen=True, slots=True)
class Rejoining:
    """What is needed to write one adapter.

    Attributes
    ----------
    compressed
        The population.
    own
        The adapter's own files.
    opener
        Opens them.
    memory
        What the process may take.
    """

    compressed: Compressed
    own: Original
    opener: Opener
    memory: int
    on_event: Observer | None

    def write(self, draft: Draft, place: int, /) -> list[Document]:
        """Write weights and configuration; say of each layer what is lost.

        Parameters
        ----------
        draft
            Opens a file by its name.
        place
            The adapter's index.

        Raises
        ------
        UsageError
            E_COMPRESSED when an update was compressed in part.
        IntegrityError
            When it is not the adapter that it was.
        BudgetError
            When a layer does not fit the memory.
        """
        units = units_of(self.compressed.joint_layers(place), self.own)
        member = self.compressed.document["members"][place]
        left = self._left(units, member["untouched_sha256"])
        rank = max(map(_rank, units))
        rows: list[Document] = []
        config = json.dumps(self._config(rank, left), indent=2)
        draft(CONFIG).write(config.encode())
        write_tensors(
            draft(WEIGHTS),
            [*self._planned(units, rank), *map(_copied, left)],
            self._tensors(units, rank, left, rows),
            metadata={"format": "pt"},
        )
        return rows

    def _left(self, units: Sequence[_Kept], sha256: str) -> list[TensorRef]:
        """Return the tensors of no kept layer, which are what they were."""
        held = [
            ref for unit in units for _, s in unit.parts for ref in s.tensors
        ]
        spans = self.own.rest(held)
        if self.own.digest(spans, self.opener) != sha256:
            raise IntegrityError(
                printable(self.own.path, 1000),
                "is not the member it was: tensors that are no layers differ",
                advice="restore the member's files",
            )
        made = {ref.name for ref in held}
        return [r for r in self.own.tensors.values() if r.name not in made]

    def _planned(self, units: Sequence[_Kept], rank: int) -> Iterator[Planned]:
        for unit in units:
            A, B = self._stored(unit)
            shapes = (rank, *A.shape[1:]), (B.shape[0], rank, *B.shape[2:])
            for ref, shape in zip((A, B), shapes, strict=True):
                yield Planned(plain_name(ref.name), ref.dtype, shape)

    def _tensors(
        self,
        units: Sequence[_Kept],
        rank: int,
        left: Sequence[TensorRef],
        rows: list[Document],
    ) -> Iterator[tuple[str, Numbers]]:
        for done, unit in enumerate(units, start=1):
            A, B = self._stored(unit)
            made = beside([self._factors(layer) for layer, _ in unit.parts])
            own_rank, made = made.rank, _padded(made, rank)
            stored = within(made.A, A.dtype), within(made.B, B.dtype)
            A_, B_ = (F.astype(np.float64) for F in stored)
            off = difference(Factors(A_, B_), made)
            yield plain_name(A.name), stored[0]
            yield plain_name(B.name), stored[1]
            lost = {
                "rank": own_rank, "rank_error": 0.0, "stored_error": off,
            }  # fmt: skip
            rows += [
                {"name": layer.name, "k": layer.k, "error": layer.error} | lost
                for layer, _ in unit.parts
            ]
            if self.on_event is not None:
                self.on_event(Progress("layers", done, len(units), unit.name))
        for ref in left:
            span = [(ref.file, ref.start, ref.stop)]
            content = b"".join(
                piece for _, _, piece in self.own.read(span, self.opener)
            )
            yield plain_name(ref.name), np.frombuffer(content, np.uint8)

    def _stored(self, unit: _Kept) -> tuple[TensorRef, TensorRef]:
        """Return A and B as the member keeps them."""
        _, source = unit.parts[0]
        if not isinstance(source, LowRankSource):
            raise IntegrityError(
                printable(self.own.path, 1000), "is no adapter"
            )
        return (
            self.own.tensors[source.A.name], self.own.tensors[source.B.name]
        )  # fmt: skip

    def _factors(self, layer: KeptJointly) -> Factors:
        Budget.of_process(self.memory, workers=1).require(
            f"layer {printable(layer.name)}",
            6 * 8 * (layer.U.size + layer.V.size),
        )
        reader = self.compressed.reader
        U, V = _numbers(layer.U, reader), _numbers(layer.V, reader)
        return rejoined(Tensors(U, V, layer.sigma.astype(np.float64)))

    def _config(self, rank: int, left: Sequence[TensorRef]) -> Document:
        """Return the adapter's own with the new rank and a scale of 1.

        Factors that are copied keep the rank and the scale that they had.
        """
        path = self.own.folder.files[CONFIG]
        papers = dict(self.own.papers(self.opener))
        adapter = self.own.adapter
        if CONFIG not in papers or adapter is None:
            raise IntegrityError(path, "is no configuration of an adapter")
        ranks: dict[str, int] = {}
        alphas: dict[str, float] = {}
        for ref in left:
            role = PEFT.role(ref)
            if role is None or role[1] != "A":
                continue
            module = role[0].removeprefix(ROOT)
            own = ref.shape[0]
            scale = adapter.checked_scale(module, own)
            if (own, scale) != (rank, 1.0):
                ranks[f"^{module}"] = own
                alphas[f"^{module}"] = scale * own
        return {
            **parse(papers[CONFIG], depth=_DEPTH),
            "r": rank,
            "lora_alpha": rank,
            "use_rslora": False,
            "rank_pattern": ranks,
            "alpha_pattern": alphas,
        }


def _rank(unit: _Kept) -> int:
    """Return that of the factors that it will have."""
    return sum(
        min(layer.U.shape[1], layer.V.shape[1]) for layer, _ in unit.parts
    )


def _copied(ref: TensorRef) -> Planned:
    return Planned(plain_name(ref.name), ref.dtype, ref.shape)


def _padded(factors: Factors, rank: int) -> Factors:
    """Return factors of that rank: what they lack is zero."""
    lacking = rank - factors.rank
    return Factors(
        np.pad(factors.A, ((0, lacking), (0, 0))),
        np.pad(factors.B, ((0, 0), (0, lacking))),
    )


def _numbers(ref: TensorRef, reader: TensorReader) -> NDArray[np.float64]:
    values = np.empty(ref.shape, np.float64)
    decode_into(reader.read(ref, 0, math.prod(ref.shape)), ref.dtype, values)
    return values
