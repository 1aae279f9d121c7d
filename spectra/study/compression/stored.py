"""How members keep a layer in their files, as a compressed population knows.

Members of one architecture mostly keep a layer alike: a few forms stand for
all of them.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from spectra.core.catalog import DenseSource, LayerSource, LowRankSource
from spectra.core.errors import IntegrityError
from spectra.core.tensors import DTYPE_BITS, TensorRef

__all__ = ["Form", "Part", "form_of", "read_form", "source_in"]

Tensors = Mapping[str, TensorRef]
Document = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Part:
    """A tensor, or rows of it.

    Attributes
    ----------
    start
        Bytes of the tensor before it.
    shape
        Of the matrix that it is.
    """

    tensor: str
    start: int
    nbytes: int
    dtype: str
    shape: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Form:
    """Where a layer lies.

    Attributes
    ----------
    parts
        The weight, or A and B.
    transposed
        As of `~spectra.core.catalog.DenseSource`.
    scale
        As of `~spectra.core.catalog.LowRankSource`; None of a weight.
    """

    parts: tuple[Part, ...]
    transposed: bool = False
    scale: float | None = None

    def document(self) -> Document:
        """Return it as ``compressed.json`` holds it."""
        return {
            "parts": [
                {
                    "tensor": part.tensor, "start": part.start,
                    "nbytes": part.nbytes, "dtype": part.dtype,
                    "shape": list(part.shape),
                }
                for part in self.parts
            ],
            "transposed": self.transposed,
            "scale": self.scale,
        }  # fmt: skip


def form_of(source: LayerSource, tensors: Tensors, /) -> Form:
    """Return how a checkpoint keeps a layer.

    Parameters
    ----------
    source
        Of the layer.
    tensors
        Of its files, by name.
    """
    parts = tuple(
        Part(
            ref.name,
            ref.start - tensors[ref.name].start,
            ref.nbytes,
            ref.dtype,
            ref.shape,
        )
        for ref in source.tensors
    )
    if isinstance(source, DenseSource):
        return Form(parts, transposed=source.transposed)
    return Form(parts, scale=source.scale)


def read_form(document: Document, /) -> Form:
    """Return the form that a document is of."""
    parts = tuple(
        Part(**(part | {"shape": tuple(part["shape"])}))
        for part in document["parts"]
    )
    return Form(parts, document["transposed"], document["scale"])


def source_in(form: Form, tensors: Tensors, /, *, path: str) -> LayerSource:
    """Return where a layer of that form lies in a checkpoint.

    Parameters
    ----------
    form
        How it keeps the layer.
    tensors
        Of its files, by name.
    path
        Its own, for the error.

    Raises
    ------
    IntegrityError
        When it does not keep it so.
    """
    found = []
    for part in form.parts:
        ref = tensors.get(part.tensor)
        if (
            ref is None
            or ref.dtype != part.dtype
            or min(part.start, part.nbytes) < 0
            or part.start + part.nbytes > ref.nbytes
            or 8 * part.nbytes
            != math.prod(part.shape) * DTYPE_BITS[part.dtype]
            or (form.scale is not None and len(part.shape) != 2)
        ):
            raise IntegrityError(path, "does not keep its layers as it did")
        start = ref.start + part.start
        found.append(
            replace(
                ref, start=start, stop=start + part.nbytes, shape=part.shape
            )
        )
    if form.scale is None:
        return DenseSource(found[0], form.transposed)
    return LowRankSource(found[0], found[1], form.scale)
