r"""``report.md``: the report for a README or a model card."""

from collections.abc import Iterator, Sequence

from spectra.report.document import Report
from spectra.report.marks import table, text
from spectra.report.rows import Row, layer_rows, model_rows, recipe_rows
from spectra.report.trajectory import (
    MOTION,
    motion,
    training,
    trajectory_rows,
)
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


def markdown(report: Report, /) -> str:
    """Return the text of ``report.md``."""
    return "\n".join(_lines(report)) + "\n"


def _lines(report: Report) -> Iterator[str]:
    first, rest = headline(report)
    yield from (
        "# Overlap report",
        "",
        f"**{text(first)}** {text(rest)}",
        "",
    )
    for verdict, count in counts(report):
        yield f"- {verdict}: {n_of(count, 'layer')}"
    yield from ("", "## Layers", "", *_layer_table(report), "")
    if "trajectory" in report:
        yield from ("## Training trajectory", "", *_training(report), "")
    if recipes := recipe_rows(report):
        yield from ("## Recipes of the paper", "", *_recipes(recipes), "")
    yield from ("## Population", "", *_population(report), "")
    yield from ("## Caveats", "")
    yield from (f"- {text(caveat)}" for caveat in caveats(report))
    yield from ("", f"Made by spectra {text(str(report['version']))}.")


def _layer_table(report: Report) -> Iterator[str]:
    titles = (
        "Layer", "Verdict", "k", "EVR", "norms only", "null 95 %",
        "captured", "random", "excess ≥", "R² of mean",
        "output overlap (chance)", "input overlap (chance)",
    )  # fmt: skip
    rows = (_layer_cells(row) for row in layer_rows(report))
    yield from table(titles, rows, n_text=2)


def _layer_cells(row: Row) -> Sequence[str]:
    k = row["shown_k"]
    columns = (
        f"evr_{k}", f"expected_norms_{k}", f"null_strength_q95_{k}",
        f"captured_{k}", f"captured_random_{k}", "effect_low", "r2_mean",
    )  # fmt: skip
    return (
        text(row["name"]), text(row["verdict"]), k,
        *(number(row.get(column)) for column in columns),
        *(
            f"{number(row[f'{side}_overlap_mean'])}"
            f" ({number(row[f'{side}_overlap_null'])})"
            for side in ("output", "input")
        ),
    )  # fmt: skip


def _recipes(rows: Sequence[Row]) -> Iterator[str]:
    titles = ("Recipe", "Layers", "Features", "Samples", "k", "EVR", "chance")
    cells = (
        (
            text(row["recipe"]), str(row["n_layers"]), row["features"],
            row["samples"], row["k"], number(row["evr"]), number(row["null"]),
        )
        for row in rows
    )  # fmt: skip
    yield from table(titles, cells, n_text=1)
    yield ""
    caveats_of = {row["caveat"]: row["name"] for row in rows}
    yield from (f"- {text(n)}: {text(c)}" for c, n in caveats_of.items())


def _training(report: Report) -> Iterator[str]:
    yield from (f"- {text(sentence)}" for sentence in training(report))
    yield ""
    rows = (map(text, motion(row)) for row in trajectory_rows(report))
    yield from table(MOTION, rows, n_text=1)


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
        yield f"- {text(grouping(report, name))}"
    yield ""
    models = model_rows(report)
    titles = ("Checkpoint", "Licence", "Group", "Initialisation", "Norm")
    rows = (_model_cells(model) for model in models[:MOST_MODELS])
    yield from table(titles, rows, n_text=4)
    if len(models) > MOST_MODELS:
        yield f"\n{len(models) - MOST_MODELS} more are in `models.csv`."


def _model_cells(model: Row) -> Sequence[str]:
    texts = (model["id"], model["license"], model["group"],
             model["init_group"])  # fmt: skip
    return (*map(text, texts), number(model["norm"]))
