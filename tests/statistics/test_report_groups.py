"""What the report says of groups that were given."""

import numpy as np
import pytest

from spectra.core.settings import OverlapSettings
from spectra.statistics.document.report import measure
from tests.statistics.planted import fit_of, planted, strong


@pytest.fixture(scope="module")
def report():
    rng = np.random.default_rng(0)
    maps = np.concatenate(
        [planted(rng, 0.6, n=12, shape=(8, 9)), strong(rng, 12, (8, 9))]
    )
    fit = fit_of(maps, strong(rng, 24, (8, 9)))
    groups = {
        f"m{i:03d}": "ab"[i >= 12] if i < 23 else "alone" for i in range(24)
    }
    return measure(fit, OverlapSettings(groups=groups))


def test_pairs_of_groups_are_told_and_who_is_in_none(report):
    said = report["populations"]
    (pair,) = said["pairs"]
    assert [member["name"] for member in pair["members"]] == ["a", "b"]
    assert [member["n_models"] for member in pair["members"]] == [12, 11]
    assert said["left_out"] == ["alone"]


def test_each_layer_says_what_it_shows_of_each_pair(report):
    first, second = (layer["populations"] for layer in report["layers"])
    assert [entry["names"] for entry in first + second] == [["a", "b"]] * 2
    captured = first[0]["a_to_b"]["captured"]["4"]
    assert 0 < captured < 0.3
    assert first[0]["p"] <= 0.05 < second[0]["p"]


def test_without_groups_there_are_no_populations():
    report = measure(
        fit_of(strong(np.random.default_rng(0), 6, (4, 5))), OverlapSettings()
    )
    assert "populations" not in report
    assert "populations" not in report["layers"][0]
