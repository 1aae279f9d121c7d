"""The command line: the only place that prints."""

from spectra.cli.main import main

__all__ = ["main"]
