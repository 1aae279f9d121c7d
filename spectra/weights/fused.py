"""Tensors that hold several maps of one input, one under the other."""

from collections.abc import Callable, Container, Mapping
from dataclasses import replace
from itertools import accumulate, pairwise
from typing import Any

from spectra.core.tensors import TensorRef
from spectra.weights.families import traits

__all__ = ["SIZES", "parts"]

Sizes = Callable[[int, int, Mapping[str, Any]], tuple[int, ...]]


def parts(
    name: str,
    ref: TensorRef,
    width: int,
    /,
    *,
    config: Mapping[str, Any],
    taken: Container[str],
) -> tuple[tuple[str, TensorRef], ...]:
    """Return the maps in a tensor, by name; the tensor itself if it is one.

    Parameters
    ----------
    name
        Of the layer or the tensor.
    ref
        A matrix whose rows are outputs: the full weight, or the factor B.
    width
        Inputs of the layer.
    config
        Of the model.
    taken
        Names of other layers: nothing is divided into these.
    """
    row = traits(name).fused
    if row is None or not (
        row.model_types is None or config.get("model_type") in row.model_types
    ):
        return ((name, ref),)
    sizes = SIZES[row.sizes](ref.shape[0], width, config)
    found = row.names.fullmatch(name)
    names = [
        f"{found['before']}{part}{found['after']}"
        for part in row.parts
        if found
    ]
    if min(sizes, default=0) < 2 or any(part in taken for part in names):
        return ((name, ref),)
    bounds = (0, *accumulate(sizes))
    return tuple(
        (part, _rows(ref, start, stop))
        for part, (start, stop) in zip(names, pairwise(bounds), strict=True)
    )


def _rows(ref: TensorRef, start: int, stop: int) -> TensorRef:
    nbytes = ref.nbytes // ref.shape[0]
    return replace(
        ref,
        start=ref.start + start * nbytes,
        stop=ref.start + stop * nbytes,
        shape=(stop - start, *ref.shape[1:]),
    )


def _thirds(rows: int, width: int, _: Mapping[str, Any]) -> tuple[int, ...]:
    """Return three squares; none where keys and values are narrower."""
    return (width,) * 3 if rows == 3 * width else ()


def _heads(rows: int, _: int, config: Mapping[str, Any]) -> tuple[int, ...]:
    """Return queries, keys and values by the numbers of their heads."""
    heads = config.get("num_attention_heads")
    pairs = config.get("num_key_value_heads") or heads
    if type(heads) is not int or type(pairs) is not int:
        return ()
    if not 0 < pairs <= heads or rows % (heads + 2 * pairs):
        return ()
    size = rows // (heads + 2 * pairs)
    return heads * size, pairs * size, pairs * size


SIZES: Mapping[str, Sizes] = {"thirds": _thirds, "heads": _heads}
"""How many rows belong to each part, by the rule that a table names."""
