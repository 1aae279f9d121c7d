"""Layers on the workers of a Dask cluster; this process alone commits them.

Workers are told of a layer by a text and answer with bytes. Which of them
fits which layer, when, and how often, changes no bit: units are put together
in the order of the layers. What is finished stands in the journal, so that a
cluster that is lost costs no more than what was under way.
"""

import logging
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from importlib import import_module
from itertools import islice
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from spectra.backend.threads import cores
from spectra.core.errors import BudgetError, IncompleteError, UsageError
from spectra.core.events import Observer
from spectra.core.settings import FitSettings
from spectra.core.text import printable
from spectra.hub.files import is_remote
from spectra.store.units import unpack
from spectra.study.each import Engine, Found, Keeper, lost
from spectra.study.plan import workers_within
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
"""Seconds until a scheduler or a worker has to answer, and for which a cluster
may be without any worker."""

_AHEAD = 2
"""Layers that a worker's thread is given before it has answered."""

_DEAF = "import signal; signal.signal(signal.SIGINT, signal.SIG_IGN)"
"""Ctrl-C is for the driver: it ends the workers that it has started."""


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
        from distributed import Client
    except ImportError as error:
        raise UsageError(
            "E_EXTRA",
            f"--scheduler needs Dask ({error})",
            advice="pip install 'hf-spectra[dist]'",
        ) from error
    address: Any = settings.scheduler
    with _quiet(), ExitStack() as held:
        if address == LOCAL:
            address = held.enter_context(_processes(settings.workers))
        try:
            client = held.enter_context(Client(address, timeout=_PATIENCE))
            client.wait_for_workers(1, timeout=_PATIENCE)
        except (OSError, TypeError, ValueError) as error:
            raise UsageError(
                "E_SCHEDULER",
                f"no worker can be had of {printable(str(settings.scheduler))}"
                f" within {_PATIENCE} s ({printable(str(error))})",
                advice="start dask scheduler and dask worker (for tls:// with"
                " Dask's configuration of certificates), or use --scheduler"
                " local",
            ) from error
        yield There(client, settings)


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep what Dask logs off the terminal: we say what it means."""
    logger = logging.getLogger("distributed")
    level = logger.level
    logger.setLevel(logging.CRITICAL + 1)
    try:
        yield
    finally:
        logger.setLevel(level)


@contextmanager
def _processes(workers: int) -> Iterator[Any]:
    """Give a scheduler in this process, and workers that are its children."""
    from distributed import LocalCluster

    try:
        cluster = LocalCluster(
            n_workers=workers or cores(),
            threads_per_worker=1,
            memory_limit=0,
            host="127.0.0.1",
            dashboard_address="127.0.0.1:0",
            silence_logs=logging.CRITICAL + 1,
            preload=[_DEAF],
        )
    except RuntimeError as error:
        raise UsageError(
            "E_SCHEDULER",
            f"no processes can be started ({printable(str(error))})",
            advice="in a script, call spectra below"
            ' if __name__ == "__main__":',
        ) from error
    with cluster:
        yield cluster


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
            E_WORKERS where a worker does not see the files, or has more
            threads than there is memory for.
        BudgetError
            When a layer cannot fit the memory; nothing was read.
        """
        self._seen(
            [path for path in sorted(work.files) if not is_remote(path)]
        )
        threads = max(_threads(self._client).values(), default=1)
        settings = replace(work.settings, workers=threads)
        most = workers_within(work.tasks, settings)
        if most < threads:
            raise _unfit(
                f"a worker fits {threads} layers at a time, and {most} have"
                " room in --memory",
                advice=f"start workers with --nthreads {most}, or give them"
                " more --memory",
            )
        yield _Workers(self._client, work.settings, self.environment)

    def _seen(self, paths: list[str]) -> dict[str, Any]:
        """Return the environment of all workers, which see all paths."""
        found = self._sights(paths)
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

    def _sights(self, paths: list[str]) -> dict[str, dict[str, Any]]:
        """Return what each worker says that has not gone meanwhile."""
        # A worker that lacks a module is lost by a call of what is in it.
        self._of_each(import_module, sight_of.__module__)
        found = self._of_each(sight_of, self._settings.device, paths)
        return {worker: future.result() for worker, future in found.items()}

    def _of_each(
        self, what: Callable[..., Any], *words: Any
    ) -> dict[str, "Future"]:
        """Return what each worker that is there has answered to a call."""
        asked = {
            worker: self._client.submit(
                what, *words, workers=[worker],
                key=f"spectra-{what.__name__}-{worker}-{uuid4().hex}",
            )
            for worker in _threads(self._client)
        }  # fmt: skip
        found = {}
        for worker, future in asked.items():
            error = _error_of(future)
            if error is None:
                found[worker] = future
            elif worker in _threads(self._client):
                raise _unfit(f"{worker} cannot run spectra: {_said(error)}")
        if not found:
            raise _gone("all workers have gone")
        return found


def _error_of(future: "Future") -> BaseException | None:
    """Return what has become of a call that was to be answered soon."""
    from concurrent.futures import CancelledError

    try:
        error: BaseException | None = future.exception(timeout=_PATIENCE)
    except (CancelledError, OSError) as other:  # a TimeoutError, too
        return other
    return error


def _said(error: BaseException) -> str:
    if isinstance(error, TimeoutError):
        return f"it does not answer within {_PATIENCE} s"
    return printable(f"{type(error).__name__}: {error}")


def _threads(client: "Client") -> dict[str, int]:
    """Return how many layers each worker that is there fits at a time."""
    workers = client.scheduler_info(n_workers=-1)["workers"]
    return {name: each["nthreads"] for name, each in workers.items()}


def _unfit(what: str, *, advice: str | None = None) -> UsageError:
    return UsageError(
        "E_WORKERS",
        what,
        advice=advice
        or "start workers of one version on one kind of machine, with the"
        " same disk; or name checkpoints of a hub",
    )


def _gone(what: str) -> IncompleteError:
    return IncompleteError("E_SCHEDULER", what)


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

        def text(key: str) -> str:
            return told(tasks[key], self.settings, self.environment, whole)

        hard = []
        for key, answer in self._answers(tuple(tasks), text, len(tasks)):
            if isinstance(answer, bytes):
                yield key, kept.keep(key, unpack(answer))
            else:
                hard.append(key)
        for key, answer in self._answers(hard, text, 1):
            if isinstance(answer, bytes):
                yield key, kept.keep(key, unpack(answer))
            else:
                yield key, kept.keep(key, lost(tasks[key], *answer))

    def _answers(
        self, keys: Sequence[str], text: Callable[[str], str], most: int
    ) -> Iterator[tuple[str, bytes | tuple[str, str]]]:
        """Yield of each layer a unit, or why there is none, as they come."""
        waiting, ended = iter(keys), SimpleQueue[Any]()
        # Held here: a future that nobody holds is given up.
        under_way: dict[str, tuple[str, Future]] = {}
        # Another driver's layers may be the same, with other memory.
        ours = uuid4().hex

        def give() -> None:
            """Give as many as the workers that are there now will begin."""
            wanted = min(most, max(1, _AHEAD * self._n_threads()))
            for key in islice(waiting, max(0, wanted - len(under_way))):
                name = f"spectra-{key}-{ours}"
                future = self.client.submit(fit_unit, text(key), key=name)
                under_way[name] = key, future
                future.add_done_callback(ended.put)

        give()
        while under_way:
            future = self._next(ended)
            key, _ = under_way.pop(future.key)
            answer = _answer_of(future)
            give()
            yield key, answer

    def _next(self, ended: "SimpleQueue[Any]") -> "Future":
        """Return the next future that has ended.

        Raises
        ------
        IncompleteError
            When there has been no worker for a while that could end one.
        """
        seen = time.monotonic()
        while True:
            try:
                return ended.get(timeout=1)
            except Empty:
                if self._n_threads():
                    seen = time.monotonic()
                elif time.monotonic() - seen > _PATIENCE:
                    raise _gone(
                        f"there has been no worker for {_PATIENCE} s"
                    ) from None

    def _n_threads(self) -> int:
        try:
            return sum(_threads(self.client).values())
        except OSError as error:
            raise _gone("the scheduler is gone") from error


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
    except UsageError as error:
        # Of one worker, and none of what others have finished.
        raise IncompleteError(error.code, error.what) from error
    except (CancelledError, CommClosedError) as error:
        raise _gone("the scheduler is gone") from error
