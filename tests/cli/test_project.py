"""``spectra project`` as a user types it."""

import json
import re

import numpy as np
import pytest

import spectra
from spectra.cli.project import command
from tests.checkpoints import adapters, write_adapter, write_dense
from tests.cli.test_cli import spectra as typed

HOSTILE = "<b>x\x1b[31m"


@pytest.fixture
def run(tmp_path):
    """The file of a run of eight adapters; `new` lies beside it."""
    shapes = {"q": (24, 16), "v": (9, 16)}
    folder, _ = adapters(tmp_path / "p", [4] * 9, shapes)
    (folder / "a08").rename(tmp_path / "new")
    path = tmp_path / "run.h5"
    spectra.fit(spectra.scan(folder), path)
    return path


def test_the_document_is_that_of_python(run, tmp_path):
    done = typed("project", run, tmp_path / "new", "-k", "2", "--json")
    assert (done.returncode, done.stderr) == (0, "")
    document = json.loads(done.stdout)
    found = spectra.project(spectra.load(run), tmp_path / "new", k=[2])
    assert document == found.document
    assert json.loads(found.to_json()) == document
    assert document.keys() >= {"model", "layers", "text"}
    for layer in document["layers"]:
        assert layer.keys() >= {
            "name", "captured", "captured_random", "captured_secondary",
            "r2_mean", "nearest",
        }  # fmt: skip
        assert layer["captured"].keys() == {"1", "2", "4", "16"}
        assert len(layer["nearest"]) == 5
        assert layer["nearest"][0].keys() >= {"id", "cosine"}


def test_the_table_says_what_the_document_says(run, tmp_path):
    done = typed("project", run, tmp_path / "new")
    assert (done.returncode, done.stderr) == (0, "")
    head, *rows, closing = done.stdout.splitlines()
    found = spectra.project(spectra.load(run), tmp_path / "new")
    k = str(found.k)
    assert f"captured k={k}" in head
    for line, layer in zip(rows, found.layers, strict=True):
        numbers = [
            layer["captured"][k],
            layer["captured_random"][k],
            layer["captured_secondary"][k],
            layer["members"]["captured"][k]["median"],
            layer["r2_mean"],
            layer["nearest"][0]["cosine"],
        ]
        assert line.split() == [
            layer["name"],
            *(f"{value:.3f}" for value in numbers),
            layer["nearest"][0]["id"],
        ]
    assert closing == found.text


def test_layers_that_are_not_in_both_are_counted(run, tmp_path):
    rng = np.random.default_rng(0)
    factors = rng.standard_normal((2, 16)), rng.standard_normal((24, 2))
    write_adapter(tmp_path / "some", {"q": factors, "k": factors}, 2)
    done = typed("project", run, tmp_path / "some", "--workers", "1")
    assert done.returncode == 0
    assert "only in the run: 1 layers" in done.stdout
    assert "only in the model: 1 layers" in done.stdout


@pytest.mark.parametrize(
    ("model", "code"),
    [("nowhere", "E_SOURCE"), ("broken", "E_MODEL"), ("p", "E_MODEL"),
     ("full", "E_NO_LAYER")],
)  # fmt: skip
def test_what_is_no_newcomer_is_one_line(run, tmp_path, model, code):
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "model.safetensors").write_bytes(b"<html>")
    write_dense(tmp_path / "full", {"q.weight": np.ones((24, 16))})
    done = typed("project", run, tmp_path / model)
    assert (done.returncode, done.stdout) == (2, "")
    (line,) = done.stderr.splitlines()
    assert line.startswith(f"spectra: {code}: ")
    assert model in line


def test_a_member_that_changed_is_exit_code_7(run, tmp_path):
    (tmp_path / "p" / "a02").rename(tmp_path / "x")
    (tmp_path / "p" / "a03").rename(tmp_path / "p" / "a02")
    (tmp_path / "x").rename(tmp_path / "p" / "a03")
    done = typed("project", run, tmp_path / "new")
    assert (done.returncode, done.stdout) == (7, "")
    (line,) = done.stderr.splitlines()
    assert line.startswith("spectra: E_INTEGRITY: ")


def test_a_layer_that_is_set_aside_is_exit_code_3_unless_forgiven(
    run, tmp_path
):
    rng = np.random.default_rng(0)
    A, B = rng.standard_normal((2, 16)), rng.standard_normal((24, 2))
    layers = {"q": (A, B), "v": (A, np.full((9, 2), np.inf))}
    write_adapter(tmp_path / "half", layers, 2)
    done = typed("project", run, tmp_path / "half")
    assert done.returncode == 3
    (line,) = done.stderr.splitlines()
    assert line.startswith("spectra: NONFINITE: ")
    again = typed("project", run, tmp_path / "half", "--quarantine-ok")
    assert again.returncode == 0


def test_too_little_memory_is_exit_code_8(run, tmp_path):
    done = typed("project", run, tmp_path / "new", "--memory", "1MiB")
    assert (done.returncode, done.stdout) == (8, "")
    (line,) = done.stderr.splitlines()
    assert line.startswith("spectra: E_MEMORY: ")


def test_foreign_names_do_no_harm(tmp_path):
    """Of a member, of the newcomer, of a layer."""
    shapes = {"q<i>": (12, 10)}
    folder, _ = adapters(tmp_path / "p", [2] * 7, shapes)
    (folder / "a00").rename(folder / HOSTILE)
    (folder / "a06").rename(tmp_path / "new")
    (tmp_path / "new").rename(tmp_path / f"new{HOSTILE}")
    run = spectra.fit(spectra.scan(folder), tmp_path / "run.h5")
    for model in (folder / HOSTILE, tmp_path / f"new{HOSTILE}"):
        found = spectra.project(run, model)
        page = found._repr_html_()
        assert not re.search(r"<(b|i)>", page)
        assert "&lt;b&gt;" in page
        for text in (page, repr(found), found.text):
            assert "\x1b" not in text
        for words in ((), ("--json",)):
            done = typed("project", tmp_path / "run.h5", model, *words)
            assert done.returncode == 0, done.stderr
            assert "\x1b" not in done.stdout
    assert spectra.project(run, folder / HOSTILE).document["member"] == HOSTILE


def test_options_reach_the_projection(run, tmp_path, monkeypatch):
    asked = {}

    def projected(*arguments, **options):
        asked.update(options)
        return measured(*arguments, **options)

    measured = spectra.project
    monkeypatch.setattr(spectra, "project", projected)
    command(
        run, str(tmp_path / "new"), k=[2], layers=["v"], memory=2**30,
        workers=1, json=True,
    )  # fmt: skip
    given = {"k": [2], "layers": ["v"], "memory": 2**30, "workers": 1}
    assert asked.items() >= given.items()
