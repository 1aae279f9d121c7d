"""Mean, directions and N x k coefficients of a run's layers, written."""

from collections.abc import Sequence
from pathlib import Path

from spectra.apply.compression.layer import Wish, loss_document
from spectra.core.events import Observer
from spectra.statistics.kinship.population import Groupings
from spectra.store.atomic import replacing
from spectra.store.tensorfile import Planned, write_tensors
from spectra.study.again import Again
from spectra.study.basis import write_basis
from spectra.study.compression.compressed_files import (
    BASIS,
    COEFFICIENTS,
    SCHEMA,
)
from spectra.study.compression.held_layers import HeldLayer
from spectra.study.compression.written import Written
from spectra.subspaces.joint import Subspace, joint_subspace
from spectra.subspaces.result import PopulationFit

__all__ = ["write_model_axis"]


def write_model_axis(  # noqa: PLR0913 - one a question
    fit: PopulationFit,
    folder: Path,
    wish: Wish,
    layers: Sequence[HeldLayer],
    groupings: Groupings,
    /,
    *,
    again: Again,
    memory: int,
    on_event: Observer | None,
) -> Written:
    """Write both files of a compressed population.

    Members are read for the directions; the coefficients are in the run's
    inner products already.

    Parameters
    ----------
    fit
        The run.
    folder
        Where.
    wish
        How many directions.
    layers
        Of the run.
    groupings
        Who is held out with whom.
    again
        The run's checkpoints as they were found again.
    memory
        What the process may take.
    on_event
        Told after each layer.
    """
    kept = [
        joint_subspace(one.layer, wish.directions(one.layer)) for one in layers
    ]
    basis = write_basis(
        fit,
        folder / BASIS,
        k=[len(subspace.eigenvalues) for subspace in kept],
        axis="model",
        again=again,
        memory=memory,
        on_event=on_event,
    )
    _write_coefficients(folder / COEFFICIENTS, basis.layers, kept)
    sizes = [one.layer.shape[0] * one.layer.shape[1] for one in layers]
    return Written(
        names=basis.layers,
        basis=sum(
            4 * size * (1 + subspace.coordinates.shape[1])
            for size, subspace in zip(sizes, kept, strict=True)
        ),
        coefficients=sum(4 * subspace.coordinates.size for subspace in kept),
        losses=tuple(
            {
                **loss_document(
                    one.layer,
                    subspace,
                    groupings,
                    learned_mean=one.layer.kind != "dense"
                    or fit.started_from_zero,
                ),
                **wish.document(one.layer),
            }
            for one, subspace in zip(layers, kept, strict=True)
        ),
    )


def _write_coefficients(
    path: Path, names: Sequence[str], kept: Sequence[Subspace]
) -> None:
    """Write N x k coordinates of each layer, in float32."""
    planned = [
        Planned(f"{name}.coefficients", "F32", subspace.coordinates.shape)
        for name, subspace in zip(names, kept, strict=True)
    ]
    tensors = (
        (place.name, subspace.coordinates.astype("<f4"))
        for place, subspace in zip(planned, kept, strict=True)
    )
    with replacing(path) as draft, draft.open("wb") as file:
        write_tensors(
            file, planned, tensors,
            metadata={"format": "pt", "schema": SCHEMA},
        )  # fmt: skip
