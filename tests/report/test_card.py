"""report.md, as a Markdown renderer sees it."""

import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt
from markdown_it.token import Token

from spectra.core.text import printable
from spectra.report.card import MOST_MODELS, markdown
from spectra.report.wording import number
from tests.report.sample import HOSTILE, fit_of, report_of

RENDERER = MarkdownIt("commonmark").enable(["table", "strikethrough"])

SMALL = fit_of(3, 1, hostile=False)


def tokens(text: str) -> list[Token]:
    return [
        inner
        for token in RENDERER.parse(text)
        for inner in (token, *(token.children or ()))
    ]


def cells(text: str) -> list[list[str]]:
    """Return the text of every row of every table."""
    rows: list[list[str]] = []
    for token in RENDERER.parse(text):
        if token.type == "tr_open":
            rows.append([])
        if token.type == "inline" and rows and token.level == 4:
            shown = (child.content for child in token.children or ())
            rows[-1].append("".join(shown))
    return rows


def test_the_card_has_the_finding_and_the_numbers(
    report: dict[str, Any],
) -> None:
    text = markdown(report)
    first, rest = report["verdict"]["text"].split("; ", 1)
    assert f"**{first}.** {rest[0].upper()}{rest[1:]}" in text
    layers = [row for row in cells(text) if len(row) == 12][1:]
    assert len(layers) == len(report["layers"])
    for row, layer in zip(layers, report["layers"], strict=True):
        axis = layer["model_axis"]
        assert row[:4] == [
            layer["name"], layer["verdict"], "4", number(axis["evr"]["4"]),
        ]  # fmt: skip
        assert row[8] == number(axis["held_out"]["effect"]["low"])


def test_every_row_has_as_many_cells_as_its_table(
    hostile_report: dict[str, Any],
) -> None:
    text = markdown(hostile_report)
    tables = re.findall(r"(?:^\|.*\n)+", text, re.MULTILINE)
    assert len(tables) == 2
    for table in tables:
        lines = table.splitlines()
        assert (
            len({len(re.findall(r"(?<!\\)\|", line)) for line in lines}) == 1
        )
    shown = {row[0] for row in cells(text)}
    assert {printable(name, limit=400) for name in HOSTILE} <= shown


def test_hostile_names_make_no_markup(hostile_report: dict[str, Any]) -> None:
    found = {token.type for token in tokens(markdown(hostile_report))}
    assert not found & {
        "html_inline", "html_block", "link_open", "image", "em_open", "s_open",
        "code_inline", "code_block", "fence",
    }  # fmt: skip
    strong = [
        token
        for token in tokens(markdown(hostile_report))
        if token.type == "strong_open"
    ]
    assert len(strong) == 1


@given(st.text(max_size=40))
def test_any_licence_is_shown_as_it_is(name: str) -> None:
    report = report_of(SMALL)
    report["population"]["models"][0]["license"] = name
    row = next(
        row for row in cells(markdown(report)) if row[0] == SMALL.models[0].id
    )
    assert row[1].strip() == printable(name).strip()


@pytest.mark.parametrize(
    "name", ["see https://x.example", "@someone", "www.x"]
)
def test_nothing_is_linked_or_mentioned(name: str) -> None:
    report = report_of(SMALL)
    report["population"]["models"][0]["license"] = name
    text = markdown(report)
    assert not re.search(r"https?://|@|www\.", text)
    assert name in {cell for row in cells(text) for cell in row}


def test_a_long_population_is_cut_and_says_so() -> None:
    fit = fit_of(MOST_MODELS + 7, 1, hostile=False)
    text = markdown(report_of(fit))
    assert "7 more are in `models.csv`." in text
    models = [row for row in cells(text) if len(row) == 5][1:]
    assert len(models) == MOST_MODELS


def test_caveats_follow_the_report(report: dict[str, Any]) -> None:
    assert "Dense layers" not in markdown(report)
    assert "repeated another one" in markdown(report)
    report["layers"][0]["kind"] = "dense"
    report["population"]["n_unique"] = report["population"]["n_models"]
    assert "Dense layers hold the members' common start" in markdown(report)
    assert "repeated another one" not in markdown(report)
    assert "Fewer than five" not in markdown(report)
    report["population"]["n_groups"] = 4
    assert "Fewer than five independent groups" in markdown(report)
