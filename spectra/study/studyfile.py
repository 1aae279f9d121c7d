"""A written study: ``study.toml``, read into the same settings as options."""

import dataclasses
import difflib
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from spectra.backend.memory import parse_bytes
from spectra.core.errors import UsageError
from spectra.core.settings import FitSettings, HubQuery, OverlapSettings

__all__ = [
    "BY_DEFAULT",
    "FORMATS",
    "Population",
    "Report",
    "Study",
    "read_study",
]

BY_DEFAULT = ("html", "json", "csv", "md")
FORMATS = (*BY_DEFAULT, "parquet")


@dataclass(frozen=True, slots=True, kw_only=True)
class Population(HubQuery):
    """Which checkpoints: the ``[population]`` table.

    Attributes
    ----------
    sources
        Folders, files, ``@lists``; relative ones start at the study's folder.
    match
        Globs that ids must match.
    limit
        At most so many checkpoints.
    """

    sources: tuple[str, ...] = ()
    match: tuple[str, ...] = ()
    limit: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """Where to: the ``[report]`` table."""

    out: str = "spectra-report"
    formats: tuple[str, ...] = BY_DEFAULT


@dataclass(frozen=True, slots=True, kw_only=True)
class Study:
    """All four tables of a study."""

    population: Population = field(default_factory=Population)
    fit: FitSettings = field(default_factory=FitSettings)
    overlap: OverlapSettings = field(default_factory=OverlapSettings)
    report: Report = field(default_factory=Report)


_TABLES: dict[str, type] = {
    "population": Population,
    "fit": FitSettings,
    "overlap": OverlapSettings,
    "report": Report,
}


def read_study(path: Path, /) -> Study:
    """Return the study written in a TOML file.

    Raises
    ------
    UsageError
        When it is no TOML, or a key is unknown or of the wrong type.
    """
    try:
        document = tomllib.loads(path.read_text("utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise UsageError("E_STUDY", f"cannot read {path} ({error})") from error
    _known(document, _TABLES, str(path))
    tables = {
        name: _table(_TABLES[name], entries, f"{path} [{name}]")
        for name, entries in document.items()
    }
    study = Study(**tables)
    sources = tuple(_beside(path, s) for s in study.population.sources)
    population = dataclasses.replace(study.population, sources=sources)
    return dataclasses.replace(study, population=population)


def _beside(path: Path, source: str) -> str:
    """Return a relative local source as seen from the study's folder."""
    mark = "@" if source.startswith("@") else ""
    local = path.parent / source.removeprefix("@")
    return f"{mark}{local}" if local.exists() else source


def _known(entries: Mapping[str, Any], names: Any, where: str) -> None:
    for key in entries:
        if key not in names:
            near = difflib.get_close_matches(key, list(names), 1)
            raise UsageError(
                "E_STUDY",
                f"{where} has an unknown key {key!r}",
                advice=f"did you mean {near[0]!r}?"
                if near
                else f"known: {', '.join(names)}",
            )


def _table(table: type, entries: Any, where: str) -> Any:
    if not isinstance(entries, dict):
        raise UsageError("E_STUDY", f"{where} is not a table")
    fields = {entry.name: entry for entry in dataclasses.fields(table)}
    _known(entries, fields, where)
    values = {}
    for key, value in entries.items():
        default = getattr(table(), key)
        values[key] = _value(key, value, default, f"{where} {key}")
    return table(**values)


_OPTIONAL: dict[str, type] = {"limit": int, "groups": dict}
"""The type of settings whose default is None, where it is not text."""


def _value(key: str, value: Any, default: Any, where: str) -> Any:
    """Return a TOML value as the type of the setting's default."""
    if key in {"max_stream", "memory"} and isinstance(value, str):
        return parse_bytes(value)
    if isinstance(default, tuple) and isinstance(value, list):
        return tuple(value)
    if isinstance(default, float) and type(value) is int:
        return float(value)
    expected = _OPTIONAL.get(key, str if default is None else type(default))
    if type(value) is not expected:
        raise UsageError(
            "E_STUDY",
            f"{where} is a {type(value).__name__}",
            advice=f"write a {expected.__name__}",
        )
    return value
