"""A GPU beside its floors: streaming Gram, adapters, Krylov SVD, eigenvectors.

Each line has the time, the least that the device's own rates of products and
of copies allow for the same work, and the ratio. Without a GPU it says so.

    python -m benchmarks.gpu [--device cuda --device torch:cuda] [--small]
"""

import argparse
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from spectra.backend.device import Device, open_device, to_host
from spectra.core.errors import UsageError
from spectra.linalg.solvers import eigh
from spectra.linalg.svd import block_krylov
from spectra.subspaces.inner import inner_products
from spectra.subspaces.stacks import Stack, factored_products
from spectra.weights.kept import KeptMaps, keeping

DEVICES = ("cuda", "torch:cuda")
REPEATS = 5


@dataclass(frozen=True)
class Sizes:
    """How much work: that of a real layer, or a rehearsal."""

    square: int  # of matrices that rates are measured on
    members: int  # of the streaming Gram matrix
    entries: int  # of each member
    adapters: int
    rank: int
    width: int  # of the adapters' layer
    krylov: int  # the matrix's side
    triplets: int
    eigen: int


REAL = Sizes(8192, 200, 2**22, 500, 16, 4096, 4096, 16, 4096)
SMALL = Sizes(512, 20, 2**16, 20, 4, 128, 256, 8, 128)


def best(work: Callable[[], Any]) -> float:
    """Return the least seconds of a few, after one that warms up."""
    work()
    times = []
    for _ in range(REPEATS):
        started = time.perf_counter()
        work()
        times.append(time.perf_counter() - started)
    return min(times)


def product_rate(device: Device, n: int, dtype: str) -> float:
    """Return operations a second of a product of square matrices."""
    A = device.put(np.random.default_rng(0).random((n, n)).astype(dtype))
    return 2 * n**3 / best(lambda: to_host((A @ A)[:1, :1]))


def copy_rate(device: Device, nbytes: int = 2**28) -> float:
    """Return bytes a second from page-locked memory of the host."""
    copies = device.runtime.copies()
    shape = (nbytes // 4,)
    source, target = (
        copies.buffer(shape, "float32"),
        device.empty(shape, "float32"),
    )
    source[:] = 1

    def copy() -> None:
        copies.copy(source, target, copies.record()).synchronize()

    return nbytes / best(copy)


def host_rate(nbytes: int = 2**28) -> float:
    """Return bytes a second that one core moves from memory to memory."""
    source, target = np.ones(nbytes, np.uint8), np.zeros(nbytes, np.uint8)
    return nbytes / best(lambda: np.copyto(target, source))


def streaming(device: Device, n: int, entries: int) -> float:
    """Return seconds of the Gram matrix of maps in bfloat16."""
    rng = np.random.default_rng(1)
    with keeping(2 * n * entries, folder=None) as store:
        maps = KeptMaps(store, np.float32, None)
        for _ in range(n):
            values = rng.standard_normal(entries, np.float32)
            words = (values.view(np.uint32) >> 16).astype(np.uint16)
            maps.add(words.view(np.uint8), "BF16", entries)
        return best(lambda: inner_products(maps, entries, device, np.float32))


def of_adapters(device: Device, n: int, rank: int, d: int) -> float:
    """Return seconds of all products of adapters of d x d."""
    rng = np.random.default_rng(2)
    F = device.put(rng.standard_normal((n, rank, d), np.float32) / d**0.5)
    stack = Stack(F, F, np.ones((n, rank)))
    return best(lambda: factored_products(stack, rank, dtype=np.float32))


def krylov(device: Device, d: int, k: int) -> float:
    """Return seconds of the leading triplets of a d x d matrix."""
    X = device.put(np.random.default_rng(3).random((d, d), np.float32))
    return best(lambda: to_host(block_krylov(X, k)[1]))


def eigenvectors(device: Device, n: int) -> float:
    """Return seconds of all eigenvectors in float64, and their proof."""
    X = np.random.default_rng(4).standard_normal((n, n))
    C = device.put(X @ X.T)
    return best(lambda: to_host(eigh(C)[0]))


def measure(device: Device, size: Sizes) -> None:
    """Print one line a rate and one a piece of work."""
    single = product_rate(device, size.square, "float32")
    double = product_rate(device, size.square // 2, "float64")
    bytes_in, on_host = copy_rate(device), host_rate()
    print(f"{device.name}: products {single / 1e12:.2f} TF/s in float32,")
    print(
        f"  {double / 1e12:.2f} in float64; copies {bytes_in / 1e9:.1f} GB/s"
    )
    print(f"  to the device, {on_host / 1e9:.1f} from memory to memory")
    n, entries = size.members, size.entries
    compute, copies = n**2 * entries / single, 2 * n * entries / bytes_in
    width = size.triplets + 16
    lines = (
        (
            f"Gram of {n} maps of {entries} bfloat16",
            streaming(device, n, entries),
            max(compute, copies),
        ),
        (
            f"Gram of {size.adapters} adapters, r {size.rank}, {size.width}^2",
            of_adapters(device, size.adapters, size.rank, size.width),
            (size.adapters * size.rank) ** 2 * 2 * size.width / single,
        ),
        (
            f"Krylov SVD of {size.krylov}^2, k {size.triplets}",
            krylov(device, size.krylov, size.triplets),
            # Eight powers: eighteen products with X, as the depth has it.
            2 * size.krylov**2 * width * 18 / single,
        ),
        (
            f"eigenvectors of {size.eigen}^2, float64",
            eigenvectors(device, size.eigen),
            # Reduction, and the vectors of the whole turned back.
            10 / 3 * size.eigen**3 / double,
        ),
    )
    for name, took, floor in lines:
        print(
            f"  {name}: {took:.4f} s, floor {floor:.4f}, {took / floor:.1f}x"
        )
    print(f"  (copies alone are {copies:.4f} s of the first floor's max)")


def main() -> None:
    """Measure every device that is there."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", action="append")
    parser.add_argument("--small", action="store_true")
    asked = parser.parse_args()
    found = False
    for name in asked.device or DEVICES:
        try:
            device = open_device(name)
        except UsageError as reason:
            print(f"{name} is left out: {reason}")
            continue
        found = True
        with device.strict():
            measure(device, SMALL if asked.small else REAL)
    if not found:
        print("There is no CUDA device here: nothing was measured.")


if __name__ == "__main__":
    main()
