"""``spectra inspect`` and ``spectra diff`` as a user types them."""

import json

import numpy as np
import pytest

import spectra
from spectra.cli.console import layer_column
from tests.checkpoints import write_dense
from tests.cli.test_cli import spectra as typed

INSPECTED = {
    "name", "shape", "norm", "spectral_norm", "nuclear_norm", "stable_rank",
    "effective_rank", "participation_ratio", "hard_rank", "mp_lower",
    "mp_upper", "num_spikes", "gavish_donoho_rank", "alpha", "xmin", "D",
    "alpha_status", "alpha_hat", "certificate",
}  # fmt: skip
DIFFERENT = {"name", "shape", "relative_move", "cosine", "effective_rank",
             "identical"}  # fmt: skip


@pytest.fixture
def two(tmp_path):
    """Return a checkpoint and a fine-tune of it."""
    rng = np.random.default_rng(7)
    tensors = {"b.0.w": rng.standard_normal((40, 30)),
               "b.1.w": rng.standard_normal((30, 40)),
               "b.1.bias": rng.standard_normal(30)}  # fmt: skip
    write_dense(tmp_path / "base", tensors)
    tensors["b.1.w"] = tensors["b.1.w"] + np.outer(np.ones(30), np.ones(40))
    write_dense(tmp_path / "tuned", {**tensors, "new": np.ones((3, 3))})
    return tmp_path / "base", tmp_path / "tuned"


def test_the_table_of_inspect_is_its_document(two):
    done = typed("inspect", two[0])
    assert (done.returncode, done.stderr) == (0, "")
    head, *rows, closing = done.stdout.splitlines()
    document = json.loads(typed("inspect", two[0], "--json").stdout)
    assert document == spectra.inspect(two[0]).document
    assert document.keys() >= {"model", "coverage", "layers", "quarantine"}
    title, names = layer_column([x["name"] for x in document["layers"]])
    assert head.split()[:3] == [*title.split(), "shape", "norm"][:3]
    assert closing.startswith("2 of 3 tensors analysed; 1 SKIP_NOT_MATRIX")
    layers = zip(rows, names, document["layers"], strict=True)
    for line, name, layer in layers:
        assert layer.keys() >= INSPECTED
        assert line.split()[0] == name
        assert layer["name"].endswith(name)
        assert f"{layer['norm']:.3f}" in line
        assert f"{layer['effective_rank']:.1f}" in line
        assert line.split()[-1] == layer["alpha_status"]


def test_inspect_less_a_base(two):
    done = typed("inspect", two[1], "--base", two[0], "--layers", "b.1.*",
                 "--json")  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    (layer,) = json.loads(done.stdout)["layers"]
    assert layer["kind"] == "difference"
    assert layer["norm"] == pytest.approx(np.sqrt(1200), rel=1e-6)
    assert layer["stable_rank"] == pytest.approx(1.0, rel=1e-6)


def test_the_entries_in_random_order_have_columns_of_their_own(two):
    done = typed("inspect", two[1], "--randomize", "--seed", "5")
    assert (done.returncode, done.stderr) == (0, "")
    document = spectra.inspect(two[1], randomize=True, seed=5).document
    words = ("inspect", two[1], "--randomize", "--seed", "5", "--json")
    assert json.loads(typed(*words).stdout) == document
    head, *rows, _ = done.stdout.splitlines()
    assert head.split()[-4:] == ["above", "rand", "distance", "status"]
    for line, layer in zip(rows, document["layers"], strict=True):
        above, distance, status = line.split()[-3:]
        assert above == str(layer["num_above_rand"])
        assert distance == f"{layer['rand_distance']:.3f}"
        assert status == layer["alpha_status"]


def test_the_table_of_diff_is_its_document(two):
    done = typed("diff", *two)
    assert (done.returncode, done.stderr) == (0, "")
    head, row, only, closing = done.stdout.splitlines()
    document = json.loads(typed("diff", *two, "--json").stdout)
    found = spectra.diff(*two)
    assert document == found.document
    assert head.split() == ["tensor", "shape", "moved", "cosine", "effective",
                            "rank"]  # fmt: skip
    assert row.split()[0] == "b.1.w"
    assert only == "ONLY_IN_B: new"
    assert closing == found.text
    assert closing.startswith("1 of 3 common tensors moved, by ")
    assert {"a", "b", "relative_move", "n_common", "n_moved", "only_in_a",
            "only_in_b", "layers"} <= document.keys()  # fmt: skip
    assert all(layer.keys() >= DIFFERENT for layer in document["layers"])


def test_what_is_wrong_is_one_line(two, tmp_path):
    for words in (("inspect", tmp_path), ("diff", two[0], tmp_path)):
        done = typed(*words)
        assert done.returncode == 2
        assert done.stdout == ""
        assert done.stderr.startswith("spectra: E_MODEL: ")
        assert "2 checkpoints, not one" in done.stderr
    bad = np.full((4, 4), np.nan)
    write_dense(tmp_path / "bad" / "m", {"w": bad, "v": np.eye(5)})
    done = typed("inspect", tmp_path / "bad")
    assert done.returncode == 3
    assert done.stderr.startswith("spectra: NONFINITE: ")
    done = typed("diff", *[tmp_path / "bad"] * 2, "--quarantine-ok")
    assert done.returncode == 0


def test_in_a_notebook(two):
    """A table of numbers, a sentence; foreign text is text."""
    found = spectra.inspect(two[0])
    frame = found.to_dataframe()
    assert list(frame["name"]) == ["b.0.w", "b.1.w"]
    assert frame["alpha_status"].notna().all()
    assert "<td>b.0.w</td>" in found._repr_html_()
    assert repr(found) == "Inspection(base, 2 layers)"
    difference = spectra.diff(*two)
    assert difference.text in difference._repr_html_()
    assert repr(difference) == f"Difference({difference.text})"
