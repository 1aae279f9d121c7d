"""Options that several commands share; their help is that of the settings."""

import dataclasses
import os
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from spectra.backend.memory import parse_bytes
from spectra.core.settings import (
    FitSettings,
    HubQuery,
    OverlapSettings,
    help_of,
)
from spectra.weights.limits import CAPS, limits_of

__all__ = [
    "Author",
    "Base",
    "BaseModel",
    "Bootstrap",
    "Cap",
    "Device",
    "Draws",
    "FailOn",
    "Filter",
    "Json",
    "Layers",
    "Levels",
    "Limit",
    "Match",
    "MaxStream",
    "Memory",
    "Nulls",
    "NumParameters",
    "Ordered",
    "Precision",
    "Private",
    "PushToHub",
    "QuarantineOk",
    "Rank",
    "Relation",
    "ReportLayers",
    "Revision",
    "RunFile",
    "SaveDirections",
    "Scheduler",
    "Search",
    "Seed",
    "Sort",
    "Sources",
    "Token",
    "Workers",
    "chosen",
    "given",
    "was_given",
]


def _fit(field: str, *names: str, **more: Any) -> Any:
    return _option(FitSettings, field, names, more)


def _overlap(field: str, *names: str, **more: Any) -> Any:
    return _option(OverlapSettings, field, names, more)


def _option(
    settings: type, field: str, names: tuple[str, ...], more: dict[str, Any]
) -> Any:
    return typer.Option(
        *names,
        help=help_of(settings, field),
        envvar=f"SPECTRA_{field.upper()}",
        **more,
    )


def chosen(settings: type, context: typer.Context, /) -> dict[str, Any]:
    """Return the options of a command that are fields of a settings class."""
    names = {entry.name for entry in dataclasses.fields(settings)}
    return {
        name: tuple(value) if isinstance(value, list) else value
        for name, value in context.params.items()
        if name in names
    }


def given(settings: type, context: typer.Context, /) -> dict[str, Any]:
    """Return those of `chosen` that were typed, or set in the environment."""
    return {
        name: value
        for name, value in chosen(settings, context).items()
        if was_given(context, name)
    }


def was_given(context: typer.Context, name: str, /) -> bool:
    """Return whether an option has another value than by default."""
    source = context.get_parameter_source(name)
    return source is not None and source.name != "DEFAULT"


def _query(field: str, *names: str, **more: Any) -> Any:
    return typer.Option(*names, help=help_of(HubQuery, field), **more)


def _with_token(token: str | None) -> None:
    """Let the hub's own client find the token where it looks for one."""
    if token:
        os.environ["HF_TOKEN"] = token


def _with_caps(caps: list[str]) -> None:
    """Let whatever reads a foreign file find them; a wrong one is refused."""
    limits_of(caps)
    if caps:
        os.environ[CAPS] = " ".join(caps)


def _verdict(text: str) -> str:
    from spectra.statistics.verdict.rule import VERDICTS

    if text not in VERDICTS:
        raise typer.BadParameter(f"choose among {', '.join(VERDICTS)}")
    return text


Sources = Annotated[
    list[str],
    typer.Argument(
        metavar="SOURCE",
        help="Folders of checkpoints, checkpoint folders, .safetensors files,"
        " ORG/NAME[@REV] or hf:// of a hub, @list.txt, or a catalogue made"
        " by scan.",
        show_default=False,
    ),
]
Author = Annotated[str | None, _query("author", "--author")]
Search = Annotated[str | None, _query("search", "--search")]
Filter = Annotated[list[str], _query("filter", "--filter", metavar="TAG")]
BaseModel = Annotated[
    str | None, _query("base_model", "--base-model", metavar="ID")
]
Relation = Annotated[
    Literal["adapter", "finetune", "merge", "quantized"] | None,
    _query("relation", "--relation"),
]
NumParameters = Annotated[
    str | None, _query("num_parameters", "--num-parameters", metavar="RANGE")
]
Sort = Annotated[str | None, _query("sort", "--sort")]
Revision = Annotated[str | None, _query("revision", "--revision")]
Token = Annotated[
    str | None,
    typer.Option(
        "--token",
        help="Token of the hub. HF_TOKEN, or hf auth login, keep it out of"
        " the list of processes.",
        callback=_with_token,
        expose_value=False,
    ),
]
Cap = Annotated[
    list[str],
    typer.Option(
        "--cap",
        metavar="NAME=VALUE",
        help="Let foreign files be larger, such as header_bytes=100MB;"
        f" docs/caps.md lists the caps. Elsewhere {CAPS} sets them.",
        callback=_with_caps,
        expose_value=False,
    ),
]
PushToHub = Annotated[
    str | None,
    typer.Option(
        "--push-to-hub",
        metavar="ORG/NAME",
        help="Commit the files, the run and a card to this dataset"
        " repository of the hub.",
    ),
]
Private = Annotated[
    bool,
    typer.Option(
        "--private",
        help="Make that repository private; one that is public is refused.",
    ),
]
RunFile = Annotated[
    Path, typer.Argument(metavar="RUN.H5", help="A run file made by fit.")
]
Match = Annotated[
    list[str],
    typer.Option("--match", help="Only checkpoints whose id matches a glob."),
]
Limit = Annotated[
    int | None,
    typer.Option("--limit", min=1, help="At most so many checkpoints."),
]
Json = Annotated[
    bool, typer.Option("--json", help="Print one JSON document on stdout.")
]
QuarantineOk = Annotated[
    bool,
    typer.Option(
        "--quarantine-ok", help="Exit with 0 although some were set aside."
    ),
]
Base = Annotated[str | None, _fit("base", "--base", metavar="REF|zero")]
Layers = Annotated[list[str], _fit("layers", "--layers", metavar="GLOB")]
ReportLayers = Annotated[
    list[str], _overlap("layers", "--layers", metavar="GLOB|retained")
]
Rank = Annotated[int, _fit("rank", "--rank", min=1)]
Device = Annotated[str, _fit("device", "--device")]
Precision = Annotated[Literal["f32", "f64"], _fit("precision", "--precision")]
Memory = Annotated[
    Any, _fit("memory", "--memory", metavar="BYTES", parser=parse_bytes)
]
MaxStream = Annotated[
    Any,
    _fit("max_stream", "--max-stream", metavar="BYTES", parser=parse_bytes),
]
Workers = Annotated[int, _fit("workers", "--workers", min=0)]
Scheduler = Annotated[
    str | None, _fit("scheduler", "--scheduler", metavar="ADDRESS|local")
]
SaveDirections = Annotated[bool, _fit("save_directions", "--save-directions")]
Metrics = Annotated[bool, _fit("metrics", "--metrics")]
Recipes = Annotated[list[str], _fit("recipe", "--recipe", metavar="NAME")]
Levels = Annotated[list[int], _overlap("k", "-k", min=1)]
Nulls = Annotated[list[str], _overlap("null", "--null", metavar="NAME")]
Draws = Annotated[int, _overlap("draws", "--draws", min=199)]
Seed = Annotated[int, _overlap("seed", "--seed")]
Ordered = Annotated[bool, _overlap("ordered", "--ordered")]
Bootstrap = Annotated[int, _overlap("bootstrap", "--bootstrap", min=100)]
FailOn = Annotated[
    list[Any],
    typer.Option(
        "--fail-on",
        metavar="VERDICT",
        parser=_verdict,
        help="Exit with 9, when all is written, if any layer has this"
        " verdict, such as shared-initialisation; may be repeated.",
        envvar="SPECTRA_FAIL_ON",
    ),
]
