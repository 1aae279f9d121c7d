"""JSON from strangers: bounded, and read in one way only.

Python's own parser takes UTF-16, NaN, duplicate keys and nesting until the
interpreter gives up; another tool may read such a file as another model.
"""

import json
import math
import re
from typing import Any, Literal, NoReturn

import numpy as np

__all__ = ["JsonError", "is_sound", "parse"]

# A string runs to its closing quote or, so that the time stays linear where
# there is none, to the end.
_STRING = re.compile(
    rb'"[^"\\]*+(?:\\.[^"\\]*+)*+(?:"|\\?\Z)', flags=re.DOTALL
)
_STEP = np.zeros(256, np.int8)
_STEP[[ord("{"), ord("[")]] = 1
_STEP[[ord("}"), ord("]")]] = -1
_BRACKETS = b"{}[]"
_NOT_BRACKETS = bytes(byte for byte in range(256) if byte not in _BRACKETS)

# 19 digits stay below 2**64; int() refuses beyond 4300 digits.
_DIGITS = 19


class JsonError(ValueError):
    """Text that is not the JSON we read.

    Attributes
    ----------
    kind
        Which rule it breaks, for the caller to make a code of.
    """

    def __init__(
        self, kind: Literal["utf8", "json", "depth", "duplicate"], detail: str
    ) -> None:
        self.kind, self.detail = kind, detail
        super().__init__(detail)


def parse(raw: bytes, /, *, depth: int) -> Any:
    """Return the value of a JSON text.

    Integers of more digits than a 64-bit number has become floats, infinite
    ones beyond their range, and so does -0: neither passes for an integer.

    Parameters
    ----------
    raw
        UTF-8, without a byte order mark.
    depth
        Deepest nesting that is read.

    Returns
    -------
    Any
        Dictionaries, lists, strings, numbers, booleans and None.

    Raises
    ------
    JsonError
        With the first rule broken, in the order of its kinds; depth is
        measured before anything is parsed.
    """
    try:
        text = raw.decode("utf-8", errors="strict")
    except UnicodeDecodeError as error:
        raise JsonError("utf8", f"not UTF-8: {error}") from error
    deepest = _depth(raw)
    if deepest > depth:
        raise JsonError("depth", f"nested {deepest} deep, more than {depth}")
    try:
        return json.loads(
            text,
            object_pairs_hook=_object,
            parse_int=_integer,
            parse_float=_real,
            parse_constant=_constant,
        )
    except json.JSONDecodeError as error:
        raise JsonError("json", f"not JSON: {error}") from error


def is_sound(value: Any, /) -> bool:
    """Return whether `value` has finite numbers and whole characters only."""
    try:
        json.dumps(value, allow_nan=False, ensure_ascii=False).encode()
    except ValueError:
        return False
    return True


def _depth(raw: bytes) -> int:
    brackets = _STRING.sub(b"", raw).translate(None, _NOT_BRACKETS)
    if not brackets:
        return 0
    steps = _STEP[np.frombuffer(brackets, np.uint8)]
    return int(np.cumsum(steps, dtype=np.int64).max(initial=0))


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        seen: set[str] = set()
        for key, _ in pairs:
            if key in seen:
                raise JsonError("duplicate", f"key {key[:80]!r} stands twice")
            seen.add(key)
    return found


def _integer(text: str) -> int | float:
    if text == "-0":
        return -0.0
    digits = len(text.removeprefix("-"))
    return int(text) if digits <= _DIGITS else float(text)


def _real(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise JsonError("json", f"number out of range: {text[:40]}")
    return value


def _constant(text: str) -> NoReturn:
    raise JsonError("json", f"{text} is not JSON")
