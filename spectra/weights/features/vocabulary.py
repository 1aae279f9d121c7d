"""Tokens of a checkpoint, by the files of its tokenizer."""

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

from spectra.core.errors import Quarantine
from spectra.weights.bytes import read_bytes
from spectra.weights.documents import read_object
from spectra.weights.folders import Folder
from spectra.weights.limits import Limits

__all__ = ["TOKENIZERS", "read_vocabulary"]

TOKENIZERS = ("tokenizer.json", "vocab.txt")
"""Files that are read, the first one that is there."""


def read_vocabulary(folder: Folder, /, *, limits: Limits) -> Mapping[str, int]:
    """Return the row of each token of a checkpoint.

    A token that stands for several rows, or a row that several tokens stand
    for, is left out.

    Raises
    ------
    Quarantine
        VOCABULARY where there is no tokenizer's file that is read.
    """
    for name, read in zip(TOKENIZERS, (_of_json, _of_text), strict=True):
        if name in folder.files:
            pairs = list(dict.fromkeys(read(folder, name, limits)))
            break
    else:
        raise Quarantine("VOCABULARY", f"has no {' or '.join(TOKENIZERS)}")
    tokens = Counter(token for token, _ in pairs)
    rows = Counter(row for _, row in pairs)
    return {
        token: row
        for token, row in pairs
        if tokens[token] == 1 and rows[row] == 1
    }


Pairs = Iterable[tuple[str, int]]


def _of_json(folder: Folder, name: str, limits: Limits) -> Pairs:
    """Return the pairs of a ``tokenizer.json`` of the tokenizers library."""
    content = read_object(
        folder,
        name,
        code="VOCABULARY",
        nbytes=limits.vocabulary_bytes,
        depth=limits.depth,
    )
    model, added = content.get("model"), content.get("added_tokens") or []
    found = model.get("vocab") if isinstance(model, dict) else None
    if isinstance(found, dict):
        pairs = list(found.items())
    elif isinstance(found, list):  # Unigram: token and score, row by row
        pairs = [(_first(entry), row) for row, entry in enumerate(found)]
    else:
        raise Quarantine("VOCABULARY", f"{name} has no model.vocab")
    if not isinstance(added, list):
        raise Quarantine("VOCABULARY", f"{name}: added_tokens is no list")
    pairs += [
        (entry.get("content"), entry.get("id"))
        for entry in added
        if isinstance(entry, dict)
    ]
    if not all(isinstance(t, str) and type(row) is int for t, row in pairs):
        raise Quarantine("VOCABULARY", f"{name} has a token that is no text")
    return pairs


def _first(entry: Any) -> Any:
    return entry[0] if isinstance(entry, list) and entry else None


def _of_text(folder: Folder, name: str, limits: Limits) -> Pairs:
    """Return the pairs of a ``vocab.txt``: one token a line."""
    with folder.open(name) as source:
        if source.nbytes > limits.vocabulary_bytes:
            raise Quarantine(
                "VOCABULARY",
                f"{name} has {source.nbytes} bytes, more than"
                f" vocabulary_bytes = {limits.vocabulary_bytes}",
            )
        raw = read_bytes(source, 0, source.nbytes)
    try:
        lines = raw.decode("utf-8").removesuffix("\n").split("\n")
    except UnicodeDecodeError as error:
        raise Quarantine("VOCABULARY", f"{name} is not UTF-8") from error
    return [(line.rstrip("\r"), row) for row, line in enumerate(lines)]
