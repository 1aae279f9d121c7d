"""The one pass over the weights of a population, layer by layer."""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from spectra.core.catalog import Catalog, Quarantined
from spectra.core.errors import UsageError
from spectra.core.events import Observer
from spectra.core.settings import FitSettings, as_json
from spectra.store.journal import Journal, Unit, journal
from spectra.store.outputs import check_output
from spectra.store.runfile import asked_of, is_run, read
from spectra.store.writing import Asked, tidy, write_run
from spectra.study.each import Each, InMemory, Watch
from spectra.study.keys import NOT_PART_OF_THE_RESULT, keys_of
from spectra.study.local import Here
from spectra.study.tasks import ZERO, Work, work_of
from spectra.subspaces.layer import LayerTask
from spectra.subspaces.result import LayerFit, LayerOutcome, PopulationFit

if TYPE_CHECKING:
    from spectra.study.cluster import There

__all__ = ["OF_THE_WEIGHTS", "fit_population"]

OF_THE_WEIGHTS = frozenset({"NONFINITE", "OVERFLOW", "UNDERFLOW"})
"""Faults of what is stored: another fit would find them too."""


def fit_population(
    catalog: Catalog,
    settings: FitSettings,
    /,
    *,
    out: Path | None = None,
    on_event: Observer | None = None,
    on_loss: Watch | None = None,
) -> PopulationFit:
    """Read every layer once and return what is left of the population.

    Parameters
    ----------
    catalog
        The population, as `scan` found it.
    settings
        What was asked for.
    out
        The run file to write; without one everything stays in memory.
    on_event
        Told after each layer.
    on_loss
        Told what each layer sets aside; nothing is written where it raises.

    Raises
    ------
    UsageError
        When there is nothing to compare, before anything is read.
    BudgetError
        When a layer cannot fit the memory, before anything is read.
    StorageError
        When the run file cannot be written.
    """
    work = work_of(catalog, settings)
    if out is not None:
        check_output(out, is_ours=is_run, inputs=work.files)
    with _place(work.settings) as place:
        asked = _Asked(catalog, work, place.environment)
        if out is not None and (done := _finished(out, asked)) is not None:
            return done
        with place.engine(work) as engine:
            each = Each(work.tasks, engine, on_event, on_loss)
            if out is None:
                return _in_memory(asked, each)
            _into(out, asked, each)
    return read(out)


@dataclass(frozen=True, slots=True)
class _Asked:
    """What is fitted, and what its last bits hang on."""

    catalog: Catalog
    work: Work
    environment: dict[str, Any]

    @property
    def settings(self) -> dict[str, Any]:
        """Return those that the result hangs on."""
        return {
            name: value
            for name, value in as_json(self.work.settings).items()
            if name not in NOT_PART_OF_THE_RESULT
        }

    def keyed(self) -> dict[str, LayerTask]:
        """Return the layers by what each unit is known by."""
        keys = keys_of(self.work.tasks, self.settings, self.environment)
        return dict(zip(keys, self.work.tasks, strict=True))

    def of_file(self, keys: Iterable[str]) -> Asked:
        """Return what a run file says of it.

        However the sources were named: the same run, the same bytes.
        """
        catalog = replace(self.catalog, sources=())
        return Asked(tuple(keys), catalog, self.work.base)


@contextmanager
def _place(settings: FitSettings) -> Iterator["Here | There"]:
    """Give the place where layers are fitted."""
    if settings.scheduler is None:
        yield Here(settings)
        return
    from spectra.study.cluster import connected

    with connected(settings) as there:
        yield there


def _in_memory(asked: _Asked, each: Each) -> PopulationFit:
    tasks = asked.keyed()
    found = dict(each(tasks, InMemory()))
    outcomes = [found[key] for key in tasks]
    layers = [one.fit for one in outcomes if one.fit is not None]
    return _population(asked, outcomes, layers)


def _into(out: Path, asked: _Asked, each: Each) -> None:
    """Write a run file; what an earlier try has finished is not done again."""
    tasks = asked.keyed()
    with journal(out) as kept, _telling(kept, len(tasks)):
        units = {key: unit for key in tasks if (unit := _lasting(kept, key))}
        waiting = {k: task for k, task in tasks.items() if k not in units}
        units |= each(waiting, kept)
        found = [units[key] for key in tasks]
        fit = _population(asked, found, [])
        write_run(out, kept, found, fit, asked.of_file(tasks))


def _finished(out: Path, asked: _Asked) -> PopulationFit | None:
    """Return the run that stands there, where a fit would make the same."""
    if not out.exists():
        return None
    if asked_of(out) != asked.of_file(asked.keyed()).digest:
        return None
    tidy(out)
    run = read(out)
    own = set(run.quarantine) - set(asked.catalog.quarantine)
    return run if _lasts(own) else None


def _lasting(kept: Journal, key: str) -> Unit | None:
    """Return a unit that another try would find too."""
    unit = kept.find(key)
    return unit if unit is not None and _lasts(unit.quarantine) else None


def _lasts(records: Iterable[Quarantined]) -> bool:
    return {record.code for record in records} <= OF_THE_WEIGHTS


@contextmanager
def _telling(kept: Journal, total: int) -> Iterator[None]:
    """Add to whatever ends a fit how much of it is kept."""
    try:
        yield
    except UsageError:
        kept.clear()
        raise
    except BaseException as error:
        # Where even the folder cannot be listed, that is not the news.
        with suppress(OSError):
            error.add_note(
                f"kept {len(kept)}/{total} layers;"
                " the same command goes on there"
            )
        raise


def _population(
    asked: _Asked,
    found: Sequence[LayerOutcome | Unit],
    layers: list[LayerFit],
) -> PopulationFit:
    """Return what is known of a population besides what `layers` hold.

    Raises
    ------
    UsageError
        When no layer has two distinct members.
    """
    catalog, work = asked.catalog, asked.work
    quarantine = [record for unit in found for record in unit.quarantine]
    left_out = [record for unit in found for record in unit.left_out]
    if not any(unit.has_layer for unit in found):
        raise _nothing_left([*left_out, *quarantine])
    return PopulationFit(
        models=work.members,
        layers=layers,
        quarantine=(*catalog.quarantine, *quarantine),
        n_scanned=len(catalog.models) + _lost_models(catalog),
        started_from_zero=work.settings.base == ZERO,
        settings=asked.settings,
        environment=asked.environment,
        left_out=(*work.left_out, *left_out),
    )


def _nothing_left(records: Iterable[Quarantined]) -> UsageError:
    reasons = Counter(record.code for record in records)
    counts = ", ".join(f"{n} {code}" for code, n in sorted(reasons.items()))
    return UsageError(
        "E_NOTHING_TO_COMPARE",
        f"no layer has two distinct members ({counts})",
        advice="copies count once; see docs/codes.md for each code",
    )


def _lost_models(catalog: Catalog) -> int:
    present = {model.id for model in catalog.models}
    return len({q.id for q in catalog.quarantine} - present)
