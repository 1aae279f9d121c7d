"""Wrappers that no table knows, found by what the population has in common."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace

from spectra.core.catalog import Checkpoint, LayerKey, LayerSource
from spectra.weights.families import read_families

__all__ = ["without_unknown_prefixes"]

# Wrappers are one or two words; more would be parts of the model.
_WORDS = 3

Layers = tuple[tuple[LayerKey, LayerSource], ...]


def without_unknown_prefixes(
    checkpoints: Sequence[Checkpoint], /
) -> tuple[Checkpoint, ...]:
    """Return the checkpoints, renamed where a wrapper hid what they share.

    A prefix is taken away where more than half of a checkpoint's layers have
    it, at least half of these meet a layer of another checkpoint, with shape
    and kind, once it is gone, and no two layers come to one name. Parts of
    models, such as ``encoder``, are never taken away.

    Parameters
    ----------
    checkpoints
        With names from `~spectra.weights.naming.layer_names`.

    Returns
    -------
    tuple
        In the same order.
    """
    counts = Counter(
        key for checkpoint in checkpoints for key, _ in checkpoint.layers
    )
    return tuple(
        replace(checkpoint, layers=_renamed(checkpoint.layers, counts))
        for checkpoint in checkpoints
    )


def _renamed(layers: Layers, counts: Mapping[LayerKey, int]) -> Layers:
    # The longest first among equals, so that wrappers within wrappers come to
    # one name whichever member has how many of them.
    best, most = layers, 0
    for prefix in sorted(_candidates(layers), key=len, reverse=True):
        renamed, met = _without(prefix, layers, counts)
        if met > most:
            best, most = renamed, met
    return best


def _without(
    prefix: str, layers: Layers, counts: Mapping[LayerKey, int]
) -> tuple[Layers, int]:
    """Return the layers renamed, and how many meet others; 0 if unsound."""
    found = {
        key: LayerKey(key.name[len(prefix) :], key.shape, key.kind)
        for key, _ in layers
        if key.name.startswith(prefix)
    }
    own = {key for key, _ in layers}
    met = sum(counts[key] > (key in own) for key in found.values())
    renamed = tuple((found.get(key, key), at) for key, at in layers)
    unique = len({key.name for key, _ in renamed}) == len(renamed)
    if not unique or 2 * met < len(found):
        return layers, 0
    return tuple(sorted(renamed, key=lambda layer: layer[0])), met


def _candidates(layers: Layers) -> list[str]:
    """Return the prefixes of one to three words that most layers have.

    Two of them are never beside, always within each other.
    """
    parts = read_families().parts
    counts: Counter[str] = Counter()
    for key, _ in layers:
        words = key.name.split(".")
        for n in range(1, min(_WORDS, len(words) - 1) + 1):
            if words[n - 1] in parts or words[n - 1].isdigit():
                break
            counts[".".join(words[:n]) + "."] += 1
    return [
        prefix for prefix, n in sorted(counts.items()) if 2 * n > len(layers)
    ]
