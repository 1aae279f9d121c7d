"""A hub for the length of one command."""

from collections.abc import Iterator
from contextlib import contextmanager

from spectra.core.places import cache_folder
from spectra.hub.client import Client
from spectra.hub.files import HubFiles
from spectra.hub.heads import Heads
from spectra.hub.spool import Spool

__all__ = ["open_hub"]


@contextmanager
def open_hub() -> Iterator[HubFiles]:
    """Give the files of the hub that the environment names.

    Raises
    ------
    UsageError
        E_ENDPOINT where its address cannot be used.
    """
    cache = cache_folder()
    with Client() as client, Spool(cache / "spool") as spool:
        yield HubFiles(client, spool, Heads(cache / "heads"))
