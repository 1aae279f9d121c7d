"""C1: killed at any call, a fit loses no layer that was kept.

Row C1 of the catalogue of faults. The plain design that meets it: a unit is a
file that is renamed into place once it is on the disk; there is nothing else.
"""

import random
import re
import time
from collections import Counter
from itertools import islice

import pytest

from tests.faults.fitting import NAMES, Forks, made, needs_strace

pytestmark = pytest.mark.slow

CALLS = (
    "write", "pwrite64", "fsync", "fdatasync", "rename", "unlink", "mkdir",
    "rmdir", "ftruncate",
)  # fmt: skip
N_SHARDS, POINTS = 4, 320


@pytest.fixture(scope="module")
def fitting(tmp_path_factory):
    return made(tmp_path_factory.mktemp("kill"))


@pytest.fixture(scope="module")
def fit(fitting):
    needs_strace()
    with Forks(fitting) as forks:
        yield forks


@pytest.fixture
def run(tmp_path):
    return tmp_path / "run.h5"


def calls(fit, run):
    """Return how often a thread makes each call that changes the disk."""
    code, lines = fit(run, "-e", f"trace={','.join(CALLS)}")
    assert (code, lines) == (0, NAMES)
    trace = run.with_name("trace")
    pattern = re.compile(r"^(\d+) +(\w+)\(", re.MULTILINE)
    found = pattern.findall(trace.read_text())
    trace.unlink()
    most = Counter()
    for (_, call), count in Counter(found).items():
        most[call] = max(most[call], count)
    return most


def points(most):
    """Return each call of the fit's own, and as many of HDF5's as wanted."""
    every = [
        (call, number)
        for call, count in sorted(most.items())
        for number in range(1, count + 1)
        if call != "pwrite64"
    ]
    n_left = POINTS - len(every)
    step = max(1, most["pwrite64"] // n_left)
    writes = range(1, most["pwrite64"] + 1, step)
    return every + [("pwrite64", number) for number in writes]


@pytest.mark.parametrize("shard", range(N_SHARDS))
def test_killed_at_each_call_that_changes_the_disk(fitting, fit, run, shard):
    most = calls(fit, run)
    assert run.read_bytes() == fitting.expected
    run.unlink()
    where = points(most)
    assert len(where) >= 300
    killed = 0
    for call, number in islice(where, shard, None, N_SHARDS):
        code, lines = fit(
            run,
            "-e", f"trace={call}",
            "-e", f"inject={call}:signal=SIGKILL:when={number}",
        )  # fmt: skip
        killed += code != 0
        # Where HDF5's process was killed, ours says so and ends.
        assert code in (-9, 5, 0)
        run.with_name("trace").unlink()
        fitting.check_resumed(run, [name for name in lines if name in NAMES])
        run.unlink()
    assert killed >= 0.95 * len(where) / N_SHARDS


@pytest.mark.parametrize("workers", [1, 2])
def test_killed_at_random_times(fitting, run, workers):
    """100 kills, 50 with each number of workers, some before it begins."""
    draw, kept = random.Random(workers), []
    with Forks(fitting) as forks:
        for _ in range(50):
            wait = draw.uniform(0, 1)
            code, lines = forks.killed_after(run, wait, workers=workers)
            assert code in (-9, 0)
            kept.append(len(lines))
            fitting.check_resumed(run, lines)
            run.unlink()
    assert len(set(kept)) > 3, "kills were all at one place"


def test_killed_again_and_again_it_comes_to_its_end(fitting, run):
    """Each try keeps at least a layer more; nothing else is done."""
    tries, deadline = 0, time.monotonic() + 120
    with Forks(fitting) as forks:
        while not run.exists():
            assert time.monotonic() < deadline
            forks.killed_after(run, 0.03 + 0.02 * tries, workers=1)
            tries += 1
    assert tries > 1
    fitting.check_resumed(run, [])
