"""``spectra compare`` as a user types it, on what ships with spectra."""

import json
import shutil
from importlib.resources import files
from pathlib import Path

import pytest

import spectra
from tests.checkpoints import adapters
from tests.cli.test_cli import spectra as typed

DEMO = Path(str(files("spectra") / "demo_population"))


def run_of(out, *sources):
    return spectra.fit(spectra.scan(*sources), out).path


@pytest.fixture(scope="module")
def halves(tmp_path_factory):
    """Return the runs of two halves of 32 independent adapters."""
    folder = tmp_path_factory.mktemp("halves")
    members = sorted(p for p in (DEMO / "independent").iterdir() if p.is_dir())
    return (
        run_of(folder / "A.h5", *members[::2]),
        run_of(folder / "B.h5", *members[1::2]),
    )


@pytest.fixture
def small(tmp_path):
    """Return two small runs."""
    return [
        run_of(
            tmp_path / f"{name}.h5",
            adapters(tmp_path / name, [3] * 5, {"q": (24, 16)}, seed=seed)[0],
        )
        for name, seed in (("a", 1), ("b", 2))
    ]


def test_halves_of_a_real_population(halves, tmp_path):
    """Independent adapters share nothing: no half holds the other's."""
    both = tmp_path / "both.h5"
    done = typed("compare", *halves, "-o", both)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    head, *rows, closing = done.stdout.splitlines()
    assert head.split() == [
        "layer", "verdict", "k", "overlap", "chance", "A->B", "B->A", "p",
    ]  # fmt: skip
    assert len(rows) == 12
    assert {row.split()[1] for row in rows} == {"undecided"}
    assert closing.startswith("16 models of A in 16 independent groups")
    assert both.exists()
    document = json.loads(
        typed("compare", *halves, "-o", both, "--json").stdout
    )
    assert document["schema"] == "spectra-comparison/1"
    assert document["verdict"]["text"] == closing
    for layer in document["layers"]:
        assert layer["n_groups"] == [16, 16]
        assert layer["p"] > 0.01


def test_one_random_start_in_both_is_found(tmp_path):
    members = sorted(p for p in (DEMO / "same-seed").iterdir() if p.is_dir())
    runs = [
        run_of(tmp_path / "A.h5", *members[::2]),
        run_of(tmp_path / "B.h5", *members[1::2]),
    ]
    done = typed("compare", *runs)
    assert done.returncode == 0
    assert "16 models left out" in done.stdout
    assert done.stdout.count("too-few") == 13


def test_options_reach_the_measurement(small):
    done = typed(
        "compare", *small, "-k", 2, "--draws", 250, "--seed", 3, "--json"
    )
    document = json.loads(done.stdout)
    runs = [spectra.load(path) for path in small]
    found = spectra.compare(*runs, k=(2,), draws=250, seed=3)
    assert document == found.document
    assert set(document["layers"][0]["overlap"]["value"]) == {
        "1", "2", "4", "16",
    }  # fmt: skip
    other = spectra.compare(*runs, k=(2,), draws=250, seed=4).document
    permuted, again = (
        x["layers"][0]["overlap"]["permuted"] for x in (document, other)
    )
    assert permuted != again


def test_who_is_in_both_is_told(small, tmp_path):
    both = run_of(tmp_path / "c.h5", tmp_path / "a", tmp_path / "b")
    done = typed("compare", small[0], both)
    assert done.returncode == 0
    assert done.stdout.startswith("5 checkpoints are in both runs")


def code_of(done, exit_code):
    assert done.returncode == exit_code, done.stderr
    (line,) = done.stderr.splitlines()
    assert done.stdout == ""
    return line.split(": ")[1]


def test_what_cannot_be_compared_is_one_line(small):
    done = typed("compare", small[0], small[0])
    assert code_of(done, 2) == "E_COMPARE"


def test_checkpoints_that_changed_are_exit_code_7(small, tmp_path):
    shutil.rmtree(tmp_path / "b")
    adapters(tmp_path / "b", [3] * 5, {"q": (24, 16)}, seed=3)
    out = tmp_path / "both.h5"
    done = typed("compare", *small, "-o", out)
    assert code_of(done, 7) == "E_INTEGRITY"
    assert not out.exists()


def test_checkpoints_that_are_gone_are_exit_code_2(small, tmp_path):
    shutil.rmtree(tmp_path / "b")
    assert code_of(typed("compare", *small), 2) == "E_SOURCE"


@pytest.mark.parametrize("words", [["a.h5"], ["a.h5", "b.h5", "--draws", "9"]])
def test_bad_options_exit_with_2(words):
    done = typed("compare", *words)
    assert done.returncode == 2
    assert done.stdout == ""
    assert "Traceback" not in done.stderr
