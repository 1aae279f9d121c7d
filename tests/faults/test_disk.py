"""C3, C4: a disk that is full, read-only or broken costs nothing kept.

No reserve is set aside and nothing is retried: a unit that cannot be written
is no unit, the line says how many there are, and the same command goes on.
"""

import os
import re
import subprocess
import sys
from contextlib import contextmanager

import pytest

from tests.faults.fitting import (
    NAMES,
    Forks,
    made,
    needs_strace,
    whole_units,
)

SIZES = (48, 120, 200, 300, 400, 500, 600, 700, 1100, 1900)
"""KiB of a disk: of the layers, which take 900 KiB, and of the run file."""


@pytest.fixture(scope="module")
def fitting(tmp_path_factory):
    return made(tmp_path_factory.mktemp("disk"))


@contextmanager
def mounted(folder, *options):
    if os.geteuid():
        pytest.skip("mounting a tmpfs needs root")
    folder.mkdir()
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", ",".join(options), "tmpfs", folder],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    if done.returncode:
        pytest.skip(f"no tmpfs here: {done.stderr.strip()}")
    try:
        yield
    finally:
        subprocess.run(["umount", folder], check=True)


def remount(folder, *options):
    command = ["mount", "-o", f"remount,{','.join(options)}", folder]
    subprocess.run(command, check=True)


def spectra(*words):
    return subprocess.run(
        [sys.executable, "-m", "spectra", *map(str, words)],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


def kept_by(done):
    """Return what the one line of a failure says is kept."""
    (line,) = done.stderr.splitlines()
    assert done.returncode == 5, line
    assert len(line) <= 400
    return int(re.search(f"kept ([0-9]+)/{len(NAMES)} layers", line)[1])


@pytest.mark.slow
def test_a_full_disk_at_ten_sizes(fitting, tmp_path):
    found = []
    for size in SIZES:
        disk = tmp_path / f"disk{size}"
        run = disk / "run.h5"
        with mounted(disk, f"size={size}k"):
            done = spectra("fit", fitting.catalog, "-o", run)
            assert "E_DISK_FULL" in done.stderr
            assert not run.exists()
            found.append(kept_by(done))
            assert found[-1] == len(whole_units(run))
            remount(disk, "size=64m")
            fitting.check_resumed(run, NAMES[: found[-1]])
    assert found[0] == 0
    assert found[-1] == len(NAMES), "full while the run file was made"
    assert len(set(found)) >= 4


@pytest.mark.slow
def test_no_more_files(fitting, tmp_path):
    """C13: a disk can run out of names before it runs out of bytes."""
    disk = tmp_path / "disk"
    run = disk / "run.h5"
    with mounted(disk, "nr_inodes=9"):
        done = spectra("fit", fitting.catalog, "-o", run)
        assert 0 < kept_by(done) < 9
        remount(disk, "nr_inodes=1000")
        fitting.check_resumed(run, [])


def test_a_read_only_disk(fitting, tmp_path):
    disk = tmp_path / "disk"
    with mounted(disk, "ro"):
        done = spectra("fit", fitting.catalog, "-o", disk / "run.h5")
    assert done.returncode == 5
    assert done.stderr.startswith("spectra: E_READ_ONLY: cannot write ")
    assert done.stderr.count("\n") == 1


FAULTS = [
    ("write", "ENOSPC", "E_DISK_FULL"),
    ("write", "EDQUOT", "E_DISK_FULL"),
    ("write", "EIO", "E_STORAGE"),
    ("fsync", "EIO", "E_STORAGE"),
    ("rename", "EROFS", "E_READ_ONLY"),
    ("rename", "EIO", "E_STORAGE"),
]


@pytest.mark.slow
@pytest.mark.parametrize(("call", "error", "code"), FAULTS)
@pytest.mark.parametrize("when", [1, 4, 11])
def test_a_call_that_fails(fitting, tmp_path, call, error, code, when):
    """From the n-th on of a thread; it is that which keeps the layers."""
    needs_strace()
    forks, run = Forks(fitting), tmp_path / "run.h5"
    status, lines = forks(
        run,
        "-e", f"trace={call}",
        "-e", f"inject={call}:error={error}:when={when}+",
    )  # fmt: skip
    forks.close()
    (line,) = [line for line in lines if line not in NAMES]
    assert status == 5, line
    assert line.startswith(f"{code}: ")
    run.with_name("trace").unlink()
    fitting.check_resumed(run, [name for name in lines if name in NAMES])


@pytest.mark.slow
@pytest.mark.parametrize("when", [1, 2, 5, 100, 300, 560])
@pytest.mark.parametrize("error", ["ENOSPC", "EIO"])
def test_hdf5_may_crash_and_nothing_is_lost(fitting, tmp_path, error, when):
    """Every write of the run file fails from the n-th on."""
    needs_strace()
    forks, run = Forks(fitting), tmp_path / "run.h5"
    status, lines = forks(
        run,
        "-e", "trace=pwrite64",
        "-e", f"inject=pwrite64:error={error}:when={when}+",
    )  # fmt: skip
    forks.close()
    (line,) = [line for line in lines if line not in NAMES]
    assert status == 5, line
    expected = "E_DISK_FULL" if error == "ENOSPC" else "E_STORAGE"
    assert line.startswith(f"{expected}: ")
    run.with_name("trace").unlink()
    fitting.check_resumed(run, [name for name in lines if name in NAMES])
