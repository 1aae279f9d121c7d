"""Joint diagonalisation of a run's adapters, layer by layer, written."""

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from spectra.apply.compression.layer import Wish
from spectra.apply.compression.scheme import Scheme
from spectra.apply.compression.shared import (
    Shared,
    Tensors,
    shared,
    shared_nbytes,
)
from spectra.backend.memory import Budget
from spectra.core.errors import UsageError
from spectra.core.events import Observer, Progress
from spectra.core.text import printable
from spectra.statistics.kinship.population import Groupings
from spectra.store.atomic import replacing
from spectra.store.tensorfile import Planned, write_tensors
from spectra.study.again import require_same
from spectra.study.basis import BASIS_SCHEMA, layer_names
from spectra.study.compression.compressed_files import (
    BASIS,
    COEFFICIENTS,
    SCHEMA,
)
from spectra.study.compression.held_layers import HeldLayer
from spectra.study.compression.written import Written
from spectra.subspaces.layer import digests
from spectra.subspaces.recipes.stored import stored_members
from spectra.subspaces.recipes.table import Factors
from spectra.weights.bytes import Opener

__all__ = ["require_of_peft", "require_updates", "write_shared_bases"]

Numbers = NDArray[np.float32]


def require_updates(layers: Sequence[HeldLayer], name: str, /) -> None:
    """Refuse layers that are no updates with factors.

    Parameters
    ----------
    layers
        Of a run.
    name
        Of the scheme.

    Raises
    ------
    UsageError
        E_SCHEME.
    """
    for one in layers:
        if one.layer.kind != "low-rank":
            raise UsageError(
                "E_SCHEME",
                f"{name} is of adapters, and {printable(one.layer.name, 80)}"
                " holds full weights",
                advice="use --scheme model-axis, or name the adapters' layers"
                " with --layers",
            )


def require_of_peft(others: Sequence[str], name: str, /) -> None:
    """Refuse members that are no adapters of PEFT: none could be made again.

    Parameters
    ----------
    others
        Ids of such members.
    name
        Of the scheme.

    Raises
    ------
    UsageError
        E_SCHEME.
    """
    if others:
        raise UsageError(
            "E_SCHEME",
            f"{name} is of adapters of PEFT, and {printable(others[0])} is"
            " none: it has no adapter_config.json",
            advice="use --scheme model-axis",
        )


def write_shared_bases(  # noqa: PLR0913 - one a question
    folder: Path,
    scheme: Scheme,
    wish: Wish,
    layers: Sequence[HeldLayer],
    groupings: Groupings,
    /,
    *,
    opener: Opener,
    memory: int,
    on_event: Observer | None,
) -> Written:
    """Write both files of a compressed population of adapters.

    Members are read once to see that they are what was fitted, and once for
    their factors. What is written is held until all layers are done.

    Parameters
    ----------
    folder
        Where.
    scheme
        One of joint diagonalisation.
    wish
        The rank of the bases, or what they have to keep.
    layers
        Of the run.
    groupings
        Who is held out with whom.
    opener
        Opens the members' files.
    memory
        What the process may take.
    on_event
        Told after each layer.
    """
    names = layer_names([one.layer for one in layers])
    bases: list[tuple[str, Numbers]] = []
    sigmas: list[tuple[str, Numbers]] = []
    losses = []
    for done, (name, one) in enumerate(
        zip(names, layers, strict=True), start=1
    ):
        found = _layer(one, scheme, wish, groupings, opener, memory)
        for number, part in enumerate(found.tensors):
            bases += _named(f"{name}.{number}", part, ("U", "V"))
            sigmas += _named(f"{name}.{number}", part, ("sigma",))
        losses.append(found.document)
        if on_event is not None:
            on_event(Progress("layers", done, len(layers), one.layer.name))
    return Written(
        names=names,
        basis=_write(folder / BASIS, bases, BASIS_SCHEMA),
        coefficients=_write(folder / COEFFICIENTS, sigmas, SCHEMA),
        losses=tuple(losses),
    )


def _layer(
    one: HeldLayer,
    scheme: Scheme,
    wish: Wish,
    groupings: Groupings,
    opener: Opener,
    memory: int,
) -> Shared:
    ranks = [source.tensors[0].shape[0] for _, _, source in one.task.holders]
    # What is held of the layers before is resident, and counted there.
    Budget.of_process(memory, workers=1).require(
        f"layer {printable(one.layer.name)}",
        shared_nbytes(one.layer.shape, ranks, wish, scheme.clusters),
    )
    require_same(one.layer, *digests(one.task, opener))
    members = [
        member
        for member in stored_members(one.task, opener)()
        if isinstance(member, Factors)
    ]
    groups = groupings.labels(one.layer.members)
    return shared(members, scheme, wish, groups)


def _named(
    name: str, part: Tensors, kinds: Iterable[str]
) -> Iterator[tuple[str, Numbers]]:
    for kind in kinds:
        values = np.ascontiguousarray(getattr(part, kind), "<f4")
        yield f"{name}.{kind}", values


def _write(
    path: Path, tensors: Sequence[tuple[str, Numbers]], schema: str
) -> int:
    """Write tensors in float32; return their bytes."""
    planned = [Planned(name, "F32", F.shape) for name, F in tensors]
    with replacing(path) as draft, draft.open("wb") as file:
        write_tensors(
            file, planned, tensors,
            metadata={"format": "pt", "schema": schema},
        )  # fmt: skip
    return sum(place.nbytes for place in planned)
