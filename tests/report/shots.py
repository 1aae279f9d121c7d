"""Screenshots of the demo's report: three sizes, light and dark.

``make report-shots`` writes them to report-shots/, to be looked at.
"""

import base64
import shutil
import sys
import tempfile
from pathlib import Path

from tests.report.browser import Browser

SIZES = {"phone": 390, "tablet": 820, "desk": 1440}
SCHEMES = ("light", "dark")
_TALLEST = 16_000
"""Pixels; what is taller no browser draws in one piece."""


def shoot(page: Path, folder: Path, browser: Browser) -> list[Path]:
    """Write the whole page at every size in every scheme; return the paths."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for scheme in SCHEMES:
        media = {"name": "prefers-color-scheme", "value": scheme}
        browser.call("Emulation.setEmulatedMedia", features=[media])
        for name, width in SIZES.items():
            path = folder / f"{page.stem}-{name}-{scheme}.png"
            path.write_bytes(_shot(page, width, browser))
            paths.append(path)
    return paths


def _shot(page: Path, width: int, browser: Browser) -> bytes:
    screen = {"width": width, "deviceScaleFactor": 1, "mobile": False}
    resize = "Emulation.setDeviceMetricsOverride"
    browser.call(resize, **screen, height=1000)
    browser.open(page)
    tall = browser.run("document.documentElement.scrollHeight")
    browser.call(resize, **screen, height=min(tall, _TALLEST))
    shot = browser.call("Page.captureScreenshot", format="png")
    return base64.b64decode(shot["data"])


def main(page: str, folder: str) -> None:
    """Shoot one page; without a browser, say so."""
    program = shutil.which("chromium") or shutil.which("chromium-browser")
    if program is None:
        sys.exit("report-shots needs chromium, and none is on PATH")
    with (
        tempfile.TemporaryDirectory() as profile,
        Browser(program, Path(profile)) as browser,
    ):
        paths = shoot(Path(page).resolve(), Path(folder), browser)
    sys.stdout.writelines(f"{path}\n" for path in paths)


if __name__ == "__main__":
    main(*sys.argv[1:])
