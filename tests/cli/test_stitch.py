"""``spectra stitch`` and ``spectra units`` as a user types them."""

import json

import numpy as np
import pytest
from safetensors.numpy import load_file

import spectra
from tests.cli.test_cli import spectra as typed


@pytest.fixture
def files(tmp_path):
    rng = np.random.default_rng(0)
    X = rng.standard_normal((40, 6))
    np.save(tmp_path / "a.npy", X)
    np.savez(
        tmp_path / "b.npz",
        first=rng.standard_normal((40, 3)),
        second=X @ rng.standard_normal((6, 4)) + rng.standard_normal((40, 4)),
    )
    return tmp_path / "a.npy", tmp_path / "b.npz"


def test_the_table_of_maps_says_what_the_document_says(files, tmp_path):
    out = tmp_path / "map.safetensors"
    words = ["stitch", *files, "-o", out, "--draws", 19]
    done = typed(*words)
    assert (done.returncode, done.stderr) == (0, "")
    head, *rows, text, wrote = done.stdout.splitlines()
    assert head.split()[:3] == ["kind", "layers", "R2"]
    found = spectra.stitch(*files, draws=19)
    assert [line.split() for line in rows] == [
        [row["kind"], f"{row['layer_a']},", row["layer_b"],
         *(f"{row[key]:.3f}" for key in
           ("r2", "null_mean", "p", "found_again", "chance"))]
        for row in found.maps
    ]  # fmt: skip
    assert {row["layer_b"] for row in found.maps} == {"second"}
    assert text == found.text
    assert wrote == f"wrote {out}"
    assert load_file(out)["weight"].shape == (4, 6)
    document = json.loads(typed(*words, "--json").stdout)
    assert document == found.document | {"out": str(out)}


def test_options_of_stitch_reach_the_measurement(files):
    done = typed(
        "stitch", *files, "--kind", "orthogonal", "--folds", 4, "--draws", 20,
        "--seed", 5, "--json",
    )  # fmt: skip
    found = spectra.stitch(
        *files, kind=["orthogonal"], folds=4, draws=20, seed=5
    )
    assert json.loads(done.stdout) == found.document
    assert found.document["settings"] == {
        "kind": ["orthogonal"], "folds": 4, "draws": 20, "seed": 5,
    }  # fmt: skip


def test_the_table_of_units_says_what_the_document_says(files):
    words = ["units", *files, "--draws", 20, "--seed", 2]
    done = typed(*words)
    assert (done.returncode, done.stderr) == (0, "")
    head, *rows, text = done.stdout.splitlines()
    assert head.split()[-2:] == ["highest", "r"]
    found = spectra.units(*files, draws=20, seed=2)
    by_count = sorted(found.layers, key=lambda row: -row["n_rosetta"])
    assert [line.split() for line in rows] == [
        [row["layer_a"], row["layer_b"], f"{row['width_a']},",
         str(row["width_b"]), str(row["n_mutual"]), str(row["n_rosetta"]),
         f"{row['highest']:.3f}"]
        for row in by_count
    ]  # fmt: skip
    assert text == found.text
    assert json.loads(typed(*words, "--json").stdout) == found.document


@pytest.mark.parametrize("command", ["stitch", "units"])
def test_what_is_no_file_is_one_line(command, files, tmp_path):
    (tmp_path / "c.npy").write_bytes(b"\x93NUMPY\x01\x00nothing")
    done = typed(command, files[0], tmp_path / "c.npy")
    assert done.returncode == 2
    assert done.stderr.startswith("spectra: E_FEATURES: ")
    assert len(done.stderr.splitlines()) == 1
