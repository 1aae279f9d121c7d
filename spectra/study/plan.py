"""What a fit would read and need, before it starts."""

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace

import numpy as np

from spectra.backend.memory import PER_WORKER, Budget, resident_bytes
from spectra.backend.threads import cores
from spectra.core.catalog import Catalog, LowRankSource
from spectra.core.settings import FitSettings
from spectra.core.text import printable
from spectra.hub.files import AHEAD, is_remote
from spectra.statistics.sides.null import AFFORDABLE, SIDE_DRAWS, seconds
from spectra.study.metrics import metrics_nbytes
from spectra.study.reading import reading_of
from spectra.study.scan import opening
from spectra.study.tasks import work_of
from spectra.study.work import pairs_of, product_rate, products_of
from spectra.subspaces.alignment import alignment_memory
from spectra.subspaces.dense import dense_memory, plan_dense
from spectra.subspaces.layer import LayerTask, kept_nbytes
from spectra.subspaces.lowrank import low_rank_memory
from spectra.subspaces.products import LayerCost, product_dtype
from spectra.subspaces.recipes.stored import recipes_nbytes
from spectra.subspaces.representatives import FOLDS
from spectra.subspaces.stacks import JOINT

__all__ = ["Plan", "plan", "workers_within"]

_READ_RATE = 1.0e9
"""Bytes a second from a cold local disk, the slow end of what was measured."""

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
        Size of the run file and of its finished units beside it, of the
        files that are fetched whole, and of the layers that are kept on the
        disk while they are fitted, since all their members do not fit the
        memory.
    layers_on_disk
        How many those are, of which all members do not fit.
    pairs_share
        Of the arithmetic, what is products of all pairs of members: the part
        that fewer members make less, and more than they are fewer.
    sides_unasked, sides_asked
        Sides of layers whose null `overlap` draws by itself, and sides of
        which it takes so long that it is drawn only on request.
    side_null_seconds
        What the latter take on one core.
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
    layers_on_disk: int
    pairs_share: float
    sides_unasked: int
    sides_asked: int
    side_null_seconds: float

    @classmethod
    def of_nothing(cls, *, n_models: int, n_layers: int) -> "Plan":
        """Return the plan of a run that is finished already."""
        nothing = {field.name: 0 for field in fields(cls)}
        return cls(**nothing | {"n_models": n_models, "n_layers": n_layers})


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
    costs = _costs(work.tasks, settings, budget.nbytes)
    largest = sorted((cost.nbytes for cost in costs), reverse=True)[:workers]
    spilled = sorted((cost.spilled for cost in costs), reverse=True)[:workers]
    read = sum(ref.nbytes for task in work.tasks for ref in task.refs)
    read += sum(
        recipes_nbytes(task, settings.recipe)[0] for task in work.tasks
    )
    if settings.metrics:
        read += sum(task.nbytes for task in work.tasks)
    products = sum(products_of(task, settings) for task in work.tasks)
    reading = reading_of(work.tasks)
    with opening(work.files) as files:
        missing = reading.missing(files)
    fetched = sum(file.nbytes for file in missing)
    requests = reading.requests(missing)
    waiting = max(
        (fetched + reading.nbytes) / _NETWORK_RATE,
        max(0, requests - _QUOTA) * _QUOTA_SECONDS / _QUOTA,
    )
    sides = [s for task in work.tasks for s in _side_nulls(task, settings)]
    asked = [cost for cost in sides if cost > AFFORDABLE]
    return Plan(
        n_models=len(work.members),
        n_layers=len(work.tasks),
        bytes_to_read=read,
        repositories=reading.repositories,
        bytes_to_fetch=fetched + reading.nbytes,
        requests=requests,
        whole_files=len(missing),
        ranged_files=len(reading.ranges),
        memory_bytes=resident_bytes() + workers * PER_WORKER + sum(largest),
        disk_bytes=sum(2 * _stored(task, settings) for task in work.tasks)
        + sum(spilled)
        + fetched,
        seconds=round(
            waiting + read / _READ_RATE + products / product_rate() / workers,
            1,
        ),
        workers=workers,
        layers_on_disk=sum(cost.spilled > 0 for cost in costs),
        pairs_share=round(
            sum(pairs_of(task, settings) for task in work.tasks) / products, 3
        ),
        sides_unasked=len(sides) - len(asked),
        sides_asked=len(asked),
        side_null_seconds=sum(asked),
    )


def _side_nulls(task: LayerTask, settings: FitSettings) -> list[float]:
    """Return how long the draws of either side's null take on one core."""
    most = max(_ranks(task), default=min(task.key.shape))
    q = min(settings.rank, most)
    return [
        seconds(len(task.holders), q, dimension, SIDE_DRAWS)
        for dimension in task.key.shape
    ]


def _costs(
    tasks: Sequence[LayerTask], settings: FitSettings, room: int
) -> list[LayerCost]:
    """Return what each layer takes when `room` bytes are there for it.

    Its result is kept when it is done: packed, and once more on the way.
    """
    costs = []
    for task in tasks:
        packed = 2 * _stored(task, settings)
        cost = _cost(task, settings, room - packed)
        # Recipes are followed when the rest of the layer is done.
        recipes = recipes_nbytes(task, settings.recipe)[1]
        alone = metrics_nbytes(task) if settings.metrics else 0
        nbytes = max(cost.nbytes, recipes, alone) + packed
        costs.append(replace(cost, nbytes=nbytes))
    return costs


def _cost(task: LayerTask, settings: FitSettings, room: int) -> LayerCost:
    """Return what a layer takes when `room` bytes are there for it."""
    dtype = np.float32 if settings.precision == "f32" else np.float64
    shape, factors = task.key.shape, _factors(task)
    ranks = [source.rank for source in factors]
    ahead, beside = _read_ahead(task), 0
    if factors:
        dtype = product_dtype(len(factors), dtype)
    if _has_base(task):
        rows = len(ranks) * max(ranks, default=0)
        beside = alignment_memory(shape, rows, dtype=dtype)
    if factors:
        needs = low_rank_memory(
            shape, factors, rank=settings.rank, dtype=dtype,
            save=settings.save_directions, beside=beside,
        )  # fmt: skip
        return LayerCost(needs + ahead)
    needs = dense_memory(
        shape, len(task.holders), rank=settings.rank, dtype=dtype,
        beside=beside,
    )  # fmt: skip
    kept = kept_nbytes(task, dtype)
    cost = plan_dense(needs, kept=kept, room=room - ahead)
    return replace(cost, nbytes=cost.nbytes + ahead)


def _read_ahead(task: LayerTask) -> int:
    """Return the bytes that wait for a layer which a hub may send."""
    remote = [ref.nbytes for ref in task.refs if is_remote(ref.file)]
    return min(sum(remote), AHEAD + 2 * max(remote)) if remote else 0


def _has_base(task: LayerTask) -> bool:
    return task.base is not None or task.beside is not None


def _factors(task: LayerTask) -> list[LowRankSource]:
    sources = [held for _, _, held in task.holders]
    return [s for s in sources if isinstance(s, LowRankSource)]


def _ranks(task: LayerTask) -> list[int]:
    return [source.rank for source in _factors(task)]


def _stored(task: LayerTask, settings: FitSettings) -> int:
    n, beside = len(task.holders), 5 * min(task.key.shape)
    folds = 2 * FOLDS * JOINT**2
    kept = n * (4 * n + 40) + folds + (beside if _has_base(task) else 0)
    return 8 * kept + (
        _saved(task, settings) if settings.save_directions else 0
    )


def _saved(task: LayerTask, settings: FitSettings) -> int:
    """Return the bytes of a layer's directions, in float32."""
    most = max(_ranks(task), default=min(task.key.shape))
    rows = len(task.holders) * min(settings.rank, most) + JOINT
    return 4 * rows * sum(task.key.shape)


def workers_within(
    tasks: Sequence[LayerTask], settings: FitSettings, /
) -> int:
    """Return how many layers fit the memory at the same time.

    Raises
    ------
    BudgetError
        When not even one does; nothing was read.
    """
    wanted = settings.workers or cores()
    costs = [cost.nbytes for cost in _costs(tasks, settings, 0)]
    needs = max(costs)
    task = tasks[costs.index(needs)]
    for workers in range(wanted, 1, -1):
        budget = Budget.of_process(settings.memory, workers=workers)
        if needs <= budget.nbytes:
            return workers
    budget = Budget.of_process(settings.memory, workers=1)
    budget.require(f"layer {printable(task.key.name)}", needs)
    return 1
