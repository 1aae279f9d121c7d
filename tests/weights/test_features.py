"""Files of features: what is read, and what is refused by name."""

import io
import zipfile

import h5py
import ml_dtypes
import numpy as np
import pytest
from numpy.testing import assert_array_equal
from safetensors.numpy import save_file

from spectra.core.errors import UsageError
from spectra.weights.features import arrays
from spectra.weights.features.files import FORMATS, read_features

RNG = np.random.default_rng(0)
TWO = RNG.standard_normal((7, 5))
THREE = RNG.standard_normal((7, 3, 4))


def write(path, tensors):
    """Write arrays by name; a .npy holds one."""
    if path.suffix == ".npy":
        (only,) = tensors.values()
        np.save(path, only)
    elif path.suffix == ".npz":
        np.savez(path, **tensors)
    elif path.suffix == ".safetensors":
        save_file(
            {name: np.ascontiguousarray(x) for name, x in tensors.items()},
            path,
        )
    else:
        with h5py.File(path, "w") as file:
            for name, x in tensors.items():
                file[name] = x
    return str(path)


def refusal(path):
    """Return the one line that names the file."""
    with pytest.raises(UsageError) as caught:
        [layer.read() for layer in read_features(str(path))]
    assert caught.value.code == "E_FEATURES"
    line = str(caught.value)
    assert str(path) in line
    assert "\n" not in line
    return line


several = pytest.mark.parametrize(
    "ending", [ending for ending in FORMATS if ending != ".npy"]
)


@pytest.mark.parametrize("ending", FORMATS)
@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_rows_are_read_as_they_are(tmp_path, ending, dtype, monkeypatch):
    monkeypatch.setattr(arrays, "_BLOCK", 90)  # two or three rows at once
    x = TWO.astype(dtype)
    (layer,) = read_features(write(tmp_path / f"x{ending}", {"x": x}))
    assert (layer.n_items, layer.width) == (7, 5)
    found = layer.read()
    assert found.dtype == (np.float64 if dtype == np.float64 else np.float32)
    assert_array_equal(found, x)


@pytest.mark.parametrize("ending", FORMATS)
def test_layers_of_one_array(tmp_path, ending, monkeypatch):
    monkeypatch.setattr(arrays, "_BLOCK", 200)
    path = write(tmp_path / f"x{ending}", {"h": THREE})
    layers = read_features(path)
    stem = "{}" if ending == ".npy" else "h[{}]"
    assert [layer.name for layer in layers] == [
        stem.format(i) for i in range(3)
    ]
    for i, layer in enumerate(layers):
        assert_array_equal(layer.read(), THREE[:, i])


@several
def test_layers_in_natural_order(tmp_path, ending):
    tensors = {f"l{i}": TWO + i for i in (10, 2, 1)}
    layers = read_features(write(tmp_path / f"x{ending}", tensors))
    assert [layer.name for layer in layers] == ["l1", "l2", "l10"]
    assert_array_equal(layers[2].read(), TWO + 10)


def test_datasets_in_groups(tmp_path):
    path = write(tmp_path / "x.h5", {"model/1": TWO, "model/2": TWO})
    assert [x.name for x in read_features(path)] == ["model/1", "model/2"]


@pytest.mark.parametrize(
    "how",
    [
        {"compression": "gzip"},
        {"chunks": (2, 2)},
        {"compression": "lzf", "shuffle": True},
    ],
)
def test_compressed_datasets(tmp_path, how):
    with h5py.File(tmp_path / "x.h5", "w") as file:
        file.create_dataset("x", data=TWO, **how)
    (layer,) = read_features(str(tmp_path / "x.h5"))
    assert_array_equal(layer.read(), TWO)


def test_compressed_archives(tmp_path):
    np.savez_compressed(tmp_path / "x.npz", x=TWO)
    (layer,) = read_features(str(tmp_path / "x.npz"))
    assert_array_equal(layer.read(), TWO)


def test_columns_first_and_other_byte_orders(tmp_path):
    np.save(tmp_path / "f.npy", np.asfortranarray(TWO))
    np.save(tmp_path / "b.npy", TWO.astype(">f8"))
    for name in ("f.npy", "b.npy"):
        (layer,) = read_features(str(tmp_path / name))
        assert_array_equal(layer.read(), TWO)


def test_bfloat16(tmp_path):
    x = TWO.astype(ml_dtypes.bfloat16)
    path = write(tmp_path / "x.safetensors", {"x": x})
    assert_array_equal(read_features(path)[0].read(), x.astype(np.float32))


@pytest.mark.parametrize("ending", FORMATS)
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_what_is_not_finite(tmp_path, ending, bad):
    x = TWO.astype(np.float32)
    x[4, 2] = bad
    line = refusal(write(tmp_path / f"x{ending}", {"x": x}))
    assert "infinities or NaN" in line
    assert "rows 0 to 6" in line


@pytest.mark.parametrize("ending", FORMATS)
@pytest.mark.parametrize(
    ("x", "words"),
    [
        (np.ones((7, 5), np.int64), ("64", "features are floats")),
        (np.ones(7), ("7 in", "items x width")),
        (np.ones((2, 3, 4, 5)), ("2 x 3 x 4 x 5", "items x width")),
        (np.ones((0, 4)), ("0 x 4", "items x width")),
    ],
)
def test_what_is_no_features(tmp_path, ending, x, words):
    line = refusal(write(tmp_path / f"x{ending}", {"x": x}))
    assert all(word in line for word in words)


@several
def test_layers_of_other_items(tmp_path, ending):
    tensors = {"a": TWO, "b": TWO[:6]}
    line = refusal(write(tmp_path / f"x{ending}", tensors))
    assert "has 6 rows in b, and 7 in a" in line


@several
def test_a_label_beside_features_is_named(tmp_path, ending):
    tensors = {"h": TWO, "labels": np.arange(7)}
    line = refusal(write(tmp_path / f"x{ending}", tensors))
    assert "in labels" in line
    assert "leave out what is none" in line


@pytest.mark.parametrize("ending", FORMATS)
@pytest.mark.parametrize("content", [b"", b"<html>", b"\x93NUMPY\x01\x00"])
def test_what_is_something_else(tmp_path, ending, content):
    path = tmp_path / f"x{ending}"
    path.write_bytes(content)
    refusal(path)


@pytest.mark.parametrize("ending", FORMATS)
def test_what_ends_too_early(tmp_path, ending):
    path = tmp_path / f"x{ending}"
    write(path, {"x": TWO})
    path.write_bytes(path.read_bytes()[:-9])
    refusal(path)


def test_a_file_that_is_not_there(tmp_path):
    assert "is not a file" in refusal(tmp_path / "x.npy")
    assert "is not a file" in refusal(tmp_path / "x.h5")


# Nothing is executed, and nothing else is read.


class Trap:
    def __reduce__(self):
        return (print, ("executed",))


def test_pickles_are_refused(tmp_path, capsys):
    objects = np.empty((2, 2), object)
    objects[:] = Trap()
    np.save(tmp_path / "x.npy", objects)
    np.savez(tmp_path / "x.npz", x=objects)
    for name in ("x.npy", "x.npz"):
        assert "pickled objects" in refusal(tmp_path / name)
    assert capsys.readouterr().out == ""


def header(text, data=b""):
    text = text.encode() + b"\n"
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text + data


@pytest.mark.parametrize(
    "text",
    [
        "__import__('os').getcwd()",
        "{'descr': '<f8', 'fortran_order': False, 'shape': (1e9,)}",
        "{'descr': '<f8', 'fortran_order': False, 'shape': (-1, -2)}",
        "{'descr': '<f8', 'fortran_order': False, 'shape': (10**9, 10**9)}",
        "{'descr': '<f8', 'fortran_order': False, 'shape': (2**99, 3)}",
        "{'descr': '<f8', 'fortran_order': False, 'shape': (99999999999, 3)}",
        "{'descr': '<f8', 'shape': (1, 2)}",
        "(" * 9000,
        "['",
    ],
)
def test_headers_that_lie(tmp_path, text):
    path = tmp_path / "x.npy"
    path.write_bytes(header(text, bytes(16)))
    refusal(path)


def test_members_that_lie(tmp_path):
    path = tmp_path / "x.npz"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(
            "x.npy",
            header(
                "{'descr': '<f8', 'fortran_order': False, 'shape': (3, 2)}",
                bytes(16),
            ),
        )
    assert "16 bytes of numbers in x where its header says 48" in refusal(path)


def test_members_that_are_no_arrays(tmp_path):
    path = tmp_path / "x.npz"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("x.pkl", b"cos\nsystem\n(S'true'\ntR.")
    assert "holds x.pkl, which is no .npy" in refusal(path)


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_two_members_of_one_name(tmp_path):
    raw = io.BytesIO()
    np.save(raw, TWO)
    path = tmp_path / "x.npz"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("x.npy", raw.getvalue())
        archive.writestr("x.npy", raw.getvalue())
    assert "two arrays of one name" in refusal(path)


@pytest.mark.parametrize("many", [1, 1000])
def test_damage_within_a_member(tmp_path, many):
    """Seen when headers are read, or with the rows."""
    path = tmp_path / "x.npz"
    write(path, {"x": np.tile(TWO, (many, 1))})
    raw = bytearray(path.read_bytes())
    place = raw.index(TWO.tobytes())
    raw[place] ^= 1
    path.write_bytes(raw)
    assert "damaged: Bad CRC-32" in refusal(path)


def test_links_out_of_an_hdf5_file_are_not_followed(tmp_path):
    other = write(tmp_path / "other.h5", {"secret": TWO})
    with h5py.File(tmp_path / "x.h5", "w") as file:
        file["link"] = h5py.ExternalLink(other, "secret")
        file["soft"] = h5py.SoftLink("/nowhere")
    assert "holds no array" in refusal(tmp_path / "x.h5")


def test_datasets_that_lie_elsewhere(tmp_path):
    (tmp_path / "raw").write_bytes(TWO.tobytes())
    with h5py.File(tmp_path / "x.h5", "w") as file:
        file.create_dataset(
            "x",
            TWO.shape,
            TWO.dtype,
            external=[(str(tmp_path / "raw"), 0, 280)],
        )
    assert "keeps x elsewhere" in refusal(tmp_path / "x.h5")
    write(tmp_path / "y.h5", {"y": TWO})
    layout = h5py.VirtualLayout(TWO.shape, TWO.dtype)
    layout[:] = h5py.VirtualSource(str(tmp_path / "y.h5"), "y", TWO.shape)
    with h5py.File(tmp_path / "v.h5", "w") as file:
        file.create_virtual_dataset("v", layout)
    assert "keeps v elsewhere" in refusal(tmp_path / "v.h5")


def test_a_filter_that_would_be_loaded(tmp_path, monkeypatch):
    """SZIP stands for it: it is known, and not among those that are read."""
    from spectra.weights.features import hdf5_files

    with h5py.File(tmp_path / "x.h5", "w") as file:
        file.create_dataset("x", data=TWO, compression="gzip")
    monkeypatch.setattr(hdf5_files, "_FILTERS", {h5py.h5z.FILTER_LZF})
    assert "by a filter" in refusal(tmp_path / "x.h5")


@pytest.mark.parametrize("ending", FORMATS)
def test_the_cap_on_a_tensor(tmp_path, ending, monkeypatch):
    path = write(tmp_path / f"x{ending}", {"x": TWO})
    monkeypatch.setenv("SPECTRA_CAPS", "tensor_bytes=280")
    assert read_features(path)[0].read().shape == (7, 5)
    monkeypatch.setenv("SPECTRA_CAPS", "tensor_bytes=279")
    assert "280 bytes" in refusal(path)
