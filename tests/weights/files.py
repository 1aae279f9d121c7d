"""Safetensors files built byte by byte, sound and broken."""

import json
import struct

__all__ = ["built", "entry", "file_of", "member", "zeros_file"]


def built(header, data=b"", *, length=None):
    """Return a file with this header (text, bytes or object) and data."""
    if not isinstance(header, bytes | str):
        header = json.dumps(header)
    raw = header.encode() if isinstance(header, str) else header
    prefix = len(raw) if length is None else length
    return struct.pack("<Q", prefix) + raw + data


def entry(dtype, shape, start, stop, **more):
    """Return one tensor's entry."""
    return {
        "dtype": dtype,
        "shape": shape,
        "data_offsets": [start, stop],
        **more,
    }


def file_of(tensors, metadata=None):
    """Return a file of {name: (dtype, shape)} filled with zero bytes."""
    header, end = ({"__metadata__": metadata} if metadata else {}), 0
    widths = {"F64": 8, "I64": 8, "F32": 4, "BF16": 2, "F16": 2}
    for name, (dtype, shape) in tensors.items():
        size = widths.get(dtype, 1)
        for side in shape:
            size *= side
        header[name] = entry(dtype, list(shape), end, end + size)
        end += size
    return built(header, bytes(end))


def zeros_file(path, tensors, metadata=None):
    """Write `file_of`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(file_of(tensors, metadata))
    return path


def member(path, tensors=None, **config):
    """Write a checkpoint of zeros, with one layer where none is named."""
    tensors = tensors or {"w": ("F32", (3, 4))}
    zeros_file(path / "model.safetensors", tensors)
    (path / "config.json").write_text(json.dumps(config))
    return path
