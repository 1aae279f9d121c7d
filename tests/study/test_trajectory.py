"""A training run whose course was planned: from files to reports."""

import csv
import json
import subprocess
import sys
from itertools import pairwise

import numpy as np
import pytest
from typer.testing import CliRunner

import spectra
from spectra.cli.main import app
from spectra.core.errors import UsageError
from spectra.study.studyfile import read_study
from tests.checkpoints import stored, write_adapter, write_dense

N, TURN, STILL, LEADS = 18, 9, 4, 14
"""Checkpoints; where steps turn; until when a layer is frozen; from where the
second direction is the longer one, given steps of 1 and of 2."""


def command(*words, env=None):
    return CliRunner().invoke(app, [str(word) for word in words], env=env)


def dense_run(folder):
    """Write a run of whole weights; return them by layer, as stored."""
    rng = np.random.default_rng(0)
    U, V = (np.linalg.qr(rng.standard_normal((d, 2)))[0] for d in (40, 32))
    maps = {
        name: [0.01 * rng.standard_normal((40, 32))]
        for name in ("turned", "frozen", "steady")
    }
    for t in range(N - 1):
        own = int(t >= TURN)
        noise = 0.01 * rng.standard_normal((2, 40, 32))
        steps = {
            "turned": (1 + own) * np.outer(U[:, own], V[:, own]) + noise[0],
            "frozen": noise[1] if t >= STILL else 0 * noise[1],
            "steady": 0.1 * rng.standard_normal((40, 32)),
        }
        for name, step in steps.items():
            maps[name].append(maps[name][-1] + step)
    for t in range(N):
        tensors = {f"{name}.weight": W[t] for name, W in maps.items()}
        write_dense(folder / f"checkpoint-{100 * t}", tensors)
    return {name: [stored(W, "F32") for W in x] for name, x in maps.items()}


@pytest.fixture(scope="module")
def dense(tmp_path_factory):
    """Return the folder of the run, its run file and its maps."""
    folder = tmp_path_factory.mktemp("dense")
    maps = dense_run(folder / "run")
    done = command("fit", folder / "run", "-o", folder / "run.h5", "--rank",
                   1, "--metrics")  # fmt: skip
    assert done.exit_code == 0, done.stderr
    return folder, folder / "run.h5", maps


@pytest.fixture(scope="module")
def report(dense):
    return spectra.overlap(spectra.load(dense[1]), ordered=True)


def layers_of(report):
    return {
        layer["name"]: layer["trajectory"]
        for layer in report.document["layers"]
    }


def test_the_checkpoints_are_in_the_order_of_their_steps(report):
    found = report.document["trajectory"]["checkpoints"]
    assert [each["step"] for each in found] == [100 * t for t in range(N)]
    assert found[-1]["id"] == f"checkpoint-{100 * (N - 1)}"


def test_the_final_directions_appear_where_they_lead(report):
    """The first ones have length 9; the second are 2, 4, ... behind."""
    layer = layers_of(report)["turned"]
    for side in ("output_side", "input_side"):
        assert layer[side]["appears"] == f"checkpoint-{100 * LEADS}"
        early, late = (
            layer[side]["last_overlap"][:LEADS],
            layer[side]["last_overlap"][LEADS:],
        )
        assert max(early) < 0.3
        assert min(late) > 0.9
        drift = layer[side]["drift"]
        # The first step leads out of the noise that the weights began as.
        assert [t for t, x in enumerate(drift) if x > 0.5] == [0, LEADS - 1]


def test_the_steps_turn_where_they_were_turned(report):
    found = {name: x["changes"]["at"] for name, x in layers_of(report).items()}
    turned = f"checkpoint-{100 * TURN}"
    assert found == {"turned": [turned], "frozen": [], "steady": []}
    together = report.document["trajectory"]["changes"]
    assert together["at"] == [{"id": turned, "n_layers": 1}]
    assert (together["n_tested"], together["n_changed"]) == (3, 1)


def test_a_frozen_layer_stands_still(report):
    layer = layers_of(report)["frozen"]
    assert layer["weights"]["step"][:STILL] == [0.0] * STILL
    assert layer["output_side"]["drift"][:STILL] == [0.0] * STILL
    assert min(layer["weights"]["step"][STILL:]) > 0
    assert layer["changes"]["n"] == N - 1 - STILL


def test_the_way_is_that_of_the_stored_weights(dense, report):
    _, _, maps = dense
    for name, weights in maps.items():
        found = layers_of(report)[name]["weights"]
        steps = [np.linalg.norm(b - a) for a, b in pairwise(weights)]
        np.testing.assert_allclose(found["step"], steps, rtol=1e-5)
        away = [np.linalg.norm(W - weights[0]) for W in weights]
        np.testing.assert_allclose(
            found["from_first"], away / np.linalg.norm(weights[-1]), rtol=1e-5
        )


def test_ranks_over_time_are_those_of_the_stored_weights(dense, report):
    _, _, maps = dense
    found = layers_of(report)["turned"]["stable_rank"]
    expected = [
        np.sum(W**2) / np.linalg.norm(W, 2) ** 2 for W in maps["turned"]
    ]
    np.testing.assert_allclose(found, expected, rtol=1e-4)
    assert len(layers_of(report)["turned"]["effective_rank"]) == N


def test_the_command_says_what_python_says(dense, report):
    _, run, _ = dense
    done = command("overlap", run, "--ordered", "--json")
    assert done.exit_code == 0
    assert json.loads(done.stdout) == report.document
    shown = command("overlap", run, "--ordered").stdout
    assert f"checkpoint-{100 * TURN}" in shown
    assert f"{N} checkpoints in the order of checkpoint-0" in shown
    assert "1 of 3 tested" in shown
    without = command("overlap", run).stdout
    assert "trajectory" not in without
    assert "checkpoint-" not in without
    asked = command("overlap", run, "--json", env={"SPECTRA_ORDERED": "1"})
    assert "trajectory" in json.loads(asked.stdout)


def test_the_files_of_a_study(dense, tmp_path):
    folder, _, _ = dense
    study = tmp_path / "study.toml"
    study.write_text(
        f'[population]\nsources = ["{folder / "run"}"]\n'
        "[overlap]\nordered = true\n"
        f'[report]\nout = "{tmp_path / "out"}"\n'
    )
    assert read_study(study).overlap.ordered is True
    done = command("run", study)
    assert done.exit_code == 0, done.stderr
    with (tmp_path / "out" / "trajectory.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 3 * N
    changed = [
        (r["layer"], r["step"]) for r in rows if r["is_change"] == "True"
    ]
    assert changed == [("turned", str(100 * TURN))]
    assert "## Training trajectory" in (tmp_path / "out/report.md").read_text()
    page = (tmp_path / "out/report.html").read_text()
    assert "<polyline" in page
    report = json.loads((tmp_path / "out/report.json").read_text())
    assert len(report["trajectory"]["checkpoints"]) == N


def test_a_run_says_it_too(dense, tmp_path):
    folder, _, _ = dense
    done = command("run", folder / "run", "-o", tmp_path, "--ordered",
                   "--format", "json", "--json")  # fmt: skip
    assert done.exit_code == 0, done.stderr
    assert len(json.loads(done.stdout)["trajectory"]["checkpoints"]) == N
    assert not (tmp_path / "trajectory.csv").exists()


def test_an_adapter_that_is_trained(tmp_path):
    """B begins at zero, and turns; A hardly moves."""
    rng = np.random.default_rng(0)
    A = rng.standard_normal((2, 24)) / 5
    ways, B = rng.standard_normal((2, 30, 2)), np.zeros((30, 2))
    for t in range(14):
        write_adapter(tmp_path / f"p/step{t}", {"q": (A, B)}, 4)
        noise = 0.1 * rng.standard_normal((30, 2))
        B = B + ways[int(t >= 7)] * (1 + 3 * (t >= 7)) + noise
        A = A + 1e-3 * rng.standard_normal(A.shape)
    run = spectra.fit(spectra.scan(tmp_path / "p"))
    layer = layers_of(spectra.overlap(run, ordered=True))["q"]
    assert layer["changes"]["at"] == ["step7"]
    assert layer["output_side"]["last_overlap"][0] is None
    assert layer["output_side"]["last_overlap"][1] < 0.5
    assert layer["output_side"]["last_overlap"][-2] > 0.9
    assert layer["output_side"]["last_chance"][-1] == pytest.approx(2 / 30)
    # What it reads from was there from the first step on.
    assert layer["input_side"]["appears"] == "step1"
    assert layer["input_side"]["last_overlap"][1] > 0.9
    assert layer["weights"]["from_first"][0] == 0
    assert layer["weights"]["from_first"][-1] == pytest.approx(1)
    assert layer["effective_rank"] is None


def test_a_population_is_no_training_run(tmp_path):
    for name in ("red", "blue", "green"):
        rng = np.random.default_rng(len(name))
        write_dense(tmp_path / "p" / name, {"w": rng.standard_normal((6, 5))})
    run = spectra.fit(spectra.scan(tmp_path / "p"), tmp_path / "run.h5")
    with pytest.raises(UsageError, match="not in an order of steps"):
        spectra.overlap(run, ordered=True)
    words = (sys.executable, "-m", "spectra", "overlap", run.path, "--ordered")
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert line.startswith("spectra: E_ORDER: blue and green are not in an")
    assert "checkpoint-100" in line
