"""catalog.jsonl, written and read without loss, and what `scan` prints."""

import json
import os
import tempfile
from pathlib import Path
from typing import Any

from spectra.core.catalog import Catalog
from spectra.core.errors import IntegrityError, StorageError
from spectra.core.provenance import version
from spectra.core.text import printable
from spectra.weights.records import (
    architecture_from,
    architecture_record,
    checkpoint_from,
    checkpoint_record,
    quarantined_from,
    quarantined_record,
    text_from,
)

__all__ = [
    "SCHEMA",
    "catalog_from",
    "catalog_json",
    "catalog_text",
    "is_catalog",
    "read_catalog",
    "write_catalog",
]

SCHEMA = "spectra-catalog/1"
_ENDING = ".jsonl"
_LONG = ("files", "layers", "skipped", "record")
_OF_ANOTHER_FORM = (
    AttributeError,
    LookupError,
    RecursionError,
    TypeError,
    ValueError,
)
"""What comes of a text that is JSON of another kind, or none."""


def is_catalog(source: str, /) -> bool:
    """Return whether a SOURCE is an existing catalogue file."""
    return source.endswith(_ENDING) and Path(source).expanduser().is_file()


def catalog_json(catalog: Catalog, /) -> dict[str, Any]:
    """Return the document of ``scan --json``."""
    models = [checkpoint_record(model) for model in catalog.models]
    return {
        "models": [
            {key: value for key, value in model.items() if key not in _LONG}
            for model in models
        ],
        "architectures": [
            architecture_record(entry) for entry in catalog.architectures
        ],
        "quarantine": [
            quarantined_record(entry) for entry in catalog.quarantine
        ],
    }


def catalog_text(catalog: Catalog, /) -> str:
    """Return a catalogue in ASCII: a header line, then one record a line."""
    records = [checkpoint_record(model) for model in catalog.models]
    records += [
        {"record": "quarantine", **quarantined_record(entry)}
        for entry in catalog.quarantine
    ]
    lines = [_head(catalog, len(records)), *records]
    return "".join(
        json.dumps(line, allow_nan=False, sort_keys=True) + "\n"
        for line in lines
    )


def catalog_from(text: str, /, *, path: str) -> Catalog:
    """Return the catalogue that a text was made of.

    Parameters
    ----------
    text
        From `catalog_text`.
    path
        Where it was found, for the error.

    Raises
    ------
    IntegrityError
        Where it is not one, or not whole.
    """
    try:
        head, *records = [json.loads(line) for line in text.splitlines()]
        catalog = _catalog(head, records)
        whole = head["schema"] == SCHEMA and head["n_records"] == len(records)
    except _OF_ANOTHER_FORM as error:
        raise IntegrityError(
            path, f"is not a catalogue of spectra ({printable(str(error))})"
        ) from error
    if not whole:
        raise IntegrityError(path, f"is not a whole {SCHEMA} file")
    return catalog


def write_catalog(catalog: Catalog, path: str | os.PathLike[str], /) -> None:
    """Write a catalogue as `catalog_text` has it.

    It appears whole or not at all, also after a power cut.

    Parameters
    ----------
    catalog
        What `spectra.weights.scan.scan` returned.
    path
        Where to; an older file is replaced.

    Raises
    ------
    StorageError
        E_WRITE where it cannot be written.
    """
    target = Path(path)
    try:
        _write_atomically(target, catalog_text(catalog).encode("ascii"))
    except OSError as error:
        raise StorageError(
            "E_WRITE", str(target), error.strerror or str(error)
        ) from error


def read_catalog(path: str | os.PathLike[str], /) -> Catalog:
    """Return the catalogue in a file that `write_catalog` wrote.

    Parameters
    ----------
    path
        A catalog.jsonl.

    Returns
    -------
    Catalog
        Equal to the one that was written.

    Raises
    ------
    IntegrityError
        Where the file is not one, or not whole.
    """
    try:
        text = Path(path).expanduser().read_text(encoding="ascii")
    except ValueError as error:
        raise IntegrityError(
            str(path), f"is not a catalogue of spectra ({error})"
        ) from error
    return catalog_from(text, path=str(path))


def _head(catalog: Catalog, n_records: int) -> dict[str, Any]:
    return {
        "schema": SCHEMA,
        "version": version(),
        "n_records": n_records,
        "sources": list(catalog.sources),
        "architectures": [
            architecture_record(entry) for entry in catalog.architectures
        ],
    }


def _catalog(head: dict[str, Any], records: list[dict[str, Any]]) -> Catalog:
    return Catalog(
        tuple(
            checkpoint_from(record)
            for record in records
            if record["record"] == "model"
        ),
        tuple(architecture_from(entry) for entry in head["architectures"]),
        tuple(
            quarantined_from(record)
            for record in records
            if record["record"] == "quarantine"
        ),
        tuple(map(text_from, head["sources"])),
    )


def _write_atomically(target: Path, content: bytes) -> None:
    descriptor, name = tempfile.mkstemp(
        prefix=f".{target.name}.", dir=target.parent
    )
    temporary = Path(name)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        # mkstemp gives 0600, which an ordinary file would not have.
        mask = os.umask(0)
        os.umask(mask)
        temporary.chmod(0o666 & ~mask)
        temporary.replace(target)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    _sync_folder(target.parent)


def _sync_folder(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
