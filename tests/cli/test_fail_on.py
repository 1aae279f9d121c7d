"""A gate for pipelines: exit code 9 where a layer has a named verdict."""

import json
import re
import subprocess
import sys
from importlib.resources import files
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from spectra.cli.main import app
from tests.checkpoints import adapters, write_dense
from tests.statistics.planted import planted, strong

SAME_SEED = Path(str(files("spectra") / "demo_population")) / "same-seed"


def spectra(*words, **env):
    """Return what the command leaves, called in this process."""
    return CliRunner().invoke(app, [str(word) for word in words], env=env)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """Return a run of independent adapters: not-shared, in both layers."""
    folder = tmp_path_factory.mktemp("p")
    shapes = {"q": (24, 16), "v": (24, 16)}
    population, _ = adapters(folder / "population", [4] * 6, shapes)
    path = folder / "run.h5"
    assert spectra("fit", population, "-o", path).exit_code == 0
    report = json.loads(spectra("overlap", path, "--json").stdout)
    assert report["verdict"]["counts"] == {"not-shared": 2}
    assert report["verdict"]["word"] == "not-shared"
    return path


def test_a_verdict_that_is_there_exits_with_9_and_one_line(run):
    done = spectra("overlap", run, "--fail-on", "not-shared")
    assert done.exit_code == 9
    (line,) = done.stderr.splitlines()
    assert line == (
        "spectra: E_VERDICT: 2 of 2 layers have a verdict of --fail-on"
        " (2 not-shared), the first of them q; the report is complete"
    )
    # All that is printed without the option is printed with it.
    assert done.stdout == spectra("overlap", run).stdout


def test_a_verdict_that_is_not_there_changes_nothing(run):
    done = spectra("overlap", run, "--fail-on", "shared")
    assert (done.exit_code, done.stderr) == (0, "")
    assert done.stdout == spectra("overlap", run).stdout


def test_several_verdicts_may_be_named(run):
    words = ("--fail-on", "shared", "--fail-on", "not-shared")
    assert spectra("overlap", run, *words).exit_code == 9
    words = ("--fail-on", "shared", "--fail-on", "shared-lineage")
    assert spectra("overlap", run, *words).exit_code == 0


def test_the_environment_names_them_too_and_the_option_wins(run):
    env = {"SPECTRA_FAIL_ON": "shared not-shared"}
    assert spectra("overlap", run, **env).exit_code == 9
    assert spectra("overlap", run, "--fail-on", "shared", **env).exit_code == 0


@pytest.mark.parametrize("word", ["sharred", "mixed", ""])
def test_a_word_that_is_no_verdict_of_a_layer_is_refused(run, word):
    done = spectra("overlap", run, "--fail-on", word)
    assert done.exit_code == 2
    assert done.stdout == ""
    assert "shared-initialisation, shared-lineage" in done.stderr


def test_json_is_whole_when_the_gate_closes(run):
    done = spectra("overlap", run, "--json", "--fail-on", "not-shared")
    assert done.exit_code == 9
    assert json.loads(done.stdout)["verdict"]["word"] == "not-shared"


def test_one_layer_is_enough(tmp_path):
    """Whatever the word for all layers is."""
    rng = np.random.default_rng(0)
    layers = {"a": strong(rng, 20), "b": planted(rng, 0.5, n=20)}
    layers["c"] = strong(rng, 20)
    for i in range(20):
        tensors = {name: maps[i] for name, maps in layers.items()}
        write_dense(tmp_path / "p" / f"m{i:02d}", tensors)
    words = ("run", tmp_path / "p", "-o", tmp_path, "--fail-on", "shared")
    done = spectra(*words)
    report = json.loads((tmp_path / "report.json").read_text())
    assert report["verdict"]["counts"] == {"shared": 1, "not-shared": 2}
    assert report["verdict"]["word"] == "not-shared"
    assert "\noverall not-shared: 20 models" in done.stdout
    assert done.exit_code == 9
    assert "1 of 3 layers" in done.stderr
    assert "the first of them b" in done.stderr


SAME_START = "shared-initialisation"


def test_everything_is_written_before_a_process_ends_so(tmp_path):
    words = ("run", SAME_SEED, "-o", tmp_path, "--fail-on", SAME_START)
    done = subprocess.run(
        [sys.executable, "-m", "spectra", *map(str, words)],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 9
    (line,) = done.stderr.splitlines()
    assert line.startswith("spectra: E_VERDICT: 12 of 12 layers")
    names = {path.name for path in tmp_path.iterdir()}
    assert names >= {"report.html", "report.json", "run.h5", "catalog.jsonl"}
    assert str(tmp_path / "report.html") in done.stdout


def test_the_gate_comes_before_quarantine_which_is_told(tmp_path):
    folder, _ = adapters(tmp_path / "p", [4] * 6, {"q": (24, 16)})
    broken = folder / "a03" / "adapter_model.safetensors"
    broken.write_bytes(b"<html>not found</html>")
    words = ("run", folder, "-o", tmp_path / "out", "--fail-on")
    done = spectra(*words, "not-shared")
    assert done.exit_code == 9
    codes = re.findall(r"^spectra: (\w+): ", done.stderr, re.MULTILINE)
    assert codes == ["E_VERDICT", "NOT_SAFETENSORS"]
    assert spectra(*words, "shared").exit_code == 3


@pytest.mark.parametrize("command", ["overlap", "run"])
def test_help_tells_of_the_exit_code(command):
    text = " ".join(spectra(command, "--help").stdout.split())
    assert "--fail-on VERDICT" in text
    assert "Exit with 9" in text
    assert "SPECTRA_FAIL_ON" in text
