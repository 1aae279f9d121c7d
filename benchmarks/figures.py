"""What a benchmark found: a line on the terminal, a row of the page."""

import argparse
import json
import multiprocessing
import platform
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from threadpoolctl import threadpool_info

from spectra.backend.threads import cores

__all__ = [
    "Row",
    "at_least",
    "at_most",
    "finish",
    "machine",
    "options",
    "paired",
    "peak_memory",
    "ratio",
    "sgemm_rate",
]


@dataclass(frozen=True, slots=True)
class Row:
    """One figure.

    Attributes
    ----------
    what
        What was measured.
    ours
        What it took, with its unit.
    beside
        What it is compared with, and what that took; empty for nothing.
    figure
        The number that the goal is about, with its unit.
    goal
        In words; empty where there is none.
    met
        None where there is no goal.
    """

    what: str
    ours: str
    beside: str = ""
    figure: str = ""
    goal: str = ""
    met: bool | None = None

    def __str__(self) -> str:
        """Return the line of the terminal."""
        line = f"{self.what}: {self.ours}"
        if self.beside:
            line += f"; {self.beside}"
        if self.figure:
            line += f": {self.figure}"
        if self.goal:
            line += f" (goal {self.goal}: {'met' if self.met else 'MISSED'})"
        return line


def at_least(
    what: str, ours: str, beside: str, times: float, goal: float | None
) -> Row:
    """Return the row of a ratio that should be large."""
    words = "" if goal is None else f"at least {goal:g} times"
    met = None if goal is None else bool(times >= goal)
    return Row(what, ours, beside, f"{times:.3g} times", words, met)


def at_most(
    what: str,
    value: float,
    unit: str,
    goal: float | None,
    /,
    *,
    ours: str = "",
    beside: str = "",
) -> Row:
    """Return the row of a number that should be small."""
    figure = f"{value:.3g} {unit}"
    words = "" if goal is None else f"at most {goal:g} {unit}"
    met = None if goal is None else bool(value <= goal)
    return Row(
        what, ours or figure, beside, figure if ours else "", words, met
    )


def paired(
    programs: Mapping[str, Callable[[], object]], rounds: int, /
) -> dict[str, list[float]]:
    """Return seconds of each program, run in turns after one round unseen."""
    for program in programs.values():
        program()
    took: dict[str, list[float]] = {name: [] for name in programs}
    for _ in range(rounds):
        for name, program in programs.items():
            started = time.perf_counter()
            program()
            took[name].append(time.perf_counter() - started)
    return took


def ratio(slow: list[float], fast: list[float], /) -> float:
    """Return the median of the ratios of what ran side by side."""
    return median(a / b for a, b in zip(slow, fast, strict=True))


def machine() -> str:
    """Return what measured, in words."""
    known = Path("/proc/cpuinfo").read_text().splitlines()
    names = [line for line in known if line.startswith("model name")]
    name = names[0].partition(":")[2].strip() if names else "unknown processor"
    blas = {
        f"{pool['internal_api']} {pool['version']} {pool['architecture']}"
        for pool in threadpool_info()
        if pool["internal_api"] == "openblas"
    }
    return (
        f"{name}, {cores()} cores; Python {platform.python_version()}, NumPy"
        f" {np.__version__}, {', '.join(sorted(blas))}"
    )


def sgemm_rate(n: int = 4096, /) -> float:
    """Return floating-point operations a second of a float32 product."""
    X = np.random.default_rng(0).standard_normal((n, n), np.float32)
    out = np.empty_like(X)
    times = paired({"sgemm": lambda: np.matmul(X, X[::-1], out=out)}, 3)
    return 2 * n**3 / median(times["sgemm"])


def peak_memory(program: Callable[..., Any], *values: Any) -> float:
    """Return bytes that `program` adds to a process of its own, at its peak.

    Its first call returns what to run: what that allocates does not count.
    """
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=context) as pool:
        return pool.submit(_peak, program, *values).result()


def _peak(program: Callable[..., Any], *values: Any) -> float:
    run = program(*values)
    before = _resident("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")
    run()
    return _resident("VmHWM") - before


def _resident(name: str) -> float:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(f"{name}:"):
            return float(line.split()[1]) * 1024
    raise LookupError(name)


def options(documentation: str | None) -> argparse.ArgumentParser:
    """Return the options that every script has."""
    parser = argparse.ArgumentParser(
        description=documentation,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--json", type=Path, help="write the rows there")
    parser.add_argument("--rounds", type=int, default=5)
    return parser


def finish(rows: list[Row], path: Path | None) -> None:
    """Print the rows, and write them where `make bench` reads them."""
    for row in rows:
        print(row, flush=True)
    if path is not None:
        path.write_text(json.dumps([asdict(row) for row in rows]))
