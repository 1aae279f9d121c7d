"""Exporters: one page, one document, three tables, one model card.

They render the report document; they measure nothing.
"""

from spectra.report.exporters import EXPORTERS, Exporter, write
from spectra.report.page import html, summary_html

__all__ = ["EXPORTERS", "Exporter", "html", "summary_html", "write"]
