"""Files that are no safetensors file, each with the code of its fault."""

import gzip
import io
import json
import zipfile

from tests.weights.files import built, entry

__all__ = ["DATA", "GOOD", "HEADERS", "OTHERS", "bent"]

GOOD = entry("F32", [2, 2], 0, 16)
DATA = bytes(16)


def bent(**changes):
    """Return a file of one tensor, with some of its fields changed."""
    return built({"w": {**GOOD, **changes}}, DATA)


HEADERS = {
    "A1-empty": (b"", "ST_PREFIX"),
    "A1-7-bytes": (b"1234567", "ST_PREFIX"),
    "A1-length-0": (built("", length=0), "ST_HEADER_LEN"),
    "A1-past-the-end": (built("{}", length=3), "ST_HEADER_LEN"),
    "A1-2^63": (built("{}", length=2**63), "ST_HEADER_TOO_BIG"),
    "A1-2^64-1": (built("{}", length=2**64 - 1), "ST_HEADER_TOO_BIG"),
    "A3-bytes": (built(b'{"\xff":1}'), "ST_HEADER_UTF8"),
    "A3-utf16": (built("{}".encode("utf-16")), "ST_HEADER_UTF8"),
    "A3-utf32": (built("{}".encode("utf-32-le")), "ST_HEADER_JSON"),
    "A3-bom": (built(b"\xef\xbb\xbf{}"), "ST_HEADER_JSON"),
    "A4-cut": (built('{"w":'), "ST_HEADER_JSON"),
    "A4-list": (built("[]"), "ST_HEADER_JSON"),
    "A4-leading-space": (built(" {}"), "ST_HEADER_JSON"),
    "A4-garbage": (built("{}x"), "ST_HEADER_JSON"),
    "A4-nul": (built("{}\0"), "ST_HEADER_JSON"),
    "A4-nan": (built('{"w":NaN}'), "ST_HEADER_JSON"),
    "A4-1e400": (built('{"w":1e400}'), "ST_HEADER_JSON"),
    "A4-entry-as-array": (
        built('{"w":["F32",[2,2],[0,16]]}', DATA),
        "ST_HEADER_TYPE",
    ),
    "A4-float": (bent(data_offsets=[0.0, 16]), "ST_OFFSETS"),
    "A4-bool": (bent(data_offsets=[False, 16]), "ST_OFFSETS"),
    "A4-minus-zero": (
        built(json.dumps({"w": GOOD}).replace("[0,", "[-0,"), DATA),
        "ST_OFFSETS",
    ),
    "A4-leading-zero": (
        built(json.dumps({"w": GOOD}).replace("[0,", "[00,"), DATA),
        "ST_HEADER_JSON",
    ),
    "A5": (built("[" * 100_000 + "]" * 100_000), "ST_HEADER_DEPTH"),
    "A5-cut": (built('{"w":' + "[" * 100_000), "ST_HEADER_DEPTH"),
    "A5-20000-digits": (
        built(
            json.dumps({"w": GOOD}).replace("[2, 2]", f"[{'9' * 20_000}]"),
            DATA,
        ),
        "ST_SHAPE",
    ),
    "A6-tensor": (
        built('{"w":%s,"w":%s}' % ((json.dumps(GOOD),) * 2), DATA),
        "ST_DUPLICATE_KEY",
    ),
    "A6-field": (
        built('{"w":{"dtype":"F32",' + json.dumps(GOOD)[1:] + "}"),
        "ST_DUPLICATE_KEY",
    ),
    "A6-metadata": (
        built('{"__metadata__":{},"__metadata__":{}}'),
        "ST_DUPLICATE_KEY",
    ),
    "A7-overlap": (
        built({"a": GOOD, "b": entry("F32", [2, 2], 8, 24)}, bytes(24)),
        "ST_OFFSETS",
    ),
    "A7-same": (built({"a": GOOD, "b": GOOD}, DATA), "ST_OFFSETS"),
    "A7-hole": (
        built({"a": GOOD, "b": entry("F32", [2, 2], 20, 36)}, bytes(36)),
        "ST_OFFSETS",
    ),
    "A7-hole-at-the-start": (
        built({"w": entry("F32", [2, 2], 4, 20)}, bytes(20)),
        "ST_OFFSETS",
    ),
    "A7-negative": (bent(data_offsets=[-16, 0]), "ST_OFFSETS"),
    "A7-reversed": (bent(data_offsets=[16, 0]), "ST_OFFSETS"),
    "A7-three": (bent(data_offsets=[0, 16, 16]), "ST_OFFSETS"),
    "A7-cut": (built({"w": GOOD}, DATA[:-1]), "ST_TRUNCATED_DATA"),
    "A7-more": (built({"w": GOOD}, DATA + b"PK"), "ST_TRAILING_BYTES"),
    "A8-overflow": (bent(shape=[2**40, 2**24]), "ST_SHAPE"),
    "A8-in-order": (bent(shape=[2**40, 2**24, 0]), "ST_SHAPE"),
    "A8-wraps": (bent(shape=[2**32, 2**31, 2, 4]), "ST_SHAPE"),
    "A8-bits": (bent(shape=[2**30, 2**31]), "ST_SHAPE"),
    "A8-negative-pair": (bent(shape=[-2, -2]), "ST_SHAPE"),
    "A8-size": (bent(shape=[2, 3]), "ST_SIZE_MISMATCH"),
    "A8-odd-4-bit": (
        built({"w": entry("F4", [3], 0, 1)}, b"0"),
        "ST_SIZE_MISMATCH",
    ),
    "A9-dtype": (bent(dtype="F31"), "ST_DTYPE"),
    "A9-dtype-number": (bent(dtype=7), "ST_HEADER_TYPE"),
    "A9-missing-field": (
        built({"w": {"dtype": "F32", "shape": [2, 2]}}),
        "ST_HEADER_TYPE",
    ),
    "A9-meta": (built({"__metadata__": {"a": 1}}), "ST_HEADER_TYPE"),
    "A9-extra-field-out-of-range": (
        bent(more=float("1e308")).replace(b"1e+308", b"1e+999"),
        "ST_HEADER_JSON",
    ),
    "A10-no-name": (built({"": GOOD}, DATA), "ST_NAME"),
    "A10-surrogate": (built({"\ud800": GOOD}, DATA), "ST_NAME"),
    "A10-nul": (built({"a\0b": GOOD}, DATA), "ST_NAME"),
    "A10-esc": (built({"a\x1bb": GOOD}, DATA), "ST_NAME"),
    "A10-newline": (built({"a\nb": GOOD}, DATA), "ST_NAME"),
    "A10-c1": (built({"a\x85b": GOOD}, DATA), "ST_NAME"),
    "A10-64KiB": (built({"n" * 65_536: GOOD}, DATA), "ST_NAME"),
}


def _zipped():
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("data.pkl", "x" * 100)
    return file.getvalue()


OTHERS = {
    "pickle": b"\x80\x02}q\x00." + bytes(20),
    "zip": _zipped(),
    "gzip": gzip.compress(b"weights" * 9, mtime=0),
    "HTML": b"<!DOCTYPE html><html>Sign in</html>",
    "git-lfs": b"version https://git-lfs.github.com/spec/v1\noid",
    "HDF5": b"\x89HDF\r\n\x1a\n" + bytes(64),
    "GGUF": b"GGUF\x03\x00\x00\x00" + bytes(64),
}
"""What lies on hubs under the name of a safetensors file (A17)."""
