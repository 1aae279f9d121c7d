"""``report.html``: one file that asks the network for nothing.

The one place of the project where text is declared safe for HTML: our own
style, our own script, and JSON in which no markup can stand.
"""

import base64
import hashlib
import sys
from collections.abc import Iterator, Mapping
from importlib import resources
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from spectra.core.text import printable
from spectra.report.document import Report, script_json
from spectra.report.explorer import explorer
from spectra.report.lines import training_charts
from spectra.report.rows import (
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
    number,
)
from spectra.subspaces.result import PopulationFit

__all__ = ["html", "summary_html"]

_SCRIPTS = ("plot.js", "map.js", "page.js")


def _harmless(value: Any) -> Any:
    """Return what a template may print: control characters made visible."""
    if isinstance(value, Markup) or not isinstance(value, str):
        return value
    return printable(value, limit=sys.maxsize)


_TEMPLATES = Environment(
    loader=PackageLoader("spectra.report"),
    autoescape=True,
    finalize=_harmless,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
    keep_trailing_newline=True,
)
_TEMPLATES.filters["number"] = number
_TEMPLATES.filters["brief"] = lambda text: printable(str(text), limit=72)


def html(report: Report, fit: PopulationFit, /) -> str:
    """Return the whole page, with its style, script and data inside."""
    style = _resource("page.css")
    script = "\n".join(_resource(name) for name in _SCRIPTS)
    return _TEMPLATES.get_template("page.html").render(
        _summary(report),
        style=Markup(style),  # noqa: S704  # a file of this package
        script=Markup(script),  # noqa: S704  # files of this package
        style_hash=_csp_hash(style),
        script_hash=_csp_hash(script),
        # Safe: in this text `<`, `>` and `&` are escapes.
        drawn=Markup(script_json(explorer(report, fit))),  # noqa: S704
        headline=headline(report),
        **_training(report),
        models=model_rows(report),
        groupings=[
            grouping(report, name) for name in ("initialisation", "lineage")
        ],
        caveats=caveats(report),
        meanings=VERDICTS,
        settings=list(_leaves(report["settings"])),
        environment=list(_leaves(report["environment"])),
    )


def summary_html(report: Report, /) -> str:
    """Return a fragment for a notebook: the finding and a line a layer."""
    return _TEMPLATES.get_template("summary.html").render(_summary(report))


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


def _resource(name: str) -> str:
    folder = resources.files("spectra.report") / "templates"
    return (folder / name).read_text(encoding="utf-8")


def _csp_hash(text: str) -> str:
    digest = hashlib.sha256(text.encode()).digest()
    return f"sha256-{base64.b64encode(digest).decode('ascii')}"


def _leaves(value: Any, name: str = "") -> Iterator[tuple[str, str]]:
    """Yield the dotted name and the text of every leaf of a JSON value."""
    if not isinstance(value, Mapping):
        shown = (
            ", ".join(map(str, value)) if isinstance(value, list) else value
        )
        yield name, "–" if shown is None else str(shown)
        return
    for key, inner in sorted(value.items()):
        yield from _leaves(inner, f"{name}.{key}" if name else str(key))
