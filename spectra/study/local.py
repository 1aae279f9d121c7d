"""Layers on threads of this process."""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from spectra.backend.threads import in_order
from spectra.core.errors import BudgetError
from spectra.core.events import Observer
from spectra.core.settings import FitSettings
from spectra.hub.files import HubFiles
from spectra.study.each import Engine, Found, Keeper, fitted, lost
from spectra.study.how import environment_of, how_of
from spectra.study.plan import workers_within
from spectra.study.reading import reading_of
from spectra.study.scan import opening
from spectra.study.tasks import Work
from spectra.subspaces.layer import LayerTask
from spectra.subspaces.products import Pass
from spectra.subspaces.result import LayerOutcome

__all__ = ["Here"]

_DEATHS = 3
"""So many processes may die at a layer that they fit alone."""


@dataclass(frozen=True, slots=True)
class Here:
    """A place where layers are fitted: the process itself."""

    settings: FitSettings

    @property
    def environment(self) -> dict[str, Any]:
        """Return what the last bits hang on."""
        return environment_of(self.settings.device)

    @contextmanager
    def engine(self, work: Work, /) -> Iterator[Engine]:
        """Give what fits the layers of a population.

        Raises
        ------
        BudgetError
            When a layer cannot fit the memory; nothing was read.
        """
        settings = work.settings
        workers = workers_within(work.tasks, settings)
        with opening(work.files, max_stream=settings.max_stream) as opener:
            yield _Threads(
                how_of(settings, workers=workers, opener=opener), workers
            )


@dataclass(frozen=True, slots=True)
class _Threads:
    """An `~spectra.study.each.Engine` with few layers in flight at a time.

    Where one does not fit into memory beside others, it is tried alone when
    these are done; where a process has died at it, alone and before them.
    """

    how: Pass
    workers: int

    def __call__(
        self,
        tasks: Mapping[str, LayerTask],
        kept: Keeper[Found],
        on_event: Observer | None,
        /,
    ) -> Iterator[tuple[str, Found]]:
        """Yield what `kept` makes of each task's outcome, as they end."""
        self._fetch(tasks.values(), on_event)
        deaths = {k: n for k, n in kept.begun().items() if k in tasks}

        def beside(key: str) -> Found | None:
            kept.begin(key)
            try:
                return kept.keep(key, fitted(tasks[key], self.how))
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

    def _fetch(
        self, tasks: Iterable[LayerTask], on_event: Observer | None
    ) -> None:
        if isinstance(self.how.opener, HubFiles):
            whole = reading_of(tasks).whole
            self.how.opener.fetch(whole, on_event=on_event)


def _alone(task: LayerTask, how: Pass, deaths: int) -> LayerOutcome:
    """Return what is left of a layer that was hard on an earlier try."""
    if deaths >= _DEATHS:
        return lost(
            task,
            "POISON",
            f"{deaths} processes have died while they fitted it alone",
        )
    try:
        return fitted(task, how)
    except BudgetError:
        raise  # What it may use was asked for, and can be.
    except MemoryError as error:
        return lost(task, "LIMIT_MEMORY", f"not even alone: {error}")
