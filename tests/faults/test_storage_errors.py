"""C3, C4: limits of the system end a fit in one line, and it goes on later.

Real limits where there are some (of files' sizes, of open files, of names),
errors that strace gives to the fit's own calls where there are none.
"""

import re
import subprocess
import sys

import pytest

from tests.faults.fitting import NAMES, made, needs_strace, whole_units


@pytest.fixture(scope="module")
def fitting(tmp_path_factory):
    return made(tmp_path_factory.mktemp("errors"))


@pytest.fixture
def run(tmp_path):
    return tmp_path / "out" / "run.h5"


def fit(fitting, run, *before, limit="true"):
    """Fit in a process of its own; `before` is the command to run it by."""
    return subprocess.run(
        ["bash", "-c", f'{limit} && exec "$@"', "-", *before,
         sys.executable, "-m", "spectra", "fit", fitting.catalog, "-o", run],
        capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip


def refused(done, *codes):
    """Return the line that a fit ended with, for the disk's reasons."""
    (line,) = done.stderr.splitlines()
    assert (done.returncode, done.stdout) == (5, ""), line
    assert line.startswith(tuple(f"spectra: {code}: " for code in codes))
    assert len(line) <= 400
    return line


def kept(line):
    return int(re.search(f"kept ([0-9]+)/{len(NAMES)} layers", line)[1])


@pytest.mark.slow
def test_files_may_not_be_large(fitting, run):
    """C3: RLIMIT_FSIZE, in KiB: of a unit, of the run file, of neither."""
    found = []
    for size in (0, 40, 90, 700):
        done = fit(fitting, run, limit=f"ulimit -f {size}")
        line = refused(done, "E_STORAGE")
        assert "File too large" in line
        assert not run.exists()
        found.append(kept(line))
        assert found[-1] == len(whole_units(run))
    assert found == [0, 0, len(NAMES), len(NAMES)]
    fitting.check_resumed(run, NAMES)


@pytest.mark.slow
def test_few_files_may_be_open(fitting, run):
    """C4: EMFILE, at whatever comes to need one more."""
    for n_files in (5, 6, 7, 9, 12):
        done = fit(fitting, run, limit=f"ulimit -n {n_files}")
        assert "Too many open files" in refused(done, "E_STORAGE")
    assert whole_units(run)
    assert fit(fitting, run, limit="ulimit -n 24").returncode == 0
    fitting.check_resumed(run, [])


ERRORS = [
    ("fsync", "EIO", 1, "E_STORAGE"),
    ("fsync", "EDQUOT", 6, "E_DISK_FULL"),
    ("openat", "EIO", 1, "E_STORAGE"),
    ("openat", "EMFILE", 4, "E_STORAGE"),
    ("openat", "ENFILE", 17, "E_STORAGE"),
    ("mkdir", "EDQUOT", 1, "E_DISK_FULL"),
    ("mkdir", "EROFS", 1, "E_READ_ONLY"),
]


@pytest.mark.slow
@pytest.mark.parametrize(("call", "error", "when", "code"), ERRORS)
def test_a_call_on_the_folder_of_units_fails(
    fitting, run, call, error, when, code
):
    """C4: from the n-th of a thread on; test_disk has those on files."""
    needs_strace()
    run.parent.mkdir()
    trace = run.parents[1] / "trace"
    done = fit(
        fitting, run,
        "strace", "-f", "-o", trace, "-P", f"{run}.work",
        "-e", f"trace={call}",
        "-e", f"inject={call}:error={error}:when={when}+",
    )  # fmt: skip
    assert "(INJECTED)" in trace.read_text()
    refused(done, code)
    fitting.check_resumed(run, [])


@pytest.mark.parametrize("length", [250, 255, 256])
def test_names_have_an_end(fitting, tmp_path, length):
    """C4, F6: ENAMETOOLONG is said before any layer is read."""
    run = tmp_path / f"{'n' * (length - 3)}.h5"
    done = fit(fitting, run)
    if done.returncode:
        assert length > 250
        assert "File name too long" in refused(done, "E_STORAGE")
        assert list(tmp_path.iterdir()) == []
    else:
        fitting.check_resumed(run, [])
