"""C6, C10, F8, F9, F10: whatever is around it, a fit is the same bits.

Or it says what it misses; a home folder is missed in tests/hub_cache.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.checkpoints import adapters
from tests.faults.commands import ROOT, spectra
from tests.faults.fitting import needs_strace
from tests.faults.test_disk import mounted, remount


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """Return a folder with a population, and its run where nothing is odd."""
    folder = tmp_path_factory.mktemp("around")
    adapters(folder / "p", [2, 3] * 4, {"q": (14, 11), "v": (9, 20)})
    assert spectra("fit", "p", "-o", "run.h5", cwd=folder).returncode == 0
    return folder


AROUND = {
    "no HOME": "unset HOME",
    "no USER, no PATH": "unset USER LOGNAME PATH",
    "TMPDIR is not there": "export TMPDIR=/nowhere/at/all",
    "TMPDIR is a file": "export TMPDIR=/etc/hostname",
    "stdin closed": "exec <&-",
    "stdout closed": "exec >&-",
    "stderr closed": "exec 2>&-",
    "all three closed": "exec <&- >&- 2>&-",
    "ASCII": "export LC_ALL=C PYTHONUTF8=0 PYTHONCOERCECLOCALE=0",
    "no such locale": 'set -- env LC_ALL=xx_YY TZ=No/Where "$@"',
    "umask 0": "umask 0",
    "umask 077": "umask 077",
    "a terminal of no width": "export COLUMNS=0 TERM=unheard-of",
    "warnings are errors": "export PYTHONWARNINGS=error",
}


@pytest.mark.slow
@pytest.mark.parametrize("before", AROUND.values(), ids=AROUND)
def test_the_same_bits(place, tmp_path, before):
    """F9, C10."""
    run = tmp_path / "run.h5"
    done = spectra("fit", "p", "-o", run, before=before, cwd=place)
    assert (done.returncode, done.stderr) == (0, "")
    assert run.read_bytes() == (place / "run.h5").read_bytes()
    assert list(tmp_path.iterdir()) == [run]


def test_where_we_are_is_gone(place, tmp_path):
    """F9: nothing is to be found from here, all else is."""
    done = spectra(
        "fit", place / "p", "-o", tmp_path / "run.h5",
        before='mkdir gone && cd gone && rmdir "$PWD"', cwd=tmp_path,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")


def test_no_shared_memory(place, tmp_path):
    """F9: /dev/shm is there, and takes nothing."""
    if os.geteuid():
        pytest.skip("shared memory was there: taking it away needs root")
    command = [
        "unshare", "-m", "sh", "-c",
        'mount -t tmpfs -o size=4k,nr_inodes=1 none /dev/shm && exec "$@"',
        "-", sys.executable, "-m", "spectra", "fit", "p", "-o",
        tmp_path / "run.h5",
    ]  # fmt: skip
    done = subprocess.run(
        command, cwd=place, capture_output=True, text=True, check=False,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    if "unshare failed" in done.stderr or "mount:" in done.stderr:
        pytest.skip(f"shared memory was there: {done.stderr.strip()[:200]}")
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.slow
@pytest.mark.parametrize("encoding", ["utf-8:strict", "ascii:strict"])
def test_folders_whose_names_are_no_text(place, tmp_path, encoding):
    """F8: where we are, what is read and what is written."""
    here = Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xff\x1b[31m"))
    here.mkdir()
    shutil.copytree(place / "p", here / "p")
    (here / "p" / "a03").rename(here / "p" / os.fsdecode(b"a\xfe\x07"))
    done = spectra(
        "run", here / "p", "-o", here / "out", cwd=here,
        LC_ALL="C", PYTHONIOENCODING=encoding,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.isascii()
    assert "\x1b" not in done.stdout
    assert "\\udcff\\x1b[31m/out/report.html" in done.stdout
    for path in (here / "out").glob("*.[hjcm]*"):
        if path.suffix != ".h5":
            assert "\x1b" not in path.read_bytes().decode("utf-8")
    models = (here / "out" / "models.csv").read_text("utf-8")
    assert "a\\udcfe\\x07," in models


def test_a_run_that_cannot_be_written_can_be_read(place, tmp_path):
    """C6: its folder, and the cache."""
    disk = tmp_path / "disk"
    with mounted(disk, "size=8m"):
        shutil.copyfile(place / "run.h5", disk / "run.h5")
        remount(disk, "ro")
        for words in (["lineage"], ["verify"]):
            done = spectra(*words, disk / "run.h5", SPECTRA_CACHE=str(disk))
            assert (done.returncode, done.stderr) == (0, ""), words
        done = spectra("overlap", disk / "run.h5")
        assert done.returncode == 5
        assert done.stderr.startswith("spectra: E_READ_ONLY: ")
        fitted = spectra(
            "fit", "p", "-o", tmp_path / "run.h5", cwd=place,
            SPECTRA_CACHE=str(disk / "cache"),
        )  # fmt: skip
        assert (fitted.returncode, fitted.stderr) == (0, "")


def test_nobody_is_called(place, tmp_path):
    """F10: not by an import, and not by a run of local files."""
    needs_strace()
    everything = "import spectra; [getattr(spectra, n) for n in dir(spectra)]"
    for words in (
        ["-c", everything],
        ["-m", "spectra", "run", "p", "-o", tmp_path / "out"],
    ):
        trace = tmp_path / "trace"
        subprocess.run(
            ["strace", "-f", "-o", trace, "-e", "trace=socket,connect,bind",
             sys.executable, *words],
            cwd=place, check=True, capture_output=True,
            env=os.environ | {"PYTHONPATH": str(ROOT)},
        )  # fmt: skip
        text = trace.read_text()
        assert "exited with 0" in text
        assert [line for line in text.splitlines() if "(" in line] == []
