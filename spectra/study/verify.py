"""Whether a run is what was written, and how to make it so again."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from spectra.core.catalog import Quarantined
from spectra.core.errors import IntegrityError
from spectra.core.events import Observer
from spectra.core.settings import settings_of
from spectra.store.journal import journal, work_folder
from spectra.store.runfile import is_run, read
from spectra.store.seal import is_whole
from spectra.store.writing import adding_report, examine
from spectra.study.fit import fit_population
from spectra.study.grow import Guard
from spectra.subspaces.result import PopulationFit
from spectra.weights.catalog_file import catalog_from

__all__ = ["State", "repair", "verify"]


@dataclass(frozen=True, slots=True)
class State:
    """What became of a run.

    Attributes
    ----------
    is_whole
        Not a byte of it has changed.
    is_complete
        False where the run file is not there yet: its layers are then units.
    n_layers
        That are whole.
    lost
        Layers, or files of units, that are not.
    report
        Of the overlap, which is in a damaged run file; None for none.
    """

    is_whole: bool
    is_complete: bool
    n_layers: int
    lost: tuple[str, ...] = ()
    report: Literal["whole", "lost"] | None = None


def verify(run: Path, /) -> State:
    """Look at every byte of a run file, or of its units.

    Raises
    ------
    UsageError
        E_NO_RUN, E_SCHEMA where there is no run.
    IntegrityError
        Where nothing of it can be relied on.
    """
    if not run.exists() and work_folder(run).is_dir():
        with journal(run) as kept:
            lost = tuple(path.name for path in kept.damaged())
            return State(not lost, False, len(kept) - len(lost), lost)
    if not run.is_file() or not is_run(run) or is_whole(run):
        held = read(run)
        return State(True, True, len(held.layers))
    found = _found(run, examine(run))
    kept_layers = found["n_layers"] - len(found["lost"])
    return State(
        False, True, kept_layers, tuple(found["lost"]), _report(found)
    )


def repair(run: Path, /, *, on_event: Observer | None = None) -> PopulationFit:
    """Fit the damaged layers of a run file again; the others stay.

    Parameters
    ----------
    run
        A run file that is not whole.
    on_event
        Told after each layer.

    Raises
    ------
    UsageError
        Where a checkpoint is no longer what it was; the file stays as it is.
    IntegrityError
        Where nothing of it can be relied on.
    """
    with journal(run):
        found = _found(run, examine(run, keep=True))
    catalog = catalog_from(found["catalog"], path=str(run))
    records = (Quarantined(**json.loads(q)) for q in found["quarantine"])
    fit = fit_population(
        catalog,
        settings_of(found["settings"]),
        out=run,
        on_event=on_event,
        on_loss=Guard(run, {m.id for m in catalog.models}, set(records)),
    )
    if found["report"] is not None:
        with adding_report(run) as add:
            add(json.loads(found["report"]))
    return fit


def _found(run: Path, found: dict[str, Any] | None) -> dict[str, Any]:
    if found is None:
        raise IntegrityError(
            str(run), "is damaged, and what it holds cannot be relied on"
        )
    return found


def _report(found: Mapping[str, Any]) -> Literal["whole", "lost"] | None:
    if not found["had_report"]:
        return None
    return "lost" if found["report"] is None else "whole"
