"""What became of every tensor: nothing is passed over in silence."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Any

from spectra.core.catalog import Catalog, Checkpoint, DenseSource, Quarantined
from spectra.weights.kinds import KINDS, kind_of

__all__ = ["coverage", "coverage_by_kind", "coverage_counts"]

Row = dict[str, Any]

End = tuple[str, str]
"""A status, and a reason or nothing."""

_ANALYSED: End = ("analysed", "")

_SKIPPED = "SKIP_"

# Of a configuration or a card; of a layer, whose tensor the checkpoint names.
_OTHERWISE = frozenset(
    {
        "CARD_UNREADABLE",
        "CONFIG_UNREADABLE",
        "LIMIT_DIM",
        "LIMIT_TENSOR_BYTES",
    }
)


def coverage(catalog: Catalog, /) -> list[Row]:
    """Return one row for each tensor of a catalogue's checkpoints.

    Parameters
    ----------
    catalog
        What `spectra.weights.scan.scan` returned.

    Returns
    -------
    list
        Rows of ``id``, ``tensor``, ``status`` (``analysed``, ``skipped`` or
        ``refused``) and ``reason``, a code, None for what is analysed. Where
        a whole checkpoint or a shard is set aside, ``tensor`` is None: the
        row stands for all that it holds.
    """
    rows = [
        _row(model.id, tensor, reason)
        for model in catalog.models
        for tensor, reason in sorted(_reasons(model).items())
    ]
    return rows + [
        _row(entry.id, None, entry.code)
        for entry in catalog.quarantine
        if entry.code not in _OTHERWISE
    ]


def coverage_counts(model: Checkpoint, /) -> Row:
    """Return how many tensors of a checkpoint ended in which way.

    Parameters
    ----------
    model
        One checkpoint.

    Returns
    -------
    dict
        Numbers of tensors: those ``analysed``, those of them that are stored
        in x out (``transposed``), and by reason those ``skipped`` and
        ``refused``.
    """
    reasons = _reasons(model)
    counts = Counter(reason for reason in reasons.values() if reason)
    return {
        "analysed": len(reasons) - counts.total(),
        "transposed": len(
            {
                source.weight.name
                for _, source in model.layers
                if isinstance(source, DenseSource) and source.transposed
            }
        ),
        **{
            status: {
                reason: count
                for reason, count in sorted(counts.items())
                if _status(reason) == status
            }
            for status in ("skipped", "refused")
        },
    }


def coverage_by_kind(
    catalog: Catalog,
    /,
    *,
    refused: Iterable[Quarantined] = (),
    left_out: Iterable[Quarantined] = (),
    layers: Sequence[str] = (),
) -> list[Row]:
    """Return how many tensors of each kind ended in which way in a fit.

    Parameters
    ----------
    catalog
        What was fitted.
    refused, left_out
        What the fit set aside, and what it did not compare.
    layers
        Globs of the layers that were asked for, empty for all.

    Returns
    -------
    list
        Rows of ``kind``, one of `spectra.weights.kinds.KINDS` and in their
        order; ``status`` and ``reason``, as in `coverage`; ``n_tensors``,
        how many such there are; and ``example``, the name of the first.
    """
    ends = _ends(refused, left_out)
    found: dict[tuple[int, End], list[str]] = {}
    for model in catalog.models:
        axes = {
            ref.name: len(ref.shape)
            for _, source in model.layers
            for ref in source.tensors
        }
        for tensor, end in _of_tensors(model, ends, layers).items():
            kind = kind_of(tensor, n_axes=axes.get(tensor, 0))
            key = KINDS.index(kind), end
            found.setdefault(key, []).append(tensor)
    return [
        {
            "kind": KINDS[place],
            "status": status,
            "reason": reason or None,
            "n_tensors": len(tensors),
            "example": tensors[0],
        }
        for (place, (status, reason)), tensors in sorted(found.items())
    ]


def _ends(
    refused: Iterable[Quarantined], left_out: Iterable[Quarantined]
) -> dict[tuple[str, str | None], End]:
    """Return what became of layers by checkpoint and layer.

    A whole checkpoint that is refused is none of the catalogue's; what else
    is said of one, such as that its card cannot be read, is of no tensor.
    """
    ends = {(x.id, x.layer): ("skipped", x.code) for x in left_out}
    ends |= {(x.id, x.layer): ("refused", x.code) for x in refused if x.layer}
    return ends


def _of_tensors(
    model: Checkpoint,
    ends: Mapping[tuple[str, str | None], End],
    globs: Sequence[str],
) -> dict[str, End]:
    """Return how each tensor of a checkpoint ended.

    A tensor of several layers counts as refused where one of them is, as
    skipped where all are.
    """
    found = {x.tensor: (_status(x.reason), x.reason) for x in model.skipped}
    for key, source in model.layers:
        # Entries without a checkpoint, or of "all", are of every one.
        of = [(whose, key.name) for whose in (model.id, "", "all")]
        said = [ends[x] for x in (*of, (model.id, None)) if x in ends]
        if not said and globs and not _matches(key.name, globs):
            said = [("skipped", "NOT_ASKED_FOR")]
        end = said[0] if said else _ANALYSED
        for ref in source.tensors:
            found[ref.name] = min(end, found.get(ref.name, end), key=_severity)
    return found


def _severity(end: End) -> int:
    return ("refused", "analysed", "skipped").index(end[0])


def _matches(name: str, globs: Sequence[str]) -> bool:
    return any(fnmatchcase(name, glob) for glob in globs)


def _reasons(model: Checkpoint) -> dict[str, str | None]:
    """Return why each tensor is not analysed, None for those that are.

    A tensor of several layers of which one is refused counts as refused.
    """
    used = [ref.name for _, source in model.layers for ref in source.tensors]
    skipped = {entry.tensor: entry.reason for entry in model.skipped}
    return dict.fromkeys(used) | skipped


def _row(model: str, tensor: str | None, reason: str | None) -> Row:
    return {
        "id": model,
        "tensor": tensor,
        "status": _status(reason),
        "reason": reason,
    }


def _status(reason: str | None) -> str:
    if reason is None:
        return "analysed"
    return "skipped" if reason.startswith(_SKIPPED) else "refused"
