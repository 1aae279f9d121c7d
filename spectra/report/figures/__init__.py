"""Figures for papers: vector files of what a report document says.

Matplotlib, of the extra ``figures``, is imported when one is drawn.
"""

from spectra.report.figures.written import FIGURES, write_figures

__all__ = ["FIGURES", "write_figures"]
