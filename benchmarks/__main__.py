"""All benchmarks, each in a process of its own; then docs/performance.md.

python -m benchmarks [NAME ...]
"""

import json
import subprocess
import sys
import tempfile

from benchmarks.figures import Row, machine, sgemm_rate
from benchmarks.page import DOCS, put, table

SCRIPTS = (
    "start", "lora", "dense", "decompositions", "inspection", "pairs",
    "overlap", "plan", "merging", "alignment", "headline", "report_page",
    "cluster", "scale",
)  # fmt: skip


def measured(name: str) -> list[Row]:
    """Return the rows of one script, printed as they come."""
    with tempfile.NamedTemporaryFile(suffix=".json") as file:
        subprocess.run(  # noqa: S603 - words of our own
            [sys.executable, "-m", f"benchmarks.{name}", "--json", file.name],
            check=True,
        )
        return [Row(**row) for row in json.load(file)]


def main() -> None:
    """Run them, and write the page when all are done."""
    names = sys.argv[1:] or list(SCRIPTS)
    text = ""
    for name in names:
        print(f"==> {name}", flush=True)
        rows = measured(name)
        text += f"\n### `python -m benchmarks.{name}`\n\n{table(rows)}\n"
    if names != list(SCRIPTS):
        return
    head = f"{machine()}; sgemm {sgemm_rate() / 1e9:.0f} GF/s.\n"
    put(DOCS / "performance.md", head + text)


if __name__ == "__main__":
    main()
