"""C12: killed while a report is written, the old files are whole, or new."""

import shutil
import subprocess
import sys

import pytest

from spectra.store.runfile import read_report
from tests.checkpoints import adapters
from tests.faults.commands import spectra
from tests.faults.fitting import needs_strace

POINTS = [("rename", 1), ("rename", 4), ("fsync", 2), ("fsync", 8),
          ("write", 1), ("write", 9)]  # fmt: skip


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """Return a folder with a run, its report, and the run with another."""
    folder = tmp_path_factory.mktemp("reports")
    adapters(folder / "p", [2, 3] * 4, {"q": (14, 11), "v": (9, 20)})
    for words in (
        "fit p -o run.h5", "overlap run.h5", "report run.h5 -o old",
    ):  # fmt: skip
        assert spectra(*words.split(), cwd=folder).returncode == 0
    shutil.copyfile(folder / "run.h5", folder / "other.h5")
    for words in ("overlap other.h5 --seed 1", "report other.h5 -o new"):
        assert spectra(*words.split(), cwd=folder).returncode == 0
    return folder


def killed(trace, call, number, *words):
    """Run a command that is killed at its n-th such call, or ends before."""
    needs_strace()
    return subprocess.run(
        ["strace", "-f", "-o", trace, "-e", f"trace={call}",
         "-e", f"inject={call}:signal=SIGKILL:when={number}",
         sys.executable, "-B", "-m", "spectra", *words],
        capture_output=True, check=False, timeout=120,
    ).returncode  # fmt: skip


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.glob("[!.]*")}


@pytest.mark.slow
@pytest.mark.parametrize(("call", "number"), POINTS)
def test_files_of_a_report(place, tmp_path, call, number):
    out = tmp_path / "out"
    shutil.copytree(place / "old", out)
    words = ("report", place / "other.h5", "-o", out)
    assert killed(tmp_path / "trace", call, number, *words) != 0
    old, new, found = map(contents, (place / "old", place / "new", out))
    assert old.keys() == new.keys() == found.keys()
    for name, content in found.items():
        assert content in (old[name], new[name]), name
    assert spectra(*words).returncode == 0
    assert contents(out) == new
    assert list(out.glob(".*")) == [], "no draft of who was killed is left"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("call", "number"), [("rename", 1), ("rename", 2), ("fsync", 4)]
)
def test_the_report_in_a_run(place, tmp_path, call, number):
    run = tmp_path / "run.h5"
    shutil.copyfile(place / "run.h5", run)
    words = ("overlap", run, "--seed", "1")
    assert killed(tmp_path / "trace", call, number, *words) != 0
    whole = {n: (place / n).read_bytes() for n in ("run.h5", "other.h5")}
    assert run.read_bytes() in whole.values()
    (tmp_path / "trace").unlink()
    assert spectra(*words).returncode == 0
    # In place of another one it lies elsewhere in the file.
    assert read_report(run) == read_report(place / "other.h5")
    assert list(tmp_path.iterdir()) == [run]
