"""``spectra lineage`` as a user types it, and as Python calls it."""

import json
import subprocess
import sys

import numpy as np
import pytest

import spectra
from tests.checkpoints import write_dense

SHAPE = (64, 64)


def command(*words):
    return subprocess.run(
        [sys.executable, "-m", "spectra", "lineage", *map(str, words)],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """Return the run file of a parent, child, grandchild, a stranger twice."""
    folder = tmp_path_factory.mktemp("lineage")
    rng = np.random.default_rng(0)
    names = [f"l{i}" for i in range(8)]
    models = {
        "parent": {name: rng.laplace(size=SHAPE) for name in names},
        "other": {name: rng.laplace(size=SHAPE) for name in names},
    }
    for child, parent in [("child", "parent"), ("\x1b[31mgrand", "child")]:
        models[child] = {
            name: W + 0.4 * rng.standard_normal(SHAPE) * (name != "l7")
            for name, W in models[parent].items()
        }
    models["twin"] = models["other"]
    for name, tensors in models.items():
        write_dense(folder / "p" / name, tensors)
    card = folder / "p" / "child" / "README.md"
    card.write_text("---\nbase_model: org/parent\n---\n")
    path = folder / "run.h5"
    spectra.fit(spectra.scan(folder / "p"), path)
    return path


def test_a_tree_is_drawn(run):
    done = command(run)
    assert (done.returncode, done.stderr) == (0, "")
    tree, last = done.stdout.split("\n\n")
    root, child, grandchild = tree.splitlines()
    assert root == "parent"
    assert child.startswith(
        "   -> child: moved 25.6 %, 1 of 8 layers identical"
    )
    assert child.endswith("falls in 7 of 7 layers (p 0.016); its card agrees")
    assert grandchild.startswith("      -> \\x1b[31mgrand: moved")
    assert grandchild.endswith("its card is silent")
    assert last == (
        "twin is a copy of other\n"
        "1 tree of 3 members; 1 alone; 1 exact copy; kurtosis tells the"
        " direction of 2 of 2 edges; cards: agrees 1, silent 1\n"
    )


def test_json_is_the_document_of_python(run):
    done = command(run, "--json")
    assert done.returncode == 0
    found = spectra.lineage(spectra.load(run))
    assert json.loads(done.stdout) == found.document
    assert repr(found) == f"Lineage({found.document['text']})"


def test_thresholds_are_settings(run):
    found = spectra.lineage(spectra.load(run), lineage_threshold_weights=0.999)
    assert found.document["groups"] == []


def test_a_direction_that_is_not_known_is_no_arrow(tmp_path):
    W = np.random.default_rng(0).laplace(size=SHAPE)
    for name, moved, base in [
        ("a", 0.0, None), ("b", 0.1, "a"), ("c", 0.2, "org/x"),
        ("d", 0.3, "e"), ("e", 0.4, None),
    ]:  # fmt: skip
        noise = np.random.default_rng(1).standard_normal(SHAPE)
        write_dense(tmp_path / "p" / name, {"l": W + moved * noise},
                    config={"base_model": base} if base else None)  # fmt: skip
    path = tmp_path / "run.h5"
    spectra.fit(spectra.scan(tmp_path / "p"), path)
    done = command(path)
    assert "->" not in done.stdout
    assert "-- b:" in done.stdout
    assert "its card names org/x" in done.stdout
    assert "its card names e" in done.stdout
    assert done.stdout.splitlines()[4].endswith("the card of d names it")


def test_no_run_is_one_line_and_exit_code_2(tmp_path):
    done = command(tmp_path / "nowhere.h5")
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert line.startswith("spectra: E_NO_RUN: ")
