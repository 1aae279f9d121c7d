"""How large report.html is, and how soon a browser shows and answers.

Populations are made up: four layers, each standing for many. A browser takes
part where there is a ``chromium``; what it takes is until the page's script
has ended, and until a control has redrawn what it touches.

    python -m benchmarks.report_page [--rounds 3] [--small]
"""

import dataclasses
import shutil
import tempfile
from pathlib import Path
from statistics import median

from benchmarks.figures import Row, at_most, finish, options
from spectra.report.page import html
from spectra.subspaces.result import PopulationFit
from tests.report.browser import Browser
from tests.report.sample import fit_of, layer_report, report_of

SIZES = ((12, 48, 0.5), (100, 100, 1.0), (200, 500, 8.0))
"""Layers, checkpoints, and the megabytes that their page may have."""

SECONDS = 2.0
"""From the file to a page that answers."""

READY = "performance.timing.domContentLoadedEventEnd"
SINCE = "performance.timing.navigationStart"
CONTROLS = {
    "k": "4",
    "members": "group",
    "only": "shared",
    "match": "layers.1",
}


def many(fit: PopulationFit, n_layers: int) -> PopulationFit:
    """Return a fit whose layers are repeated under other names."""
    layers = tuple(
        dataclasses.replace(
            fit.layers[index % len(fit.layers)],
            name=f"layers.{index // 4}.self_attn.{'qkvo'[index % 4]}_proj",
        )
        for index in range(n_layers)
    )
    return dataclasses.replace(fit, layers=layers)


def page_of(n_layers: int, n_models: int) -> str:
    """Return the text of one page."""
    few = fit_of(n_models, 4, hostile=False)
    fit = many(few, n_layers)
    report = report_of(few)
    told = [layer_report(layer, "shared") for layer in few.layers]
    report["layers"] = [
        told[index % 4] | {"name": layer.name}
        for index, layer in enumerate(fit.layers)
    ]
    return html(report, fit)


def opened(browser: Browser, path: Path, rounds: int) -> tuple[float, float]:
    """Return the seconds to a page that is ready, and the slowest control."""
    ready, slowest = [], []
    for _ in range(rounds):
        browser.open(path)
        browser.until(f"{READY} > 0")
        ready.append(browser.run(f"{READY} - {SINCE}") / 1e3)
        slowest.append(
            max(answered(browser, *one) for one in CONTROLS.items())
        )
    return median(ready), median(slowest)


def answered(browser: Browser, name: str, value: str) -> float:
    """Return the seconds that one control takes, and put it back."""
    change = (
        f"(c => {{ const t = performance.now(); c.value = '{value}';"
        " c.dispatchEvent(new Event(c.id === 'match' ? 'input' : 'change'));"
        " document.body.offsetHeight; return performance.now() - t })"
        f"(document.getElementById('{name}'))"
    )
    seconds = float(browser.run(change)) / 1e3
    browser.run("document.getElementById('reset').click()")
    return seconds


def measured(scratch: Path, rounds: int, small: bool) -> list[Row]:
    """Return the rows of every size."""
    rows, pages = [], []
    for n_layers, n_models, goal in SIZES[: 1 if small else None]:
        path = scratch / f"{n_layers}x{n_models}.html"
        path.write_text(page_of(n_layers, n_models), encoding="utf-8")
        title = f"{n_layers} layers x {n_models} checkpoints"
        size = path.stat().st_size / 1e6
        rows.append(at_most(f"report.html, {title}", size, "MB", goal))
        pages.append((title, path))
    program = shutil.which("chromium")
    if program is None:
        return rows
    with Browser(program, scratch / "profile") as browser:
        for title, path in pages:
            ready, slowest = opened(browser, path, rounds)
            rows += [
                at_most(f"opened, {title}", ready, "s", SECONDS),
                at_most(f"slowest control, {title}", slowest, "s", None),
            ]
    return rows


def main() -> None:
    parser = options(__doc__)
    parser.add_argument("--small", action="store_true")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        rows = measured(Path(scratch), asked.rounds, asked.small)
    finish(rows, asked.json)


if __name__ == "__main__":
    main()
