"""How a report is made again: a study with everything pinned."""

import json
from collections.abc import Iterator, Mapping
from typing import Any

from spectra.core.text import printable
from spectra.report.document import Report

__all__ = ["commands", "study_lines"]


def commands(report: Report, /) -> tuple[str, ...]:
    """Return what is typed, beside the study of `study_lines`."""
    return (
        f"pip install hf-spectra=={printable(str(report['version']))}",
        "spectra run study.toml",
    )


def study_lines(report: Report, /) -> tuple[str, ...]:
    """Return the lines of a study file, in TOML.

    Sources of a hub stand at their commits; of those that were files on a
    disk only the number is known to others.
    """
    return tuple(_lines(report))


def _lines(report: Report) -> Iterator[str]:
    sources, n_local = _sources(report)
    yield "[population]"
    if n_local:
        yield f"# {n_local} of the checkpoints are files: this study stands"
        yield "# in the folder that holds them."
    yield "sources = ["
    yield from (f"  {_text(source)}," for source in sources)
    yield "]"
    for table in ("fit", "overlap"):
        settings = report["settings"].get(table) or {}
        yield from ("", f"[{table}]")
        yield from _entries(settings, table)
    yield from ("", "[report]", 'out = "report"')


def _sources(report: Report) -> tuple[list[str], int]:
    pinned, n_local = [], 0
    for model in report["population"]["models"]:
        id_, revision = model["id"], model.get("revision")
        # What follows the repository's name is a folder in it.
        repository = "/".join(id_.split("/")[:2])
        if revision is not None and _is_repository(repository):
            pinned.append(f"{repository}@{revision}")
        else:
            n_local += 1
    local = ["."] if n_local else []
    return local + list(dict.fromkeys(pinned)), n_local


def _is_repository(name: str) -> bool:
    # A report of files alone does not wait for the hub's client.
    from spectra.hub.reference import is_repository

    return is_repository(name)


def _entries(settings: Mapping[str, Any], table: str) -> Iterator[str]:
    tables = {}
    for key, value in sorted(settings.items()):
        if isinstance(value, Mapping):
            tables[key] = value
        elif value is not None and value != []:
            yield f"{key} = {_value(value)}"
    for key, entries in tables.items():
        yield from ("", f"[{table}.{key}]")
        for name, value in sorted(entries.items()):
            yield f"{_text(str(name))} = {_value(value)}"


def _value(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list):
        return f"[{', '.join(map(_value, value))}]"
    return _text(value) if isinstance(value, str) else str(value)


def _text(text: str) -> str:
    # JSON escapes what TOML would; what nobody can type is shown escaped.
    return json.dumps(printable(text, limit=1 << 20), ensure_ascii=False)
