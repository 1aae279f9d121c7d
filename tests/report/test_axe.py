"""The page breaks no rule that axe can test, in light and dark."""

import json
from pathlib import Path

import pytest

from spectra.report.page import html
from spectra.subspaces.result import PopulationFit
from tests.report.browser import Browser
from tests.report.sample import report_of

axe_core = pytest.importorskip("axe_core_python")
AXE = Path(axe_core.__file__).with_name("axe.min.js")


@pytest.fixture(scope="module")
def axe() -> str:
    return AXE.read_text(encoding="utf-8")


def violations(browser: Browser, axe: str) -> list[str]:
    """Return what axe finds, a line a rule and element."""
    browser.run(f"{axe}; 0")
    found = browser.call(
        "Runtime.evaluate", returnByValue=True, awaitPromise=True,
        expression=(
            "axe.run({resultTypes: ['violations']}).then(r => JSON.stringify("
            "r.violations.flatMap(v => v.nodes.map(n =>"
            " `${v.id}: ${n.html.slice(0, 120)} ${n.failureSummary}`))))"
        ),
    )  # fmt: skip
    assert "exceptionDetails" not in found, found["exceptionDetails"]
    return list(json.loads(found["result"]["value"]))


def test_a_fault_would_be_found(
    browser: Browser, axe: str, tmp_path: Path
) -> None:
    path = tmp_path / "bad.html"
    path.write_text(
        "<!doctype html><html data-drawn='true'><body><button></button>"
        "<p style='color: #aaa; background: #fff'>faint</p></body></html>"
    )
    browser.open(path)
    rules = {line.split(":")[0] for line in violations(browser, axe)}
    assert {"button-name", "color-contrast", "html-has-lang"} <= rules


@pytest.fixture(scope="module")
def path(fit: PopulationFit, tmp_path_factory: pytest.TempPathFactory) -> Path:
    page = tmp_path_factory.mktemp("axe") / "report.html"
    page.write_text(html(report_of(fit), fit), encoding="utf-8")
    return page


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_no_rule_is_broken(
    browser: Browser, axe: str, path: Path, scheme: str
) -> None:
    browser.call(
        "Emulation.setEmulatedMedia",
        features=[{"name": "prefers-color-scheme", "value": scheme}],
    )
    try:
        browser.open(path)
        browser.run("for (const d of document.querySelectorAll('details'))"
                    " d.open = true")  # fmt: skip
        assert violations(browser, axe) == []
    finally:
        browser.call("Emulation.setEmulatedMedia", features=[])
