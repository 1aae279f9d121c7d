"""`spectra merge` as a user types it."""

import json

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

import spectra
from spectra.apply.merging.methods import METHODS
from spectra.cli.commands import command_of
from tests.checkpoints import adapters, write_dense
from tests.cli.test_cli import spectra as typed


@pytest.fixture
def folder(tmp_path):
    shapes = {"layer.0.q": (24, 16), "layer.1.q": (24, 16)}
    adapters(tmp_path / "p", [4, 2, 6], shapes)
    return tmp_path


def test_json_equals_the_document_of_python(folder):
    words = ("--method", "ties", "--density", "0.3", "--lambda", "-1.5")
    done = typed("merge", "p", *words, "-o", "out", "--json", cwd=folder)
    assert (done.returncode, done.stderr) == (0, "")
    again = spectra.merge(
        folder / "p", folder / "again", method="ties", density=0.3, lam=-1.5
    )
    document = json.loads(done.stdout)
    assert document.pop("path") == "out"
    assert document == {
        key: value
        for key, value in json.loads(again.to_json()).items()
        if key != "path"
    }
    for path in (folder / "out").iterdir():
        assert path.read_bytes() == (again.path / path.name).read_bytes()
    assert repr(again).startswith("Merged(3 adapters merged by ties, 2 layers")
    assert again._repr_html_().startswith("<p>3 adapters")
    assert (again.method, len(again.layers)) == ("ties", 2)


def test_what_is_shown(folder):
    done = typed(
        "merge", "p", "--method", "weighted", "--weights", "a02=1",
        "--weights", "a00=1", "--weights", "a01=1", "-o", "out", cwd=folder,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "layer.0.q" in done.stdout
    assert "weights are equal: this is the mean" in done.stdout
    assert done.stdout.splitlines()[-1].startswith("3 adapters merged by")


def test_the_published_ways_and_interference(folder):
    words = ("--space", "core", "--trim", "layer", "--interference")
    done = typed(
        "merge", "p", "--method", "knots", *words, "-o", "out", cwd=folder
    )
    assert done.returncode == 0, done.stderr
    assert "singular task interference" in done.stdout
    assert "most of a pair" in done.stdout
    again = spectra.merge(
        folder / "p", folder / "again", method="knots", space="core",
        trim="layer", interference=True,
    )  # fmt: skip
    assert (again.path / "README.md").read_bytes() == (
        folder / "out" / "README.md"
    ).read_bytes()
    assert again.document["options"]["trim"] == "layer"


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (("p", "--method", "none"), "E_METHOD"),
        (("p", "--method", "mean", "-k", "2"), "E_METHOD"),
        (("p", "--method", "ties", "--density", "0"), "E_METHOD"),
        (("p", "--method", "mean", "--layers", "no"), "E_MERGE"),
        (("p", "full", "--method", "mean"), "E_MERGE"),
        (("p/a00", "--method", "mean"), "E_MERGE"),
        (("nowhere", "--method", "mean"), "E_SOURCE"),
        (("p", "--method", "weighted", "--weights", "x"), "E_METHOD"),
        (
            ("p", "--method", "weighted", "--weights", "1", "--weights",
             "a00=1"),
            "E_METHOD",
        ),
        (
            ("p", "--method", "weighted", "--weights", "a00=1", "--weights",
             "a00=1"),
            "E_METHOD",
        ),
    ],
)  # fmt: skip
def test_a_refusal_is_one_line(folder, words, code):
    write_dense(folder / "full", {"w": np.eye(4)})
    done = typed("merge", *words, "-o", "out", cwd=folder)
    assert done.returncode == 2
    assert done.stdout == ""
    (line,) = done.stderr.splitlines()
    assert line.startswith(f"spectra: {code}")
    assert not (folder / "out").exists()


def test_an_output_that_is_not_ours(folder):
    done = typed("merge", "p", "--method", "mean", "-o", "p", cwd=folder)
    assert done.returncode == 2
    assert done.stderr.startswith("spectra: E_OUTPUT: p is not empty")


@pytest.mark.parametrize("broken", ["file", "layer"])
def test_what_was_set_aside_is_told(folder, broken):
    path = folder / "p" / "a01" / "adapter_model.safetensors"
    if broken == "file":
        path.write_bytes(b"<html>")
    else:
        tensors = load_file(path)
        tensors["base_model.model.layer.0.q.lora_A.weight"][0] = np.nan
        save_file(tensors, path)
    words = ("merge", "p", "--method", "mean", "-o", "out")
    done = typed(*words, cwd=folder)
    assert done.returncode == 3
    (line,) = done.stderr.splitlines()
    code = "NOT_SAFETENSORS" if broken == "file" else "NONFINITE"
    assert line.startswith(f"spectra: {code}: ")
    assert ("kept 2/3" if broken == "file" else "kept 3/3") in line
    assert typed(*words, "--quarantine-ok", cwd=folder).returncode == 0


def test_the_help_names_every_method():
    (option,) = [o for o in command_of("merge").params if o.name == "method"]
    text = option.help.replace(" or ", ", ").partition(";")[0]
    assert text.split(", ") == [method.name for method in METHODS]


SHAPES = {"w.weight": (9, 7), "w.bias": (9,)}


def full(folder):
    rng = np.random.default_rng(0)
    base = {name: rng.standard_normal(s) for name, s in SHAPES.items()}
    write_dense(folder / "base", base)
    for i in range(2):
        more = {
            name: x + 0.1 * rng.standard_normal(x.shape)
            for name, x in base.items()
        }
        write_dense(folder / "f" / f"m{i}", more)


def test_full_checkpoints(folder):
    full(folder)
    words = ("--method", "ties", "--base", "base", "--trim", "layer")
    done = typed(
        "merge", "f", *words, "-o", "out", "--shard-size", "300",
        "--mergekit", "m.yaml", "--json", cwd=folder,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    again = spectra.merge(
        folder / "f", folder / "again", method="ties", trim="layer",
        base=folder / "base", shard_size=300,
    )  # fmt: skip
    document = json.loads(done.stdout)
    wanted = json.loads(again.to_json())
    for each in (document, wanted):
        each.pop("path")
        each["base"].pop("path")
    assert document == wanted
    assert (folder / "m.yaml").read_text().startswith("# Written by spectra")
    assert {path.name for path in (folder / "out").iterdir()} == {
        "README.md", "config.json", "model.safetensors"
    }  # fmt: skip
    assert repr(again).startswith("Merged(2 checkpoints merged by ties, 2 ten")
    shown = typed("merge", "f", *words, "-o", "out", cwd=folder)
    assert "distance from the base" in shown.stdout
    assert shown.stdout.splitlines()[-1].startswith("2 checkpoints merged by")


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (("f", "--method", "ties"), "E_METHOD"),
        (("f", "p", "--method", "mean"), "E_MERGE"),
        (("f", "--method", "mean", "--rank", "2"), "E_METHOD"),
        (("f", "--method", "mean", "--base", "p"), "E_BASE"),
        (("f", "--method", "mean", "--base", "no"), "E_SOURCE"),
        (("f", "--method", "mean", "--shard-size", "x"), "E_BYTES"),
        (("f", "--method", "iso-c", "--base", "base", "--mergekit", "m"),
         "E_METHOD"),
        (("p", "--method", "mean", "--base", "base"), "E_METHOD"),
    ],
)  # fmt: skip
def test_a_refusal_of_full_checkpoints_is_one_line(folder, words, code):
    full(folder)
    done = typed("merge", *words, "-o", "out", cwd=folder)
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert line.startswith(f"spectra: {code}")
    assert not (folder / "out").exists()
