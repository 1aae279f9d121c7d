"""C8: whenever a fit is told to stop it does, alone, and goes on later."""

import os
import random
import signal
import subprocess
import sys
import time
import uuid
from pathlib import Path

import pytest

from spectra.store.journal import work_folder
from spectra.store.seal import is_whole
from tests.faults.fitting import made, until

CODES = {
    signal.SIGINT: 130,
    signal.SIGTERM: 143,
    # Nobody listens to it: what is kept is kept, as after any death.
    signal.SIGHUP: -signal.SIGHUP,
}
STOPPED = "spectra: E_INTERRUPTED: stopped as asked; "
N_PHASES = 7


@pytest.fixture(scope="module")
def fitting(tmp_path_factory):
    return made(tmp_path_factory.mktemp("signals"))


class Told:
    """A fit, with a mark by which those that it starts are found too."""

    def __init__(self, fitting, run, *options):
        self.mark = f"SPECTRA_MARK={uuid.uuid4()}"
        self.process = subprocess.Popen(
            [sys.executable, "-m", "spectra", "fit", fitting.catalog,
             "-o", run, *options],
            stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
            env=os.environ | dict([self.mark.split("=")]),
        )  # fmt: skip

    def others(self, name=""):
        """Return the processes it has started and that live, by a word."""
        found = []
        for folder in Path("/proc").glob("[0-9]*"):
            try:
                words = (folder / "environ").read_bytes().split(b"\0")
                command = (folder / "cmdline").read_bytes()
            except OSError:
                continue
            if self.mark.encode() in words and name.encode() in command:
                found.append(int(folder.name))
        return [pid for pid in found if pid != self.process.pid]

    def listens(self):
        """Return whether it has said what a signal is to do."""
        if self.process.poll() is not None:
            return True
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        caught = int(status.split("SigCgt:")[1].split()[0], 16)
        return bool(caught & 1 << signal.SIGTERM - 1)

    def ended(self, *numbers):
        """Send signals; return the exit code and what it has said."""
        for number in numbers:
            self.process.send_signal(number)
        begun = time.monotonic()
        _, said = self.process.communicate(timeout=15)
        assert time.monotonic() - begun < 10
        until(lambda: not self.others())
        return self.process.returncode, said


def drafts_of(run):
    return list(work_folder(run).glob(".*.h5.*.tmp"))


@pytest.mark.slow
@pytest.mark.parametrize("number", CODES)
def test_at_any_time(fitting, tmp_path, number):
    draw, run = random.Random(int(number)), tmp_path / "run.h5"
    codes = []
    for phase in range(N_PHASES):
        told = Told(fitting, run)
        until(told.listens)
        time.sleep(draw.uniform(0, 0.25) * phase)
        code, said = told.ended(number)
        codes.append(code)
        assert code in (0, CODES[number]), said
        assert said.count("\n") <= 1
        assert said.startswith(STOPPED if code > 0 else "")
        fitting.check_resumed(run, [])
        run.unlink()
    assert codes.count(CODES[number]) >= 2


@pytest.mark.slow
@pytest.mark.parametrize("number", [*CODES, signal.SIGKILL])
def test_while_another_process_makes_the_run_file(fitting, tmp_path, number):
    """It ends when the fit does, whatever ends that."""
    run = tmp_path / "run.h5"
    told = Told(fitting, run)
    until(lambda: told.others("assemble"))
    code, said = told.ended(number)
    assert code == CODES.get(number, -number)
    assert said.startswith(f"{STOPPED}kept 12/12 layers" if code > 0 else "")
    assert not run.exists()
    assert not any(map(is_whole, drafts_of(run)))
    fitting.check_resumed(run, [])


@pytest.mark.slow
def test_what_outlives_a_killed_fit_writes_nowhere_else(fitting, tmp_path):
    """The next fit has a draft of its own, and the run file stays its own."""
    run = tmp_path / "run.h5"
    told = Told(fitting, run)
    until(lambda: told.others("assemble"))
    (other,) = told.others("assemble")
    os.kill(other, signal.SIGSTOP)
    told.process.kill()
    told.process.communicate(timeout=60)
    command = Path(f"/proc/{other}/cmdline").read_bytes().split(b"\0")
    assert command[-2].endswith(b"/.run.h5.%d.tmp" % told.process.pid)
    assert drafts_of(run) in ([], [Path(command[-2].decode())])
    fitting.check_resumed(run, [])
    os.kill(other, signal.SIGCONT)
    until(lambda: not told.others())
    fitting.check(run)


def test_before_it_listens(fitting, tmp_path):
    told = Told(fitting, tmp_path / "run.h5")
    code, _ = told.ended(signal.SIGTERM)
    assert code == -signal.SIGTERM
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_told_twice_it_ends_at_once(fitting, tmp_path, number):
    run = tmp_path / "run.h5"
    told = Told(fitting, run)
    until(told.listens)
    code, said = told.ended(number, number)
    assert code in (CODES[number], -number)
    assert "Traceback" not in said
    fitting.check_resumed(run, [])


def test_nohup_is_obeyed(fitting, tmp_path):
    """A signal that was ignored when it began stays so."""
    run = tmp_path / "run.h5"
    before = signal.signal(signal.SIGTERM, signal.SIG_IGN)
    try:
        told = Told(fitting, run)
    finally:
        signal.signal(signal.SIGTERM, before)
    until(lambda: told.others("assemble"))
    code, said = told.ended(signal.SIGTERM)
    assert (code, said) == (0, "")
    fitting.check_resumed(run, [])
