"""``report.html``: one file that asks the network for nothing."""

from typing import Any

from spectra.report.document import Report
from spectra.report.explorer import explorer
from spectra.report.lines import training_charts
from spectra.report.rendering import filled, leaves, rendered
from spectra.report.reproduce import commands, study_lines
from spectra.report.rows import (
    coverage_rows,
    kind_rows,
    layer_rows,
    metric_rows,
    model_rows,
    recipe_rows,
)
from spectra.report.trajectory import (
    MOTION,
    motion,
    training,
    trajectory_rows,
)
from spectra.report.wording import (
    VERDICTS,
    caveats,
    counts,
    grouping,
    headline,
)
from spectra.subspaces.result import PopulationFit

__all__ = ["html", "summary_html"]

_SCRIPTS = (
    "plot.js",
    "curves.js",
    "map.js",
    "tree.js",
    "state.js",
    "depth.js",
    "tables.js",
    "models.js",
    "save.js",
    "page.js",
)


def html(report: Report, fit: PopulationFit, /) -> str:
    """Return the whole page, with its style, script and data inside."""
    return rendered(
        "page.html",
        styles=("page.css",),
        scripts=_SCRIPTS,
        drawn=explorer(report, fit),
        **_summary(report),
        headline=headline(report),
        **_training(report),
        models=model_rows(report),
        coverage=coverage_rows(report),
        kinds=kind_rows(report),
        commands=commands(report),
        study=study_lines(report),
        groupings=[
            grouping(report, name) for name in ("initialisation", "lineage")
        ],
        caveats=caveats(report),
        meanings=VERDICTS,
        settings=list(leaves(report["settings"])),
        environment=list(leaves(report["environment"])),
    )


def summary_html(report: Report, /) -> str:
    """Return a fragment for a notebook: the finding and a line a layer."""
    return filled("summary.html", **_summary(report))


def _summary(report: Report) -> dict[str, Any]:
    return {
        "report": report,
        "rows": layer_rows(report),
        "recipes": recipe_rows(report),
        "alone": metric_rows(report),
        "counts": counts(report),
    }


def _training(report: Report) -> dict[str, Any]:
    """Return what the page shows of a training run; of others nothing."""
    if "trajectory" not in report:
        return {"training": ()}
    return {
        "training": training(report),
        "motion_titles": MOTION,
        "motion_rows": [motion(row) for row in trajectory_rows(report)],
        "training_charts": training_charts(report),
    }
