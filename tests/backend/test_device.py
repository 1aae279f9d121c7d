"""Devices are opened by name and refuse in words."""

import importlib.util

import numpy as np
import pytest
import torch

from spectra.backend.device import CPU, open_device, to_host
from spectra.backend.probe import DEVICES, probe_devices
from spectra.core.errors import BudgetError, UsageError
from tests.seam import device  # noqa: F401 - a fixture


def test_values_come_back_as_they_went(device):
    values = np.arange(6.0).reshape(2, 3)
    back = to_host(device.put(values) + 1)
    assert isinstance(back, np.ndarray)
    np.testing.assert_array_equal(back, values + 1)


def test_on_the_cpu_nothing_is_copied():
    values = np.ones(3)
    assert CPU.put(values) is values
    assert to_host(values) is values


@pytest.mark.parametrize("name", ["gpu", "torch:tpu", "", "CPU"])
def test_unknown_devices_are_refused(name):
    with pytest.raises(UsageError, match="there is no device"):
        open_device(name)


@pytest.mark.skipif(
    importlib.util.find_spec("cupy") is not None, reason="CuPy is installed"
)
def test_without_cupy_cuda_says_what_to_install():
    with pytest.raises(UsageError, match=r"hf-spectra\[cuda12\]"):
        open_device("cuda")
    assert open_device("auto") is CPU


def test_the_probe_tells_what_works_and_what_does_not():
    probes = {probe.device: probe for probe in probe_devices()}
    assert tuple(probes) == DEVICES
    assert probes["cpu"].error is None
    assert probes["cpu"].residual < 1e-13
    assert all(
        (probe.error is None) == (probe.residual is not None)
        for probe in probes.values()
    )


class OutOfMemoryError(MemoryError):
    """As CuPy's own is called, and its text in version 14.2."""


FULL = {
    "cupy": OutOfMemoryError(
        "Out of memory allocating 2,147,483,648 bytes (allocated so far:"
        " 10 bytes, limit set to: 1,048,576 bytes)."
    ),
    "torch": torch.OutOfMemoryError(
        "CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has a total"
        " capacity of 79.11 GiB of which 1.00 GiB is free."
    ),
}


@pytest.mark.parametrize("library", FULL)
def test_a_device_without_room_is_a_lack_of_memory(device, library):
    with (
        pytest.raises(BudgetError, match="needs 2048 MiB but 0 MiB") as caught,
        device.strict(),
    ):
        raise FULL[library]
    assert caught.value.exit_code == 8
    assert caught.value.code == "E_MEMORY"


@pytest.mark.parametrize("error", [MemoryError, RuntimeError, ValueError])
def test_other_failures_stay_what_they_are(error):
    with pytest.raises(error, match="as it was") as caught, CPU.strict():
        raise error("as it was")
    assert type(caught.value) is error
