"""All layers of a fit, whoever computes them, and what is told of each."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar

from spectra.core.catalog import Quarantined
from spectra.core.events import Observer, Tally
from spectra.store.journal import Unit
from spectra.study.metrics import with_metrics
from spectra.subspaces.layer import LayerTask, fit_layer
from spectra.subspaces.products import Pass
from spectra.subspaces.recipes.stored import with_recipes
from spectra.subspaces.result import LayerOutcome

__all__ = ["Each", "Engine", "InMemory", "Keeper", "Watch", "fitted", "lost"]

Found = TypeVar("Found", LayerOutcome, Unit)
Kept_co = TypeVar("Kept_co", covariant=True)

Watch = Callable[[Sequence[Quarantined]], None]


class Keeper(Protocol[Kept_co]):
    """Where outcomes go: a journal, or the memory."""

    def begun(self) -> Mapping[str, int]:
        """Return what processes have died at, and how often alone."""
        ...

    def begin(self, key: str, /, *, deaths: int = 0) -> None:
        """Note what is under way."""
        ...

    def keep(self, key: str, outcome: LayerOutcome, /) -> Kept_co:
        """Store an outcome, on the thread that found it."""
        ...


class InMemory:
    """Keeps outcomes as they are."""

    def begun(self) -> Mapping[str, int]:
        """Return nothing: it dies with the process."""
        return {}

    def begin(self, key: str, /, *, deaths: int = 0) -> None:
        """Do nothing."""

    def keep(self, _: str, outcome: LayerOutcome, /) -> LayerOutcome:
        """Return the outcome."""
        return outcome


class Engine(Protocol):
    """Who computes layers: threads of this process, or a cluster's workers."""

    def __call__(
        self,
        tasks: Mapping[str, LayerTask],
        kept: Keeper[Found],
        on_event: Observer | None,
        /,
    ) -> Iterator[tuple[str, Found]]:
        """Yield what `kept` makes of each task's outcome, as they end."""
        ...


@dataclass(frozen=True, slots=True)
class Each:
    """Fits layers, and tells of each.

    Attributes
    ----------
    all_tasks
        Of the population.
    engine
        Computes them.
    on_event
        Told after each layer.
    on_loss
        Told what each layer sets aside; may raise.
    """

    all_tasks: Sequence[LayerTask]
    engine: Engine
    on_event: Observer | None
    on_loss: Watch | None

    def __call__(
        self, tasks: Mapping[str, LayerTask], kept: Keeper[Found], /
    ) -> Iterator[tuple[str, Found]]:
        """Yield what `kept` makes of each task's outcome, as they end."""
        total, nbytes = len(self.all_tasks), _nbytes(self.all_tasks)
        tally = Tally(
            self.on_event,
            "fit",
            total,
            nbytes,
            done=total - len(tasks),
            nbytes_done=nbytes - _nbytes(tasks.values()),
        )
        for key, found in self.engine(tasks, kept, self.on_event):
            if self.on_loss is not None:
                self.on_loss(found.quarantine)
            task = tasks[key]
            tally.tell(task.key.name, task.nbytes)
            yield key, found


def _nbytes(tasks: Iterable[LayerTask]) -> int:
    return sum(task.nbytes for task in tasks)


def fitted(task: LayerTask, how: Pass, /) -> LayerOutcome:
    """Return all that a fit keeps of one layer."""
    outcome = fit_layer(task, how)
    if how.recipes:
        outcome = with_recipes(task, outcome, how)
    return with_metrics(task, outcome, how) if how.metrics else outcome


def lost(task: LayerTask, code: str, detail: str, /) -> LayerOutcome:
    """Return what is left of a layer that nobody could fit."""
    return LayerOutcome(
        None, (Quarantined("all", task.key.name, code, detail),)
    )
