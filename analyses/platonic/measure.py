"""Measure all, and write record.json, the tables and the figures.

One command makes all of this folder's page::

    python -m analyses.platonic.measure [POPULATIONS [PART]]

POPULATIONS is the archive of real populations, or the folder it was unpacked
to; PART one of the modules, alone. A part whose materials are not to be had is
not measured, which is said; the record keeps what it was.
"""

import json
import platform
import sys
import tarfile
import time
from collections.abc import Callable, Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from analyses.platonic import (
    adapters,
    animals,
    colours,
    emoji,
    heads,
    shapes,
    tables,
)
from analyses.platonic.materials import PLACE, MissingError

Part = Iterator[tuple[str, Any]]

PACKAGES = ("numpy", "pillow", "torch", "transformers")


def languages(source: Path | None) -> Part:
    """Measure the heads of a population's archive or folder."""
    if source is None or not source.exists():
        raise MissingError("the populations")
    folder = source
    if not source.is_dir():
        folder = PLACE / "populations"
        if not folder.is_dir():
            with tarfile.open(source) as archive:
                archive.extractall(folder, filter="data")
    yield from heads.measured(folder / "jeffy-massive")


def main(populations: str | None = None, only: str | None = None) -> None:
    torch.set_num_threads(1)
    place = None if populations is None else Path(populations)
    parts: dict[str, Callable[[], Part]] = {
        "colours": colours.measured,
        "animals": animals.measured,
        "emoji": emoji.measured,
        "shapes": shapes.measured,
        "adapters": adapters.measured,
        "heads": lambda: languages(place),
    }
    for name, measured in parts.items():
        if only in (None, name):
            began = time.perf_counter()
            try:
                write(dict(measured()))
            except MissingError as missing:
                print(f"{name}: not measured; not here: {missing}")
                continue
            seconds = time.perf_counter() - began
            print(f"{name}: {seconds:.0f} s", flush=True)
    tables.main()


def write(found: dict[str, Any]) -> None:
    """Put what was measured into the record."""
    record: dict[str, Any] = {}
    if tables.RECORD.is_file():
        record = json.loads(tables.RECORD.read_text("utf-8"))
    versions = {"python": platform.python_version()} | {
        name: version(name).partition("+")[0] for name in PACKAGES
    }
    record |= {"versions": versions} | found
    tables.RECORD.write_text(as_text(record), "utf-8")


def as_text(record: dict[str, Any]) -> str:
    """Return the record as JSON, one line a row."""
    parts = []
    for name, value in record.items():
        body = json.dumps(value)
        if isinstance(value, list):
            body = "[\n" + ",\n".join(map(json.dumps, value)) + "\n]"
        parts.append(f"{json.dumps(name)}: {body}")
    return "{\n" + ",\n".join(parts) + "\n}\n"


if __name__ == "__main__":
    main(*sys.argv[1:])
