"""Real workers on this machine: two beside one, and 2,000 checkpoints.

A scheduler and its workers, one thread each, are processes of their own. The
scaling is of full weights whose layers are computing, not reading. The 2,000
checkpoints are the demo's adapters of MiniLM, each with noise of its own; the
workers' memory is looked at ten times a second.

    python -m benchmarks.cluster [--members 2000] [--layers 4] [--rounds 3]

Of 0 members the scaling alone is measured.
"""

import shutil
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median

import numpy as np
from safetensors.numpy import load_file, save_file

import spectra
from benchmarks.figures import Row, at_least, at_most, finish, options, paired
from benchmarks.figures import ratio as ratio_of
from benchmarks.scale import Site, Unit, makespan
from spectra.core.settings import FitSettings
from spectra.study.tasks import work_of
from spectra.study.work import product_rate, products_of
from tests.checkpoints import dense
from tests.cluster.machines import Machines

SHAPE, LAYERS, MEMBERS = (640, 512), 8, 32
DEMO = Path(spectra.__file__).parent / "demo_population" / "independent"


def perturbed(folder: Path, members: int) -> None:
    """Write adapters of the demo, each with noise of its own."""
    made = sorted(path for path in DEMO.iterdir() if path.is_dir())
    for i in range(members):
        source = made[i % len(made)]
        place = folder / f"m{i:05}"
        place.mkdir(parents=True)
        shutil.copy(source / "adapter_config.json", place)
        rng = np.random.default_rng(i)
        tensors = load_file(source / "adapter_model.safetensors")
        for name, values in tensors.items():
            noise = rng.standard_normal(values.shape) * 0.3 * values.std()
            tensors[name] = (values + noise).astype(values.dtype)
        save_file(tensors, place / "adapter_model.safetensors")


@contextmanager
def machines(folder: Path, workers: int) -> Iterator[Machines]:
    """Give a scheduler with so many workers."""
    folder.mkdir()
    made = Machines(folder)
    try:
        for _ in range(workers):
            made.worker()
        while len(made.pids()) < workers:
            time.sleep(0.1)
        time.sleep(2)
        yield made
    finally:
        made.kill()


class Watch:
    """Looks at the memory of processes, again and again."""

    def __init__(self, made: Machines) -> None:
        self._made = made
        self._ends = threading.Event()
        self.seen: list[tuple[float, float]] = []
        self._thread = threading.Thread(target=self._look)

    def _look(self) -> None:
        while not self._ends.wait(0.1):
            pages = []
            for pid in self._made.pids():
                try:
                    text = Path(f"/proc/{pid}/statm").read_text()
                except OSError:
                    continue
                pages.append(int(text.split()[1]))
            if pages:
                self.seen.append((time.monotonic(), 4096.0 * max(pages)))

    def __enter__(self) -> "Watch":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ends.set()
        self._thread.join()

    def growth(self) -> float:
        """Return the peak of the last half over that of the first."""
        half = (self.seen[0][0] + self.seen[-1][0]) / 2
        first = max(nbytes for at, nbytes in self.seen if at <= half)
        return max(nbytes for at, nbytes in self.seen if at > half) / first

    def peak(self) -> float:
        """Return the highest of any process."""
        return max(nbytes for _, nbytes in self.seen)


def scaling(scratch: Path, rounds: int) -> list[Row]:
    """Return how much faster two workers are, and what was foretold."""
    shapes = {f"h.{i}.weight": SHAPE for i in range(LAYERS)}
    folder, _, _ = dense(scratch / "dense", MEMBERS, shapes)
    catalog = spectra.scan(folder)

    def fit(made: Machines, out: str) -> None:
        (scratch / out).unlink(missing_ok=True)
        spectra.fit(catalog, scratch / out, scheduler=made.address)

    with (
        machines(scratch / "one", 1) as one,
        machines(scratch / "two", 2) as two,
    ):
        took = paired(
            {"1": lambda: fit(one, "1.h5"), "2": lambda: fit(two, "2.h5")},
            rounds,
        )
    assert (scratch / "1.h5").read_bytes() == (scratch / "2.h5").read_bytes()
    settings = FitSettings()
    tasks = work_of(catalog.value, settings).tasks
    units = [
        Unit(task.nbytes, 0, products_of(task, settings)) for task in tasks
    ]
    site = Site("here", 1, 2, 1e9, 1)
    foretold = makespan(units, site, product_rate())
    one_s, two_s = median(took["1"]), median(took["2"])
    what = f"{MEMBERS} x {LAYERS} layers of {SHAPE[0]} x {SHAPE[1]}, F32"
    return [
        at_least(
            f"fit on 2 workers, {what}", f"{two_s:.1f} s",
            f"on 1 worker {one_s:.1f} s",
            ratio_of(took["1"], took["2"]), 1.7,
        ),
        Row(f"the same, foretold by benchmarks.scale, {what}",
            f"{two_s:.1f} s", f"foretold {foretold:.1f} s",
            f"{two_s / foretold:.2f} times"),
    ]  # fmt: skip


def thousands(scratch: Path, members: int, layers: int) -> list[Row]:
    """Return what many small checkpoints take on two workers."""
    folder = scratch / "many"
    perturbed(folder, members)
    started = time.perf_counter()
    catalog = spectra.scan(folder)
    scanned = time.perf_counter() - started
    names = [key.name for key in catalog.value.architectures[0].layers]
    with machines(scratch / "workers", 2) as made, Watch(made) as watch:
        started = time.perf_counter()
        run = spectra.fit(
            catalog, scratch / "many.h5", layers=names[:layers],
            scheduler=made.address,
        )  # fmt: skip
        fitted = time.perf_counter() - started
    assert len(run.models) == members
    return [
        Row(f"scan of {members:,} adapters of MiniLM", f"{scanned:.1f} s"),
        Row(f"fit of them on 2 workers, {layers} layers", f"{fitted:.1f} s",
            f"{members * layers / fitted:,.0f} updates a second"),
        at_most("peak of a worker's memory", watch.peak() / 1e6, "MB", None),
        at_most("that of the last half over that of the first",
                watch.growth(), "times", 1.1),
    ]  # fmt: skip


def main() -> None:
    """Measure."""
    parser = options(__doc__)
    parser.add_argument("--members", type=int, default=2000)
    parser.add_argument("--layers", type=int, default=4)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        scratch = Path(name)
        rows = scaling(scratch, asked.rounds)
        if asked.members:
            rows += thousands(scratch, asked.members, asked.layers)
    finish(rows, asked.json)


if __name__ == "__main__":
    main()
