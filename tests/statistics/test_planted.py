"""Populations with a known truth, through the whole rule."""

import numpy as np
import pytest
from numpy.testing import assert_allclose

from spectra.core.settings import OverlapSettings
from spectra.statistics.document.report import measure
from tests.reference.naive import naive_fit
from tests.statistics.planted import fit_of, planted, strong

SETTINGS = OverlapSettings()


def only_layer(fit, settings=SETTINGS):
    (layer,) = measure(fit, settings)["layers"]
    return layer


def effect_of(layer):
    return layer["model_axis"]["held_out"]["effect"]


@pytest.mark.parametrize(
    ("share", "verdict", "effect"),
    [
        (0.0, "not-shared", 0.0),
        (0.05, "not-shared", 0.015),
        (0.1, "weakly-shared", 0.045),
        (0.2, "shared", 0.125),
        (0.4, "shared", 0.31),
        (0.8, "shared", 0.70),
    ],
)
@pytest.mark.parametrize("seed", [0, 1])
def test_four_directions_are_found_from_the_share_they_hold(
    share, verdict, effect, seed
):
    fit = fit_of(planted(np.random.default_rng(seed), share))
    # Nearly all energy in four directions looks like descent to a cosine.
    alone = OverlapSettings(groups={m.id: m.id for m in fit.models})
    layer = only_layer(fit, alone)
    assert layer["verdict"] == verdict
    found = effect_of(layer)
    assert_allclose(found["value"], effect, atol=0.008)
    assert found["low"] < found["value"] < found["high"]
    if share > 0:
        assert found["k"] == 4


def test_chains_of_chance_cosines_are_a_limit_of_lineage():
    """In four dimensions many unrelated members have cosines above 0.5."""
    fit = fit_of(planted(np.random.default_rng(0), 0.8))
    layer = only_layer(fit)
    assert layer["model_axis"]["held_out"]["folds"] < 5
    assert layer["verdict"] == "shared-lineage"
    assert "--groups" in layer["reasons"][0]


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_norms_alone_are_called_so(seed):
    rng = np.random.default_rng(seed)
    lengths = np.exp(rng.standard_normal(40))
    layer = only_layer(fit_of(lengths[:, None, None] * strong(rng, 40)))
    axis = layer["model_axis"]
    assert layer["verdict"] == "explained-by-norms"
    assert axis["evr"]["16"] > 2 * axis["expected_isotropic"]["16"]
    # Chance overlaps of the members lie on top of what norms make.
    expected = axis["expected_norms"]["16"]
    assert_allclose(axis["evr"]["16"], expected, atol=0.02)


def test_a_common_update_is_a_shared_mean_and_no_more():
    rng = np.random.default_rng(0)
    maps = strong(rng, 40) + 0.5 * strong(rng, 1)
    layer = only_layer(fit_of(maps))
    assert layer["verdict"] == "shared-mean-only"
    r2 = layer["model_axis"]["held_out"]["r2"]
    # The mean of 39 others keeps 1/39 of a member's own part as noise.
    assert_allclose(r2["mean"], (0.25 - 1 / 39) / 1.25, atol=0.01)
    assert r2["mean_low"] < r2["mean"] < r2["mean_high"]


def test_the_mean_of_full_weights_is_no_finding_unless_it_was_learned():
    rng = np.random.default_rng(0)
    maps = strong(rng, 40) + 0.5 * strong(rng, 1)
    dense = only_layer(fit_of(maps, base=None))
    assert dense["kind"] == "dense"
    assert dense["verdict"] == "not-shared"
    assert dense["model_axis"]["held_out"]["r2"]["mean"] == 0.0
    assert "start" in dense["model_axis"]["held_out"]["r2"]["mean_reason"]
    learned = only_layer(fit_of(maps, base=None, started_from_zero=True))
    assert learned["kind"] == "dense"
    assert learned["verdict"] == "shared-mean-only"


def test_copies_of_a_run_that_moved_on_are_one_lineage():
    rng = np.random.default_rng(0)
    runs = np.repeat(strong(rng, 10), 4, axis=0)
    report = measure(fit_of(runs + 0.1 * strong(rng, 40)), SETTINGS)
    (layer,) = report["layers"]
    assert layer["verdict"] == "shared-lineage"
    assert layer["model_axis"]["held_out"]["folds"] == 10
    assert report["population"]["n_groups"] == 10
    assert_allclose(report["population"]["n_effective"], 10, rtol=0.01)
    # Without groups the same numbers would have been called shared.
    fit = fit_of(runs + 0.1 * strong(rng, 40))
    blind = OverlapSettings(groups={m.id: m.id for m in fit.models})
    assert only_layer(fit, blind)["verdict"] == "shared"


def test_one_random_start_of_some_members_is_not_sharing():
    """Trained by their B alone, members of one start share their row space."""
    rng = np.random.default_rng(0)

    def adapter(A):
        return A, rng.standard_normal((6, 2)), 1.0

    start = rng.standard_normal((2, 40))
    models = {
        f"m{i:02d}": {
            "l": adapter(start if i < 16 else rng.standard_normal((2, 40)))
        }
        for i in range(34)
    }
    settings = OverlapSettings(groups={name: name for name in models})
    report = measure(naive_fit(models), settings)
    (layer,) = report["layers"]
    held_out = layer["model_axis"]["held_out"]
    assert held_out["effect"]["low"] > 0.02
    assert held_out["effect"]["low_one_per_start"] < 0.02
    assert layer["verdict"] == "shared-initialisation"
    assert "one member per random start" in layer["reasons"][0]


def test_four_members_are_too_few():
    layer = only_layer(fit_of(planted(np.random.default_rng(0), 0.4, n=4)))
    assert layer["verdict"] == "too-few-models"
    layer = only_layer(fit_of(planted(np.random.default_rng(0), 0.4, n=5)))
    assert layer["verdict"] != "too-few-models"


def test_secondary_directions_hold_less_than_the_first():
    layer = only_layer(fit_of(planted(np.random.default_rng(0), 0.4)))
    r2 = layer["model_axis"]["held_out"]["r2"]
    assert r2["basis"]["4"] > 0.2
    assert r2["secondary"]["4"] < r2["random"]["4"] + 0.02 < r2["basis"]["4"]
