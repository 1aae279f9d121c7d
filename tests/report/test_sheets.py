"""The tables: what a spreadsheet, and what a program, reads in them."""

import csv
import io
import math
import unicodedata
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray

from spectra.report import sheets
from spectra.report.sheets import (
    _decimals,
    layers_csv,
    models_csv,
    pairs_csv,
)
from spectra.subspaces.result import PopulationFit
from tests.report.sample import HOSTILE

Vector = NDArray[np.float64]

FORMULA_SIGNS = "=+-@\uff1d\uff0b\uff0d\uff20"


def read(lines: Any) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO("".join(lines), newline="")))


def a_population(name: str) -> dict[str, Any]:
    model = dict.fromkeys(("id", "license", "group"), name)
    return {"population": {"models": [model]}}


def test_a_layer_has_its_own_numbers(report: dict[str, Any]) -> None:
    rows = read(layers_csv(report))
    assert len(rows) == len(report["layers"])
    for row, layer in zip(rows, report["layers"], strict=True):
        axis = layer["model_axis"]
        null = axis["null"]["strength"]["evr"]["4"]
        expected = {
            "energy": axis["energy"],
            "participation_ratio": axis["participation_ratio"],
            "evr_1": axis["evr"]["1"],
            "evr_16": axis["evr"]["16"],
            "expected_isotropic_4": axis["expected_isotropic"]["4"],
            "expected_norms_4": axis["expected_norms"]["4"],
            "null_strength_mean_4": null["mean"],
            "null_strength_q95_4": null["q95"],
            "null_strength_p_4": null["p"],
            "null_strength_p_adjusted_4": null["p_adjusted"],
            "r2_mean": axis["held_out"]["r2"]["mean"],
            "captured_4": axis["held_out"]["captured"]["4"],
            "captured_random_4": axis["held_out"]["captured_random"]["4"],
            "r2_basis_16": axis["held_out"]["r2"]["basis"]["16"],
            "r2_basis_only_4": axis["held_out"]["r2"]["basis_only"]["4"],
            "output_first_direction_shared_by": 3,
            "input_first_direction_shared_by": 4,
            "effect_k": axis["held_out"]["effect"]["k"],
            "effect_value": axis["held_out"]["effect"]["value"],
            "effect_low": axis["held_out"]["effect"]["low"],
            "output_evr_16": layer["output_side"]["evr"]["16"],
            "input_overlap_mean": layer["input_side"]["overlap_mean"],
            "output_overlap_null": layer["output_side"]["overlap_null"],
            "out": layer["shape"][0],
            "in": layer["shape"][1],
        }
        assert {key: float(row[key]) for key in expected} == expected
        assert row["output_base_word"] == "top"
        assert row["input_base_word"] == ""
        assert row["still_growing"].lower() == "true"
        texts = ("name", "architecture", "kind", "verdict")
        assert [row[key] for key in texts] == [layer[key] for key in texts]


def test_what_is_undefined_is_empty(report: dict[str, Any]) -> None:
    report["layers"][0]["model_axis"]["held_out"] = None
    first, second, *_ = read(layers_csv(report))
    assert first["captured_4"] == first["effect_low"] == ""
    assert second["captured_4"] != ""
    assert first["input_verdict"] == ""


@pytest.mark.parametrize("value", [float("nan"), float("-inf")])
def test_a_number_that_is_none_is_refused(
    report: dict[str, Any], value: float
) -> None:
    report["population"]["models"][0]["norm"] = value
    with pytest.raises(ValueError, match="undefined numbers are None"):
        list(models_csv(report))


def test_negative_numbers_stay_numbers(report: dict[str, Any]) -> None:
    report["layers"][0]["model_axis"]["held_out"]["effect"]["low"] = -2.5
    assert read(layers_csv(report))[0]["effect_low"] == "-2.5"


@pytest.mark.parametrize(
    "name",
    [
        "=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", "  =1", "\xa0=1",
        "\u3000@x", "a\n=1", "a\r\n  +1", "\uff1d1", "\uff0b1", "\tx",
    ],
)  # fmt: skip
def test_formulas_are_disarmed(name: str) -> None:
    row = read(models_csv(a_population(name)))[0]
    assert row["id"].startswith("'")
    assert row["#escaped"] == "1"


@given(st.text(max_size=30))
def test_no_text_is_active(name: str) -> None:
    lines = list(models_csv(a_population(name)))
    assert [line.count("\n") for line in lines] == [1, 1]
    cell = read(lines)[0]["id"]
    assert cell.lstrip()[:1] not in set(FORMULA_SIGNS)
    assert not any(unicodedata.category(c)[0] == "C" for c in cell)
    unchanged = cell == name
    assert read(lines)[0]["#escaped"] == str(int(not unchanged))


@pytest.mark.parametrize("name", ["a,b", 'say "x"', "org/name", "a=b", "Ä 1"])
def test_harmless_text_is_unchanged(name: str) -> None:
    row = read(models_csv(a_population(name)))[0]
    assert row["id"] == name
    assert row["#escaped"] == "0"


def test_every_pair_of_every_layer_has_a_row(fit: PopulationFit) -> None:
    rows = read(pairs_csv(fit))
    n = len(fit.models)
    assert len(rows) == len(fit.layers) * n * (n - 1) // 2
    pairs = {(row["layer"], row["a"], row["b"]) for row in rows}
    assert len(pairs) == len(rows)


def test_pairs_agree_with_a_naive_twin() -> None:
    from tests.report.sample import fit_of

    population = fit_of(5, 1, hostile=False)
    layer = replace(
        population.layers[0],
        members=(4, 1, 0, 2),
        inner=population.layers[0].inner[:4, :4],
        h=np.arange(4.0),
        reference_energy=2.5,
        ranks=np.array([4, 2, 3, 0]),
        output=replace(
            population.layers[0].output,
            overlap=np.arange(16.0).reshape(4, 4) / 8,
        ),
        input=replace(
            population.layers[0].input, overlap=np.full((4, 4), 0.75)
        ),
    )
    rows = read(pairs_csv(replace(population, layers=(layer,))))
    inner, h = layer.inner, layer.h

    def product(i: int, j: int) -> float:
        return float(inner[i, j] + h[i] + h[j] + 2.5)

    expected = []
    for i in range(4):
        for j in range(i + 1, 4):
            smaller = min(layer.ranks[i], layer.ranks[j])
            larger = max(layer.ranks[i], layer.ranks[j])
            cosine = product(i, j) / (product(i, i) * product(j, j)) ** 0.5
            defined = smaller > 0
            expected.append(
                [
                    population.models[layer.members[i]].id,
                    population.models[layer.members[j]].id,
                    cosine,
                    0.0,
                    (4 * i + j) / 8 / smaller if defined else None,
                    larger / 48,
                    0.75 / smaller if defined else None,
                    larger / 32,
                ]
            )
    columns = list(rows[0])[4:-1]
    for row, (a, b, *values) in zip(rows, expected, strict=True):
        assert (row["a"], row["b"]) == (a, b)
        for column, value in zip(columns, values, strict=True):
            if value is None:
                assert row[column] == ""
            else:
                bounded = min(value, 1.0)
                assert float(row[column]) == pytest.approx(bounded, abs=1e-8)


@given(
    arrays(
        float,
        st.integers(0, 20),
        elements=st.floats(-1, 1) | st.sampled_from([math.nan, 1e-9, -1e-10]),
    )
)
def test_decimals_are_those_that_python_writes(values: Vector) -> None:
    for row, value in zip(_decimals(values), values, strict=True):
        text = row.tobytes().replace(b"\0", b"").decode()
        if math.isnan(value):
            assert text == ""
        else:
            assert float(text) == pytest.approx(value, abs=5.1e-10)
            plain = np.format_float_positional(float(text), trim="0")
            assert text == plain


def test_pairs_are_the_same_however_many_are_made_at_once(
    fit: PopulationFit, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = "".join(pairs_csv(fit))
    monkeypatch.setattr(sheets, "_AT_ONCE", 600)
    assert "".join(pairs_csv(fit)) == whole


def test_hostile_names_take_one_line_each(
    hostile_fit: PopulationFit, hostile_report: dict[str, Any]
) -> None:
    layers = list(layers_csv(hostile_report))
    assert len(layers) == 1 + len(hostile_report["layers"])
    assert len(read(layers)) == len(hostile_report["layers"])
    names = {row["layer"] for row in read(pairs_csv(hostile_fit))}
    assert "'" + HOSTILE[2] in names
    assert len(names) == len(hostile_fit.layers)
