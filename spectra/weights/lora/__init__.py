"""How the tensors of adapters are named: one row a tool that writes them."""

from spectra.weights.formats.raw import RawCheckpoint
from spectra.weights.lora.diffusers import DIFFUSERS
from spectra.weights.lora.kohya import KOHYA
from spectra.weights.lora.naming import Naming
from spectra.weights.lora.peft import PEFT
from spectra.weights.lora.refused import check_no_factors, check_plain

__all__ = ["NAMINGS", "Naming", "naming_of"]

NAMINGS: tuple[Naming, ...] = (PEFT, KOHYA, DIFFUSERS)


def naming_of(raw: RawCheckpoint, /) -> Naming | None:
    """Return the first row that claims an adapter, None for full weights.

    Parameters
    ----------
    raw
        Whatever a format has read.

    Raises
    ------
    Quarantine
        ADAPTER_CONFIG where it is an adapter of a kind that is not read, or
        nothing says how much its updates count.
    """
    check_plain(raw.tensors)
    for row in NAMINGS:
        if row.claims(raw):
            return row
    check_no_factors(raw.tensors)
    return None
