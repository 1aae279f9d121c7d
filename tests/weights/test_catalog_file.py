import json
import math
import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spectra.core.catalog import (
    Architecture,
    Catalog,
    Checkpoint,
    DenseSource,
    LayerKey,
    LowRankSource,
    Quarantined,
    Skipped,
)
from spectra.core.errors import IntegrityError, StorageError
from spectra.core.tensors import DTYPE_BITS, FileRef, TensorRef
from spectra.weights.catalog_file import (
    SCHEMA,
    catalog_from,
    catalog_json,
    catalog_text,
    is_catalog,
    read_catalog,
    write_catalog,
)
from spectra.weights.scan import scan

text = st.text(st.characters(), max_size=6)
maybe = st.none() | text
digests = st.sampled_from(["0f" * 32, "12" * 32])
paths = st.text(st.characters(exclude_characters="\0", codec="utf-8"))
counts = st.integers(0, 2**60)
shapes = st.tuples(counts, counts)


@st.composite
def checkpoints(draw):
    files = draw(
        st.lists(
            st.builds(
                FileRef,
                paths,
                st.integers(2**62, 2**63),
                counts,
                digests,
                maybe,
            ),
            min_size=1,
            max_size=2,
            unique_by=lambda file: file.path,
        )
    )

    def tensor(*shape):
        dtype = draw(st.sampled_from(["F64", "BF16", "F8_E4M3"]))
        nbytes = DTYPE_BITS[dtype] // 8 * math.prod(shape)
        start = draw(counts)
        file = draw(st.sampled_from(files)).path
        return TensorRef(file, draw(text), start, start + nbytes, dtype, shape)

    def layer():
        out, inner, rank = (draw(st.integers(0, 2**20)) for _ in range(3))
        kind = draw(st.sampled_from(["dense", "low-rank"]))
        key = LayerKey(draw(text), (out, inner), kind)
        if kind == "dense":
            shape = draw(st.sampled_from([(out, inner), (inner, 1, out)]))
            return key, DenseSource(tensor(*shape), draw(st.booleans()))
        scale = draw(st.floats(0, exclude_min=True, allow_infinity=False))
        return key, LowRankSource(
            tensor(rank, inner), tensor(out, rank), scale
        )

    return Checkpoint(
        draw(text),
        draw(maybe),
        draw(paths),
        tuple(files),
        tuple(layer() for _ in range(draw(st.integers(0, 3)))),
        tuple(draw(st.lists(st.builds(Skipped, text, text), max_size=2))),
        draw(text),
        draw(maybe),
        draw(maybe),
        draw(maybe),
    )


keys = st.builds(
    LayerKey, text, shapes, st.sampled_from(["dense", "low-rank"])
)
catalogs = st.builds(
    Catalog,
    st.lists(checkpoints(), max_size=2).map(tuple),
    st.lists(
        st.builds(
            Architecture,
            text,
            st.lists(keys, max_size=2).map(tuple),
            st.lists(text, max_size=2).map(tuple),
        ),
        max_size=2,
    ).map(tuple),
    st.lists(st.builds(Quarantined, text, maybe, text, text), max_size=2).map(
        tuple
    ),
    st.lists(text, max_size=2).map(tuple),
)


@given(catalogs)
def test_a_catalogue_survives_the_file(tmp_path_factory, catalog):
    path = tmp_path_factory.getbasetemp() / "round.jsonl"
    write_catalog(catalog, path)
    assert read_catalog(path) == catalog
    for line in path.read_text("ascii").splitlines():
        assert isinstance(json.loads(line), dict)


def test_a_real_catalogue_survives_the_file(populations, tmp_path):
    catalog = scan([populations / "sceptr", populations / "minilm-lora"])
    path = tmp_path / "catalog.jsonl"
    write_catalog(catalog, path)
    assert read_catalog(path) == catalog
    first, *records = map(json.loads, path.read_text().splitlines())
    assert first["schema"] == SCHEMA == "spectra-catalog/1"
    assert [record["record"] for record in records] == ["model"] * 24


def test_scan_s_document(populations, tmp_path):
    (tmp_path / "b.bin").write_bytes(b"x")
    catalog = scan([populations / "chgnet", tmp_path])
    found = json.loads(json.dumps(catalog_json(catalog), allow_nan=False))
    assert set(found) == {"models", "architectures", "quarantine"}
    for model, record in zip(catalog.models, found["models"], strict=True):
        assert set(record) == {
            "id",
            "revision",
            "path",
            "architecture",
            "n_layers",
            "bytes",
            "license",
            "base_claim",
            "duplicate_of",
            "coverage",
        }
        assert record["bytes"] == sum(f.nbytes for f in model.files) > 0
        assert record["n_layers"] == len(model.layers)
    (entry,) = found["quarantine"]
    assert set(entry) == {"id", "layer", "code", "detail"}
    assert entry["code"] == "PICKLE_REFUSED"
    for record in found["architectures"]:
        assert record["n_layers"] == len(record["layers"])
        assert record["n_models"] == len(record["members"])


@pytest.fixture
def written(tmp_path):
    path = tmp_path / "catalog.jsonl"
    broken = (Quarantined("a", None, "ST_PREFIX", "x"),) * 2
    write_catalog(Catalog((), (), broken, ()), path)
    return path


@pytest.mark.parametrize(
    "change",
    [
        lambda text: "",
        lambda text: "[]\n",
        lambda text: "{}\n",
        lambda text: text[:-20],
        lambda text: "".join(text.splitlines(keepends=True)[:-1]),
        lambda text: text.replace("catalog/1", "catalog/2"),
        lambda text: text.replace('"code"', '"kode"'),
        lambda text: text.replace('"a"', "null"),
        lambda text: text + "é",
        lambda text: text + "[" * 100_000,
    ],
)
def test_what_is_no_whole_catalogue(written, change):
    written.write_text(change(written.read_text()), "utf-8")
    with pytest.raises(IntegrityError) as caught:
        read_catalog(written)
    assert len(str(caught.value)) < 1000


@pytest.fixture
def described(tmp_path):
    """A catalogue of one layer, as text."""
    weight = TensorRef("/f", "w", 80, 128, "F32", (3, 4))
    layer = LayerKey("w", (3, 4), "dense"), DenseSource(weight)
    file = FileRef("/f", 128, 5, "0f" * 32)
    model = Checkpoint(
        "m", None, "/f", (file,), (layer,), (Skipped("b", "S"),)
    )
    return catalog_text(Catalog((model,), ()))


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('"id": "m"', '"id": 5'),
        ('"id": "m"', '"id": ["m"]'),
        ('"license": null', '"license": {}'),
        ('"header_sha256": "0f0', '"header_sha256": "\\ud800f'),
        ('"mtime_ns": 5', '"mtime_ns": 5.0'),
        ('"nbytes": 128', '"nbytes": -1'),
        ('"nbytes": 128', '"nbytes": 127'),
        ('"path": "/f"', '"path": null'),
        ('"path": "/f"', '"path": "/f\\u0000"'),
        ('"path": "/f"', '"path": "/\\ud800"'),
        ('"kind": "dense"', '"kind": "sparse"'),
        ('"shape": [3, 4]', '"shape": [3, 5]'),
        ('"shape": [3, 4]', '"shape": [3.0, 4]'),
        ("80, 128", "79, 128"),
        ("80, 128", "-1, 47"),
        ("[0, ", "[-1, "),
        ("[0, ", "[1, "),
        ('"F32"', '"F16"'),
        ('"F32"', '"F31"'),
        ('"transposed": false', '"transposed": 0'),
        ('[["b", "S"]]', '[["b", 5]]'),
        ('[["b", "S"]]', '[["b"]]'),
    ],
)
def test_a_field_that_cannot_be_is_found(described, old, new):
    """Found by the fuzzer: each ended in an error that nobody planned for."""
    assert catalog_from(described, path="f").models
    changed = described.replace(old, new)
    assert changed != described
    with pytest.raises(IntegrityError):
        catalog_from(changed, path="f")


@pytest.mark.parametrize("scale", ["NaN", "Infinity", "0.0", "-1.0", "1"])
def test_a_scale_that_cannot_be_is_found(scale):
    A = TensorRef("/f", "A", 0, 8, "F32", (1, 2))
    B = TensorRef("/f", "B", 8, 16, "F32", (2, 1))
    layer = LayerKey("w", (2, 2), "low-rank"), LowRankSource(A, B, 0.5)
    model = Checkpoint(
        "m", None, "/f", (FileRef("/f", 16, 5, "0f" * 32),), (layer,)
    )
    text = catalog_text(Catalog((model,), ()))
    assert catalog_from(text, path="f").models == (model,)
    with pytest.raises(IntegrityError):
        catalog_from(text.replace("0.5", scale), path="f")


def test_a_failed_write_leaves_the_old_file(written, monkeypatch):
    before = written.read_bytes()

    def full(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(StorageError, match="No space left"):
        write_catalog(Catalog((), ()), written)
    assert written.read_bytes() == before
    assert list(written.parent.iterdir()) == [written]


def test_no_folder_to_write_to(tmp_path):
    with pytest.raises(StorageError):
        write_catalog(Catalog((), ()), tmp_path / "absent" / "c.jsonl")


def test_the_file_has_ordinary_rights(written):
    plain = written.with_name("plain")
    plain.touch()
    assert written.stat().st_mode == plain.stat().st_mode


def test_what_counts_as_a_catalogue(written, tmp_path):
    assert is_catalog(str(written))
    assert not is_catalog(str(tmp_path / "absent.jsonl"))
    assert not is_catalog(str(tmp_path))
