"""What can lie in a checkpoint's folder: one row a format.

A row claims a folder or leaves it to the next; the row that claims it reads
headers and configurations and nothing else.
"""

from spectra.weights.folders import Folder
from spectra.weights.formats.diffusers import DIFFUSERS
from spectra.weights.formats.full import FULL
from spectra.weights.formats.peft import PEFT
from spectra.weights.formats.raw import Format, RawCheckpoint
from spectra.weights.formats.refused import REFUSED
from spectra.weights.limits import Limits

__all__ = ["FORMATS", "Format", "RawCheckpoint", "read_checkpoint"]

FORMATS: tuple[Format, ...] = (PEFT, DIFFUSERS, FULL, REFUSED)


def read_checkpoint(folder: Folder, /, *, limits: Limits) -> RawCheckpoint:
    """Return what a folder holds by the first format that claims it."""
    for row in FORMATS:
        if row.claims(folder):
            return row.read(folder, limits)
    raise AssertionError("the last format claims every folder")
