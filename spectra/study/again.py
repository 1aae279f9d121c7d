"""A run's layers beside what its members keep of them now."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from spectra.core.catalog import Checkpoint, LayerSource
from spectra.core.errors import IntegrityError
from spectra.core.settings import FitSettings
from spectra.core.text import printable
from spectra.study.scan import scan_sources
from spectra.study.tasks import work_of
from spectra.subspaces.layer import LayerTask
from spectra.subspaces.result import LayerFit, PopulationFit

__all__ = ["Again", "members_again", "require_same"]


@dataclass(frozen=True, slots=True)
class Again:
    """A fitted population as it is found once more.

    Attributes
    ----------
    members
        Its checkpoints, from their headers.
    layers
        (place among the run's layers, where its own members keep it).
    copies
        Where the members keep it that have another's bytes there, for each of
        `layers`.
    """

    members: tuple[Checkpoint, ...]
    layers: tuple[tuple[int, LayerTask], ...]
    copies: tuple[tuple[tuple[int, str, LayerSource], ...], ...]


def members_again(fit: PopulationFit, globs: tuple[str, ...] = (), /) -> Again:
    """Return a run's layers, as its checkpoints lie there now.

    Parameters
    ----------
    fit
        A fitted population whose checkpoints are still where they were.
    globs
        Of layer names; all where empty.

    Raises
    ------
    IntegrityError
        When a checkpoint has other headers than when it was fitted, or is
        broken now.
    UsageError
        When one is gone, or no layer matches.
    """
    catalog = scan_sources([member.path for member in fit.models])
    settings = FitSettings(base=fit.settings["base"], layers=globs)
    work = work_of(catalog, settings)
    known = {member.path: i for i, member in enumerate(fit.models)}
    for member in work.members:
        i = known.get(member.path)
        if i is None or member.fingerprint != fit.models[i].fingerprint:
            raise IntegrityError(
                member.path, "is not the checkpoint that was fitted"
            )
    order = [known[member.path] for member in work.members]
    found = {(t.key.name, t.key.shape, _kind(t)): t for t in work.tasks}
    layers, copies = [], []
    for place, layer in enumerate(fit.layers):
        task = found.get((layer.name, layer.shape, layer.kind))
        if task is not None:
            copied = [copy for copy, _ in layer.duplicates]
            layers.append((place, _of(layer.members, task, order)))
            copies.append(_of(copied, task, order).holders)
    return Again(catalog.models, tuple(layers), tuple(copies))


def require_same(
    layer: LayerFit, found: Sequence[str], base: str | None, /
) -> None:
    """Refuse other bytes than those that were fitted: their sums are wrong.

    Parameters
    ----------
    layer
        As it was fitted.
    found, base
        Digests of its members' bytes, and of the base's, as they are now.

    Raises
    ------
    IntegrityError
        When one of them is another.
    """
    if (tuple(found), base) != (layer.digests, layer.base_digest):
        raise IntegrityError(
            printable(layer.name), "is not made of the bytes that were fitted"
        )


def _kind(task: LayerTask) -> str:
    return "difference" if task.base is not None else task.key.kind


def _of(
    members: Sequence[int], task: LayerTask, order: list[int]
) -> LayerTask:
    """Return the task with these members alone, numbered as in the run."""
    held = {order[i]: (order[i], name, s) for i, name, s in task.holders}
    missing = [i for i in members if i not in held]
    if missing:
        raise IntegrityError(
            task.key.name, f"is gone from {len(missing)} members"
        )
    return replace(task, holders=tuple(held[i] for i in members))
