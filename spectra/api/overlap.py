"""An overlap report as a user holds it."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from spectra.api.run import Run
from spectra.core.errors import UsageError
from spectra.core.events import Observer
from spectra.core.settings import OverlapSettings
from spectra.statistics.document.report import measure
from spectra.store.runfile import read_population, read_report
from spectra.store.writing import adding_report
from spectra.weights.coverage import coverage_by_kind

__all__ = ["OverlapReport", "overlap"]


@dataclass(frozen=True, slots=True, repr=False)
class OverlapReport:
    """How shared a population is, layer by layer, beside its nulls.

    Attributes
    ----------
    document
        ``report.json`` as a dictionary.
    run
        The run it was computed from.
    """

    document: dict[str, Any]
    run: Run

    def __repr__(self) -> str:
        """Return one line."""
        counts = ", ".join(
            f"{number} {verdict}"
            for verdict, number in self.document["verdict"]["counts"].items()
        )
        return f"OverlapReport({counts})"

    def _repr_html_(self) -> str:
        from spectra.report import summary_html

        return summary_html(self.document)

    @property
    def verdict(self) -> str:
        """Return the verdict on the population, a sentence."""
        return str(self.document["verdict"]["text"])

    @property
    def layers(self) -> list[dict[str, Any]]:
        """Return one dictionary a layer, as in ``report.json``."""
        return list(self.document["layers"])

    def to_json(self) -> str:
        """Return ``report.json`` as text."""
        return json.dumps(self.document, sort_keys=True, allow_nan=False)

    def to_html(self) -> str:
        """Return ``report.html`` as text."""
        from spectra.report import html

        return html(self.document, self.run.value)

    def to_dataframe(self) -> Any:
        """Return one row a layer as a pandas DataFrame.

        Raises
        ------
        UsageError
            When pandas is not installed.
        """
        try:
            import pandas as pd
        except ImportError as error:
            raise UsageError(
                "E_EXTRA",
                "to_dataframe needs pandas",
                advice="pip install 'hf-spectra[table]'",
            ) from error
        return pd.json_normalize(self.document["layers"])

    def save(
        self,
        folder: str | Path,
        /,
        formats: Sequence[str] = ("html", "json", "csv", "md"),
    ) -> tuple[Path, ...]:
        """Write the report's files into a folder and return their paths."""
        from spectra.report import write

        return write(
            self.document, self.run.value, Path(folder), formats=formats
        )

    def figures(self, folder: str | Path, /) -> tuple[Path, ...]:
        """Write figures for a paper into a folder and return their paths.

        Raises
        ------
        UsageError
            When matplotlib is not installed.
        """
        from spectra.report.figures import write_figures

        return write_figures(self.document, self.run.value, Path(folder))

    def push_to_hub(
        self,
        repo: str,
        files: Sequence[str | Path],
        /,
        *,
        private: bool = False,
        tell: Callable[[str], None] = print,
    ) -> str:
        """Commit files, the run and a card to a dataset repository.

        Returns the address of the commit, of which there is one or none.

        Parameters
        ----------
        repo
            ``org/name``; it is made where it is not there.
        files
            What `save` and `figures` wrote.
        private
            Make it private, or refuse one that is public.
        tell
            Called with one line, which says what goes where, before it goes.
        """
        from spectra.api.publishing import publish
        from spectra.hub.push import destination

        to = destination(repo, private=private)
        paths = [Path(each) for each in files]
        return publish(self.document, self.run, paths, to, tell=tell)

    @classmethod
    def stored(cls, run: Run, /) -> "OverlapReport":
        """Return the report that a run file already holds.

        Raises
        ------
        UsageError
            When `overlap` has not been run on it.
        """
        document = read_report(run.path) if run.path else None
        if document is None:
            name = run.origin.name if run.origin else run.path
            raise UsageError(
                "E_NO_REPORT",
                f"{name} holds no overlap report",
                advice=f"make one with: spectra overlap {run.path}",
            )
        return cls(document, run)


def overlap(
    run: Run, /, *, on_event: Observer | None = None, **settings: Any
) -> OverlapReport:
    """Measure how shared a population is; no weights are read.

    Parameters
    ----------
    run
        From `fit` or `load`; a run file of ours gets the report added to it.
    on_event
        Told after each layer.
    settings
        Fields of `OverlapSettings`: k, null, draws, seed, groups, thresholds.
    """
    asked = OverlapSettings(**settings)
    if run.path is None or run.origin is not None:
        document = measure(run.value, asked, on_event=on_event) | _found(run)
        return OverlapReport(document, run)
    with adding_report(run.path) as add:
        document = measure(run.value, asked, on_event=on_event) | _found(run)
        add(document)
    return OverlapReport(document, run)


def _found(run: Run) -> dict[str, Any]:
    """Return what became of the tensors of a run whose catalogue is known."""
    if run.path is not None:
        catalog, _ = read_population(run.path)
    elif run.catalog is not None:
        catalog = run.catalog.value
    else:
        return {}
    fit = run.value
    return {
        "coverage": coverage_by_kind(
            catalog,
            refused=fit.quarantine,
            left_out=fit.left_out,
            layers=fit.settings.get("layers") or (),
        )
    }
