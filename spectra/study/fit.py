"""The one pass over the weights of a population, layer by layer."""

import platform
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from threadpoolctl import threadpool_info

from spectra.backend.device import open_device
from spectra.backend.memory import Budget
from spectra.backend.threads import in_order
from spectra.core.catalog import Catalog, Quarantined
from spectra.core.errors import UsageError
from spectra.core.events import Observer, Progress
from spectra.core.places import cache_folder
from spectra.core.provenance import versions
from spectra.core.settings import FitSettings, as_json
from spectra.hub.files import HubFiles
from spectra.store.outputs import check_output
from spectra.store.runfile import is_run, read, writing
from spectra.study.plan import workers_within
from spectra.study.reading import reading_of
from spectra.study.scan import opening
from spectra.study.tasks import ZERO, Work, work_of
from spectra.subspaces.layer import LayerOutcome, fit_layer
from spectra.subspaces.products import Pass
from spectra.subspaces.result import LayerFit, PopulationFit
from spectra.weights.bytes import Opener

__all__ = ["NOT_PART_OF_THE_RESULT", "fit_population", "how_of"]

NOT_PART_OF_THE_RESULT = ("max_stream", "memory", "workers")
"""Settings that change how long a fit takes, but not a bit of its result."""


_PRECISIONS = {"f32": np.float32, "f64": np.float64}

Watch = Callable[[Sequence[Quarantined]], None]


@dataclass(slots=True)
class _Gathered:
    """Collects layers in a list, or hands them to a writer.

    Attributes
    ----------
    keep
        Takes each layer.
    watch
        Sees what a layer sets aside, and may raise.
    """

    keep: Callable[[LayerFit], None]
    watch: Watch | None
    quarantine: list[Quarantined] = field(default_factory=list)
    left_out: list[Quarantined] = field(default_factory=list)

    def take(self, outcome: LayerOutcome) -> None:
        if self.watch is not None:
            self.watch(outcome.quarantine)
        if outcome.fit is not None:
            self.keep(outcome.fit)
        self.quarantine += outcome.quarantine
        self.left_out += outcome.left_out


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
    settings = work.settings
    workers = workers_within(work.tasks, settings)
    with opening(work.files, max_stream=settings.max_stream) as opener:
        if isinstance(opener, HubFiles):
            opener.fetch(reading_of(work.tasks).whole, on_event=on_event)
        how = how_of(settings, workers=workers, opener=opener)
        outcomes = _outcomes(work, how, workers, on_event)
        if out is None:
            layers: list[LayerFit] = []
            gathered = _gather(outcomes, layers.append, on_loss)
            return _population(catalog, settings, work, gathered, layers)
        with writing(out) as writer:
            gathered = _gather(outcomes, writer.add, on_loss)
            # However the sources were named: the same run, the same bytes.
            writer.add_population(replace(catalog, sources=()), work.base)
            writer.finish(_population(catalog, settings, work, gathered, []))
    return read(out)


def _gather(
    outcomes: Iterable[LayerOutcome],
    keep: Callable[[LayerFit], None],
    watch: Watch | None,
) -> _Gathered:
    gathered = _Gathered(keep, watch)
    n_layers = 0
    for outcome in outcomes:
        gathered.take(outcome)
        n_layers += outcome.fit is not None
    if n_layers == 0:
        raise _nothing_left(gathered)
    return gathered


def _nothing_left(gathered: _Gathered) -> UsageError:
    reasons = Counter(
        record.code for record in (*gathered.left_out, *gathered.quarantine)
    )
    counts = ", ".join(f"{n} {code}" for code, n in sorted(reasons.items()))
    return UsageError(
        "E_NOTHING_TO_COMPARE",
        f"no layer has two distinct members ({counts})",
        advice="copies count once; see docs/codes.md for each code",
    )


def _population(
    catalog: Catalog,
    settings: FitSettings,
    work: Work,
    gathered: _Gathered,
    layers: list[LayerFit],
) -> PopulationFit:
    return PopulationFit(
        models=work.members,
        layers=layers,
        quarantine=(*catalog.quarantine, *gathered.quarantine),
        n_scanned=len(catalog.models) + _lost_models(catalog),
        started_from_zero=settings.base == ZERO,
        settings={
            name: value
            for name, value in as_json(settings).items()
            if name not in NOT_PART_OF_THE_RESULT
        },
        environment=_environment(settings),
        left_out=(*work.left_out, *gathered.left_out),
    )


def _lost_models(catalog: Catalog) -> int:
    present = {model.id for model in catalog.models}
    return len({q.id for q in catalog.quarantine} - present)


def _environment(settings: FitSettings) -> dict[str, Any]:
    blas = sorted(
        f"{pool['internal_api']} {pool['version']}"
        f" {pool.get('architecture', '')}".strip()
        for pool in threadpool_info()
        if pool["user_api"] == "blas"
    )
    return {
        "versions": versions(),
        "machine": platform.machine(),
        "device": open_device(settings.device).name,
        "blas": blas,
    }


def _outcomes(
    work: Work, how: Pass, workers: int, on_event: Observer | None
) -> Iterator[LayerOutcome]:
    """Yield outcomes in the order of the tasks, few in flight at a time."""
    found = in_order(
        lambda task: fit_layer(task, how), work.tasks, workers=workers
    )
    for done, (task, outcome) in enumerate(found, 1):
        if on_event is not None:
            n, name = len(work.tasks), task.key.name
            on_event(Progress("fit", done, n, name, task.nbytes))
        yield outcome


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
    )
