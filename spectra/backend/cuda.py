"""What CuPy and torch do on a GPU each in its own way."""

from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from spectra.backend.staging import Copies, Event, PlainCopies

__all__ = ["HOST", "CupyRuntime", "HostRuntime", "Runtime", "TorchRuntime"]

Array = Any


class Runtime(Protocol):
    """What the array API standard does not speak of."""

    def raising(self) -> AbstractContextManager[object]:
        """Give a context in which failures of solvers raise, for a thread."""
        ...

    def copies(self) -> Copies:
        """Return a new queue of copies to the device."""
        ...

    def limit(self, nbytes: int, /) -> None:
        """Let all arrays on the device together take so much of its memory."""
        ...

    def left(self) -> int:
        """Return how many bytes of that are not taken."""
        ...


@dataclass(frozen=True, slots=True)
class HostRuntime:
    """Of a library that computes in the host's memory."""

    def raising(self) -> AbstractContextManager[object]:
        """Give no context: failures raise."""
        return nullcontext()

    def copies(self) -> Copies:
        """Return copies that are done at once."""
        return PlainCopies()

    def limit(self, nbytes: int, /) -> None:
        """Do nothing: a `Budget` counts what is allocated."""

    def left(self) -> int:
        """Return 0: an allocation has failed."""
        return 0


HOST = HostRuntime()


@dataclass(frozen=True, slots=True)
class CupyRuntime:
    """Of CuPy on its current device.

    Attributes
    ----------
    cupy, cupyx
        The library itself.
    """

    cupy: Any
    cupyx: Any

    def raising(self) -> AbstractContextManager[object]:
        """Give the context: CuPy ignores failures of cuSOLVER without it."""
        context: AbstractContextManager[object]
        context = self.cupyx.errstate(linalg="raise")
        return context

    def copies(self) -> Copies:
        """Return a stream of its own beside the current one."""
        return _CupyCopies(self.cupy, self.cupyx)

    def limit(self, nbytes: int, /) -> None:
        """Limit the pool that all arrays come from."""
        self.cupy.get_default_memory_pool().set_limit(size=nbytes)

    def left(self) -> int:
        """Return what the pool may still give."""
        pool = self.cupy.get_default_memory_pool()
        return max(0, int(pool.get_limit() - pool.used_bytes()))


class _CupyCopies:
    def __init__(self, cupy: Any, cupyx: Any) -> None:
        self._cupy, self._cupyx = cupy, cupyx
        # One that does not wait for the default stream, where the work is.
        self._copying = cupy.cuda.Stream(non_blocking=True)
        self._working = cupy.cuda.get_current_stream()

    def buffer(self, shape: tuple[int, ...], dtype: Any, /) -> NDArray[Any]:
        pinned: NDArray[Any] = self._cupyx.empty_pinned(shape, dtype)
        return pinned

    def copy(
        self, source: NDArray[Any], target: Array, after: Any, /
    ) -> Event:
        self._copying.wait_event(after)
        target.set(source, stream=self._copying)
        return self._end_of(self._copying)

    def record(self) -> Event:
        return self._end_of(self._working)

    def wait(self, event: Any, /) -> None:
        self._working.wait_event(event)

    def _end_of(self, stream: Any) -> Event:
        # The host sleeps while it waits, and others compute.
        event = self._cupy.cuda.Event(block=True, disable_timing=True)
        recorded: Event = stream.record(event)
        return recorded


@dataclass(frozen=True, slots=True)
class TorchRuntime:
    """Of torch on one CUDA device.

    Attributes
    ----------
    torch
        The library itself.
    handle
        The device.
    """

    torch: Any
    handle: Any

    def raising(self) -> AbstractContextManager[object]:
        """Give no context: failures raise."""
        return nullcontext()

    def copies(self) -> Copies:
        """Return a stream of its own beside the current one."""
        return _TorchCopies(self.torch, self.handle)

    def limit(self, nbytes: int, /) -> None:
        """Limit what torch's allocator takes of the device."""
        share = min(1.0, nbytes / self._total())
        self.torch.cuda.set_per_process_memory_fraction(share, self.handle)

    def left(self) -> int:
        """Return what the allocator may still give."""
        cuda = self.torch.cuda
        share = cuda.get_per_process_memory_fraction(self.handle)
        taken = cuda.memory_allocated(self.handle)
        return max(0, int(share * self._total()) - int(taken))

    def _total(self) -> int:
        of_device = self.torch.cuda.get_device_properties(self.handle)
        return int(of_device.total_memory)


class _TorchCopies:
    def __init__(self, torch: Any, handle: Any) -> None:
        self._torch = torch
        self._copying = torch.cuda.Stream(handle)
        self._working = torch.cuda.current_stream(handle)

    def buffer(self, shape: tuple[int, ...], dtype: Any, /) -> NDArray[Any]:
        kind = getattr(self._torch, np.dtype(dtype).name)
        pinned = self._torch.empty(shape, dtype=kind, pin_memory=True)
        values: NDArray[Any] = pinned.numpy()
        return values

    def copy(
        self, source: NDArray[Any], target: Array, after: Any, /
    ) -> Event:
        self._copying.wait_event(after)
        with self._torch.cuda.stream(self._copying):
            target.copy_(self._torch.from_numpy(source), non_blocking=True)
        return self._end_of(self._copying)

    def record(self) -> Event:
        return self._end_of(self._working)

    def wait(self, event: Any, /) -> None:
        self._working.wait_event(event)

    def _end_of(self, stream: Any) -> Event:
        recorded: Event = stream.record_event(
            self._torch.cuda.Event(blocking=True)
        )
        return recorded
