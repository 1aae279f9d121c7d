"""Parquet: the tables of CSV, with types, and texts as they are."""

import csv
import io
import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import spectra
from spectra.api.chain import run_study
from spectra.core.errors import UsageError
from spectra.report import parquet, write
from spectra.report.pairs import DECIMALS
from spectra.study.studyfile import Population, Report, Study
from spectra.subspaces.result import PopulationFit
from tests.checkpoints import adapters

TABLES = ("layers", "models", "pairs", "trajectory")
TEXT = pa.string()


def in_csv(folder: Path, name: str) -> list[dict[str, str]]:
    with (folder / f"{name}.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def in_parquet(folder: Path, name: str) -> pa.Table:
    return pq.read_table(folder / f"{name}.parquet")


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> tuple[Any, Path]:
    """Return the report of checkpoints that are in order, and its files."""
    folder = tmp_path_factory.mktemp("tables")
    adapters(folder / "p", [4] * 8, {"q": (24, 16), "v": (9, 20)})
    run = spectra.fit(spectra.scan(folder / "p"))
    report = spectra.overlap(run, ordered=True)
    report.save(folder, formats=("csv", "json", "parquet"))
    return report, folder


def agree(text: str, value: Any) -> bool:
    """Return whether a cell of CSV and a value of Parquet are the same."""
    if value is None:
        return text == ""
    if isinstance(value, float):
        return math.isclose(float(text), value, abs_tol=0.5 * 10**-DECIMALS)
    return text == str(value)


@pytest.mark.parametrize("name", TABLES)
def test_the_tables_are_those_of_csv(made, name: str) -> None:
    _, folder = made
    rows = in_csv(folder, name)
    table = in_parquet(folder, name)
    assert table.num_rows == len(rows) > 0
    assert set(table.column_names) - {"davis_kahan_word"} == (
        set(rows[0]) - {"#escaped"}
    )
    for row, found in zip(rows, table.to_pylist(), strict=True):
        for column in found.keys() & row.keys() - {"davis_kahan"}:
            assert agree(row[column], found[column]), column
        if "davis_kahan" in row:
            word = found["davis_kahan_word"]
            number = found["davis_kahan"]
            assert agree(row["davis_kahan"], number if word is None else word)


def test_numbers_are_numbers(made) -> None:
    _, folder = made
    layers = in_parquet(folder, "layers").schema
    types = {field.name: field.type for field in layers}
    assert types["energy"] == types["evr_1"] == pa.float64()
    assert types["davis_kahan"] == pa.float64()
    assert types["davis_kahan_word"] == types["verdict"] == TEXT
    assert types["n_models"] == types["out"] == types["effect_k"] == pa.int64()
    assert types["still_growing"] == pa.bool_()
    pairs = in_parquet(folder, "pairs").schema
    assert [each.type for each in pairs] == 4 * [TEXT] + 6 * [pa.float64()]


@pytest.mark.parametrize("name", TABLES)
def test_pandas_reads_them(made, name: str) -> None:
    _, folder = made
    frame = pd.read_parquet(folder / f"{name}.parquet")
    assert frame.to_dict("list").keys() == set(
        in_parquet(folder, name).column_names
    )
    assert len(frame) == len(in_csv(folder, name))


def test_layers_are_those_of_the_data_frame(made) -> None:
    report, folder = made
    document = json.loads((folder / "report.json").read_text("utf-8"))
    frame = report.to_dataframe()
    table = pd.read_parquet(folder / "layers.parquet")
    axis = "model_axis"
    columns = {
        "name": "name", "verdict": "verdict", "n_models": "n_models",
        "evr_1": f"{axis}.evr.1", "evr_4": f"{axis}.evr.4",
        "energy": f"{axis}.energy",
        "captured_1": f"{axis}.held_out.captured.1",
        "effect_low": f"{axis}.held_out.effect.low",
        "output_overlap_mean": "output_side.overlap_mean",
        "null_strength_q95_1": f"{axis}.null.strength.evr.1.q95",
    }  # fmt: skip
    assert len(table) == len(document["layers"]) == 2
    for flat, nested in columns.items():
        one, other = (
            [None if pd.isna(value) else value for value in column]
            for column in (table[flat], frame[nested])
        )
        assert one == other, flat


def test_texts_are_as_they_were_found(
    hostile_report: dict[str, Any], hostile_fit: PopulationFit, tmp_path: Path
) -> None:
    write(hostile_report, hostile_fit, tmp_path, formats=["parquet"])
    names = [m["id"] for m in hostile_report["population"]["models"]]
    found = in_parquet(tmp_path, "models")["id"].to_pylist()
    expected = [name.replace("\ud800", "\\ud800") for name in names]
    assert found == expected
    assert any(name.startswith("=") for name in found)
    assert {"\x1b", "\u202e", "<"} <= set("".join(found))
    pairs = in_parquet(tmp_path, "pairs")
    assert set(pairs["a"].to_pylist()) | set(pairs["b"].to_pylist()) == set(
        expected
    )


def test_a_column_without_a_value_keeps_its_type(
    report: dict[str, Any],
) -> None:
    for model in report["population"]["models"]:
        model |= {"revision": None, "license": None, "norm": None}
    raw = b"".join(parquet.models_parquet(report))
    schema = pq.read_table(io.BytesIO(raw)).schema
    assert schema.field("revision").type == TEXT
    assert schema.field("license").type == TEXT
    assert schema.field("norm").type == pa.float64()


def test_an_undefined_number_is_none(report: dict[str, Any]) -> None:
    report["layers"][0]["model_axis"]["energy"] = float("inf")
    with pytest.raises(ValueError, match="undefined numbers are None"):
        list(parquet.layers_parquet(report))


def test_an_undefined_pair_is_null(fit: PopulationFit) -> None:
    inner = fit.layers[0].inner.copy()
    inner[0] = inner[:, 0] = 0.0  # a member that is zero has no direction
    layer = replace(fit.layers[0], inner=inner)
    raw = b"".join(parquet.pairs_parquet(replace(fit, layers=(layer,))))
    table = pq.read_table(io.BytesIO(raw))
    known = [math.isfinite(value) for value in table["cosine"].drop_null()
             .to_pylist()]  # fmt: skip
    assert table["cosine"].null_count == len(layer.members) - 1
    assert all(known)


def test_pairs_are_written_piece_by_piece(
    fit: PopulationFit, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = pq.read_table(io.BytesIO(b"".join(parquet.pairs_parquet(fit))))
    monkeypatch.setattr(parquet, "_AT_ONCE", 17)
    pieces = list(parquet.pairs_parquet(fit))
    again = pq.ParquetFile(io.BytesIO(b"".join(pieces)))
    assert again.read() == whole
    assert again.num_row_groups > whole.num_rows / 18
    assert max(map(len, pieces)) < len(b"".join(pieces)) / 2


def test_without_pyarrow_one_line_and_nothing_is_written(
    report: dict[str, Any], fit: PopulationFit, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setattr(parquet.importlib.util, "find_spec", lambda _: None)
    advice = r"pip install 'hf-spectra\[table\]'"
    with pytest.raises(UsageError, match=advice) as told:
        write(report, fit, tmp_path / "x", formats=["json", "parquet"])
    assert told.value.code == "E_EXTRA"
    assert not (tmp_path / "x").exists()
    study = Study(
        population=Population(sources=("nowhere",)),
        report=Report(out=str(tmp_path / "x"), formats=("parquet",)),
    )
    with pytest.raises(UsageError, match=advice):
        run_study(study)  # before it looks for its sources
