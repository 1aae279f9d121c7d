"""The pages of a query, kept while it has not ended.

A listing that a lost connection or a signal broke off goes on from there. One
that ended, or of which enough was read, is forgotten: the hub is asked again.
"""

import contextlib
import hashlib
import json
from collections.abc import Generator, Iterator, Sequence
from pathlib import Path
from typing import Any

from spectra.hub.client import Client
from spectra.hub.failures import HubError

__all__ = ["pages_of"]

_PASSING = ("E_NETWORK", "E_OFFLINE", "E_RATE_LIMIT")
"""After these the page that follows is still there."""

Parameters = Sequence[tuple[str, str]]


def pages_of(
    client: Client, path: str, params: Parameters, /, *, folder: Path
) -> Generator[Any, None, None]:
    """Yield the document of each page, those kept of an earlier try first.

    Parameters
    ----------
    client
        Of the hub.
    path, params
        Of the query.
    folder
        Where pages are kept.

    Raises
    ------
    HubError
        As `Client.pages` does.
    """
    asked = json.dumps([client.endpoint.url, path, list(params)])
    name = hashlib.sha256(asked.encode()).hexdigest()
    kept = folder / f"{name}.jsonl"
    try:
        start = None
        for document, following in _read(kept):
            yield document
            start = following
        for page in client.pages(path, params, start=start):
            _append(kept, page.document, page.next)
            yield page.document
    except HubError as error:
        if error.code not in _PASSING:
            kept.unlink(missing_ok=True)
        raise
    except GeneratorExit:
        kept.unlink(missing_ok=True)
        raise
    kept.unlink(missing_ok=True)


def _read(kept: Path) -> Iterator[tuple[Any, str]]:
    """Yield kept pages, each with the address of the one that follows."""
    try:
        lines = kept.read_text("utf-8").splitlines()
    except OSError:
        return
    for line in lines:
        try:
            document, following = json.loads(line)
        except ValueError:
            return  # the page that was being written
        if not isinstance(following, str):
            return
        yield document, following


def _append(kept: Path, document: Any, following: str | None) -> None:
    """Keep a page where the cache can be written; it can be done without."""
    with contextlib.suppress(OSError):
        kept.parent.mkdir(parents=True, exist_ok=True)
        with kept.open("a", encoding="utf-8") as file:
            file.write(json.dumps([document, following]) + "\n")
