"""What the documents of all merges say of the parents."""

from collections.abc import Sequence
from typing import Any

from spectra.apply.merging.choice import Choice
from spectra.core.catalog import Checkpoint
from spectra.core.text import printable

__all__ = ["model_rows", "notes_of"]

Document = dict[str, Any]


def model_rows(
    models: Sequence[Checkpoint], choice: Choice, /
) -> list[Document]:
    """Return a row for each parent, with its weight where it has one."""
    weights = choice.options.get("weights") or [None] * len(models)
    return [
        {
            "id": model.id, "revision": model.revision, "path": model.path,
            "license": model.license, "base_claim": model.base_claim,
            "weight": weight,
        }
        for model, weight in zip(models, weights, strict=True)
    ]  # fmt: skip


def notes_of(models: Sequence[Checkpoint], choice: Choice, /) -> list[str]:
    """Return what whoever uses a merge of these should know."""
    notes = []
    found = choice.coincides(len(models))
    if found is not None:
        notes.append(found)
    if len({model.base_claim for model in models}) > 1:
        notes.append(
            "the parents do not name one base model: updates of different"
            " models do not add up to anything"
        )
    licenses = {model.license for model in models}
    if len(licenses) > 1 or None in licenses:
        notes.append(
            "the parents' licences differ or are not known: whoever shares"
            " what was merged has to meet all of them"
        )
    notes += [
        f"{printable(model.id)} has the bytes of"
        f" {printable(model.duplicate_of)}, and counts beside it"
        for model in models
        if model.duplicate_of is not None
    ]
    return notes
