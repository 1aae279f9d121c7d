import gzip
import io
import json
import struct
import zipfile

import numpy as np
import pytest
from safetensors.numpy import save

from spectra.core.errors import Quarantine
from spectra.weights.bytes import FileSource, MemorySource
from spectra.weights.header import read_header
from spectra.weights.limits import Limits
from tests.weights.files import built, entry, file_of

GOOD = entry("F32", [2, 2], 0, 16)
DATA = bytes(16)


def read(raw, limits=None):
    return read_header(MemorySource(raw), file="f", limits=limits)


def code(raw, limits=None):
    with pytest.raises(Quarantine) as caught:
        read(raw, limits)
    return caught.value.code


def bent(**changes):
    return built({"w": {**GOOD, **changes}}, DATA)


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


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        pytest.param(b"", "ST_PREFIX", id="A1-empty"),
        pytest.param(b"1234567", "ST_PREFIX", id="A1-7-bytes"),
        pytest.param(built("", length=0), "ST_HEADER_LEN", id="A1-length-0"),
        pytest.param(
            built("{}", length=3), "ST_HEADER_LEN", id="A1-past-the-end"
        ),
        pytest.param(
            built("{}", length=2**63), "ST_HEADER_TOO_BIG", id="A1-2^63"
        ),
        pytest.param(
            built("{}", length=2**64 - 1), "ST_HEADER_TOO_BIG", id="A1-2^64-1"
        ),
        pytest.param(built(b'{"\xff":1}'), "ST_HEADER_UTF8", id="A3-bytes"),
        pytest.param(
            built("{}".encode("utf-16")), "ST_HEADER_UTF8", id="A3-utf16"
        ),
        pytest.param(
            built("{}".encode("utf-32-le")), "ST_HEADER_JSON", id="A3-utf32"
        ),
        pytest.param(built(b"\xef\xbb\xbf{}"), "ST_HEADER_JSON", id="A3-bom"),
        pytest.param(built('{"w":'), "ST_HEADER_JSON", id="A4-cut"),
        pytest.param(built("[]"), "ST_HEADER_JSON", id="A4-list"),
        pytest.param(built(" {}"), "ST_HEADER_JSON", id="A4-leading-space"),
        pytest.param(built("{}x"), "ST_HEADER_JSON", id="A4-garbage"),
        pytest.param(built("{}\0"), "ST_HEADER_JSON", id="A4-nul"),
        pytest.param(built('{"w":NaN}'), "ST_HEADER_JSON", id="A4-nan"),
        pytest.param(built('{"w":1e400}'), "ST_HEADER_JSON", id="A4-1e400"),
        pytest.param(
            built('{"w":["F32",[2,2],[0,16]]}', DATA),
            "ST_HEADER_TYPE",
            id="A4-entry-as-array",
        ),
        pytest.param(
            bent(data_offsets=[0.0, 16]), "ST_OFFSETS", id="A4-float"
        ),
        pytest.param(
            bent(data_offsets=[False, 16]), "ST_OFFSETS", id="A4-bool"
        ),
        pytest.param(
            built(json.dumps({"w": GOOD}).replace("[0,", "[-0,"), DATA),
            "ST_OFFSETS",
            id="A4-minus-zero",
        ),
        pytest.param(
            built(json.dumps({"w": GOOD}).replace("[0,", "[00,"), DATA),
            "ST_HEADER_JSON",
            id="A4-leading-zero",
        ),
        pytest.param(
            built("[" * 100_000 + "]" * 100_000), "ST_HEADER_DEPTH", id="A5"
        ),
        pytest.param(
            built('{"w":' + "[" * 100_000), "ST_HEADER_DEPTH", id="A5-cut"
        ),
        pytest.param(
            built(
                json.dumps({"w": GOOD}).replace("[2, 2]", f"[{'9' * 20_000}]"),
                DATA,
            ),
            "ST_SHAPE",
            id="A5-20000-digits",
        ),
        pytest.param(
            built('{"w":%s,"w":%s}' % ((json.dumps(GOOD),) * 2), DATA),
            "ST_DUPLICATE_KEY",
            id="A6-tensor",
        ),
        pytest.param(
            built('{"w":{"dtype":"F32",' + json.dumps(GOOD)[1:] + "}"),
            "ST_DUPLICATE_KEY",
            id="A6-field",
        ),
        pytest.param(
            built('{"__metadata__":{},"__metadata__":{}}'),
            "ST_DUPLICATE_KEY",
            id="A6-metadata",
        ),
        pytest.param(
            built({"a": GOOD, "b": entry("F32", [2, 2], 8, 24)}, bytes(24)),
            "ST_OFFSETS",
            id="A7-overlap",
        ),
        pytest.param(
            built({"a": GOOD, "b": GOOD}, DATA), "ST_OFFSETS", id="A7-same"
        ),
        pytest.param(
            built({"a": GOOD, "b": entry("F32", [2, 2], 20, 36)}, bytes(36)),
            "ST_OFFSETS",
            id="A7-hole",
        ),
        pytest.param(
            built({"w": entry("F32", [2, 2], 4, 20)}, bytes(20)),
            "ST_OFFSETS",
            id="A7-hole-at-the-start",
        ),
        pytest.param(
            bent(data_offsets=[-16, 0]), "ST_OFFSETS", id="A7-negative"
        ),
        pytest.param(
            bent(data_offsets=[16, 0]), "ST_OFFSETS", id="A7-reversed"
        ),
        pytest.param(
            bent(data_offsets=[0, 16, 16]), "ST_OFFSETS", id="A7-three"
        ),
        pytest.param(
            built({"w": GOOD}, DATA[:-1]), "ST_TRUNCATED_DATA", id="A7-cut"
        ),
        pytest.param(
            built({"w": GOOD}, DATA + b"PK"), "ST_TRAILING_BYTES", id="A7-more"
        ),
        pytest.param(bent(shape=[2**40, 2**24]), "ST_SHAPE", id="A8-overflow"),
        pytest.param(
            bent(shape=[2**40, 2**24, 0]), "ST_SHAPE", id="A8-in-order"
        ),
        pytest.param(
            bent(shape=[2**32, 2**31, 2, 4]), "ST_SHAPE", id="A8-wraps"
        ),
        pytest.param(bent(shape=[2**30, 2**31]), "ST_SHAPE", id="A8-bits"),
        pytest.param(bent(shape=[-2, -2]), "ST_SHAPE", id="A8-negative-pair"),
        pytest.param(bent(shape=[2, 3]), "ST_SIZE_MISMATCH", id="A8-size"),
        pytest.param(
            built({"w": entry("F4", [3], 0, 1)}, b"0"),
            "ST_SIZE_MISMATCH",
            id="A8-odd-4-bit",
        ),
        pytest.param(bent(dtype="F31"), "ST_DTYPE", id="A9-dtype"),
        pytest.param(bent(dtype=7), "ST_HEADER_TYPE", id="A9-dtype-number"),
        pytest.param(
            built({"w": {"dtype": "F32", "shape": [2, 2]}}),
            "ST_HEADER_TYPE",
            id="A9-missing-field",
        ),
        pytest.param(
            built({"__metadata__": {"a": 1}}), "ST_HEADER_TYPE", id="A9-meta"
        ),
        pytest.param(
            bent(more=float("1e308")).replace(b"1e+308", b"1e+999"),
            "ST_HEADER_JSON",
            id="A9-extra-field-out-of-range",
        ),
        pytest.param(built({"": GOOD}, DATA), "ST_NAME", id="A10-no-name"),
        pytest.param(
            built({"\ud800": GOOD}, DATA), "ST_NAME", id="A10-surrogate"
        ),
        pytest.param(built({"a\0b": GOOD}, DATA), "ST_NAME", id="A10-nul"),
        pytest.param(built({"a\x1bb": GOOD}, DATA), "ST_NAME", id="A10-esc"),
        pytest.param(built({"a\nb": GOOD}, DATA), "ST_NAME", id="A10-newline"),
        pytest.param(built({"a\x85b": GOOD}, DATA), "ST_NAME", id="A10-c1"),
        pytest.param(
            built({"n" * 65_536: GOOD}, DATA), "ST_NAME", id="A10-64KiB"
        ),
    ],
)
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


def zipped():
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("data.pkl", "x" * 100)
    return file.getvalue()


@pytest.mark.parametrize(
    ("raw", "kind"),
    [
        (b"\x80\x02}q\x00." + bytes(20), "pickle"),
        (zipped(), "zip"),
        (gzip.compress(b"weights" * 9, mtime=0), "gzip"),
        (b"<!DOCTYPE html><html>Sign in</html>", "HTML"),
        (b"version https://git-lfs.github.com/spec/v1\noid", "git-lfs"),
        (b"\x89HDF\r\n\x1a\n" + bytes(64), "HDF5"),
        (b"GGUF\x03\x00\x00\x00" + bytes(64), "GGUF"),
    ],
    ids=lambda value: value if isinstance(value, str) else "raw",
)
def test_a17_what_else_it_may_be(raw, kind):
    with pytest.raises(Quarantine, match=kind) as caught:
        read(raw)
    assert caught.value.code == "NOT_SAFETENSORS"
