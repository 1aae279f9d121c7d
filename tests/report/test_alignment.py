"""The report of aligned models: its page in a browser, document, table."""

import csv
import io
import json
import re
import shlex
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from spectra.core.errors import UsageError
from spectra.report.alignment import (
    FILES,
    html,
    require_free,
    table,
    write_alignment,
)
from spectra.report.pairs import tree
from spectra.report.wording import number
from spectra.study.alignment import SCHEMA
from tests.report.aligned import DIRECTED, document_of
from tests.report.browser import Browser
from tests.report.sample import HOSTILE
from tests.report.test_browser import complaints, readout, select
from tests.report.test_page import Walk


@pytest.fixture
def document() -> dict[str, Any]:
    return document_of(6, n_layers=3)


@pytest.fixture
def page(tmp_path: Path, document: dict[str, Any]) -> Path:
    return write_alignment(document, tmp_path)[0]


def pair(
    document: dict[str, Any], metric: str, a: str, b: str
) -> dict[str, Any]:
    (found,) = (
        p
        for p in document["pairs"]
        if p["metric"] == metric
        and ((p["a"], p["b"]) == (a, b)
             or ((p["b"], p["a"]) == (a, b) and metric != DIRECTED))
    )  # fmt: skip
    return dict(found)


def test_the_document_and_the_table_are_what_was_found(
    page: Path, document: dict[str, Any]
) -> None:
    assert sorted(p.name for p in page.parent.iterdir()) == sorted(FILES)
    texts = {p.name: p.read_text("utf-8") for p in page.parent.iterdir()}
    assert json.loads(texts["alignment.json"]) == document
    rows = list(csv.DictReader(io.StringIO(texts["alignment.csv"])))
    assert [{k: row[k] for k in document["pairs"][0]} for row in rows] == [
        {key: str(value) for key, value in found.items()}
        for found in document["pairs"]
    ]
    assert {row["#escaped"] for row in rows} == {"0"}


def test_no_cell_is_a_formula(tmp_path: Path) -> None:
    write_alignment(document_of(6, hostile=True), tmp_path)
    raw = (tmp_path / "alignment.csv").read_text("utf-8")
    for row in csv.reader(io.StringIO(raw, newline="")):
        assert not any(
            re.match(r"\s*[=+@]", cell) or cell.startswith("\x1b")
            for cell in row
        )


def test_hostile_names_add_no_element_and_no_attribute() -> None:
    plain, hostile = (
        Walk(html(document_of(8, hostile=h))) for h in (False, True)
    )
    assert hostile.elements == plain.elements
    told = html(document_of(8, hostile=True))
    assert "\x1b" not in told
    assert "\u202e" not in told
    assert "&lt;img src=x" in told


def test_nothing_names_another_place_and_all_is_labelled(
    document: dict[str, Any],
) -> None:
    page = html(document)
    walk = Walk(page)
    for active in ("http:", "https:", "url(", "@import", "fetch(", "import("):
        assert active not in page
    assert "default-src 'none'" in page
    identifiers = {f["id"] for _, f in walk.elements if "id" in f}
    for _, found in walk.elements:
        assert "style" not in found
        for key in ("aria-labelledby", "aria-describedby"):
            assert found.get(key, "main") in identifiers
        target = found.get("href") or "#main"
        assert target == "data:," or target[1:] in identifiers
    assert all("scope" in found for found in walk.named("th"))


def test_forty_models_are_a_small_page() -> None:
    names = ("mutual-knn", "cka-debiased")
    page = html(document_of(40, metrics=names))
    assert len(page.encode()) < 1_000_000
    assert page.count("<tr data-metric=") == 2 * 780


def test_of_many_pairs_the_most_aligned_are_listed(
    document: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(table, "MOST_ROWS", 10)
    page = html(document)
    rows = re.findall(r'<tr data-metric="(\d)">.*?main">([^<]+)<', page)
    most = sorted(
        (p["excess"], p["value"]) for p in document["pairs"]
        if p["metric"] == DIRECTED
    )[::-1]  # fmt: skip
    assert [v for m, v in rows if m == "1"] == [number(v) for _, v in most[:5]]
    assert "The 10 with the largest excess of 45" in page


def test_pairs_beyond_the_budget_have_no_map(
    document: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("spectra.report.alignment.drawn.MAP_BUDGET", 5000)
    data = json.loads(Walk(html(document)).text["script"][0])
    kept = [metric["pairs"] is not None for metric in data["metrics"]]
    assert kept == [True, False]


def test_what_was_not_asked_for_may_be_null_or_absent(
    document: dict[str, Any],
) -> None:
    asked = html(document)
    assert "Spearman" in asked
    assert "Mantel" in asked
    null = document | {"convergence": None, "weights": None}
    absent = {
        k: v
        for k, v in document.items()
        if k not in ("convergence", "weights")
    }
    assert html(null) == html(absent)
    assert "scored-caption" not in Walk(html(null)).text
    assert 'id="scored"' not in html(null)
    for found in absent["pairs"]:
        del found["p_adjusted"]
    assert "expected to have p up to 0.05" in html(absent)
    assert 'value="p_adjusted"' not in html(absent)


def test_a_bar_is_as_long_as_its_value(document: dict[str, Any]) -> None:
    rows = re.findall(
        r'0H([\d.]+)V8.*?<path d="M([\d.]+) 2H([\d.]+)V6.*?<path d="M([\d.]+)'
        r' 0V8"/></svg></td><td class="n main">',
        html(document),
    )
    pairs = [p for p in document["pairs"] if p["metric"] == "mutual-knn"]
    found = sorted(pairs, key=lambda p: -p["excess"])
    low = min(0, *(p["value"] for p in document["pairs"]))
    for row, own in zip(rows, found, strict=False):
        keys = (own["null_high"], 0, own["value"], own["null_mean"])
        expected = [100 * (value - low) / (1 - low) for value in keys]
        assert np.allclose([float(x) for x in row], expected, atol=0.06)


def test_the_command_is_one_that_can_be_typed(
    document: dict[str, Any],
) -> None:
    command = Walk(html(document)).text["pre"][0].splitlines()[1]
    words = shlex.split(command)
    assert words[:2] == ["spectra", "align"]
    assert words[2:8] == [model["id"] for model in document["models"]]
    assert words[8:] == [
        "--metric", "mutual-knn", "--metric", DIRECTED, "-k", "10", "--draws",
        "199", "--seed", "0", "--scores", "scores.csv", "--run", "run.h5",
        "-o", "alignment",
    ]  # fmt: skip


def test_only_our_own_files_are_replaced(
    tmp_path: Path, document: dict[str, Any]
) -> None:
    out = tmp_path / "out"
    require_free(out, inputs=())
    document["schema"] = SCHEMA
    write_alignment(document, out)
    (out / "notes.txt").write_text("mine")
    require_free(out, inputs=())
    with pytest.raises(UsageError, match="one of the files to read"):
        require_free(out, inputs=[str(out / "alignment.csv")])
    (out / "alignment.json").write_text('{"schema": "mine"}')
    with pytest.raises(UsageError, match=r"alignment\.html exists"):
        require_free(out, inputs=())
    with pytest.raises(UsageError, match=r"notes\.txt exists"):
        require_free(out / "notes.txt", inputs=())


def test_after_a_kill_between_renames_it_can_be_written_again(
    tmp_path: Path, document: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    replace, done = Path.replace, []

    def once(self: Path, target: Path) -> Path:
        if done:
            raise KeyboardInterrupt
        done.append(target.name)
        return replace(self, target)

    monkeypatch.setattr(Path, "replace", once)
    with pytest.raises(KeyboardInterrupt):
        write_alignment(document, tmp_path)
    assert [p.name for p in tmp_path.iterdir()] == done
    require_free(tmp_path, inputs=())


def test_it_draws_offline_without_complaint(
    browser: Browser, page: Path
) -> None:
    browser.open(page)
    assert complaints(browser) == []
    asked = {
        event["request"]["url"]
        for event in browser.events_of("Network.requestWillBeSent")
    }
    assert asked - {page.as_uri(), "about:blank", "data:,"} == set()
    assert browser.run("map.dataset.ready") == "true"


def in_order(document: dict[str, Any]) -> None:
    """Give the matrices of a document the values and the order they have."""
    ids = [model["id"] for model in document["models"]]
    for matrix in document["matrices"]:
        metric = matrix["metric"]
        matrix["values"] = [
            [None if a == b else pair(document, metric, a, b)["value"]
             for b in ids]
            for a in ids
        ]  # fmt: skip
        found = tree(np.array(matrix["values"], float))
        matrix["order"] = [ids[i] for i in found.order]


def test_the_tree_is_that_of_the_values_of_the_metric(
    browser: Browser, tmp_path: Path, document: dict[str, Any]
) -> None:
    in_order(document)
    browser.open(write_alignment(document, tmp_path)[0])
    lines = (
        "[...document.querySelectorAll('#tree path')]"
        ".map(p => p.getAttribute('d')).join()"
    )
    seen = set()
    for i, matrix in enumerate(document["matrices"]):
        select(browser, "metric", i)
        found = tree(np.array(matrix["values"], float))
        joins = json.loads(browser.run("JSON.stringify(view.tree.joins)"))
        assert joins == pytest.approx(found.joins, rel=1e-3)
        told = browser.run("byId('tree').textContent")
        assert f"1 − {matrix['metric']}, mean between branches" in told
        assert "permuted" in told
        drawn = browser.run(lines)
        assert drawn.count("M") == 5
        seen.add(drawn)
        select(browser, "shown", 2)
        assert browser.run(lines) == drawn
    assert len(seen) == 2
    saved = browser.run("svgOf(document.querySelector('figure'))")
    assert "mean between branches" in saved
    select(browser, "order", 1)
    assert browser.run("byId('tree').clientHeight") == 0
    assert complaints(browser) == []


def test_an_order_that_is_no_trees_has_none(
    browser: Browser, page: Path
) -> None:
    browser.open(page)
    assert browser.run("byId('tree').clientHeight") == 0
    assert browser.run("byId('tree-caption').hidden")


@pytest.mark.parametrize("metric", ["mutual-knn", DIRECTED])
def test_arrow_keys_and_the_mouse_tell_a_pair(
    browser: Browser, page: Path, document: dict[str, Any], metric: str
) -> None:
    browser.open(page)
    select(browser, "metric", [m["metric"] for m in document["matrices"]]
           .index(metric))  # fmt: skip
    browser.run("map.focus()")
    for key in ("ArrowDown", "ArrowDown", "ArrowDown", "ArrowLeft"):
        browser.press(key)
    ids = [model["id"] for model in document["models"]][::-1]
    a, b = ids[3], ids[0]
    own = pair(document, metric, a, b)
    told = readout(browser)
    assert told[:2] == [a, b]
    (value,) = re.findall(rf"^{metric} (.*)", told[2])
    assert float(value) == pytest.approx(own["value"], abs=6e-4)
    numbers = re.findall(r"-?\d[\d.e-]*", "; ".join(told[3:6]))
    keys = ("null_mean", "null_high", "excess", "p", "p_adjusted")
    expected = [own[key] for key in keys]
    assert [float(x) for x in numbers] == pytest.approx(expected, abs=6e-4)
    assert told[6] == (
        f"layers {own['layer_a']} of {own['a']}, {own['layer_b']} of"
        f" {own['b']}"
    )
    browser.run("map.scrollIntoView()")
    left, top, cell, gutter = json.loads(
        browser.run(
            "(b => JSON.stringify([b.left, b.top, view.cell, view.left]))"
            "(map.getBoundingClientRect())"
        )
    )
    browser.point(left + gutter + 4.5 * cell, top + 2.5 * cell)
    assert readout(browser)[:2] == [ids[2], ids[4]]


def test_what_permuted_items_give_has_no_colour(
    browser: Browser, page: Path, document: dict[str, Any]
) -> None:
    browser.open(page)
    none = browser.run("rgb(style('--d2')).join()")
    own = [p for p in document["pairs"] if p["metric"] == "mutual-knn"]
    middle = np.mean([p["null_mean"] for p in own])
    assert browser.run(f"view.colour({middle:.6f}).join()") == none
    marked = browser.run("byId('scale').textContent")
    assert f"permuted {round(float(middle), 3)}" in marked
    select(browser, "shown", 1)
    assert browser.run("view.colour(0).join()") == none
    assert browser.run("view.value(0, 1)") == pytest.approx(
        own[0]["excess"], abs=1e-3
    )
    select(browser, "shown", 2)
    assert browser.run("view.value(0, 1)") == pytest.approx(
        -np.log10(own[0]["p"]), abs=1e-3
    )
    assert browser.run("view.colour(0).join()") == browser.run(
        "rgb(style('--s0')).join()"
    )


def test_cells_have_the_colour_of_their_value(
    browser: Browser, page: Path
) -> None:
    browser.open(page)
    corner = (
        "(c => [...map.getContext('2d').getImageData("
        "(view.left + (c + .1) * view.cell) * devicePixelRatio,"
        "1.1 * view.cell * devicePixelRatio, 1, 1).data].slice(0, 3).join())"
    )
    assert browser.run(f"{corner}(4)") == browser.run(
        "view.colour(view.value(view.order[1], view.order[4])).join()"
    )
    assert browser.run(f"{corner}(1)") == browser.run(
        "rgb(style('--undefined')).join()"
    )


def test_the_metric_changes_all_that_is_shown(
    browser: Browser, page: Path, document: dict[str, Any]
) -> None:
    browser.open(page)
    shown = (
        "JSON.stringify([[...document.querySelectorAll('[data-metric]')]"
        ".filter((r) => !r.hidden).length, byId('scored-caption').textContent,"
        " byId('weighed-caption').textContent])"
    )
    before = json.loads(browser.run(shown))
    select(browser, "metric", 1)
    after = json.loads(browser.run(shown))
    assert (before[0], after[0]) == (15, 30)
    for told, i in ((before, 0), (after, 1)):
        scored = document["convergence"][i]["text"]
        assert told[1].startswith(f"{scored}. ")
        weighed = document["weights"]["by_metric"][i]["text"]
        assert told[2].startswith(f"{weighed}. ")
    order = "view.order.join()"
    clustered = browser.run(order)
    select(browser, "order", 1)
    assert (clustered, browser.run(order)) == ("5,4,3,2,1,0", "0,1,2,3,4,5")


def test_points_stand_where_their_numbers_are(
    browser: Browser, page: Path, document: dict[str, Any]
) -> None:
    browser.open(page)
    for id_, kind, points in (
        ("scored", "dot", [
            (m["score"], m["alignment"])
            for m in document["convergence"][0]["models"]
        ]),
        ("weighed", "pair", [
            (p["overlap"], p["alignment"])
            for p in document["weights"]["by_metric"][0]["pairs"]
        ]),
    ):  # fmt: skip
        at = json.loads(
            browser.run(
                "JSON.stringify([...document.querySelectorAll("
                f"'#{id_} circle.{kind}')].map((c) => [c.cx.baseVal.value,"
                " c.cy.baseVal.value]))"
            )
        )
        drawn, known = np.array(at), np.array(points)
        assert drawn.shape == known.shape
        for axis, sign in ((0, 1), (1, -1)):
            slope, start = np.polyfit(known[:, axis], drawn[:, axis], 1)
            assert sign * slope > 0
            fitted = start + slope * known[:, axis]
            assert np.allclose(drawn[:, axis], fitted, atol=0.3)
            if (id_, axis) == ("scored", 1):
                low, high = (start + slope * x for x in (0.1 + 0.3 * 0.2, 0))
                zero = browser.run(
                    "document.querySelector('#scored .isotropic').y1.baseVal"
                    ".value"
                )
                assert zero == pytest.approx(high, abs=0.5)
                assert low < high
    labels = "document.querySelectorAll('#scored .label').length"
    assert browser.run(labels) >= 4


def test_points_are_told_by_key_and_by_mouse(
    browser: Browser, page: Path, document: dict[str, Any]
) -> None:
    browser.open(page)
    browser.run("byId('scored').focus()")
    browser.press("ArrowRight")
    browser.press("ArrowRight")
    models = sorted(
        document["convergence"][0]["models"], key=lambda m: m["score"]
    )
    told = "byId('scored-told').textContent"
    assert browser.run(told).startswith(f"{models[1]['id']}: score ")
    browser.run("byId('scored').scrollIntoView()")
    x, y = json.loads(
        browser.run(
            "(b => JSON.stringify([b.left + b.width / 2, b.top + b.height / 2"
            "]))([...document.querySelectorAll('#scored circle.dot')][0]"
            ".getBoundingClientRect())"
        )
    )
    browser.point(x, y)
    first = document["convergence"][0]["models"][0]["id"]
    assert browser.run(told).startswith(f"{first}: score ")
    assert complaints(browser) == []


def test_two_models_are_a_table_alone(
    browser: Browser, tmp_path: Path
) -> None:
    two = document_of(2) | {"convergence": None, "weights": None}
    page = write_alignment(two, tmp_path)[0]
    browser.open(page)
    assert complaints(browser) == []
    assert browser.run("byId('mapped').hidden")
    assert browser.run("byId('metric')") is None
    shown = "[...document.querySelectorAll('[data-metric]')]"
    assert browser.run(f"{shown}.filter((r) => !r.hidden).length") == 3
    assert browser.run("document.querySelectorAll('.gauge').length") == 3


def test_without_scripts_the_tables_are_there(
    browser: Browser, page: Path, document: dict[str, Any]
) -> None:
    browser.call("Emulation.setScriptExecutionDisabled", value=True)
    try:
        browser.call("Page.navigate", url=page.as_uri())
        browser.until("document.readyState === 'complete'")
        text = browser.run("document.body.innerText")
        assert "drawn" not in json.loads(
            browser.run("JSON.stringify(document.documentElement.dataset)")
        )
    finally:
        browser.call("Emulation.setScriptExecutionDisabled", value=False)
    for entry in document["convergence"]:
        assert entry["text"] in text
    for found in document["pairs"]:
        assert number(found["value"]) in text


@pytest.mark.parametrize("width", [360, 1280])
def test_hostile_names_stay_text_and_in_their_place(
    browser: Browser, tmp_path: Path, width: int
) -> None:
    page = write_alignment(document_of(8, hostile=True, n_layers=2), tmp_path)[
        0
    ]
    browser.call(
        "Emulation.setDeviceMetricsOverride",
        width=width, height=800, deviceScaleFactor=1, mobile=False,
    )  # fmt: skip
    browser.open(page)
    browser.run("map.focus()")
    browser.press("ArrowRight")
    told = readout(browser)
    widest = browser.run("document.documentElement.scrollWidth")
    browser.call("Emulation.clearDeviceMetricsOverride")
    assert widest <= width
    assert complaints(browser) == []
    assert browser.run("document.title") == "Alignment of 8 models"
    assert browser.run("document.scripts.length") == 2
    assert browser.run("document.images.length") == 0
    assert told[0].startswith("WWWW")
    labels = "byId('scored').textContent + byId('scores').textContent"
    assert browser.run(f"({labels}).length") > 0
    assert browser.run("byId('pairs').parentElement.textContent").count(
        HOSTILE[0]
    )


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_no_rule_of_axe_is_broken(
    browser: Browser, page: Path, scheme: str
) -> None:
    axe_core = pytest.importorskip("axe_core_python")
    from tests.report.test_axe import violations

    axe = Path(axe_core.__file__).with_name("axe.min.js").read_text("utf-8")
    browser.call(
        "Emulation.setEmulatedMedia",
        features=[{"name": "prefers-color-scheme", "value": scheme}],
    )
    browser.open(page)
    found = violations(browser, axe)
    ground = browser.run("view.colour(view.low).join()")
    browser.call("Emulation.setEmulatedMedia", features=[])
    assert found == []
    assert (scheme == "dark") == (int(ground.split(",")[0]) < 128)
