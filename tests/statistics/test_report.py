"""The document as a whole: its keys, its honesty, what must not change it."""

import dataclasses
import json
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose
from scipy.stats import ortho_group

from spectra.core.catalog import Quarantined
from spectra.core.errors import UsageError
from spectra.core.events import Progress
from spectra.core.settings import OverlapSettings
from spectra.statistics.document.report import measure
from tests.reference.naive import naive_fit
from tests.statistics.planted import fit_of, planted, strong

SETTINGS = OverlapSettings(k=(2,))
LEVELS = ["1", "2", "4", "16"]


def rng(seed=0):
    return np.random.default_rng(seed)


@pytest.fixture(scope="module")
def fit():
    shape = (8, 9)
    return fit_of(
        planted(rng(0), 0.3, n=12, shape=shape), strong(rng(1), 9, shape)
    )


@pytest.fixture(scope="module")
def report(fit):
    return measure(fit, SETTINGS)


def leaves(value, path=()):
    """Yield (path, leaf, dictionary it lies in) of a document."""
    if isinstance(value, dict):
        for key, entry in value.items():
            if isinstance(entry, dict | list):
                yield from leaves(entry, (*path, key))
            else:
                yield (*path, key), entry, value
    else:
        for i, entry in enumerate(value):
            yield from leaves({i: entry}, path)


def test_the_keys_are_those_of_the_schema(report):
    assert report["schema"] == "spectra-report/1"
    assert {
        "schema", "version", "settings", "environment", "population",
        "layers", "verdict", "quarantine",
    } <= set(report)  # fmt: skip
    assert {
        "n_scanned", "n_models", "n_unique", "n_groups", "n_effective",
        "models", "initialisation", "lineage",
    } <= set(report["population"])  # fmt: skip
    for model in report["population"]["models"]:
        assert {
            "id", "revision", "license", "group", "init_group",
            "duplicate_of", "norm",
        } <= set(model)  # fmt: skip
    for layer in report["layers"]:
        assert {
            "name", "kind", "shape", "n_models", "model_axis", "output_side",
            "input_side", "stability", "verdict", "reasons", "architecture",
        } <= set(layer)  # fmt: skip
        axis = layer["model_axis"]
        assert {
            "verdict", "reasons", "energy", "mean_fraction", "eigenvalues",
            "floor", "evr", "expected_isotropic", "expected_norms", "null",
            "unit_norm_evr", "participation_ratio", "held_out",
        } <= set(axis)  # fmt: skip
        held_out = axis["held_out"]
        assert {"folds", "by_group", "r2", "captured", "captured_random",
                "effect"} <= set(held_out)  # fmt: skip
        assert {"mean", "basis", "random", "secondary"} <= set(held_out["r2"])
        assert {"k", "value", "low"} <= set(held_out["effect"])
        for key in ("evr", "expected_isotropic", "expected_norms",
                    "unit_norm_evr"):  # fmt: skip
            assert list(axis[key]) == LEVELS
        for name in ("output_side", "input_side"):
            assert {
                "verdict", "reasons", "evr", "null", "projector_mean",
                "overlap_mean", "overlap_null",
            } <= set(layer[name])  # fmt: skip
            assert list(layer[name]["evr"]) == LEVELS
        assert {"split_half", "split_half_null", "davis_kahan"} <= set(
            layer["stability"]
        )
        null = axis["null"]["strength"]
        assert null["draws"] == 199
        assert {"mean", "q95", "p", "p_adjusted"} <= set(null["evr"]["1"])


def test_settings_and_environment_are_those_of_the_run(fit):
    fit = dataclasses.replace(fit, environment={"numpy": "2"})
    found = measure(fit, SETTINGS)
    assert found["environment"] == {"numpy": "2"}
    assert found["settings"]["fit"] == {"rank": 16}
    assert found["settings"]["overlap"]["k"] == [2]
    assert found["settings"]["overlap"]["shared"] == 0.1


def test_the_document_is_plain_json(report):
    again = json.loads(json.dumps(report, allow_nan=False))
    assert again == report
    for _, leaf, _ in leaves(report):
        assert type(leaf) in {str, int, float, bool, type(None)}


DEGENERATE = {
    "two members": lambda: fit_of(strong(rng(), 2, (4, 5))),
    "three members": lambda: fit_of(strong(rng(), 3, (4, 5))),
    "one lineage": lambda: fit_of(np.eye(4) + 1e-3 * strong(rng(), 6, (4, 4))),
    "zeros": lambda: naive_fit(
        {"a": {"l": np.zeros((3, 3))}, "b": {"l": -np.zeros((3, 3))},
         "c": {"l": np.zeros((3, 3), np.float32)}}
    ),
    "some zeros": lambda: fit_of(
        np.concatenate([strong(rng(), 6, (9, 9)), np.zeros((2, 9, 9))])
    ),
    "one row": lambda: fit_of(strong(rng(), 9, (1, 20))),
    "more members than entries": lambda: fit_of(strong(rng(), 20, (2, 3))),
    "no layer": lambda: naive_fit({"a": {"x": np.eye(2)}, "b": {}}),
}  # fmt: skip


def explained(path, parent, report):
    """Return whether what is None has its reason beside or above it."""
    if f"{path[-1]}_reason" in parent or "reason" in parent:
        return True
    value, reasons = report, []
    for step in path[:-1]:
        if isinstance(value, dict):
            reasons += [value.get(f"{step}_reason"), value.get("reasons")]
            value = value.get(step, {})
        elif isinstance(value, list):
            break
    reasons.append(parent.get("reasons"))
    return any(reasons)


@pytest.mark.parametrize("name", DEGENERATE)
def test_what_is_undefined_is_none_and_says_why(name):
    found = measure(DEGENERATE[name](), SETTINGS)
    assert json.loads(json.dumps(found, allow_nan=False)) == found
    for layer in found["layers"]:
        for path, leaf, parent in leaves(layer):
            if isinstance(leaf, float):
                assert math.isfinite(leaf)
            if leaf is None and "eigenvalues" not in path:
                assert explained(path, parent, layer), path
        if None in layer["model_axis"]["eigenvalues"]:
            assert layer["model_axis"]["eigenvalues_reason"]
    assert found["verdict"]["text"].endswith(".")


def test_degenerate_populations_have_sober_verdicts():
    def verdict_of(name):
        found = measure(DEGENERATE[name](), SETTINGS)
        return [layer["verdict"] for layer in found["layers"]]

    assert verdict_of("two members") == ["too-few-models"]
    assert verdict_of("one lineage") == ["shared-lineage"]
    assert verdict_of("zeros") == ["too-few-models"]
    assert verdict_of("some zeros") == ["not-shared"]
    # In six dimensions chance alone brings half of the members together.
    assert verdict_of("more members than entries") == ["shared-lineage"]
    assert verdict_of("no layer") == []


def test_members_of_no_layer_are_listed_and_not_counted():
    found = measure(DEGENERATE["no layer"](), SETTINGS)["population"]
    assert found["n_models"] == found["n_groups"] == 0
    assert found["n_effective"] is None
    assert [m["id"] for m in found["models"]] == ["a", "b"]
    assert {m["group"] for m in found["models"]} == {None}
    assert "no layer" in found["models"][0]["norm_reason"]


def test_numbers_of_the_population_are_those_of_explicit_vectors(fit, report):
    population = report["population"]
    assert population["n_models"] == population["n_unique"] == 12
    squares = sum(
        np.pad(np.diagonal(layer.gram), (0, 12 - len(layer.members)))
        for layer in fit.layers
    )
    norms = [model["norm"] for model in population["models"]]
    assert_allclose(norms, np.sqrt(squares))


def test_eigenvalues_below_the_floor_are_none(fit):
    layer = dataclasses.replace(fit.layers[0], resolution=0.2)
    fit = dataclasses.replace(fit, layers=(layer,))
    axis = measure(fit, SETTINGS)["layers"][0]["model_axis"]
    s = np.linalg.eigvalsh(layer.inner - layer.inner.mean(0))
    assert len(axis["eigenvalues"]) == 11
    kept = [value for value in axis["eigenvalues"] if value is not None]
    assert 0 < len(kept) < 11
    assert min(kept) > axis["floor"] > 0
    assert len(s) == 12


def test_quarantine_is_handed_on(fit):
    entry = Quarantined("m3", "l", "NONFINITE", "holds infinities or NaN")
    found = measure(dataclasses.replace(fit, quarantine=(entry,)), SETTINGS)
    assert found["quarantine"] == [
        {"id": "m3", "layer": "l", "code": "NONFINITE",
         "detail": "holds infinities or NaN"}
    ]  # fmt: skip


def test_every_layer_is_told(fit):
    told = []
    measure(fit, SETTINGS, on_event=told.append)
    assert told == [
        Progress("overlap", 1, 2, "layer.0"),
        Progress("overlap", 2, 2, "layer.1"),
    ]


@pytest.mark.parametrize(
    "wrong", [{"draws": 198}, {"bootstrap": 0}, {"k": (0,)}, {"k": (4, -1)}]
)
def test_settings_out_of_range_are_refused_before_anything_is_read(wrong):
    with pytest.raises(UsageError):
        measure(None, OverlapSettings(**wrong))


def test_groups_that_lack_a_member_are_refused(fit):
    with pytest.raises(UsageError, match="m001"):
        measure(fit, OverlapSettings(groups={"m000": "a"}))


def test_given_groups_are_the_folds(fit):
    groups = {m.id: str(i // 2) for i, m in enumerate(fit.models)}
    found = measure(fit, OverlapSettings(groups=groups))
    assert found["population"]["n_groups"] == 6
    assert found["layers"][0]["model_axis"]["held_out"]["folds"] == 6
    assert found["layers"][1]["model_axis"]["held_out"]["folds"] == 5
    assert found["population"]["lineage"]["threshold"] is None
    assert found["population"]["lineage"]["threshold_reason"]


# What must not change a report.


def close(found, expected, path=()):
    """Compare two documents; numbers to 1e-6, everything else exactly."""
    if isinstance(expected, dict):
        assert list(found) == list(expected), path
        for key, value in expected.items():
            close(found[key], value, (*path, key))
    elif isinstance(expected, list):
        assert len(found) == len(expected), path
        for i, value in enumerate(expected):
            close(found[i], value, (*path, i))
    elif isinstance(expected, float):
        assert math.isclose(found, expected, rel_tol=1e-6, abs_tol=1e-9), path
    else:
        assert found == expected, path


def small(seed, n=10, shape=(6, 7)):
    generator = rng(seed)
    lengths = np.exp(0.5 * generator.standard_normal(n))[:, None, None]
    return lengths * planted(generator, 0.3, n=n, shape=shape)


def invariant(report):
    """Return the layers without what is in units of energy."""
    layers = json.loads(json.dumps(report["layers"]))
    for layer in layers:
        for key in ("energy", "eigenvalues", "floor"):
            layer["model_axis"].pop(key)
    return layers


@settings(max_examples=10)
@given(st.permutations(range(10)), st.integers(0, 9))
def test_the_order_of_models_changes_no_number(order, seed):
    maps = small(seed)
    models = {f"m{i}": {"l": maps[i]} for i in range(10)}
    base = {"l": np.zeros(maps.shape[1:])}
    shuffled = {f"m{i}": models[f"m{i}"] for i in order}
    expected = measure(naive_fit(models, base=base), SETTINGS)
    found = measure(naive_fit(shuffled, base=base), SETTINGS)
    close(found["layers"], expected["layers"])
    assert found["verdict"] == expected["verdict"]


@settings(max_examples=10)
@given(st.floats(1e-3, 1e3), st.integers(0, 9))
def test_the_scale_of_weights_changes_energies_alone(scale, seed):
    maps = small(seed)
    expected = measure(fit_of(maps), SETTINGS)
    found = measure(fit_of(scale * maps), SETTINGS)
    close(invariant(found), invariant(expected))
    a, b = (r["layers"][0]["model_axis"]["energy"] for r in (found, expected))
    assert_allclose(a, scale**2 * b)


@settings(max_examples=10)
@given(st.integers(0, 9))
def test_rotations_of_both_sides_change_nothing(seed):
    maps = small(seed)
    left = ortho_group.rvs(6, random_state=seed)
    right = ortho_group.rvs(7, random_state=seed + 1)
    expected = measure(fit_of(maps), SETTINGS)
    found = measure(fit_of(left @ maps @ right), SETTINGS)
    close(invariant(found), invariant(expected))


def test_a_common_start_changes_nothing_of_the_deviations():
    maps = small(3)
    start = 100 * strong(rng(9), 1, (6, 7))
    expected = measure(fit_of(maps, base=None), SETTINGS)["layers"][0]
    alone = OverlapSettings(
        k=(2,), groups={f"m{i:03d}": str(i) for i in range(10)}
    )
    found = measure(fit_of(maps + start, base=None), alone)["layers"][0]
    for key in ("evr", "expected_norms", "unit_norm_evr", "null"):
        close(found["model_axis"][key], expected["model_axis"][key])
    held = [x["model_axis"]["held_out"] for x in (found, expected)]
    close(held[0], held[1])


def test_exact_copies_change_nothing_but_the_count():
    maps = small(4)
    models = {f"m{i}": {"l": maps[i]} for i in range(10)}
    copies = {f"n{i}": {"l": maps[i]} for i in range(10)}
    base = {"l": np.zeros(maps.shape[1:])}
    expected = measure(naive_fit(models, base=base), SETTINGS)
    found = measure(naive_fit(models | copies, base=base), SETTINGS)
    close(found["layers"], expected["layers"])
    population = found["population"]
    assert (population["n_models"], population["n_unique"]) == (20, 10)
    assert population["n_groups"] == expected["population"]["n_groups"]
    assert population["models"][13]["duplicate_of"] == "m3"
    groups = [model["group"] for model in population["models"]]
    assert groups[:10] == groups[10:]
    assert "10 exact copies" in found["verdict"]["text"]


def test_copies_of_unrelated_members_are_no_lineage():
    maps = strong(rng(1), 10, (9, 9))
    models = {f"m{i}": {"l": maps[i]} for i in range(10)}
    copies = {f"n{i}": {"l": maps[i]} for i in range(10)}
    for population in (models, models | copies):
        (layer,) = measure(naive_fit(population), SETTINGS)["layers"]
        assert layer["verdict"] == "not-shared"


def test_each_layer_is_judged_by_its_own_p_at_the_level_of_its_effect(
    monkeypatch,
):
    low = {(0, 4): 0.004, (1, 1): 0.006, (1, 16): 0.007}

    def known(layers, k):
        return [low.get((i, k), 0.9) for i in range(len(layers))]

    monkeypatch.setattr("spectra.statistics.document.report.adjusted_p", known)
    maps = planted(rng(3), 0.4, n=20, shape=(20, 20))
    first, second = measure(fit_of(maps, maps), SETTINGS)["layers"]
    for layer in (first, second):
        assert layer["model_axis"]["held_out"]["effect"]["k"] == 4
    assert first["verdict"] == "shared"
    assert second["verdict"] == "explained-by-norms"
    null = second["model_axis"]["null"]["strength"]["evr"]
    found = {k: entry["p_adjusted"] for k, entry in null.items()}
    assert found == {"1": 0.006, "2": 0.9, "4": 0.9, "16": 0.007}


def test_other_layers_change_only_the_adjusted_p():
    first, second = small(5), small(6)
    groups = {f"m{i:03d}": str(i) for i in range(10)}
    alone = OverlapSettings(groups=groups)
    both = measure(fit_of(second, first), alone)["layers"][1]
    # Its own name is what a layer's random numbers depend on.
    fit = fit_of(first)
    named = dataclasses.replace(fit.layers[0], name="layer.1")
    one = measure(dataclasses.replace(fit, layers=(named,)), alone)
    (one,) = one["layers"]
    for layer in (both, one):
        for entry in layer["model_axis"]["null"]["strength"]["evr"].values():
            if entry is not None:
                entry.pop("p_adjusted")
        layer.pop("reasons")
        layer["model_axis"].pop("reasons")
    assert both == one


def test_the_seed_decides_every_draw(fit, report):
    assert measure(fit, SETTINGS) == report
    other = measure(fit, dataclasses.replace(SETTINGS, seed=1))

    def drawn(found):
        axis = found["layers"][0]["model_axis"]
        return (
            axis["null"]["strength"]["evr"]["1"]["mean"],
            axis["held_out"]["effect"]["low"],
        )

    assert drawn(other)[0] != drawn(report)[0]
    assert drawn(other)[1] != drawn(report)[1]
