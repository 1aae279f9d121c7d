"""A training run in the page, the card and the tables."""

import csv
import dataclasses
import io
import json
import re
from pathlib import Path
from typing import Any

import pytest
from markdown_it import MarkdownIt

from spectra.core.settings import OverlapSettings
from spectra.report import html, write
from spectra.report import lines as charts
from spectra.report.card import markdown
from spectra.report.lines import training_charts
from spectra.report.sheets import trajectory_csv
from spectra.report.trajectory import MOTION, motion, training, trajectory_rows
from spectra.report.wording import number
from spectra.statistics.document.report import measure
from spectra.subspaces.result import PopulationFit
from tests.report.sample import HOSTILE, fit_of
from tests.report.test_page import Walk

N = 14
SETTINGS = OverlapSettings(ordered=True, bootstrap=20)
OUTSIDE = '<b onmouseover="x">|=1+1\u202e\x1b[31m'


def run_of(*, hostile: bool) -> PopulationFit:
    """Return a run of whose names none, or each, is an attack."""
    fit = fit_of(N, 3, hostile=hostile)
    prefix = OUTSIDE if hostile else "checkpoint-"
    models = (
        dataclasses.replace(model, id=f"{prefix}{i * 10}")
        for i, model in enumerate(fit.models)
    )
    return dataclasses.replace(fit, models=tuple(models))


@pytest.fixture(scope="module")
def run() -> PopulationFit:
    return run_of(hostile=False)


@pytest.fixture(scope="module")
def ordered(run: PopulationFit) -> dict[str, Any]:
    return measure(run, SETTINGS)


@pytest.fixture(scope="module")
def hostile() -> tuple[dict[str, Any], PopulationFit]:
    fit = run_of(hostile=True)
    return measure(fit, SETTINGS), fit


def test_a_row_has_the_layers_numbers(ordered: dict[str, Any]) -> None:
    rows = trajectory_rows(ordered)
    assert len(rows) == len(ordered["layers"])
    for row, layer in zip(rows, ordered["layers"], strict=True):
        found = layer["trajectory"]
        assert row["name"] == layer["name"]
        assert row["n"] == N
        assert row["straightness"] == found["weights"]["straightness"]
        cosines = found["weights"]["cosine"]
        assert row["cosine"] == pytest.approx(sum(cosines) / len(cosines))
        drift = found["input_side"]["drift"]
        assert row["input_drift"] == pytest.approx(sum(drift) / len(drift))
        assert row["output_drift_chance"] == pytest.approx(1 - 4 / 48)
        assert row["p"] == found["changes"]["tests"][0]["p"]
        cells = motion(row)
        assert len(cells) == len(MOTION)
        assert cells[0] == layer["name"]
        assert number(row["p"]) == cells[-2]


def test_the_p_of_a_row_is_that_of_all_steps(ordered: dict[str, Any]) -> None:
    again = json.loads(json.dumps(ordered))
    found = again["layers"][0]["trajectory"]["changes"]
    (whole,) = found["tests"]
    part = whole | {"n": whole["n"] - 1, "p": 0.123}
    found["tests"] = [part, whole, part]
    assert trajectory_rows(again)[0]["p"] == whole["p"] != 0.123


def test_a_line_of_the_table_has_the_checkpoints_numbers(
    ordered: dict[str, Any],
) -> None:
    text = "".join(trajectory_csv(ordered))
    rows = list(csv.DictReader(io.StringIO(text)))
    assert len(rows) == 3 * N
    for i, row in enumerate(rows):
        layer, t = ordered["layers"][i // N], i % N
        found = layer["trajectory"]
        assert row["layer"] == layer["name"]
        assert row["checkpoint"] == f"checkpoint-{10 * t}"
        assert row["step"] == str(10 * t)
        expected = {
            "from_first": found["weights"]["from_first"][t],
            "to_last": found["weights"]["to_last"][t],
            "output_last_overlap": found["output_side"]["last_overlap"][t],
            "input_last_chance": found["input_side"]["last_chance"][t],
        }
        if t > 0:
            expected |= {
                "step_length": found["weights"]["step"][t - 1],
                "net_share": found["weights"]["net_share"][t - 1],
                "output_drift": found["output_side"]["drift"][t - 1],
            }
        else:
            assert row["step_length"] == row["input_drift"] == ""
        if t > 1:
            cosine = found["weights"]["cosine"][t - 2]
            expected["cosine_with_step_before"] = cosine
        assert {key: float(row[key]) for key in expected} == expected
        assert row["alpha"] == ""


def test_the_page_draws_every_curve(
    ordered: dict[str, Any], run: PopulationFit
) -> None:
    page = html(ordered, run)
    walk = Walk(page)
    assert {"href": "#training"} in walk.named("a")
    # Three charts a layer: 4, 2 and 2 curves.
    assert len(walk.named("polyline")) == 3 * 8
    for line in walk.named("polyline"):
        points = [p.split(",") for p in (line["points"] or "").split()]
        assert all(46 <= float(x) <= 350 for x, _ in points)
        assert all(34 <= float(y) <= 210 for _, y in points)
    for row in trajectory_rows(ordered):
        assert number(row["straightness"]) in page


def test_a_chart_has_its_points_and_its_gaps(ordered: dict[str, Any]) -> None:
    again = json.loads(json.dumps(ordered))
    found = again["layers"][0]["trajectory"]
    found["weights"]["from_first"][3] = None
    found["weights"]["from_first"][1] = None
    found["changes"]["at"] = ["checkpoint-70"]
    (_, (first, second, _)), *_ = training_charts(again)
    assert [len(line.pieces) for line in second.lines] == [1, 1]
    assert len(second.lines[0].dots) == 2
    assert second.lines[0].pieces[0].startswith("139.5,")
    assert first.marks == (209.7,)
    assert (first.low, first.high) == ("0", "1.000")
    last = first.lines[0].pieces[0].split()[-1]
    assert last == "350.0,34.0"


def test_a_page_holds_no_more_charts_than_it_has_room_for(
    ordered: dict[str, Any], run: PopulationFit,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    assert "no room for the charts" not in html(ordered, run)
    monkeypatch.setattr(charts, "LINES_BUDGET", 3000)
    assert 0 < len(training_charts(ordered)) < 3
    assert "no room for the charts" in html(ordered, run)


def test_sentences_show_no_control_characters(
    hostile: tuple[dict[str, Any], PopulationFit],
) -> None:
    said = " ".join(training(hostile[0]))
    assert "<b onmouseover" in said
    assert not {"\u202e", "\x1b"} & set(said)


def test_hostile_names_stay_text(
    hostile: tuple[dict[str, Any], PopulationFit], ordered: dict[str, Any],
    run: PopulationFit, tmp_path: Path,
) -> None:  # fmt: skip
    document, fit = hostile
    assert document["trajectory"]["checkpoints"][3]["id"] == f"{OUTSIDE}30"
    found, plain = Walk(html(document, fit)), Walk(html(ordered, run))
    assert {tag for tag, _ in found.elements} == {t for t, _ in plain.elements}
    assert not found.named("b")
    names = {name for _, attributes in found.elements for name in attributes}
    assert names == {n for _, attributes in plain.elements for n in attributes}
    renderer = MarkdownIt("commonmark").enable("table")
    tokens = renderer.parse(markdown(document))
    kinds = {t.type for token in tokens for t in (token.children or [token])}
    assert not kinds & {"html_block", "html_inline"}
    tables = re.findall(r"(?:^\|.*\n)+", markdown(document), re.MULTILINE)
    assert len(tables) == 3
    for table in tables:
        assert len({line.count("|") for line in table.splitlines()}) == 1
    for path in write(document, fit, tmp_path, formats=("csv", "html", "md")):
        assert b"\x1b" not in path.read_bytes()
        assert "\u202e".encode() not in path.read_bytes()
    assert (tmp_path / "trajectory.csv").is_file()
    assert HOSTILE[0] in {layer["name"] for layer in document["layers"]}


def test_other_populations_have_none_of_it(
    run: PopulationFit, tmp_path: Path
) -> None:
    plain = measure(run, dataclasses.replace(SETTINGS, ordered=False))
    paths = write(plain, run, tmp_path, formats=("html", "csv", "md", "json"))
    assert "trajectory.csv" not in {path.name for path in paths}
    for path in paths:
        text = path.read_text(encoding="utf-8").replace("overlap.ordered", "")
        assert "trajectory" not in text.lower()
    assert "Training" not in (tmp_path / "report.html").read_text("utf-8")
