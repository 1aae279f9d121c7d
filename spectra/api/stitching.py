"""Maps between two models' representations, as a user holds them."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from spectra.api.documented import Documented
from spectra.core.events import Observer
from spectra.study.stitching import Stitching, stitch_models

__all__ = ["Stitched", "stitch"]


@dataclass(frozen=True, slots=True, repr=False)
class Stitched(Documented):
    """How well one model's representations map to another's.

    Attributes
    ----------
    document
        What ``spectra stitch --json`` prints.
    """

    document: dict[str, Any]

    @property
    def maps(self) -> list[dict[str, Any]]:
        """Return one dictionary a kind of map, as in the document."""
        return list(self.document["maps"])


def stitch(  # noqa: PLR0913 - one a question
    a: str | Path,
    b: str | Path,
    out: str | Path | None = None,
    /,
    *,
    kind: Sequence[str] = (),
    folds: int = 5,
    draws: int = 99,
    seed: int = 0,
    on_event: Observer | None = None,
) -> Stitched:
    """Fit maps from a model's representations to another's, and judge them.

    Parameters
    ----------
    a, b
        Files of features of the same items, or checkpoints, as of
        `~spectra.alignment`.
    out
        A safetensors file for the best map: ``weight`` (width of b, width of
        a) and ``bias``, of `torch.nn.Linear`.
    kind
        ``"linear"``, ``"affine"``, ``"orthogonal"``; all where there is none.
    folds
        The items are divided into so many parts; each is judged by a map that
        was fitted on the others.
    draws
        Permutations of b's items, at least 19.
    seed
        Of folds and permutations.
    on_event
        Told of each evaluation.

    Raises
    ------
    UsageError
        When a map is unknown, a source cannot be used, there are too few
        items, folds or draws, or `out` is something else.
    StorageError
        When `out` cannot be written.
    """
    asked = Stitching(kind=tuple(kind), folds=folds, draws=draws, seed=seed)
    path = None if out is None else Path(out)
    return Stitched(
        stitch_models(str(a), str(b), asked, out=path, on_event=on_event)
    )
