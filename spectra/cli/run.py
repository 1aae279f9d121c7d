"""``spectra run``: scan, fit, overlap and report in one."""

import dataclasses
from pathlib import Path
from typing import Annotated, Any

import typer

from spectra.cli import console, options
from spectra.cli.outcome import finish, set_aside
from spectra.cli.overlap import REFUSED, is_refused, show
from spectra.cli.pushing import destination_of, pushed
from spectra.cli.report import FormatList, formats_of
from spectra.core.settings import RETAINED
from spectra.study.studyfile import Study, read_study

__all__ = ["command"]


def command(
    context: typer.Context,
    sources: options.Sources = [],
    out: Annotated[
        Path | None,
        typer.Option("-o", "--out", help="The folder to write to."),
    ] = None,
    match: options.Match = [],
    limit: options.Limit = None,
    author: options.Author = None,
    search: options.Search = None,
    filter: options.Filter = [],
    base_model: options.BaseModel = None,
    relation: options.Relation = None,
    num_parameters: options.NumParameters = None,
    sort: options.Sort = None,
    revision: options.Revision = None,
    token: options.Token = None,
    cap: options.Cap = [],
    base: options.Base = None,
    layers: options.Layers = [],
    rank: options.Rank = 16,
    device: options.Device = "auto",
    precision: options.Precision = "f32",
    memory: options.Memory = "4GiB",
    max_stream: options.MaxStream = "1GiB",
    workers: options.Workers = 0,
    scheduler: options.Scheduler = None,
    save_directions: options.SaveDirections = False,
    recipe: options.Recipes = [],
    metrics: options.Metrics = False,
    k: options.Levels = [],
    null: options.Nulls = [],
    draws: options.Draws = 199,
    seed: options.Seed = 0,
    ordered: options.Ordered = False,
    formats: FormatList = "html,json,csv,md",
    push_to_hub: options.PushToHub = None,
    private: options.Private = False,
    fail_on: options.FailOn = [],
    json: options.Json = False,
    quarantine_ok: options.QuarantineOk = False,
) -> None:
    """Scan, fit, measure and report, from SOURCEs or from a study.toml.

    Example: spectra run adapters/ -o report/
    """
    from spectra.api.chain import run_study
    from spectra.statistics.nulls.table import chosen_nulls

    given = {
        name: tuple(value) if isinstance(value, list) else value
        for name, value in context.params.items()
        if options.was_given(context, name)
    }
    study = _study(sources, given, formats)
    to = destination_of(push_to_hub, private)
    chosen_nulls(study.overlap.null)
    done = run_study(study, watch=console.observer)
    if json:
        console.document(done.report.document)
    else:
        show(done.report)
        for path in done.files:
            console.say(str(path))
    if to is not None:
        pushed(done.report, done.files, to)
    refused = is_refused(done.report, fail_on)
    finish(
        set_aside(done.report.document),
        len(done.report.run.models),
        quarantine_ok or refused,
    )
    if refused:
        raise typer.Exit(REFUSED)


def _study(sources: list[str], given: dict[str, Any], formats: str) -> Study:
    """Return the study file, or an empty one, with the options given."""
    study = Study()
    if len(sources) == 1 and sources[0].endswith(".toml"):
        study = read_study(Path(sources[0]))
        del given["sources"]
    if "out" in given:
        given["out"] = str(given["out"])
    if "formats" in given:
        given["formats"] = formats_of(formats)
    layers = given.pop("layers", None)
    tables = {
        table.name: _overridden(getattr(study, table.name), given)
        for table in dataclasses.fields(study)
    }
    study = Study(**tables)
    return study if layers is None else _of_layers(study, layers)


def _of_layers(study: Study, globs: tuple[str, ...]) -> Study:
    """Return the study of such layers: what is retained is known last."""
    fitted = tuple(glob for glob in globs if glob != RETAINED)
    shown = () if fitted == globs else (RETAINED,)
    return dataclasses.replace(
        study,
        fit=dataclasses.replace(study.fit, layers=fitted),
        overlap=dataclasses.replace(study.overlap, layers=shown),
    )


def _overridden(settings: Any, given: dict[str, Any]) -> Any:
    names = {entry.name for entry in dataclasses.fields(settings)}
    return dataclasses.replace(
        settings, **{n: v for n, v in given.items() if n in names}
    )
