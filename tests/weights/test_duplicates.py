"""Checkpoints that hold the same tensors, however they were written."""

import json

import ml_dtypes
import numpy as np
import pytest
from safetensors.numpy import save, save_file

import spectra
from spectra.statistics.kinship.relations import relate
from spectra.weights import duplicates as module
from spectra.weights.scan import scan
from tests.checkpoints import write_adapter
from tests.weights.files import built, entry


def tensors(seed=0):
    rng = np.random.default_rng(seed)
    found = {
        f"layers.{i}.weight": rng.standard_normal((30, 40)) for i in range(4)
    }
    found["norm.bias"] = rng.standard_normal(40)
    return {name: values.astype(np.float32) for name, values in found.items()}


def in_order(values, names, metadata=None):
    """Return a file whose tensors lie in this order."""
    header, data = ({"__metadata__": metadata} if metadata else {}), b""
    for name in names:
        raw = values[name].tobytes()
        shape = list(values[name].shape)
        header[name] = entry("F32", shape, len(data), len(data) + len(raw))
        data += raw
    return built(header, data)


def write(folder, content):
    folder.mkdir(parents=True)
    (folder / "model.safetensors").write_bytes(content)


def sharded(folder, values, parts):
    """Write the tensors into so many files, the last ones first."""
    folder.mkdir(parents=True)
    names, owners = sorted(values, reverse=True), {}
    for n in range(parts):
        file = f"model-{n + 1:05}-of-{parts:05}.safetensors"
        mine = {name: values[name] for name in names[n::parts]}
        save_file(mine, folder / file)
        owners |= dict.fromkeys(mine, file)
    (folder / "model.safetensors.index.json").write_text(
        json.dumps({"weight_map": owners})
    )


def twins(folder):
    return {m.id: m.duplicate_of for m in scan([folder]).models}


@pytest.fixture
def written(tmp_path):
    """One checkpoint in four forms, and one that is another."""
    values = tensors()
    write(tmp_path / "a", in_order(values, sorted(values)))
    write(tmp_path / "b", in_order(values, sorted(values, reverse=True)))
    sharded(tmp_path / "c", values, 2)
    sharded(tmp_path / "d", values, 3)
    described = in_order(values, sorted(values), {"format": "pt"})
    write(tmp_path / "e", described)
    write(tmp_path / "f", save(tensors(1)))
    return tmp_path


def test_order_files_and_descriptions_make_no_difference(written):
    firsts = dict.fromkeys("bcde", "a") | dict.fromkeys("af")
    assert twins(written) == firsts


def test_the_fit_sees_the_same_copies(written):
    run = spectra.fit(spectra.scan(written))
    ids = [model.id for model in run.models]
    for layer in run.value.layers:
        assert [ids[i] for i in layer.members] == ["a", "f"]
        kept = {ids[copy]: ids[of] for copy, of in layer.duplicates}
        assert kept == dict.fromkeys("bcde", "a")
    relations = relate(run.value.layers, len(ids), ())
    assert relations.twins == dict.fromkeys(range(1, 5), 0)


@pytest.mark.parametrize(
    "change",
    [
        lambda v: v["norm.bias"].__setitem__(7, 0),
        lambda v: v["layers.3.weight"].__setitem__((29, 39), 0),
        lambda v: v["layers.0.weight"].__setitem__((0, 0), 0),
        lambda v: v.__setitem__("other.bias", v.pop("norm.bias")),
        lambda v: v.__setitem__("other.weight", v.pop("layers.1.weight")),
        lambda v: v.__setitem__("more.bias", v["norm.bias"]),
        lambda v: v.__setitem__(
            "layers.2.weight", v["layers.2.weight"].reshape(40, 30)
        ),
        lambda v: v.__setitem__("norm.bias", v["norm.bias"].view(np.int32)),
        lambda v: v.__setitem__("norm.bias", v["norm.bias"].reshape(8, 5)),
    ],
)
def test_what_differs_in_anything_is_no_copy(tmp_path, change):
    write(tmp_path / "a", save(tensors()))
    other = tensors()
    change(other)
    write(tmp_path / "b", save(other))
    sharded(tmp_path / "c", other, 2)
    assert twins(tmp_path) == {"a": None, "b": None, "c": "b"}


def test_the_same_numbers_in_fewer_bits_are_no_copy(tmp_path):
    values = {
        name: array.astype(ml_dtypes.bfloat16)
        for name, array in tensors().items()
    }
    write(tmp_path / "a", save(values))
    wide = {name: array.astype("f4") for name, array in values.items()}
    write(tmp_path / "b", save(wide))
    assert twins(tmp_path) == {"a": None, "b": None}


def test_adapters_of_another_scale_are_no_copies(tmp_path):
    rng = np.random.default_rng(0)
    layers = {"q": (rng.standard_normal((2, 9)), rng.standard_normal((8, 2)))}
    for name, alpha in (("a", 8), ("b", 16), ("c", 8)):
        write_adapter(tmp_path / name, layers, alpha)
    assert twins(tmp_path) == {"a": None, "b": None, "c": "a"}


def test_what_is_no_copy_is_hardly_read(tmp_path, monkeypatch):
    """Only where a few samples agree is a checkpoint read whole."""
    read = []
    plain = module.read_bytes

    def counted(source, start, nbytes):
        read.append(nbytes)
        return plain(source, start, nbytes)

    monkeypatch.setattr(module, "read_bytes", counted)
    for i in range(5):
        big = np.random.default_rng(i).standard_normal((600, 700))
        write(tmp_path / f"m{i}", save({"w": big.astype("f4")}))
    assert set(twins(tmp_path).values()) == {None}
    assert sum(read) == 5 * 4096


def test_a_file_that_changed_is_no_copy(written, monkeypatch):
    """Whoever reads it says so; looking for copies does not fail."""
    catalog = scan([written])
    (written / "b" / "model.safetensors").write_bytes(save(tensors(2)))
    found = module.duplicates(catalog.models)
    assert found == dict.fromkeys("cde", "a")
