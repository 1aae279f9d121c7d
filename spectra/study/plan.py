"""What a fit would read and need, before it starts."""

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from spectra.backend.memory import Budget, resident_bytes
from spectra.core.catalog import Catalog, LowRankSource
from spectra.core.settings import FitSettings
from spectra.core.text import printable
from spectra.hub.files import AHEAD, is_remote
from spectra.study.reading import reading_of
from spectra.study.scan import opening
from spectra.study.tasks import work_of
from spectra.subspaces.dense import plan_dense
from spectra.subspaces.layer import LayerTask, kept_nbytes
from spectra.subspaces.lowrank import low_rank_memory
from spectra.subspaces.products import LayerCost

__all__ = ["Plan", "plan", "workers_within"]

_READ_RATE = 1.0e9
"""Bytes a second from a cold local disk, the slow end of what was measured."""

_FLOP_RATE = 6.0e10
"""Products a second and worker; float32 syrk on small blocks runs at 60-95."""


_NETWORK_RATE = 5.0e7
"""Bytes a second from a hub: a line of 400 Mb/s."""

_QUOTA, _QUOTA_SECONDS = 3000, 300
"""Requests for files that the public hub answers in five minutes without a
token (its rate limits of 2025-09); with one it is 5000 and more."""


@dataclass(frozen=True, slots=True)
class Plan:
    """The cost of a fit. `seconds` is an order of magnitude, not a promise.

    Attributes
    ----------
    bytes_to_read
        Of tensors; of files that are fetched whole, all.
    repositories, bytes_to_fetch, requests
        Of a hub, what is in the caches left out.
    whole_files, ranged_files
        Files that are fetched once into the cache, and files of which single
        layers are read by range and nothing is kept.
    memory_bytes
        Peak of the whole process.
    disk_bytes
        Size of the run file, of the files that are fetched whole, and of
        the layers that are kept on the disk while they are fitted, since all
        their members do not fit the memory.
    """

    n_models: int
    n_layers: int
    bytes_to_read: int
    repositories: int
    bytes_to_fetch: int
    requests: int
    whole_files: int
    ranged_files: int
    memory_bytes: int
    disk_bytes: int
    seconds: float
    workers: int


def plan(catalog: Catalog, settings: FitSettings, /) -> Plan:
    """Return what `fit` would do with a catalogue.

    Raises
    ------
    UsageError
        When there is nothing to compare.
    BudgetError
        When a layer does not fit the memory at all.
    """
    work = work_of(catalog, settings)
    workers = workers_within(work.tasks, settings)
    budget = Budget.of_process(settings.memory, workers=workers)
    costs = [_cost(task, settings, budget.nbytes) for task in work.tasks]
    largest = sorted((cost.nbytes for cost in costs), reverse=True)[:workers]
    spilled = sorted((cost.spilled for cost in costs), reverse=True)[:workers]
    read = sum(task.nbytes for task in work.tasks)
    flops = sum(map(_flops, work.tasks))
    reading = reading_of(work.tasks)
    with opening(work.files) as files:
        missing = reading.missing(files)
    fetched = sum(file.nbytes for file in missing)
    requests = reading.requests(missing)
    waiting = max(
        (fetched + reading.nbytes) / _NETWORK_RATE,
        max(0, requests - _QUOTA) * _QUOTA_SECONDS / _QUOTA,
    )
    return Plan(
        n_models=len(work.members),
        n_layers=len(work.tasks),
        bytes_to_read=read,
        repositories=reading.repositories,
        bytes_to_fetch=fetched + reading.nbytes,
        requests=requests,
        whole_files=len(missing),
        ranged_files=len(reading.ranges),
        memory_bytes=resident_bytes() + sum(largest),
        disk_bytes=sum(map(_stored, work.tasks)) + sum(spilled) + fetched,
        seconds=round(
            waiting + read / _READ_RATE + flops / _FLOP_RATE / workers, 1
        ),
        workers=workers,
    )


def _cost(task: LayerTask, settings: FitSettings, room: int) -> LayerCost:
    """Return what a layer takes when `room` bytes are there for it."""
    dtype = np.float32 if settings.precision == "f32" else np.float64
    shape, sources = task.key.shape, [held for _, _, held in task.holders]
    ranks = [s.rank for s in sources if isinstance(s, LowRankSource)]
    ahead = _read_ahead(task)
    if ranks:
        return LayerCost(low_rank_memory(shape, ranks) + ahead)
    cost = plan_dense(
        shape,
        len(sources),
        rank=settings.rank,
        dtype=dtype,
        kept=kept_nbytes(task, dtype),
        room=room - ahead,
    )
    return replace(cost, nbytes=cost.nbytes + ahead)


def _read_ahead(task: LayerTask) -> int:
    """Return the bytes that wait for a layer which a hub may send."""
    remote = [ref.nbytes for ref in task.refs if is_remote(ref.file)]
    return min(sum(remote), AHEAD + 2 * max(remote)) if remote else 0


def _flops(task: LayerTask) -> float:
    """Return the products of a layer: its Gram matrix, sides and solvers."""
    m, n = task.key.shape
    count = len(task.holders)
    ranks = [
        source.rank
        for _, _, source in task.holders
        if isinstance(source, LowRankSource)
    ]
    if ranks:
        return float(sum(ranks)) ** 2 * (m + n)
    return float(count) ** 2 * m * n + count * (2.0 * m * n * (m + n))


def _stored(task: LayerTask) -> int:
    n = len(task.holders)
    return 8 * n * (4 * n + 40)


def workers_within(
    tasks: Sequence[LayerTask], settings: FitSettings, /
) -> int:
    """Return how many layers fit the memory at the same time.

    Raises
    ------
    BudgetError
        When not even one does; nothing was read.
    """
    wanted = settings.workers or len(os.sched_getaffinity(0))
    costs = [(_cost(task, settings, 0).nbytes, task) for task in tasks]
    needs, task = max(costs, key=lambda cost: cost[0])
    for workers in range(wanted, 1, -1):
        budget = Budget.of_process(settings.memory, workers=workers)
        if needs <= budget.nbytes:
            return workers
    budget = Budget.of_process(settings.memory, workers=1)
    budget.require(f"layer {printable(task.key.name)}", needs)
    return 1
