"""The screenshots that are looked at: sizes, schemes, the whole page."""

from pathlib import Path
from typing import Any

from PIL import Image

from spectra.report import write
from spectra.subspaces.result import PopulationFit
from tests.report.browser import Browser
from tests.report.shots import SIZES, shoot


def test_a_page_is_shot_whole_at_each_size_in_each_scheme(
    report: dict[str, Any], fit: PopulationFit, browser: Browser,
    tmp_path: Path,
) -> None:  # fmt: skip
    (page,) = write(report, fit, tmp_path, formats=["html"])
    paths = shoot(page, tmp_path / "shots", browser)
    browser.call("Emulation.clearDeviceMetricsOverride")
    browser.call("Emulation.setEmulatedMedia", features=[])
    assert len(set(paths)) == 2 * len(SIZES)
    for path in paths:
        _, name, scheme = path.stem.split("-")
        with Image.open(path) as image:
            assert image.width == SIZES[name]
            assert image.height > 1500
            corner = image.convert("L").getpixel((0, 0))
        assert (corner > 200) == (scheme == "light")
