import json
import struct

import numpy as np
import pytest
from safetensors.numpy import save

from spectra.core.errors import Quarantine
from spectra.weights.bytes import FileSource, MemorySource
from spectra.weights.header import read_header
from spectra.weights.limits import Limits
from tests.hostile.headers import (
    DATA,
    GOOD,
    HEADERS,
    OTHERS,
    bent,
)
from tests.weights.files import built, entry, file_of


def read(raw, limits=None):
    return read_header(MemorySource(raw), file="f", limits=limits)


def code(raw, limits=None):
    with pytest.raises(Quarantine) as caught:
        read(raw, limits)
    return caught.value.code


def test_a_sound_file_is_read_in_byte_order():
    arrays = {
        "b": np.arange(6, dtype=np.float32).reshape(2, 3),
        "a": np.arange(4, dtype=np.float64),
        "empty": np.zeros((0, 3), np.float16),
    }
    raw = save(arrays, metadata={"format": "pt"})
    header = read(raw)
    assert header.metadata == {"format": "pt"}
    assert {ref.name for ref in header.tensors} == set(arrays)
    starts = [ref.start for ref in header.tensors]
    assert starts == sorted(starts)
    for ref in header.tensors:
        array = arrays[ref.name]
        assert raw[ref.start : ref.stop] == array.tobytes()
        assert ref.shape == array.shape


class Counted(MemorySource):
    """A source that knows the last byte that was asked for."""

    furthest = 0

    def read_into(self, start, buffer, /):
        self.furthest = max(self.furthest, start + buffer.nbytes)
        super().read_into(start, buffer)


def test_only_prefix_and_header_are_read():
    raw = file_of({"w": ("F32", (64, 64))})
    source = Counted(raw)
    read_header(source, file="f")
    assert source.furthest == len(raw) - 64 * 64 * 4


@pytest.mark.parametrize(("raw", "expected"), HEADERS.values(), ids=HEADERS)
def test_a_broken_file_has_one_code(raw, expected):
    assert code(raw) == expected


def test_the_first_check_wins():
    wrong = {
        "a": entry("F31", [3], 0, 1),
        "b": entry("F32", [-1], 0, 1),
        "\n": entry("F32", [1], 9, 1),
    }
    assert code(built(wrong)) == "ST_NAME"
    del wrong["\n"]
    assert code(built(wrong)) == "ST_DTYPE"
    del wrong["a"]
    assert code(built(wrong)) == "ST_SHAPE"


def test_a2_a_header_over_the_cap_is_not_read(tmp_path):
    path = tmp_path / "sparse.safetensors"
    with path.open("wb") as file:
        file.write(struct.pack("<Q", 30_000_000))
        file.truncate(40_000_000)
    with FileSource(path) as source, pytest.raises(Quarantine) as caught:
        read_header(source, file=str(path))
    assert caught.value.code == "ST_HEADER_TOO_BIG"
    assert "header_bytes" in caught.value.detail


def test_the_cap_on_the_header_is_an_option():
    raw = file_of({"w": ("F32", (2, 2))})
    size = struct.unpack("<Q", raw[:8])[0]
    assert read(raw, Limits(header_bytes=size)).tensors
    tight = Limits(header_bytes=size - 1)
    assert code(raw, tight) == "ST_HEADER_TOO_BIG"


def test_a12_a_flood_of_empty_tensors():
    flood = {f"t{n}": entry("F32", [0], 0, 0) for n in range(2_001)}
    assert code(built(flood), Limits(tensors=2_000)) == "ST_TENSOR_COUNT"
    assert len(read(built(flood), Limits(tensors=2_001)).tensors) == 2_001


def test_a8_an_empty_axis_first_is_sound():
    header = read(built({"w": entry("F32", [0, 2**40, 2**20], 0, 0)}))
    assert header.tensors[0].size == 0


def test_a9_an_unknown_field_is_passed_over():
    assert read(bent(more={"x": [1, 2.5, None]})).tensors[0].name == "w"


def test_a11_odd_names_stay_as_they_are():
    names = ["a/b", "..", "a/./b", "<b>", "=cmd", "\u202e", "e\u0301", "é"]
    file = built(
        {name: entry("U8", [1], n, n + 1) for n, name in enumerate(names)},
        bytes(len(names)),
    )
    assert [ref.name for ref in read(file).tensors] == names


def test_a16_a_sound_file_may_look_like_a_pickle():
    # A header of 640 bytes makes the file begin with 80 02, as pickles do.
    header = json.dumps({"w": GOOD}).ljust(640)
    raw = built(header, DATA)
    assert raw.startswith(b"\x80\x02")
    assert read(raw).tensors[0].name == "w"


@pytest.mark.parametrize(("kind", "raw"), OTHERS.items(), ids=OTHERS)
def test_a17_what_else_it_may_be(kind, raw):
    with pytest.raises(Quarantine, match=kind) as caught:
        read(raw)
    assert caught.value.code == "NOT_SAFETENSORS"
