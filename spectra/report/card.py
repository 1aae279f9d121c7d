r"""``report.md``: the report for a README or a model card."""

import html
import re
import sys
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from spectra.core.text import printable
from spectra.report.document import Report
from spectra.report.rows import Row, layer_rows, model_rows
from spectra.report.wording import (
    caveats,
    counts,
    grouping,
    headline,
    n_of,
    number,
)

__all__ = ["markdown"]

MOST_MODELS = 50
"""A card lists this many checkpoints; ``models.csv`` lists all."""

_MARKS = re.compile(r"[\\`*\[\]#~$]|(?<![^\W_])_|_(?![^\W_])")
_LINKS = {"|": "&#124;", "://": "&#58;//", "@": "&#64;", "www.": "www&#46;"}
"""What would end a cell, or be made a link or a mention by the renderer."""


def markdown(report: Report, /) -> str:
    """Return the text of ``report.md``."""
    return "\n".join(_lines(report)) + "\n"


def _lines(report: Report) -> Iterator[str]:
    first, rest = headline(report)
    yield from (
        "# Overlap report",
        "",
        f"**{_text(first)}** {_text(rest)}",
        "",
    )
    for verdict, count in counts(report):
        yield f"- {verdict}: {n_of(count, 'layer')}"
    yield from ("", "## Layers", "", *_layer_table(report), "")
    yield from ("## Population", "", *_population(report), "")
    yield from ("## Caveats", "")
    yield from (f"- {_text(caveat)}" for caveat in caveats(report))
    yield from ("", f"Made by spectra {_text(str(report['version']))}.")


def _layer_table(report: Report) -> Iterator[str]:
    titles = (
        "Layer", "Verdict", "k", "EVR", "norms only", "null 95 %",
        "captured", "random", "excess ≥", "R² of mean",
        "output overlap (chance)", "input overlap (chance)",
    )  # fmt: skip
    rows = (_layer_cells(row) for row in layer_rows(report))
    yield from _table(titles, rows, n_text=2)


def _layer_cells(row: Row) -> Sequence[str]:
    k = row["shown_k"]
    columns = (
        f"evr_{k}", f"expected_norms_{k}", f"null_strength_q95_{k}",
        f"captured_{k}", f"captured_random_{k}", "effect_low", "r2_mean",
    )  # fmt: skip
    return (
        _text(row["name"]), _text(row["verdict"]), k,
        *(number(row.get(column)) for column in columns),
        *(
            f"{number(row[f'{side}_overlap_mean'])}"
            f" ({number(row[f'{side}_overlap_null'])})"
            for side in ("output", "input")
        ),
    )  # fmt: skip


def _population(report: Report) -> Iterator[str]:
    found = report["population"]
    yield (
        f"{found['n_scanned']} scanned, {found['n_models']} analysed,"
        f" {found['n_unique']} unique, in"
        f" {n_of(found['n_groups'], 'lineage group')}"
        f" (effective number {number(found['n_effective'])});"
        f" {len(report['quarantine'])} set aside."
    )
    yield ""
    for name in ("initialisation", "lineage"):
        yield f"- {_text(grouping(report, name))}"
    yield ""
    models = model_rows(report)
    titles = ("Checkpoint", "Licence", "Group", "Initialisation", "Norm")
    rows = (_model_cells(model) for model in models[:MOST_MODELS])
    yield from _table(titles, rows, n_text=4)
    if len(models) > MOST_MODELS:
        yield f"\n{len(models) - MOST_MODELS} more are in `models.csv`."


def _model_cells(model: Row) -> Sequence[str]:
    texts = (model["id"], model["license"], model["group"],
             model["init_group"])  # fmt: skip
    return (*map(_text, texts), number(model["norm"]))


def _table(
    titles: Sequence[str], rows: Iterable[Sequence[str]], *, n_text: int
) -> Iterator[str]:
    sides = [":--"] * n_text + ["--:"] * (len(titles) - n_text)
    for cells in (titles, sides, *rows):
        yield f"| {' | '.join(cells)} |"


def _text(value: Any) -> str:
    """Return text of any origin as Markdown that means just that text."""
    if value is None:
        return "–"
    shown = html.escape(printable(str(value), limit=sys.maxsize), quote=False)
    # Marks first: what replaces links holds a mark itself.
    shown = _MARKS.sub(lambda mark: f"\\{mark[0]}", shown)
    for active, harmless in _LINKS.items():
        shown = shown.replace(active, harmless)
    return shown
