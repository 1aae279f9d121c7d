"""C2: what is asked of the disk before a layer is told to be kept.

The same for any file system: of a file its bytes and then its name, and the
names of the folders that were made for it.
"""

import re
from pathlib import Path

import pytest

from tests.faults.fitting import NAMES, Forks, made, needs_strace

CALLS = "mkdir,fsync,rename,writev"
BEGUN = re.compile(r"(\d+) +(\w+)\((.*)")
RESUMED = re.compile(r"(\d+) +<\.\.\. (\w+) resumed>")
QUOTED = re.compile(r'"([^"]*)"|<([^>]*)>')


@pytest.fixture
def fitting(tmp_path):
    (tmp_path / "made").mkdir()
    return made(tmp_path / "made")


def ended(trace):
    """Yield the calls, as they end, with the paths that they name."""
    pending = {}
    for line in trace.splitlines():
        if begun := BEGUN.match(line):
            pid, call, rest = begun.groups()
            names = [one or other for one, other in QUOTED.findall(rest)]
            if "<unfinished" in rest:
                pending[pid] = [n for n in names if n != "unfinished ..."]
            elif " = 0" in rest or call == "writev":
                yield call, names
        elif (back := RESUMED.match(line)) and " = 0" in line:
            yield back[2], pending.pop(back[1])


def owed(calls):
    """Yield at each line that is told, and at the end, what is not flushed.

    A name is paid for by a flush of its folder, bytes by one of the file.
    """
    flushed, names, renamed, n_told = set(), set(), [], 0
    for call, paths in calls:
        if call == "fsync":
            flushed.add(paths[0])
            names = {n for n in names if str(Path(n).parent) != paths[0]}
        elif call == "mkdir":
            names.add(paths[0])
        elif call == "rename":
            renamed.append(paths[1])
            names.add(paths[1])
            if paths[0] not in flushed:
                names.add(f"bytes of {paths[1]}")
        else:
            n_told += 1
            # The next layer may be under way.
            yield names - set(renamed[n_told:])
    yield names


def test_names_and_bytes_are_on_the_disk_first(fitting, tmp_path):
    needs_strace()
    forks, run = Forks(fitting, tmp_path / "said"), tmp_path / "a/b/run.h5"
    trace = tmp_path / "trace"
    code, lines = forks(run, "-y", "-e", f"trace={CALLS}", trace=trace)
    forks.close()
    assert (code, lines) == (0, NAMES)
    calls = list(ended(trace.read_text()))
    folders = [paths[0] for call, paths in calls if call == "mkdir"]
    expected = [run.parents[1], run.parent, f"{run}.work"]
    assert folders[-3:] == [str(folder) for folder in expected]
    renamed = [paths[1] for call, paths in calls if call == "rename"]
    assert len(renamed) == len(NAMES) + 2
    assert renamed[-1] == str(run)
    left = list(owed(calls))
    assert left == [set()] * (len(NAMES) + 1)
