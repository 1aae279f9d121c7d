"""Every tensor of a checkpoint, matrix or not, by the population's names."""

import re
from collections.abc import Iterator
from dataclasses import replace

from spectra.core.catalog import Checkpoint, DenseSource
from spectra.weights.bytes import Opener
from spectra.weights.families import traits
from spectra.weights.header import read_header
from spectra.weights.population import catalog_of

__all__ = ["named_alike", "tensors_of", "wrapper_of"]

_ENDING = re.compile(r"[./](weight|kernel)$")


def tensors_of(model: Checkpoint, opener: Opener, /) -> Iterator[DenseSource]:
    """Yield every tensor; its name says whether inputs come first."""
    for file in model.files:
        with opener(file.path, pinned=file) as source:
            header = read_header(source, file=file.path)
        for ref in header.tensors:
            inputs_first = traits(ref.name).order in {"out-last", "in-first"}
            yield DenseSource(ref, inputs_first)


def wrapper_of(model: Checkpoint, /) -> str:
    """Return what the population's names leave out before a file's."""
    found = {
        _ENDING.sub("", source.weight.name).removesuffix(key.name)
        for key, source in model.layers
        if isinstance(source, DenseSource)
    }
    return found.pop() if len(found) == 1 else ""


def named_alike(
    one: Checkpoint, other: Checkpoint, /
) -> tuple[Checkpoint, Checkpoint]:
    """Return both with the names of layers that they have in common.

    Two checkpoints of one id are told apart.
    """
    marked = replace(other, id=f"{other.id} (2)")
    found = {m.id: m for m in catalog_of((one, marked), (), ()).models}
    return found[one.id], replace(found[marked.id], id=other.id)
