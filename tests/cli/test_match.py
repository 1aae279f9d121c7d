"""``spectra match`` as a user types it, on files on disk."""

import json

import numpy as np
import pytest

import spectra
from tests.align.test_calibrated import copies, unrelated
from tests.checkpoints import write_dense
from tests.cli.test_cli import spectra as typed
from tests.study.test_matching import WIDTHS, attention, write


@pytest.fixture
def noisy(tmp_path):
    return write(tmp_path / "p", copies(0, 4, WIDTHS, 0.1), "F32")


def test_the_table_says_what_the_document_says(noisy):
    done = typed("match", noisy)
    assert (done.returncode, done.stderr) == (0, "")
    head, *rows, closing = done.stdout.splitlines()
    assert head.split() == [
        "layer", "unaligned", "aligned", "entries", "p", "rotated", "p",
    ]  # fmt: skip
    found = spectra.match(spectra.scan(noisy))
    document = json.loads(typed("match", noisy, "--json").stdout)
    assert document == found.document
    assert document["schema"] == "spectra-match/1"
    assert closing == document["text"]
    named = [(layer["name"], layer) for layer in document["layers"]]
    named.append(("all layers", document["network"]))
    assert len(rows) == 4
    for line, (name, layer) in zip(rows, named, strict=True):
        row = layer["cosine"]
        numbers = [row["unaligned"], row["aligned"]]
        for null in ("entries", "rotated"):
            numbers += [row["null"][null]["mean"], row["null"][null]["p"]]
        assert line.startswith(name)
        assert line[len(name) :].split() == [f"{x:.3f}" for x in numbers]


def test_options_reach_the_measurement(noisy):
    done = typed(
        "match", noisy, "--layers", "net.2", "--draws", 25, "--seed", 3,
        "--json",
    )  # fmt: skip
    found = spectra.match(
        spectra.scan(noisy), layers=["net.2"], draws=25, seed=3
    )
    assert json.loads(done.stdout) == found.document
    assert found.document["settings"] == {
        "layers": ["net.2"], "draws": 25, "seed": 3,
    }  # fmt: skip


def test_two_networks_are_compared_with_each_other(tmp_path):
    folder = write(tmp_path / "p", unrelated(0, 2, WIDTHS))
    done = typed("match", folder)
    assert done.returncode == 0
    assert "1 network, aligned to m0, has a cosine of" in done.stdout


def test_what_is_left_out_is_said(noisy):
    write(noisy, {"wider": unrelated(0, 1, (4, 13, 2))["m0"]})
    done = typed("match", noisy)
    assert done.returncode == 0
    assert "left out: wider has other chains" in done.stdout


def test_what_is_not_recognised_is_exit_code_2(tmp_path):
    for name in ("a", "bb"):
        write_dense(tmp_path / "p" / name, attention(name))
    done = typed("match", tmp_path / "p")
    assert (done.returncode, done.stdout) == (2, "")
    (line,) = done.stderr.splitlines()
    assert line.startswith("spectra: E_SYMMETRY: ")
    assert "layers.0.k.weight 6 x 6" in line
    assert "fc1" in line


def test_a_broken_network_is_exit_code_3_unless_forgiven(noisy):
    network = unrelated(0, 1, WIDTHS)["m0"]
    network[0][0, 0] = np.inf
    write(noisy, {"broken": network})
    done = typed("match", noisy)
    assert done.returncode == 3
    (line,) = done.stderr.splitlines()
    assert line.startswith("spectra: NONFINITE: ")
    assert "in broken; kept 4/5" in line
    assert typed("match", noisy, "--quarantine-ok").returncode == 0


@pytest.mark.parametrize("words", [[], ["--draws", "19"], ["nowhere"]])
def test_bad_words_exit_with_2(noisy, words):
    done = typed("match", *([noisy] if "--draws" in words else []), *words)
    assert (done.returncode, done.stdout) == (2, "")
    assert "Traceback" not in done.stderr
