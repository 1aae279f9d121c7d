"""The catalogue file, read as it is by every command."""

import math
from dataclasses import fields, is_dataclass
from types import UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

import spectra
from spectra.core.errors import SpectraError
from spectra.core.settings import FitSettings
from spectra.study.tasks import work_of
from tests.checkpoints import write_adapter, write_dense
from tests.fuzz.documented import CODES, documented
from tests.fuzz.grammar import changed
from tests.fuzz.octets import bent
from tests.fuzz.shelves import layers, tensors
from tests.fuzz.trees import grown, text_of

__all__ = ["Catalogs"]


class Catalogs:
    """Mutants of one catalogue, line by line or byte by byte."""

    name = "catalog"

    def __init__(self, folder):
        write_dense(folder / "p" / "full", tensors("v", "w"))
        write_dense(folder / "p" / "more", tensors("v", "w"))
        write_adapter(folder / "p" / "lora", layers(), 16)
        (folder / "p" / "bad").mkdir()
        (folder / "p" / "bad" / "x.bin").write_bytes(b"x")
        self.path = folder / "catalog.jsonl"
        spectra.scan(folder / "p").save(self.path)
        self.raw = self.path.read_bytes()
        self.lines = [grown(line) for line in self.raw.splitlines()]

    def mutant(self, random):
        """Return the next catalogue."""
        if random.random() < 0.3:
            return bent(self.raw, random)
        lines = list(self.lines)
        for _ in range(random.choice((1, 1, 2))):
            place = random.randrange(len(lines))
            lines[place] = changed(lines[place], random)
        odd = random.random()
        if odd < 0.02:
            random.shuffle(lines)
        elif odd < 0.04:
            lines.pop()
        elif odd < 0.06:
            lines.append(random.choice(lines))
        texts = [text_of(line) for line in lines]
        return "".join(f"{text}\n" for text in texts).encode(
            errors="surrogatepass"
        )

    def check(self, mutant):
        """Scan it, and see what a fit of it would read."""
        self.path.write_bytes(mutant)
        try:
            catalog = spectra.scan(self.path)
            check_types(catalog.value)
            catalog.to_json()
            work_of(catalog.value, FitSettings())
        except SpectraError as fault:
            return documented(fault.code)
        # The codes of its quarantine are whatever was written there.
        found = {entry.code for entry in catalog.value.quarantine} & CODES
        return " ".join(sorted(found - {"PICKLE_REFUSED"})) or "accepted"


def check_types(value, kind=None):
    """Raise where a dataclass holds what its annotations do not allow.

    The only real numbers are scales, which are positive and finite.
    """
    kind = kind or type(value)
    origin, arguments = get_origin(kind), get_args(kind)
    if origin in (Union, UnionType):
        assert _fits_one(value, arguments), (value, kind)
    elif origin is Literal:
        assert value in arguments, (value, kind)
    elif origin is tuple:
        _check_tuple(value, arguments)
    elif kind is not Any:
        assert type(value) is kind, (value, kind)
        assert kind is not float or 0 < value < math.inf, value
        if is_dataclass(value):
            hints = get_type_hints(kind)
            for field in fields(value):
                check_types(getattr(value, field.name), hints[field.name])


def _check_tuple(value, kinds):
    assert type(value) is tuple, value
    if kinds[-1:] == (Ellipsis,):
        kinds = (kinds[0],) * len(value)
    for one, kind in zip(value, kinds, strict=True):
        check_types(one, kind)


def _fits_one(value, kinds):
    for kind in kinds:
        try:
            check_types(value, kind)
        except AssertionError:
            continue
        return True
    return False
