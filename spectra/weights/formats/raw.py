"""A checkpoint as its files describe it, before names mean anything."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from spectra.core.errors import Quarantine
from spectra.core.tensors import FileRef, TensorRef
from spectra.weights.adapters import AdapterConfig
from spectra.weights.folders import Folder
from spectra.weights.header import Header, read_header
from spectra.weights.limits import Limits

__all__ = ["Fault", "Format", "RawCheckpoint", "check_not_empty", "read_file"]


@dataclass(frozen=True, slots=True)
class Fault:
    """A part of a checkpoint, a shard say, that is set aside."""

    part: str
    code: str
    detail: str


@dataclass(frozen=True, slots=True)
class RawCheckpoint:
    """Files, tensors and configuration.

    Attributes
    ----------
    metadata
        Of the safetensors headers together.
    config
        The content of config.json or adapter_config.json.
    adapter
        What adapter_config.json says; None where there is none.
    alpha_is_rank
        Whether its name says that diffusers wrote it, which means the rank
        by an alpha that is not given.
    faults
        Shards that could not be used.
    """

    files: tuple[FileRef, ...]
    tensors: tuple[TensorRef, ...]
    metadata: Mapping[str, str] = field(default_factory=dict)
    config: Mapping[str, Any] = field(default_factory=dict)
    adapter: AdapterConfig | None = None
    alpha_is_rank: bool = False
    faults: tuple[Fault, ...] = ()


@dataclass(frozen=True, slots=True)
class Format:
    """A row of `~spectra.weights.formats.FORMATS`.

    Attributes
    ----------
    name
        As documentation and messages say it.
    claims
        Whether a folder holds this format, by the names of its files.
    read
        The checkpoint; raises Quarantine.
    """

    name: str
    claims: Callable[[Folder], bool]
    read: Callable[[Folder, Limits], RawCheckpoint]


def read_file(
    folder: Folder, name: str, /, *, limits: Limits
) -> tuple[FileRef, Header]:
    """Return one safetensors file's reference and header."""
    path = folder.files[name]
    with folder.open(name) as source:
        header = read_header(source, file=path, limits=limits)
        return source.reference(header.sha256), header


def check_not_empty(tensors: tuple[TensorRef, ...], /) -> None:
    """Raise Quarantine where a checkpoint has no tensor at all."""
    if not tensors:
        raise Quarantine("EMPTY_MODEL", "holds no tensor")
