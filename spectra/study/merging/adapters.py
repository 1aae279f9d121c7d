"""Adapters merged into one, layer by layer, and written for PEFT."""

import json
import math
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from spectra.apply.merging.choice import Choice, chosen
from spectra.apply.merging.config import differing, merged_config
from spectra.backend.memory import parse_bytes
from spectra.backend.threads import in_order
from spectra.core.catalog import Catalog, Quarantined
from spectra.core.errors import UsageError
from spectra.core.events import Observer, Tally
from spectra.core.provenance import version
from spectra.hub.files import HubFiles
from spectra.report.merge_card import merge_card
from spectra.store.atomic import replacing
from spectra.store.outputs import check_folder
from spectra.store.tensorfile import write_tensors
from spectra.study.inspection import workers_for
from spectra.study.merging.asked import (
    DTYPES,
    SCHEMA,
    Wanted,
    is_merged,
    require_dtype,
)
from spectra.study.merging.export import exporting
from spectra.study.merging.interference import interference_of
from spectra.study.merging.module import (
    How,
    Made,
    layer_nbytes,
    merged,
    planned,
)
from spectra.study.merging.parents import Parents, parents_of
from spectra.study.merging.trimming import least_of_model
from spectra.study.merging.words import model_rows, notes_of
from spectra.study.reading import reading_of
from spectra.study.scan import opening

__all__ = ["merge_adapters"]

_WEIGHTS = "adapter_model.safetensors"
_CONFIG = "adapter_config.json"
_CARD = "README.md"
_FILES = (_CARD, _CONFIG, _WEIGHTS)

_ROUNDING = 1e-9
"""An error of less is no loss of the rank."""

Document = dict[str, Any]
Numbers = NDArray[Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Plan:
    """What a merge will do, known before any weight is read.

    Attributes
    ----------
    is_part
        Whether parents hold more than what is merged.
    interference
        Whether that of the parents is measured too.
    """

    catalog: Catalog
    folder: Path
    parents: Parents
    choice: Choice
    rank: int
    dtype: str
    is_part: bool
    interference: bool

    @property
    def paths(self) -> frozenset[str]:
        """Return the files that are read."""
        tasks = self.parents.tasks
        return frozenset(path for task in tasks for path in task.files)


def merge_adapters(
    catalog: Catalog,
    folder: Path,
    wanted: Wanted,
    /,
    *,
    on_event: Observer | None = None,
) -> Document:
    """Write the adapter that some adapters come to, and say what it is.

    Parameters
    ----------
    catalog
        The adapters; they are taken in the order of their ids.
    folder
        Where it is written, as PEFT reads it, with a model card.
    wanted
        How.
    on_event
        Told after each module.

    Raises
    ------
    UsageError
        E_METHOD, E_MERGE or E_OUTPUT, before a weight is read; E_MERGE too
        where nothing is left to write, or it does not fit the dtype.
    BudgetError
        When a module does not fit `memory`, before anything is read.
    StorageError
        When it cannot be written; each file there is the old or the new.
    """
    plan = _plan(catalog, folder, wanted)
    workers = _workers(plan, wanted.memory)
    tasks = plan.parents.tasks
    with (
        opening(plan.paths) as opener,
        exporting(wanted.mergekit, plan.choice, plan.parents.models),
        ExitStack() as until_all_are_written,
    ):
        if isinstance(opener, HubFiles):
            opener.fetch(reading_of(tasks).whole, on_event=on_event)
        how = How(
            plan.choice, plan.rank, plan.dtype, opener, plan.interference
        )
        least = least_of_model(how, tasks, workers, on_event=on_event)
        how = replace(how, least=least)
        # Renamed in the opposite order: the weights, by which a folder is
        # known to be ours, come first.
        drafts = {
            name: until_all_are_written.enter_context(replacing(folder / name))
            for name in _FILES
        }
        made = _each(plan, how, workers, on_event)
        done, lost = _write_weights(drafts[_WEIGHTS], plan, how, made)
        config = _config(plan, [each.row["name"] for each in done])
        document = _document(plan, done, lost)
        card = merge_card(document, config["base_model_name_or_path"])
        drafts[_CONFIG].write_text(json.dumps(config, indent=2), "utf-8")
        drafts[_CARD].write_text(card, "utf-8")
    return document


def _plan(catalog: Catalog, folder: Path, wanted: Wanted) -> _Plan:
    ids = [model.id for model in catalog.models]
    choice = chosen(wanted.method, wanted.options, ids)
    _require_sound(wanted)
    parents = parents_of(catalog, wanted.layers)
    plan = _Plan(
        catalog=catalog,
        folder=folder,
        parents=parents,
        choice=choice,
        rank=wanted.rank or parents.rank,
        dtype=wanted.dtype or _common(parents.dtypes),
        is_part=bool(wanted.layers or parents.left_out),
        interference=wanted.interference,
    )
    check_folder(
        folder, _FILES, mark=_WEIGHTS, is_ours=is_merged, inputs=plan.paths
    )
    return plan


def _require_sound(wanted: Wanted) -> None:
    rank = wanted.rank
    require_dtype(wanted.dtype)
    if rank is not None and rank < 1:
        raise UsageError("E_METHOD", f"--rank {rank} is not 1 or more")


def _common(dtypes: frozenset[str]) -> str:
    (first, *others) = dtypes
    return first if not others and first in DTYPES else "F32"


def _workers(plan: _Plan, memory: str | int) -> int:
    limit = parse_bytes(memory) if isinstance(memory, str) else memory
    tasks = plan.parents.tasks
    needs = [
        layer_nbytes(
            task, plan.choice, looks_at_interference=plan.interference
        )
        for task in tasks
    ]
    return workers_for(needs, limit)


def _each(
    plan: _Plan, how: How, workers: int, on_event: Observer | None
) -> Iterator[Made | list[Quarantined]]:
    parents = plan.parents
    both = list(zip(parents.modules, parents.tasks, strict=True))
    nbytes = sum(task.nbytes for task in parents.tasks)
    tally = Tally(on_event, "merge", len(both), nbytes)
    merging = in_order(partial(merged, how), both, workers=workers)
    for (module, task), made in merging:
        yield made
        tally.tell(module.name, task.nbytes)


def _write_weights(
    path: Path, plan: _Plan, how: How, made: Iterable[Made | list[Quarantined]]
) -> tuple[list[Made], list[Quarantined]]:
    """Write merged modules as they come; return what else is known of them.

    And of those that could not be, why.
    """
    done: list[Made] = []
    lost: list[Quarantined] = []

    def tensors() -> Iterator[tuple[str, NDArray[Any]]]:
        for one in made:
            if isinstance(one, Made):
                done.append(replace(one, tensors=()))
                yield from one.tensors
            else:
                lost.extend(one)

    modules = plan.parents.modules
    with path.open("wb") as file:
        write_tensors(
            file,
            [each for module in modules for each in planned(module, how)],
            tensors(),
            metadata=_metadata(plan),
        )
    if not done:
        raise UsageError(
            "E_MERGE",
            f"of {len(modules)} layers none can be used"
            f" ({', '.join(sorted({each.code for each in lost}))})",
            advice="see docs/codes.md",
        )
    return done, lost


def _metadata(plan: _Plan) -> dict[str, str]:
    models = plan.parents.models
    members = [{"id": m.id, "revision": m.revision} for m in models]
    return {
        "format": "pt",
        "schema": SCHEMA,
        "method": plan.choice.method.name,
        "options": json.dumps(plan.choice.options),
        "members": json.dumps(members),
    }


def _config(plan: _Plan, written: Sequence[str]) -> Document:
    parents = plan.parents
    modules = [each for each in parents.modules if each.name in written]
    return merged_config(
        parents.configs,
        plan.rank,
        [each.target for each in modules],
        is_whole=len(modules) == len(parents.modules) and not plan.is_part,
    )


def _document(
    plan: _Plan, done: Sequence[Made], lost: Sequence[Quarantined]
) -> Document:
    parents, rows = plan.parents, [each.row for each in done]
    disturbed = [d for d in (each.disturbance for each in done) if d]
    ids = [model.id for model in parents.models]
    method, options = plan.choice.method, plan.choice.options
    total = math.fsum(row["norm"] ** 2 for row in rows)
    missed = math.fsum((row["norm"] * row["error"]) ** 2 for row in rows)
    return {
        "schema": SCHEMA,
        "version": version(),
        "path": str(plan.folder),
        "method": method.name,
        "cite": method.cite,
        "note": method.note,
        "options": dict(options),
        "axes": plan.choice.axes,
        "rank": plan.rank,
        "dtype": plan.dtype,
        "models": model_rows(parents.models, plan.choice),
        "error": math.sqrt(missed / total) if total else 0.0,
        "layers": rows,
        "interference": interference_of(disturbed, ids) if disturbed else None,
        "notes": _notes(plan, rows),
        "left_out": [asdict(each) for each in parents.left_out],
        "quarantine": [
            asdict(each) for each in (*plan.catalog.quarantine, *lost)
        ],
    }  # fmt: skip


def _notes(plan: _Plan, rows: Sequence[Document]) -> list[str]:
    """Return what whoever uses the merged adapter should know."""
    parents, method = plan.parents, plan.choice.method
    notes = notes_of(parents.models, plan.choice)
    if method.is_flat and any(row["error"] > _ROUNDING for row in rows):
        notes.append(
            f"the singular values of {method.name} are equal: which directions"
            f" rank {plan.rank} keeps is arbitrary, and --rank"
            f" {max(sum(row['ranks']) for row in rows)} keeps all"
        )
    differ = differing(parents.configs)
    if differ:
        notes.append(
            f"the parents' configurations differ in {', '.join(differ)}"
        )
    return notes
