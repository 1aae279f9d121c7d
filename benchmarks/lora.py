"""Adapters of rank 16 on 4096 x 4096: no update is ever formed.

Beside the dense replication (100 adapters), and beside the floor, the time
that its multiplications alone take (500 adapters); each on one core. The
members' decompositions, which `fit` makes of each adapter once, also give
each one's spectrum, and the overlaps and angles of all pairs: "alone" is the
joint spectrum without those, "all" is everything, from the factors.

    python -m benchmarks.lora [--rounds 5]
"""

from collections.abc import Callable
from statistics import median

import numpy as np
import torch
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from benchmarks import replication
from benchmarks.figures import (
    Row,
    at_least,
    at_most,
    finish,
    options,
    paired,
    peak_memory,
    ratio,
    sgemm_rate,
)
from spectra.linalg.gram import double_centred
from spectra.linalg.svd import factored_svd
from spectra.subspaces.stacks import Stack, factored_products

HIDDEN, RANK = 4096, 16
Factors = tuple[NDArray[np.float32], NDArray[np.float32]]


def factors(n: int) -> Factors:
    """Return A (n, r, in) and B (n, out, r) with a part that all share."""
    rng = np.random.default_rng(0)
    A = rng.standard_normal((n, RANK, HIDDEN), np.float32)
    B = rng.standard_normal((n, HIDDEN, RANK), np.float32)
    A += rng.standard_normal((RANK, HIDDEN), np.float32)
    return A, B


def decomposed(A: NDArray[np.float32], B: NDArray[np.float32]) -> Stack:
    """Return the decompositions, as `fit` makes them."""
    n, r, d = A.shape
    U = np.empty((n, r, B.shape[1]), np.float32)
    V = np.empty((n, r, d), np.float32)
    s = np.empty((n, r))
    for i in range(n):
        left, s[i], right = factored_svd(
            A[i].astype(float), B[i].astype(float), scale=1.0,
            tolerance=2.0**-24,
        )  # fmt: skip
        U[i], V[i] = left.T, right.T
    return Stack(U, V, s)


def spectrum(stack: Stack, k: int = RANK) -> NDArray[np.float64]:
    """Return the joint spectrum; overlaps of k directions come with it."""
    found = factored_products(stack, k, dtype=np.float32)
    return np.linalg.eigvalsh(double_centred(found.inner))


def whole(n: int) -> Callable[[], object]:
    """Return what is measured, its input made."""
    made = factors(n)
    return lambda: spectrum(decomposed(*made))


def beside_replication(rounds: int) -> list[Row]:
    """Return the rows of 100 adapters."""
    n = 100
    A, B = factors(n)
    stack = decomposed(A, B)
    a, b = torch.from_numpy(A), torch.from_numpy(B)
    torch.set_num_threads(1)
    found, expected = spectrum(stack), replication.adapters(a, b).numpy()
    np.testing.assert_allclose(found, expected, atol=1e-5 * expected[-1])
    took = paired(
        {
            "alone": lambda: spectrum(stack, 1),
            "all": lambda: spectrum(decomposed(A, B)),
            "replication": lambda: replication.adapters(a, b),
        },
        rounds,
    )
    peer = f"dense replication {median(took['replication']):.2f} s"
    rows = [
        at_least(
            f"LoRA joint spectrum, T = {n}, {key}, one core",
            f"{median(took[key]):.3f} s", peer,
            ratio(took["replication"], took[key]), goal,
        )
        for key, goal in (("alone", 90), ("all", None))
    ]  # fmt: skip
    memory = peak_memory(whole, n) / 1e6
    rows.append(
        at_most(f"its memory beyond the factors, T = {n}", memory, "MB", 300)
    )
    return rows


def beside_floor(rounds: int) -> list[Row]:
    """Return the row of 500 adapters, on one core."""
    n = 500
    rng = np.random.default_rng(1)
    U, V = (
        rng.standard_normal((n, RANK, HIDDEN), np.float32) / HIDDEN**0.5
        for _ in range(2)
    )
    stack = Stack(U, V, np.ones((n, RANK)))
    took = paired(
        {"ours": lambda: factored_products(stack, RANK, dtype=np.float32)},
        min(3, rounds),
    )["ours"]
    least = n * (n + 1) * RANK**2 * 2 * HIDDEN / sgemm_rate()
    return [
        at_most(
            f"LoRA Gram matrix and all overlaps, T = {n}, one core",
            median(took) / least, "times the floor", 1.10,
            ours=f"{median(took):.2f} s",
            beside=f"sgemm floor {least:.2f} s",
        )
    ]  # fmt: skip


def main() -> None:
    """Measure."""
    asked = options(__doc__).parse_args()
    with threadpool_limits(1):
        rows = beside_replication(asked.rounds) + beside_floor(asked.rounds)
    finish(rows, asked.json)


if __name__ == "__main__":
    main()
