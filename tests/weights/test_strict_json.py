import json
import math
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spectra.weights.strict_json import JsonError, is_sound, parse

values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=12,
)


def depth_of(value):
    if isinstance(value, dict):
        return 1 + max(map(depth_of, value.values()), default=0)
    if isinstance(value, list):
        return 1 + max(map(depth_of, value), default=0)
    return 0


@given(values, st.booleans())
def test_what_json_writes_is_read_back(value, plain):
    text = json.dumps(value, ensure_ascii=plain).encode()
    assert parse(text, depth=64) == value


@given(values)
def test_depth_is_that_of_the_value_and_not_of_its_strings(value):
    text = json.dumps({'[{\\"[': value}).encode()
    depth = depth_of(value) + 1
    parse(text, depth=depth)
    with pytest.raises(JsonError) as caught:
        parse(text, depth=depth - 1)
    assert caught.value.kind == "depth"


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        (b"\xff", "utf8"),
        (b"{", "json"),
        (b"", "json"),
        (b"NaN", "json"),
        (b"-Infinity", "json"),
        (b"1e999", "json"),
        (b"'a'", "json"),
        (b"[1,]", "json"),
        (b'"\n"', "json"),
        (b'{"a":1,"a":2}', "duplicate"),
        (b'[{"b":{"a":1,"\\u0061":2}}]', "duplicate"),
    ],
)
def test_what_is_refused(text, kind):
    with pytest.raises(JsonError) as caught:
        parse(text, depth=8)
    assert caught.value.kind == kind


def test_no_integer_that_another_parser_reads_differently():
    assert math.copysign(1, parse(b"-0", depth=1)) == -1
    assert type(parse(b"-0", depth=1)) is float
    assert parse(b"9" * 5_000, depth=1) == math.inf
    assert parse(b"-" + b"9" * 5_000, depth=1) == -math.inf
    assert type(parse(b"9" * 20, depth=1)) is float
    assert parse(b"-12", depth=1) == -12


@pytest.mark.parametrize(
    "text",
    [
        b'"' + b'\\"' * 500_000,
        b'"' * 1_000_001,
        b"\\" * 1_000_000,
        b"[" + b"9" * 1_000_000,
        b"[" + b"1" * 250 + b"0" * 1_000_000,
    ],
)
def test_the_time_is_linear_in_hostile_text(text):
    start = time.process_time()
    with pytest.raises(JsonError):
        parse(text, depth=4)
    assert time.process_time() - start < 2


def test_soundness():
    assert is_sound({"a": [1, "é", None]})
    assert not is_sound({"a": ["\ud800"]})
    assert not is_sound([{"\udfff": 1}])
    assert not is_sound([math.inf])
