"""From SOURCEs to a catalogue: headers and configurations, no weights."""

import os
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from fnmatch import fnmatchcase
from typing import Protocol

from spectra.core.catalog import Catalog, Checkpoint, Quarantined
from spectra.core.errors import Quarantine
from spectra.core.events import Observer, Progress
from spectra.weights.bytes import FileSource, Opener
from spectra.weights.catalog_file import is_catalog, read_catalog
from spectra.weights.claims import read_claims
from spectra.weights.factors import sort_low_rank
from spectra.weights.formats import RawCheckpoint, read_checkpoint
from spectra.weights.ids import unique_ids
from spectra.weights.layers import Sorted, check_not_quantised, sort_dense
from spectra.weights.limits import Limits, limits_of_environment
from spectra.weights.lora import naming_of
from spectra.weights.population import REMOTE, catalog_of, identity
from spectra.weights.sources import Place, expand, places

__all__ = ["Hub", "scan"]

Member = Place | Checkpoint
Found = tuple[tuple[Place, ...], tuple[Quarantined, ...]]


class Hub(Protocol):
    """What `spectra.hub` offers a scan; it cannot be imported from here."""

    @property
    def connections(self) -> int:
        """Return how many files are worth reading at once."""
        ...

    def queried(self) -> Iterable[Found]:
        """Return what each repository holds that was asked for by a query."""
        ...

    def knows(self, source: str, /) -> bool:
        """Return whether a SOURCE is a hub's."""
        ...

    def places(self, source: str, /) -> Found:
        """Return where its checkpoints lie."""
        ...


def scan(
    sources: Sequence[str | os.PathLike[str]],
    /,
    *,
    match: Sequence[str] = (),
    limit: int | None = None,
    limits: Limits | None = None,
    hub: Hub | None = None,
    on_event: Observer | None = None,
) -> Catalog:
    """Return the catalogue of a population; no weight is read.

    Parameters
    ----------
    sources
        Folders of checkpoints, checkpoint folders, safetensors files,
        ``@list.txt`` or catalogues, or what `hub` knows.
    match
        Only checkpoints whose id matches one of these globs.
    limit
        Only as many, the first ones.
    limits
        Caps on foreign files; those of the environment where None.
    hub
        Finds what is not local; without one that is an error.
    on_event
        Told of each checkpoint.

    Returns
    -------
    Catalog
        What is sound, how it groups, and what was set aside and why.

    Raises
    ------
    UsageError
        E_SOURCE where a source is not there, or nothing is in it.
    """
    limits = limits or limits_of_environment()
    asked = tuple(os.fspath(source) for source in sources)
    members, quarantine = _members(asked, hub)
    chosen = _chosen(members, match, limit)
    models: list[Checkpoint] = []
    with ThreadPoolExecutor(hub.connections if hub else 1) as pool:
        # In the order of the members, however many are asked for at once.
        found = pool.map(
            lambda one: _described(one[0], one[1], limits), chosen
        )
        for done, (model, faults) in enumerate(found, start=1):
            models += [model] if model else []
            quarantine += faults
            if on_event is not None:
                name, _ = chosen[done - 1]
                on_event(Progress("scan", done, len(chosen), name))
    return catalog_of(models, quarantine, asked)


def _members(
    sources: Iterable[str], hub: Hub | None
) -> tuple[list[Member], list[Quarantined]]:
    """Return everything that was found, each path once."""
    members: dict[str, Member] = {}
    quarantine: list[Quarantined] = []
    for places_found, faults_found in hub.queried() if hub else ():
        members |= {place.path: place for place in places_found}
        quarantine += faults_found
    for source in expand(sources):
        found: Iterable[Member]
        faults: Iterable[Quarantined]
        if is_catalog(source):
            catalog = read_catalog(source)
            found, faults = catalog.models, catalog.quarantine
        elif hub is not None and hub.knows(source):
            found, faults = hub.places(source)
        else:
            found, faults = places(source)
        for member in found:
            members.setdefault(identity(member.path), member)
        quarantine += faults
    return list(members.values()), quarantine


def _chosen(
    members: Sequence[Member], match: Sequence[str], limit: int | None
) -> list[tuple[str, Member]]:
    # By their paths: a name does not depend on which source came first.
    by_path = sorted(members, key=lambda member: member.path)
    names = unique_ids([_ids(member) for member in by_path])
    name_of = {m.path: name for m, name in zip(by_path, names, strict=True)}
    chosen = [
        (name_of[member.path], member)
        for member in members
        if not match
        or any(fnmatchcase(name_of[member.path], glob) for glob in match)
    ]
    return chosen[:limit]


def _ids(member: Member) -> tuple[str, ...]:
    return member.ids if isinstance(member, Place) else (member.id,)


def _described(
    name: str, member: Member, limits: Limits
) -> tuple[Checkpoint | None, list[Quarantined]]:
    try:
        if isinstance(member, Checkpoint):
            return _as_catalogued(name, member), []
        return _read(name, member, limits)
    except Quarantine as fault:
        return None, [Quarantined(name, None, fault.code, fault.detail)]


def _as_catalogued(name: str, member: Checkpoint) -> Checkpoint:
    """Return a checkpoint whose local files are what they were."""
    for file in member.files:
        if not file.path.startswith(REMOTE):
            with FileSource(file.path, pinned=file):
                pass
    return replace(member, id=name)


def _read(
    name: str, member: Place, limits: Limits
) -> tuple[Checkpoint, list[Quarantined]]:
    raw = read_checkpoint(member.folder, limits=limits)
    found = _layers(raw, member.folder.opener, limits)
    claims = read_claims(member.folder, raw, limits=limits)
    checkpoint = Checkpoint(
        id=name,
        revision=member.revision,
        path=str(member.path),
        files=raw.files,
        layers=found.layers,
        skipped=found.skipped,
        license=member.license or claims.license,
        base_claim=member.base or claims.base,
    )
    faults = [
        Quarantined(name, fault.part, fault.code, fault.detail)
        for fault in (*raw.faults, *claims.faults)
    ]
    faults += [Quarantined(name, *refused) for refused in found.refused]
    return checkpoint, faults


def _layers(raw: RawCheckpoint, opener: Opener, limits: Limits) -> Sorted:
    naming = naming_of(raw)
    if naming is not None:
        found = sort_low_rank(raw, naming, opener, limits=limits)
    else:
        check_not_quantised(raw.tensors, raw.config)
        found = sort_dense(raw.tensors, raw.config, limits=limits)
    if not found.layers and not found.refused:
        reasons = sorted({skipped.reason for skipped in found.skipped})
        raise Quarantine(
            "NO_LAYERS",
            f"none of {len(raw.tensors)} tensors is a weight matrix"
            f" ({', '.join(reasons)})",
        )
    return found
