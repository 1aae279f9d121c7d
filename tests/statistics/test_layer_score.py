"""The layer score of the paper's code, by its formula and by its parts."""

import numpy as np
import pytest

from spectra.core.settings import OverlapSettings
from spectra.statistics.spectrum.layer_score import layer_score, together

PLAIN = OverlapSettings()


def test_the_formula():
    alphas = [2.5, 3.0, 4.5, 7.0, 1.5]
    found = layer_score(alphas, PLAIN)
    phi = [np.exp(-0.25), np.exp(-0.5), np.exp(-1.25), 0.0, 0.0]
    q = (1 - np.exp(-5 / 20)) * np.mean(phi) * np.exp(-np.std(alphas))
    assert found.q == pytest.approx(q)
    assert found.mean == pytest.approx(3.7)
    assert found.std == pytest.approx(np.std(alphas))
    assert (found.n, found.in_range) == (5, 0.6)
    assert not found.retained


def test_many_alike_are_retained_and_each_threshold_counts():
    alphas = 2.5 + 0.1 * np.sin(np.arange(100))
    found = layer_score(alphas, PLAIN)
    assert found.retained
    assert found.q > 0.6
    for name, value in (
        ("alpha_low", 2.6), ("alpha_high", 2.4), ("alpha_std", 0.01),
        ("alpha_in_range", 1.1), ("alpha_score", 0.99),
    ):  # fmt: skip
        strict = OverlapSettings(**{name: value})
        assert not layer_score(alphas, strict).retained, name


def test_the_edges_of_the_band_are_in_it():
    assert layer_score([2.0, 6.0], PLAIN).in_range == 1.0
    assert layer_score([1.999, 6.001], PLAIN).in_range == 0.0
    assert layer_score([1.999, 6.001], PLAIN).q == 0.0


def test_together_is_a_geometric_mean():
    assert together([0.1, 0.4]) == pytest.approx(0.2)
    assert together([0.0, 1.0]) == pytest.approx(1e-6), "1e-12 at least"
    assert together([]) is None
    assert layer_score([], PLAIN) is None
