"""``spectra compress`` and ``spectra reconstruct`` as a user types them."""

import json
from statistics import median

import numpy as np
import pytest
from safetensors.numpy import load_file

import spectra
from tests.checkpoints import adapters, dense
from tests.cli.test_cli import spectra as typed

SHAPES = {"a.weight": (9, 14), "b.weight": (14, 9)}


@pytest.fixture
def run(tmp_path):
    """The file of a run of six full checkpoints."""
    folder, _, _ = dense(tmp_path, 6, SHAPES)
    spectra.fit(spectra.scan(folder), tmp_path / "run.h5")
    return tmp_path / "run.h5"


def test_the_documents_are_those_of_python(run, tmp_path):
    done = typed("compress", run, "-o", tmp_path / "c", "-k", "2", "--json")
    assert (done.returncode, done.stderr) == (0, "")
    document = json.loads(done.stdout)
    found = spectra.compress(spectra.load(run), tmp_path / "d", k=2)
    assert document == found.document == json.loads(found.to_json())
    stored = json.loads((tmp_path / "c" / "compressed.json").read_text())
    assert document == stored
    assert document.keys() >= {
        "basis_bytes", "coefficient_bytes", "untouched_bytes", "total_bytes",
        "original_bytes", "break_even", "layers",
    }  # fmt: skip
    for layer in document["layers"]:
        assert layer.keys() >= {
            "name", "k", "error_in_sample", "error_held_out",
        }  # fmt: skip
        assert layer["k"] == 2
        assert 0 < layer["error_in_sample"] < layer["error_held_out"]
    words = "reconstruct", tmp_path / "c", "m01", "-o", tmp_path / "x"
    done = typed(*words, "--json")
    assert (done.returncode, done.stderr) == (0, "")
    made = spectra.reconstruct(tmp_path / "d", "m01", tmp_path / "y")
    assert json.loads(done.stdout) == made.document
    assert json.loads(made.to_json()) == made.document
    for name, values in load_file(tmp_path / "x/model.safetensors").items():
        again = load_file(tmp_path / "y" / "model.safetensors")[name]
        np.testing.assert_array_equal(values, again)


def test_what_is_said_is_what_the_document_says(run, tmp_path):
    words = ("compress", run, "-o", tmp_path / "c", "--energy", "0.5")
    done = typed(*words, "--layers", "a")
    assert (done.returncode, done.stderr) == (0, "")
    _, line, closing = done.stdout.splitlines()
    found = spectra.compress(
        spectra.load(run), tmp_path / "d", energy=0.5, layers=["a"]
    )
    (layer,) = found.layers
    assert line.split() == [
        "a", str(layer["k"]), "6", f"{layer['error_in_sample']:.3f}",
        f"{layer['error_held_out']:.3f}",
    ]  # fmt: skip
    assert closing == found.text == found.document["text"]
    errors, held = (
        [layer[key] for layer in found.layers]
        for key in ("error_in_sample", "error_held_out")
    )
    assert closing.endswith(
        f"; the error is {median(errors):.3f}, held out {median(held):.3f}"
        " (median of the layers)"
    )
    made = typed("reconstruct", tmp_path / "c", "m01", "-o", tmp_path / "x")
    assert made.returncode == 0
    (line,) = made.stdout.splitlines()
    again = spectra.reconstruct(tmp_path / "d", "m01", tmp_path / "x")
    assert line == again.text


def test_adapters_by_shared_bases(tmp_path):
    folder, _ = adapters(tmp_path / "p", [2] * 4, {"q": (24, 16)})
    spectra.fit(spectra.scan(folder), tmp_path / "run.h5")
    words = ("--scheme", "jd-diag", "-k", "3", "--clusters", "2", "--seed", 5)
    done = typed(
        "compress", tmp_path / "run.h5", "-o", tmp_path / "c", *words, "--json"
    )
    assert (done.returncode, done.stderr) == (0, "")
    found = spectra.compress(
        spectra.load(tmp_path / "run.h5"), tmp_path / "d", scheme="jd-diag",
        k=3, clusters=2, seed=5,
    )  # fmt: skip
    assert json.loads(done.stdout) == found.document
    assert found.document["settings"] == {
        "k": 3, "energy": None, "layers": [], "clusters": 2, "seed": 5,
    }  # fmt: skip
    done = typed("reconstruct", tmp_path / "c", "a01", "-o", tmp_path / "x")
    assert done.returncode == 0
    made = spectra.reconstruct(tmp_path / "d", "a01", tmp_path / "y")
    assert "of a squared norm lost, written with rank 3" in made.text
    assert done.stdout.split(" -> ")[0] == made.text.split(" -> ")[0]


@pytest.mark.parametrize(
    ("words", "status", "code"),
    [
        (["compress", "R", "-o", "c", "-k", "2", "--energy", "0.5"], 2,
         "E_ENERGY"),
        (["compress", "R", "-o", "c", "--energy", "2"], 2, "E_ENERGY"),
        (["compress", "R", "-o", "members"], 2, "E_OUTPUT"),
        (["compress", "R", "-o", "c", "--memory", "1MiB"], 8, "E_MEMORY"),
        (["compress", "R", "-o", "c", "--scheme", "jd-full"], 2, "E_SCHEME"),
        (["compress", "R", "-o", "c", "--clusters", "2"], 2, "E_SCHEME"),
        (["reconstruct", "members", "m01", "-o", "x"], 2, "E_COMPRESSED"),
        (["reconstruct", "c", "m77", "-o", "x"], 2, "E_MODEL"),
    ],
)  # fmt: skip
def test_what_cannot_be_done_is_one_line(run, tmp_path, words, status, code):
    spectra.compress(spectra.load(run), tmp_path / "c")
    words = [str(run) if word == "R" else word for word in words]
    done = typed(*words, cwd=tmp_path)
    assert (done.returncode, done.stdout) == (status, "")
    (line,) = done.stderr.splitlines()
    assert line.startswith(f"spectra: {code}: ")
