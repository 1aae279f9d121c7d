"""What large populations take, by arithmetic, on machines that are told of.

The populations are catalogues of a hub that nobody serves: `plan` and the
units of `fit` see names, shapes and offsets alone. Their bytes, requests and
memory are what `spectra plan` says. How long a layer takes is `fit`'s own
count of products, at the rate of the machine this runs on; layers are then
given to workers as the scheduler does, the next one to whoever is free, under
one quota of requests for all. `python -m benchmarks.cluster` holds what it
says beside real workers.

    python -m benchmarks.scale
"""

import hashlib
import heapq
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from benchmarks.figures import Row, finish, options
from benchmarks.page import DOCS, put
from spectra.core.catalog import (
    Architecture,
    Catalog,
    Checkpoint,
    DenseSource,
    LayerKey,
    LayerSource,
    LowRankSource,
)
from spectra.core.errors import BudgetError
from spectra.core.settings import FitSettings
from spectra.core.tensors import FileRef, TensorRef
from spectra.study.plan import plan
from spectra.study.reading import Reading, reading_of
from spectra.study.tasks import work_of
from spectra.study.work import product_rate, products_of

__all__ = ["POPULATIONS", "SITES", "Site", "Unit", "makespan", "units_of"]

WIDTHS = {"F32": 4, "BF16": 2}
QUOTA, QUOTA_SECONDS = 5000, 300
"""Requests in five minutes that a free account has."""

Shapes = Mapping[str, tuple[int, int]]


@dataclass(frozen=True, slots=True)
class Population:
    """Checkpoints of one shape.

    Attributes
    ----------
    name
        Of a row.
    n
        How many.
    shapes
        Of layers, ``(out, in)``.
    dtype
        As stored.
    rank
        Of adapters; 0 of full weights.
    shards
        Files of a checkpoint.
    """

    name: str
    n: int
    shapes: Shapes
    dtype: str
    rank: int = 0
    shards: int = 1

    def catalog(self) -> Catalog:
        """Return it as a scan of a hub would."""
        models = [self._model(i) for i in range(self.n)]
        keys = tuple(key for key, _ in models[0].layers)
        names = tuple(model.id for model in models)
        group = Architecture("virtual", keys, names)
        return Catalog(tuple(models), (group,))

    def _model(self, i: int) -> Checkpoint:
        sha = hashlib.sha1(str(i).encode()).hexdigest()  # noqa: S324 - a name
        where = f"hf://org/m{i:06}@{sha}"
        paths = [f"{where}/{s}.safetensors" for s in range(self.shards)]
        ends = dict.fromkeys(paths, 8)
        layers: list[tuple[LayerKey, LayerSource]] = []
        for number, (name, (out, into)) in enumerate(self.shapes.items()):
            path = paths[number * self.shards // len(self.shapes)]

            def ref(
                part: str, shape: tuple[int, int], path: str = path
            ) -> TensorRef:
                start = ends[path]
                ends[path] += shape[0] * shape[1] * WIDTHS[self.dtype]
                return TensorRef(
                    path, part, start, ends[path], self.dtype, shape
                )

            if self.rank:
                kind = LayerKey(name, (out, into), "low-rank")
                A = ref(f"{name}.A", (self.rank, into))
                B = ref(f"{name}.B", (out, self.rank))
                layers.append((kind, LowRankSource(A, B, 1.0)))
            else:
                key = LayerKey(name, (out, into), "dense")
                layers.append((key, DenseSource(ref(name, (out, into)))))
        files = tuple(
            FileRef(path, end, 0, "0" * 64, f"{i:064x}")
            for path, end in ends.items()
        )
        return Checkpoint(
            f"org/m{i:06}", sha, where, files, tuple(layers),
            architecture="virtual",
        )  # fmt: skip


def _blocks(count: int, parts: Shapes) -> dict[str, tuple[int, int]]:
    return {
        f"layers.{i}.{name}": shape
        for i in range(count)
        for name, shape in parts.items()
    }


_LLAMA = {
    "q": (4096, 4096), "k": (1024, 4096), "v": (1024, 4096),
    "o": (4096, 4096), "gate": (14336, 4096), "up": (14336, 4096),
    "down": (4096, 14336),
}  # fmt: skip
_VIT = {
    "q": (768, 768), "k": (768, 768), "v": (768, 768), "o": (768, 768),
    "up": (3072, 768), "down": (768, 3072),
}  # fmt: skip
_MISTRAL = {"q": (4096, 4096), "k": (1024, 4096), "v": (1024, 4096)}

POPULATIONS = (
    Population(
        "500 LoRAs of Mistral-7B, rank 16, q k v", 500,
        _blocks(32, _MISTRAL), "BF16", 16,
    ),
    Population("500 ViT-B", 500, _blocks(12, _VIT), "F32"),
    Population(
        "50 LLaMA-8B", 50,
        _blocks(32, _LLAMA)
        | {"embed": (128256, 4096), "lm_head": (128256, 4096)},
        "BF16", shards=4,
    ),
    Population(
        "1,100 LoRAs of Mistral-7B, rank 16, q k v", 1100,
        _blocks(32, _MISTRAL), "BF16", 16,
    ),
    Population(
        "10,000 LoRAs of Mistral-7B, rank 16, q v", 10_000,
        _blocks(32, {"q": (4096, 4096), "v": (1024, 4096)}), "BF16", 16,
    ),
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Site:
    """Machines.

    Attributes
    ----------
    nodes, workers
        Machines, and processes on each; a worker has one core.
    line
        Bytes a second from the hub to one machine.
    caches
        Places where whole files are kept: one a machine, or one for all.
    """

    name: str
    nodes: int
    workers: int
    line: float
    caches: int


SITES = (
    Site("2 cores, 400 Mb/s", 1, 2, 5e7, 1),
    Site("16 cores, 10 Gb/s", 1, 16, 1.25e9, 1),
    Site("64 such machines, a cache each", 64, 16, 1.25e9, 64),
    Site("64 such machines, one cache", 64, 16, 1.25e9, 1),
)

H100 = 33.5e12
"""Products a second in float32 that an H100 SXM's data sheet has. Nothing of
spectra was measured on one."""

MEMORY = 4 * 2**30
"""Of a worker: the default of ``--memory``."""

ROOM = 2**50
"""Of the cache, so that the table does not hang on the disk it is made on."""


@dataclass(frozen=True, slots=True)
class Unit:
    """A layer: bytes and requests by range, and products of one core."""

    nbytes: int
    requests: int
    products: float


def units_of(population: Population) -> tuple[Reading, list[Unit]]:
    """Return what is read whole, and the units of a population."""
    settings = FitSettings(memory=2**50)
    work = work_of(population.catalog(), settings)
    reading = reading_of(work.tasks, room=ROOM)
    whole = {file.path for file in reading.whole}
    found = []
    for task in work.tasks:
        ranged = [ref for ref in task.refs if ref.file not in whole]
        spans = sum(-(-ref.nbytes // (64 * 2**20)) for ref in ranged)
        nbytes = sum(ref.nbytes for ref in ranged)
        found.append(Unit(nbytes, spans, products_of(task, settings)))
    return reading, found


def makespan(
    units: Sequence[Unit],
    site: Site,
    rate: float,
    *,
    whole: tuple[int, int] = (0, 0),
    quota: int = QUOTA,
) -> float:
    """Return seconds until all units are done.

    Parameters
    ----------
    units
        In the order in which they are given.
    site
        The machines. A machine's workers share its line.
    rate
        Products a second of a core.
    whole
        Bytes and requests of files that are fetched into each cache before.
    quota
        Requests in `QUOTA_SECONDS` of all machines together.
    """
    nbytes, requests = whole
    asked = requests * site.caches
    begin = max(
        nbytes / site.line, max(0, asked - quota) * QUOTA_SECONDS / quota
    )
    free = [(begin, i) for i in range(site.nodes * site.workers)]
    lines = [begin] * site.nodes
    for unit in units:
        at, worker = heapq.heappop(free)
        node = worker // site.workers
        asked += unit.requests
        allowed = max(0, asked - quota) * QUOTA_SECONDS / quota
        # Bytes come one after another through a machine's line.
        lines[node] = max(at, lines[node], allowed) + unit.nbytes / site.line
        done = max(lines[node], at + unit.products / rate)
        heapq.heappush(free, (done, worker))
    return max(at for at, _ in free)


def hours(seconds: float) -> str:
    """Return a time as one would say it."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    if seconds < 5400:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h"


def size(nbytes: float) -> str:
    """Return bytes as one would say them."""
    for unit, many in (("TB", 1e12), ("GB", 1e9)):
        if nbytes >= many:
            return f"{nbytes / many:.3g} {unit}"
    return f"{nbytes / 1e6:.3g} MB"


def memory_of(population: Population) -> str:
    """Return what a worker of one thread takes, or needs beyond `MEMORY`."""
    settings = FitSettings(memory=MEMORY, workers=1)
    try:
        return size(plan(population.catalog(), settings).memory_bytes)
    except BudgetError as error:
        return f"{size(error.needs)}: more `--memory`"


def least_of(population: Population, nbytes: int, requests: int) -> float:
    """Return seconds that no machine with one H100 can be below.

    The line of 10 Gb/s, the quota, and the multiplications of the Gram
    matrices alone, as docs/performance.md counts them.
    """
    n, r = population.n, population.rank
    products = sum(
        n**2 * r**2 * (out + into) / 2 if r else n**2 * out * into / 2
        for out, into in population.shapes.values()
    )
    waits = max(0, requests - QUOTA) * QUOTA_SECONDS / QUOTA
    return max(nbytes / SITES[1].line, waits, products / H100)


def lines_of(rate: float) -> Iterator[tuple[str, ...]]:
    """Yield a row a population."""
    for population in POPULATIONS:
        reading, units = units_of(population)
        whole = sum(file.nbytes for file in reading.whole)
        requests = reading.requests(reading.whole)
        once = requests - sum(unit.requests for unit in units)
        nbytes = whole + sum(unit.nbytes for unit in units)
        products = sum(unit.products for unit in units)
        yield (
            population.name,
            size(nbytes),
            f"{requests:,}",
            f"{products / 1e12:,.0f}",
            memory_of(population),
            *(
                hours(makespan(units, site, rate, whole=(whole, once)))
                for site in SITES
            ),
            hours(least_of(population, nbytes, requests)),
        )


def main() -> None:
    """Write the table."""
    asked = options(__doc__).parse_args()
    rate = product_rate()
    head = (
        "population", "bytes", "requests", "10^12 products",
        "memory of a worker", *(site.name for site in SITES),
        "one H100, at least",
    )  # fmt: skip
    rows = list(lines_of(rate))
    text = "\n".join(
        f"| {' | '.join(row)} |" for row in (head, ["---"] * len(head), *rows)
    )
    put(
        DOCS / "scale.md",
        f"One core at {rate / 1e9:.0f} x 10^9 products a second, as this was"
        f" written.\n\n{text}",
    )
    finish(
        [
            Row(f"{row[0]}, {site.name}", took)
            for row in rows
            for site, took in zip(SITES, row[5:-1], strict=True)
        ],
        asked.json,
    )


if __name__ == "__main__":
    main()
