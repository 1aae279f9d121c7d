"""What safetensors reads and we refuse: each shown in the file itself.

The header is looked at as the library saw it, with a parser that lets
everything pass, so that no fault of our reader can pass for one of these.
"""

import json
import unicodedata
from collections.abc import Callable
from dataclasses import dataclass

from spectra.weights.limits import Limits
from tests.fuzz.trees import Pairs

__all__ = ["DIFFERENCES", "LIMITS", "differences"]

LIMITS = Limits(header_bytes=8192, tensors=40)
"""Caps that small files reach."""

_METADATA = "__metadata__"
_LARGEST = 2**48


@dataclass(frozen=True)
class Difference:
    """A row of the table in ``docs/codes.md``.

    Attributes
    ----------
    code
        With which we refuse.
    what
        In words, as the page has it.
    shown
        Whether a header's text, and its tree, are of that kind.
    """

    code: str
    what: str
    shown: Callable[[str, Pairs], bool]


def differences(raw):
    """Return the documented differences in a file safetensors reads."""
    end = 8 + int.from_bytes(raw[:8], "little")
    text = raw[8:end].decode()
    tree = json.loads(text, object_pairs_hook=Pairs)
    return [row for row in DIFFERENCES if row.shown(text, tree)]


def _containers(tree):
    if isinstance(tree, list):
        yield tree
        values = (v for _, v in tree) if type(tree) is Pairs else tree
        for value in values:
            yield from _containers(value)


def _has_keys_twice(_, tree):
    return any(
        len({key for key, _ in one}) < len(one)
        for one in _containers(tree)
        if type(one) is Pairs
    )


def _depth(tree):
    if not isinstance(tree, list):
        return 0
    values = (v for _, v in tree) if type(tree) is Pairs else tree
    return 1 + max(map(_depth, values), default=0)


def _is_deep(_, tree):
    return _depth(tree) > LIMITS.depth


def _is_long(text, _):
    return len(text.encode()) > LIMITS.header_bytes


def _entries(tree):
    return [(name, entry) for name, entry in tree if name != _METADATA]


def _has_array_entry(_, tree):
    return any(type(entry) is list for _, entry in _entries(tree))


def _has_dtype_object(_, tree):
    return any(
        type(value) is Pairs
        for _, entry in _entries(tree)
        if type(entry) is Pairs
        for field, value in entry
        if field == "dtype"
    )


def _has_null_metadata(_, tree):
    return any(name == _METADATA and value is None for name, value in tree)


def _has_many(_, tree):
    return len({name for name, _ in _entries(tree)}) > LIMITS.tensors


def _has_odd_name(_, tree):
    return any(
        not name
        or len(name.encode()) > LIMITS.name_bytes
        or any(unicodedata.category(letter) == "Cc" for letter in name)
        for name, _ in _entries(tree)
    )


def _has_huge_side(_, tree):
    shapes = [
        entry[1] if type(entry) is list else dict(entry)["shape"]
        for _, entry in _entries(tree)
    ]
    return any(0 in shape and max(shape) >= _LARGEST for shape in shapes)


def _begins_otherwise(text, _):
    return not text.startswith("{")


DIFFERENCES = (
    Difference(
        "ST_DUPLICATE_KEY",
        "a key that stands twice in one object; the library takes the last",
        _has_keys_twice,
    ),
    Difference(
        "ST_HEADER_TYPE",
        "a tensor's entry that is an array instead of an object",
        _has_array_entry,
    ),
    Difference(
        "ST_HEADER_TYPE",
        'a dtype that is an object, `{"F32": null}`',
        _has_dtype_object,
    ),
    Difference(
        "ST_HEADER_TYPE",
        "`__metadata__` that is `null`",
        _has_null_metadata,
    ),
    Difference(
        "ST_NAME",
        "a name that is empty, longer than `name_bytes`, or has a control"
        " character",
        _has_odd_name,
    ),
    Difference(
        "ST_SHAPE",
        "a side of 2^48 or more, in a tensor without entries",
        _has_huge_side,
    ),
    Difference(
        "ST_HEADER_JSON",
        "white space before the first brace",
        _begins_otherwise,
    ),
    Difference(
        "ST_HEADER_DEPTH",
        "brackets nested deeper than `depth`",
        _is_deep,
    ),
    Difference(
        "ST_TENSOR_COUNT",
        "more tensors than `tensors`",
        _has_many,
    ),
    Difference(
        "ST_HEADER_TOO_BIG",
        "a header longer than `header_bytes`",
        _is_long,
    ),
)
