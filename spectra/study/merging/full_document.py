"""What a merge of full checkpoints says of itself."""

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from spectra.apply.merging.dense import FULL
from spectra.core.provenance import version
from spectra.core.text import printable
from spectra.hub.files import is_remote
from spectra.study.merging.asked import SCHEMA
from spectra.study.merging.full_plan import FullPlan
from spectra.study.merging.full_tensors import Made, Unit
from spectra.study.merging.papers import code_named
from spectra.study.merging.words import model_rows, notes_of

__all__ = ["Sums", "base_name", "document_of", "metadata_of"]

_SAID = ("architectures", "id2label", "model_type", "vocab_size")
"""Entries of config.json that say what the weights are for."""

Document = dict[str, Any]


@dataclass(slots=True)
class Sums:
    """Sums of squares over what was made so far.

    Attributes
    ----------
    squares
        Of what was added to the base, tensor by tensor.
    moved
        As of `~spectra.study.merging.full_tensors.Made`.
    """

    squares: list[float]
    moved: Any = 0.0

    def add(self, unit: Unit, made: Made, /) -> None:
        """Take one more unit into account."""
        self.squares[unit.number] += made.square
        self.moved = self.moved + made.moved


def metadata_of(plan: FullPlan, /) -> dict[str, str]:
    """Return what stands in the header of every file of weights."""
    parents = plan.parents
    members = [{"id": m.id, "revision": m.revision} for m in parents.models]
    base = parents.base
    return {
        "format": "pt",
        "schema": SCHEMA,
        "method": plan.choice.method.name,
        "options": json.dumps(plan.choice.options),
        "members": json.dumps(members),
        **({"base": base.id} if base else {}),
    }


def document_of(
    plan: FullPlan, folder: Path, papers: Mapping[str, bytes], sums: Sums, /
) -> Document:
    """Return what ``spectra merge --json`` prints.

    Parameters
    ----------
    plan
        What was done.
    folder
        Where it was written.
    papers
        What was copied from the first parent.
    sums
        Of all units.
    """
    parents, method = plan.parents, plan.choice.method
    base = parents.base
    models = model_rows(parents.models, plan.choice)
    *moved, size = sums.moved
    for row, square in zip(models, moved, strict=True):
        row["moved"] = math.sqrt(square / size) if size else None
    return {
        "schema": SCHEMA,
        "version": version(),
        "path": str(folder),
        "method": method.name,
        "cite": method.cite,
        "note": method.note,
        "options": dict(plan.choice.options),
        "axes": None,
        "rank": None,
        "dtype": plan.dtype,
        "models": models,
        "base": base
        and {"id": base.id, "revision": base.revision, "path": base.path},
        "averages_vectors": FULL[method.name].takes_maps,
        "error": None,
        "interference": None,
        "layers": _rows(plan, sums),
        "files": [*(shard.name for shard in plan.shards), *papers],
        "nbytes": sum(each.nbytes for each in plan.planned),
        "notes": _notes(plan, papers),
        "kept": [
            {"id": tensor.kept, "tensor": tensor.own.name}
            for tensor in parents.tensors
            if tensor.kept is not None
        ],
        "left_out": [asdict(each) for each in parents.left_out],
        "quarantine": [asdict(each) for each in plan.catalog.quarantine],
    }


def base_name(plan: FullPlan, /) -> str | None:
    """Return the base model as a card names it, where it is known."""
    parents = plan.parents
    claims = {model.base_claim for model in parents.models}
    if len(claims) == 1 and None not in claims:
        return claims.pop()
    place = parents.base.path if parents.base else ""
    if is_remote(place):
        return place.removeprefix("hf://").partition("@")[0]
    return None


def _rows(plan: FullPlan, sums: Sums) -> list[Document]:
    return [
        {
            "name": tensor.name,
            "tensor": tensor.own.name,
            "shape": list(tensor.own.shape),
            "dtype": place.dtype,
            "norm": math.sqrt(square),
        }
        for tensor, place, square in zip(
            plan.parents.tensors, plan.planned, sums.squares, strict=True
        )
        if tensor.kept is None
    ]


def _notes(plan: FullPlan, papers: Mapping[str, bytes]) -> list[str]:
    parents = plan.parents
    notes = notes_of(parents.models, plan.choice)
    differ = [
        key
        for key in _SAID
        if len({_text(each.get(key)) for each in parents.configs}) > 1
    ]
    first = printable(parents.models[0].id)
    if differ:
        notes.append(
            f"the parents' configurations differ in {', '.join(differ)};"
            f" those of {first} are there"
        )
    named = code_named(papers)
    if named:
        notes.append(
            f"{', '.join(named)} of {first} asks for code of its own, which"
            " was not copied"
        )
    return notes


def _text(value: Any) -> str:
    return json.dumps(value, sort_keys=True)
