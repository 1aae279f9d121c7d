"""Make a run file, or look at a damaged one: a process of its own.

HDF5 can end the process it runs in when a disk fills under it, or when bytes
of a file have changed: here that costs a file which can be made again. Called
by `spectra.store.writing` as ::

    python -P -m spectra.store.assemble (units|report) RUN OUT
    python -P -m spectra.store.assemble (examine|salvage) RUN

Of units, or of the run and a report in the folder ``RUN.work``, it makes the
file OUT, flushed and sealed. What it finds in a damaged file it
prints as one JSON document; to salvage is to put whole layers into that folder
as units. It ends with the process that holds the other end of its stdin, and
when it has looked at a damaged file for longer than that can take.
"""

import hashlib
import json
import os
import resource
import sys
from collections.abc import Mapping
from pathlib import Path
from select import select
from shutil import copyfile
from threading import Thread
from typing import Any

import h5py
import numpy as np

from spectra.store.journal import Journal, work_folder
from spectra.store.seal import BLOCK, SCHEMA, parts_are_whole, seal
from spectra.store.units import pack, read_unit, write_unit
from spectra.subspaces.result import LayerOutcome

__all__ = ["MANIFEST", "REPORT"]

MANIFEST = "manifest.json"
REPORT = "report.json"


def _of_units(run: Path, out: Path) -> None:
    folder = work_folder(run)
    manifest = json.loads((folder / MANIFEST).read_bytes())
    with h5py.File(out, "w", track_order=True, userblock_size=BLOCK) as file:
        layers = file.create_group("layers")
        for number, (key, digest, _) in enumerate(manifest["units"]):
            data = (folder / f"{key}.{digest}").read_bytes()
            if hashlib.sha256(data).hexdigest() != digest:
                sys.exit("a finished layer has changed on the disk")
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
        for name in ("report", "report_sha256"):
            if name in file:
                del file[name]
        _put_text(file, "report", text)
        file["report_sha256"] = hashlib.sha256(text.encode()).hexdigest()


def _put_text(file: h5py.File, name: str, text: str) -> None:
    data = np.frombuffer(text.encode("ascii"), np.uint8)
    file.create_dataset(name, data=data, compression="gzip")


def _examine(run: Path, salvaged: Journal | None) -> None:
    """Print what of a damaged run is whole, and keep its layers."""
    with h5py.File(run, "r") as file:
        if not parts_are_whole(run, file):
            sys.exit("what it says about its population is lost")
        header = json.loads(file["header"].asstr()[()])
        found = {
            "settings": header["settings"],
            **{name: _text(file, name) for name in ("catalog", "base")},
            "quarantine": list(file["quarantine"].asstr()[()]),
            "report": _whole_report(file),
            "had_report": "report" in file,
            "n_layers": len(header["units"]),
            "lost": [],
        }
        for number, (key, digest, name) in enumerate(header["units"]):
            outcome = _whole_unit(file, f"{number:06d}", digest)
            if outcome is None:
                found["lost"].append(name)
            elif salvaged is not None:
                salvaged.keep(key, outcome)
    sys.stdout.write(json.dumps(found))
    sys.stdout.flush()


def _whole_unit(
    file: h5py.File, name: str, digest: str
) -> LayerOutcome | None:
    """Return the unit of a group, None where it is not what was written."""
    try:
        outcome = read_unit(file["layers"][name])
        found = hashlib.sha256(pack(outcome)).hexdigest()
    except Exception:  # noqa: BLE001 - of changed bytes anything may come
        return None
    return outcome if found == digest else None


def _whole_report(file: h5py.File) -> str | None:
    """Return the report; None where it is not whole, or there is none."""
    try:
        text = _text(file, "report")
        digest = file["report_sha256"].asstr()[()]
    except Exception:  # noqa: BLE001 - as above
        return None
    if text is None or hashlib.sha256(text.encode()).hexdigest() != digest:
        return None
    return text


def _text(file: h5py.File, name: str) -> str | None:
    return bytes(file[name][()]).decode("ascii") if name in file else None


def _limit_time(run: Path, *, patience: int = 10) -> None:
    """End this process when HDF5 does not come back from changed bytes.

    A second of computing a MiB is a hundred times what it takes.
    """
    seconds = patience + (run.stat().st_size >> 20)
    _, most = resource.getrlimit(resource.RLIMIT_CPU)
    resource.setrlimit(resource.RLIMIT_CPU, (seconds, most))


def _end_with_parent() -> None:
    while os.read(0, 1):
        pass
    os._exit(1)


def _main(task: str, run: Path, *out: str) -> None:
    if task in ("examine", "salvage"):
        _limit_time(run)
    match task:
        case "examine":
            _examine(run, None)
        case "salvage":
            _examine(run, Journal(work_folder(run)))
        case _:
            make = _of_units if task == "units" else _with_report
            (made,) = map(Path, out)
            make(run, made)
            seal(made)


def _is_alone() -> bool:
    """Return whether whoever started us ended while modules were imported."""
    return bool(select([0], [], [], 0)[0])


if __name__ == "__main__":
    if _is_alone():
        sys.exit(1)
    Thread(target=_end_with_parent, daemon=True).start()
    _main(sys.argv[1], Path(sys.argv[2]), *sys.argv[3:])
