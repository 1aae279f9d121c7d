"""How a run file comes to be: from its journal, in one rename."""

import hashlib
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from shutil import disk_usage
from typing import Any

from spectra.core.catalog import Catalog, Checkpoint
from spectra.core.errors import StorageError
from spectra.store.assemble import MANIFEST, REPORT
from spectra.store.atomic import replacing
from spectra.store.journal import Journal, Unit, journal, work_folder
from spectra.store.runfile import asked_of
from spectra.subspaces.result import PopulationFit
from spectra.weights.catalog_file import catalog_text
from spectra.weights.records import checkpoint_record

__all__ = ["Asked", "adding_report", "examine", "tidy", "write_run"]

_DRAFT = "run.h5"
"""What a run file in the making is called after, in the run's folder."""

_SPARE = 2**20
"""Free bytes demanded beyond what is written again."""

_SOURCES = Path(__file__).parents[2]
"""Where the package is found, by a process that starts elsewhere too."""

_ROWS = ("models", "quarantine", "left_out")


@dataclass(frozen=True, slots=True)
class Asked:
    """What a run was to be.

    Attributes
    ----------
    keys
        Of all its units, in order.
    catalog, base
        What is fitted, so that more can be added to it later.
    """

    keys: tuple[str, ...]
    catalog: Catalog
    base: Checkpoint | None

    @property
    def texts(self) -> dict[str, str]:
        """Return the population as it is written."""
        texts = {"catalog": catalog_text(self.catalog)}
        if self.base is not None:
            texts["base"] = json.dumps(checkpoint_record(self.base))
        return texts

    @property
    def digest(self) -> str:
        """Return one SHA-256 of all of it, as hex."""
        text = json.dumps([self.keys, self.texts], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()


def write_run(
    run: Path,
    kept: Journal,
    units: Sequence[Unit],
    fit: PopulationFit,
    asked: Asked,
    /,
) -> None:
    """Make the run file of finished units, and take these away.

    Parameters
    ----------
    run
        The file that appears, or takes the place of an older one.
    kept
        Its journal.
    units
        All of the population, in order.
    fit
        Everything else about the run; its layers are not looked at.
    asked
        What it was to be.

    Raises
    ------
    StorageError
        When it cannot be written; what stood there stands there still, and
        the units are kept.
    """
    layers = [unit for unit in units if unit.has_layer]
    manifest = {
        "header": {
            "n_scanned": fit.n_scanned,
            "started_from_zero": fit.started_from_zero,
            "settings": dict(fit.settings),
            "environment": dict(fit.environment),
            "asked": asked.digest,
        },
        "rows": {
            name: [asdict(row) for row in getattr(fit, name)] for name in _ROWS
        },
        "texts": asked.texts,
        "units": [(u.key, u.digest, u.name) for u in layers],
    }
    with replacing(kept.folder / MANIFEST) as temporary:
        temporary.write_text(json.dumps(manifest), "ascii")
    nbytes = sum(unit.path.stat().st_size for unit in layers)
    _assemble("units", run, kept.folder, nbytes)
    kept.clear()


def tidy(run: Path, /) -> None:
    """Take away the units of a finished run that a kill has left behind.

    Those of an addition to it, which is not finished, stay.
    """
    if not work_folder(run).is_dir():
        return
    with journal(run) as kept:
        manifest = kept.folder / MANIFEST
        if not manifest.exists():
            return
        header = json.loads(manifest.read_bytes())["header"]
        if header["asked"] == asked_of(run):
            kept.clear()


@contextmanager
def adding_report(
    run: Path, /
) -> Iterator[Callable[[Mapping[str, Any]], None]]:
    """Give a function that puts an overlap report into a run file.

    Meanwhile nobody else writes the run. A report takes the place of an older
    one.

    Raises
    ------
    LockedError
        When another process writes the run.
    StorageError
        When it cannot be written; the run stays as it was.
    """
    with journal(run) as kept:

        def add(report: Mapping[str, Any]) -> None:
            path = kept.folder / REPORT
            with replacing(path) as temporary:
                text = json.dumps(report, sort_keys=True, allow_nan=False)
                temporary.write_text(text, "ascii")
            nbytes = run.stat().st_size + path.stat().st_size
            try:
                _assemble("report", run, kept.folder, nbytes)
            finally:
                path.unlink()

        yield add


def _assemble(what: str, run: Path, folder: Path, nbytes: int) -> None:
    """Let a process make a new run file, and put it in the old one's place.

    The draft has a name of our own: where we are killed, that process may
    live a moment longer than we do, and write while the next one does.
    """
    with replacing(run, draft=folder / _DRAFT) as made:
        _require_room(folder, nbytes + _SPARE)
        said, _, code = _in_a_process(what, run, made)
        if code:
            raise _failed(run, code, said)


def examine(run: Path, /, *, keep: bool = False) -> dict[str, Any] | None:
    """Return what of a damaged run file is as it was written.

    Parameters
    ----------
    run
        The run file.
    keep
        Put its whole layers into its journal, which the caller holds.

    Returns
    -------
    dict
        ``"settings"`` of the fit, ``"catalog"``, ``"base"`` and ``"report"``
        as texts or None, and in ``"lost"`` the names of damaged layers. None
        where nothing can be relied on.
    """
    _, said, code = _in_a_process("salvage" if keep else "examine", run)
    return None if code else dict(json.loads(said))


def _in_a_process(what: str, *paths: Path) -> tuple[str, bytes, int]:
    """Return what it said on stderr and on stdout, and how it ended."""
    places = [str(_SOURCES), os.environ.get("PYTHONPATH", "")]
    command = [
        # Not from the folder we are in: it may hold anything.
        sys.executable, "-P", "-m", "spectra.store.assemble", what,
        *map(str, paths),
    ]  # fmt: skip
    theirs, ours = os.pipe()
    try:
        with subprocess.Popen(  # noqa: S603 - our own program
            command,
            stdin=theirs,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,  # Ctrl-C is for us to pass on.
            env=_without_tokens()
            | {"PYTHONPATH": os.pathsep.join(filter(None, places))},
        ) as process:
            try:
                found, said = process.communicate()
            finally:
                os.close(ours)  # It ends when we do, however we end.
    finally:
        os.close(theirs)
    text = said.decode("utf-8", "replace").strip()
    return text, found, process.returncode


def _without_tokens() -> dict[str, str]:
    """Return the environment without what opens a hub."""
    return {k: v for k, v in os.environ.items() if "TOKEN" not in k}


def _failed(run: Path, code: int, said: str) -> StorageError:
    """Return why a process that ended with that code made no run file."""
    if disk_usage(run.parent).free < _SPARE or "No space left" in said:
        return StorageError("E_DISK_FULL", str(run), "no space is left")
    system = re.search(r"error message = '([^']+)'", said)  # HDF5's own
    if system is not None:
        return StorageError("E_STORAGE", str(run), system[1])
    last = said.splitlines()[-1] if said else f"its writer ended with {code}"
    return StorageError("E_STORAGE", str(run), last)


def _require_room(folder: Path, nbytes: int) -> None:
    free = disk_usage(folder).free
    if free < nbytes:
        raise StorageError(
            "E_DISK_FULL",
            str(folder),
            f"{free >> 20} MiB are free, {nbytes >> 20} MiB are needed",
        )
