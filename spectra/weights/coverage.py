"""What became of every tensor: nothing is passed over in silence."""

from collections import Counter
from typing import Any

from spectra.core.catalog import Catalog, Checkpoint, DenseSource

__all__ = ["coverage", "coverage_counts"]

Row = dict[str, Any]

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
