"""Which figures there are, and the writing of them."""

import os
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from spectra.report.document import Report
from spectra.report.figures import depth, held_out, overlap, scree
from spectra.report.figures.style import encoded, styled
from spectra.store.atomic import replacing
from spectra.subspaces.result import PopulationFit

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["FIGURES", "Drawing", "write_figures"]


@dataclass(frozen=True, slots=True)
class Drawing:
    """One figure: its files' name, what it shows, and who draws it."""

    name: str
    title: str
    caption: str
    draw: Callable[[Report, PopulationFit], "Figure"]


FIGURES = (
    Drawing("depth", "Effect by depth", depth.CAPTION, depth.draw),
    Drawing("scree", "Explained variance", scree.CAPTION, scree.draw),
    Drawing("held-out", "Held-out capture", held_out.CAPTION, held_out.draw),
    Drawing("overlap", "Overlap of members", overlap.CAPTION, overlap.draw),
)
FORMS = ("svg", "pdf")


def write_figures(
    report: Report, fit: PopulationFit, folder: Path, /
) -> tuple[Path, ...]:
    """Write every figure as SVG and as PDF and return the files' paths.

    Parameters
    ----------
    report
        The report document, schema ``spectra-report/1``.
    fit
        What `report` was made from; it holds the matrices of pairs.
    folder
        Made where it does not exist.

    Raises
    ------
    UsageError
        Matplotlib is not installed; nothing was written.
    StorageError
        The disk refused; files that were there before are as they were.
    """
    paths = []
    with styled(), ExitStack() as until_all_are_written:
        for one in FIGURES:
            figure = one.draw(report, fit)
            for form in FORMS:
                path = folder / f"{one.name}.{form}"
                content = encoded(figure, form, one.title, one.caption)
                draft = until_all_are_written.enter_context(replacing(path))
                _write(draft, content)
                paths.append(path)
    return tuple(paths)


def _write(path: Path, content: bytes) -> None:
    with path.open("wb") as file:
        file.write(content)
        file.flush()
        # A full disk may tell only now: before any file is replaced.
        os.fsync(file.fileno())
