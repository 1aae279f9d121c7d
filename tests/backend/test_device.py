"""Devices are opened by name and refuse in words."""

import importlib.util

import numpy as np
import pytest

from spectra.backend.device import CPU, open_device, to_host
from spectra.backend.probe import DEVICES, probe_devices
from spectra.core.errors import UsageError
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
