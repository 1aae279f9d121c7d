"""What the papers of a checkpoint say of it: claims, not facts."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from spectra.core.errors import Quarantine
from spectra.weights.documents import front_matter
from spectra.weights.folders import Folder
from spectra.weights.formats.raw import Fault, RawCheckpoint
from spectra.weights.limits import Limits

__all__ = ["Claims", "read_claims"]

_CARD = "README.md"
# The first that is given holds. `_name_or_path` is what transformers loaded
# before it was trained further.
_BASE = ("base_model", "base_model_name_or_path", "parent", "_name_or_path")


@dataclass(frozen=True, slots=True)
class Claims:
    """Licence and base model, None where nothing is said.

    Attributes
    ----------
    faults
        A card that could not be read.
    """

    license: str | None
    base: str | None
    faults: tuple[Fault, ...] = ()


def read_claims(
    folder: Folder, raw: RawCheckpoint, /, *, limits: Limits
) -> Claims:
    """Return what card, configuration and metadata say, in this order."""
    card: Mapping[str, str] = {}
    faults: tuple[Fault, ...] = ()
    if _CARD in folder.files:
        try:
            card = front_matter(folder, _CARD, nbytes=limits.card_bytes)
        except Quarantine as fault:
            faults = (Fault(_CARD, "CARD_UNREADABLE", fault.detail),)
    papers = (card, raw.config, raw.metadata)
    bases = _given(papers, _BASE)
    licenses = _given(papers, ("license",))
    return Claims(
        next(iter(licenses), None),
        # A path on the author's machine says less than a repository.
        next((base for base in bases if not _is_path(base)), None)
        or next(iter(bases), None),
        faults,
    )


def _given(
    papers: tuple[Mapping[str, Any], ...], keys: tuple[str, ...]
) -> tuple[str, ...]:
    values = (paper.get(key) for paper in papers for key in keys)
    firsts = (
        value[0] if isinstance(value, list) and value else value
        for value in values
    )
    return tuple(value for value in firsts if isinstance(value, str) and value)


def _is_path(base: str) -> bool:
    return base.startswith(("/", "./", "../", "~")) or "\\" in base
