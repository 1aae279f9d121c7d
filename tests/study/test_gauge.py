"""Factors are a choice, updates are not: no number may depend on them."""

import numpy as np

import spectra
from tests.checkpoints import factors, write_adapter


def population(folder, *, gauge):
    """Write six adapters in float64, their factors turned by `gauge`."""
    rng, other = np.random.default_rng(1), np.random.default_rng(2)
    for i in range(6):
        layers = {}
        for name in ("q", "v"):
            A, B = factors(rng, 40, 4, 64)
            G = np.eye(4) + 0.4 * other.standard_normal((4, 4))
            if gauge:
                A, B = G @ A, B @ np.linalg.inv(G)
            layers[name] = (A, B)
        write_adapter(folder / f"a{i}", layers, 8, "F64")
    return folder


def numbers(value, where=""):
    """Yield every number and word of a report with its place."""
    if isinstance(value, dict):
        for key, item in value.items():
            yield from numbers(item, f"{where}/{key}")
    elif isinstance(value, list):
        for i, item in enumerate(value):
            yield from numbers(item, f"{where}/{i}")
    else:
        yield where, value


def report_of(folder):
    run = spectra.fit(spectra.scan(folder), precision="f64")
    document = spectra.overlap(run).document
    document.pop("environment")
    # What the raw factors began as is asked of the raw factors.
    document["audit"].pop("starts")
    return dict(numbers(document))


def test_no_number_of_the_report_depends_on_the_gauge(tmp_path):
    plain = report_of(population(tmp_path / "plain", gauge=False))
    turned = report_of(population(tmp_path / "turned", gauge=True))
    assert plain.keys() == turned.keys()
    compared = 0
    for where, value in plain.items():
        if isinstance(value, float):
            compared += 1
            scale = max(abs(value), 1.0)
            assert abs(turned[where] - value) <= 1e-9 * scale, where
        elif not where.endswith("/architecture"):
            assert turned[where] == value, where
    assert compared > 200


def test_the_factors_really_were_turned(tmp_path):
    """Raw lora_A differ, so the test above compares what it says."""
    folders = [
        population(tmp_path / str(gauge), gauge=gauge)
        for gauge in (False, True)
    ]
    one, other = (spectra.fit(spectra.scan(f)).value for f in folders)
    difference = one.layers[0].initial - other.layers[0].initial
    assert np.abs(difference).max() > 0.1
