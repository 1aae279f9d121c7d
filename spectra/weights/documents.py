"""The small text files beside weights, read within bounds."""

import re
from collections.abc import Iterator, Mapping
from typing import Any

from spectra.core.errors import Quarantine
from spectra.weights.bytes import read_bytes
from spectra.weights.folders import Folder
from spectra.weights.strict_json import JsonError, parse

__all__ = ["front_matter", "read_object"]

_ENTRY = re.compile(r"(?P<key>[A-Za-z_][\w-]*):(?:\s+(?P<value>.*))?")
_ITEM = re.compile(r"\s*-\s+(?P<value>.*)")


def read_object(
    folder: Folder,
    name: str,
    /,
    *,
    code: str,
    nbytes: int,
    depth: int,
    over: str = "",
) -> dict[str, Any]:
    """Return the object in a JSON file.

    Parameters
    ----------
    folder, name
        Where it lies.
    code
        Of the Quarantine where it is no JSON object that we read.
    nbytes, depth
        Caps.
    over
        Code where it is longer than `nbytes`, if not `code`.

    Returns
    -------
    dict
        Its content.

    Raises
    ------
    Quarantine
        With `code`, or as the file is unreadable.
    """
    with folder.open(name) as source:
        if source.nbytes > nbytes:
            raise Quarantine(
                over or code,
                f"{name} has {source.nbytes} bytes, more than {nbytes}",
            )
        raw = read_bytes(source, 0, source.nbytes)
    try:
        content = parse(raw, depth=depth)
    except JsonError as fault:
        raise Quarantine(code, f"{name}: {fault.detail}") from fault
    if not isinstance(content, dict):
        raise Quarantine(code, f"{name} is not a JSON object")
    return content


def front_matter(
    folder: Folder, name: str, /, *, nbytes: int
) -> Mapping[str, str]:
    """Return the plain entries at the top of a model card.

    Only ``key: value`` at the margin and the first item of a list are
    understood, which is all that is asked of a card: no YAML is executed,
    expanded or repeated.

    Parameters
    ----------
    folder, name
        Where a README.md lies.
    nbytes
        As much of it is read.

    Returns
    -------
    Mapping
        Empty where there is no front matter.

    Raises
    ------
    Quarantine
        Where the file is unreadable.
    """
    with folder.open(name) as source:
        raw = read_bytes(source, 0, min(nbytes, source.nbytes))
    lines = iter(raw.decode("utf-8", errors="replace").splitlines())
    if next(lines, "").strip() != "---":
        return {}
    return dict(_plain_entries(lines))


def _plain_entries(lines: Iterator[str]) -> Iterator[tuple[str, str]]:
    waiting = None
    for line in lines:
        if line.rstrip() in ("---", "..."):
            return
        entry, item = _ENTRY.fullmatch(line), _ITEM.fullmatch(line)
        if entry:
            value = _scalar(entry["value"] or "")
            waiting = None if value else entry["key"]
            if value:
                yield entry["key"], value
        elif item and waiting and _scalar(item["value"]):
            yield waiting, _scalar(item["value"])
            waiting = None


def _scalar(text: str) -> str:
    text = text.strip()
    if text[:1] == "[":
        text = text.strip("[]").partition(",")[0].strip()
    if text[:1] in ("'", '"'):
        return text[1:].partition(text[0])[0]
    text = text.partition(" #")[0].strip()
    return "" if text in ("null", "~") else text
