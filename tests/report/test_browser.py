"""The page in a real browser: it draws, it answers, it stays offline."""

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from spectra.report.page import html
from spectra.report.pairs import MEASURES
from spectra.subspaces.result import PopulationFit
from tests.report.browser import Browser
from tests.report.sample import HOSTILE


@pytest.fixture
def page(tmp_path: Path, report: dict[str, Any], fit: PopulationFit) -> Path:
    path = tmp_path / "report.html"
    path.write_text(html(report, fit), encoding="utf-8")
    return path


@pytest.fixture
def hostile_page(
    tmp_path: Path, hostile_report: dict[str, Any], hostile_fit: PopulationFit
) -> Path:
    path = tmp_path / "report.html"
    path.write_text(html(hostile_report, hostile_fit), encoding="utf-8")
    return path


def complaints(browser: Browser) -> list[str]:
    """Return what the browser's console would show."""
    browser.run("1")
    logged = [e["entry"]["text"] for e in browser.events_of("Log.entryAdded")]
    thrown = [
        event["exceptionDetails"]["text"]
        for event in browser.events_of("Runtime.exceptionThrown")
    ]
    printed = [
        str(event) for event in browser.events_of("Runtime.consoleAPICalled")
    ]
    return logged + thrown + printed


def readout(browser: Browser) -> list[str]:
    text: str = browser.run("document.getElementById('readout').textContent")
    return text.split("\n")


def select(browser: Browser, name: str, index: int) -> None:
    browser.run(
        f"(s => {{ s.selectedIndex = {index};"
        " s.dispatchEvent(new Event('change')) })"
        f"(document.getElementById('{name}'))"
    )


def order_of(browser: Browser) -> list[int]:
    return list(json.loads(browser.run("JSON.stringify(view.order)")))


def test_a_broken_script_would_be_noticed(
    browser: Browser, tmp_path: Path
) -> None:
    page = tmp_path / "broken.html"
    page.write_text(
        "<!doctype html><html><meta http-equiv='Content-Security-Policy'"
        " content=\"script-src 'unsafe-inline'; img-src 'none'\">"
        "<script>document.documentElement.dataset.drawn = 'true'</script>"
        "<img src='other.png'><script>missing()</script></html>"
    )
    browser.open(page)
    browser.until("document.readyState === 'complete'")
    found = " ".join(complaints(browser))
    assert "Uncaught" in found
    assert "Content Security Policy" in found


def test_it_draws_without_complaint(browser: Browser, page: Path) -> None:
    browser.open(page)
    assert complaints(browser) == []
    for name in ("spectrum", "top", "held-out"):
        drawn = f"document.querySelectorAll('#{name} polyline').length"
        assert browser.run(drawn) >= 2
    assert browser.run("document.getElementById('map').dataset.ready")


def test_a_measured_report_draws_without_complaint(
    browser: Browser, tmp_path: Path, measured: dict[str, Any],
    fit: PopulationFit,
) -> None:  # fmt: skip
    path = tmp_path / "report.html"
    path.write_text(html(measured, fit), encoding="utf-8")
    browser.open(path)
    for _ in measured["layers"]:
        browser.run("document.getElementById('later').click()")
    assert complaints(browser) == []
    drawn = "document.querySelectorAll('#held-out circle').length"
    assert browser.run(drawn) >= 4


def test_it_asks_the_network_for_nothing(browser: Browser, page: Path) -> None:
    browser.open(page)
    browser.until("document.readyState === 'complete'")
    asked = {
        event["request"]["url"]
        for event in browser.events_of("Network.requestWillBeSent")
    }
    assert asked - {page.as_uri(), "about:blank", "data:,"} == set()
    assert page.as_uri() in asked


@pytest.mark.parametrize("index", range(len(MEASURES)))
def test_arrow_keys_tell_the_pair(
    browser: Browser, page: Path, fit: PopulationFit, index: int
) -> None:
    browser.open(page)
    select(browser, "measure", index)
    browser.run("document.getElementById('map').focus()")
    for key in ("ArrowDown", "ArrowDown", "ArrowRight", "ArrowUp"):
        browser.press(key)
    order = order_of(browser)
    i, j = order[1], order[2]
    measure, layer = MEASURES[index], fit.layers[0]
    first, second, value, chance, *_ = readout(browser)
    assert (first, second) == (fit.models[i].id, fit.models[j].id)
    expected = measure.matrix(layer)[i, j]
    assert float(value.split()[-1]) == pytest.approx(expected, abs=6e-4)
    told = float(re.findall(r"\d[\d.e-]*", chance)[0])
    assert told == pytest.approx(measure.chance(layer)[i, j], abs=6e-4)


def test_what_is_told_follows_the_measure_and_the_layer(
    browser: Browser, page: Path, fit: PopulationFit
) -> None:
    browser.open(page)
    browser.run("document.getElementById('map').focus()")
    browser.press("ArrowDown")
    browser.press("ArrowRight")
    select(browser, "measure", 2)
    assert readout(browser)[2].startswith("Input overlap")
    select(browser, "pick", 3)
    order = order_of(browser)
    i, j = order[1], order[2]
    assert readout(browser)[:2] == [fit.models[i].id, fit.models[j].id]
    value = MEASURES[2].matrix(fit.layers[3])[i, j]
    told = float(readout(browser)[2].split()[-1])
    assert told == pytest.approx(value, abs=6e-4)


def test_the_edge_holds(browser: Browser, page: Path) -> None:
    browser.open(page)
    browser.run("document.getElementById('map').focus()")
    for _ in range(3):
        browser.press("ArrowUp")
    assert browser.run("[view.row, view.col].join()") == "0,1"


def test_pointing_tells_the_same(
    browser: Browser, page: Path, fit: PopulationFit
) -> None:
    browser.open(page)
    browser.run("document.getElementById('map').scrollIntoView()")
    left, top, cell, gutter = json.loads(
        browser.run(
            "(b => JSON.stringify([b.left, b.top, view.cell, view.left]))"
            "(document.getElementById('map').getBoundingClientRect())"
        )
    )
    browser.point(left + gutter + 4.5 * cell, top + 7.5 * cell)
    order = order_of(browser)
    assert readout(browser)[:2] == [
        fit.models[order[7]].id,
        fit.models[order[4]].id,
    ]


def test_cells_have_the_colour_of_their_value(
    browser: Browser, page: Path
) -> None:
    browser.open(page)
    colour = (
        "(c => [...map.getContext('2d').getImageData("
        "(view.left + (c + .5) * view.cell) * devicePixelRatio,"
        "(9.5 * view.cell) * devicePixelRatio, 1, 1).data].slice(0, 3).join())"
    )
    assert browser.run(f"{colour}(9)") == browser.run(
        "rgb(style('--d4')).join()"
    )
    assert browser.run(f"{colour}(12)") == browser.run(
        "view.colour(view.value(view.order[9], view.order[12])).join()"
    )


def test_the_closest_pair_comes_first(
    browser: Browser, page: Path, fit: PopulationFit
) -> None:
    browser.open(page)
    values = MEASURES[0].matrix(fit.layers[0]).copy()
    np.fill_diagonal(values, -2)
    i, j = np.unravel_index(values.argmax(), values.shape)
    first = browser.run(
        "document.querySelector('#closest tr').children[0].textContent"
    )
    assert first == fit.models[min(i, j)].id


def test_a_layer_is_chosen_by_link_and_by_button(
    browser: Browser, page: Path, report: dict[str, Any]
) -> None:
    told = "document.getElementById('verdict').textContent"
    browser.open(page, fragment="#layer-2")
    assert browser.run(told) == report["layers"][2]["verdict"]
    browser.run("document.getElementById('later').click()")
    assert browser.run(told) == report["layers"][3]["verdict"]
    browser.run("location.hash = 'layer-5'")
    browser.until(f"{told} === {report['layers'][5]['verdict']!r}")


def test_dark_and_light_differ(browser: Browser, page: Path) -> None:
    seen = {}
    for scheme in ("light", "dark"):
        browser.call(
            "Emulation.setEmulatedMedia",
            features=[{"name": "prefers-color-scheme", "value": scheme}],
        )
        browser.open(page)
        seen[scheme] = (
            browser.run("getComputedStyle(document.body).backgroundColor"),
            browser.run("view.colour(0).join()"),
        )
    browser.call("Emulation.setEmulatedMedia", features=[])
    light, dark = seen["light"], seen["dark"]
    assert light[0] != dark[0]
    assert light[1] != dark[1]


@pytest.mark.parametrize("width", [360, 1280])
def test_the_page_never_scrolls_sideways(
    browser: Browser, hostile_page: Path, width: int
) -> None:
    browser.call(
        "Emulation.setDeviceMetricsOverride",
        width=width, height=800, deviceScaleFactor=1, mobile=False,
    )  # fmt: skip
    browser.open(hostile_page)
    widest = browser.run("document.documentElement.scrollWidth")
    browser.call("Emulation.clearDeviceMetricsOverride")
    assert widest <= width


def test_hostile_names_stay_text(
    browser: Browser, hostile_page: Path, hostile_report: dict[str, Any]
) -> None:
    browser.open(hostile_page)
    select(browser, "pick", 1)
    browser.run("document.getElementById('map').focus()")
    browser.press("ArrowRight")
    assert complaints(browser) == []
    assert browser.run("document.title").startswith("Overlap of 20")
    assert browser.run("document.scripts.length") == 2
    assert browser.run("document.images.length") == 0
    shown = browser.run("document.getElementById('pick').options[1].text")
    assert shown == HOSTILE[1]


def test_a_layer_without_a_test_says_so(
    browser: Browser, tmp_path: Path, report: dict[str, Any],
    fit: PopulationFit,
) -> None:  # fmt: skip
    layer = report["layers"][0]
    layer["model_axis"] |= {
        "held_out": None, "null": {}, "eigenvalues": [], "evr": {},
        "energy": 0.0, "floor": None, "participation_ratio": None,
    }  # fmt: skip
    path = tmp_path / "report.html"
    path.write_text(html(report, fit), encoding="utf-8")
    browser.open(path)
    assert complaints(browser) == []
    said = "document.getElementById('held-out-caption').textContent"
    assert browser.run(said).startswith("Not tested")
