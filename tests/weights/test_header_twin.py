"""Headers against the safetensors library: never more lenient, never other."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from spectra.core.errors import Quarantine
from spectra.core.tensors import DTYPE_BITS
from spectra.weights.bytes import MemorySource
from spectra.weights.header import read_header
from tests.fuzz.headers import reference
from tests.weights.files import built, entry


def read(raw):
    return read_header(MemorySource(raw), file="f")


numbers = st.one_of(
    st.integers(-2, 40),
    st.sampled_from([2**31, 2**48, 2**63, 2**64, 0.0, 1.5, True, None, "1"]),
)
entries = st.fixed_dictionaries(
    {
        "dtype": st.sampled_from(["F32", "BF16", "U8", "F4", "F8_E5M2", "X"]),
        "shape": st.lists(numbers, max_size=3),
        "data_offsets": st.lists(numbers, min_size=1, max_size=3),
    },
    optional={"more": st.recursive(numbers, st.lists, max_leaves=4)},
)
wild = st.dictionaries(st.text(max_size=3), entries, max_size=3)


plain = st.text(
    st.characters(exclude_categories=["Cc", "Cs"]), min_size=1, max_size=4
)


@st.composite
def sound(draw):
    """Return the entries and data of a sound file."""
    found, end = {}, 0
    names = draw(st.lists(plain, unique=True))
    for name in names:
        dtype = draw(st.sampled_from(["F32", "BF16", "U8", "F64", "I16"]))
        shape = draw(st.lists(st.integers(0, 3), max_size=3))
        size = DTYPE_BITS[dtype] // 8 * int(np.prod(shape, dtype=int))
        found[name] = entry(dtype, shape, end, end + size)
        end += size
    return found, draw(st.binary(min_size=end, max_size=end))


def agree(raw):
    """Check that what we accept is what the library reads."""
    theirs = reference(raw)
    try:
        header = read(raw)
    except Quarantine:
        return
    ours = {
        ref.name: (ref.dtype, ref.shape, raw[ref.start : ref.stop])
        for ref in header.tensors
    }
    assert ours == theirs


@given(wild, st.binary(max_size=48))
def test_nothing_is_accepted_that_the_library_refuses(header, data):
    agree(built(header, data))


@given(sound(), st.data())
def test_bytes_that_flip(file, data):
    header, content = file
    raw = bytearray(built(header, content))
    agree(bytes(raw))
    for _ in range(data.draw(st.integers(1, 3))):
        place = data.draw(st.integers(0, len(raw) - 1))
        raw[place] = data.draw(st.sampled_from(b'0129-+.eE"\\,:[]{} \x00\xff'))
        agree(bytes(raw))


@given(sound(), st.data())
def test_one_field_that_changes(file, data):
    header, content = file
    for name in header:
        changed = dict(header[name])
        field = data.draw(st.sampled_from(["dtype", "shape", "data_offsets"]))
        changed[field] = data.draw(entries)[field]
        agree(built(header | {name: changed}, content))
    agree(built(header, content + b"\0"))
    agree(built(header, content[:-1]))


@given(sound())
def test_sound_files_are_accepted(file):
    raw = built(*file)
    assert {ref.name for ref in read(raw).tensors} == set(file[0])
    agree(raw)


def test_every_dtype_of_the_format_has_a_width():
    for dtype, bits in DTYPE_BITS.items():
        raw = built({"w": entry(dtype, [8], 0, bits)}, bytes(bits))
        assert read(raw).tensors[0].dtype == dtype
        if dtype != "C64":
            assert reference(raw) is not None, dtype


@pytest.mark.parametrize(
    ("number", "is_read"), [(2**64, True), (10**308, True), (10**309, False)]
)
def test_a_long_number_in_an_unknown_field_is_passed_over(number, is_read):
    raw = built({"w": entry("U8", [1], 0, 1, more=number)}, b"w")
    assert (reference(raw) is not None) == is_read
    if is_read:
        assert read(raw).tensors[0].name == "w"
    agree(raw)
