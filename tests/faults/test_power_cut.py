"""C2: a power cut loses no layer that was told to be kept, and no run.

A fit writes to a file system in an image. Its processes are stopped, and what
the block device holds by then is copied: what a machine finds that comes up
again. What is only in memory, since nobody waited for it, is not in the copy.
"""

import os
import random
import shutil
import signal
import subprocess
import time
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.faults.fitting import NAMES, Forks, made, until, whole_units

pytestmark = pytest.mark.slow

N_FITS, N_CUTS = 10, 4
"""Cuts within each fit; one more comes when it has ended."""


@contextmanager
def mounted(image, folder):
    if os.geteuid():
        pytest.skip("no power was cut: mounting an image needs root")
    folder.mkdir()
    # Nothing is committed by the clock, only where somebody asks for it.
    done = subprocess.run(
        ["mount", "-o", "loop,commit=300", image, folder],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    if done.returncode:
        pytest.skip(f"no power was cut: {done.stderr.strip()[:200]}")
    try:
        yield folder / "new"
    finally:
        subprocess.run(["umount", "--lazy", folder], check=True)
        folder.rmdir()


@pytest.fixture(scope="module")
def fitting(tmp_path_factory):
    return made(tmp_path_factory.mktemp("power"))


@pytest.fixture
def image(tmp_path):
    if shutil.which("mkfs.ext4") is None:
        pytest.skip("no power was cut: there is no mkfs.ext4")
    path = tmp_path / "disk.img"
    path.touch()
    os.truncate(path, 2**24)
    subprocess.run(["mkfs.ext4", "-q", "-F", path], check=True)
    return path


def stop(pid):
    """Stop a process and those it has started; return all of them."""
    os.kill(pid, signal.SIGSTOP)
    until(lambda: states(pid) <= {"T", "Z"})
    lists = Path(f"/proc/{pid}/task").glob("*/children")
    started = [int(n) for each in lists for n in each.read_text().split()]
    return [pid, *(each for child in started for each in stop(child))]


def states(pid):
    stats = Path(f"/proc/{pid}/task").glob("*/stat")
    return {stat.read_text().rpartition(")")[2].split()[0] for stat in stats}


def cuts(draw):
    """Return when to cut: after so many layers, so many seconds later."""
    lines = sorted(draw.choices(range(len(NAMES) + 1), k=N_CUTS))
    return [
        # The run file is made when the last layer is there.
        (n, draw.choice([0, draw.uniform(0, 0.6 if n == 12 else 0.01)]))
        for n in lines
    ]


def fit_and_cut(forks, run, image, draw):
    """Yield a copy of the image at each cut, and what was told before it."""
    with forks.child(run, 1 + draw.randrange(2)) as (pid, ended):
        os.kill(pid, signal.SIGCONT)
        for number, (n_lines, seconds) in enumerate(cuts(draw)):
            until(lambda n=n_lines: lines_of(forks.said) >= n)
            time.sleep(seconds)
            stopped = stop(pid)
            copy = image.with_name(f"cut{number}.img")
            try:
                shutil.copyfile(image, copy)
                told = lines_of(forks.said), states(pid) == {"Z"}
            finally:
                # Whoever goes on takes away those it started that have ended.
                for each in reversed(stopped):
                    os.kill(each, signal.SIGCONT)
            yield copy, *told
        code, lines = ended()
        copy = image.with_name("end.img")
        shutil.copyfile(image, copy)
        assert (code, lines) == (0, NAMES)
        yield copy, len(NAMES), True


def lines_of(path):
    return path.read_text().count("\n") if path.exists() else 0


def check(fitting, run, n_told, *, is_done, resume):
    """Check what is found after a cut; return how many layers are kept."""
    n_kept = len(whole_units(run))
    assert run.exists() or not is_done
    if resume:
        fitting.check_resumed(run, [None] * n_told)
    elif run.exists():
        assert run.read_bytes() == fitting.expected
    else:
        assert n_kept >= n_told
    return n_kept


def test_what_is_told_to_be_kept_is_on_the_disk(fitting, image, tmp_path):
    draw, forks = random.Random(0), Forks(fitting, tmp_path / "said")
    found = []
    try:
        for number in range(N_FITS):
            with mounted(image, tmp_path / "disk") as folder:
                for copy, n_told, is_done in fit_and_cut(
                    forks, folder / "run.h5", image, draw
                ):
                    with mounted(copy, tmp_path / "after") as after:
                        n_kept = check(
                            fitting, after / "run.h5", n_told,
                            is_done=is_done,
                            resume=len(found) % 5 == number % 5,
                        )  # fmt: skip
                    found.append((n_told, n_kept))
                    copy.unlink()
                shutil.rmtree(folder)
    finally:
        forks.close()
    assert len(found) == N_FITS * (N_CUTS + 1)
    assert len({n_told for n_told, _ in found}) >= 8, "all at one place"
