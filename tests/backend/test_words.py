"""Stored words against ml_dtypes, every pattern of 16 bits."""

import ml_dtypes
import numpy as np
import pytest

from spectra.backend.device import to_host
from spectra.backend.words import WORDS, can_widen, widened
from tests.seam import CUDA, DEVICES, second_device

ALL = np.arange(2**16, dtype=np.uint16)
STORED = {"BF16": ml_dtypes.bfloat16, "F16": np.float16}


def test_these_are_the_words():
    assert set(STORED) == WORDS


@pytest.mark.parametrize("dtype", STORED)
@pytest.mark.parametrize("columns", [256, 200], ids=["whole", "strided"])
@pytest.mark.parametrize(
    "name",
    ["numpy", "torch"]
    + [pytest.param(name, marks=pytest.mark.gpu) for name in CUDA],
)
def test_all_patterns(name, dtype, columns):
    device = DEVICES[name]()
    assert can_widen(device.zeros((1,)))
    words = ALL.reshape(256, 256)
    found = to_host(widened(device.put(words)[:, :columns], dtype))
    exact = words.view(STORED[dtype])[:, :columns].astype(np.float32)
    assert found.dtype == np.float32
    number = ~np.isnan(exact)
    assert (found.view(np.uint32) == exact.view(np.uint32))[number].all()
    assert np.isnan(found[~number]).all()
    assert number.sum() > 60_000 * columns / 256


def test_of_the_standard_alone_it_is_not_asked():
    assert not can_widen(second_device().zeros((1,)))
