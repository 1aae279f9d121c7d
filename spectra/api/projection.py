"""A checkpoint beside a population that it was not in, as a user holds it."""

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

from spectra.api.documented import Documented
from spectra.api.run import Run
from spectra.core.events import Observer
from spectra.core.text import printable
from spectra.study.projection import project_checkpoint

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Projection", "project"]

_SHARES = ("captured", "captured_random", "captured_secondary")


@dataclass(frozen=True, slots=True, repr=False)
class Projection(Documented):
    """What the directions of a run's members hold of one more checkpoint.

    Attributes
    ----------
    document
        What ``spectra project --json`` prints.
    """

    document: dict[str, Any]

    def _repr_html_(self) -> str:
        k = str(self.k)
        rows = "".join(
            f"<tr><td>{escape(printable(layer['name']))}</td>"
            f"<td>{_number(layer['captured'][k])}</td>"
            f"<td>{_number(layer['captured_random'][k])}</td>"
            f"<td>{_number(layer['r2_mean'])}</td>"
            f"<td>{_nearest(layer)}</td></tr>"
            for layer in self.layers
        )
        return (
            f"<p>{escape(printable(self.text, 1000))}</p><table><thead><tr>"
            f"<th>layer</th><th>captured, k = {k}</th><th>random</th>"
            "<th>mean</th><th>nearest</th></tr></thead>"
            f"<tbody>{rows}</tbody></table>"
        )

    @property
    def k(self) -> int:
        """Return the level that is shown: the text's, or the least."""
        k = self.document["k"]
        return int(min(self.document["settings"]["k"]) if k is None else k)

    def to_dataframe(self) -> "pd.DataFrame":
        """Return one row a layer; needs pandas (``spectra[table]``)."""
        import pandas as pd

        return pd.DataFrame([_row(layer) for layer in self.layers])


def _row(layer: dict[str, Any]) -> dict[str, Any]:
    plain = ("name", "kind", "n_models", "norm", "deviation", "r2_mean")
    (first, *_) = layer["nearest"] or [{"id": None, "cosine": None}]
    return {
        **{name: layer[name] for name in plain},
        **{
            f"{key}_{k}": value
            for key in _SHARES
            for k, value in layer[key].items()
        },
        "nearest": first["id"],
        "cosine": first["cosine"],
    }


def _nearest(layer: dict[str, Any]) -> str:
    if not layer["nearest"]:
        return "-"
    first = layer["nearest"][0]
    return f"{escape(printable(first['id']))} ({first['cosine']:.3f})"


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


def project(  # noqa: PLR0913 - one a question
    run: Run,
    model: str | Path,
    /,
    *,
    k: Sequence[int] = (),
    layers: Sequence[str] = (),
    memory: str | int = "4GiB",
    workers: int = 0,
    on_event: Observer | None = None,
) -> Projection:
    """Show where a checkpoint lies that was not in a fit.

    The run's checkpoints are read once more, with this one.

    Parameters
    ----------
    run
        From `fit` or `load`; its checkpoints have to be where they were.
    model
        A folder, a ``.safetensors`` file or ``org/name@revision``.
    k
        Levels to report, in addition to 1, 4 and 16.
    layers
        Globs of layer names; all for none.
    memory
        What the process may take, as ``"4GiB"``.
    workers
        Layers at the same time; 0 for as many as there are cores and fit.
    on_event
        Told after each layer.

    Raises
    ------
    UsageError
        When `model` is no single checkpoint, or has no layer of the run.
    IntegrityError
        When a checkpoint is not what it was when it was fitted.
    BudgetError
        When a layer does not fit the memory.
    StorageError
        When it does not fit the disk either.
    """
    return Projection(
        project_checkpoint(
            run.value,
            str(model),
            k=k,
            layers=layers,
            memory=memory,
            workers=workers,
            on_event=on_event,
        )
    )
