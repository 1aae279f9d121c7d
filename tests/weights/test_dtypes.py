import ml_dtypes
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from spectra.core.tensors import DTYPE_BITS, REAL_DTYPES
from spectra.weights.dtypes import (
    decode_into,
    rounding_power,
    rounding_squares,
)

ML = {
    "F64": np.float64,
    "F32": np.float32,
    "F16": np.float16,
    "BF16": ml_dtypes.bfloat16,
    "F8_E4M3": ml_dtypes.float8_e4m3fn,
    "F8_E5M2": ml_dtypes.float8_e5m2,
    "F8_E4M3FNUZ": ml_dtypes.float8_e4m3fnuz,
    "F8_E5M2FNUZ": ml_dtypes.float8_e5m2fnuz,
}
TORCH = {
    "F16": torch.float16,
    "BF16": torch.bfloat16,
    "F8_E4M3": torch.float8_e4m3fn,
    "F8_E5M2": torch.float8_e5m2,
    "F8_E4M3FNUZ": torch.float8_e4m3fnuz,
    "F8_E5M2FNUZ": torch.float8_e5m2fnuz,
}
SMALL = sorted(TORCH)


def patterns(dtype):
    """Return every bit pattern of a small dtype, as bytes."""
    word = np.uint16 if DTYPE_BITS[dtype] == 16 else np.uint8
    count = 2 ** DTYPE_BITS[dtype]
    return np.arange(count, dtype=np.uint32).astype(word).view(np.uint8)


def decoded(raw, dtype, wide):
    out = np.full(raw.nbytes * 8 // DTYPE_BITS[dtype], 7.0, wide)
    decode_into(raw, dtype, out)
    return out


def same(left, right):
    """Check equality, zeros with their sign, any NaN as any other."""
    np.testing.assert_array_equal(left, right)
    finite = ~np.isnan(left)
    np.testing.assert_array_equal(
        np.signbit(left[finite]), np.signbit(right[finite])
    )


def test_every_real_dtype_is_tested():
    assert set(ML) == REAL_DTYPES


@pytest.mark.parametrize("wide", [np.float32, np.float64])
@pytest.mark.parametrize("dtype", SMALL)
def test_all_patterns_widen_as_in_ml_dtypes_and_torch(dtype, wide):
    raw = patterns(dtype)
    ours = decoded(raw, dtype, wide)
    with np.errstate(invalid="ignore"):
        same(ours, raw.view(ML[dtype]).astype(wide))
        wider = ours.astype(np.float64)
    theirs = torch.from_numpy(raw.copy()).view(TORCH[dtype]).to(torch.float64)
    same(wider, theirs.numpy())


@given(st.lists(st.floats(), min_size=1))
def test_f64_is_kept_or_rounded(numbers):
    values = np.array(numbers)
    raw = values.view(np.uint8)
    same(decoded(raw, "F64", np.float64), values)
    with np.errstate(over="ignore"):
        same(decoded(raw, "F64", np.float32), values.astype(np.float32))


@given(st.lists(st.floats(width=32), min_size=1))
def test_f32_is_kept(numbers):
    values = np.array(numbers, np.float32)
    raw = values.view(np.uint8)
    same(decoded(raw, "F32", np.float32), values)
    same(decoded(raw, "F32", np.float64), values.astype(np.float64))


def test_matrices_are_filled_in_the_order_of_the_bytes():
    values = np.arange(12, dtype=np.float32).reshape(3, 4)
    for dtype in ("BF16", "F8_E4M3"):
        raw = values.astype(ML[dtype]).view(np.uint8).reshape(-1)
        out = np.empty((3, 4), np.float64)
        decode_into(raw, dtype, out)
        np.testing.assert_array_equal(out, values)


def spacing(dtype):
    """Return each finite pattern, widened, and the way to its neighbour.

    The neighbour away from zero, found by sorting all values: no exponent is
    looked at. The largest has none and is left out.
    """
    values = patterns(dtype).view(ML[dtype]).astype(np.float64)
    sizes = np.unique(np.abs(values[np.isfinite(values)]))
    gaps = dict(zip(sizes[:-1], np.diff(sizes), strict=True))
    kept = [v for v in values if abs(v) in gaps]
    return np.array(kept), np.array([gaps[abs(v)] for v in kept])


def each_rounding(values, dtype):
    """Return ulp^2 / 12 of each number."""
    return rounding_squares(values[None, :], dtype, axis=0)


@pytest.mark.parametrize("wide", [np.float32, np.float64])
@pytest.mark.parametrize("dtype", SMALL)
def test_rounding_is_the_gap_to_the_neighbour(dtype, wide):
    with np.errstate(invalid="ignore"):
        values, ulp = spacing(dtype)
    assert len(values) > 200
    squares = each_rounding(values.astype(wide), dtype)
    np.testing.assert_allclose(squares, ulp**2 / 12, rtol=1e-12)


@pytest.mark.parametrize(
    ("dtype", "wide"), [("F32", np.float32), ("F64", np.float64)]
)
def test_rounding_of_wide_dtypes_is_numpy_s_spacing(dtype, wide):
    rng = np.random.default_rng(0)
    values = rng.standard_normal(5000) * 10.0 ** rng.integers(-30, 30, 5000)
    values = np.append(values, [0.0, 1.0, -2.0, 1e-310, 1e-40]).astype(wide)
    ulp = np.spacing(np.abs(values)).astype(np.float64)
    squares = each_rounding(values, dtype)
    np.testing.assert_allclose(squares, ulp**2 / 12, rtol=1e-12)


@pytest.mark.parametrize("dtype", sorted(ML))
def test_the_power_is_the_sum(dtype):
    rng = np.random.default_rng(1)
    values = rng.standard_normal((317, 421)).astype(ML[dtype])
    wide = values.astype(np.float32)
    power = rounding_power(wide, dtype)
    total = each_rounding(wide.reshape(-1), dtype).sum()
    assert power == pytest.approx(total, rel=1e-12)
    for axis in (0, 1):
        sums = rounding_squares(wide, dtype, axis=axis)
        each = each_rounding(wide.reshape(-1), dtype).reshape(wide.shape)
        np.testing.assert_allclose(sums, each.sum(axis=axis), rtol=1e-12)
    assert total > 0


def test_rounding_is_what_rounding_does():
    rng = np.random.default_rng(2)
    exact = rng.standard_normal(200_000)
    stored = exact.astype(ml_dtypes.bfloat16).astype(np.float64)
    measured = np.square(stored - exact).sum()
    assert rounding_power(stored, "BF16") == pytest.approx(measured, rel=0.02)
