"""Readers broken on purpose: the fuzzer sees each within a few thousand."""

import json
import math

import pytest

from spectra.core.errors import Quarantine
from spectra.store import journal, runfile
from spectra.weights import adapters, documents, header, records, strict_json
from spectra.weights.formats import full
from tests.fuzz.campaign import Finding, tally
from tests.fuzz.headers import Headers

LAYOUT = header._check_layout


def anything(*_):
    return True


def as_it_is(value, /):
    return value


def no_overlap(tensors, start, nbytes):
    if max([ref.stop for ref in tensors], default=start) != nbytes:
        raise Quarantine("ST_TRUNCATED_DATA", "")


def no_end(tensors, start, nbytes):
    LAYOUT(tensors, start, max([ref.stop for ref in tensors], default=start))


def minus_zero(text):
    return int(text) if len(text) < 20 else float(text)


def any_number(values):
    return isinstance(values, list) and all(
        isinstance(value, int | float) and 0 <= value < 2**48
        for value in values
    )


def refuse_empty(entries, _):
    if any(0 in entry["shape"] for entry in entries.values()):
        raise Quarantine("ST_SHAPE", "")


def refuse_foreign(entries, _):
    if not "".join(entries).isascii():
        raise Quarantine("ST_NAME", "")


def plain_json(raw, *, depth):
    return json.loads(raw)


def checks(*, without=None, more=()):
    left = [check for check in header._CHECKS if check is not without]
    return (*left, *more)


HEADERS = (
    ("no-overlap", header, "_check_layout", no_overlap),
    ("no-end", header, "_check_layout", no_end),
    ("no-duplicates", strict_json, "_object", dict),
    ("no-depth", strict_json, "_depth", lambda raw: 0),
    ("minus-zero", strict_json, "_integer", minus_zero),
    ("floats-and-bools", header, "_are_counts", any_number),
    ("no-soundness", header, "is_sound", anything),
    *(
        (f"no{check.__name__}", header, "_CHECKS", checks(without=check))
        for check in header._CHECKS
    ),
    ("no-empty", header, "_CHECKS", checks(more=[refuse_empty])),
    ("ascii-alone", header, "_CHECKS", checks(more=[refuse_foreign])),
)


@pytest.mark.parametrize(
    ("place", "name", "broken"), [pytest.param(*r, id=i) for i, *r in HEADERS]
)
def test_a_broken_reader_of_headers_is_found(monkeypatch, place, name, broken):
    monkeypatch.setattr(place, name, broken)
    with pytest.raises(Finding):
        tally(Headers(), seed=6, count=20_000)


OTHERS = (
    ("index", full, "_check_agreement", anything),
    ("adapter_config", adapters, "_LARGEST_ALPHA", math.inf),
    ("adapter_config", adapters, "_flag", lambda name, _: False),
    ("config", documents, "parse", plain_json),
    ("catalog", records, "text_from", as_it_is),
    ("catalog", records, "_count", as_it_is),
    pytest.param(
        "catalog", records, "_scale", as_it_is, marks=pytest.mark.slow
    ),
    ("run", runfile, "is_whole", anything),
    ("journal", journal, "_is_whole", anything),
)


@pytest.mark.parametrize(("target", "place", "name", "broken"), OTHERS)
def test_another_broken_reader_is_found(
    known, monkeypatch, target, place, name, broken
):
    monkeypatch.setattr(place, name, broken)
    with pytest.raises(Finding):
        tally(known[target], seed=6, count=5_000)
