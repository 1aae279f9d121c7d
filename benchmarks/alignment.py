"""How alike two representations of many items are, beside n x n matrices.

`spectra align` of 100,000 items in a process of its own, from files: 384
features, k = 10, 199 permutations. Beside it, of as many items as have room
for them, one value without permutations: the definition as the released code
of Huh et al. (2024) computes it, with all similarities in one matrix, written
anew for torch.

    python -m benchmarks.alignment [--items 100000] [--dense 5000 10000 20000]
"""

import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

import numpy as np
from numpy.typing import NDArray

from benchmarks.figures import (
    Row,
    at_least,
    at_most,
    finish,
    options,
    paired,
    peak_memory,
    ratio,
)
from spectra.align.representations.asked import Asked
from spectra.align.representations.metrics import metrics_named

ITEMS, WIDTH, K = 100_000, 384, 10
GOAL_BYTES = 2**31

Features = NDArray[np.float32]

# Not ru_maxrss: that begins with what the parent held at the fork.
_CHILD = """
import re, sys
from pathlib import Path
from spectra.cli import main

try:
    main()
finally:
    text = Path("/proc/self/status").read_text()
    print(re.search(r"VmHWM:\\s+([0-9]+)", text)[1], file=sys.stderr)
"""
Program = Callable[[], float]


def features(n: int, width: int) -> list[Features]:
    """Return two that have a sixteenth of their directions in common."""
    rng = np.random.default_rng(0)
    common = rng.standard_normal((n, width // 16), np.float32)
    return [
        common @ rng.standard_normal((width // 16, width), np.float32)
        + rng.standard_normal((n, width), np.float32)
        for _ in range(2)
    ]


def ours(metric: str, n: int) -> Program:
    """Return what computes a metric of n items, permuting nothing."""
    X, Y = features(n, WIDTH)
    (row,) = metrics_named((metric,))

    def value() -> float:
        a, b = (row.prepare(each, Asked(k=K)) for each in (X, Y))
        return row.compare(a, b)(np.arange(n))

    return value


def dense(metric: str, n: int) -> Program:
    """Return what does the same with matrices of items x items, by torch."""
    import torch

    pair = [torch.from_numpy(each) for each in features(n, WIDTH)]

    def mutual_knn() -> float:
        near = []
        for X in pair:
            unit = torch.nn.functional.normalize(X, dim=1)
            similar = (unit @ unit.T).fill_diagonal_(-torch.inf)
            mask = torch.zeros_like(similar)
            near.append(mask.scatter_(1, similar.topk(K, dim=1).indices, 1))
        return float((near[0] * near[1]).sum() / (n * K))

    def cka_debiased() -> float:
        kernels = [(X @ X.T).fill_diagonal_(0) for X in pair]

        def estimate(A: torch.Tensor, B: torch.Tensor) -> torch.Tensor:
            product = (A * B).sum(dtype=torch.float64)
            a, b = (each.sum(1, dtype=torch.float64) for each in (A, B))
            whole = a.sum() * b.sum() / ((n - 1) * (n - 2))
            return product + whole - 2 * (a @ b) / (n - 2)

        a, b = kernels
        own = estimate(a, a) * estimate(b, b)
        return float(estimate(a, b) / own.sqrt())

    return {"mutual-knn": mutual_knn, "cka-debiased": cka_debiased}[metric]


def beside_dense(metric: str, n: int, rounds: int) -> list[Row]:
    """Return the rows of as many items as the dense matrices have room for."""
    programs = {"ours": ours(metric, n), "peer": dense(metric, n)}
    found, expected = (program() for program in programs.values())
    assert abs(found - expected) < 1e-4, (found, expected)
    took = paired(programs, rounds)
    peaks = [peak_memory(each, metric, n) for each in (ours, dense)]
    what = f"{metric} of {n:,} items, no permutation"
    return [
        at_least(
            what,
            f"{median(took['ours']):.2f} s",
            f"n x n by torch {median(took['peer']):.2f} s",
            ratio(took["peer"], took["ours"]),
            None,
        ),
        at_least(
            f"{what}, memory beyond the features",
            f"{peaks[0] / 1e6:.0f} MB",
            f"n x n by torch {peaks[1] / 1e6:.0f} MB",
            peaks[1] / peaks[0],
            None,
        ),
    ]


def aligned(
    folder: Path, n: int, width: int, *words: str
) -> tuple[float, float]:
    """Return seconds of ``spectra align``, and its peak in bytes.

    Parameters
    ----------
    folder
        Where the features are written first.
    n, width
        Of the features.
    words
        Further options.
    """
    paths = [folder / f"{name}.npy" for name in "ab"]
    for path, values in zip(paths, features(n, width), strict=True):
        np.save(path, values)
    started = time.perf_counter()
    done = subprocess.run(  # noqa: S603 - words of our own
        [sys.executable, "-c", _CHILD, "align", *map(str, paths), *words],
        check=True, capture_output=True, text=True,
    )  # fmt: skip
    took = time.perf_counter() - started
    return took, 1024.0 * int(done.stderr.split()[-1])


def whole(metric: str, n: int) -> list[Row]:
    """Return the rows of the command."""
    with tempfile.TemporaryDirectory() as scratch:
        took, peak = aligned(Path(scratch), n, WIDTH, "--metric", metric)
    what = f"spectra align --metric {metric}, {n:,} x {WIDTH}, 199 draws"
    return [
        at_most(what, took, "s", None),
        at_most(
            f"{what}, all of its memory",
            peak / 1e6,
            "MB",
            GOAL_BYTES / 1e6 if n == ITEMS else None,
            ours=f"{peak / 1e6:.0f} MB",
            beside=f"one n x n matrix in float32 {4 * n**2 / 1e6:,.0f} MB",
        ),
    ]


def main() -> None:
    """Measure."""
    parser = options(__doc__)
    parser.add_argument("--items", type=int, default=ITEMS)
    parser.add_argument(
        "--dense", type=int, nargs="*", default=[5_000, 10_000, 20_000]
    )
    asked = parser.parse_args()
    metrics = ("mutual-knn", "cka-debiased")
    # First: Linux counts what a parent has held as a child's own peak.
    rows = [row for metric in metrics for row in whole(metric, asked.items)]
    for metric in metrics:
        for n in asked.dense:
            rows += beside_dense(metric, n, asked.rounds)
    finish(rows, asked.json)


if __name__ == "__main__":
    main()
