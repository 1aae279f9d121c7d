"""More checkpoints onto a finished run: the population of both, fitted anew.

So nothing is approximated, and nothing depends on how a run came about: a run
to which members were added is the one that a fit of all of them writes. Its
old checkpoints are read once more, as they were when they were fitted first.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from spectra.core.catalog import Catalog, Checkpoint, Quarantined
from spectra.core.errors import IntegrityError, Quarantine, UsageError
from spectra.core.events import Observer
from spectra.core.settings import FitSettings, as_json, settings_of
from spectra.hub.files import is_remote
from spectra.store.outputs import check_output
from spectra.store.runfile import is_run, read, read_population
from spectra.store.writing import tidy
from spectra.study.fit import OF_THE_WEIGHTS, fit_population
from spectra.study.keys import NOT_PART_OF_THE_RESULT
from spectra.study.plan import Plan, plan
from spectra.study.tasks import ZERO, place_of_base
from spectra.subspaces.result import PopulationFit
from spectra.weights.bytes import FileSource
from spectra.weights.population import joined

__all__ = ["Guard", "fit_into", "plan_into"]

_FREE = (*NOT_PART_OF_THE_RESULT, "device")
"""Settings that may change from one addition to the next."""


@dataclass(frozen=True, slots=True)
class _Wanted:
    """What a fit into a file is to hold.

    Attributes
    ----------
    catalog, settings
        The whole population, and how it is fitted.
    run
        The run that stands there already; None for none.
    n_new
        How many checkpoints it lacks; None where there is none.
    """

    catalog: Catalog
    settings: FitSettings
    run: PopulationFit | None
    n_new: int | None


def fit_into(
    catalog: Catalog,
    given: Mapping[str, Any],
    out: Path | None,
    /,
    *,
    on_event: Observer | None = None,
) -> tuple[PopulationFit, int | None]:
    """Fit a population, with that of the run that stands in the file already.

    Parameters
    ----------
    catalog
        The population, as `scan` found it.
    given
        Fields of `FitSettings` that were asked for; others are those of the
        run, or the defaults.
    out
        The run file; without one everything stays in memory.
    on_event
        Told after each layer.

    Returns
    -------
    tuple
        The fit, and how many checkpoints it has added to a run: where there
        are none nothing was read. None where there was no run.

    Raises
    ------
    UsageError
        Where the run has other settings, or a checkpoint of it cannot be
        read as it was; and for the reasons of `fit_population`, as are all
        other errors. The run stays as it was.
    """
    asked = _wanted(catalog, given, out)
    if out is None or asked.run is None:
        fit = fit_population(
            catalog, asked.settings, out=out, on_event=on_event
        )
        return fit, None
    if asked.n_new == 0:
        tidy(out)
        return asked.run, 0
    fit = fit_population(
        asked.catalog,
        asked.settings,
        out=out,
        on_event=on_event,
        on_loss=Guard(
            out, {model.id for model in asked.run.models}, asked.run.quarantine
        ),
    )
    return fit, asked.n_new


def plan_into(
    catalog: Catalog, given: Mapping[str, Any], out: Path | None, /
) -> Plan:
    """Return what `fit_into` would do with the same arguments."""
    asked = _wanted(catalog, given, out)
    if asked.run is not None and asked.n_new == 0:
        run = asked.run
        return Plan.of_nothing(
            n_models=len(run.models), n_layers=len(run.layers)
        )
    return plan(asked.catalog, asked.settings)


def _wanted(
    catalog: Catalog, given: Mapping[str, Any], out: Path | None, /
) -> _Wanted:
    """Return what a fit into `out` is to hold; see `fit_into`."""
    if out is not None:
        files = {file.path for model in catalog.models for file in model.files}
        check_output(out, is_ours=is_run, inputs=files)
    if out is None or not out.exists():
        settings = FitSettings(**given)
        return _Wanted(catalog, settings, None, None)
    run, held, base = _held(out)
    settings = _settings(out, run.settings, given)
    _require_unchanged(out, (*held.models, *([base] if base else [])))
    both = joined(held, catalog)
    return _Wanted(both, settings, run, len(both.models) - len(held.models))


def _afresh(out: Path) -> str:
    return f"to fit afresh remove {out}, or choose another -o"


def _settings(
    out: Path, held: Mapping[str, Any], given: Mapping[str, Any]
) -> FitSettings:
    """Return the run's settings, with what may be given besides."""
    asked = as_json(FitSettings(**given))
    for name in given:
        if name in _FREE or asked[name] == held[name]:
            continue
        if name == "base" and _same_base(held[name], asked[name]):
            continue
        raise UsageError(
            "E_SETTINGS",
            f"{out} was fitted with {name} {_shown(held[name])}, not"
            f" {_shown(asked[name])}",
            advice=f"add to it without that option; {_afresh(out)}",
        )
    free = {name: given[name] for name in _FREE if name in given}
    return replace(settings_of(held), **free)


def _same_base(held: str | None, asked: str | None) -> bool:
    if None in {held, asked} or ZERO in {held, asked}:
        return False
    return place_of_base(asked) == held


def _shown(value: Any) -> str:
    if isinstance(value, list):
        return " ".join(map(str, value)) or "(all)"
    return "(none)" if value is None else str(value)


def _held(out: Path) -> tuple[PopulationFit, Catalog, Checkpoint | None]:
    try:
        return read(out), *read_population(out)
    except IntegrityError as error:
        raise UsageError(
            "E_OUTPUT",
            f"nothing can be added to {out}: it {error.what}",
            advice=_afresh(out),
        ) from error


def _require_unchanged(out: Path, models: Sequence[Checkpoint]) -> None:
    for model in models:
        for file in model.files:
            if is_remote(file.path):
                continue
            try:
                with FileSource(file.path, pinned=file):
                    pass
            except Quarantine as reason:
                raise _changed(out, reason.detail) from reason


def _changed(out: Path, what: str) -> UsageError:
    return UsageError(
        "E_CHANGED",
        f"{out} stays as it is, since it holds a checkpoint that is no longer"
        f" what it was: {what}",
        advice=f"restore it; {_afresh(out)}",
    )


@dataclass(frozen=True, slots=True)
class Guard:
    """Sees to it that no member of a run is lost by writing it again.

    Attributes
    ----------
    members
        Their ids.
    quarantine
        What had been set aside already.
    """

    out: Path
    members: Collection[str]
    quarantine: Collection[Quarantined]

    def __call__(self, records: Sequence[Quarantined], /) -> None:
        """Raise a UsageError where one of them could not be read."""
        for record in records:
            ours = record.id == "all" or record.id in self.members
            lost = ours and record.code not in OF_THE_WEIGHTS
            if lost and record not in self.quarantine:
                raise _changed(self.out, record.detail)
