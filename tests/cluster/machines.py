"""A Dask scheduler and its workers, each a process that can be killed."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

__all__ = ["Machines", "finished", "fitting", "until", "wait_for"]

PATIENCE = 60


def until(is_true: Callable[[], object], what: str) -> None:
    """Wait for something, and fail where it does not come."""
    end = time.monotonic() + PATIENCE
    while not is_true():
        assert time.monotonic() < end, f"no {what} within {PATIENCE} s"
        time.sleep(0.02)


class Machines:
    """One scheduler, and workers of one thread each under their nannies."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.scheduler = self._start("scheduler", ["--port", "0"])
        self.workers: list[subprocess.Popen[bytes]] = []

    @property
    def address(self) -> str:
        """Return where the scheduler listens."""
        found = json.loads((self.folder / "scheduler.json").read_text())
        return str(found["address"])

    def _start(
        self, what: str, words: list[str], **environment: str
    ) -> "subprocess.Popen[bytes]":
        place = self.folder / "scheduler.json"
        if what == "scheduler":
            place.unlink(missing_ok=True)
        with (self.folder / f"{what}.log").open("ab") as log:
            process = subprocess.Popen(
                [
                    sys.executable, "-m", f"distributed.cli.dask_{what}",
                    "--scheduler-file", str(place), "--host", "127.0.0.1",
                    "--no-dashboard", *words,
                ],
                stdout=log, stderr=log, start_new_session=True,
                env=os.environ | environment,
            )  # fmt: skip
        until(place.exists, "scheduler")
        return process

    def worker(self, *words: str, **environment: str) -> None:
        """Start one more."""
        self.workers.append(
            self._start(
                "worker",
                ["--nthreads", "1", "--memory-limit", "0",
                 "--local-directory", str(self.folder), *words],
                **environment,
            )
        )  # fmt: skip

    def kill(self) -> None:
        """Kill all."""
        for process in (self.scheduler, *self.workers):
            kill(process)
        self.workers = []

    def again(self) -> None:
        """Start another scheduler."""
        self.scheduler = self._start("scheduler", ["--port", "0"])

    def pids(self) -> list[int]:
        """Return the processes in which layers are fitted."""
        nannies = {process.pid for process in self.workers}
        found = []
        for place in Path("/proc").glob("[0-9]*"):
            try:
                status = (place / "status").read_text()
                words = (place / "cmdline").read_bytes()
            except OSError:
                continue
            parent = int(status.split("PPid:")[1].split()[0])
            if parent in nannies and b"spawn_main" in words:
                found.append(int(place.name))
        return found


def kill(process: "subprocess.Popen[bytes]") -> None:
    """Kill a process and its children."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def finished(run: Path) -> int:
    """Return how many layers are kept of a run under way."""
    return len(list(run.with_name(f"{run.name}.work").glob("*." + "?" * 64)))


@contextmanager
def fitting(
    run: Path, *words: object, after: int = 3, **environment: str
) -> Iterator["subprocess.Popen[str]"]:
    """Give a driver under way that has kept some layers, and not all."""
    process = subprocess.Popen(
        [sys.executable, "-m", "spectra", "fit", *map(str, words),
         "-o", str(run)],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env=os.environ | environment, start_new_session=True,
    )  # fmt: skip
    try:
        until(
            lambda: finished(run) >= after or process.poll() is not None,
            "layer",
        )
        assert process.poll() is None, process.communicate()
        yield process
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()


def wait_for(process: "subprocess.Popen[str]") -> tuple[int, str]:
    """Return how a driver has ended, and what it said."""
    _, said = process.communicate(timeout=4 * PATIENCE)
    return process.returncode, said
