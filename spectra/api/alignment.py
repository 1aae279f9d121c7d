"""How alike models represent items, as a user holds it."""

from collections.abc import Mapping
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

from spectra.align.representations.asked import Asked
from spectra.api.documented import Documented
from spectra.api.run import Run, load
from spectra.core.events import Observer
from spectra.core.text import printable
from spectra.study.alignment import align_models
from spectra.subspaces.result import PopulationFit

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

    def save(self, folder: str | Path, /) -> tuple[Path, ...]:
        """Write page, document and table, and return the files' paths."""
        from spectra.report.alignment import write_alignment

        return write_alignment(self.document, Path(folder))


def alignment(
    *sources: str | Path,
    scores: Mapping[str, float] | str | Path | None = None,
    run: Run | str | Path | None = None,
    out: str | Path | None = None,
    on_event: Observer | None = None,
    **asked: Any,
) -> Alignment:
    """Measure how alike models represent the same items.

    Parameters
    ----------
    *sources
        Files of features (``.npy``, ``.npz``, ``.safetensors``, ``.h5``),
        whose rows are the same items; or checkpoints, whose input embeddings
        are compared on the tokens that all of them have.
    scores
        Of each model one, by id, or a file of them: whether alignment
        follows it.
    run
        Of which models are members: whether alignment goes with the overlap
        of their weights.
    out
        A folder for the page, the document and the table of pairs.
    on_event
        Told of each evaluation.
    **asked
        ``metric``: names; ``mutual-knn`` and ``cka-debiased`` where there is
        none. ``k``: neighbours of an item, 10. ``draws``: permutations of the
        items, 199, at least 19. ``seed``: of what is drawn. ``normalize``:
        whether rows are scaled to unit length first.

    Raises
    ------
    UsageError
        When a metric is unknown, a source, the scores or the run cannot be
        used, there are too few items or draws, or `out` holds another file
        of a name of ours.
    StorageError
        When `out` cannot be written.
    """
    if out is not None:
        from spectra.report.alignment import require_free

        require_free(Path(out), inputs=_read(sources, scores, run))
    document = align_models(
        [str(source) for source in sources],
        Asked(**asked),
        scores=Path(scores) if isinstance(scores, str) else scores,
        run=None if run is None else _named(run),
        on_event=on_event,
    )
    found = Alignment(document)
    if out is not None:
        found.save(out)
    return found


def _read(*given: Any) -> list[str]:
    """Return what may be files that are read."""
    (sources, *others) = given
    return [str(x) for x in (*sources, *others) if isinstance(x, str | Path)]


def _named(run: Run | str | Path) -> tuple[str, PopulationFit]:
    run = run if isinstance(run, Run) else load(run)
    return run.path.name if run.path else "the run", run.value
