"""The tensors of one LoRA adapter, paired into updates ``scale * B @ A``."""

import math
import re
from collections.abc import Iterable
from dataclasses import replace

from spectra.core.catalog import LayerKey, LayerSource, LowRankSource, Skipped
from spectra.core.errors import Quarantine
from spectra.core.tensors import REAL_DTYPES, TensorRef
from spectra.core.text import printable
from spectra.weights.adapters import AdapterConfig
from spectra.weights.layers import Sorted
from spectra.weights.naming import layer_names

__all__ = ["sort_low_rank"]

_ROOT = "base_model.model."

# "....query.lora_A.weight", "....query.lora_A.default.weight" and, of an
# embedding, "....lora_embedding_A" or "....lora_embedding_A.default".
_FACTOR = re.compile(
    r"(?P<module>.+)\.lora_(?P<embedding>embedding_)?(?P<side>[AB])"
    r"(\.[^.]+)??(?(embedding)|\.weight)"
)

Pair = dict[str, TensorRef]


def sort_low_rank(
    tensors: Iterable[TensorRef],
    config: AdapterConfig,
    /,
) -> Sorted:
    """Return the updates that a LoRA adapter holds.

    Parameters
    ----------
    tensors
        All tensors of adapter_model.safetensors.
    config
        Its scale.

    Returns
    -------
    Sorted
        An embedding's factors are those of the transposed update, so its
        shape is (size, vocabulary). Full weights that were saved beside the
        updates (modules_to_save) and biases are skipped.

    Raises
    ------
    Quarantine
        SHAPE_MISMATCH where A and B do not fit, ADAPTER_CONFIG where the
        ranks are not those of the configuration.
    """
    pairs: dict[str, Pair] = {}
    skipped: list[Skipped] = []
    for ref in tensors:
        found = _FACTOR.fullmatch(ref.name)
        if found:
            _enter(pairs.setdefault(found["module"], {}), found["side"], ref)
        elif ".lora_" in ref.name and not ref.name.endswith(".bias"):
            raise Quarantine(
                "ADAPTER_CONFIG",
                f"tensor {printable(ref.name, 80)} belongs to a variant of"
                " LoRA whose update is not scale * B @ A",
            )
        else:
            skipped.append(Skipped(ref.name, "SKIP_NOT_UPDATE"))
    names = layer_names(pairs)
    layers = []
    for module, pair in pairs.items():
        layer = _layer(names[module], module, pair, config)
        if min(layer[0].shape) > 1:
            layers.append(layer)
        else:
            skipped += [
                Skipped(ref.name, "SKIP_NOT_MATRIX") for ref in pair.values()
            ]
    return Sorted(
        tuple(sorted(layers, key=lambda layer: layer[0])), tuple(skipped)
    )


def _enter(pair: Pair, side: str, ref: TensorRef) -> None:
    if side in pair:
        raise Quarantine(
            "SHAPE_MISMATCH",
            f"{printable(pair[side].name, 80)} and {printable(ref.name, 80)}"
            " are the same factor of two adapters; save one of them alone",
        )
    pair[side] = ref


def _layer(
    name: str, module: str, pair: Pair, config: AdapterConfig
) -> tuple[LayerKey, LayerSource]:
    if set(pair) != {"A", "B"}:
        raise _mismatch(module, f"has only lora_{next(iter(pair))}")
    A, B = _flat(pair["A"]), _flat(pair["B"])
    if A.shape[0] != B.shape[1]:
        raise _mismatch(module, f"has A of {A.shape} and B of {B.shape}")
    bare = module.removeprefix(_ROOT)
    rank = config.rank_of(bare)
    if A.shape[0] != rank:
        raise Quarantine(
            "ADAPTER_CONFIG",
            f"rank {rank} of {printable(bare, 80)}, its factors have"
            f" {A.shape[0]}",
        )
    shape = (B.shape[0], A.shape[1])
    source = LowRankSource(A, B, config.scale_of(bare))
    return LayerKey(name, shape, "low-rank"), source


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
