"""A population kept as its joint subspaces, and a member made from it."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from spectra.api.documented import Documented
from spectra.api.run import Run
from spectra.apply.compression.layer import Wish
from spectra.apply.compression.scheme import Scheme
from spectra.core.events import Observer
from spectra.core.text import printable
from spectra.statistics.plain import percent
from spectra.study.compression.population import compress_run
from spectra.study.compression.reconstruction import reconstruct_member

__all__ = ["Compressed", "Reconstructed", "compress", "reconstruct"]

_DIRECTIONS = 16


@dataclass(frozen=True, slots=True, repr=False)
class Compressed(Documented):
    """What a compressed population takes and loses.

    Attributes
    ----------
    path
        The folder.
    document
        What ``spectra compress --json`` prints.
    """

    path: Path
    document: dict[str, Any]


@dataclass(frozen=True, slots=True, repr=False)
class Reconstructed(Documented):
    """A checkpoint that was made from a compressed population.

    Attributes
    ----------
    path
        Its folder.
    document
        What ``spectra reconstruct --json`` prints.
    """

    path: Path
    document: dict[str, Any]

    @property
    def text(self) -> str:
        """Return what was written, a sentence."""
        is_joint = self.document["scheme"] != "model-axis"
        what = "norm" if is_joint else "deviation"
        errors = [e for r in self.layers if (e := r["error"]) is not None]
        lost = (
            f", at most {percent(max(errors))} of a squared {what} lost"
            if errors
            else ""
        )
        stored = [r["stored_error"] for r in self.layers if "rank" in r]
        if stored and is_joint:
            lost += (
                f", written with rank {max(r['rank'] for r in self.layers)}"
            )
        elif stored:
            lost += f", relative error of the own rank up to {max(stored):.2e}"
        return (
            f"{printable(self.document['model'])}: {len(self.layers)} layers"
            f" made again{lost} -> {printable(str(self.path), 1000)}"
        )


def compress(  # noqa: PLR0913 - one a question
    run: Run,
    out: str | Path,
    /,
    *,
    scheme: str = "model-axis",
    k: int | None = None,
    energy: float | None = None,
    clusters: int = 1,
    seed: int = 0,
    layers: Sequence[str] = (),
    memory: str | int = "4GiB",
    on_event: Observer | None = None,
) -> Compressed:
    """Keep a population as what its members share, and numbers of each one.

    Parameters
    ----------
    run
        From `fit` or `load`; its checkpoints have to be where they were.
    out
        The folder to write: new, empty, or an older result.
    scheme
        ``"model-axis"``, mean and directions of whole maps and k numbers a
        member; or of adapters alone ``"jd-full"`` and ``"jd-diag"``, bases of
        rank k of both sides and a k x k or a diagonal matrix a member.
    k
        Directions of every layer, or the rank of its bases; 16 where neither
        is given.
    energy
        In its place: of each layer as few as keep this share of the squared
        deviations from the mean; of adapters, of the squared norms.
    clusters
        Groups of members in each layer that have bases of their own, of the
        schemes of joint diagonalisation.
    seed
        Of their start.
    layers
        Globs of layer names; all where empty.
    memory
        What the process may take, as ``"4GiB"``.
    on_event
        Told after each member and each layer.

    Raises
    ------
    UsageError
        When a number is out of range, no layer matches, the scheme is not for
        such layers, or `out` holds something else.
    IntegrityError
        When a checkpoint is not what it was when it was fitted.
    BudgetError
        When a layer does not fit the memory.
    StorageError
        When it cannot be written.
    """
    if k is None and energy is None:
        k = _DIRECTIONS
    document = compress_run(
        run.value, Path(out), Scheme(scheme, clusters, seed), Wish(k, energy),
        layers=layers, memory=memory, on_event=on_event,
    )  # fmt: skip
    return Compressed(Path(out), document)


def reconstruct(
    folder: str | Path,
    model: str,
    out: str | Path,
    /,
    *,
    memory: str | int = "4GiB",
    on_event: Observer | None = None,
) -> Reconstructed:
    """Write a member of a compressed population as a checkpoint.

    Parameters
    ----------
    folder
        From `compress`.
    model
        The member's id, or the last part of it; its own files have to be
        where they were: what is no analysed layer is copied from there.
    out
        The folder to write: new, empty, or an older result.
    memory
        What the process may take, as ``"4GiB"``.
    on_event
        Told after each layer.

    Raises
    ------
    UsageError
        When there is no such member, or `out` holds something else.
    IntegrityError
        When its files, the base or `folder` are not what they were.
    BudgetError
        When a layer does not fit the memory.
    StorageError
        When it cannot be written; each file there is the old or the new.
    """
    document = reconstruct_member(
        Path(folder), model, Path(out), memory=memory, on_event=on_event
    )
    return Reconstructed(Path(out), document)
