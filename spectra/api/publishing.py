"""A report and its run, put into a dataset repository of a hub."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from spectra.api.run import Run
from spectra.core.errors import IncompleteError, SpectraError, UsageError
from spectra.hub.push import RUN, Destination, Notice, push
from spectra.report.dataset_card import dataset_card

__all__ = ["publish"]


def publish(
    document: dict[str, Any],
    run: Run,
    files: Sequence[Path],
    to: Destination,
    /,
    *,
    tell: Notice,
) -> str:
    """Commit files of a report, its run and a card; return the address.

    Parameters
    ----------
    document, run
        The report, and what it was made from.
    files
        What was written of it. They keep their paths below the folder that
        they have in common.
    to
        Where to.
    tell
        Called with one line before anything goes.

    Raises
    ------
    UsageError
        Where the run is in memory alone, or the repository is not for this.
    SpectraError
        Where the hub cannot be reached, or refuses; what lies here is whole.
    """
    if run.path is None:
        raise UsageError(
            "E_PUSH",
            "the run is in memory alone, and has no file to push",
            advice='write it with spectra.fit(catalog, "run.h5")',
        )
    folders = [each.parent for each in files] or [run.path.parent]
    folder = Path(os.path.commonpath(folders))
    sent: dict[str, Path | bytes] = {
        each.relative_to(folder).as_posix(): each for each in files
    }
    sent[RUN] = run.path
    card = dataset_card(document, to.repo, tuple(sent))
    sent["README.md"] = card.encode()
    message = f"Overlap report of {document['population']['n_models']} models"
    try:
        return push(to, sent, message=message, tell=tell)
    except SpectraError as error:
        if isinstance(error, IncompleteError):
            error.add_note(
                f"what is in {folder} is whole: spectra report {run.path} -o"
                f" {folder} --push-to-hub {to.repo} pushes it alone"
            )
        raise
