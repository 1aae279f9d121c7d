"""The whole chain in one call: scan, fit, overlap, report."""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, fields, replace
from pathlib import Path

from spectra.api.catalog import Catalog, scan
from spectra.api.overlap import OverlapReport, overlap
from spectra.api.run import Run
from spectra.core.events import Observer
from spectra.core.settings import RETAINED, HubQuery, as_fields
from spectra.report.exporters import require
from spectra.study.fit import fit_population
from spectra.study.studyfile import Study

__all__ = ["Finished", "run_study"]

Watch = Callable[[str], AbstractContextManager[Observer | None]]


@dataclass(frozen=True, slots=True)
class Finished:
    """What a study left behind.

    Attributes
    ----------
    files
        The report's files; the catalogue and the run file lie beside them.
    """

    catalog: Catalog
    report: OverlapReport
    files: tuple[Path, ...]


def _unwatched(_: str) -> AbstractContextManager[Observer | None]:
    return nullcontext()


def run_study(study: Study, /, *, watch: Watch = _unwatched) -> Finished:
    """Carry out a study and return its report and files.

    A study says all there is to say: what an earlier one wrote to the same
    folder is replaced. Where it asks for retained layers, it asks for the
    metrics by which they are.

    Parameters
    ----------
    study
        What to look at, how, and where to write.
    watch
        Gives, for the name of a stage, a context whose value is told of the
        stage's progress.

    Raises
    ------
    UsageError
        When there is nothing to compare, or the report cannot be written.
    """
    require(study.report.formats)
    out, asked = Path(study.report.out), study.fit
    if RETAINED in study.overlap.layers:
        asked = replace(asked, metrics=True)
    population = study.population
    with watch("scanning") as observer:
        catalog = scan(
            *population.sources,
            match=population.match,
            limit=population.limit,
            on_event=observer,
            **{
                entry.name: getattr(population, entry.name)
                for entry in fields(HubQuery)
            },
        )
    with watch("fitting") as observer:
        path = out / "run.h5"
        run = Run(
            fit_population(catalog.value, asked, out=path, on_event=observer),
            path,
        )
    catalog.save(out / "catalog.jsonl")
    with watch("measuring") as observer:
        report = overlap(run, on_event=observer, **as_fields(study.overlap))
    files = report.save(out, formats=study.report.formats)
    return Finished(catalog, report, files)
