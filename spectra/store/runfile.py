"""The run file: one HDF5 file, small matrices only, written whole.

Layout of schema ``spectra/1``: the string ``header`` is a JSON document;
``models``, ``quarantine`` and ``left_out`` are JSON strings, one a row;
``catalog`` is the catalogue that was fitted, ``base`` the checkpoint that was
subtracted, if any, both compressed text;
``layers/000012`` holds a layer's arrays, its name being a value in the group's
own ``header``, never a path; ``report`` is the overlap report, when `overlap`
has been run.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from shutil import copyfile, disk_usage
from typing import Any, overload

import h5py
import numpy as np

from spectra.core.catalog import Catalog, Checkpoint, Quarantined
from spectra.core.errors import IntegrityError, StorageError, UsageError
from spectra.store.atomic import replacing
from spectra.store.layers import read_layer, write_layer
from spectra.subspaces.result import LayerFit, Member, PopulationFit
from spectra.weights.catalog_file import catalog_from, catalog_text
from spectra.weights.records import checkpoint_from, checkpoint_record

__all__ = [
    "SCHEMA",
    "RunWriter",
    "add_report",
    "is_run",
    "read",
    "read_population",
    "read_report",
    "writing",
]

SCHEMA = "spectra/1"

_SPARE = 2**20
"""Free bytes demanded beyond a layer: HDF5 can crash the process when the
disk fills under it, so the room is asked for first."""


@dataclass(frozen=True, slots=True)
class RunWriter:
    """Takes layers one after another, then the rest of a `PopulationFit`."""

    file: h5py.File
    folder: Path

    def add(self, layer: LayerFit, /) -> None:
        """Append one layer.

        Raises
        ------
        StorageError
            When the disk has no room for it.
        """
        layers = self.file.require_group("layers")
        self._ask_for_room(_most(layer))
        write_layer(layers.create_group(f"{len(layers):06d}"), layer)

    def finish(self, fit: PopulationFit, /) -> None:
        """Write everything of `fit` but its layers."""
        header = {
            "schema": SCHEMA,
            "n_scanned": fit.n_scanned,
            "n_layers": len(self.file.require_group("layers")),
            "started_from_zero": fit.started_from_zero,
            "settings": dict(fit.settings),
            "environment": dict(fit.environment),
        }
        self.file.create_dataset(
            "header", data=json.dumps(header, sort_keys=True)
        )
        for name in ("models", "quarantine", "left_out"):
            rows = [json.dumps(asdict(row)) for row in getattr(fit, name)]
            self.file.create_dataset(
                name, data=rows, dtype=h5py.string_dtype()
            )

    def add_population(
        self, catalog: Catalog, base: Checkpoint | None, /
    ) -> None:
        """Write what was fitted, so that more can be added to it later.

        Raises
        ------
        StorageError
            When the disk has no room for it.
        """
        texts = {"catalog": catalog_text(catalog)}
        if base is not None:
            texts["base"] = json.dumps(checkpoint_record(base))
        self._ask_for_room(sum(map(len, texts.values())))
        for name, text in texts.items():
            _put_text(self.file, name, text)

    def _ask_for_room(self, nbytes: int) -> None:
        needs, free = nbytes + _SPARE, disk_usage(self.folder).free
        if free < needs:
            raise StorageError(
                "E_DISK_FULL",
                str(self.file.filename),
                f"{free >> 20} MiB are free, {needs >> 20} MiB are needed",
            )


def _most(layer: LayerFit) -> int:
    """Return at most how many bytes a layer takes."""
    n, kept = len(layer.members), layer.directions
    arrays = (kept.left, kept.right, kept.output, kept.input) if kept else ()
    return 8 * n * (4 * n + 200) + sum(array.nbytes for array in arrays)


def _put_text(file: h5py.File, name: str, text: str) -> None:
    data = np.frombuffer(text.encode("ascii"), np.uint8)
    file.create_dataset(name, data=data, compression="gzip", fletcher32=True)


def _text(file: h5py.File, name: str) -> str:
    return bytes(file[name][()]).decode("ascii")


@contextmanager
def writing(path: Path, /) -> Iterator[RunWriter]:
    """Give a writer for a new run file; it appears when the block ends.

    Raises
    ------
    StorageError
        When it cannot be written; what stood at `path` stands there still.
    """
    with (
        replacing(path) as temporary,
        h5py.File(temporary, "w", track_order=True) as file,
    ):
        yield RunWriter(file, path.parent)


@contextmanager
def _opened(path: Path) -> Iterator[h5py.File]:
    if not path.is_file():
        raise UsageError(
            "E_NO_RUN",
            f"there is no run file {path}",
            advice="make one with: spectra fit SOURCE... -o run.h5",
        )
    if not h5py.is_hdf5(path):
        raise _not_a_run(path)
    try:
        file = h5py.File(path, "r")
    except OSError as error:
        raise IntegrityError(
            str(path), "is not a readable HDF5 file"
        ) from error
    with file:
        try:
            yield file
        except (KeyError, OSError) as error:
            raise IntegrityError(str(path), f"is damaged ({error})") from error


def _header(file: h5py.File, path: Path) -> dict[str, Any]:
    stored = file["header"].asstr()[()] if "header" in file else "{}"
    header = json.loads(stored)
    if header.get("schema") != SCHEMA:
        raise _not_a_run(path)
    return dict(header)


def _not_a_run(path: Path) -> UsageError:
    return UsageError(
        "E_SCHEMA",
        f"{path} is not a run file of schema {SCHEMA}",
        advice="make one with: spectra fit SOURCE... -o run.h5",
    )


@dataclass(frozen=True, slots=True)
class _StoredLayers(Sequence[LayerFit]):
    """The layers of a run file, each read when it is asked for."""

    path: Path
    n_layers: int

    def __len__(self) -> int:
        return self.n_layers

    @overload
    def __getitem__(self, index: int) -> LayerFit: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[LayerFit]: ...
    def __getitem__(self, index: int | slice) -> LayerFit | Sequence[LayerFit]:
        numbers = range(self.n_layers)[index]
        if isinstance(numbers, range):
            return tuple(self[i] for i in numbers)
        with _opened(self.path) as file:
            return read_layer(file["layers"][f"{numbers:06d}"])


def is_run(path: Path, /) -> bool:
    """Return whether a file is a run file, whole or damaged."""
    try:
        with h5py.File(path, "r") as file:
            return "header" in file
    except OSError:
        return False


def read(path: Path, /) -> PopulationFit:
    """Return what a run file holds; its layers are read when asked for.

    Raises
    ------
    UsageError
        When there is no such file, or it is of another kind.
    IntegrityError
        When it is damaged.
    """
    with _opened(path) as file:
        header = _header(file, path)
        rows = {
            name: [json.loads(row) for row in file[name].asstr()[()]]
            for name in ("models", "quarantine", "left_out")
        }
    return PopulationFit(
        models=tuple(Member(**row) for row in rows["models"]),
        layers=_StoredLayers(path, header["n_layers"]),
        quarantine=tuple(Quarantined(**row) for row in rows["quarantine"]),
        n_scanned=header["n_scanned"],
        started_from_zero=header["started_from_zero"],
        settings=header["settings"],
        environment=header["environment"],
        left_out=tuple(Quarantined(**row) for row in rows["left_out"]),
    )


def read_population(path: Path, /) -> tuple[Catalog, Checkpoint | None]:
    """Return the catalogue that was fitted, and the base.

    Raises
    ------
    UsageError
        When there is no such run file.
    IntegrityError
        When it is damaged, or holds no catalogue.
    """
    with _opened(path) as file:
        _header(file, path)
        text = _text(file, "catalog")
        base = json.loads(_text(file, "base")) if "base" in file else None
    return (
        catalog_from(text, path=str(path)),
        None if base is None else checkpoint_from(base),
    )


def add_report(path: Path, report: Mapping[str, Any], /) -> None:
    """Put the overlap report into a run file, in place of an older one."""
    text = json.dumps(report, sort_keys=True, allow_nan=False)
    with _opened(path) as file:
        _header(file, path)
    with replacing(path) as temporary:
        copyfile(path, temporary)
        with h5py.File(temporary, "r+") as file:
            if "report" in file:
                del file["report"]
            _put_text(file, "report", text)


def read_report(path: Path, /) -> dict[str, Any] | None:
    """Return the overlap report of a run file, None where it has none."""
    with _opened(path) as file:
        _header(file, path)
        if "report" not in file:
            return None
        return dict(json.loads(_text(file, "report")))
