"""The demo: a real population, the honest answer and the trap."""

import json
import os
import subprocess
import sys
from importlib.resources import files
from pathlib import Path

import pytest

DEMO = Path(str(files("spectra") / "demo_population"))


def run(*words, prefix=()):
    return subprocess.run(
        [*prefix, sys.executable, "-m", "spectra", *map(str, words)],
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    folder = tmp_path_factory.mktemp("demo") / "out"
    done = run("demo", "-o", folder)
    assert done.returncode == 0, done.stderr
    return done.stdout, folder


def report_of(folder):
    return json.loads((folder / "report.json").read_text())


def test_it_ends_with_a_table_the_artefact_and_the_page(demo):
    text, folder = demo
    assert text.splitlines()[-1] == f"look at {folder / 'report.html'}"
    assert sum("attention.self" in line for line in text.splitlines()) >= 12
    assert "Artefact: 16 adapters, same-seed/00-" in text
    assert "The other 32 started independently." in text
    names = {path.name for path in folder.iterdir()}
    assert names >= {
        "report.html", "report.json", "report.md", "layers.csv",
        "models.csv", "pairs.csv", "run.h5", "catalog.jsonl",
    }  # fmt: skip


def test_it_finds_the_sixteen_that_share_a_seed(demo):
    population = report_of(demo[1])["population"]
    groups = population["initialisation"]["groups"]
    shared = [group for group in groups if len(group) > 1]
    assert population["n_models"] == 48
    assert len(shared) == 1
    assert len(shared[0]) == 16
    assert all(name.startswith("same-seed/") for name in shared[0])


def test_some_layers_would_pass_for_shared_and_are_called_what_they_are(demo):
    verdicts = [layer["verdict"] for layer in report_of(demo[1])["layers"]]
    assert len(verdicts) == 12
    assert set(verdicts) == {"not-shared", "shared-initialisation"}


def test_the_independent_part_alone_is_not_shared(tmp_path):
    done = run("run", DEMO / "independent", "-o", tmp_path)
    assert done.returncode == 0
    verdicts = [layer["verdict"] for layer in report_of(tmp_path)["layers"]]
    assert verdicts.count("not-shared") >= 9
    assert {"shared", "shared-initialisation"}.isdisjoint(verdicts)


def test_the_part_of_one_seed_alone_is_shared_initialisation(tmp_path):
    done = run("run", DEMO / "same-seed", "-o", tmp_path)
    assert done.returncode == 0
    verdicts = [layer["verdict"] for layer in report_of(tmp_path)["layers"]]
    assert set(verdicts) == {"shared-initialisation"}


@pytest.mark.skipif(os.geteuid() != 0, reason="cutting the network needs root")
def test_it_needs_no_network(tmp_path):
    offline = ("unshare", "--net")
    if subprocess.run([*offline, "true"], check=False).returncode:
        pytest.skip("network namespaces are not allowed here")
    done = run("demo", "-o", tmp_path, prefix=offline)
    assert done.returncode == 0, done.stderr


def test_what_ships_is_small_16_bit_and_documented():
    record = json.loads(
        Path(__file__)
        .parents[2]
        .joinpath("analyses/minilm_lora/record.json")
        .read_text()
    )
    weights = sorted(DEMO.rglob("*.safetensors"))
    listed = sorted(adapter["folder"] for adapter in record["adapters"])
    found = [str(path.parent.relative_to(DEMO)) for path in weights]
    assert found == listed
    assert len(found) >= 48
    total = sum(path.stat().st_size for path in DEMO.rglob("*.*"))
    assert total <= 8 * 10**6
