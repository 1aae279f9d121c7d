"""A checkpoint in one file or in shards, named as transformers names them."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from spectra.store.tensorfile import Planned

__all__ = ["INDEX", "WHOLE", "Shard", "index_of", "is_weights", "shards_of"]

WHOLE = "model.safetensors"

INDEX = "model.safetensors.index.json"

_SHARD = re.compile(r"model-\d{5}-of-\d{5}\.safetensors")


@dataclass(frozen=True, slots=True)
class Shard:
    """One file, and the tensors in it.

    Attributes
    ----------
    numbers
        Of the tensors, among all.
    """

    name: str
    tensors: tuple[Planned, ...]
    numbers: range


def shards_of(planned: Sequence[Planned], most: int, /) -> tuple[Shard, ...]:
    """Return the files that hold tensors, in their order.

    Parameters
    ----------
    planned
        At least one.
    most
        Bytes of a file's tensors. One that is larger has a file of its own.
    """
    starts, held = [0], 0
    for number, each in enumerate(planned):
        if held and held + each.nbytes > most:
            starts.append(number)
            held = 0
        held += each.nbytes
    ends = [*starts[1:], len(planned)]
    n = len(starts)
    return tuple(
        Shard(
            WHOLE if n == 1 else f"model-{i:05}-of-{n:05}.safetensors",
            tuple(planned[start:end]),
            range(start, end),
        )
        for i, (start, end) in enumerate(zip(starts, ends, strict=True), 1)
    )


def index_of(shards: Sequence[Shard], /) -> dict[str, Any]:
    """Return the content of `INDEX`."""
    return {
        "metadata": {
            "total_size": sum(t.nbytes for s in shards for t in s.tensors)
        },
        "weight_map": {
            each.name: shard.name for shard in shards for each in shard.tensors
        },
    }


def is_weights(path: Path, /) -> bool:
    """Return whether a file is named as one of such a checkpoint's."""
    name = path.name
    return name in {WHOLE, INDEX} or bool(_SHARD.fullmatch(name))
