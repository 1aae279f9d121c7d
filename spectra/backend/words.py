"""Numbers of 16 bits, sent as they are stored and widened on the device."""

from typing import Any

from array_api_compat import (
    array_namespace,
    is_cupy_array,
    is_numpy_array,
    is_torch_array,
)

__all__ = ["WORDS", "can_widen", "widened"]

Array = Any

WORDS = frozenset({"BF16", "F16"})
"""What they are called in the safetensors format."""


def can_widen(values: Array, /) -> bool:
    """Return whether the library of an array gives bits another meaning.

    The array API standard has no function for that.
    """
    return bool(
        is_numpy_array(values)
        or is_cupy_array(values)
        or is_torch_array(values)
    )


def widened(words: Array, dtype: str, /) -> Array:
    """Return stored words (uint16) as the float32 they stand for, exactly.

    Parameters
    ----------
    words
        On any device whose library `can_widen`.
    dtype
        One of `WORDS`.
    """
    if is_torch_array(words):
        torch = array_namespace(words)
        stored = torch.bfloat16 if dtype == "BF16" else torch.float16
        return words.view(stored).to(torch.float32)
    if dtype == "F16":
        return words.view("float16").astype("float32")
    # A bfloat16 is the upper half of a float32.
    return (words.astype("uint32") << 16).view("float32")
