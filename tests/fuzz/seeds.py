"""Sound safetensors files, made by the library itself."""

import ml_dtypes
import numpy as np
from safetensors.numpy import save

__all__ = ["files"]

_KINDS = (
    np.float64, np.float32, np.float16, ml_dtypes.bfloat16, np.int64,
    np.uint32, np.int16, np.uint8, np.bool_, np.complex64,
    ml_dtypes.float8_e4m3fn, ml_dtypes.float8_e5m2,
)  # fmt: skip


def _counting(shape, kind):
    """Return an array of which no two bytes ranges are alike, if it can."""
    size = int(np.prod(shape)) * np.dtype(kind).itemsize
    raw = np.arange(1, size + 1).astype(np.uint8)
    if kind is np.bool_:
        raw &= 1
    return raw.view(kind).reshape(shape)


def files():
    """Return small files: dtypes, empty ones, scalars, metadata, many."""
    f32, f16, u8 = np.float32, np.float16, np.uint8
    kinds = {f"k{n}": _counting((2,), k) for n, k in enumerate(_KINDS)}
    shapes = {
        "scalar": _counting((), f32),
        "vector": _counting((3,), f16),
        "none": _counting((0, 3), f16),
        "nothing": _counting((2, 0), f32),
        "conv": _counting((2, 1, 2, 1), u8),
    }
    pair = {
        "a.weight": _counting((2, 3), f32),
        "b.weight": _counting((3, 2), f32),
    }
    return (
        save({"w": _counting((2, 2), f32)}),
        save(pair),
        save(pair, {"format": "pt", "é": "[{"}),
        save(kinds, {}),
        save(shapes, {"format": "np"}),
        save({}, {"only": "this"}),
        save({f"layer.{n}": _counting((n % 3,), u8) for n in range(12)}),
    )
