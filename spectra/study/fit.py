"""The one pass over the weights of a population, layer by layer."""

import platform
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from threadpoolctl import threadpool_info

from spectra.backend.device import open_device
from spectra.backend.memory import Budget
from spectra.core.catalog import Catalog, Quarantined
from spectra.core.errors import UsageError
from spectra.core.events import Observer
from spectra.core.places import cache_folder
from spectra.core.provenance import versions
from spectra.core.settings import FitSettings, as_json
from spectra.store.journal import Journal, Unit, journal
from spectra.store.outputs import check_output
from spectra.store.runfile import asked_of, is_run, read
from spectra.store.writing import Asked, tidy, write_run
from spectra.study.each import Each, InMemory, Watch
from spectra.study.keys import NOT_PART_OF_THE_RESULT, keys_of
from spectra.study.plan import workers_within
from spectra.study.scan import opening
from spectra.study.tasks import ZERO, Work, work_of
from spectra.subspaces.layer import LayerTask
from spectra.subspaces.products import Pass
from spectra.subspaces.result import LayerFit, LayerOutcome, PopulationFit
from spectra.weights.bytes import Opener

__all__ = ["OF_THE_WEIGHTS", "fit_population", "how_of"]

_OUR_BLAS = re.compile("numpy|scipy")
"""In the paths of libraries that come with the packages we compute with."""

_PRECISIONS = {"f32": np.float32, "f64": np.float64}

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
        if (done := _finished(out, catalog, work)) is not None:
            return done
    workers = workers_within(work.tasks, work.settings)
    stream = work.settings.max_stream
    with opening(work.files, max_stream=stream) as opener:
        how = how_of(work.settings, workers=workers, opener=opener)
        each = Each(work.tasks, how, workers, on_event, on_loss)
        if out is None:
            return _in_memory(catalog, work, each)
        _into(out, catalog, work, each)
    return read(out)


def _in_memory(catalog: Catalog, work: Work, each: Each) -> PopulationFit:
    tasks = {str(n): task for n, task in enumerate(work.tasks)}
    found = dict(each(tasks, InMemory()))
    outcomes = [found[key] for key in tasks]
    layers = [one.fit for one in outcomes if one.fit is not None]
    return _population(catalog, work, outcomes, layers)


def _into(out: Path, catalog: Catalog, work: Work, each: Each) -> None:
    """Write a run file; what an earlier try has finished is not done again."""
    tasks = _keyed(work)
    with journal(out) as kept, _telling(kept, len(tasks)):
        units = {key: unit for key in tasks if (unit := _lasting(kept, key))}
        waiting = {k: task for k, task in tasks.items() if k not in units}
        units |= each(waiting, kept)
        found = [units[key] for key in tasks]
        fit = _population(catalog, work, found, [])
        write_run(out, kept, found, fit, _asked(catalog, work, tasks))


def _keyed(work: Work) -> dict[str, LayerTask]:
    settings = _of_the_result(work.settings)
    keys = keys_of(work.tasks, settings, _environment(work.settings))
    return dict(zip(keys, work.tasks, strict=True))


def _asked(catalog: Catalog, work: Work, keys: Iterable[str]) -> Asked:
    # However the sources were named: the same run, the same bytes.
    return Asked(tuple(keys), replace(catalog, sources=()), work.base)


def _finished(out: Path, catalog: Catalog, work: Work) -> PopulationFit | None:
    """Return the run that stands there, where a fit would make the same."""
    if not out.exists():
        return None
    asked = _asked(catalog, work, _keyed(work))
    if asked_of(out) != asked.digest:
        return None
    tidy(out)
    run = read(out)
    own = set(run.quarantine) - set(catalog.quarantine)
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
    catalog: Catalog,
    work: Work,
    found: Sequence[LayerOutcome | Unit],
    layers: list[LayerFit],
) -> PopulationFit:
    """Return what is known of a population besides what `layers` hold.

    Raises
    ------
    UsageError
        When no layer has two distinct members.
    """
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
        settings=_of_the_result(work.settings),
        environment=_environment(work.settings),
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


def _of_the_result(settings: FitSettings) -> dict[str, Any]:
    return {
        name: value
        for name, value in as_json(settings).items()
        if name not in NOT_PART_OF_THE_RESULT
    }


def _lost_models(catalog: Catalog) -> int:
    present = {model.id for model in catalog.models}
    return len({q.id for q in catalog.quarantine} - present)


def _environment(settings: FitSettings) -> dict[str, Any]:
    pools = [p for p in threadpool_info() if p["user_api"] == "blas"]
    # Others may have been loaded by whoever imported us.
    ours = [p for p in pools if _OUR_BLAS.search(p["filepath"])]
    blas = sorted(
        f"{pool['internal_api']} {pool['version']}"
        f" {pool.get('architecture', '')}".strip()
        for pool in ours or pools
    )
    return {
        "versions": versions(),
        "machine": platform.machine(),
        "device": open_device(settings.device).name,
        "blas": blas,
    }


def how_of(settings: FitSettings, /, *, workers: int, opener: Opener) -> Pass:
    """Return how each of `workers` computes its layers.

    Parameters
    ----------
    settings
        What was asked for.
    workers
        Who share the memory.
    opener
        Opens the files of checkpoints.

    Raises
    ------
    UsageError
        When there is no such device or precision.
    """
    if settings.precision not in _PRECISIONS:
        raise UsageError(
            "E_PRECISION",
            f"there is no precision {settings.precision!r}",
            advice="use f32 or f64",
        )
    device = open_device(settings.device)
    device.runtime.limit(settings.memory)
    return Pass(
        rank=settings.rank,
        device=device,
        dtype=_PRECISIONS[settings.precision],
        budget=Budget.of_process(settings.memory, workers=workers),
        save=settings.save_directions,
        spill=cache_folder() / "spill",
        opener=opener,
        recipes=settings.recipe,
        metrics=settings.metrics,
    )
