"""A GPU beside its floors; then the table of docs/gpu.md.

Streaming Gram matrix, products of adapters, Krylov SVD and eigenvectors. A
floor is what the same work takes at the device's own rates of products and of
copies, which are measured first. Without a GPU one line says so.

    python -m benchmarks.gpu [--device cuda] [--small]
"""

import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from benchmarks.figures import Row, at_most, finish, machine, options
from benchmarks.page import DOCS, put, table
from spectra.backend.device import Device, open_device, to_host
from spectra.core.errors import UsageError
from spectra.linalg.solvers import eigh
from spectra.linalg.svd import block_krylov
from spectra.subspaces.inner import inner_products
from spectra.subspaces.stacks import Stack, factored_products
from spectra.weights.kept import KeptMaps, keeping

DEVICES = ("cuda", "torch:cuda")
MOVED = 2**28
"""Bytes of the copies that are timed."""


@dataclass(frozen=True)
class Sizes:
    """How much work: that of a large layer, or a rehearsal."""

    square: int = 8192  # side of the matrices that rates are measured on
    members: int = 200  # of the streaming Gram matrix
    entries: int = 2**22  # of each
    adapters: int = 500
    rank: int = 16
    width: int = 4096  # of the adapters' layer, both sides
    side: int = 4096  # of the matrices that are decomposed
    triplets: int = 16


SMALL = Sizes(512, 20, 2**16, 20, 4, 128, 256, 8)


@dataclass(frozen=True)
class Rates:
    """Operations and bytes a second."""

    single: float
    double: float
    copies: float
    host: float


def best(work: Callable[[], Any], rounds: int) -> float:
    """Return the least seconds of some rounds, after one that warms up."""
    work()
    took = []
    for _ in range(rounds):
        started = time.perf_counter()
        work()
        took.append(time.perf_counter() - started)
    return min(took)


def rates(device: Device, n: int, rounds: int) -> Rates:
    """Measure what the floors are made of."""
    rng = np.random.default_rng(0)

    def products(n: int, dtype: str) -> float:
        A = device.put(rng.random((n, n)).astype(dtype))
        return 2 * n**3 / best(lambda: to_host((A @ A)[:1, :1]), rounds)

    copies = device.runtime.copies()
    source = copies.buffer((MOVED,), "uint8")
    target = device.empty((MOVED,), "uint8")
    source[:] = 1
    other = np.zeros_like(source)
    sent = best(
        lambda: copies.copy(source, target, copies.record()).synchronize(),
        rounds,
    )
    moved = best(lambda: np.copyto(other, source), rounds)
    return Rates(
        products(n, "float32"),
        products(n // 2, "float64"),
        MOVED / sent,
        MOVED / moved,
    )


def streaming(device: Device, size: Sizes, rounds: int) -> float:
    """Return seconds of the Gram matrix of maps in bfloat16."""
    rng, n = np.random.default_rng(1), size.members
    with keeping(2 * n * size.entries, folder=None) as store:
        maps = KeptMaps(store, np.float32, None)
        for _ in range(n):
            values = rng.standard_normal(size.entries, np.float32)
            words = (values.view(np.uint32) >> 16).astype(np.uint16)
            maps.add(words.view(np.uint8), "BF16", size.entries)
        return best(
            lambda: inner_products(maps, size.entries, device, np.float32),
            rounds,
        )


def of_adapters(device: Device, size: Sizes, rounds: int) -> float:
    """Return seconds of all products of adapters."""
    shape = size.adapters, size.rank, size.width
    F = np.random.default_rng(2).standard_normal(shape, np.float32)
    on_device = device.put(F / np.float32(size.width**0.5))
    stack = Stack(on_device, on_device, np.ones(shape[:2]))
    return best(
        lambda: factored_products(stack, size.rank, dtype=np.float32), rounds
    )


def krylov(device: Device, size: Sizes, rounds: int) -> float:
    """Return seconds of the leading triplets of a square matrix."""
    shape = size.side, size.side
    X = device.put(np.random.default_rng(3).random(shape, np.float32))
    return best(lambda: to_host(block_krylov(X, size.triplets)[1]), rounds)


def eigenvectors(device: Device, size: Sizes, rounds: int) -> float:
    """Return seconds of all eigenvectors in float64, and their proof."""
    X = np.random.default_rng(4).standard_normal((size.side, size.side))
    C = device.put(X @ X.T)
    return best(lambda: to_host(eigh(C)[0]), rounds)


def measured(device: Device, size: Sizes, rounds: int) -> list[Row]:
    """Return the rows of one device."""
    rate, name = rates(device, size.square, rounds), device.name
    n, entries, d = size.members, size.entries, size.side
    copies = 2 * n * entries / rate.copies
    products = n**2 * entries / rate.single
    work = (
        (
            f"Gram of {n} maps of {entries} entries, bfloat16",
            streaming,
            max(copies, products),
        ),
        (
            (
                f"products of {size.adapters} adapters, rank {size.rank},"
                f" {size.width} x {size.width}"
            ),
            of_adapters,
            (size.adapters * size.rank) ** 2 * 2 * size.width / rate.single,
        ),
        (
            f"{size.triplets} triplets of {d} x {d}, Krylov",
            krylov,
            # Powers 0 to 8 of X X^T: eighteen products with k + 16 columns.
            2 * d * d * (size.triplets + 16) * 18 / rate.single,
        ),
        (
            f"eigenvectors of {d} x {d}, float64",
            eigenvectors,
            # The reduction, and the vectors turned back.
            10 / 3 * d**3 / rate.double,
        ),
    )
    rows = [
        Row(f"{name}: products in float32", f"{rate.single / 1e12:.3g} TF/s"),
        Row(f"{name}: products in float64", f"{rate.double / 1e12:.3g} TF/s"),
        Row(f"{name}: copies to the device", f"{rate.copies / 1e9:.3g} GB/s"),
        Row("copies on the host, one core", f"{rate.host / 1e9:.3g} GB/s"),
    ]
    for what, run, floor in work:
        took = run(device, size, rounds)
        rows.append(
            at_most(
                f"{name}: {what}", took / floor, "times the floor", None,
                ours=f"{took:.4f} s", beside=f"floor {floor:.4f} s",
            )
        )  # fmt: skip
    return rows


def card() -> str:
    """Return the name of the GPU and of its driver."""
    words = ["nvidia-smi", "--query-gpu=name,driver_version"]
    done = subprocess.run(  # noqa: S603 - words of our own
        [*words, "--format=csv,noheader"],
        check=True,
        capture_output=True,
        text=True,
    )
    return done.stdout.splitlines()[0]


def main() -> None:
    """Measure every device that is there."""
    parser = options(__doc__)
    parser.add_argument("--device", action="append")
    parser.add_argument("--small", action="store_true")
    asked = parser.parse_args()
    size, rows = SMALL if asked.small else Sizes(), []
    for name in asked.device or DEVICES:
        try:
            device = open_device(name)
        except UsageError as reason:
            print(f"{name} is left out: {reason}")
            continue
        with device.strict():
            rows += measured(device, size, asked.rounds)
    if not rows:
        print("There is no CUDA device here: nothing was measured.")
        return
    finish(rows, asked.json)
    if asked.device or asked.small:
        return
    put(DOCS / "gpu.md", f"{card()}; {machine()}.\n\n{table(rows)}")


if __name__ == "__main__":
    main()
