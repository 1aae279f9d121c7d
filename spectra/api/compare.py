"""A comparison of two populations as a user holds it."""

import json
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

from spectra.api.run import Run
from spectra.core.events import Observer
from spectra.core.settings import OverlapSettings
from spectra.core.text import printable
from spectra.statistics.populations.comparison import compare as measure
from spectra.study.compare import joint_fit

__all__ = ["Comparison", "compare"]


@dataclass(frozen=True, slots=True, repr=False)
class Comparison:
    """How alike the directions of two populations are, layer by layer.

    Attributes
    ----------
    document
        What ``spectra compare --json`` prints.
    run
        Both populations as one run, of the layers that both have.
    """

    document: dict[str, Any]
    run: Run

    def __repr__(self) -> str:
        """Return one line."""
        counts = ", ".join(
            f"{number} {word}"
            for word, number in self.document["verdict"]["counts"].items()
        )
        return f"Comparison({counts})"

    def _repr_html_(self) -> str:
        rows = "".join(
            f"<tr><td>{escape(printable(layer['name']))}</td>"
            f"<td>{layer['verdict']}</td>"
            f"<td>{escape('; '.join(layer['reasons']))}</td></tr>"
            for layer in self.layers
        )
        return (
            f"<p>{escape(self.verdict)}</p><table><thead><tr><th>layer</th>"
            "<th>verdict</th><th>reasons</th></tr></thead>"
            f"<tbody>{rows}</tbody></table>"
        )

    @property
    def verdict(self) -> str:
        """Return what was found, a sentence."""
        return str(self.document["verdict"]["text"])

    @property
    def layers(self) -> list[dict[str, Any]]:
        """Return one dictionary a layer, as in the document."""
        return list(self.document["layers"])

    def to_json(self) -> str:
        """Return the document as text."""
        return json.dumps(self.document, sort_keys=True, allow_nan=False)


def compare(
    run_a: Run,
    run_b: Run,
    /,
    *,
    out: str | Path | None = None,
    on_event: Observer | None = None,
    **settings: Any,
) -> Comparison:
    """Hold two populations against each other; their weights are read again.

    Parameters
    ----------
    run_a, run_b
        From `fit` or `load`; their checkpoints have to be where they were.
    out
        Where to keep both populations as one run file: with it, the next
        comparison reads no weights.
    on_event
        Told after each layer.
    settings
        Fields of `OverlapSettings`: k, draws, seed, groups (for lineage),
        thresholds.

    Raises
    ------
    UsageError
        When the runs cannot be compared.
    IntegrityError
        When a checkpoint is not what it was when it was fitted.
    """
    path = None if out is None else Path(out)
    joint = joint_fit(
        run_a.value,
        run_b.value,
        out=path,
        runs=[run.path for run in (run_a, run_b) if run.path],
        on_event=on_event,
    )
    document = measure(
        joint.fit, joint.a, joint.b, OverlapSettings(**settings),
        on_event=on_event,
    )  # fmt: skip
    document["populations"]["in_both"] = list(joint.in_both)
    return Comparison(document, Run(joint.fit, path))
