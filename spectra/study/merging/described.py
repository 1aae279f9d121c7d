"""Catalogued checkpoints as their own files describe them now."""

from collections.abc import Sequence

from spectra.core.catalog import Checkpoint
from spectra.core.errors import UsageError
from spectra.core.text import printable
from spectra.hub.files import HubFiles
from spectra.hub.places import places_of
from spectra.study.scan import opening
from spectra.weights.folders import Folder
from spectra.weights.formats import RawCheckpoint, read_checkpoint
from spectra.weights.limits import limits_of_environment
from spectra.weights.sources import places

__all__ = ["described"]


def described(
    models: Sequence[Checkpoint], /
) -> list[tuple[Folder, RawCheckpoint]]:
    """Return the folder of each, and what its headers and papers say.

    Raises
    ------
    UsageError
        E_MERGE where one is gone, or has other headers than it had.
    """
    limits = limits_of_environment()
    with opening(model.path for model in models) as opener:
        found = []
        for model in models:
            if isinstance(opener, HubFiles) and model.path.startswith("hf://"):
                at, _ = places_of(opener, model.path, revision=None)
            else:
                at, _ = places(model.path)
            here = [place for place in at if place.path == model.path]
            if not here:
                raise _other(model, "is gone")
            folder = here[0].folder
            raw = read_checkpoint(folder, limits=limits)
            if _headers(raw) != _headers(model):
                raise _other(model, "has changed")
            found.append((folder, raw))
    return found


def _headers(described: RawCheckpoint | Checkpoint) -> list[str]:
    return [file.header_sha256 for file in described.files]


def _other(model: Checkpoint, what: str) -> UsageError:
    return UsageError(
        "E_MERGE", f"{printable(model.path)} {what}", advice="scan again"
    )
