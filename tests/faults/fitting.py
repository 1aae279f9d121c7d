"""A small population, a process that fits it, and what must be so after."""

import hashlib
import os
import shutil
import signal
import subprocess
import sys
import textwrap
import time
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np
import pytest

import spectra
from spectra.store.journal import work_folder
from tests.checkpoints import adapters

N_MODELS = 20
NAMES = [f"l{i}" for i in range(12)]

FORKS = """
    import os, signal, sys
    import numpy, scipy.linalg
    import spectra, spectra.study.grow
    from spectra.backend.device import open_device
    open_device("auto")

    def say(line):
        # By a call of its own, so that faults of `write` are others'.
        os.writev(1, [f"{line}\\n".encode()])

    for line in sys.stdin:
        catalog, run, said, workers = line.rstrip().split("\\t")
        pid = os.fork()
        if pid:
            print(pid, flush=True)
            sys.stdin.readline()
            status = os.waitpid(pid, 0)[1]
            print(os.waitstatus_to_exitcode(status), flush=True)
            continue
        os.dup2(os.open(said, os.O_WRONLY | os.O_CREAT, 0o666), 1)
        scanned = spectra.scan(catalog)
        os.kill(os.getpid(), signal.SIGSTOP)
        try:
            spectra.fit(
                scanned, run, workers=int(workers),
                on_event=lambda event: say(event.subject),
            )
        except spectra.core.errors.SpectraError as error:
            say(f"{error.code}: {error}; {getattr(error, '__notes__', '')}")
            os._exit(error.exit_code)
        os._exit(0)
"""
"""A process that has imported everything; each line makes it fit in a child.

The child stops before it fits, so that a tracer can be attached.
"""


@dataclass(frozen=True)
class Fitting:
    """A population, and the run file of a fit that nobody disturbed."""

    folder: Path
    expected: bytes

    @property
    def catalog(self):
        return self.folder / "catalog.jsonl"

    def check(self, run):
        """Check that a run is what it should be, byte for byte."""
        if run.read_bytes() != self.expected:
            other = run.with_name("expected.h5")
            other.write_bytes(self.expected)
            pytest.fail(f"differing: {differing(run, other) or 'no value'}")

    def check_resumed(self, run, acknowledged):
        """Check that nothing acknowledged is lost, and that a fit ends it."""
        kept = whole_units(run)
        if run.exists():
            self.check(run)
        else:
            assert len(kept) >= len(acknowledged)
        spectra.fit(spectra.scan(self.catalog), run)
        self.check(run)
        left = {path.name for path in run.parent.iterdir()}
        assert left == {run.name}


def differing(run, other):
    """Return the names of the datasets that two run files have unlike."""
    found = []
    for path in (run, other):
        with h5py.File(path) as file:
            values = {}
            file.visititems(
                lambda name, what, values=values: values.update(
                    {name: what[()]} if isinstance(what, h5py.Dataset) else {}
                )
            )
        found.append(values)
    one, two = found
    return sorted(
        one.keys() ^ two.keys()
        | {n for n in one if n in two and not np.array_equal(one[n], two[n])}
    )


def whole_units(run):
    """Return the units of a run's journal, each of which must be whole."""
    units = list(work_folder(run).glob("[!.]*.*"))
    units = [path for path in units if len(path.name) == 129]
    for path in units:
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        assert path.name.endswith(digest)
    return units


def made(folder):
    """Write a population and fit it."""
    adapters(folder / "p", [2, 3] * (N_MODELS // 2),
             dict.fromkeys(NAMES, (14, 11)))  # fmt: skip
    catalog = spectra.scan(folder / "p")
    catalog.save(folder / "catalog.jsonl")
    spectra.fit(catalog, folder / "run.h5")
    return Fitting(folder, (folder / "run.h5").read_bytes())


class Forks:
    """Fits under strace that need not wait for imports.

    What a fit prints goes to `said`, or to a file beside its run.
    """

    def __init__(self, fitting, said=None):
        self.fitting, self.said = fitting, said
        self.process = subprocess.Popen(
            [sys.executable, "-c", textwrap.dedent(FORKS)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=os.environ | {"OPENBLAS_NUM_THREADS": "1"},
        )

    def __call__(self, run, *options, workers=1, trace=None):
        """Fit into `run` under strace with those options.

        Returns the exit code and the lines it has printed.
        """
        trace = trace or run.with_name("trace")
        with self.child(run, workers) as (pid, ended):
            strace = subprocess.Popen(
                ["strace", "-f", "-o", str(trace), "-p", str(pid), *options],
                stderr=subprocess.PIPE, text=True,
            )  # fmt: skip
            attached = strace.stderr.readline()
            assert "attached" in attached, attached
            os.kill(pid, signal.SIGCONT)
            code, lines = ended()
            strace.communicate(timeout=60)
        return code, lines

    def killed_after(self, run, seconds, *, workers):
        """Fit into `run`, and kill it when it has run for that long."""
        with self.child(run, workers) as (pid, ended):
            os.kill(pid, signal.SIGCONT)
            time.sleep(seconds)
            os.kill(pid, signal.SIGKILL)  # A zombie, where it has ended.
            return ended()

    def killed_at(self, run, n_lines, *, workers):
        """Fit into `run`, and kill it when it has printed so many lines."""
        with self.child(run, workers) as (pid, ended):
            os.kill(pid, signal.SIGCONT)
            said = self.said or run.with_name("said")
            until(lambda: said.read_text().count("\n") >= n_lines)
            os.kill(pid, signal.SIGKILL)
            return ended()[1]

    @contextmanager
    def child(self, run, workers):
        """Give a process that is about to fit, and a way to wait for it."""
        said = self.said or run.with_name("said")
        words = (self.fitting.catalog, run, said, workers)
        self._tell("\t".join(map(str, words)))
        pid = int(self.process.stdout.readline())
        until(lambda: Path(f"/proc/{pid}/stat").read_text().split()[2] == "T")

        def ended():
            self._tell("wait")
            code = int(self.process.stdout.readline())
            lines = said.read_text().splitlines()
            said.unlink()
            waiting.clear()
            return code, lines

        waiting = [pid]
        try:
            yield pid, ended
        finally:
            # Where the test has failed in between.
            for left in waiting:
                os.kill(left, signal.SIGKILL)

    def _tell(self, line):
        self.process.stdin.write(f"{line}\n")
        self.process.stdin.flush()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        self.process.stdin.close()
        self.process.stdout.close()
        self.process.wait(timeout=60)


def until(condition):
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.0005)


def needs_strace():
    """Skip where there is no strace, or it may not trace."""
    if shutil.which("strace") is None:
        pytest.skip("there is no strace: no fault was injected")
    done = subprocess.run(
        ["strace", "-o", os.devnull, "true"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    if done.returncode:
        pytest.skip(f"strace may not trace: {done.stderr.strip()[:200]}")
