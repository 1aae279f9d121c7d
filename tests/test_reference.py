"""docs/reference says what the code says, and the notebook's cells hold."""

import runpy
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

DOCS = Path(__file__).resolve().parents[1] / "docs"
MADE = runpy.run_path(str(DOCS / "reference" / "make.py"))["PAGES"]


@pytest.mark.parametrize("page", MADE)
def test_reference_is_that_of_the_code(page: str) -> None:
    written = (DOCS / "reference" / page).read_text(encoding="utf-8")
    assert written == MADE[page](), "python docs/reference/make.py"


def printed(notebook: nbformat.NotebookNode) -> list[list[str]]:
    """Return what each cell of code has put out, as text."""
    return [
        [
            each.get("text") or each["data"]["text/plain"]
            for each in cell.outputs
        ]
        for cell in notebook.cells
        if cell.cell_type == "code"
    ]


@pytest.mark.slow
def test_the_tutorial_says_what_it_prints(tmp_path: Path) -> None:
    """Each cell anew, in a kernel; its text is that of the page."""
    text = (DOCS / "tutorial.ipynb").read_text(encoding="utf-8")
    written, anew = (nbformat.v4.reads(text) for _ in range(2))
    client = NotebookClient(
        anew, timeout=300, resources={"metadata": {"path": str(tmp_path)}}
    )
    before = printed(written)
    client.execute()
    assert printed(anew) == before
    assert any(before), "the page has what its cells print"
