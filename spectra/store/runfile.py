"""The run file: one HDF5 file, small matrices only, written whole.

Layout of schema ``spectra/2``: before the HDF5 file a line that seals it
(`spectra.store.seal`). The string ``header`` is a JSON document; ``models``,
``quarantine`` and ``left_out`` are JSON strings, one a row; ``catalog`` is the
catalogue that was fitted, ``base`` the checkpoint that was subtracted, if any,
both compressed text; ``layers/000012`` holds a layer's arrays, its name being
a value in the group's own ``header``, never a path, and in ``records`` what it
set aside; ``report`` is the overlap report, when `overlap` has been run.

Written by `spectra.store.writing`.
"""

import json
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, overload

import h5py

from spectra.core.catalog import Catalog, Checkpoint, Quarantined
from spectra.core.errors import IntegrityError, UsageError
from spectra.store.layers import read_layer
from spectra.store.seal import BLOCK, SCHEMA, is_whole
from spectra.subspaces.result import LayerFit, Member, PopulationFit
from spectra.weights.catalog_file import catalog_from
from spectra.weights.records import checkpoint_from

__all__ = [
    "asked_of",
    "is_run",
    "read",
    "read_population",
    "read_report",
]


_HDF5 = b"\x89HDF\r\n\x1a\n"
"""With which HDF5 begins, after the user block if there is one."""

_NAMED = re.compile(rb'"schema": "(spectra/\d+)"')
_LONGEST = 64
_CHUNK = 2**20


def _text(file: h5py.File, name: str) -> str:
    return bytes(file[name][()]).decode("ascii")


@contextmanager
def _opened(path: Path, /) -> Iterator[h5py.File]:
    """Give the HDF5 file that a run file is.

    Raises
    ------
    UsageError
        E_NO_RUN where there is none.
    IntegrityError
        Where HDF5 cannot read it, or not what the block asks for.
    """
    if not path.is_file():
        raise UsageError(
            "E_NO_RUN",
            f"there is no run file {path}",
            advice="make one with: spectra fit SOURCE... -o run.h5",
        )
    try:
        with h5py.File(path, "r") as file:
            yield file
    except (KeyError, OSError, RuntimeError) as error:
        raise _damaged(path, f"is damaged ({error})") from error


def _require_whole(path: Path) -> None:
    """Refuse what is no run file of ours, or not the one that was written."""
    try:
        if not path.is_file() or is_whole(path):
            return
    except OSError as error:
        raise UsageError(
            "E_NO_RUN",
            f"{path} cannot be read ({error.strerror})",
            advice="mend its permissions, or name another",
        ) from error
    if not _is_of_ours(path):
        raise UsageError(
            "E_SCHEMA",
            f"{path} is not a run file of schema {SCHEMA}",
            advice="make one with: spectra fit SOURCE... -o run.h5",
        )
    raise _damaged(path, "is damaged: it is not what was written")


def _damaged(path: Path, what: str) -> IntegrityError:
    return IntegrityError(
        str(path), what, advice=f"see what is left: spectra verify {path}"
    )


def _is_of_ours(path: Path) -> bool:
    """Return whether a file that is not whole was once."""
    return _begins(path, f"{SCHEMA} ") or _schema_within(path) == SCHEMA


def _begins(path: Path, text: str) -> bool:
    """Return whether a file begins so; not if it cannot be read."""
    try:
        with path.open("rb") as file:
            return file.read(len(text)) == text.encode()
    except OSError:
        return False


def _schema_within(path: Path) -> str | None:
    """Return the schema that the text of an HDF5 file's header names.

    HDF5 is not asked: from bytes that have changed it may never come back.
    """
    before = b""
    try:
        with path.open("rb") as file:
            if _HDF5 not in file.read(BLOCK + len(_HDF5)):
                return None
            while chunk := file.read(_CHUNK):
                if found := _NAMED.search(before + chunk):
                    return found[1].decode()
                before = chunk[-_LONGEST:]
    except OSError:
        pass
    return None


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
    """Return whether a file is a run file of any schema, whole or damaged."""
    return _begins(path, "spectra/") or _schema_within(path) is not None


def asked_of(path: Path, /) -> str | None:
    """Return what the fit of a run file was to be, None where it is damaged.

    It is `spectra.store.writing.Asked.digest`.
    """
    if not is_whole(path):
        return None
    with _opened(path) as file:
        return str(_header(file)["asked"])


def _header(file: h5py.File) -> dict[str, Any]:
    return dict(json.loads(file["header"].asstr()[()]))


def read(path: Path, /) -> PopulationFit:
    """Return what a run file holds; its layers are read when asked for.

    Raises
    ------
    UsageError
        When there is no such file, or it is of another kind.
    IntegrityError
        When a byte of it is not what was written.
    """
    _require_whole(path)
    with _opened(path) as file:
        header = _header(file)
        rows = {
            name: [json.loads(row) for row in file[name].asstr()[()]]
            for name in ("models", "quarantine", "left_out")
        }
    return PopulationFit(
        models=tuple(Member(**row) for row in rows["models"]),
        layers=_StoredLayers(path, len(header["units"])),
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
        When it is damaged.
    """
    with _opened(path) as file:
        text = _text(file, "catalog")
        base = json.loads(_text(file, "base")) if "base" in file else None
    return (
        catalog_from(text, path=str(path)),
        None if base is None else checkpoint_from(base),
    )


def read_report(path: Path, /) -> dict[str, Any] | None:
    """Return the overlap report of a run file, None where it has none."""
    _require_whole(path)
    with _opened(path) as file:
        if "report" not in file:
            return None
        return dict(json.loads(_text(file, "report")))
