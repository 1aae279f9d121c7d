"""The full checkpoints that are merged, tensor by tensor.

What is written has the names, and the papers, of the first of them.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from typing import Any

from spectra.core.catalog import (
    Catalog,
    Checkpoint,
    DenseSource,
    Quarantined,
)
from spectra.core.errors import UsageError
from spectra.core.tensors import REAL_DTYPES, FileRef, TensorRef
from spectra.core.text import printable
from spectra.study.merging.described import described
from spectra.study.scan import scan_sources
from spectra.weights.families import traits
from spectra.weights.folders import Folder
from spectra.weights.formats import RawCheckpoint
from spectra.weights.population import catalog_of

__all__ = ["FullParents", "Tensor", "full_parents_of", "is_full"]

_ENDING = re.compile(r"[./](weight|kernel)$")

_SHOWN = 4
"""Tensors that a refusal names."""


@dataclass(frozen=True, slots=True)
class Tensor:
    """One tensor of the merged checkpoint.

    Attributes
    ----------
    name
        By the population, without a wrapper's prefix.
    own
        As the first parent has it.
    sources
        Where each parent keeps it; of one that is kept, where that is.
    base
        Where the base keeps it; None where nothing is subtracted.
    transposed
        Whether inputs come first.
    kept
        Whose it is, as it is, where it is not merged.
    """

    name: str
    own: TensorRef
    sources: tuple[TensorRef, ...]
    base: TensorRef | None = None
    transposed: bool = False
    kept: str | None = None

    @property
    def size(self) -> int:
        """Return the number of its entries."""
        return self.own.size

    @property
    def refs(self) -> tuple[TensorRef, ...]:
        """Return all that is read for it."""
        return (*((self.base,) if self.base else ()), *self.sources)

    @property
    def is_map(self) -> bool:
        """Return whether it is a matrix, with two sides."""
        shape = self.own.shape
        return len(shape) == 2 and min(shape) > 1


@dataclass(frozen=True, slots=True)
class FullParents:
    """Full checkpoints, and what is made of them.

    Attributes
    ----------
    models
        In the order of their ids.
    base
        What is subtracted; None for nothing.
    tensors
        In the order of the first parent's files.
    left_out
        What some of them hold and the merged one will not.
    folder
        Of the first.
    configs
        Of all, their config.json.
    """

    models: tuple[Checkpoint, ...]
    base: Checkpoint | None
    tensors: tuple[Tensor, ...]
    left_out: tuple[Quarantined, ...]
    folder: Folder
    configs: tuple[Mapping[str, Any], ...]

    @property
    def files(self) -> Mapping[str, FileRef]:
        """Return what every file was when it was scanned, by path."""
        read = [*self.models, *([self.base] if self.base else [])]
        return {file.path: file for model in read for file in model.files}


@dataclass(frozen=True, slots=True)
class _Held:
    """What one checkpoint holds, by the population's names."""

    id: str
    refs: Mapping[str, TensorRef]
    transposed: frozenset[str]

    def form(self, name: str) -> tuple[tuple[int, ...], bool] | None:
        ref = self.refs.get(name)
        return None if ref is None else (ref.shape, name in self.transposed)


def full_parents_of(
    catalog: Catalog, base: str | None, globs: Sequence[str] = (), /
) -> FullParents:
    """Return the full checkpoints of a catalogue, and their tensors.

    Parameters
    ----------
    catalog
        What is merged; the base among it is no parent.
    base
        A SOURCE that is one checkpoint.
    globs
        Of names of tensors; all where empty.

    Raises
    ------
    UsageError
        E_BASE where the base is no single full checkpoint; E_MERGE where
        parents are fewer than two, are not whole, or do not all have what is
        to be merged.
    """
    below = _base(base)
    is_base = {file.path for file in below.files} if below else set()
    models = tuple(
        model
        for model in catalog.models
        if not is_base & {file.path for file in model.files}
    )
    if len(models) < 2:
        raise _refused(
            f"of {len(models)} checkpoints"
            + (" beside the base" if len(models) < len(catalog.models) else "")
            + " nothing can be merged",
            "name two or more",
        )
    left_out = [
        Quarantined(m.id, None, "IS_BASE", "it is the base that is subtracted")
        for m in catalog.models
        if m not in models
    ]
    named = _named([*models, *([below] if below else [])])
    raws = described([*models, *([below] if below else [])])
    held = [
        _held(model, raw) for model, (_, raw) in zip(named, raws, strict=True)
    ]
    parents, under = held[: len(models)], held[len(models) :]
    tensors, others = _tensors(parents, under[0] if under else None, globs)
    return FullParents(
        models,
        below,
        tensors,
        (*left_out, *others),
        raws[0][0],
        tuple(raw.config for _, raw in raws[: len(models)]),
    )


def _base(reference: str | None) -> Checkpoint | None:
    if reference is None:
        return None
    found = scan_sources([reference]).models
    if len(found) != 1 or not is_full(found[0]):
        raise UsageError(
            "E_BASE",
            f"--base {printable(reference)} is no single full checkpoint",
            advice="name the one that all parents were made from",
        )
    return found[0]


def is_full(model: Checkpoint, /) -> bool:
    """Return whether a checkpoint holds no update of any layer."""
    return all(isinstance(source, DenseSource) for _, source in model.layers)


def _named(models: Sequence[Checkpoint]) -> list[Checkpoint]:
    """Return all with the names of layers that they have in common."""
    marked = [replace(m, id=str(i)) for i, m in enumerate(models)]
    found = {m.id: m for m in catalog_of(marked, (), ()).models}
    return [
        replace(found[str(i)], id=model.id) for i, model in enumerate(models)
    ]


def _held(model: Checkpoint, raw: RawCheckpoint) -> _Held:
    if raw.faults:
        fault = raw.faults[0]
        raise _refused(
            f"{printable(model.id)} is not whole: {printable(fault.part, 80)}"
            f" ({fault.code}: {printable(fault.detail)})",
            "mend it, or leave it out",
        )
    names = _names(model, [ref.name for ref in raw.tensors])
    turned = {
        names[source.weight.name]
        for _, source in model.layers
        if isinstance(source, DenseSource) and source.transposed
    }
    refs = {names[ref.name]: ref for ref in raw.tensors}
    return _Held(model.id, refs, frozenset(turned))


def _names(model: Checkpoint, names: Sequence[str]) -> Mapping[str, str]:
    """Return the population's name of each tensor.

    What the population takes away before the names of layers goes from those
    of the other tensors too: the longest prefix that any layer lost.
    """
    modules = {
        _ENDING.sub("", source.weight.name): key.name
        for key, source in model.layers
        if isinstance(source, DenseSource)
    }
    wrappers = {
        module.removesuffix(name)
        for module, name in modules.items()
        if module.endswith(name)
    }
    longest = sorted(wrappers, key=len, reverse=True)
    found = {
        name: name.removeprefix(
            next((w for w in longest if name.startswith(w)), "")
        )
        for name in names
    }
    if len(set(found.values())) < len(found):
        return {name: name for name in names}
    return found


def _tensors(
    parents: Sequence[_Held], base: _Held | None, globs: Sequence[str]
) -> tuple[tuple[Tensor, ...], list[Quarantined]]:
    first = parents[0]
    wanted = {
        name
        for held in parents
        for name, ref in held.refs.items()
        if _is_weight(name, ref) and _matches((name, ref.name), globs)
    }
    if not wanted:
        raise _refused(
            f"{len(parents)} checkpoints hold no weights"
            + (f" that match {tuple(globs)}" if globs else ""),
            "see what they hold: spectra scan SOURCE... --json",
        )
    odd = [
        name
        for name in sorted(wanted)
        if len({held.form(name) for held in (*parents, base) if held}) > 1
    ]
    if odd:
        raise _not_in_all(odd, [*parents, *([base] if base else [])])
    tensors = tuple(
        Tensor(
            name,
            first.refs[name],
            tuple(held.refs[name] for held in parents),
            base.refs[name] if base else None,
            name in first.transposed,
        )
        if name in wanted
        else _kept(name, first, base)
        for name in first.refs
    )
    return tensors, list(_left_out(parents, base))


def _kept(name: str, first: _Held, base: _Held | None) -> Tensor:
    """Return a tensor that is not merged: the base's, or the first one's."""
    own = first.refs[name]
    whose = first
    if base is not None and base.form(name) == first.form(name):
        dtypes = {own.dtype, base.refs[name].dtype}
        whose = base if len(dtypes) == 1 or dtypes <= REAL_DTYPES else first
    turned = name in first.transposed
    return Tensor(name, own, (whose.refs[name],), None, turned, whose.id)


def _left_out(
    parents: Sequence[_Held], base: _Held | None
) -> Iterator[Quarantined]:
    """Yield what is not in the first parent, and so not in the merged one."""
    for held in (*parents[1:], *([base] if base else [])):
        for name, ref in held.refs.items():
            if name not in parents[0].refs:
                yield Quarantined(
                    held.id,
                    ref.name,
                    "NOT_IN_ALL",
                    f"{printable(parents[0].id)} lacks it",
                )


def _is_weight(name: str, ref: TensorRef) -> bool:
    """Return whether a tensor is merged unless it is not asked for."""
    is_real = ref.dtype in REAL_DTYPES and ref.size > 0
    return is_real and not traits(name).bookkeeping


def _matches(names: Sequence[str], globs: Sequence[str]) -> bool:
    return not globs or any(fnmatchcase(n, g) for n in names for g in globs)


def _not_in_all(odd: Sequence[str], held: Sequence[_Held]) -> UsageError:
    shown = "; ".join(
        f"{printable(name, 80)}: {_forms(name, held)}" for name in odd[:_SHOWN]
    )
    more = f"; and {len(odd) - _SHOWN} more" if len(odd) > _SHOWN else ""
    return _refused(
        f"{len(odd)} tensors are not the same kind in all ({shown}{more})",
        "name what is to be merged with --layers GLOB: the rest is kept from"
        f" the base, or from {printable(held[0].id)}",
    )


def _forms(name: str, held: Sequence[_Held]) -> str:
    """Return who holds it in which shape, each shape once."""
    said: dict[str, str] = {}
    for each in held:
        form = each.form(name)
        text = "none"
        if form is not None:
            text = " x ".join(map(str, form[0])) + (
                " (inputs first)" if form[1] else ""
            )
        said.setdefault(text or "scalar", each.id)
    return ", ".join(f"{t} in {printable(i, 60)}" for t, i in said.items())


def _refused(what: str, advice: str) -> UsageError:
    return UsageError("E_MERGE", what, advice=advice)
