"""The input embedding of a checkpoint: one row a token."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spectra.core.errors import Quarantine
from spectra.core.tensors import REAL_DTYPES, FileRef, TensorRef
from spectra.core.text import natural
from spectra.weights.bytes import Opener
from spectra.weights.features.files import tensor_rows
from spectra.weights.features.vocabulary import read_vocabulary
from spectra.weights.folders import Folder
from spectra.weights.formats import read_checkpoint
from spectra.weights.limits import Limits
from spectra.weights.soundness import fault_in
from spectra.weights.stream import TensorReader

__all__ = ["EMBEDDINGS", "Embedding", "read_embedding"]

EMBEDDINGS = (
    "shared", "embed_tokens", "word_embeddings", "wte", "embed_in",
    "tok_embeddings", "token_embedding", "word_embedding", "tokens_embed",
)  # fmt: skip
"""Last parts of the names of input embeddings, before ``.weight``; the first
that a checkpoint has is taken."""


@dataclass(frozen=True, slots=True)
class Embedding:
    """One row a token; no row was read yet.

    Attributes
    ----------
    tensor
        Where the rows lie.
    rows
        By token; a token that stands for none is not among them.
    files, opener
        Of the checkpoint.
    """

    tensor: TensorRef
    rows: Mapping[str, int]
    files: tuple[FileRef, ...]
    opener: Opener

    def read(self, tokens: Sequence[str], /) -> NDArray[Any]:
        """Return the rows of some tokens, in their order.

        The whole matrix passes, by blocks; only these rows are kept.

        Raises
        ------
        Quarantine
            Where one of them is not finite, or the file has changed.
        """
        wanted = np.array([self.rows[token] for token in tokens], np.intp)
        order = np.argsort(wanted)
        sorted_ = wanted[order]
        width = self.tensor.shape[1]
        wide = self.tensor.nbytes // self.tensor.size > 4
        out = np.empty((len(tokens), width), np.float64 if wide else "f4")
        files = {file.path: file for file in self.files}
        start = 0
        for block in tensor_rows(
            self.tensor, TensorReader(files, self.opener)
        ):
            here = slice(
                *np.searchsorted(sorted_, [start, start + len(block)])
            )
            out[order[here]] = block[sorted_[here] - start]
            start += len(block)
        fault = fault_in(out, self.tensor.dtype)
        if fault is not None:
            raise Quarantine(fault.code, f"{self.tensor.name} {fault.detail}")
        return out


def read_embedding(folder: Folder, /, *, limits: Limits) -> Embedding:
    """Return the input embedding of a checkpoint, by the tensors' names.

    Raises
    ------
    Quarantine
        EMBEDDING where none is recognised; as the checkpoint or its
        tokenizer cannot be read.
    """
    raw = read_checkpoint(folder, limits=limits)
    tensor = _found(raw.tensors)
    vocabulary = read_vocabulary(folder, limits=limits)
    n = tensor.shape[0]
    rows = {token: row for token, row in vocabulary.items() if 0 <= row < n}
    return Embedding(tensor, rows, raw.files, folder.opener)


def _found(tensors: Sequence[TensorRef]) -> TensorRef:
    ordered = sorted(tensors, key=lambda ref: natural(ref.name))
    for name in EMBEDDINGS:
        for ref in ordered:
            if f".{ref.name}".endswith(f".{name}.weight"):
                if len(ref.shape) == 2 and ref.dtype in REAL_DTYPES:
                    return ref
                raise Quarantine(
                    "EMBEDDING",
                    f"{ref.name} is {ref.dtype} of"
                    f" {' x '.join(map(str, ref.shape))}: no matrix of floats",
                )
    raise Quarantine(
        "EMBEDDING",
        "no tensor is an input embedding by its name"
        f" ({', '.join(EMBEDDINGS[1:4])}, ...)",
    )
