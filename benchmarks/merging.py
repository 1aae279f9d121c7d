"""Eight adapters in the shape of a Mistral-7B LoRA, merged into one.

``spectra merge`` in a process of its own, from files to files: rank 16; q, k
and v of 32 layers; bfloat16. Beside it one layer, 1024 x 4096, on one core:
from its factors to the merged ones, against the same method on the updates
themselves in plain NumPy, which ends with the merged update.

    python -m benchmarks.merging [--layers 32] [--methods tsv-m knots]
"""

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from benchmarks import adapters
from benchmarks.adapters import HIDDEN, KEYS, MODULES, RANK
from benchmarks.figures import Row, at_least, at_most, finish, options, paired
from benchmarks.figures import ratio as ratio_of
from spectra.apply.merging.choice import chosen
from spectra.apply.merging.framed import Framed, reduced
from spectra.subspaces.recipes.table import Factors

MEMBERS, DENSITY = 8, 0.2
GOAL_SECONDS, GOAL_BYTES = 300.0, 2e9
IDS = [str(i) for i in range(MEMBERS)]

Matrix = NDArray[np.float64]


def dense_tsv_m(updates: list[Factors]) -> Matrix:
    """Return Gargiulo et al. (2024), less singular vectors of zero."""
    found = [np.linalg.svd(u.update(), full_matrices=False) for u in updates]
    U = np.concatenate([U[:, :RANK] for U, _, _ in found], axis=1)
    s = np.concatenate([s[:RANK] for _, s, _ in found])
    V = np.concatenate([Vh[:RANK] for _, _, Vh in found])
    (P, _, Q), (R, _, S) = (np.linalg.svd(F, False) for F in (U, V))
    return (P @ Q * s) @ (R @ S)


def dense_knots(updates: list[Factors]) -> Matrix:
    """Return Stoica et al. (2024) with TIES inside, trimmed by layer."""
    beside = np.concatenate([u.update() for u in updates], axis=1)
    U, s, Vh = np.linalg.svd(beside, full_matrices=False)
    kept = s > 1e-12 * s[0]
    parts = (s[kept, None] * Vh[kept]).reshape(-1, MEMBERS, HIDDEN)
    parts = parts.swapaxes(0, 1)
    flat = np.abs(parts).reshape(MEMBERS, -1)
    out = flat.shape[1] - round(DENSITY * flat.shape[1])
    least = np.partition(flat, out, axis=1)[:, out]
    parts = np.where(np.abs(parts) >= least[:, None, None], parts, 0.0)
    agrees = parts * np.sign(parts.sum(axis=0)) > 0
    count = np.maximum(1, agrees.sum(axis=0))
    return U[:, kept] @ (np.sum(parts, axis=0, where=agrees) / count)


PEERS: dict[str, Callable[[list[Factors]], Matrix]] = {
    "tsv-m": dense_tsv_m,
    "knots": dense_knots,
}


def layer() -> list[Factors]:
    """Return the updates of one layer."""
    rng = np.random.default_rng(0)
    return [
        Factors(
            rng.standard_normal((RANK, HIDDEN)) / HIDDEN**0.5,
            rng.standard_normal((KEYS, RANK)) * 0.8 ** np.arange(RANK),
        )
        for _ in range(MEMBERS)
    ]


def beside_dense(method: str, rounds: int) -> Row:
    """Return the row of one layer."""
    updates, peer = layer(), PEERS[method]
    given = {"trim": "layer"} if method == "knots" else {}
    choice = chosen(method, given, IDS)

    def merged() -> Framed:
        return choice.merge(choice.gathered(updates), 0)

    expected = peer(updates)
    error = np.abs(merged().lifted() - expected).max()
    assert error < 1e-6 * np.abs(expected).max(), error
    took = paired(
        {
            "ours": lambda: reduced(merged(), RANK),
            "peer": lambda: peer(updates),
        },
        rounds,
    )
    return at_least(
        f"one layer of {KEYS} x {HIDDEN} by {method}, one core",
        f"{median(took['ours']):.3f} s",
        f"in full weights by NumPy {median(took['peer']):.2f} s",
        ratio_of(took["peer"], took["ours"]),
        20,
    )


def command(method: str, folder: Path, out: Path) -> tuple[float, float]:
    """Return seconds, and the peak of memory in bytes."""
    words = [sys.executable, "-m", "spectra", "merge", str(folder)]
    started = time.perf_counter()
    child = subprocess.Popen(  # noqa: S603 - words of our own
        [*words, "--method", method, "-o", str(out)],
        stdout=subprocess.DEVNULL,
    )
    _, status, used = os.wait4(child.pid, 0)
    child.returncode = os.waitstatus_to_exitcode(status)
    assert child.returncode == 0
    return time.perf_counter() - started, used.ru_maxrss * 1024


def main() -> None:
    """Measure."""
    parser = options(__doc__)
    parser.add_argument("--layers", type=int, default=32)
    parser.add_argument("--methods", nargs="+", default=list(PEERS))
    asked = parser.parse_args()
    rows = []
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch) / "adapters"
        adapters.write(folder, MEMBERS, asked.layers)
        n = len(MODULES) * asked.layers
        for method in asked.methods:
            out = Path(scratch) / method
            took, peak = command(method, folder, out)
            what = f"spectra merge --method {method}, {MEMBERS} adapters,"
            goals = method in PEERS and asked.layers == 32
            rows += [
                at_most(
                    f"{what} {n} layers", took, "s",
                    GOAL_SECONDS if goals else None,
                ),
                at_most(
                    f"{what} its memory", peak / 1e6, "MB",
                    GOAL_BYTES / 1e6 if goals else None,
                ),
            ]  # fmt: skip
    with threadpool_limits(1):
        rows += [
            beside_dense(method, asked.rounds)
            for method in asked.methods
            if method in PEERS
        ]
    finish(rows, asked.json)


if __name__ == "__main__":
    main()
