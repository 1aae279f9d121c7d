"""Full weights from files in the page cache, to the joint spectrum.

Blocks of entries are read into buffers, widened, and multiplied on two
threads, as `fit` does with what it keeps; the floor is the longer of reading
alone and of multiplying alone, on all cores. The replication loads all files
and decomposes.

    python -m benchmarks.dense [--rounds 5]
"""

import os
import tempfile
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import ml_dtypes
import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.numpy import save_file
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
)
from spectra.backend.device import CPU
from spectra.backend.threads import cores
from spectra.linalg.gram import double_centred
from spectra.subspaces.inner import inner_products
from spectra.weights.dtypes import decode_into

BLOCK = 16_384


@dataclass(frozen=True, slots=True)
class Case:
    """A population, and the goals beside the replication and the floor."""

    members: int
    shape: tuple[int, int]
    dtype: str
    faster: float | None
    near: float

    @property
    def size(self) -> int:
        """Return how many entries a member has."""
        return self.shape[0] * self.shape[1]

    def __str__(self) -> str:
        """Return it in words."""
        out, in_ = self.shape
        return f"full weights, T = {self.members}, {out} x {in_} {self.dtype}"


CASES = [
    Case(200, (3072, 768), "F32", 4.5, 1.4),
    Case(500, (768, 768), "BF16", 3.5, 1.4),
    Case(100, (768, 768), "F32", None, 2.0),
    Case(50, (3072, 768), "F32", None, 2.0),
]
SMALL = [Case(6, (96, 64), "BF16", None, 2.0)]
DTYPES = {"F32": np.dtype(np.float32), "BF16": np.dtype(ml_dtypes.bfloat16)}


def write(folder: Path, case: Case) -> None:
    """Write fine-tunes of one base that share 24 directions."""
    rng = np.random.default_rng(0)
    base = rng.standard_normal(case.size, np.float32) / case.shape[1] ** 0.5
    shared = rng.standard_normal((24, case.size), np.float32)
    for i in range(case.members):
        x = base + 1e-3 * rng.standard_normal(case.size, np.float32)
        x += 1e-3 * rng.standard_normal(24, np.float32) @ shared
        x = x.astype(DTYPES[case.dtype]).reshape(case.shape)
        save_file({"w": x}, folder / f"{i:03d}.safetensors")


class Files:
    """One tensor of many files, read at any place; a buffer a thread."""

    def __init__(self, folder: Path, dtype: str) -> None:
        self.dtype, self.width = dtype, DTYPES[dtype].itemsize
        self.paths = sorted(folder.iterdir())
        self.descriptors = [os.open(p, os.O_RDONLY) for p in self.paths]
        self.starts = [
            8 + int.from_bytes(os.pread(d, 8, 0), "little")
            for d in self.descriptors
        ]
        self.local = threading.local()

    def raw(self, row: int, start: int, stop: int) -> NDArray[np.uint8]:
        """Return stored bytes of entries, in the buffer of this thread."""
        nbytes = (stop - start) * self.width
        if getattr(self.local, "buffer", np.empty(0)).size < nbytes:
            self.local.buffer = np.empty(nbytes, np.uint8)
        raw: NDArray[np.uint8] = self.local.buffer[:nbytes]
        at = self.starts[row] + start * self.width
        if os.preadv(self.descriptors[row], [raw], at) != nbytes:
            raise OSError(f"{self.paths[row]} is short")
        return raw

    def __len__(self) -> int:
        """Return how many there are."""
        return len(self.paths)

    def fill(self, start: int, stop: int, out: NDArray[Any]) -> None:
        """Write entries of all maps into the rows of `out`."""
        for row in range(len(self)):
            decode_into(self.raw(row, start, stop), self.dtype, out[row])


def spectrum(files: Files, size: int) -> NDArray[np.float64]:
    """Return the joint spectrum."""
    with threadpool_limits(1):
        found = inner_products(files, size, CPU, np.float32, threads=cores())
    return np.linalg.eigvalsh(double_centred(found.inner))


def read(files: Files, size: int) -> None:
    """Read every byte, on all cores."""
    n = len(files.paths)

    def part(first: int) -> None:
        for start in range(first * BLOCK, size, cores() * BLOCK):
            for row in range(n):
                files.raw(row, start, min(start + BLOCK, size))

    with ThreadPoolExecutor(cores()) as pool:
        list(pool.map(part, range(cores())))


def multiply(n: int, size: int) -> None:
    """Multiply blocks with their own transposes, on all cores."""
    X = np.random.default_rng(0).standard_normal((n, BLOCK), np.float32)

    def part(_: int) -> None:
        for _ in range(size // BLOCK // cores()):
            X @ X.T

    with threadpool_limits(1), ThreadPoolExecutor(cores()) as pool:
        list(pool.map(part, range(cores())))


def prepared(folder: Path, case: Case) -> Callable[[], object]:
    """Return what is measured, its libraries warm and its files open."""
    files = Files(folder, case.dtype)
    spectrum(files, min(BLOCK, case.size))
    return lambda: spectrum(files, case.size)


def measured(folder: Path, case: Case, rounds: int) -> list[Row]:
    """Return the rows of one population."""
    write(folder, case)
    files = Files(folder, case.dtype)
    torch.set_num_threads(cores())

    def ours() -> NDArray[np.float64]:
        return spectrum(files, case.size)

    def peer() -> torch.Tensor:
        return replication.from_files(files.paths, "w")

    expected = peer().numpy()
    np.testing.assert_allclose(ours(), expected, atol=1e-4 * expected[-1])
    took = paired(
        {
            "ours": ours,
            "peer": peer,
            "reading": lambda: read(files, case.size),
            "multiplying": lambda: multiply(case.members, case.size),
        },
        rounds,
    )
    seconds = f"{median(took['ours']):.2f} s"
    floors = {name: median(took[name]) for name in ("reading", "multiplying")}
    memory = peak_memory(prepared, folder, case) / 1e6
    return [
        at_least(
            f"{case}, from files", seconds,
            f"replication {median(took['peer']):.2f} s",
            ratio(took["peer"], took["ours"]), case.faster,
        ),
        at_most(
            f"{case}, from files", median(took["ours"]) / max(floors.values()),
            "times the floor", case.near, ours=seconds,
            beside=", ".join(f"{k} {v:.2f} s" for k, v in floors.items()),
        ),
        at_most(f"{case}, its memory", memory, "MB", 64),
    ]  # fmt: skip


def main() -> None:
    """Measure."""
    parser = options(__doc__)
    parser.add_argument("--small", action="store_true", help="to try it")
    asked = parser.parse_args()
    rows = []
    for case in SMALL if asked.small else CASES:
        with tempfile.TemporaryDirectory() as folder:
            rows += measured(Path(folder), case, asked.rounds)
    finish(rows, asked.json)


if __name__ == "__main__":
    main()
