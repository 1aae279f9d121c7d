"""Layers on the workers of a Dask cluster; this process alone commits them.

Workers are told of a layer by a text and answer with bytes. Which of them
fits which layer, when, and how often, changes no bit: units are put together
in the order of the layers. What is finished stands in the journal, so that a
cluster that is lost costs no more than what was under way.
"""

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Any

from spectra.backend.threads import cores
from spectra.core.errors import BudgetError, IncompleteError, UsageError
from spectra.core.events import Observer
from spectra.core.settings import FitSettings
from spectra.core.text import printable
from spectra.hub.files import is_remote
from spectra.store.units import unpack
from spectra.study.each import Engine, Found, Keeper, lost
from spectra.study.reading import reading_of
from spectra.study.remote import fit_unit, sight_of, told
from spectra.study.tasks import Work
from spectra.subspaces.layer import LayerTask

if TYPE_CHECKING:
    from distributed import Client, Future

__all__ = ["LOCAL", "There", "connected"]

LOCAL = "local"
"""In place of an address: processes of this machine, for as long as it takes.
"""

_PATIENCE = 60
"""Seconds until a scheduler has answered, and a worker has come to it."""

_AHEAD = 2
"""Layers that a worker's thread is given before it has answered."""


@contextmanager
def connected(settings: FitSettings, /) -> Iterator["There"]:
    """Give the cluster that a fit asks for.

    Raises
    ------
    UsageError
        E_SCHEDULER where there is none, E_WORKERS where its workers cannot
        compute the same bits, E_EXTRA where Dask is not installed.
    """
    try:
        from distributed import Client, LocalCluster
    except ImportError as error:
        raise UsageError(
            "E_EXTRA",
            f"--scheduler needs Dask ({error})",
            advice="pip install 'hf-spectra[dist]'",
        ) from error
    address: Any = settings.scheduler
    with ExitStack() as held:
        if address == LOCAL:
            address = held.enter_context(
                LocalCluster(
                    n_workers=settings.workers or cores(),
                    threads_per_worker=1,
                    memory_limit=0,
                    host="127.0.0.1",
                    dashboard_address=None,
                )
            )
        try:
            client = held.enter_context(Client(address, timeout=_PATIENCE))
            client.wait_for_workers(1, timeout=_PATIENCE)
        except (OSError, ValueError) as error:
            raise UsageError(
                "E_SCHEDULER",
                f"no worker can be had of {printable(str(settings.scheduler))}"
                f" ({printable(str(error))})",
                advice="start dask scheduler and dask worker, or use"
                " --scheduler local",
            ) from error
        yield There(client, settings)


class There:
    """A place where layers are fitted: the workers of a cluster."""

    def __init__(self, client: "Client", settings: FitSettings, /) -> None:
        self._client, self._settings = client, settings
        self.environment: dict[str, Any] = self._seen([])

    @contextmanager
    def engine(self, work: Work, /) -> Iterator[Engine]:
        """Give what fits the layers of a population.

        Raises
        ------
        UsageError
            E_WORKERS where a worker does not see the files.
        """
        self._seen(
            [path for path in sorted(work.files) if not is_remote(path)]
        )
        yield _Workers(self._client, work.settings, self.environment)

    def _seen(self, paths: list[str]) -> dict[str, Any]:
        """Return the environment of all workers, which see all paths."""
        found = self._client.run(sight_of, self._settings.device, paths)
        (first, sight), *others = found.items()
        for worker, other in others:
            if other["environment"] != sight["environment"]:
                raise _unfit(
                    f"{first} and {worker} have other versions, devices or"
                    " processors: the last bits of one would not be the"
                    " other's"
                )
        for worker, each in found.items():
            if each["unseen"] is not None:
                raise _unfit(
                    f"{worker} does not see {printable(each['unseen'])}:"
                    " workers read checkpoints themselves"
                )
        return dict(sight["environment"])


def _unfit(what: str) -> UsageError:
    return UsageError(
        "E_WORKERS",
        what,
        advice="start workers of one version on one kind of machine, with the"
        " same disk; or name checkpoints of a hub",
    )


@dataclass(frozen=True, slots=True)
class _Workers:
    """An `~spectra.study.each.Engine` that gives layers to workers.

    Where a layer does not fit the memory beside others, or workers have died
    at it, it is tried again when these are done, nothing beside it.
    """

    client: "Client"
    settings: FitSettings
    environment: Mapping[str, Any]

    def __call__(
        self,
        tasks: Mapping[str, LayerTask],
        kept: Keeper[Found],
        _: Observer | None,
        /,
    ) -> Iterator[tuple[str, Found]]:
        """Yield what `kept` makes of each task's outcome, as they end."""
        whole = {file.path for file in reading_of(tasks.values()).whole}
        texts = {
            key: told(task, self.settings, self.environment, whole)
            for key, task in tasks.items()
        }
        hard = []
        for key, answer in self._answers(texts, "beside", len(texts)):
            if isinstance(answer, bytes):
                yield key, kept.keep(key, unpack(answer))
            else:
                hard.append(key)
        again = {key: texts[key] for key in hard}
        for key, answer in self._answers(again, "alone", 1):
            if isinstance(answer, bytes):
                yield key, kept.keep(key, unpack(answer))
            else:
                yield key, kept.keep(key, lost(tasks[key], *answer))

    def _answers(
        self, texts: Mapping[str, str], how: str, most: int
    ) -> Iterator[tuple[str, bytes | tuple[str, str]]]:
        """Yield of each layer a unit, or why there is none, as they come."""
        from distributed import as_completed

        waiting = iter(texts)
        under_way = as_completed()
        keys: dict[Any, str] = {}

        def give() -> None:
            """Give as many as the workers that are there now will begin."""
            wanted = min(most, max(1, _AHEAD * self._threads()))
            for key in islice(waiting, max(0, wanted - len(keys))):
                future = self.client.submit(
                    fit_unit, texts[key], key=f"spectra-{how}-{key}"
                )
                keys[future.key] = key
                under_way.add(future)

        give()
        for future in under_way:
            answer = _answer_of(future)
            key = keys.pop(future.key)
            give()
            yield key, answer

    def _threads(self) -> int:
        workers = self.client.scheduler_info(n_workers=-1)["workers"]
        return sum(each["nthreads"] for each in workers.values())


def _answer_of(future: "Future") -> bytes | tuple[str, str]:
    from concurrent.futures import CancelledError

    from distributed import KilledWorker
    from distributed.comm import CommClosedError

    try:
        return bytes(future.result())
    except BudgetError:
        raise  # What it may use was asked for, and can be.
    except MemoryError as error:
        return "LIMIT_MEMORY", f"not even alone: {error}"
    except KilledWorker:
        return "POISON", "worker after worker has died while it fitted it"
    except (CancelledError, CommClosedError) as error:
        raise IncompleteError(
            "E_SCHEDULER", f"the scheduler is gone ({error})"
        ) from error
