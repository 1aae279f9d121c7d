"""How alike models represent items, as a user holds it."""

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

from spectra.align.representations.asked import Asked
from spectra.api.documented import Documented
from spectra.core.events import Observer
from spectra.core.text import printable
from spectra.study.alignment import align_models

__all__ = ["Alignment", "alignment"]


@dataclass(frozen=True, slots=True, repr=False)
class Alignment(Documented):
    """How alike models represent the same items, beside permuted items.

    Attributes
    ----------
    document
        What ``spectra align --json`` prints.
    """

    document: dict[str, Any]

    @property
    def pairs(self) -> list[dict[str, Any]]:
        """Return one dictionary a pair and metric, as in the document."""
        return list(self.document["pairs"])

    def _repr_html_(self) -> str:
        rows = "".join(
            "<tr>"
            + "".join(
                f"<td>{escape(printable(pair[key]))}</td>"
                for key in ("a", "b", "metric")
            )
            + "".join(
                f"<td>{pair[key]:.3f}</td>"
                for key in ("value", "null_mean", "p")
            )
            + "</tr>"
            for pair in self.pairs
        )
        return (
            f"<p>{escape(printable(self.text, 1000))}</p><table><thead><tr>"
            "<th>a</th><th>b</th><th>metric</th><th>value</th>"
            f"<th>permuted</th><th>p</th></tr></thead><tbody>{rows}</tbody>"
            "</table>"
        )


def alignment(
    *sources: str | Path,
    metric: Sequence[str] = (),
    k: int = 10,
    draws: int = 199,
    seed: int = 0,
    normalize: bool = False,
    on_event: Observer | None = None,
) -> Alignment:
    """Measure how alike models represent the same items.

    Parameters
    ----------
    *sources
        Files of features (``.npy``, ``.npz``, ``.safetensors``, ``.h5``),
        whose rows are the same items; or checkpoints, whose input embeddings
        are compared on the tokens that all of them have.
    metric
        Names; ``mutual-knn`` and ``cka-debiased`` where there is none.
    k
        Neighbours of an item.
    draws
        Permutations of the items, at least 19.
    seed
        Of what is drawn.
    normalize
        Whether rows are scaled to unit length first.
    on_event
        Told of each evaluation.

    Raises
    ------
    UsageError
        When a metric is unknown, a source cannot be used, or there are too
        few items or draws.
    """
    asked = Asked(
        metric=tuple(metric), k=k, draws=draws, seed=seed, normalize=normalize
    )
    names = [str(source) for source in sources]
    return Alignment(align_models(names, asked, on_event=on_event))
