"""C9: no clock decides anything."""

import ast
import os
import subprocess
import sys

import pytest

from tests.faults.commands import ROOT
from tests.faults.fitting import Forks, made, whole_units

CLOCKS = {
    "time": {"time", "time_ns", "localtime", "gmtime", "ctime", "strftime",
             "clock_gettime", "clock_gettime_ns"},
    "datetime": {"now", "utcnow", "today", "fromtimestamp"},
    "date": {"today", "fromtimestamp"},
}  # fmt: skip
MEANT = {
    "cli/cache.py": "shows when a file was last used",
    "hub/shelf.py": "removes what was not used for so many days, as asked",
    "hub/throttle.py": "reads and says until when a hub wants to be left",
}
"""Where a wall clock is read, and what for."""


def wall_clocks(tree):
    """Yield each use of a clock that somebody may set."""
    for node in ast.walk(tree):
        match node:
            case ast.Attribute(ast.Name(name), attribute):
                found = attribute in CLOCKS.get(name, ())
            case ast.Attribute(ast.Attribute(_, name), attribute):
                found = attribute in CLOCKS.get(name, ())
            case ast.ImportFrom("time", names):
                found = any(each.name in CLOCKS["time"] for each in names)
            case _:
                found = False
        if found:
            yield ast.unparse(node)


def test_wall_clocks_are_read_for_people_alone():
    found = {
        path.relative_to(ROOT / "spectra").as_posix()
        for path in (ROOT / "spectra").rglob("*.py")
        if list(wall_clocks(ast.parse(path.read_text("utf-8"))))
    }
    assert found == MEANT.keys()


@pytest.mark.parametrize(
    "line",
    ["time.time()", "datetime.now(UTC)", "datetime.datetime.utcnow()",
     "from time import time", "datetime.date.today()"],
)  # fmt: skip
def test_clocks_are_seen(line):
    assert list(wall_clocks(ast.parse(line)))
    assert not list(wall_clocks(ast.parse("time.monotonic(); a.now()")))


@pytest.mark.slow
@pytest.mark.parametrize("seconds", [10 * 365 * 86400, -20])
def test_a_machine_that_is_up_for_longer(tmp_path, seconds):
    """The clock of durations is ahead by ten years, or behind."""
    (tmp_path / "made").mkdir()
    fitting, run = made(tmp_path / "made"), tmp_path / "run.h5"
    done = subprocess.run(
        ["unshare", "--time", "--fork",
         f"--monotonic={seconds}", f"--boottime={seconds}",
         sys.executable, "-m", "spectra", "fit", fitting.catalog, "-o", run],
        capture_output=True, text=True, check=False,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    if "unshare" in done.stderr:
        pytest.skip(f"no clock was set: {done.stderr.strip()[:200]}")
    assert (done.returncode, done.stderr) == (0, "")
    assert run.read_bytes() == fitting.expected


@pytest.mark.slow
@pytest.mark.parametrize("seconds", [0, 2**31 - 5, 4 * 10**9])
def test_files_of_another_time(tmp_path, seconds):
    """A fit that was broken off goes on, however old its files look."""
    (tmp_path / "made").mkdir()
    fitting, run = made(tmp_path / "made"), tmp_path / "out" / "run.h5"
    run.parent.mkdir()
    forks = Forks(fitting, tmp_path / "said")
    forks.killed_at(run, 5, workers=1)
    forks.close()
    units = whole_units(run)
    for path in (*units, run.parent, *run.parent.iterdir()):
        os.utime(path, (seconds, seconds))
    before = {path.name for path in units}
    fitting.check_resumed(run, [None] * len(before))
