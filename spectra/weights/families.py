"""What is known of model families: data in ``architectures/*.toml``."""

import re
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache, lru_cache
from importlib import resources
from typing import Any, Literal

__all__ = [
    "Families",
    "Fused",
    "Order",
    "Traits",
    "bare_name",
    "read_families",
    "traits",
]

Order = Literal["out-first", "out-last", "in-first", "none"]
"""Which axis of a stored tensor is the output, or that none is.

``out-first`` and ``out-last`` take all other axes together as the input;
``in-first`` takes all but the first together as the output.
"""

# The members of a population repeat the same few hundred names.
_NAMES = 2**16


@dataclass(frozen=True, slots=True)
class Fused:
    """Several maps in one tensor.

    Attributes
    ----------
    names
        Of such tensors and layers; the groups ``before`` and ``after`` stand
        around the name of a part.
    parts
        Their names, from the first row on.
    sizes
        The rule by which rows belong to them.
    model_types
        Those that hold them so; None for all.
    """

    names: re.Pattern[str]
    parts: tuple[str, ...]
    sizes: str
    model_types: frozenset[str] | None


@dataclass(frozen=True, slots=True)
class Traits:
    """What the name of a tensor tells.

    Attributes
    ----------
    order
        How it is stored.
    bookkeeping
        A buffer or a counter.
    quantised
        Only quantised checkpoints have it.
    conv1d
        Some families store it in x out and others out x in.
    wider
        It is one of those and has more outputs than inputs: its shape tells.
    fused
        How it may hold several maps; None where it does not.
    """

    order: Order
    bookkeeping: bool
    quantised: bool
    conv1d: bool
    wider: bool
    fused: Fused | None


@dataclass(frozen=True, slots=True)
class Families:
    """All files together.

    Attributes
    ----------
    prefixes
        Wrappers and model names in front of a layer's name, any number.
    parts
        First words of names that are never wrappers.
    bookkeeping, quantised, conv1d, wider
        Whole names of tensors with these `Traits`.
    conv1d_types
        ``model_type`` of config.json that means in x out, where no shape does.
    layouts
        Names of tensors that are not stored out first; the last one holds.
    quantised_config
        Entries of config.json that only quantised checkpoints have.
    fused
        Tensors that may hold several maps.
    words
        One word, with the underscore behind it, of a name that has those for
        dots.
    """

    prefixes: re.Pattern[str]
    parts: frozenset[str]
    bookkeeping: re.Pattern[str]
    quantised: re.Pattern[str]
    conv1d: re.Pattern[str]
    wider: re.Pattern[str]
    conv1d_types: frozenset[str]
    layouts: tuple[tuple[re.Pattern[str], Order], ...]
    quantised_config: tuple[str, ...]
    fused: tuple[Fused, ...]
    words: re.Pattern[str]


@cache
def read_families() -> Families:
    """Return the data of all families, read once."""
    folder = resources.files("spectra.weights") / "architectures"
    tables = [
        tomllib.loads(file.read_text("utf-8"))
        for file in sorted(folder.iterdir(), key=lambda file: file.name)
        if file.name.endswith(".toml")
    ]
    (conv1d,) = [table["conv1d"] for table in tables if "conv1d" in table]
    prefixes = "|".join(map(re.escape, _all(tables, "prefixes")))
    return Families(
        # Something must be left of a name.
        prefixes=re.compile(rf"(?:{prefixes})+(?=.)"),
        parts=frozenset(_all(tables, "parts")),
        bookkeeping=_endings(_all(tables, "bookkeeping")),
        quantised=_endings(_all(tables, "quantised")),
        conv1d=re.compile(conv1d["modules"]),
        wider=re.compile(conv1d["wider"]),
        conv1d_types=frozenset(conv1d["model_types"]),
        layouts=tuple(
            (re.compile(row["names"]), row["order"])
            for row in _all(tables, "layout")
        ),
        quantised_config=tuple(_all(tables, "quantised_config")),
        fused=tuple(_fused(row) for row in _all(tables, "fused")),
        words=_words(_all(tables, "words")),
    )


@lru_cache(_NAMES)
def traits(name: str, /) -> Traits:
    """Return what the name of a tensor tells of it."""
    families = read_families()
    orders = [
        order for names, order in families.layouts if names.fullmatch(name)
    ]
    return Traits(
        order=orders[-1] if orders else "out-first",
        bookkeeping=bool(families.bookkeeping.fullmatch(name)),
        quantised=bool(families.quantised.fullmatch(name)),
        conv1d=bool(families.conv1d.fullmatch(name)),
        wider=bool(families.wider.fullmatch(name)),
        fused=next(
            (row for row in families.fused if row.names.fullmatch(name)), None
        ),
    )


@lru_cache(_NAMES)
def bare_name(name: str, /) -> str:
    """Return a name without the wrappers that are known."""
    wrapper = read_families().prefixes.match(name)
    return name[wrapper.end() :] if wrapper else name


def _all(tables: Iterable[Mapping[str, Any]], key: str) -> list[Any]:
    return [entry for table in tables for entry in table.get(key, ())]


def _endings(words: Iterable[str]) -> re.Pattern[str]:
    return re.compile(rf"(.*[./])?({'|'.join(words)})")


def _fused(row: Mapping[str, Any]) -> Fused:
    types = row.get("model_types")
    return Fused(
        re.compile(row["names"]),
        tuple(row["parts"]),
        row["sizes"],
        None if types is None else frozenset(types),
    )


def _words(words: Iterable[str]) -> re.Pattern[str]:
    # The longest first, so that none ends where a longer one goes on.
    longest = sorted(map(re.escape, words), key=len, reverse=True)
    return re.compile(rf"(?P<word>{'|'.join(longest)}|\d+)(?:_(?=.)|$)")
