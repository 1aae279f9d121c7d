"""report.html: what it holds, what it may do, how it reads."""

import base64
import hashlib
import itertools
import json
import re
from collections import Counter
from html.parser import HTMLParser
from typing import Any

import pytest

from benchmarks.report_page import page_of
from spectra.report.explorer import explorer
from spectra.report.page import html, summary_html
from spectra.report.rows import coverage_rows
from spectra.report.wording import VERDICTS, number
from spectra.subspaces.result import PopulationFit
from tests.report.sample import HOSTILE, fit_of, report_of


class Walk(HTMLParser):
    """Every element with its attributes, and the text inside each tag."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text: dict[str, list[str]] = {}
        self._inside = ""
        self.feed(page)

    def handle_starttag(
        self, tag: str, attrs: list[tuple[str, str | None]]
    ) -> None:
        self.elements.append((tag, dict(attrs)))
        self._inside = tag

    def handle_data(self, data: str) -> None:
        self.text.setdefault(self._inside, []).append(data)

    def named(self, tag: str) -> list[dict[str, str | None]]:
        return [
            attributes for name, attributes in self.elements if name == tag
        ]


@pytest.fixture
def page(report: dict[str, Any], fit: PopulationFit) -> str:
    return html(report, fit)


@pytest.fixture
def walk(page: str) -> Walk:
    return Walk(page)


def test_hostile_names_add_no_element_and_no_attribute(
    walk: Walk, hostile_report: dict[str, Any], hostile_fit: PopulationFit
) -> None:
    page = html(hostile_report, hostile_fit)
    hostile = Walk(page)
    # A <wbr> follows each dot of a layer's name; nothing else may differ.
    plain = [element for element in walk.elements if element[0] != "wbr"]
    found = [element for element in hostile.elements if element[0] != "wbr"]
    assert found == plain
    assert "\x1b" not in page
    assert "\u202e" not in page
    shown = "".join(itertools.chain(*hostile.text.values()))
    assert HOSTILE[0] in shown
    assert "a\\u202egnp.exe\\x1b[31m" in shown


def test_a_fragment_escapes_too(hostile_report: dict[str, Any]) -> None:
    fragment = Walk(summary_html(hostile_report))
    allowed = {"section", "p", "strong", "table", "thead", "tbody", "tr",
               "th", "td"}  # fmt: skip
    assert {tag for tag, _ in fragment.elements} == allowed
    attributes = {key for _, found in fragment.elements for key in found}
    assert attributes == {"scope"}


def test_a_fragment_has_the_finding_and_every_layer(
    report: dict[str, Any],
) -> None:
    fragment = summary_html(report)
    assert report["verdict"]["text"] in fragment
    assert fragment.count('scope="row"') == len(report["layers"])
    evr = report["layers"][3]["model_axis"]["evr"]["4"]
    assert f"<td>{number(evr)}</td>" in fragment


def test_the_policy_allows_this_style_and_this_script_alone(
    page: str,
) -> None:
    policy = re.search(r'Content-Security-Policy" content="([^"]+)"', page)
    assert policy
    rules = dict(rule.strip().split(" ", 1) for rule in policy[1].split(";"))
    for name, tag in (("style-src", "style"), ("script-src", "script")):
        inside = re.search(f"<{tag}>(.*?)</{tag}>", page, re.DOTALL)
        assert inside
        digest = hashlib.sha256(inside[1].encode()).digest()
        assert rules[name] == f"'sha256-{base64.b64encode(digest).decode()}'"
    assert rules["default-src"] == "'none'"
    assert rules["img-src"] == "data:"


def test_nothing_names_another_place(page: str, walk: Walk) -> None:
    for active in ("http:", "https:", "url(", "@import", "fetch(", "import("):
        assert active not in page
    for tag, attributes in walk.elements:
        for key in ("src", "href", "action", "srcset", "data"):
            value = attributes.get(key) or "#"
            assert value.startswith("#") or (tag, value) == ("link", "data:,")
        assert "style" not in attributes
        assert not any(key.startswith("on") for key in attributes)


def test_it_reads_well_without_eyes(walk: Walk) -> None:
    assert walk.named("html") == [{"lang": "en"}]
    assert len(walk.named("main")) == len(walk.named("h1")) == 1
    assert walk.text["title"][0].startswith("Overlap of 20 checkpoints")
    levels = [
        int(tag[1]) for tag, _ in walk.elements if re.fullmatch("h[1-6]", tag)
    ]
    steps = [b - a for a, b in itertools.pairwise(levels)]
    assert levels[0] == 1
    assert max(steps) == 1
    identifiers = Counter(
        found["id"] for _, found in walk.elements if "id" in found
    )
    assert set(identifiers.values()) == {1}
    for _, found in walk.elements:
        for key in ("aria-labelledby", "aria-describedby"):
            assert found.get(key, "main") in identifiers
        target = found.get("href") or "#main"
        if not re.fullmatch(r"#layer-\d+|data:,", target):
            assert target[1:] in identifiers
    assert all("scope" in found for found in walk.named("th"))
    scrolled = [f for f in walk.named("div") if f.get("class") == "scroll"]
    assert all(found["tabindex"] == "0" for found in scrolled)


def test_what_is_known_of_a_layer_beside_its_spectra_is_among_its_facts(
    report: dict[str, Any], fit: PopulationFit
) -> None:
    first = explorer(report, fit)["layers"][0]
    facts = dict(first["facts"])
    n = report["layers"][0]["n_models"]
    assert facts["More members"] == "would add to the subspace"
    assert facts["First input direction"] == f"shared by 4 of {n} members"
    assert facts["Output side in the base"] == "top"
    assert "Input side in the base" not in facts
    assert facts["R² of basis, of mean and basis, k = 4"] == "0.026, 0.040"


def test_each_number_stands_in_its_column(
    report: dict[str, Any], fit: PopulationFit
) -> None:
    layer = report["layers"][2]
    axis = layer["model_axis"]
    axis["held_out"]["effect"] = {"k": 16, "value": 0.4, "low": 0.321}
    page = html(report, fit)
    row = re.findall(r"<tr>\s*<th scope=\"row\"><a.*?</tr>", page, re.DOTALL)
    cells = re.findall(r'<td class="n[^"]*">(.*?)</td>', row[2])
    assert cells == [
        "16",
        *map(
            number,
            [
                axis["evr"]["16"],
                axis["expected_norms"]["16"],
                axis["null"]["strength"]["evr"]["16"]["q95"],
                axis["expected_isotropic"]["16"],
                axis["held_out"]["captured"]["16"],
                axis["held_out"]["captured_random"]["16"],
                0.321,
                axis["held_out"]["r2"]["mean"],
                layer["output_side"]["overlap_mean"],
                layer["output_side"]["overlap_null"],
                layer["input_side"]["overlap_mean"],
                layer["input_side"]["overlap_null"],
            ],
        ),
    ]


def test_the_first_screen_says_what_was_found(
    page: str, report: dict[str, Any]
) -> None:
    top = page[: page.index('<h2 id="layers">')]
    headline, rest = report["verdict"]["text"].split("; ", 1)
    assert f">{headline}.</h1>" in top
    assert rest[1:] in top
    for verdict, count in report["verdict"]["counts"].items():
        assert f"v-{verdict}" in top
        assert f"{count} of 8" in top
    figures = re.findall(r"<dd>([\d.]+)<small>", top)
    assert figures == ["22", "20", "19", "18", "17.2", "2"]
    assert "Initialisation: 2 checkpoints share their random start" in top


def test_the_bar_is_as_long_as_the_layers(walk: Walk) -> None:
    bars = walk.named("rect")
    widths = [int(bar["width"] or 0) for bar in bars]
    starts = [int(bar["x"] or 0) for bar in bars]
    assert sum(widths) == 8
    assert starts == [sum(widths[:i]) for i in range(len(widths))]


def test_what_was_set_aside_is_listed_with_its_reason(
    page: str, report: dict[str, Any], fit: PopulationFit
) -> None:
    for entry in report["quarantine"]:
        assert entry["code"] in page
        assert entry["detail"] in page
    report["quarantine"] = []
    assert "Nothing was set aside" in html(report, fit)


def test_a_report_without_any_layer_is_a_page(
    report: dict[str, Any], fit: PopulationFit
) -> None:
    report["layers"] = []
    report["verdict"] = {"counts": {}, "text": "No layer is held twice."}
    assert "No layer is held twice." in html(report, fit)


def test_every_verdict_is_explained_and_coloured(page: str) -> None:
    style = page[page.index("<style>") : page.index("</style>")]
    for verdict, meaning in VERDICTS.items():
        assert f".v-{verdict} " in style or f".v-{verdict}," in style
        assert meaning in page


def test_a_usual_page_is_small() -> None:
    fit = fit_of(48, 12, hostile=False)
    assert len(html(report_of(fit), fit).encode()) < 300_000


def test_a_hundred_layers_and_checkpoints_are_below_a_megabyte() -> None:
    assert len(page_of(100, 100).encode()) < 1_000_000


@pytest.mark.slow
def test_the_largest_page_is_below_eight_megabytes() -> None:
    assert len(page_of(200, 500).encode()) < 8_000_000


def test_coverage_counts_what_was_found_by_outcome(
    report: dict[str, Any],
) -> None:
    report["quarantine"] += [
        {"id": "a", "layer": "x", "code": "NAN", "detail": ""},
        {"id": "a", "layer": "y", "code": "NAN", "detail": ""},
    ]
    rows = [tuple(row.values()) for row in coverage_rows(report)]
    assert rows == [
        ("analysed", "", 20, None, 160),
        ("set aside", "NAN", 2, 0, 3),
        ("set aside", "ST_OFFSETS", 1, 1, 0),
        ("sound, not analysed", "LEFT_ALONE", 1, 1, 0),
    ]


def test_tensors_are_counted_by_kind(
    page: str, report: dict[str, Any], fit: PopulationFit
) -> None:
    table = page[page.index('data-name="tensors-by-kind"') :]
    rows = re.findall(r'<tr><th scope="row">(.*?)</tr>', table)
    told = [re.sub("<.*?>", "|", row).split("|") for row in rows[:2]]
    cells = [[cell for cell in row if cell] for row in told]
    assert cells[0][:4] == ["attention query", "1,234", "0", "0"]
    assert cells[1][:5] == [
        "norm", "0", "37", "2",
        "LIMIT_DIM 2, SKIP_EMPTY 7, SKIP_NOT_MATRIX 30",
    ]  # fmt: skip
    assert "".join(cells[1][5:]) == report["layers"][-1]["name"]
    # Of a run that was measured before there were such counts.
    del report["coverage"]
    assert "tensors-by-kind" not in html(report, fit)


def test_maps_beyond_the_budget_are_left_out_by_effect(
    report: dict[str, Any], fit: PopulationFit, monkeypatch: pytest.MonkeyPatch
) -> None:
    for index, layer in enumerate(report["layers"]):
        layer["model_axis"]["held_out"]["effect"]["low"] = (index * 3) % 8
    report["layers"][7]["model_axis"]["held_out"] = None
    monkeypatch.setattr("spectra.report.explorer.MAP_BUDGET", 6000)
    data = json.loads(Walk(html(report, fit)).text["script"][0])
    kept = [
        index for index, layer in enumerate(data["layers"]) if layer["map"]
    ]
    assert kept == [2, 4, 5]
    spent = sum(
        len(measure["codes"])
        for index in kept
        for measure in data["layers"][index]["map"]["measures"]
    )
    assert spent < 6000


def contrast(first: str, second: str) -> float:
    """Return the contrast of two colours as WCAG 2 defines it."""

    def luminance(colour: str) -> float:
        parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
        linear = [
            part / 12.92
            if part <= 0.04045
            else ((part + 0.055) / 1.055) ** 2.4
            for part in parts
        ]
        return sum(
            weight * part
            for weight, part in zip(
                (0.2126, 0.7152, 0.0722), linear, strict=True
            )
        )

    light, dark = sorted(map(luminance, (first, second)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


@pytest.mark.parametrize("theme", [0, 1], ids=["light", "dark"])
def test_text_can_be_read(page: str, theme: int) -> None:
    blocks = re.findall(r":root \{(.*?)\}", page, re.DOTALL)
    colours = dict(re.findall(r"--([\w-]+): (#\w{6})", blocks[theme]))
    written = ("ink", "muted", "accent", "shared", "weak", "mean", "norms",
               "trap", "none")  # fmt: skip
    for name in written:
        for ground in ("paper", "raised", "faint"):
            assert contrast(colours[name], colours[ground]) >= 4.5, name
    for name in ("second", "chance", "norms", "accent"):
        assert contrast(colours[name], colours["paper"]) >= 3, name
