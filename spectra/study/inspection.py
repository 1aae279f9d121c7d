"""One checkpoint, layer by layer: its spectra and what they show."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from fnmatch import fnmatchcase
from functools import partial
from typing import Any

from spectra.backend.memory import Budget, parse_bytes
from spectra.backend.threads import cores, in_order
from spectra.core.catalog import (
    Catalog,
    Checkpoint,
    DenseSource,
    LayerKey,
    LayerSource,
    Quarantined,
)
from spectra.core.errors import Quarantine, UsageError
from spectra.core.events import Observer, Progress
from spectra.core.provenance import version
from spectra.core.text import natural
from spectra.statistics.spectrum.permuted import not_permuted
from spectra.study.metrics import numbers_of
from spectra.study.scan import one_checkpoint, opening
from spectra.study.tensors import named_alike
from spectra.subspaces.permuted import permuted_nbytes
from spectra.subspaces.single import nbytes_of
from spectra.weights.bytes import Opener
from spectra.weights.coverage import coverage
from spectra.weights.stream import TensorReader

__all__ = ["SCHEMA", "inspect_checkpoint", "workers_for"]

SCHEMA = "spectra-inspection/1"

Document = dict[str, Any]


@dataclass(frozen=True, slots=True)
class _Layer:
    key: LayerKey
    source: LayerSource
    base: DenseSource | None
    is_permuted: bool = False

    @property
    def nbytes(self) -> int:
        if self.is_permuted:
            return self.permuted_nbytes
        return nbytes_of(self.key, self.source, base=self.base)

    @property
    def permuted_nbytes(self) -> int:
        return permuted_nbytes(self.key, self.source, base=self.base)


def inspect_checkpoint(
    model: str,
    /,
    *,
    base: str | None = None,
    layers: Sequence[str] = (),
    seed: int | None = None,
    memory: str | int = "4GiB",
    on_event: Observer | None = None,
) -> Document:
    """Return what the spectra of one checkpoint's layers show.

    Parameters
    ----------
    model
        A SOURCE that is one checkpoint.
    base
        Another one, subtracted from full weights; adapters are differences.
    layers
        Globs that layers' or tensors' names must match; all for none.
    seed
        Of the random order of its entries with which each layer is compared;
        None for no comparison.
    memory
        What the process may take.
    on_event
        Told after each layer.

    Raises
    ------
    UsageError
        When `model` or `base` is no single checkpoint, or nothing matches.
    BudgetError
        When a layer does not fit `memory`, before anything is read.
    """
    own, beside = _models(model, base)
    chosen, lacking = _chosen(own, beside, layers)
    models = [own, *([beside] if beside is not None else [])]
    files = {file.path: file for each in models for file in each.files}
    limit = parse_bytes(memory) if isinstance(memory, str) else memory
    if seed is not None:
        chosen = _permuted(chosen, limit)
    workers = workers_for([layer.nbytes for layer in chosen], limit)
    done: list[Document] = []
    lost: list[Quarantined] = []
    with opening(files) as opener:
        work = partial(_inspected, own.id, files, opener, seed)
        for layer, found in in_order(work, chosen, workers=workers):
            if isinstance(found, Quarantined):
                lost.append(found)
            else:
                done.append(found)
            if on_event is not None:
                n = len(done) + len(lost)
                on_event(Progress("inspect", n, len(chosen), layer.key.name))
    return {
        "schema": SCHEMA,
        "version": version(),
        "model": own.id,
        "path": own.path,
        "revision": own.revision,
        "base": None if beside is None else beside.id,
        **({} if seed is None else {"seed": seed}),
        "coverage": _coverage(own, chosen, lacking, lost),
        "layers": done,
        "quarantine": [asdict(each) for each in lost],
    }


def workers_for(needs: Sequence[int], limit: int, /) -> int:
    """Return how many layers may be looked at side by side.

    Parameters
    ----------
    needs
        Bytes of each.
    limit
        What the process may take.

    Raises
    ------
    BudgetError
        When the largest does not even fit alone.
    """
    most = max(needs, default=0)
    for workers in range(cores(), 1, -1):
        if most <= Budget.of_process(limit, workers=workers).nbytes:
            return workers
    Budget.of_process(limit, workers=1).require("the largest layer", most)
    return 1


def _models(
    model: str, base: str | None
) -> tuple[Checkpoint, Checkpoint | None]:
    own = one_checkpoint(model, code="E_MODEL", what="the model")
    if base is None:
        return own, None
    return named_alike(own, one_checkpoint(base, code="E_BASE", what="--base"))


def _chosen(
    own: Checkpoint, base: Checkpoint | None, globs: Sequence[str]
) -> tuple[list[_Layer], list[LayerKey]]:
    """Return the layers that are wanted, and those that the base lacks."""
    chosen, lacking = [], []
    for key, source in own.layers:
        names = [key.name, *(ref.name for ref in source.tensors)]
        if globs and not any(fnmatchcase(n, g) for n in names for g in globs):
            continue
        beside = base.source(key) if base is not None else None
        if not isinstance(source, DenseSource) or base is None:
            chosen.append(_Layer(key, source, None))
        elif isinstance(beside, DenseSource):
            chosen.append(_Layer(key, source, beside))
        else:
            lacking.append(key)
    if not chosen:
        raise UsageError(
            "E_NO_LAYER",
            f"{own.id} has {len(own.layers)} layers, of which none"
            + (f" matches {tuple(globs)}" if globs else " is one of the base"),
            advice="see what it holds: spectra scan SOURCE --json",
        )
    chosen.sort(key=lambda layer: (natural(layer.key.name), layer.key.shape))
    return chosen, lacking


def _permuted(chosen: Sequence[_Layer], limit: int) -> list[_Layer]:
    """Return the layers, those marked whose entries fit the memory."""
    room = Budget.of_process(limit, workers=1).nbytes
    return [
        replace(layer, is_permuted=layer.permuted_nbytes <= room)
        for layer in chosen
    ]


def _inspected(
    model: str, files: Any, opener: Opener, seed: int | None, layer: _Layer
) -> Document | Quarantined:
    key, tensors = layer.key, TensorReader(files, opener)
    order = seed if layer.is_permuted else None
    try:
        numbers = numbers_of(
            key, layer.source, tensors, base=layer.base, seed=order
        )
    except Quarantine as reason:
        return Quarantined(model, key.name, reason.code, reason.detail)
    if order != seed:
        size = f"{layer.permuted_nbytes / 2**20:.0f} MiB"
        numbers |= not_permuted(f"it needs {size}, more than --memory leaves")
    return {
        "name": key.name,
        "kind": "difference" if layer.base is not None else key.kind,
        "shape": list(key.shape),
        **numbers,
    }


def _coverage(
    own: Checkpoint,
    chosen: Sequence[_Layer],
    lacking: Sequence[LayerKey],
    lost: Sequence[Quarantined],
) -> list[Document]:
    """Return what became of every tensor of the checkpoint."""
    wanted = {layer.key for layer in chosen}
    codes = {each.layer: each.code for each in lost}
    reasons: dict[str, tuple[str, str]] = {}
    for key, source in own.layers:
        names = [ref.name for ref in source.tensors]
        if key in lacking:
            reasons |= dict.fromkeys(names, ("skipped", "NOT_IN_BASE"))
        elif key not in wanted:
            reasons |= dict.fromkeys(names, ("skipped", "NOT_ASKED_FOR"))
        elif key.name in codes:
            reasons |= dict.fromkeys(names, ("refused", codes[key.name]))
    return [
        {
            "tensor": row["tensor"],
            **dict(zip(("status", "reason"), found, strict=True)),
        }
        for row in coverage(Catalog((own,), ()))
        for found in [
            reasons.get(row["tensor"], (row["status"], row["reason"]))
        ]
    ]
