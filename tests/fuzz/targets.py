"""All readers that are fuzzed: one row each."""

from tests.fuzz.catalogs import Catalogs
from tests.fuzz.headers import Headers
from tests.fuzz.runs import Journals, Runs
from tests.fuzz.shelves import papers

__all__ = ["targets"]


def targets(folder, /):
    """Return a target for each reader, by its name.

    Parameters
    ----------
    folder
        An empty one, for what they read; no part of its path is a link.
    """
    rows = (
        Headers(),
        *papers(folder),
        Catalogs(folder / "catalog"),
        Runs(folder / "run"),
        Journals(folder / "journal"),
    )
    return {row.name: row for row in rows}
