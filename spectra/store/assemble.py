"""Make a run file of finished units; a process of its own.

HDF5 can end the process it runs in when a disk fills under it: here that costs
a file which can be made again. Called by `spectra.store.writing` as ::

    python -P -m spectra.store.assemble (units|report) RUN

It reads the folder ``RUN.work`` and leaves ``assembled.h5`` in it, flushed and
sealed. It ends with the process that holds the other end of its stdin.
"""

import json
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from shutil import copyfile
from threading import Thread
from typing import Any

import h5py
import numpy as np

from spectra.store.journal import work_folder
from spectra.store.seal import BLOCK, SCHEMA, seal
from spectra.store.units import write_unit

__all__ = ["ASSEMBLED", "MANIFEST", "REPORT"]

MANIFEST = "manifest.json"
REPORT = "report.json"
ASSEMBLED = "assembled.h5"


def _of_units(run: Path, out: Path) -> None:
    folder = work_folder(run)
    manifest = json.loads((folder / MANIFEST).read_bytes())
    with h5py.File(out, "w", track_order=True, userblock_size=BLOCK) as file:
        layers = file.create_group("layers")
        for number, (key, digest) in enumerate(manifest["units"]):
            data = (folder / f"{key}.{digest}").read_bytes()
            write_unit(layers.create_group(f"{number:06d}"), data)
        _write_rest(file, manifest)


def _write_rest(file: h5py.File, manifest: Mapping[str, Any]) -> None:
    header = manifest["header"] | {
        "schema": SCHEMA, "units": manifest["units"],
    }  # fmt: skip
    file["header"] = json.dumps(header, sort_keys=True)
    for name, rows in manifest["rows"].items():
        texts = [json.dumps(row) for row in rows]
        file.create_dataset(name, data=texts, dtype=h5py.string_dtype())
    for name, text in manifest["texts"].items():
        _put_text(file, name, text)


def _with_report(run: Path, out: Path) -> None:
    copyfile(run, out)
    text = (work_folder(run) / REPORT).read_text("ascii")
    with h5py.File(out, "r+") as file:
        if "report" in file:
            del file["report"]
        _put_text(file, "report", text)


def _put_text(file: h5py.File, name: str, text: str) -> None:
    data = np.frombuffer(text.encode("ascii"), np.uint8)
    file.create_dataset(name, data=data, compression="gzip")


def _end_with_parent() -> None:
    while os.read(0, 1):
        pass
    os._exit(1)


_TASKS = {"units": _of_units, "report": _with_report}

if __name__ == "__main__":
    Thread(target=_end_with_parent, daemon=True).start()
    run = Path(sys.argv[2])
    out = work_folder(run) / ASSEMBLED
    _TASKS[sys.argv[1]](run, out)
    seal(out)
