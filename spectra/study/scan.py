"""Scanning whatever SOURCEs there are: on this machine and on a hub."""

import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

from spectra.core.catalog import Catalog, Checkpoint
from spectra.core.errors import UsageError
from spectra.core.events import Observer
from spectra.core.settings import HubQuery
from spectra.hub.files import HubFiles, is_remote
from spectra.hub.places import (
    Found,
    is_reference,
    places_of,
    query_places,
)
from spectra.hub.session import open_hub
from spectra.weights.bytes import FileSource, Opener
from spectra.weights.scan import scan
from spectra.weights.sources import expand

__all__ = ["one_checkpoint", "opening", "scan_sources"]


@dataclass(frozen=True, slots=True)
class _Hub:
    """A `~spectra.weights.scan.Hub` with one query."""

    files: HubFiles
    query: HubQuery
    limit: int | None

    @property
    def connections(self) -> int:
        return self.files.client.limits.connections

    def queried(self) -> Iterable[Found]:
        if not self.query.asks:
            return ()
        return query_places(self.files, self.query, limit=self.limit)

    def knows(self, source: str, /) -> bool:
        return is_reference(source)

    def places(self, source: str, /) -> Found:
        return places_of(self.files, source, revision=self.query.revision)


def scan_sources(
    sources: Sequence[str | os.PathLike[str]],
    query: HubQuery | None = None,
    /,
    *,
    match: Sequence[str] = (),
    limit: int | None = None,
    on_event: Observer | None = None,
) -> Catalog:
    """Return the catalogue of a population; no weight is read.

    Parameters
    ----------
    sources
        Local ones, references to a hub, lists and catalogues.
    query
        What to look for on the hub besides.
    match
        Only checkpoints whose id matches one of these globs.
    limit
        Only as many, the first ones.
    on_event
        Told of each checkpoint.

    Raises
    ------
    UsageError
        Where a source is not there, or nothing is in it.
    HubError
        Where the hub cannot be reached.
    """
    query = query or HubQuery()
    if not sources and not query.asks:
        raise UsageError(
            "E_SOURCE",
            "there is nothing to look at",
            advice="name a SOURCE, or what to look for on a hub (--author,"
            " --base-model, ...)",
        )
    if query.relation and not query.base_model:
        raise UsageError(
            "E_QUERY",
            "relation says nothing without base_model",
            advice="name the base: --base-model ORG/NAME",
        )
    remote = query.asks or any(map(is_reference, expand(sources)))
    with ExitStack() as held:
        hub = None
        if remote:
            files = held.enter_context(open_hub())
            # A glob may pass over repositories: all have to be seen then.
            hub = _Hub(files, query, None if match else limit)
        return scan(
            sources, match=match, limit=limit, hub=hub, on_event=on_event
        )


def one_checkpoint(reference: str, /, *, code: str, what: str) -> Checkpoint:
    """Return the checkpoint that a SOURCE is.

    Parameters
    ----------
    reference
        As of `scan_sources`.
    code, what
        Of the error: the code, and what the reference was given as.

    Raises
    ------
    UsageError
        Where it is none, or several.
    """
    found = scan_sources([reference])
    if len(found.models) != 1:
        reasons = "; ".join(q.code for q in found.quarantine)
        raise UsageError(
            code,
            f"{what} {reference} is {len(found.models)} checkpoints, not one"
            + (f" ({reasons})" if reasons else ""),
            advice="name one checkpoint folder or one .safetensors file",
        )
    return found.models[0]


@contextmanager
def opening(
    paths: Iterable[str], /, *, max_stream: int | None = None
) -> Iterator[Opener]:
    """Give what opens all of these files, with a hub where one has to be.

    Parameters
    ----------
    paths
        Of `~spectra.core.tensors.FileRef`.
    max_stream
        As of `~spectra.core.settings.FitSettings`.
    """
    if not any(map(is_remote, paths)):
        yield FileSource
        return
    with open_hub(max_stream=max_stream) as files:
        yield files
