"""``alignment.html``: how alike models represent items, in one file."""

import shlex
from collections.abc import Iterator
from typing import Any

from spectra.core.text import printable
from spectra.report.alignment.drawn import drawn, entries_of
from spectra.report.alignment.table import pair_rows, span, titles
from spectra.report.document import Report
from spectra.report.rendering import leaves, rendered
from spectra.report.rows import Row
from spectra.report.wording import n_of

__all__ = ["html"]

_KINDS = {
    "features": "features, from a file",
    "embedding": "its input embedding",
}


def html(document: Report, /) -> str:
    """Return the whole page, with its style, script and data inside."""
    metrics = [matrix["metric"] for matrix in document["matrices"]]
    convergence = entries_of(document, "convergence")
    low, high = span(document)
    return rendered(
        "alignment.html",
        styles=("page.css", "alignment.css"),
        scripts=("plot.js", "map.js", "tree.js", "save.js", "alignment.js"),
        drawn=drawn(document),
        document=document,
        metrics=metrics,
        convergence=convergence,
        weights=entries_of(document, "weights"),
        left_out=", ".join(
            (document.get("weights") or {}).get("left_out", ())
        ),
        figures=list(_figures(document)),
        caveats=list(_caveats(document)),
        adjusted="p_adjusted" in document["pairs"][0],
        several=_several(document),
        titles=titles(document),
        rows=list(pair_rows(document)),
        low=low,
        high=high,
        scores=_scores(convergence),
        kinds=_KINDS,
        cites=[(m["metric"], m["cite"]) for m in document["matrices"]],
        settings=list(leaves(document["settings"])),
        commands=_commands(document),
    )


def _several(document: Report) -> bool:
    return any(len(model["layers"]) > 1 for model in document["models"])


def _figures(document: Report) -> Iterator[tuple[str, int, str]]:
    metrics = [matrix["metric"] for matrix in document["matrices"]]
    n = len(document["models"])
    yield "models", n, n_of(n * (n - 1) // 2, "pair")
    yield "items", document["n_items"], "that all of them have"
    yield "metrics", len(metrics), printable(", ".join(metrics), 72)
    yield "draws", document["settings"]["draws"], "permutations of the items"


def _caveats(document: Report) -> Iterator[str]:
    n_pairs = len(document["models"]) * (len(document["models"]) - 1) // 2
    if n_pairs > 1 and "p_adjusted" not in document["pairs"][0]:
        yield (
            f"p is each pair's by itself: of {n_pairs:,} pairs with nothing"
            f" in common {n_pairs / 20:,.1f} are expected to have p up to"
            " 0.05."
        )
    fewest = min(pair["coverage"] for pair in document["pairs"])
    if fewest < 1:
        yield (
            f"Models were compared on what all have in common: of one pair on"
            f" {fewest:.1%} of the rows of the larger."
        )


def _scores(convergence: list[dict[str, Any]]) -> list[Row]:
    if not convergence:
        return []
    columns = [
        [model["alignment"] for model in entry["models"]]
        for entry in convergence
    ]
    rows = [
        {"id": model["id"], "score": model["score"], "alignments": own}
        for model, own in zip(
            convergence[0]["models"], zip(*columns, strict=True), strict=True
        )
    ]
    return sorted(rows, key=lambda row: -row["score"])


def _commands(document: Report) -> tuple[str, ...]:
    settings = document["settings"]
    words = ["spectra", "align", *(m["id"] for m in document["models"])]
    for metric in settings["metric"]:
        words += ["--metric", metric]
    for name, flag in (("k", "-k"), ("draws", "--draws"), ("seed", "--seed")):
        words += [flag, str(settings[name])]
    if settings["normalize"]:
        words.append("--normalize")
    if document.get("convergence"):
        words += ["--scores", "scores.csv"]
    if document.get("weights"):
        words += ["--run", document["weights"]["run"]]
    words += ["-o", "alignment"]
    line = " ".join(shlex.quote(printable(word, 1000)) for word in words)
    return (
        f"pip install hf-spectra=={printable(str(document['version']))}",
        line,
    )
