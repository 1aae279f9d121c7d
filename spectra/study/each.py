"""All layers of a fit: side by side, and alone where that is asked for."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar

from spectra.backend.threads import in_order
from spectra.core.catalog import Quarantined
from spectra.core.errors import BudgetError
from spectra.core.events import Observer, Progress
from spectra.hub.files import HubFiles
from spectra.store.journal import Unit
from spectra.study.metrics import with_metrics
from spectra.study.reading import reading_of
from spectra.subspaces.layer import LayerTask, fit_layer
from spectra.subspaces.products import Pass
from spectra.subspaces.recipes.stored import with_recipes
from spectra.subspaces.result import LayerOutcome

__all__ = ["Each", "InMemory", "Keeper", "Watch"]

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


_DEATHS = 3
"""So many processes may die at a layer that they fit alone."""


@dataclass(frozen=True, slots=True)
class Each:
    """Fits layers, few in flight at a time.

    Where one does not fit into memory beside others, it is tried alone when
    these are done; where a process has died at it, alone and before them.

    Attributes
    ----------
    all_tasks
        Of the population.
    on_event
        Told after each layer.
    on_loss
        Told what each layer sets aside; may raise.
    """

    all_tasks: Sequence[LayerTask]
    how: Pass
    workers: int
    on_event: Observer | None
    on_loss: Watch | None

    def __call__(
        self, tasks: Mapping[str, LayerTask], kept: Keeper[Found], /
    ) -> Iterator[tuple[str, Found]]:
        """Yield what `kept` makes of each task's outcome, as they end."""
        self._fetch(tasks.values())
        all_bytes = sum(task.nbytes for task in self.all_tasks)
        read = all_bytes - sum(task.nbytes for task in tasks.values())
        done = len(self.all_tasks) - len(tasks)
        for key, found in self._found(tasks, kept):
            if self.on_loss is not None:
                self.on_loss(found.quarantine)
            done, task = done + 1, tasks[key]
            read += task.nbytes
            if self.on_event is not None:
                self.on_event(
                    Progress(
                        "fit",
                        done,
                        len(self.all_tasks),
                        task.key.name,
                        task.nbytes,
                        read,
                        all_bytes,
                    )
                )
            yield key, found

    def _found(
        self, tasks: Mapping[str, LayerTask], kept: Keeper[Found]
    ) -> Iterator[tuple[str, Found]]:
        deaths = {k: n for k, n in kept.begun().items() if k in tasks}

        def beside(key: str) -> Found | None:
            kept.begin(key)
            try:
                return kept.keep(key, _fitted(tasks[key], self.how))
            except MemoryError:
                return None

        def alone(key: str) -> Found:
            before = deaths.get(key, 0)
            kept.begin(key, deaths=before + 1)
            return kept.keep(key, _alone(tasks[key], self.how, before))

        yield from in_order(alone, deaths, workers=1)
        large = []
        others = [key for key in tasks if key not in deaths]
        for key, found in in_order(beside, others, workers=self.workers):
            if found is None:
                large.append(key)
            else:
                yield key, found
        yield from in_order(alone, large, workers=1)

    def _fetch(self, tasks: Iterable[LayerTask]) -> None:
        if isinstance(self.how.opener, HubFiles):
            whole = reading_of(tasks).whole
            self.how.opener.fetch(whole, on_event=self.on_event)


def _fitted(task: LayerTask, how: Pass) -> LayerOutcome:
    outcome = fit_layer(task, how)
    if how.recipes:
        outcome = with_recipes(task, outcome, how)
    return with_metrics(task, outcome, how) if how.metrics else outcome


def _alone(task: LayerTask, how: Pass, deaths: int = 0) -> LayerOutcome:
    """Return what is left of a layer that was hard on an earlier try."""
    if deaths >= _DEATHS:
        return _lost(
            task,
            "POISON",
            f"{deaths} processes have died while they fitted it alone",
        )
    try:
        return _fitted(task, how)
    except BudgetError:
        raise  # What it may use was asked for, and can be.
    except MemoryError as error:
        return _lost(task, "LIMIT_MEMORY", f"not even alone: {error}")


def _lost(task: LayerTask, code: str, detail: str) -> LayerOutcome:
    return LayerOutcome(
        None, (Quarantined("all", task.key.name, code, detail),)
    )
