"""Full checkpoints merged into one, piece by piece, for transformers."""

import json
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, closing
from dataclasses import dataclass, replace
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from spectra.apply.merging.dense import Rule
from spectra.apply.merging.trimming import BINS, Counts, Digits, least_kept
from spectra.backend.threads import in_order
from spectra.core.catalog import Catalog, DenseSource, LayerKey
from spectra.core.errors import Quarantine, UsageError
from spectra.core.events import Observer, Progress
from spectra.core.tensors import REAL_DTYPES
from spectra.core.text import printable
from spectra.hub.files import HubFiles
from spectra.report.merge_card import merge_card
from spectra.store.shards import INDEX, Shard, index_of
from spectra.store.tensorfile import write_pieces
from spectra.study.inspection import workers_for
from spectra.study.merging.asked import Wanted
from spectra.study.merging.export import exporting
from spectra.study.merging.full_document import (
    Sums,
    base_name,
    document_of,
    metadata_of,
)
from spectra.study.merging.full_folder import CARD, FullFolder
from spectra.study.merging.full_parents import FullParents, Tensor
from spectra.study.merging.full_plan import FullPlan, bytes_of, full_plan_of
from spectra.study.merging.full_tensors import (
    Made,
    Making,
    Unit,
    made_nbytes,
    units_of,
)
from spectra.study.merging.papers import papers_of
from spectra.study.reading import reading_of
from spectra.study.scan import opening
from spectra.subspaces.layer import LayerTask
from spectra.weights.bytes import Opener

__all__ = ["merge_full"]

Document = dict[str, Any]


@dataclass(frozen=True, slots=True)
class _Task:
    """The work, and how much of it is done side by side."""

    making: Making
    units: Sequence[Unit]
    workers: int
    on_event: Observer | None

    def told(self, stage: str, done: int, total: int, name: str) -> None:
        if self.on_event is not None:
            self.on_event(Progress(stage, done, total, name))


def merge_full(
    catalog: Catalog,
    folder: Path,
    wanted: Wanted,
    /,
    *,
    on_event: Observer | None = None,
) -> Document:
    """Write the checkpoint that full checkpoints come to, and what it is.

    Parameters
    ----------
    catalog
        The parents; they are taken in the order of their ids.
    folder
        Where it is written, as transformers reads it, with a model card.
    wanted
        How.
    on_event
        Told after each piece.

    Raises
    ------
    UsageError
        E_METHOD, E_BASE, E_MERGE or E_OUTPUT, before a weight is read;
        E_MERGE too where a parent's numbers cannot be used.
    BudgetError
        When a tensor does not fit `memory`, before anything is read.
    StorageError
        When it cannot be written.
    """
    plan = full_plan_of(catalog, wanted)
    parents = plan.parents
    with opening(parents.files) as opener, _export(plan, wanted):
        papers = _papers(parents, opener)
        place = FullFolder(folder, plan.shards, papers)
        place.check({*parents.files, *parents.folder.files.values()})
        task = _task(plan, opener, wanted.memory, on_event)
        if isinstance(opener, HubFiles):
            opener.fetch(_whole(parents), on_event=on_event)
        task = _with_least(task)
        rules = _rules(task, parents.tensors)
        with place.drafts() as drafts:
            with closing(_each(task, rules)) as made:
                sums = _written(plan, task, made, drafts)
            document = document_of(plan, folder, papers, sums)
            for name, content in papers.items():
                drafts[name].write_bytes(content)
            if INDEX in drafts:
                index = json.dumps(index_of(plan.shards), indent=2)
                drafts[INDEX].write_text(index, "utf-8")
            drafts[CARD].write_text(
                merge_card(document, base_name(plan)), "utf-8"
            )
    return document


def _export(plan: FullPlan, wanted: Wanted) -> AbstractContextManager[None]:
    if wanted.mergekit is not None and wanted.layers:
        raise UsageError(
            "E_METHOD",
            "mergekit merges every tensor: --layers has no counterpart",
            advice="leave --mergekit out",
        )
    dtypes = {each.dtype for each in plan.planned} & REAL_DTYPES
    return exporting(
        wanted.mergekit,
        plan.choice,
        plan.parents.models,
        base=plan.parents.base,
        dtype=dtypes.pop() if len(dtypes) == 1 else None,
    )


def _papers(parents: FullParents, opener: Opener) -> Mapping[str, bytes]:
    try:
        return dict(papers_of(parents.folder, opener))
    except Quarantine as fault:
        raise UsageError(
            "E_MERGE",
            f"the papers of {printable(parents.models[0].id)} cannot be read"
            f" ({fault.code}: {printable(fault.detail)})",
            advice="mend them",
        ) from fault


def _task(
    plan: FullPlan,
    opener: Opener,
    memory: str | int,
    on_event: Observer | None,
) -> _Task:
    parents = plan.parents
    making = Making(
        plan.choice,
        [model.id for model in parents.models],
        parents.files,
        opener,
        plan.planned,
    )
    units = units_of(parents.tensors, making)
    needs = [made_nbytes(unit, making) for unit in units]
    return _Task(making, units, workers_for(needs, bytes_of(memory)), on_event)


def _whole(parents: FullParents) -> Any:
    """Return the files of a hub that are worth fetching whole."""
    return reading_of(
        LayerTask(
            LayerKey(tensor.name, (1, tensor.size), "dense"),
            "",
            tuple((i, "", DenseSource(r)) for i, r in enumerate(tensor.refs)),
            parents.files,
        )
        for tensor in parents.tensors
    ).whole


def _with_least(task: _Task) -> _Task:
    """Return the task, knowing which entries of each parent are kept.

    Where all tensors are trimmed together these are counted first, as often
    as the bits of their magnitudes ask for.
    """
    making, units = task.making, task.units
    if not making.choice.is_of_model:
        return task
    n, wanted = len(making.ids), [u for u in units if making.trims(u.tensor)]

    def count(digits: Digits) -> Counts:
        found = np.zeros((n, BINS), np.int64)
        work = partial(making.counted, digits)
        counting = in_order(work, wanted, workers=task.workers)
        for done, (unit, counts) in enumerate(counting, start=1):
            found += counts
            task.told("trim", done, len(wanted), unit.tensor.name)
        return found

    least = least_kept(count, n, making.choice.options["density"])
    return replace(task, making=replace(making, least=least))


def _rules(task: _Task, tensors: Sequence[Tensor]) -> list[Rule | None]:
    """Return how each tensor's entries are merged."""
    finding = in_order(task.making.rule, tensors, workers=task.workers)
    return [rule for _, rule in finding]


def _each(
    task: _Task, rules: Sequence[Rule | None]
) -> Generator[tuple[Unit, Made], None, None]:
    def work(unit: Unit) -> Made:
        return task.making.made(unit, rules[unit.number])

    total = len(task.units)
    merging = in_order(work, task.units, workers=task.workers)
    for done, (unit, made) in enumerate(merging, start=1):
        task.told("merge", done, total, unit.tensor.name)
        yield unit, made


def _written(
    plan: FullPlan,
    task: _Task,
    made: Iterator[tuple[Unit, Made]],
    drafts: Mapping[str, Path],
) -> Sums:
    """Write the weights as they come."""
    sums = Sums([0.0] * len(plan.planned))

    def pieces(shard: Shard) -> Iterator[Any]:
        count = sum(unit.number in shard.numbers for unit in task.units)
        for unit, each in islice(made, count):
            sums.add(unit, each)
            yield each.content

    for shard in plan.shards:
        with drafts[shard.name].open("wb") as file:
            write_pieces(
                file, shard.tensors, pieces(shard), metadata=metadata_of(plan)
            )
    return sums
