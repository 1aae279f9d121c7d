"""Real checkpoints with a known history, judged from explicit matrices."""

import pytest
from numpy.testing import assert_allclose

from spectra.core.settings import OverlapSettings
from spectra.statistics.document.report import measure
from tests.reference.naive import adapters, checkpoints, naive_fit


@pytest.fixture(scope="module")
def reported(populations):
    """Return a function from the name of a population to its report."""
    reports = {}

    def report(name, **options):
        key = name, *options
        if key not in reports:
            folder = populations / name
            read = adapters if name.startswith("minilm") else checkpoints
            fit = naive_fit(read(folder), **options)
            reports[key] = measure(fit, OverlapSettings())
        return reports[key]

    return report


def verdicts(report):
    return [layer["verdict"] for layer in report["layers"]]


def test_ani_is_eight_pairs_and_nothing_across_them(reported):
    report = reported("ani")
    assert verdicts(report) == ["shared-lineage"] * 16
    population = report["population"]
    assert population["n_models"] == population["n_unique"] == 16
    assert population["n_groups"] == 8
    assert 7.5 < population["n_effective"] <= 8
    pairs = {frozenset(group) for group in population["lineage"]["groups"]}
    assert pairs == {
        frozenset({f"ani-1ccx_8x-{i}", f"ani-1x_8x-{i}"}) for i in range(8)
    }
    assert population["initialisation"] is None
    sizes = {layer["name"]: layer["n_models"] for layer in report["layers"]}
    # Layers 1 and 3 are bit-identical within a pair, 2 and 4 moved.
    assert {n for name, n in sizes.items() if name[-1] in "13"} == {8}
    assert {n for name, n in sizes.items() if name[-1] in "24"} == {16}


def test_jeffy_heads_share_a_mean_and_a_little_more(reported):
    report = reported("jeffy-massive", started_from_zero=True)
    (layer,) = report["layers"]
    axis = layer["model_axis"]
    held_out = axis["held_out"]
    assert layer["verdict"] == "weakly-shared"
    assert held_out["effect"]["k"] == 4
    assert_allclose(held_out["effect"]["value"], 0.057, atol=0.001)
    assert_allclose(held_out["effect"]["low"], 0.045, atol=0.005)
    assert_allclose(held_out["captured"]["4"], 0.066, atol=0.001)
    assert_allclose(held_out["captured_random"]["4"], 0.009, atol=0.001)
    assert_allclose(held_out["r2"]["mean"], 0.58, atol=0.005)
    assert_allclose(axis["evr"]["1"], 0.100, atol=0.001)
    assert_allclose(axis["participation_ratio"], 29.1, atol=0.05)
    assert_allclose(axis["null"]["strength"]["evr"]["4"]["p"], 1 / 200)


def test_the_mean_of_jeffy_heads_counts_only_where_they_started_from_zero(
    reported,
):
    (layer,) = reported("jeffy-massive")["layers"]
    held_out = layer["model_axis"]["held_out"]
    assert layer["verdict"] == "weakly-shared"
    assert held_out["r2"]["mean"] == 0.0
    assert_allclose(held_out["r2"]["basis"]["4"], held_out["captured"]["4"])


def test_independent_adapters_share_nothing_that_counts(reported):
    report = reported("minilm-lora")
    assert set(verdicts(report)) <= {"not-shared", "shared-mean-only"}
    assert verdicts(report).count("not-shared") >= 11
    for layer in report["layers"]:
        assert layer["model_axis"]["held_out"]["effect"]["low"] < 0.005
        # Chance is 8 of 384 dimensions; they are above it, and hardly.
        side = layer["input_side"]
        assert_allclose(side["overlap_null"], 8 / 384)
        assert side["overlap_null"] < side["overlap_mean"] < 0.2
    population = report["population"]
    assert len(population["initialisation"]["groups"]) == 8
    assert population["initialisation"]["stable_range"] == [0.15, 0.6]
    assert population["n_groups"] == 8


def test_one_seed_is_found_behind_every_layer(reported):
    report = reported("minilm-lora-same-seed")
    assert verdicts(report) == ["shared-initialisation"] * 12
    population = report["population"]
    assert [len(g) for g in population["initialisation"]["groups"]] == [6]
    assert population["initialisation"]["stable_range"] == [0.15, 0.6]
    assert {m["init_group"] for m in population["models"]} == {0}
    assert "6 of 6 models" in report["verdict"]["text"]
    overlaps = [x["input_side"]["overlap_mean"] for x in report["layers"]]
    assert min(overlaps) > 0.5
