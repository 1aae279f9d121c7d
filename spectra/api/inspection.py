"""One checkpoint's spectra as a user holds them."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

from spectra.core.events import Observer
from spectra.core.text import printable
from spectra.statistics.spectrum.panel import COLUMNS
from spectra.statistics.spectrum.permuted import RANDOMISED
from spectra.study.inspection import inspect_checkpoint

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Inspection", "inspect"]


@dataclass(frozen=True, slots=True, repr=False)
class Inspection:
    """What the layers of one checkpoint are like.

    Attributes
    ----------
    document
        What ``spectra inspect --json`` prints.
    """

    document: dict[str, Any]

    def __repr__(self) -> str:
        """Return one line."""
        name = printable(self.document["model"])
        return f"Inspection({name}, {len(self.layers)} layers)"

    def _repr_html_(self) -> str:
        shown = ("stable_rank", "effective_rank", "num_spikes", "alpha")
        head = "".join(f"<th>{name}</th>" for name in ("layer", *shown))
        rows = "".join(
            f"<tr><td>{escape(printable(layer['name']))}</td>"
            + "".join(f"<td>{_number(layer[name])}</td>" for name in shown)
            + "</tr>"
            for layer in self.layers
        )
        return (
            f"<table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody>"
            "</table>"
        )

    @property
    def layers(self) -> list[dict[str, Any]]:
        """Return one dictionary a layer, as in the document."""
        return list(self.document["layers"])

    def to_dataframe(self) -> "pd.DataFrame":
        """Return one row a layer; needs pandas (``spectra[table]``)."""
        import pandas as pd

        columns: tuple[str, ...] = ("name", "kind", *COLUMNS)
        if "seed" in self.document:
            columns = (*columns, *RANDOMISED)
        return pd.DataFrame(
            [{name: layer[name] for name in columns} for layer in self.layers]
        )

    def to_json(self) -> str:
        """Return the document as text."""
        return json.dumps(self.document, sort_keys=True, allow_nan=False)


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3g}"


def inspect(  # noqa: PLR0913 - one a question
    model: str | Path,
    /,
    *,
    base: str | Path | None = None,
    layers: Sequence[str] = (),
    randomize: bool = False,
    seed: int = 0,
    memory: str | int = "4GiB",
    on_event: Observer | None = None,
) -> Inspection:
    """Look at the spectra of one checkpoint, layer by layer; reads weights.

    Parameters
    ----------
    model
        A folder, a ``.safetensors`` file or ``org/name@revision`` of a hub.
    base
        Another checkpoint, subtracted from full weights.
    layers
        Globs that layers' or tensors' names must match.
    randomize
        Compare each layer with its own entries in random order.
    seed
        Of that order.
    memory
        What the process may take, as ``"4GiB"``.
    on_event
        Told after each layer.

    Raises
    ------
    UsageError
        When it is no single checkpoint, or no layer matches.
    BudgetError
        When a layer does not fit the memory.
    """
    document = inspect_checkpoint(
        str(model),
        base=None if base is None else str(base),
        layers=layers,
        seed=seed if randomize else None,
        memory=memory,
        on_event=on_event,
    )
    return Inspection(document)
