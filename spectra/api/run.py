"""A fitted population as a user holds it, and how to get one."""

import os
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

from spectra.core.errors import UsageError
from spectra.core.events import Observer
from spectra.core.text import printable
from spectra.statistics.document.metrics import metrics_rows
from spectra.store.runfile import read
from spectra.subspaces.joint import Subspace, joint_subspace
from spectra.subspaces.result import LayerFit, Member, PopulationFit

if TYPE_CHECKING:
    from spectra.api.catalog import Catalog
    from spectra.hub.datasets import Fetched

__all__ = ["Run", "fit", "load"]


@dataclass(frozen=True, slots=True, repr=False)
class Run:
    """Small matrices of every layer of a population.

    Attributes
    ----------
    value
        All of it; layers are read from `path` when they are asked for.
    path
        The run file, None where the run is in memory alone.
    n_new
        How many of the checkpoints this fit has added to a run that was there
        already; None where there was none.
    catalog
        What was fitted, where the run is in memory alone.
    origin
        Where the run is a hub's: `path` is then a file of the cache, and
        nothing is added to it.
    """

    value: PopulationFit
    path: Path | None = None
    n_new: int | None = None
    origin: "Fetched | None" = None
    catalog: "Catalog | None" = None

    def __repr__(self) -> str:
        """Return one line."""
        return (
            f"Run({len(self.value.models)} checkpoints,"
            f" {len(self.value.layers)} layers)"
        )

    def _repr_html_(self) -> str:
        rows = "".join(
            f"<tr><td>{escape(printable(layer.name))}</td>"
            f"<td>{layer.kind}</td>"
            f"<td>{layer.shape[0]} x {layer.shape[1]}</td>"
            f"<td>{len(layer.members)}</td></tr>"
            for layer in self.value.layers
        )
        return (
            f"<p>{escape(repr(self))}</p><table><thead><tr><th>layer</th>"
            "<th>kind</th><th>out x in</th><th>members</th></tr></thead>"
            f"<tbody>{rows}</tbody></table>"
        )

    @property
    def models(self) -> tuple[Member, ...]:
        """Return the members of the population."""
        return self.value.models

    @property
    def layers(self) -> tuple[str, ...]:
        """Return the names of the layers, in order."""
        return tuple(layer.name for layer in self.value.layers)

    def layer(self, name: str, /) -> LayerFit:
        """Return the matrices of the layer of that name.

        Raises
        ------
        UsageError
            When there is none, or more than one.
        """
        found = [layer for layer in self.value.layers if layer.name == name]
        if len(found) == 1:
            return found[0]
        if found:
            raise UsageError(
                "E_AMBIGUOUS_LAYER",
                f"the run has {len(found)} layers {printable(name)!r}, of"
                f" shapes {', '.join(str(layer.shape) for layer in found)}",
                advice="pick one from Run.value.layers",
            )
        raise UsageError(
            "E_NO_LAYER",
            f"the run has no layer {printable(name)!r}",
            advice="its layers are in Run.layers",
        )

    def metrics(self) -> list[dict[str, Any]]:
        """Return one row a layer and member, of a fit with ``metrics=True``.

        The rows have ``layer``, ``id`` and the columns of `inspect`, None
        where a number is undefined: ``pandas.DataFrame(run.metrics())``.
        """
        return metrics_rows(self.value)

    def subspace(self, layer: str, /, k: int = 16) -> Subspace:
        """Return the first `k` joint directions of a layer's members."""
        return joint_subspace(self.layer(layer), k)


def fit(
    catalog: "Catalog",
    /,
    out: str | Path | None = None,
    *,
    on_event: Observer | None = None,
    **settings: Any,
) -> Run:
    """Read every layer of a population once.

    Where `out` is a finished run its checkpoints are fitted too, before those
    of `catalog` that it lacks: the result is that of a fit of all of them.

    Parameters
    ----------
    catalog
        From `scan`.
    out
        Where to write the run file; without one the run stays in memory.
    on_event
        Told after each layer.
    settings
        Fields of `FitSettings`: base, layers, rank, device, precision,
        memory (bytes), workers, save_directions, recipe, metrics. Those not
        given are those of the run that is there.

    Raises
    ------
    UsageError
        When there is nothing to compare; when the run that is there has
        another setting, or a checkpoint that is no longer what it was.
    BudgetError
        When a layer cannot fit the memory.
    StorageError
        When the run file cannot be written.
    """
    from spectra.study.grow import fit_into

    path = None if out is None else Path(out)
    value, n_new = fit_into(catalog.value, settings, path, on_event=on_event)
    return Run(value, path, n_new, catalog=None if path else catalog)


def load(path: str | Path, /) -> Run:
    """Return the run that a run file holds, here or on a hub.

    Parameters
    ----------
    path
        Of a run file. A text that is no path of anything here may name a
        dataset repository with a ``run.h5`` instead: ``org/name``,
        ``org/name@revision`` or ``hf://datasets/org/name@revision``.

    Raises
    ------
    UsageError
        When there is no such run file.
    IntegrityError
        When it is damaged.
    HubError
        When the hub cannot be reached.
    """
    if isinstance(path, str) and _is_remote(path):
        from spectra.hub.datasets import fetch_run

        fetched = fetch_run(path)
        return Run(read(fetched.path), fetched.path, origin=fetched)
    return Run(read(Path(path)), Path(path))


def _is_remote(text: str) -> bool:
    """Return whether a text can only mean a repository."""
    if text.startswith("hf://"):
        return True
    local = text.startswith((".", "/", "~")) or text.endswith(".h5")
    return not local and "/" in text and not os.path.lexists(text)
