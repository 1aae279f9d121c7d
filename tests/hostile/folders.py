"""Folders that lead away, lie about their shards, or hold other things."""

import json
import os
import pickle
import socket
import stat
import struct
import zipfile

from tests.hostile.case import Case, refused, sound, weights
from tests.hostile.headers import HEADERS, OTHERS
from tests.weights.files import built, entry, file_of

__all__ = ["folders"]


class _Canary:
    """Whoever unpickles it makes a file."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


def folders(canary):
    """Return the cases; whoever runs anything of them makes `canary`."""
    return {
        **_files(),
        **_formats(canary),
        **_code(canary),
        **_indexes(),
        **_shards(),
        **_links(),
        **_papers(canary),
    }


def _held(raw, name="model.safetensors"):
    return lambda folder: (folder / name).write_bytes(raw)


def _sparse(prefix, nbytes, name="model.safetensors"):
    """Return what writes a file that is long and takes no room."""

    def write(folder):
        with (folder / name).open("wb") as file:
            file.write(prefix)
            file.truncate(nbytes)

    return write


def _large(shape, dtype="F32"):
    nbytes = 4 * shape[0] * shape[1]
    prefix = built({"w": entry(dtype, list(shape), 0, nbytes)})
    return _sparse(prefix, len(prefix) + nbytes)


def _files():
    flood = {f"t{n}": entry("F32", [0], 0, 0) for n in range(250_001)}
    return {
        **{
            name: refused(_held(raw), code)
            for name, (raw, code) in HEADERS.items()
        },
        **{
            f"A17-{name}": refused(_held(raw), "NOT_SAFETENSORS")
            for name, raw in OTHERS.items()
        },
        "A2-long-header": refused(
            _sparse(struct.pack("<Q", 30_000_000), 40_000_000),
            "ST_HEADER_TOO_BIG",
        ),
        "A12-flood": refused(_held(built(flood)), "ST_TENSOR_COUNT"),
        "A16-looks-like-a-pickle": Case(
            _held(
                built(
                    json.dumps({"w": entry("F32", [6, 5], 0, 120)}).ljust(640),
                    bytes(range(60, 64)) * 30,
                )
            ),
            layers=1,
        ),
        "A28-64-GiB": Case(
            _large((8, 2**31)), frozenset({("w", "LIMIT_TENSOR_BYTES")})
        ),
        "A28-65536": Case(
            _large((2**16, 2**16)), frozenset({("w", "LIMIT_DIM")})
        ),
    }


def _formats(canary):
    def archive(folder):
        with zipfile.ZipFile(folder / "model.pt", "w") as file:
            file.writestr("model/data.pkl", pickle.dumps(_Canary(canary)))

    def bomb(folder):
        deflated = zipfile.ZIP_DEFLATED
        with zipfile.ZipFile(folder / "w.npz", "w", deflated) as file:
            file.writestr("w.npy", bytes(2**24))

    code = pickle.dumps(_Canary(canary))
    return {
        **{
            f"A18-{name}": refused(_held(code, name), "PICKLE_REFUSED")
            for name in (
                "pytorch_model.bin",
                "adapter_model.bin",
                "weights.pth",
                "last.ckpt",
                "model.pkl",
                "model.joblib",
            )
        },
        "A18-archive": refused(archive, "PICKLE_REFUSED"),
        "A18-cut": refused(_held(code[:-3], "model.pt"), "PICKLE_REFUSED"),
        "A18-bomb": refused(bomb, "UNSUPPORTED_FORMAT"),
        "A18-pickle-by-that-name": refused(_held(code), "NOT_SAFETENSORS"),
        **{
            f"A13-{name}": refused(_held(b"x", name), "UNSUPPORTED_FORMAT")
            for name in ("model.gguf", "tf_model.h5", "model.onnx")
        },
        "A13-no-tensor": refused(_held(file_of({})), "EMPTY_MODEL"),
        "A13-metadata-alone": refused(
            _held(file_of({}, {"format": "pt"})), "EMPTY_MODEL"
        ),
        "A13-no-weights": refused(_held(b"{}", "config.json"), "NO_WEIGHTS"),
        "A14-vector": refused(
            _held(file_of({"w": ("F32", (6,))})), "NO_LAYERS"
        ),
        "A14-scalar": refused(_held(file_of({"w": ("F32", ())})), "NO_LAYERS"),
        "A14-empty": refused(
            _held(file_of({"w": ("F32", (0, 5))})), "NO_LAYERS"
        ),
        "A14-100-axes": refused(
            _held(file_of({"w": ("U8", (1,) * 100)})), "NO_LAYERS"
        ),
        "A15-codes": refused(
            _held(file_of({"w.weight": ("U8", (6, 5))})), "QUANTISED"
        ),
        "A15-4-bit": refused(
            _held(built({"w.weight": entry("F4", [6, 4], 0, 12)}, bytes(12))),
            "QUANTISED",
        ),
        "A15-8-bit-floats": Case(
            _held(built({"w": entry("F8_E4M3", [6, 5], 0, 30)}, bytes(30))),
            layers=1,
        ),
    }


def _code(canary):
    body = f"import os; os.mkdir({str(canary)!r})"

    def code(folder):
        for name in ("modeling.py", "setup.py", "__init__.py", "conftest.py"):
            (folder / name).write_text(body)
        auto = {"auto_map": {"AutoModel": "modeling.Model"}}
        (folder / "config.json").write_text(json.dumps(auto))

    return {"A19-code-beside": sound(code)}


_LEADING_AWAY = {
    "parent": "../A19-code-beside/model.safetensors",
    "absolute": "/etc/passwd",
    "through": "a/../s1.safetensors",
    "here": "./s1.safetensors",
    "empty-step": "a//s1.safetensors",
    "dots": "..",
    "nothing": "",
    "folder": "a/",
    "url": "https://host/s1.safetensors",
    "drive": "C:s1.safetensors",
    "backslash": "..\\s1.safetensors",
    "escaped-dots": "%2e%2e/s1.safetensors",
    "escaped-slash": "a%2Fs1.safetensors",
    "escaped-backslash": "a%5cs1.safetensors",
    "newline": "s1\n.safetensors",
    "nul": "s1\0.safetensors",
}

_NO_INDEX = {
    "list": "[]",
    "empty-object": "{}",
    "map-is-list": '{"weight_map": []}',
    "shard-is-number": '{"weight_map": {"a": 1}}',
    "twice": '{"weight_map": {"a": "x", "a": "y"}}',
    "nan": '{"weight_map": {"a": NaN}}',
    "deep": "[" * 1000,
    "bom": "\ufeff{}",
    "empty": "",
}


def _indexed(text):
    """Return what writes two sound shards, and an index that says `text`."""

    def write(folder):
        for name, tensor in (("s1", "a"), ("s2", "b")):
            weights(folder / f"{name}.safetensors", tensor)
        (folder / "model.safetensors.index.json").write_text(text)

    return write


def _map(owners):
    return json.dumps({"metadata": {}, "weight_map": owners})


def _indexes():
    second = {"b": "s2.safetensors"}
    many = {f"t{n}": f"s{n}.safetensors" for n in range(2049)}
    return {
        **{
            f"A20-{name}": refused(
                _indexed(_map({"a": shard, **second})), "INDEX_PATH"
            )
            for name, shard in _LEADING_AWAY.items()
        },
        **{
            f"A20-index-{name}": refused(_indexed(text), "INDEX_SCHEMA")
            for name, text in _NO_INDEX.items()
        },
        **{
            f"A20-absent-{n}": Case(
                _indexed(_map({"a": shard, **second})),
                frozenset({(shard, "SHARD_MISSING")}),
                1,
            )
            for n, shard in enumerate(
                ("s3.safetensors", "S1.safetensors", "sub/s1.safetensors")
            )
        },
        "A20-2049-shards": refused(_indexed(_map(many)), "INDEX_LIMIT"),
        "A20-long-index": refused(
            _sparse(b"{}", 2**26 + 1, "model.safetensors.index.json"),
            "INDEX_LIMIT",
        ),
        "A20-sound": Case(
            _indexed(_map({"a": "s1.safetensors", **second})), layers=2
        ),
    }


def _shards():
    def numbered(*held):
        """Return what writes numbered shards with these tensors."""

        def write(folder):
            for n, names in enumerate(held, start=1):
                name = f"model-{n:05}-of-{len(held):05}.safetensors"
                if names:
                    weights(folder / name, *names, config={})

        return write

    def broken(folder):
        _indexed(_map({"a": "s1.safetensors", "b": "s2.safetensors"}))(folder)
        (folder / "s1.safetensors").write_bytes(OTHERS["git-lfs"])

    def both_broken(folder):
        (folder / "config.json").write_text("{}")
        for name in (one, two):
            (folder / name).write_bytes(b"")

    one, two = (f"model-{n:05}-of-00002.safetensors" for n in (1, 2))
    lying = _indexed(_map({"a": "s1.safetensors", "c": "s2.safetensors"}))
    return {
        "A21-numbered": Case(numbered("a", "b"), layers=2),
        "A21-number-missing": Case(
            numbered("a", ""), frozenset({(two, "SHARD_MISSING")}), 1
        ),
        "A21-in-two-shards": Case(
            numbered("a", "ab"), frozenset({(two, "INDEX_MISMATCH")}), 1
        ),
        "A21-broken-shard": Case(
            broken, frozenset({("s1.safetensors", "NOT_SAFETENSORS")}), 1
        ),
        "A21-index-lies": Case(
            lying, frozenset({("s2.safetensors", "INDEX_MISMATCH")}), 1
        ),
        "A21-both-broken": Case(both_broken, frozenset({(None, "ST_PREFIX")})),
    }


def _links():
    def outside(folder):
        weights(folder.parent.parent / "elsewhere" / "model.safetensors")
        (folder / "model.safetensors").symlink_to(
            folder.parent.parent / "elsewhere" / "model.safetensors"
        )

    def outside_folder(folder):
        weights(folder.parent.parent / "elsewhere" / "model.safetensors")
        (folder / "linked").symlink_to(folder.parent.parent / "elsewhere")

    def inside(folder):
        weights(folder / "real.safetensors")
        (folder / "model.safetensors").symlink_to("real.safetensors")

    def hard(folder):
        weights(folder / "model.safetensors")
        (folder / "other").hardlink_to(folder / "model.safetensors")

    def bound(folder):
        with socket.socket(socket.AF_UNIX) as server:
            # A socket's path may have 107 bytes.
            here = os.open(folder, os.O_RDONLY)
            server.bind(f"/proc/self/fd/{here}/model.safetensors")
            os.close(here)

    def at(name):
        return lambda folder: folder / name

    path = at("model.safetensors")
    unreadable = {
        "fifo": lambda folder: os.mkfifo(path(folder)),
        "socket": bound,
        "dangling": lambda folder: path(folder).symlink_to("nowhere"),
        "loop": lambda folder: path(folder).symlink_to("model.safetensors"),
    }
    if os.geteuid() == 0:
        unreadable["device"] = lambda folder: os.mknod(
            path(folder), stat.S_IFCHR | 0o600, os.makedev(1, 5)
        )
    return {
        "A22-outside": refused(outside, "SOURCE_OUTSIDE"),
        "A22-outside-config": sound(
            lambda folder: (folder / "config.json").symlink_to("/etc/passwd"),
            ("config.json", "SOURCE_OUTSIDE"),
        ),
        "A22-to-a-device": refused(
            lambda folder: path(folder).symlink_to("/dev/zero"),
            "SOURCE_OUTSIDE",
        ),
        "A22-outside-folder": Case(
            outside_folder,
            frozenset({(None, "SOURCE_OUTSIDE")}),
            below="linked",
        ),
        **{
            f"A22-{name}": refused(write, "SOURCE_UNREADABLE")
            for name, write in unreadable.items()
        },
        "A22-inside": Case(inside, layers=1),
        "A22-hard": Case(hard, layers=1),
        "A22-loop-of-folders": sound(
            lambda folder: (folder / "again").symlink_to("."),
        ),
    }


def _papers(canary):
    yaml = f"---\nlicense: !!python/object/apply:os.mkdir ['{canary}']\n---\n"
    wrong = {
        "cut": "{",
        "list": "[]",
        "twice": '{"a":1,"a":2}',
        "deep": "[" * 99,
        "long": "{}" + " " * 2**20,
        "nan": '{"a": NaN}',
    }
    return {
        **{
            f"A27-config-{name}": sound(
                lambda folder, text=text: (folder / "config.json").write_text(
                    text
                ),
                ("config.json", "CONFIG_UNREADABLE"),
            )
            for name, text in wrong.items()
        },
        "A27-card-code": sound(
            lambda folder: (folder / "README.md").write_text(yaml)
        ),
        "A27-card-50-MB": sound(_sparse(b"---\n", 50_000_000, "README.md")),
        "A27-card-bytes": sound(_held(bytes(range(256)), "README.md")),
        "A27-card-fifo": sound(
            lambda folder: os.mkfifo(folder / "README.md"),
            ("README.md", "CARD_UNREADABLE"),
        ),
        "A27-config-fifo": sound(
            lambda folder: os.mkfifo(folder / "config.json"),
            ("config.json", "SOURCE_UNREADABLE"),
        ),
    }
