"""Checkpoints as one population: what they share, and which come to it."""

import os
from collections.abc import Iterable
from dataclasses import replace
from pathlib import PurePath

from spectra.core.catalog import Catalog, Checkpoint, Quarantined
from spectra.core.text import natural
from spectra.weights.duplicates import duplicates
from spectra.weights.grouping import group
from spectra.weights.ids import unique_ids
from spectra.weights.prefixes import without_unknown_prefixes

__all__ = ["REMOTE", "catalog_of", "identity", "joined"]

REMOTE = "hf://"
"""How the paths of a hub's files begin."""


def identity(path: str, /) -> str:
    """Return what two checkpoints have in common that are one."""
    return path if path.startswith(REMOTE) else os.path.realpath(path)


def catalog_of(
    models: Iterable[Checkpoint],
    quarantine: Iterable[Quarantined],
    sources: tuple[str, ...],
    /,
) -> Catalog:
    """Return checkpoints with common names, copies marked, in groups.

    They are put in the order of their ids, so that results do not depend on
    that of the sources.
    """
    ordered = sorted(models, key=lambda m: (natural(m.id), m.id))
    unified = without_unknown_prefixes(tuple(ordered))
    earlier = duplicates(unified)
    marked = [
        replace(model, duplicate_of=earlier.get(model.id)) for model in unified
    ]
    grouped, architectures = group(marked)
    aside = sorted(quarantine, key=_place_of)
    return Catalog(grouped, architectures, tuple(aside), sources)


def _place_of(record: Quarantined) -> tuple[object, ...]:
    return natural(record.id), record.layer or "", record.code, record.detail


def joined(held: Catalog, found: Catalog, /) -> Catalog:
    """Return the catalogue of both, what is in both once.

    Parameters
    ----------
    held
        Comes first, and keeps its ids.
    found
        What is added to it. A checkpoint of an id that is taken gets a longer
        one, from the folders above it.

    Returns
    -------
    Catalog
        As one scan would have found it; `held` itself where no sound
        checkpoint is new.
    """
    known = {_content(model): model.id for model in held.models}
    new = [m for m in found.models if _content(m) not in known]
    if not new:
        return held
    mended = _mended(held, new)
    kept = [q for q in held.quarantine if q.id not in mended]
    more = [q for q in found.quarantine if q not in held.quarantine]
    taken = dict.fromkeys((*known.values(), *(q.id for q in kept)))
    lost = [i for i in _lost(found) if any(q.id == i for q in more)]
    names = unique_ids(
        [*((i,) for i in taken), *map(_names, new), *((i,) for i in lost)]
    )[len(taken) :]
    now = dict(zip((*(m.id for m in new), *lost), names, strict=True))
    now |= {
        model.id: known[_content(model)]
        for model in found.models
        if _content(model) in known
    }
    return catalog_of(
        (*held.models, *(replace(model, id=now[model.id]) for model in new)),
        (*kept, *(replace(q, id=now.get(q.id, q.id)) for q in more)),
        tuple(dict.fromkeys((*held.sources, *found.sources))),
    )


def _content(model: Checkpoint) -> object:
    """Return what two findings of one checkpoint have in common.

    On a hub a commit may change the card alone.
    """
    tags = tuple(file.etag for file in model.files)
    if not model.path.startswith(REMOTE) or None in tags:
        return identity(model.path)
    return model.path.replace(f"@{model.revision}", "", 1), tags


def _mended(held: Catalog, new: Iterable[Checkpoint]) -> set[str]:
    """Return the ids of what was broken, and is sound where it lay.

    A local one of that id counts beside others of `held` alone: elsewhere it
    is another checkpoint.
    """
    beside = {PurePath(model.path).parent for model in held.models}
    return set(_lost(held)) & {
        model.id
        for model in new
        if model.path.startswith(REMOTE)
        or PurePath(model.path).parent in beside
    }


def _lost(catalog: Catalog) -> tuple[str, ...]:
    """Return the ids of which nothing was sound."""
    sound = {model.id for model in catalog.models}
    ids = dict.fromkeys(record.id for record in catalog.quarantine)
    return tuple(i for i in ids if i not in sound)


def _names(model: Checkpoint) -> tuple[str, ...]:
    """Return its id, and the id with more and more folders before it."""
    if model.path.startswith(REMOTE):
        return model.id, f"{model.id}@{(model.revision or '')[:7]}"
    above = PurePath(model.path).parts[1 : -1 - model.id.count("/")]
    longer = ["/".join((*above[-n:], model.id)) for n in range(1, len(above))]
    return model.id, *longer
