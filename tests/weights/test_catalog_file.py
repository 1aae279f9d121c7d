import json
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
from spectra.core.tensors import FileRef, TensorRef
from spectra.weights.catalog_file import (
    SCHEMA,
    catalog_json,
    is_catalog,
    read_catalog,
    write_catalog,
)
from spectra.weights.scan import scan

text = st.text(st.characters(), max_size=6)
maybe = st.none() | text
counts = st.integers(0, 2**60)
shapes = st.tuples(counts, counts)


@st.composite
def checkpoints(draw):
    files = draw(
        st.lists(
            st.builds(FileRef, text, counts, counts, text),
            min_size=1,
            max_size=2,
            unique_by=lambda file: file.path,
        )
    )
    refs = st.builds(
        TensorRef,
        st.sampled_from([file.path for file in files]),
        text,
        counts,
        counts,
        text,
        st.lists(counts, max_size=3).map(tuple),
    )
    dense = st.tuples(
        st.builds(LayerKey, text, shapes, st.just("dense")),
        st.builds(DenseSource, refs, st.booleans()),
    )
    low = st.tuples(
        st.builds(LayerKey, text, shapes, st.just("low-rank")),
        st.builds(
            LowRankSource,
            refs,
            refs,
            st.floats(allow_nan=False, allow_infinity=False),
        ),
    )
    return Checkpoint(
        draw(text),
        draw(maybe),
        draw(text),
        tuple(files),
        tuple(draw(st.lists(dense | low, max_size=3))),
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
        lambda text: text + "é",
    ],
)
def test_what_is_no_whole_catalogue(written, change):
    written.write_text(change(written.read_text()), "utf-8")
    with pytest.raises(IntegrityError):
        read_catalog(written)


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
