"""The tensors of one checkpoint, sorted into layers and what is left out."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from spectra.core.catalog import (
    DenseSource,
    LayerKey,
    LayerSource,
    Skipped,
)
from spectra.core.errors import Quarantine
from spectra.core.tensors import REAL_DTYPES, TensorRef
from spectra.core.text import printable
from spectra.weights.families import Order, Traits, read_families, traits
from spectra.weights.fused import parts
from spectra.weights.limits import Limits
from spectra.weights.naming import layer_names

__all__ = ["Sorted", "check_not_quantised", "sort_dense"]

_INTEGERS = ("BOOL", "I", "U")
_CODES = ("I", "U", "F4", "F6_", "F8_E8M0")


@dataclass(frozen=True, slots=True)
class Sorted:
    """The layers of one checkpoint, in order of name, and the rest of it.

    Attributes
    ----------
    skipped
        Tensors that are no layers, and those of the layers in `refused`.
    refused
        (layer, code, detail) of layers that are over a limit.
    """

    layers: tuple[tuple[LayerKey, LayerSource], ...]
    skipped: tuple[Skipped, ...]
    refused: tuple[tuple[str, str, str], ...] = ()


def check_not_quantised(
    tensors: Iterable[TensorRef], config: Mapping[str, Any], /
) -> None:
    """Raise Quarantine where a checkpoint holds codes instead of weights."""
    nested = [part for part in config.values() if isinstance(part, dict)]
    for key in read_families().quantised_config:
        if any(part.get(key) for part in (config, *nested)):
            raise _quantised(f"config.json has a {key}")
    for ref in tensors:
        if traits(ref.name).quantised:
            raise _quantised(
                f"tensor {printable(ref.name, 80)} belongs to a quantised"
                " checkpoint"
            )
        if _holds_codes(ref):
            raise _quantised(
                f"{printable(ref.name, 80)} is stored as {ref.dtype}"
            )


def _quantised(what: str) -> Quarantine:
    return Quarantine(
        "QUANTISED", f"{what}; use the base model, or save it dequantised"
    )


def _holds_codes(ref: TensorRef) -> bool:
    """Return whether a matrix of weights is kept as something else."""
    return (
        len(ref.shape) > 1
        and _ends(ref, "weight")
        and ref.dtype.startswith(_CODES)
    )


def sort_dense(
    tensors: Iterable[TensorRef],
    config: Mapping[str, Any],
    /,
    *,
    limits: Limits,
) -> Sorted:
    """Return the full weight matrices among the tensors of a checkpoint.

    Parameters
    ----------
    tensors
        All of them.
    config
        The content of config.json, empty where there is none.
    limits
        Caps on axes, bytes and sides.

    Returns
    -------
    Sorted
        Every tensor is in one of its layers or among the skipped ones.
    """
    tensors = tuple(tensors)
    swapped = _conv1d_is_swapped(tensors, config)
    taken = {ref.name for ref in tensors}
    skipped: list[Skipped] = []
    maps: dict[str, DenseSource] = {}
    for ref in tensors:
        known = traits(ref.name)
        order = "out-last" if swapped and known.conv1d else known.order
        source = _as_matrix(ref, order)
        reason = _reason_to_skip(ref, known, source, limits)
        if reason:
            skipped.append(Skipped(ref.name, reason))
        elif source.transposed or len(ref.shape) > 2:
            maps[ref.name] = source
        else:
            width = ref.shape[1]
            found = parts(ref.name, ref, width, config=config, taken=taken)
            maps |= {name: DenseSource(rows) for name, rows in found}
            taken |= {name for name, _ in found}
    names = layer_names(maps)
    return _within_limits(
        {names[name]: source for name, source in maps.items()},
        tuple(skipped),
        limits,
    )


def _conv1d_is_swapped(
    tensors: Iterable[TensorRef], config: Mapping[str, Any]
) -> bool:
    shapes = [
        ref.shape
        for ref in tensors
        if len(ref.shape) == 2 and traits(ref.name).wider
    ]
    in_by_out = sum(rows < columns for rows, columns in shapes)
    out_by_in = sum(rows > columns for rows, columns in shapes)
    if in_by_out != out_by_in:
        return in_by_out > out_by_in
    return config.get("model_type") in read_families().conv1d_types


def _as_matrix(ref: TensorRef, order: Order) -> DenseSource:
    """Return `ref` as the matrix that its bytes are, in their order."""
    if order == "out-last":
        shape = (math.prod(ref.shape[:-1]), *ref.shape[-1:])
        return DenseSource(replace(ref, shape=shape), transposed=True)
    if order == "in-first":
        shape = (*ref.shape[:1], math.prod(ref.shape[1:]))
        return DenseSource(replace(ref, shape=shape), transposed=True)
    return DenseSource(ref)


def _reason_to_skip(
    ref: TensorRef, known: Traits, source: DenseSource, limits: Limits
) -> str | None:
    reasons = {
        "SKIP_BOOKKEEPING": known.bookkeeping,
        "SKIP_INTEGER": ref.dtype.startswith(_INTEGERS),
        "SKIP_DTYPE": ref.dtype not in REAL_DTYPES,
        "SKIP_EMPTY": ref.size == 0,
        "SKIP_NDIM": len(ref.shape) > limits.ndim,
        "SKIP_NOT_MATRIX": not _is_map(ref, known.order)
        or min(_sides(source)) < 2,
    }
    return next((reason for reason, holds in reasons.items() if holds), None)


def _is_map(ref: TensorRef, order: Order) -> bool:
    """Return whether a tensor is a linear map between two spaces.

    More than two axes are one where the name says that it is a kernel: a
    convolution. Stacked experts, position tables with a batch axis and the
    like are not. A bias never is.
    """
    if len(ref.shape) < 2 or order == "none" or _ends(ref, "bias"):
        return False
    return len(ref.shape) == 2 or order != "out-first" or _ends(ref, "weight")


def _ends(ref: TensorRef, word: str) -> bool:
    return ref.name == word or ref.name.endswith((f".{word}", f"/{word}"))


def _sides(source: DenseSource) -> tuple[int, int]:
    first, *rest = source.weight.shape
    sides = (first, math.prod(rest))
    return (sides[1], sides[0]) if source.transposed else sides


def _within_limits(
    maps: Mapping[str, DenseSource],
    skipped: tuple[Skipped, ...],
    limits: Limits,
) -> Sorted:
    layers, refused = [], []
    over: dict[str, Skipped] = {}
    for name, source in maps.items():
        out, inner = _sides(source)
        fault = _over_limit(source.weight.nbytes, min(out, inner), limits)
        if fault:
            refused.append((name, *fault))
            tensor = source.weight.name
            over[tensor] = Skipped(tensor, fault[0])
        else:
            layers.append((LayerKey(name, (out, inner), "dense"), source))
    return Sorted(
        tuple(sorted(layers, key=lambda layer: layer[0])),
        (*skipped, *over.values()),
        tuple(sorted(refused)),
    )


def _over_limit(
    nbytes: int, side: int, limits: Limits
) -> tuple[str, str] | None:
    if side > limits.min_side:
        at = f"min(out, in) = {side} > min_side = {limits.min_side}"
        return "LIMIT_DIM", at
    if nbytes > limits.tensor_bytes:
        at = f"{nbytes} B > tensor_bytes = {limits.tensor_bytes}"
        return "LIMIT_TENSOR_BYTES", at
    return None
