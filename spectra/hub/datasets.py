"""Run files in dataset repositories of a hub, by way of the spool."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from spectra.core.errors import Quarantine, UsageError
from spectra.core.places import cache_folder
from spectra.core.text import printable
from spectra.hub.client import Client
from spectra.hub.failures import HubError
from spectra.hub.limits import NetworkLimits
from spectra.hub.opened import SHA1, SHA256
from spectra.hub.parse import parse_reference
from spectra.hub.ranges import RemoteFile
from spectra.hub.record import Key
from spectra.hub.reference import Reference, is_commit
from spectra.hub.spool import Spool

__all__ = ["Fetched", "fetch_run"]

_RUN = "run.h5"
_DATASETS = re.compile(r"hf://datasets/", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Fetched:
    """A run file of a hub, in the spool.

    Attributes
    ----------
    path
        Where it lies. It is the cache's: nobody writes to it.
    name
        ``hf://datasets/org/name@commit/run.h5``.
    spool
        Keeps the file while this is there.
    """

    path: Path
    name: str
    spool: Spool


def fetch_run(text: str, /) -> Fetched:
    """Return the run file of a dataset repository, fetched where need be.

    Parameters
    ----------
    text
        ``org/name``, ``org/name@revision`` or
        ``hf://datasets/org/name@revision``; a path to another file than
        ``run.h5`` may follow in the last form.

    Raises
    ------
    UsageError
        E_SOURCE where it names no repository, E_NO_RUN where that has no run.
    HubError
        Where the hub cannot be reached, or sends another file than it says.
    StorageError
        Where the cache cannot be written.
    """
    asked = _reference(text)
    spool = Spool(cache_folder() / "spool")
    with Client(limits=NetworkLimits()) as client:
        commit, files = _listed(client, asked, text)
        path = asked.path or _RUN
        if path not in files:
            _no_run(text, f"{asked.repo} holds no {printable(path)}")
        repo = f"datasets/{asked.repo}"
        name = f"hf://{repo}@{commit}/{path}"
        try:
            remote = RemoteFile(client, repo, commit, path)
            tag = remote.etag
            content = spool.fetch(
                remote,
                Key(tag or name, remote.nbytes),
                origin=name,
                sha256=tag if SHA256.fullmatch(tag) else None,
                git_sha1=tag if SHA1.fullmatch(tag) else None,
            )
        except Quarantine as fault:
            raise HubError("E_BAD_RESPONSE", fault.detail) from fault
    return Fetched(content, name, spool)


def _reference(text: str) -> Reference:
    if match := _DATASETS.match(text):
        return parse_reference(f"hf://{text[match.end() :]}")
    if "://" in text:
        raise UsageError(
            "E_SOURCE",
            f"{printable(text)} is no dataset repository, where runs lie",
            advice="write org/name or hf://datasets/org/name@revision",
        )
    return parse_reference(text)


def _listed(
    client: Client, asked: Reference, text: str
) -> tuple[str, frozenset[str]]:
    """Return the commit of a revision, and the paths of its files."""
    path = f"/api/datasets/{asked.repo}"
    if asked.revision is not None:
        path += f"/revision/{asked.revision.replace('/', '%2F')}"
    try:
        page = client.json(path, repo=f"datasets/{asked.repo}")
    except Quarantine as fault:
        _no_run(text, f"on the hub {fault.detail}")
    found: Any = page.document if isinstance(page.document, dict) else {}
    commit, siblings = found.get("sha"), found.get("siblings")
    if not isinstance(commit, str) or not is_commit(commit):
        raise HubError("E_BAD_RESPONSE", f"no commit of {asked.repo} is told")
    names = [
        each.get("rfilename")
        for each in (siblings if isinstance(siblings, list) else ())
        if isinstance(each, dict)
    ]
    return commit, frozenset(name for name in names if isinstance(name, str))


def _no_run(text: str, why: str) -> NoReturn:
    raise UsageError(
        "E_NO_RUN",
        f"there is no run file {printable(text)} here, and {why}",
        advice="name a run file, or a dataset repository with a run.h5",
    )
