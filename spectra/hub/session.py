"""A hub for the length of one command."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

from spectra.core.places import cache_folder
from spectra.hub.client import Client
from spectra.hub.files import HubFiles
from spectra.hub.heads import Heads
from spectra.hub.limits import NetworkLimits
from spectra.hub.spool import Spool

__all__ = ["open_hub"]


@contextmanager
def open_hub(*, max_stream: int | None = None) -> Iterator[HubFiles]:
    """Give the files of the hub that the environment names.

    Parameters
    ----------
    max_stream
        Bytes that a server without ranges may send; None for the default.

    Raises
    ------
    UsageError
        E_ENDPOINT where its address cannot be used.
    """
    cache = cache_folder()
    limits = NetworkLimits()
    if max_stream is not None:
        limits = replace(limits, max_stream=max_stream)
    with Client(limits=limits) as client, Spool(cache / "spool") as spool:
        yield HubFiles(client, spool, Heads(cache / "heads"))
