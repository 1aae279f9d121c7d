"""The tensors of one adapter, paired into updates ``scale * B @ A``."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import replace

from spectra.core.catalog import LayerKey, LayerSource, LowRankSource, Skipped
from spectra.core.errors import Quarantine
from spectra.core.tensors import REAL_DTYPES, TensorRef
from spectra.core.text import printable
from spectra.weights.adapters import checked_alpha
from spectra.weights.bytes import Opener
from spectra.weights.formats.raw import RawCheckpoint
from spectra.weights.fused import parts
from spectra.weights.layers import Sorted, sort_dense
from spectra.weights.limits import Limits
from spectra.weights.lora import Naming
from spectra.weights.lora.naming import Scale, Side
from spectra.weights.naming import layer_names
from spectra.weights.scalars import read_scalars

__all__ = ["sort_low_rank"]

Pair = dict[Side, TensorRef]
Layer = tuple[LayerKey, LayerSource]

# Beside the updates, and of no use without the base.
_OF_THE_BASE = (".base_layer.weight", ".original_module.weight")
_ROWS = ".token_adapter."


def sort_low_rank(
    raw: RawCheckpoint,
    naming: Naming,
    opener: Opener,
    /,
    *,
    limits: Limits,
) -> Sorted:
    """Return the updates that an adapter holds.

    Parameters
    ----------
    raw
        All of its tensors, and its papers.
    naming
        What they are called.
    opener
        Opens the files, for the alphas that are tensors.
    limits
        Caps on full weights beside the updates.

    Returns
    -------
    Sorted
        An embedding's factors are those of the transposed update, so its
        shape is (size, vocabulary). Full weights that were saved beside the
        updates (modules_to_save) are dense layers.

    Raises
    ------
    Quarantine
        SHAPE_MISMATCH where A and B do not fit, ADAPTER_CONFIG where the
        scale is unknown or impossible.
    """
    pairs, rest = _paired(raw.tensors, naming)
    alphas = {
        module: pair.pop("alpha")
        for module, pair in pairs.items()
        if "alpha" in pair
    }
    numbers = read_scalars(alphas.values(), raw.files, opener)
    scale = naming.scale(
        raw,
        {
            module: checked_alpha(ref.name, numbers[ref.name])
            for module, ref in alphas.items()
        },
    )
    beside = _beside(rest, naming, limits)
    layers, skipped = list(beside.layers), list(beside.skipped)
    skipped += [Skipped(ref.name, "SKIP_SCALE") for ref in alphas.values()]
    names = _names(pairs, naming)
    taken = set(names.values())
    for module, pair in pairs.items():
        source = _source(module, pair, scale)
        if min(source.B.shape[0], source.A.shape[1]) > 1:
            found = _layers(names[module], source, taken)
            layers += found
            taken |= {key.name for key, _ in found}
        else:
            skipped += [
                Skipped(ref.name, "SKIP_NOT_MATRIX") for ref in pair.values()
            ]
    return Sorted(
        tuple(sorted(layers, key=lambda layer: layer[0])),
        tuple(skipped),
        beside.refused,
    )


def _paired(
    tensors: Iterable[TensorRef], naming: Naming
) -> tuple[dict[str, Pair], list[TensorRef]]:
    """Return what belongs to each module, and what to none."""
    pairs: dict[str, Pair] = {}
    rest = []
    for ref in tensors:
        role = naming.role(ref)
        if role is not None:
            _enter(pairs.setdefault(role[0], {}), role[1], ref)
        elif ".lora_" in ref.name and not ref.name.endswith(".bias"):
            raise Quarantine(
                "ADAPTER_CONFIG",
                f"tensor {printable(ref.name, 80)} belongs to a variant of"
                " LoRA whose update is not scale * B @ A",
            )
        else:
            rest.append(ref)
    return pairs, rest


def _enter(pair: Pair, side: Side, ref: TensorRef) -> None:
    if side in pair:
        raise Quarantine(
            "SHAPE_MISMATCH",
            f"{printable(pair[side].name, 80)} and {printable(ref.name, 80)}"
            " are the same factor of two adapters; save one of them alone",
        )
    pair[side] = ref


def _names(modules: Iterable[str], naming: Naming) -> Mapping[str, str]:
    """Return the layer's name of each module, or its own where two clash."""
    known = {module: naming.layer(module) for module in modules}
    if len(set(known.values())) < len(known):
        known = {module: module for module in known}
    bare = layer_names(known.values())
    return {module: bare[name] for module, name in known.items()}


def _beside(rest: list[TensorRef], naming: Naming, limits: Limits) -> Sorted:
    """Return the full weights among tensors that belong to no update."""
    full, skipped = [], []
    for ref in rest:
        if (
            not naming.keeps_full
            or len(ref.shape) < 2
            or ref.name.endswith(_OF_THE_BASE)
            or _ROWS in ref.name
        ):
            skipped.append(Skipped(ref.name, "SKIP_NOT_UPDATE"))
        else:
            full.append(ref)
    found = sort_dense(full, {}, limits=limits)
    return replace(found, skipped=(*skipped, *found.skipped))


def _source(module: str, pair: Pair, scale: Scale) -> LowRankSource:
    if set(pair) != {"A", "B"}:
        raise _mismatch(module, f"has only {', '.join(pair) or 'alpha'}")
    A, B = _flat(pair["A"]), _flat(pair["B"])
    if A.shape[0] != B.shape[1]:
        raise _mismatch(module, f"has A of {A.shape} and B of {B.shape}")
    return LowRankSource(A, B, scale(module, A.shape[0]))


def _layers(name: str, source: LowRankSource, taken: set[str]) -> list[Layer]:
    """Return an update, divided as the map is that it is added to."""
    into = source.A.shape[1]
    return [
        (
            LayerKey(part, (rows.shape[0], into), "low-rank"),
            replace(source, B=rows),
        )
        for part, rows in parts(name, source.B, into, config={}, taken=taken)
    ]


def _flat(ref: TensorRef) -> TensorRef:
    """Return a factor as a matrix; those of convolutions have four axes."""
    if ref.dtype not in REAL_DTYPES:
        raise Quarantine(
            "QUANTISED", f"{printable(ref.name, 80)} is stored as {ref.dtype}"
        )
    if len(ref.shape) < 2 or ref.size == 0:
        raise _mismatch(ref.name, f"has the shape {ref.shape}")
    return replace(ref, shape=(ref.shape[0], math.prod(ref.shape[1:])))


def _mismatch(name: str, what: str) -> Quarantine:
    return Quarantine("SHAPE_MISMATCH", f"{printable(name, 80)} {what}")
