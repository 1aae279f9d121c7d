"""How much of a foreign file is read before it is refused."""

import os
from collections.abc import Iterable
from dataclasses import dataclass, fields

from spectra.backend.memory import parse_bytes
from spectra.core.errors import UsageError

__all__ = ["CAPS", "Limits", "limits_of", "limits_of_environment"]

CAPS = "SPECTRA_CAPS"
"""Environment variable with what ``--cap`` asks for, with blanks between."""

_FORMAT = 100_000_000
"""Longest header that the format itself allows."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Caps on what a checkpoint may ask of the reader.

    Attributes
    ----------
    header_bytes
        Of one safetensors header. Python's json takes 9 bytes of memory a
        byte, so that a header of the format's own cap of 100 MB takes 0.9 GB;
        25 MB is the cap of huggingface_hub too.
    tensors
        In one file.
    name_bytes
        Of a tensor's name in UTF-8.
    depth
        Of nested brackets in any JSON.
    ndim
        Of a tensor that is analysed.
    shards
        Of one checkpoint.
    index_bytes, config_bytes, card_bytes
        Of ``*.index.json``, of ``config.json`` and ``adapter_config.json``;
        of ``README.md`` the rest is not read.
    vocabulary_bytes
        Of ``tokenizer.json`` or ``vocab.txt``.
    tensor_bytes
        Of one tensor in its file.
    min_side
        Largest min(out, in) of a full matrix.
    """

    header_bytes: int = 25_000_000
    tensors: int = 250_000
    name_bytes: int = 1024
    depth: int = 32
    ndim: int = 8
    shards: int = 2048
    index_bytes: int = 64 * 2**20
    config_bytes: int = 2**20
    card_bytes: int = 64 * 2**10
    vocabulary_bytes: int = 64 * 2**20
    tensor_bytes: int = 16 * 2**30
    min_side: int = 32_768


def limits_of_environment() -> Limits:
    """Return the caps that `CAPS` asks for; the others have their defaults.

    Raises
    ------
    UsageError
        As `limits_of`.
    """
    return limits_of(os.environ.get(CAPS, "").split())


def limits_of(texts: Iterable[str], /) -> Limits:
    """Return the caps that ``NAME=VALUE`` texts ask for.

    Raises
    ------
    UsageError
        E_CAP where there is no such cap, or no such value of it.

    Examples
    --------
    >>> limits_of(["header_bytes=100MB", "ndim=4"]).header_bytes
    100000000
    """
    names = [entry.name for entry in fields(Limits)]
    asked: dict[str, int] = {}
    for text in texts:
        name, _, value = text.partition("=")
        if name not in names:
            raise UsageError(
                "E_CAP",
                f"there is no cap {name!r}",
                advice=f"write NAME=VALUE; caps are {', '.join(names)}",
            )
        asked[name] = _value(name, value)
    return Limits(**asked)


def _value(name: str, text: str) -> int:
    try:
        value = parse_bytes(text) if "bytes" in name else int(text)
    except ValueError as error:  # a UsageError is one
        raise UsageError(
            "E_CAP",
            f"{text!r} is no value of {name}",
            advice="write a number, or bytes as 100MB or 64MiB",
        ) from error
    most = _FORMAT if name == "header_bytes" else value
    if not 1 <= value <= most:
        raise UsageError(
            "E_CAP",
            f"{name} cannot be {text}",
            advice="it is at least 1"
            + (f", and at most {most}, as the format has it" * (most < value)),
        )
    return value
