"""A checkpoint that was not in the fit, beside the members of a run."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from typing import Any

from spectra.apply.projection.layer import layer_document, place
from spectra.apply.projection.whole import (
    Part,
    kin_of,
    part_of,
    whole_document,
)
from spectra.apply.projection.words import verdict
from spectra.backend.memory import Budget, parse_bytes
from spectra.backend.threads import in_order
from spectra.core.catalog import Checkpoint, LayerSource, Quarantined
from spectra.core.errors import BudgetError, Quarantine, UsageError
from spectra.core.events import Observer, Tally
from spectra.core.places import cache_folder
from spectra.core.provenance import version
from spectra.core.settings import OverlapSettings
from spectra.core.text import printable
from spectra.hub.files import HubFiles
from spectra.statistics.each_layer import check
from spectra.statistics.kinship.groups import start_thresholds
from spectra.statistics.kinship.population import Groupings, groupings_of
from spectra.statistics.kinship.relations import relate
from spectra.statistics.model_axis.findings import levels_of
from spectra.study.again import Again, members_again, require_same
from spectra.study.inspection import workers_for
from spectra.study.reading import reading_of
from spectra.study.scan import one_checkpoint, opening
from spectra.subspaces.layer import LayerTask
from spectra.subspaces.newcomer import Room, meet, meeting_cost
from spectra.subspaces.result import LayerFit, PopulationFit
from spectra.weights.ids import unique_ids
from spectra.weights.population import catalog_of, identity

__all__ = ["SCHEMA", "project_checkpoint"]

SCHEMA = "spectra-projection/1"

Document = dict[str, Any]


@dataclass(frozen=True, slots=True)
class _Meeting:
    """What of a run and a newcomer is brought together.

    Attributes
    ----------
    tasks
        (place of a layer in the run, its members with the newcomer last).
    only_in_run, only_in_model
        Names of layers that the other has not.
    """

    fit: PopulationFit
    own: Checkpoint
    groupings: Groupings
    settings: OverlapSettings
    tasks: tuple[tuple[int, LayerTask], ...]
    only_in_run: tuple[str, ...]
    only_in_model: tuple[str, ...]


def project_checkpoint(  # noqa: PLR0913 - one a question
    fit: PopulationFit,
    model: str,
    /,
    *,
    k: Sequence[int] = (),
    layers: Sequence[str] = (),
    memory: str | int = "4GiB",
    workers: int = 0,
    on_event: Observer | None = None,
) -> Document:
    """Return where a checkpoint lies among the members of a run.

    Members are read once more, blockwise, for their inner products with it.

    Parameters
    ----------
    fit
        A fitted population whose checkpoints are still where they were.
    model
        A SOURCE that is one checkpoint.
    k
        Levels to report besides 1, 4 and 16.
    layers
        Globs of layer names; all for none.
    memory
        What the process may take.
    workers
        Layers at the same time; 0 for as many as there are cores and fit.
    on_event
        Told after each layer.

    Raises
    ------
    UsageError
        When `model` is no single checkpoint, or has no layer of the run.
    IntegrityError
        When a member is not what it was when it was fitted.
    BudgetError
        When a layer does not fit `memory`, before anything is read.
    StorageError
        When members fit neither the memory nor the disk.
    """
    settings = OverlapSettings(k=tuple(k), layers=tuple(layers))
    check(settings)
    own = one_checkpoint(model, code="E_MODEL", what="the model")
    meeting = _meeting(fit, own, settings)
    tasks = [task for _, task in meeting.tasks]
    limit = parse_bytes(memory) if isinstance(memory, str) else memory
    at_once = _workers(tasks, limit, workers)
    paths = {path for task in tasks for path in task.files}
    with opening(paths) as opener:
        if isinstance(opener, HubFiles):
            opener.fetch(reading_of(tasks).whole, on_event=on_event)
        nbytes = Budget.of_process(limit, workers=at_once).nbytes
        room = Room(nbytes, cache_folder() / "spill", opener)
        found, lost = _each(meeting, room, at_once, on_event)
    return _document(meeting, found, lost)


def _meeting(
    fit: PopulationFit, own: Checkpoint, settings: OverlapSettings
) -> _Meeting:
    again = members_again(fit, settings.layers)
    sources = _sources(own, again)
    places = {place for place, _ in again.layers}
    tasks = tuple(
        (place, _with(own, sources[place], task))
        for place, task in again.layers
        if place in sources
    )
    if not tasks:
        raise UsageError(
            "E_NO_LAYER",
            f"{own.id} has {len(own.layers)} layers, of which none is one of"
            f" the run's {len(places)}, by name, shape and kind",
            advice="name a checkpoint of the population's architecture; an"
            " adapter for a run of adapters, full weights for one of these",
        )
    met = {source.tensors for source in sources.values()}
    return _Meeting(
        fit=fit,
        own=own,
        groupings=_groupings(fit, settings),
        settings=settings,
        tasks=tasks,
        only_in_run=tuple(
            fit.layers[place].name for place in sorted(places - set(sources))
        ),
        only_in_model=tuple(
            key.name for key, s in own.layers if s.tensors not in met
        ),
    )


def _sources(own: Checkpoint, again: Again) -> dict[int, LayerSource]:
    """Return where the newcomer keeps each layer of the run that it has.

    Names of layers are those that a population has in common, and a newcomer
    may change them: layers are known by the tensors of a member.
    """
    ids = unique_ids([*((m.id,) for m in again.members), (own.id,)])
    marked = replace(own, id=ids[-1])
    together = catalog_of((*again.members, marked), (), ()).models
    keys = {
        source.tensors: key
        for model in together
        if model.id != marked.id
        for key, source in model.layers
    }
    (mine,) = (dict(m.layers) for m in together if m.id == marked.id)
    return {
        place: mine[key]
        for place, task in again.layers
        if (key := keys[task.holders[0][2].tensors]) in mine
    }


def _with(own: Checkpoint, source: LayerSource, task: LayerTask) -> LayerTask:
    files: Mapping[str, Any] = {file.path: file for file in own.files}
    return replace(
        task,
        holders=(*task.holders, (-1, own.id, source)),
        files={**task.files, **files},
        beside=None,
    )


def _groupings(fit: PopulationFit, settings: OverlapSettings) -> Groupings:
    relations = relate(fit.layers, len(fit.models), start_thresholds(settings))
    return groupings_of(fit.models, relations, settings)


def _workers(tasks: Sequence[LayerTask], limit: int, asked: int) -> int:
    """Return how many layers at a time; on the disk what does not fit.

    Raises
    ------
    BudgetError
        When the largest does not even fit so.
    """
    try:
        most = workers_for([meeting_cost(t).nbytes for t in tasks], limit)
    except BudgetError:
        most = workers_for([meeting_cost(t, 0).nbytes for t in tasks], limit)
    return min(most, asked) if asked else most


def _each(
    meeting: _Meeting, room: Room, workers: int, on_event: Observer | None
) -> tuple[list[tuple[Document, Part]], list[Quarantined]]:
    found: list[tuple[Document, Part]] = []
    lost: list[Quarantined] = []
    sizes = [task.nbytes for _, task in meeting.tasks]
    tally = Tally(on_event, "project", len(sizes), sum(sizes))
    work = partial(_projected, meeting, room)
    for (_, task), one in in_order(work, meeting.tasks, workers=workers):
        if isinstance(one, Quarantined):
            lost.append(one)
        else:
            found.append(one)
        tally.tell(task.key.name, task.nbytes)
    return found, lost


def _projected(
    meeting: _Meeting, room: Room, task: tuple[int, LayerTask]
) -> tuple[Document, Part] | Quarantined:
    layer: LayerFit = meeting.fit.layers[task[0]]
    fit, settings = meeting.fit, meeting.settings
    try:
        newcomer = meet(task[1], layer, room)
        require_same(layer, newcomer.digests, newcomer.base_digest)
        placed = place(layer, newcomer, meeting.groupings, settings)
    except Quarantine as reason:
        return Quarantined(
            meeting.own.id, layer.name, reason.code, reason.detail
        )
    learned = layer.kind != "dense" or fit.started_from_zero
    document = layer_document(
        layer, newcomer, placed, meeting.groupings.ids, settings,
        learned_mean=learned,
    )  # fmt: skip
    part = part_of(
        layer, placed, levels_of(settings), len(fit.models),
        learned_mean=learned,
    )  # fmt: skip
    return document, part


def _document(
    meeting: _Meeting,
    found: Sequence[tuple[Document, Part]],
    lost: Sequence[Quarantined],
) -> Document:
    own, settings = meeting.own, meeting.settings
    return {
        "schema": SCHEMA,
        "version": version(),
        "model": own.id,
        "path": own.path,
        "revision": own.revision,
        "settings": {
            "k": list(levels_of(settings)), "layers": list(settings.layers),
        },
        "n_models": len(meeting.fit.models),
        "n_common": len(meeting.tasks),
        "only_in_run": list(meeting.only_in_run),
        "only_in_model": list(meeting.only_in_model),
        **_together(meeting, [part for _, part in found]),
        "layers": [document for document, _ in found],
        "quarantine": [asdict(each) for each in lost],
    }  # fmt: skip


def _together(meeting: _Meeting, parts: Sequence[Part]) -> Document:
    """Return what all layers say, nothing where none could be read."""
    own, ids = meeting.own, meeting.groupings.ids
    where = identity(own.path)
    member = [m.id for m in meeting.fit.models if identity(m.path) == where]
    if not parts:
        return {
            "member": member[0] if member else None,
            "copies": [], "related": [], "nearest": [], "whole": None,
            "word": None, "k": None,
            "text": f"no layer of {printable(own.id)} could be used",
        }  # fmt: skip
    kin = kin_of(parts, meeting.settings)
    whole = whole_document(parts, levels_of(meeting.settings))
    return {
        "member": member[0] if member else None,
        "copies": [ids[i] for i in kin.copies],
        "related": kin.named(kin.related, ids),
        "nearest": kin.named(kin.nearest, ids),
        "whole": whole,
        **verdict(
            own.id, whole, kin, ids, meeting.settings, is_member=bool(member)
        ),
    }
