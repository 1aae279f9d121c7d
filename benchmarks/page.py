"""Figures in the pages of docs/, between two marks."""

from pathlib import Path

from benchmarks.figures import Row

__all__ = ["DOCS", "put", "table"]

DOCS = Path(__file__).parents[1] / "docs"

_BEGIN, _END = "<!-- figures -->", "<!-- end of figures -->"
_HEAD = "| what | ours | beside | figure | goal | |\n|---|---|---|---|---|---|"


def table(rows: list[Row], /) -> str:
    """Return the rows in Markdown."""
    words = {None: "", True: "met", False: "MISSED"}
    lines = [
        f"| {row.what} | {row.ours} | {row.beside} | {row.figure}"
        f" | {row.goal} | {words[row.met]} |"
        for row in rows
    ]
    return "\n".join([_HEAD, *lines])


def put(page: Path, text: str, /) -> None:
    """Write a text in place of what stands between the marks."""
    before, _, rest = page.read_text().partition(_BEGIN)
    _, _, after = rest.partition(_END)
    page.write_text(f"{before}{_BEGIN}\n\n{text.strip()}\n\n{_END}{after}")
