"""Full weights in one safetensors file or in shards."""

import re
from collections.abc import Mapping, Sequence, Set
from typing import Any

from spectra.core.errors import Quarantine
from spectra.core.tensors import FileRef, TensorRef
from spectra.core.text import printable
from spectra.weights.documents import read_object
from spectra.weights.folders import Folder
from spectra.weights.formats.raw import (
    Fault,
    Format,
    RawCheckpoint,
    check_not_empty,
    read_file,
)
from spectra.weights.header import Header
from spectra.weights.limits import Limits

__all__ = ["FULL", "SHARD_NAME"]

_ENDING = ".safetensors"
_CONFIG = "config.json"

# As transformers and diffusers name them. A variant, such as fp16, has its
# name before the ending, and in an index before ".json".
_WHOLE = ("model.safetensors", "diffusion_pytorch_model.safetensors")
_INDEXES = tuple(f"{name}.index.json" for name in _WHOLE)
_STEMS = tuple(name.removesuffix(_ENDING) for name in _WHOLE)
_INDEX = re.compile(r".+\.safetensors\.index(?P<variant>\.[^.]+)?\.json")

SHARD_NAME = re.compile(
    r"(?P<stem>.+)-(?P<number>\d{5})-of-(?P<count>\d{5})\.safetensors"
)

# Absolute, with a scheme or drive, with an escape or a control character, or
# with an empty, "." or ".." step.
_BAD_PATH = re.compile(
    r"/.*|.*[\\:\x00-\x1f\x7f].*|.*%(2e|2f|5c).*|(.*/)?\.{0,2}(/.*)?",
    flags=re.IGNORECASE | re.DOTALL,
)


def _claims(folder: Folder) -> bool:
    return bool(folder.ending(_ENDING) or _indexes(folder))


def _indexes(folder: Folder) -> list[re.Match[str]]:
    found = (_INDEX.fullmatch(name) for name in folder.files)
    return [index for index in found if index]


def _read(folder: Folder, limits: Limits) -> RawCheckpoint:
    """Return the plain weights, or the one variant where there is no other."""
    weights, indexes = folder.ending(_ENDING), _indexes(folder)
    for name in _WHOLE:
        if name in weights:
            return _joined(folder, (name,), limits)
    if indexes:
        plain = [index[0] for index in indexes if not index["variant"]]
        index = _only(plain or [index[0] for index in indexes], _INDEXES)
        return _indexed(folder, index, limits)
    shards = [SHARD_NAME.fullmatch(name) for name in weights]
    numbered = {found["stem"]: found for found in shards if found}
    if numbered:
        stem = _only(list(numbered), _STEMS)
        return _joined(folder, _all_numbers(numbered[stem]), limits)
    return _joined(folder, (_only(weights),), limits)


def _only(names: Sequence[str], standard: Sequence[str] = ()) -> str:
    """Return the one name there is, or the standard one, or raise."""
    for name in standard:
        if name in names:
            return name
    if len(names) > 1:
        listed = ", ".join(printable(name, 60) for name in names[:4])
        more = ", ..." if len(names) > 4 else ""
        raise Quarantine(
            "UNSUPPORTED_FORMAT",
            f"{len(names)} sets of safetensors weights, none of them plain"
            f" ({listed}{more}); name the one",
        )
    return names[0]


def _all_numbers(first: re.Match[str]) -> tuple[str, ...]:
    """Return the names of all shards where there is no index."""
    count = first["count"]
    return tuple(
        f"{first['stem']}-{number:05}-of-{count}{_ENDING}"
        for number in range(1, int(count) + 1)
    )


def _indexed(folder: Folder, index: str, limits: Limits) -> RawCheckpoint:
    promised: dict[str, set[str]] = {}
    for name, shard in _weight_map(folder, index, limits).items():
        promised.setdefault(shard, set()).add(name)
    return _joined(folder, sorted(promised), limits, promised)


def _weight_map(
    folder: Folder, index: str, limits: Limits
) -> Mapping[str, str]:
    content = read_object(
        folder,
        index,
        code="INDEX_SCHEMA",
        over="INDEX_LIMIT",
        nbytes=limits.index_bytes,
        depth=limits.depth,
    )
    owners = content.get("weight_map")
    if (
        not isinstance(owners, dict)
        or not owners
        or not all(isinstance(shard, str) for shard in owners.values())
    ):
        raise Quarantine("INDEX_SCHEMA", f"{index} has no weight_map of names")
    for shard in owners.values():
        if _BAD_PATH.fullmatch(shard):
            raise Quarantine(
                "INDEX_PATH", f"{index} names {printable(shard, 80)}"
            )
    return owners


def _joined(
    folder: Folder,
    shards: Sequence[str],
    limits: Limits,
    promised: Mapping[str, Set[str]] | None = None,
) -> RawCheckpoint:
    """Return the sound shards together, and what is wrong with others."""
    files: list[FileRef] = []
    held: dict[str, tuple[str, TensorRef]] = {}
    metadata: dict[str, str] = {}
    faults: list[Fault] = []
    if len(shards) > limits.shards:
        raise Quarantine(
            "INDEX_LIMIT", f"{len(shards)} shards, more than {limits.shards}"
        )
    for shard in shards:
        try:
            file, header = _read_shard(folder, shard, limits)
            _check_agreement(
                header, held, promised[shard] if promised else None
            )
        except Quarantine as fault:
            if len(shards) == 1:
                raise
            faults.append(Fault(shard, fault.code, fault.detail))
            continue
        files.append(file)
        held |= {ref.name: (shard, ref) for ref in header.tensors}
        metadata |= header.metadata
    if not files:
        raise Quarantine(faults[0].code, faults[0].detail)
    tensors = tuple(ref for _, ref in held.values())
    check_not_empty(tensors)
    config = _config(folder, limits, faults)
    return RawCheckpoint(
        tuple(files), tensors, metadata, config, faults=tuple(faults)
    )


def _read_shard(
    folder: Folder, shard: str, limits: Limits
) -> tuple[FileRef, Header]:
    # Byte for byte a name of this folder's own listing: no path is built.
    if shard not in folder.files:
        raise Quarantine("SHARD_MISSING", f"{printable(shard, 80)} is absent")
    return read_file(folder, shard, limits=limits)


def _check_agreement(
    header: Header,
    held: Mapping[str, tuple[str, TensorRef]],
    promised: Set[str] | None,
) -> None:
    names = {ref.name for ref in header.tensors}
    twice = sorted(names & held.keys())
    if twice:
        raise Quarantine(
            "INDEX_MISMATCH",
            f"tensor {printable(twice[0], 80)} is in"
            f" {printable(held[twice[0]][0], 80)} too",
        )
    if promised is None or names == promised:
        return
    name = min(names ^ promised)
    place = "index" if name in promised else "shard"
    raise Quarantine(
        "INDEX_MISMATCH",
        f"tensor {printable(name, 80)} is in the {place} alone",
    )


def _config(
    folder: Folder, limits: Limits, faults: list[Fault]
) -> Mapping[str, Any]:
    """Return config.json; the weights are of use without it too."""
    if _CONFIG not in folder.files:
        return {}
    try:
        return read_object(
            folder,
            _CONFIG,
            code="CONFIG_UNREADABLE",
            nbytes=limits.config_bytes,
            depth=limits.depth,
        )
    except Quarantine as fault:
        faults.append(Fault(_CONFIG, fault.code, fault.detail))
        return {}


FULL = Format("full weights in safetensors", _claims, _read)
