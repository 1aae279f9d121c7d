"""The files of a report of aligned models, and the writing of them."""

from collections.abc import Collection
from pathlib import Path

from spectra.report.alignment.page import html
from spectra.report.document import Report, json_text
from spectra.report.exporters import write_texts
from spectra.report.sheets import alignment_csv
from spectra.store.outputs import check_output
from spectra.weights.strict_json import JsonError, parse

__all__ = ["FILES", "require_free", "write_alignment"]

FILES = ("alignment.html", "alignment.csv", "alignment.json")
"""The last one takes its name first: by it the others are known as ours."""

_SCHEMA = "spectra-alignment/1"


def require_free(folder: Path, /, *, inputs: Collection[str]) -> None:
    """Refuse a folder whose files of our names are something else.

    Parameters
    ----------
    folder
        It need not be there, and may hold other files.
    inputs
        Files that are read.

    Raises
    ------
    UsageError
        When it is a file, or a file of `FILES` in it is not one of ours.
    """
    if not folder.is_dir():
        check_output(folder, is_ours=lambda _: False)
    for name in FILES:
        check_output(folder / name, is_ours=_is_ours, inputs=inputs)


def write_alignment(document: Report, folder: Path, /) -> tuple[Path, ...]:
    """Write the page, the document and the table; return the files' paths.

    Parameters
    ----------
    document
        What ``spectra align --json`` prints.
    folder
        Made where it does not exist.

    Raises
    ------
    StorageError
        The disk refused; files that were there before are as they were.
    """
    texts = ([html(document)], alignment_csv(document), [json_text(document)])
    return write_texts(folder, zip(FILES, texts, strict=True))


def _is_ours(path: Path) -> bool:
    """Return whether the document beside a file, or itself, is one of ours."""
    try:
        beside = parse(path.with_name(FILES[-1]).read_bytes(), depth=8)
    except (OSError, JsonError):
        return False
    return isinstance(beside, dict) and beside.get("schema") == _SCHEMA
