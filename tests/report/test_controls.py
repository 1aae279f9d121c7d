"""Every control of the page changes what it should, in a real browser."""

import base64
import csv
import io
import itertools
import json
import re
import time
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from spectra.core.text import printable
from spectra.report.cohort import Cohort
from spectra.report.page import html
from spectra.report.pairs import MEASURES, elbows, tree
from spectra.report.wording import number
from spectra.subspaces.result import PopulationFit
from tests.report.browser import Browser
from tests.report.sample import HOSTILE, report_of
from tests.report.test_browser import complaints, select

EFFECTS = (0.3, 0.2, 0.25, 0.05, 0.4, 0.15, 0.1, 0.35)


@pytest.fixture(scope="module")
def given(fit: PopulationFit) -> dict[str, Any]:
    report = report_of(fit)
    for layer, value in zip(report["layers"], EFFECTS, strict=True):
        effect = layer["model_axis"]["held_out"]["effect"]
        effect |= {"value": value, "low": value - 0.02, "high": value + 0.02}
    # A random start of three after one of two; lineage groups are of two.
    starts = {1: 0, 5: 4, 6: 4}
    for index, model in enumerate(report["population"]["models"]):
        model["init_group"] = starts.get(index, index)
    report["layers"][0]["model_axis"]["null"]["permuted-rows"] = {
        "statistic": "evr",
        "evr": {"4": {"mean": 0.111, "q95": 0.123, "p": 1, "p_adjusted": 1}},
    }
    report["layers"][0]["input_side"]["null"] = {}
    return report


@pytest.fixture(scope="module")
def path(
    given: dict[str, Any],
    fit: PopulationFit,
    tmp_path_factory: pytest.TempPathFactory,
) -> Path:
    page = tmp_path_factory.mktemp("page") / "report.html"
    page.write_text(html(given, fit), encoding="utf-8")
    return page


@pytest.fixture
def page(browser: Browser, path: Path) -> Iterator[Browser]:
    browser.open(path)
    yield browser
    assert complaints(browser) == []


def put(page: Browser, name: str, value: str) -> None:
    kind = "input" if name == "match" else "change"
    page.run(
        f"(c => {{ c.value = {json.dumps(value)};"
        f" c.dispatchEvent(new Event('{kind}')) }})"
        f"(document.getElementById('{name}'))"
    )


def texts(page: Browser, selector: str) -> list[str]:
    found = page.run(
        "JSON.stringify([...document.querySelectorAll("
        f"{json.dumps(selector)})].map(one => one.textContent))"
    )
    return list(json.loads(found))


def count(page: Browser, selector: str) -> int:
    return len(texts(page, selector))


def shown_rows(page: Browser) -> list[int]:
    """Return which layers the table shows, in its order."""
    links = page.run(
        "JSON.stringify([...document.querySelectorAll('#layer-table tbody"
        " tr:not([hidden]) a')].map(one => one.hash))"
    )
    return [int(link.rpartition("-")[2]) for link in json.loads(links)]


def test_the_filter_of_names_is_a_part_or_a_glob(page: Browser) -> None:
    put(page, "match", "layers.5")
    assert shown_rows(page) == [5]
    assert texts(page, "#matched") == ["1 of 8"]
    assert count(page, "#profile .mark.faded") == 7
    put(page, "match", "LAYERS.*q_proj")
    assert len(shown_rows(page)) == 8
    put(page, "match", "v_proj")
    assert shown_rows(page) == []


def test_the_filter_of_verdicts_moves_next_as_well(
    page: Browser, given: dict[str, Any]
) -> None:
    put(page, "only", "explained-by-norms")
    assert shown_rows(page) == [3]
    page.run("document.getElementById('later').click()")
    assert texts(page, "#verdict") == ["explained-by-norms"]
    assert page.run("document.getElementById('later').disabled")
    page.run("document.getElementById('reset').click()")
    assert len(shown_rows(page)) == 8


def test_k_changes_the_table_the_curves_and_the_profile(
    page: Browser, given: dict[str, Any]
) -> None:
    put(page, "k", "16")
    axis = given["layers"][2]["model_axis"]
    excess = page.run("profile.points[2].value.join()")
    captured, random = axis["held_out"]["captured"]["16"], 0.017 * 16
    assert float(excess) == pytest.approx(captured - random, abs=1e-5)
    cells = texts(page, "#layer-table tbody tr:nth-child(3) td.n")
    assert cells[:8] == [
        "16",
        number(axis["evr"]["16"]),
        number(axis["expected_norms"]["16"]),
        number(axis["null"]["strength"]["evr"]["16"]["q95"]),
        number(axis["expected_isotropic"]["16"]),
        number(axis["held_out"]["captured"]["16"]),
        number(axis["held_out"]["captured_random"]["16"]),
        "–",
    ]
    assert "The top 16 hold" in texts(page, "#top-caption")[0]
    assert "16 directions" in texts(page, "#held-out-caption")[0]
    put(page, "k", "")
    assert shown_rows(page) == list(range(8))
    assert texts(page, "#layer-table tbody tr td.n")[0] == "4"


def test_a_null_is_chosen_where_there_are_several(page: Browser) -> None:
    assert not page.run("document.getElementById('null-of').hidden")
    put(page, "null", "permuted-rows")
    assert "stay below 0.123" in texts(page, "#top-caption")[0]
    assert texts(page, "#layer-table tbody tr:first-child td.n")[3] == "0.123"


def test_a_null_is_no_choice_where_there_is_one(
    browser: Browser, tmp_path: Path, fit: PopulationFit
) -> None:
    path = tmp_path / "report.html"
    path.write_text(html(report_of(fit), fit), encoding="utf-8")
    browser.open(path)
    assert browser.run("document.getElementById('null-of').hidden")


def test_the_side_takes_the_place_of_the_points(
    page: Browser, given: dict[str, Any]
) -> None:
    side = given["layers"][0]["output_side"]
    put(page, "axis", "output")
    assert texts(page, "#verdict") == ["weakly-shared"]
    caption = texts(page, "#spectrum-caption")[0]
    assert number(side["projector_mean"][0]) in caption
    assert texts(page, "#third") == ["Split halves"]
    put(page, "axis", "input")
    assert texts(page, "#verdict") == ["no verdict: the null was not drawn"]
    assert "null was not drawn" in texts(page, "#top-caption")[0]


@pytest.mark.parametrize("energy", [50, 90, 99])
def test_the_energy_is_counted_in_directions(
    page: Browser, given: dict[str, Any], energy: int
) -> None:
    put(page, "energy", str(energy))
    values = given["layers"][0]["model_axis"]["eigenvalues"][:-1]
    share = np.cumsum(values) / given["layers"][0]["model_axis"]["energy"]
    needed = int(np.searchsorted(share, energy / 100)) + 1
    caption = texts(page, "#top-caption")[0]
    if needed > len(values):
        assert "lie in" not in caption
        return
    equal = int(np.ceil(energy / 100 * 19 - 1e-9))
    assert f"{energy}\u00a0% lie in {needed}; " in caption
    assert caption.endswith(f"it would take {equal}.")


def test_one_of_each_group_is_left(page: Browser) -> None:
    assert page.run("view.n") == 20
    for value, left in (("group", 10), ("start", 17)):
        put(page, "members", value)
        assert page.run("view.n") == left
        assert count(page, "#plane .mark, #plane .alone") == left
    put(page, "members", "group")
    order = json.loads(page.run("JSON.stringify(view.order)"))
    assert sorted(order) == list(range(0, 20, 2))
    names = {f"lab-{i % 5}/adapter-task-{i:03d}" for i in range(0, 20, 2)}
    assert set(texts(page, "#closest td.code")) <= names


def test_colours_tell_lineage_from_random_starts(page: Browser) -> None:
    # The largest group is one of three random starts.
    assert page.run("document.getElementById('colours').value") == "start"
    assert count(page, "#plane .mark.g0") == 3
    assert count(page, "#plane .alone") == 15
    assert texts(page, "#map-groups li") == [
        "random start 4: 3, lab-4/adapter-task-004 first",
        "random start 0: 2, lab-0/adapter-task-000 first",
    ]
    put(page, "colours", "group")
    assert count(page, "#plane .alone") == 0
    assert [count(page, f"#plane .g{i}") for i in range(8)] == [2] * 7 + [6]
    assert texts(page, "#groups li")[-1] == "3 smaller groups"


def test_the_stripe_has_the_colour_of_the_group(page: Browser) -> None:
    colour = page.run(
        "(r => map.getContext('2d').getImageData("
        "(view.names_end + 4) * devicePixelRatio,"
        " (r + .5) * view.cell * devicePixelRatio, 1, 1).data"
        ".slice(0, 3).join())(view.order.indexOf(5))"
    )
    assert colour == page.run("rgb(style('--g0')).join()")


def tree_of(page: Browser) -> list[list[float]]:
    """Return x and y of the four points of each join, as they are drawn."""
    path = page.run("document.querySelector('#tree path').getAttribute('d')")
    lines = re.findall(r"M([\d.]+),([\d.]+)V([\d.]+)H([\d.]+)V([\d.]+)", path)
    return [[float(number) for number in line] for line in lines]


def heights_of(page: Browser) -> list[float]:
    """Return the heights of joins, read off the axis of the tree."""
    marks = json.loads(
        page.run(
            "JSON.stringify([...document.querySelectorAll("
            "'#tree text[text-anchor=end]')].map(t => [t.textContent,"
            " Number(t.getAttribute('y')) - 4]))"
        )
    )
    (low, at_low), (high, at_high) = [
        (float(text), y) for text, y in marks if text != "chance"
    ][:2]
    unit = (high - low) / (at_high - at_low)
    return sorted(low + (y - at_low) * unit for _, _, y, _, _ in tree_of(page))


@pytest.mark.parametrize("index", range(len(MEASURES)))
def test_the_tree_joins_checkpoints_at_one_less_their_mean_value(
    page: Browser, fit: PopulationFit, index: int
) -> None:
    select(page, "measure", index)
    found = tree(MEASURES[index].matrix(fit.layers[0]))
    assert page.run("view.order.join()") == ",".join(map(str, found.order))
    heights = heights_of(page)
    assert heights == pytest.approx(sorted(1 - found.joins), abs=2e-3)
    title, *_ = [t for t in texts(page, "#tree text") if t.startswith("1 −")]
    assert title == f"1 − {MEASURES[index].title}, mean between branches"
    assert "chance" in texts(page, "#tree text")
    # Its leaves stand above the cells of the map.
    left, cell, foot = json.loads(
        page.run("JSON.stringify([view.left, view.cell, TREE.bottom])")
    )
    leaves = {
        x
        for x1, y1, _, x2, y2 in tree_of(page)
        for x, y in ((x1, y1), (x2, y2))
        if y == foot
    }
    assert sorted(leaves) == pytest.approx(
        [left + (i + 0.5) * cell for i in range(20)], abs=0.1
    )
    feet = elbows(found.joins)[:, ::3, 0]
    own = [(np.array([x1, x2]) - left) / cell - 0.5 for x1, _, _, x2, _ in
           tree_of(page)]  # fmt: skip
    assert sorted(map(tuple, feet)) == [
        pytest.approx(pair, abs=0.02) for pair in sorted(map(tuple, own))
    ]
    boxes = page.run(
        "JSON.stringify(['tree', 'map'].map(id => document.getElementById(id)"
        ".getBoundingClientRect()).flatMap(r => [r.left, r.width]))"
    )
    tree_left, tree_width, *of_map = json.loads(boxes)
    assert [tree_left, tree_width] == pytest.approx(of_map, abs=0.5)


def test_the_tree_is_there_in_clustered_order_alone(page: Browser) -> None:
    gone = (
        "[document.getElementById('tree').clientHeight === 0,"
        " document.getElementById('tree-caption').hidden,"
        " !mapAsSvg().querySelector('path[stroke-linejoin]')].join()"
    )
    assert page.run(gone) == "false,false,false"
    put(page, "order", "listed")
    assert page.run(gone) == "true,true,true"
    put(page, "order", "clustered")
    assert page.run(gone) == "false,false,false"


def test_the_tree_of_those_that_are_left_keeps_its_heights(
    page: Browser, fit: PopulationFit
) -> None:
    put(page, "members", "group")
    found = tree(MEASURES[0].matrix(fit.layers[0]))
    left = [i for i in found.order if i % 2 == 0]
    assert page.run("view.order.join()") == ",".join(map(str, left))
    places = [found.order.index(i) for i in left]
    joins = [min(found.joins[a:b]) for a, b in itertools.pairwise(places)]
    assert heights_of(page) == pytest.approx(
        sorted(1 - np.array(joins)), abs=2e-3
    )


def test_the_range_of_these_pairs_is_that_of_the_tree_too(
    page: Browser, fit: PopulationFit
) -> None:
    before = tree_of(page)
    put(page, "range", "fitted")
    after = tree_of(page)
    tops = [[y for _, _, y, _, _ in lines] for lines in (before, after)]
    assert np.ptp(tops[1]) > np.ptp(tops[0])
    bottom = page.run("TREE.bottom")
    assert all(y <= bottom for line in after for y in line[1::3])
    joins = tree(MEASURES[0].matrix(fit.layers[0])).joins
    assert heights_of(page) == pytest.approx(sorted(1 - joins), abs=2e-3)


@pytest.mark.parametrize("media", ["print", "dark"])
def test_the_tree_is_printed_and_seen_in_the_dark(
    page: Browser, media: str
) -> None:
    line = (
        "(s => [s.clientHeight > 100, s.querySelector('g').getAttribute("
        "'stroke') === style('--muted'), s.querySelector('g').getAttribute("
        "'stroke')].join())(document.getElementById('tree'))"
    )
    usual = page.run(line)
    scheme = [{"name": "prefers-color-scheme", "value": "dark"}]
    if media == "print":
        page.call("Emulation.setEmulatedMedia", media="print")
    else:
        page.call("Emulation.setEmulatedMedia", features=scheme)
    try:
        page.until(f"({line}).startsWith('true,true')")
        assert (page.run(line) == usual) == (media == "print")
    finally:
        page.call("Emulation.setEmulatedMedia", media="", features=[])


def test_a_saved_map_has_its_tree(page: Browser, tmp_path: Path) -> None:
    script = press("Save pairs as SVG")
    text = saved(page, script, tmp_path, "spectra-pairs.svg").decode()
    root = ET.fromstring(text)  # noqa: S314 - made by the page under test
    paths = [one.get("d", "") for one in root.iter() if "d" in one.attrib]
    assert max(path.count("M") for path in paths) == 19
    left, top, width, height = map(float, root.attrib["viewBox"].split())
    told = {one.text: one for one in root.iter() if one.text}
    axis = told["1 − Cosine of the updates, mean between branches"]
    assert axis.get("font-size") == "11"
    # The map stands at 0: what is above it is in the picture.
    (moved,) = [one.get("transform") for one in root if axis in list(one)]
    assert moved == f"translate(0,{top:.0f})"
    assert top == -page.run("TREE.height")
    (picture,) = [one for one in root.iter() if one.tag.endswith("image")]
    side = float(picture.attrib["width"])
    assert float(picture.attrib["x"]) + side <= left + width
    assert side <= top + height


def test_the_profile_stands_at_excess_over_chance(page: Browser) -> None:
    found = page.run(
        "JSON.stringify(profile.points.map(p => [p.at, p.value[0], p.y]))"
    )
    points = json.loads(found)
    assert [round(value, 6) for _, value, _ in points] == list(EFFECTS)
    assert [at for at, _, _ in points] == list(range(8))
    heights = [y for _, _, y in points]
    assert np.argsort(heights).tolist() == np.argsort(EFFECTS)[::-1].tolist()
    assert "chance" in texts(page, "#profile text")
    assert texts(page, "#modules li") == ["layers.*.self_attn.q_proj"]


@pytest.mark.parametrize(
    "measure", ["explained", "output", "input", "r2", "excess"]
)
def test_the_profile_shows_what_is_asked_for(
    page: Browser, given: dict[str, Any], measure: str
) -> None:
    put(page, "depth-of", measure)
    layer = given["layers"][5]
    axis = layer["model_axis"]
    expected = {
        "excess": EFFECTS[5],
        "explained": axis["evr"]["4"]
        - axis["null"]["strength"]["evr"]["4"]["mean"],
        "r2": axis["held_out"]["r2"]["mean"],
    } | {
        side: layer[f"{side}_side"]["overlap_mean"]
        - layer[f"{side}_side"]["overlap_null"]
        for side in ("output", "input")
    }
    value = page.run("profile.points[5].value[0]")
    assert value == pytest.approx(expected[measure], abs=1e-4)


def test_a_click_on_the_profile_opens_the_layer(page: Browser) -> None:
    page.run("document.getElementById('profile').scrollIntoView()")
    x, y = json.loads(
        page.run(
            "(svg => { const p = profile.points[6], m = svg.getScreenCTM();"
            " const at = new DOMPoint(p.x, p.y).matrixTransform(m);"
            " return JSON.stringify([at.x, at.y]) })"
            "(document.getElementById('profile'))"
        )
    )
    page.point(x, y)
    assert "layers.6.self_attn.q_proj: 0.1" in texts(page, "#profile-told")[0]
    for kind in ("mousePressed", "mouseReleased"):
        page.call(
            "Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left",
            clickCount=1,
        )  # fmt: skip
    assert page.run("pick.selectedIndex") == 6
    assert texts(page, "#verdict") == ["shared-lineage"]


def test_columns_are_sorted_and_put_back(page: Browser) -> None:
    page.run(
        "[...document.querySelectorAll('.sort')].find("
        "b => b.textContent.startsWith('excess')).click()"
    )
    assert shown_rows(page) == np.argsort(EFFECTS)[::-1].tolist()
    assert count(page, "th[aria-sort=descending]") == 1
    page.run("document.querySelector('[aria-sort] .sort').click()")
    assert shown_rows(page) == np.argsort(EFFECTS).tolist()
    page.run("document.querySelector('[aria-sort] .sort').click()")
    assert shown_rows(page) == list(range(8))
    assert count(page, "th[aria-sort]") == 0


def test_a_checkpoint_is_told_by_itself(
    page: Browser, fit: PopulationFit, given: dict[str, Any]
) -> None:
    cohort = Cohort(20, 8)
    for index, layer in enumerate(fit.layers):
        cohort.add(index, layer)
    select(page, "model", 4)
    assert texts(page, "#model-name") == [fit.models[4].id]
    facts = dict(
        zip(
            texts(page, "#model-facts dt"),
            texts(page, "#model-facts dd"),
            strict=True,
        )
    )
    assert facts["Layers compared"] == "8 of 8"
    assert facts["Lineage group"] == "g2, 2 checkpoints"
    assert facts["Exact copy of"] == fit.models[3].id
    # Norms rise by an eighth from one to the next.
    assert facts["Norm"] == "1.750 (median 2.438)"
    nearest = np.argsort(-np.nan_to_num(cohort.mean()[4], nan=-2))[:8]
    names = texts(page, "#nearest td:first-child")
    assert names == [fit.models[i].id for i in nearest]
    told = [float(v) for v in texts(page, "#nearest td.n")]
    assert told == pytest.approx(cohort.mean()[4][nearest], abs=6e-4)
    assert page.run("toOthers(3, 4)") == pytest.approx(
        cohort.to_others[3, 4], abs=1e-4
    )
    medians = json.loads(page.run("JSON.stringify(together.typical)"))
    assert medians == pytest.approx(np.median(cohort.to_others, 1), rel=1e-3)
    assert count(page, "#plane .ring") == 1
    select(page, "model", 1)
    entry = given["quarantine"][1]
    assert texts(page, "#model-aside li") == [
        f"{entry['layer']}: {entry['code']}, {entry['detail']}"
    ]


def saved(page: Browser, script: str, folder: Path, name: str) -> bytes:
    """Return what a button of the page saves."""
    page.call(
        "Page.setDownloadBehavior",
        behavior="allow", downloadPath=str(folder),
    )  # fmt: skip
    page.run(script)
    path, deadline = folder / name, time.monotonic() + 30
    while not path.exists():
        assert time.monotonic() < deadline, f"not saved: {name}"
        time.sleep(0.05)
    return path.read_bytes()


def press(label: str) -> str:
    return f"document.querySelector('[aria-label=\"{label}\"]').click()"


def test_every_figure_and_table_can_be_saved(page: Browser) -> None:
    figures = count(page, "figure[data-name]")
    tables = count(page, "table[data-name]")
    assert (figures, count(page, "figure:not([data-name])")) == (7, 0)
    buttons = texts(page, ".saves button")
    assert buttons.count("SVG") == buttons.count("PNG") == figures
    assert buttons.count("CSV") == tables


@pytest.mark.parametrize("name", ["depth", "pairs", "checkpoints"])
def test_a_figure_is_saved_as_svg_that_needs_nothing_else(
    page: Browser, tmp_path: Path, name: str
) -> None:
    script = press(f"Save {name} as SVG")
    text = saved(page, script, tmp_path, f"spectra-{name}.svg").decode()
    root = ET.fromstring(text)  # noqa: S314 - made by the page under test
    assert root.tag == "{http://www.w3.org/2000/svg}svg"
    assert "class=" not in text
    assert "var(" not in text
    painted = {one.get("fill") for one in root.iter()}
    assert len(painted) > 2
    assert not re.search(r"href=\"(?!data:)", text)


@pytest.mark.parametrize("name", ["depth", "pairs"])
def test_a_figure_is_saved_as_png(
    page: Browser, tmp_path: Path, name: str
) -> None:
    script = press(f"Save {name} as PNG")
    data = saved(page, script, tmp_path, f"spectra-{name}.png")
    assert data.startswith(b"\x89PNG")
    # Not one colour all over.
    encoded = base64.b64encode(data).decode()
    colours = page.call(
        "Runtime.evaluate", returnByValue=True, awaitPromise=True,
        expression=(
            "new Promise(done => { const i = new Image(); i.onload = () => {"
            " const c = document.createElement('canvas');"
            " [c.width, c.height] = [i.width, i.height];"
            " const p = c.getContext('2d'); p.drawImage(i, 0, 0);"
            " const d = p.getImageData(0, 0, c.width, c.height).data;"
            " const s = new Set(); for (let k = 0; k < d.length; k += 4)"
            " s.add(d[k] * 65536 + d[k + 1] * 256 + d[k + 2]);"
            " done(s.size) };"
            f" i.src = 'data:image/png;base64,{encoded}' }})"
        ),
    )["result"]["value"]  # fmt: skip
    assert colours > 20


def test_a_table_is_saved_as_it_is_shown(
    page: Browser, tmp_path: Path, given: dict[str, Any]
) -> None:
    put(page, "only", "weakly-shared")
    script = press("Save layers as CSV")
    text = saved(page, script, tmp_path, "spectra-layers.csv").decode()
    header, *lines = list(csv.reader(io.StringIO(text)))
    assert header[:4] == [
        "Layer", "Verdict", "k", "Explained by the top k: observed",
    ]  # fmt: skip
    [line] = lines
    layer = given["layers"][4]
    assert line[:3] == [layer["name"], "weakly-shared", "4"]
    assert line[3] == number(layer["model_axis"]["evr"]["4"])


def test_no_cell_of_a_saved_table_is_a_formula(
    browser: Browser, tmp_path: Path, hostile_report: dict[str, Any],
    hostile_fit: PopulationFit,
) -> None:  # fmt: skip
    path = tmp_path / "report.html"
    path.write_text(html(hostile_report, hostile_fit), encoding="utf-8")
    browser.open(path)
    for name in ("layer-table", "model-table"):
        text = browser.run(f"csvOf(document.getElementById('{name}'))")
        cells = [row[0] for row in csv.reader(io.StringIO(text))]
        assert HOSTILE[0] in cells
        assert f"'{HOSTILE[2]}" in cells
        assert HOSTILE[2] not in cells
        assert printable(HOSTILE[7]) in cells
    assert browser.run("csvCell('-0.5')") == "-0.5"
    assert browser.run("csvCell('1,234')") == "1234"
    assert browser.run("csvCell('-1+2')") == "'-1+2"
    assert browser.run("csvCell('a\\n =1')") == '"\'a\n =1"'
    assert complaints(browser) == []


def test_hostile_names_stay_text_wherever_the_script_puts_them(
    browser: Browser, tmp_path: Path, hostile_report: dict[str, Any],
    hostile_fit: PopulationFit,
) -> None:  # fmt: skip
    path = tmp_path / "report.html"
    path.write_text(html(hostile_report, hostile_fit), encoding="utf-8")
    browser.open(path)
    for index in range(8):
        select(browser, "model", index)
        select(browser, "pick", index)
    for value in ("group", "start"):
        put(browser, "colours", value)
    put(browser, "match", HOSTILE[0])
    assert complaints(browser) == []
    assert browser.run("document.scripts.length") == 2
    assert browser.run("document.images.length") == 0
    assert HOSTILE[1] in texts(browser, "#model option")
    assert texts(browser, "#model-name") == [printable(HOSTILE[7])]


def test_a_layer_whose_map_has_no_room_has_that_of_all_layers(
    browser: Browser, tmp_path: Path, fit: PopulationFit,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setattr("spectra.report.explorer.MAP_BUDGET", 0)
    path = tmp_path / "report.html"
    path.write_text(html(report_of(fit), fit), encoding="utf-8")
    browser.open(path)
    assert not browser.run("document.getElementById('no-map').hidden")
    cohort = Cohort(20, 8)
    for index, layer in enumerate(fit.layers):
        cohort.add(index, layer)
    told = browser.run("view.value(3, 9)")
    assert told == pytest.approx(cohort.mean()[3, 9], abs=1e-4)
    browser.run("moveTo(0, 1)")
    readout = texts(browser, "#readout")[0].split("\n")
    assert readout[2].startswith("Cosine, mean over layers")
    assert readout[3] == "chance 0"
    found = tree(cohort.mean())
    assert browser.run("view.order.join()") == ",".join(map(str, found.order))
    assert heights_of(browser) == pytest.approx(
        sorted(1 - found.joins), abs=2e-3
    )
    assert complaints(browser) == []


def test_a_page_without_any_layer_has_no_controls(
    browser: Browser, tmp_path: Path, report: dict[str, Any],
    fit: PopulationFit,
) -> None:  # fmt: skip
    report["layers"] = []
    report["verdict"] = {"counts": {}, "text": "No layer is held twice."}
    path = tmp_path / "report.html"
    path.write_text(html(report, fit), encoding="utf-8")
    browser.open(path)
    assert complaints(browser) == []
    assert browser.run("document.getElementById('controls').hidden")
    assert browser.run("document.getElementById('profile').clientWidth") == 0
