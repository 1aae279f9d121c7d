"""The devices every kernel is tested on, and the fixture that gives them."""

import array_api_strict
import numpy as np
import pytest

from spectra.backend.device import CPU, Device, open_device
from spectra.core.errors import UsageError

__all__ = ["CUDA", "DEVICES", "device"]

CUDA = ("cuda", "torch:cuda")
"""What needs a GPU: by CuPy, and by torch."""


def second_device() -> Device:
    """Return array-api-strict on a device that refuses what CuPy refuses."""
    handle = array_api_strict.Device("device1")
    return Device("array-api-strict", array_api_strict, handle)


def _cuda(name: str) -> Device:
    try:
        return open_device(name)
    except UsageError as reason:
        pytest.skip(str(reason))


DEVICES = {
    "numpy": lambda: CPU,
    "strict": second_device,
    "torch": lambda: open_device("torch:cpu"),
    "cuda": lambda: _cuda("cuda"),
    "torch:cuda": lambda: _cuda("torch:cuda"),
}


@pytest.fixture(
    params=[
        "numpy",
        "strict",
        "torch",
        *(pytest.param(name, marks=pytest.mark.gpu) for name in CUDA),
    ]
)
def device(request: pytest.FixtureRequest) -> Device:
    """Return each device in turn."""
    return DEVICES[request.param]()


def sine(P: np.ndarray, Q: np.ndarray) -> float:
    """Return the sine of the largest angle between two column spaces."""
    P, Q = np.linalg.qr(P)[0], np.linalg.qr(Q)[0]
    return float(np.linalg.norm(Q - P @ (P.T @ Q), 2))
