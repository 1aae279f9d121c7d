"""Which layers follow one another, told by names and shapes alone.

Only plain networks are recognised: linear layers numbered under one module
(``net.0``, ``net.2``, ... or ``fc1``, ``fc2``, ...), the outputs of each being
the inputs of the next, and nothing else in the module: no normalisation, no
attention, no gate. Between two of them the hidden units may stand in any
order. First inputs and last outputs keep theirs, so no other matrix of the
checkpoint may come before or after.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise, permutations

__all__ = ["Chain", "ChainLayer", "find_chains"]

Shape = tuple[int, ...]

# A number after any other word may count gates or heads: w1, w2 and w3 of a
# gated unit fit each other as if they followed one another.
_TENSOR = re.compile(
    r"(?P<module>(?:.*\.)?)"
    r"(?P<word>(?:(?:dense|fc|hidden|layer|lin|linear)_?)?)"
    r"(?P<number>\d+)\.(?P<part>weight|kernel|bias)",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class ChainLayer:
    """One layer of a chain.

    Attributes
    ----------
    name
        Of the layer.
    weight, bias
        Names of its tensors; `bias` is None for none.
    shape
        ``(out, in)``.
    """

    name: str
    weight: str
    bias: str | None
    shape: tuple[int, int]


Chain = tuple[ChainLayer, ...]


def find_chains(tensors: Mapping[str, Shape], /) -> tuple[Chain, ...]:
    """Return the chains of a checkpoint, in order of name, if that is all.

    Parameters
    ----------
    tensors
        The shape of each of its tensors, outputs first.

    Notes
    -----
    Layers that all have one square shape are none: they may lie side by
    side. Nor are chains of which one's outputs fit another's inputs: these
    may be hidden units too. A skip connection cannot be seen; where there is
    one, the hidden units of a chain are freer than those of the network.
    """
    modules: dict[str, list[re.Match[str]]] = {}
    for name in tensors:
        found = _TENSOR.fullmatch(name)
        if found:
            modules.setdefault(found["module"], []).append(found)
    chains = [
        chain
        for module, found in sorted(modules.items())
        if len(found) == sum(name.startswith(module) for name in tensors)
        and (chain := _chain(found, tensors))
    ]
    known = {layer.weight for chain in chains for layer in chain}
    matrices = {name for name, shape in tensors.items() if len(shape) > 1}
    apart = all(
        a[-1].shape[0] != b[0].shape[1] for a, b in permutations(chains, 2)
    )
    return tuple(chains) if known == matrices and apart else ()


def _chain(
    found: Sequence[re.Match[str]], tensors: Mapping[str, Shape]
) -> Chain:
    """Return the layers of a module as a chain; empty where they are none."""
    numbered: dict[int, dict[str, str]] = {}
    for tensor in found:
        part = "bias" if tensor["part"].lower() == "bias" else "weight"
        numbered.setdefault(int(tensor["number"]), {})[part] = tensor[0]
    layers = [_layer(names, tensors) for _, names in sorted(numbered.items())]
    sound = tuple(layer for layer in layers if layer is not None)
    one_kind = len({tensor["word"] for tensor in found}) == 1
    return (
        sound
        if one_kind
        and len(sound) == len(layers) > 1
        and _fit([layer.shape for layer in sound])
        else ()
    )


def _layer(
    names: Mapping[str, str], tensors: Mapping[str, Shape]
) -> ChainLayer | None:
    weight, bias = names.get("weight"), names.get("bias")
    if weight is None or len(tensors[weight]) != 2:
        return None
    out, into = tensors[weight]
    if bias is not None and tensors[bias] != (out,):
        return None
    return ChainLayer(weight.rpartition(".")[0], weight, bias, (out, into))


def _fit(shapes: Sequence[tuple[int, int]]) -> bool:
    follow = all(out == into for (out, _), (_, into) in pairwise(shapes))
    return follow and len(set(shapes)) > 1
