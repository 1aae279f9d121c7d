"""Adapters or checkpoints merged into one, as a user holds the result."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from spectra.api.catalog import Catalog, scan
from spectra.api.documented import Documented
from spectra.core.events import Observer
from spectra.core.text import printable
from spectra.report.wording import n_of
from spectra.study.merging.asked import Wanted
from spectra.study.merging.kinds import merge_catalog

__all__ = ["Merged", "merge"]


@dataclass(frozen=True, slots=True, repr=False)
class Merged(Documented):
    """The adapter, or checkpoint, that several were merged into.

    Attributes
    ----------
    document
        What ``spectra merge --json`` prints.
    """

    document: dict[str, Any]

    @property
    def path(self) -> Path:
        """Return the folder, which PEFT or transformers reads."""
        return Path(self.document["path"])

    @property
    def method(self) -> str:
        """Return how they were merged."""
        return str(self.document["method"])

    @property
    def notes(self) -> list[str]:
        """Return what whoever uses it should know, sentences."""
        return list(self.document["notes"])

    @property
    def interference(self) -> dict[str, Any] | None:
        """Return how much the adapters get in each other's way, if asked."""
        found: dict[str, Any] | None = self.document["interference"]
        return found

    @property
    def text(self) -> str:
        """Return what was done, a sentence."""
        found = self.document
        if found["rank"] is None:
            return (
                f"{len(found['models'])} checkpoints merged by"
                f" {found['method']}, {n_of(len(self.layers), 'tensor')},"
                f" {found['nbytes'] / 1e6:.1f} MB ->"
                f" {printable(found['path'], 1000)}"
            )
        return (
            f"{len(found['models'])} adapters merged by {found['method']},"
            f" {n_of(len(self.layers), 'layer')} of rank"
            f" {found['rank']}, relative error of the rank"
            f" {found['error']:.2e} ->"
            f" {printable(found['path'], 1000)}"
        )


def merge(  # noqa: PLR0913 - one a question
    models: Catalog | str | Path | Sequence[str | Path],
    out: str | Path,
    /,
    *,
    method: str,
    lam: float | None = None,
    density: float | None = None,
    weights: Sequence[float] | Mapping[str, float] | None = None,
    seed: int | None = None,
    k: int | None = None,
    space: str | None = None,
    trim: str | None = None,
    base: str | Path | None = None,
    rank: int | None = None,
    layers: Sequence[str] = (),
    dtype: str | None = None,
    shard_size: str | int | None = None,
    memory: str | int = "4GiB",
    interference: bool = False,
    mergekit: str | Path | None = None,
    on_event: Observer | None = None,
) -> Merged:
    """Merge LoRA adapters, or full checkpoints, into one, and write it.

    Parameters
    ----------
    models
        From `scan`, or one or more SOURCEs: adapters alone, or full
        checkpoints alone. They are taken in the order of their ids, however
        they are named.
    out
        The folder to write: new, empty, or an older merge.
    method
        One of ``docs/merge.md``, which also says which of the next seven
        options each takes.
    lam
        Multiplies what is merged.
    density
        Share of the entries that are kept.
    weights
        One an adapter, in the order of ids, or by id.
    seed
        Of random numbers.
    k
        Directions of the joint subspace.
    space
        Whose entries are compared: ``"dense"``, the updates' own, or
        ``"core"``.
    trim
        Where their share is counted: over the ``"model"``, or in each
        ``"layer"`` alone.
    base
        Of full checkpoints: what they were made from, a SOURCE.
    rank
        Of the merged adapter; None for the largest among the parents.
    layers
        Globs of names of layers or tensors; all where empty. Of full
        checkpoints the rest is kept as it is in the base, or in the first.
    dtype
        ``"F32"``, ``"BF16"`` or ``"F16"``; None for that of the parents, F32
        where those of adapters differ.
    shard_size
        Of full checkpoints: the most that one file takes; None for ``"5GB"``.
    memory
        What the process may take, as ``"4GiB"``.
    interference
        Whether to measure how much the adapters get in each other's way.
    mergekit
        A file to write as well, by which mergekit does the same.
    on_event
        Told after each layer.

    Raises
    ------
    UsageError
        When they cannot be merged so, or `out` holds something else.
    BudgetError
        When a layer does not fit the memory.
    StorageError
        When it cannot be written; each file there is the old or the new.
    """
    if isinstance(models, str | Path):
        models = [models]
    if not isinstance(models, Catalog):
        models = scan(*models)
    wanted = Wanted(
        method=method,
        options={
            "lam": lam, "density": density, "weights": weights, "seed": seed,
            "k": k, "space": space, "trim": trim,
        },
        rank=rank, layers=tuple(layers), dtype=dtype, memory=memory,
        shard_size=shard_size, interference=interference,
        base=None if base is None else str(base),
        mergekit=None if mergekit is None else Path(mergekit),
    )  # fmt: skip
    return Merged(
        merge_catalog(models.value, Path(out), wanted, on_event=on_event)
    )
