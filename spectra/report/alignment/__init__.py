"""The report of aligned models: a page, its document, a table of pairs."""

from spectra.report.alignment.page import html
from spectra.report.alignment.written import (
    FILES,
    require_free,
    write_alignment,
)

__all__ = ["FILES", "html", "require_free", "write_alignment"]
