"""All benchmarks, each in a process of its own; then docs/performance.md.

python -m benchmarks [NAME ...]
"""

import json
import subprocess
import sys
import tempfile
from pathlib import Path

from benchmarks.figures import Row, machine, sgemm_rate

SCRIPTS = (
    "start", "lora", "dense", "decompositions", "pairs", "overlap", "plan",
    "headline",
)  # fmt: skip
PAGE = Path(__file__).parents[1] / "docs" / "performance.md"
BEGIN, END = "<!-- figures -->", "<!-- end of figures -->"
HEAD = "| what | ours | beside | figure | goal | |\n|---|---|---|---|---|---|"


def measured(name: str) -> list[Row]:
    """Return the rows of one script, printed as they come."""
    with tempfile.NamedTemporaryFile(suffix=".json") as file:
        subprocess.run(  # noqa: S603 - words of our own
            [sys.executable, "-m", f"benchmarks.{name}", "--json", file.name],
            check=True,
        )
        return [Row(**row) for row in json.load(file)]


def table(rows: list[Row]) -> str:
    """Return the rows in Markdown."""
    words = {None: "", True: "met", False: "MISSED"}
    lines = [
        f"| {row.what} | {row.ours} | {row.beside} | {row.figure}"
        f" | {row.goal} | {words[row.met]} |"
        for row in rows
    ]
    return "\n".join([HEAD, *lines])


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
    before, _, rest = PAGE.read_text().partition(BEGIN)
    _, _, after = rest.partition(END)
    head = f"{machine()}; sgemm {sgemm_rate() / 1e9:.0f} GF/s.\n"
    PAGE.write_text(f"{before}{BEGIN}\n\n{head}{text}\n{END}{after}")


if __name__ == "__main__":
    main()
