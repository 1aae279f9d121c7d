"""What a merge of full checkpoints will do, known before it begins."""

from dataclasses import dataclass

from spectra.apply.merging.choice import Choice, chosen
from spectra.apply.merging.dense import FULL
from spectra.backend.memory import parse_bytes
from spectra.core.catalog import Catalog
from spectra.core.errors import UsageError
from spectra.core.tensors import REAL_DTYPES
from spectra.store.shards import Shard, shards_of
from spectra.store.tensorfile import Planned
from spectra.study.merging.asked import Wanted, require_dtype
from spectra.study.merging.full_parents import FullParents, full_parents_of

__all__ = ["FullPlan", "bytes_of", "full_plan_of"]

_SHARD = "5GB"
"""As huggingface_hub and transformers have it."""


@dataclass(frozen=True, slots=True)
class FullPlan:
    """What a merge will do, known before any weight is read.

    Attributes
    ----------
    dtype
        Of what is written; None for each tensor's own.
    planned
        The tensors as they are written, one for each of the parents'.
    shards
        The files that they are in.
    """

    catalog: Catalog
    parents: FullParents
    choice: Choice
    dtype: str | None
    planned: tuple[Planned, ...]
    shards: tuple[Shard, ...]


def full_plan_of(catalog: Catalog, wanted: Wanted, /) -> FullPlan:
    """Return what is to be done.

    Parameters
    ----------
    catalog
        The parents.
    wanted
        What is asked.

    Raises
    ------
    UsageError
        E_METHOD, E_BASE or E_MERGE.
    """
    require_dtype(wanted.dtype)
    _require_full(wanted)
    parents = full_parents_of(catalog, wanted.base, wanted.layers)
    ids = [model.id for model in parents.models]
    choice = chosen(wanted.method, wanted.options, ids)
    if choice.options.get("space") == "core":
        raise UsageError(
            "E_METHOD",
            "full weights have no cores: --space core is of adapters",
            advice="leave it out",
        )
    if FULL[choice.method.name].needs_base and parents.base is None:
        raise UsageError(
            "E_METHOD",
            f"{choice.method.name} merges differences from a base",
            advice="name what the parents were made from: --base SOURCE",
        )
    planned = tuple(
        Planned(
            own.name,
            wanted.dtype
            if wanted.dtype and own.dtype in REAL_DTYPES
            else own.dtype,
            own.shape,
        )
        for own in (tensor.own for tensor in parents.tensors)
    )
    return FullPlan(
        catalog,
        parents,
        choice,
        wanted.dtype,
        planned,
        shards_of(planned, bytes_of(wanted.shard_size or _SHARD)),
    )


def _require_full(wanted: Wanted) -> None:
    """Refuse what is asked of adapters alone."""
    asked = {
        "--rank": wanted.rank is not None,
        "--interference": wanted.interference,
    }
    given = [flag for flag, is_given in asked.items() if is_given]
    if given:
        raise UsageError(
            "E_METHOD",
            f"{', '.join(given)} is of adapters, and these are full weights",
            advice="leave it out",
        )


def bytes_of(amount: str | int, /) -> int:
    """Return a number of bytes, given as text or as it is."""
    return parse_bytes(amount) if isinstance(amount, str) else amount
