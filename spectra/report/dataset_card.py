"""``README.md`` of a dataset repository that holds a report and its run."""

from collections.abc import Iterator, Sequence

from spectra.report.card import markdown
from spectra.report.document import Report
from spectra.report.marks import table, text
from spectra.report.wording import n_of

__all__ = ["dataset_card"]

_WHAT = {
    "html": "the report, a page to open in a browser",
    "json": "the report, all of it",
    "md": "the report as above",
    "csv": "a table",
    "parquet": "a table with typed columns",
    "h5": "the run: small matrices of every layer, and the report",
}
"""What a file is, by the end of its name."""

_TABLES = (".parquet", ".csv")

_LICENCE = (
    "No licence is named: that is for whoever publishes this. Those of the"
    " checkpoints are their own."
)


def dataset_card(report: Report, repo: str, files: Sequence[str], /) -> str:
    """Return the card.

    Parameters
    ----------
    report
        The report document.
    repo
        ``org/name``, of which the card is.
    files
        Paths of the other files in the repository.
    """
    return "\n".join(_lines(report, repo, files)) + "\n"


def _lines(report: Report, repo: str, files: Sequence[str]) -> Iterator[str]:
    yield from ("---", *_front(report, files), "---", "")
    yield markdown(report)
    yield from ("## Files", "")
    rows = ((text(name), _WHAT.get(_end(name), "a figure")) for name in files)
    yield from table(("File", "What it is"), rows, n_text=2)
    yield from (
        "",
        "```python",
        "import spectra",
        "",
        f'run = spectra.load("{repo}")',
        "report = spectra.OverlapReport.stored(run)",
        "```",
        "",
        _LICENCE,
    )


def _front(report: Report, files: Sequence[str]) -> Iterator[str]:
    """Yield the front matter, in which there is no foreign text."""
    n = report["population"]["n_models"]
    yield f'pretty_name: "Overlap report of {n_of(n, "checkpoint")}"'
    yield from ("tags:", "- spectra", "- weight-space")
    tables = {
        name.rpartition(".")[0]: name
        for end in reversed(_TABLES)
        for name in files
        if name.endswith(end)
    }
    if not tables:
        yield "viewer: false"
        return
    yield "configs:"
    for name, file in tables.items():
        yield from (f"- config_name: {name}", f"  data_files: {file}")


def _end(name: str) -> str:
    return name.rpartition(".")[2]
