"""What is asked of a merge, and by what an older one is known."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from spectra.core.errors import Quarantine, UsageError
from spectra.core.text import printable
from spectra.weights.bytes import FileSource
from spectra.weights.header import read_header
from spectra.weights.limits import Limits

__all__ = ["DTYPES", "SCHEMA", "Wanted", "is_merged", "require_dtype"]

SCHEMA = "spectra-merge/1"

DTYPES = ("F32", "BF16", "F16")
"""What merged weights can be written in."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What is asked of a merge.

    Attributes
    ----------
    method, options
        As of `~spectra.apply.merging.choice.chosen`.
    base
        Of full checkpoints: the one that they were made from, a SOURCE.
    rank
        Of a merged adapter; None for the largest among its parents.
    layers
        Globs of names; all where empty.
    dtype
        One of `DTYPES`; None for that of all factors, F32 where they differ,
        and of full checkpoints for each tensor's own.
    shard_size
        Of full checkpoints: the most that one file takes; None for 5GB.
    memory
        What the process may take.
    interference
        Whether that of the adapters is measured too.
    mergekit
        A file to write, by which mergekit does the same; None for none.
    """

    method: str
    options: Mapping[str, Any]
    base: str | None = None
    rank: int | None = None
    layers: tuple[str, ...] = ()
    dtype: str | None = None
    shard_size: str | int | None = None
    memory: str | int = "4GiB"
    interference: bool = False
    mergekit: Path | None = None


def require_dtype(dtype: str | None, /) -> None:
    """Refuse what merged weights are not written in.

    Raises
    ------
    UsageError
        E_METHOD.
    """
    if dtype is not None and dtype not in DTYPES:
        raise UsageError(
            "E_METHOD",
            f"merged weights are not written in {printable(dtype, 40)}",
            advice=f"use {', '.join(DTYPES)}",
        )


def is_merged(path: Path, /) -> bool:
    """Return whether a file holds merged weights of ours."""
    try:
        with FileSource(path) as source:
            header = read_header(source, file=str(path), limits=Limits())
    except Quarantine:
        return False
    return header.metadata.get("schema") == SCHEMA
