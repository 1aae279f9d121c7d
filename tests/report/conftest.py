"""One report with plain names, its twin with hostile ones, a browser."""

import shutil
from collections.abc import Iterator
from typing import Any

import pytest

from spectra.core.settings import OverlapSettings
from spectra.statistics.document.report import measure
from spectra.subspaces.result import PopulationFit
from tests.report.browser import Browser
from tests.report.sample import fit_of, report_of


@pytest.fixture(scope="session")
def fit() -> PopulationFit:
    return fit_of(20, 8, hostile=False)


@pytest.fixture
def report(fit: PopulationFit) -> dict[str, Any]:
    return report_of(fit)


@pytest.fixture
def measured(fit: PopulationFit) -> dict[str, Any]:
    """Return what `spectra overlap` says of `fit`, instead of the sample."""
    return measure(fit, OverlapSettings(k=(7,), bootstrap=20))


@pytest.fixture(scope="session")
def hostile_fit() -> PopulationFit:
    return fit_of(20, 8, hostile=True)


@pytest.fixture
def hostile_report(hostile_fit: PopulationFit) -> dict[str, Any]:
    return report_of(hostile_fit)


@pytest.fixture(scope="session")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    program = shutil.which("chromium")
    if program is None:
        pytest.skip("the page is not tried in a browser: no chromium on PATH")
    with Browser(program, tmp_path_factory.mktemp("profile")) as running:
        yield running
