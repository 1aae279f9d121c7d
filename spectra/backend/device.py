"""Devices by name, and the way of an array to one and back."""

import importlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
from array_api_compat import is_cupy_array, is_numpy_array, is_torch_array
from numpy.typing import NDArray

from spectra.backend.cuda import HOST, CupyRuntime, Runtime, TorchRuntime
from spectra.backend.memory import asked_for
from spectra.core.errors import BudgetError, UsageError

__all__ = ["CPU", "Device", "is_out_of_memory", "open_device", "to_host"]


@dataclass(frozen=True, slots=True)
class Device:
    """Where arrays live and which array-API namespace computes with them.

    Attributes
    ----------
    name
        As in ``--device``: ``"cpu"``, ``"cuda"``, ``"torch:cpu"``.
    xp
        The namespace, as array-api-compat wraps it.
    handle
        The device object of that namespace; None for its only device.
    runtime
        What the library does beyond the standard.
    """

    name: str
    xp: Any
    handle: Any = None
    runtime: Runtime = HOST

    @property
    def is_host(self) -> bool:
        """Return whether its arrays are those of the host."""
        return self.name == "cpu"

    @contextmanager
    def strict(self) -> Iterator[None]:
        """Let failures raise that the library would rather pass over.

        It holds for one thread, so whoever computes enters it.

        Raises
        ------
        BudgetError
            When the device has no room for an array.
        """
        try:
            with self.runtime.raising():
                yield
        except (MemoryError, RuntimeError) as error:
            if not is_out_of_memory(error):
                raise
            raise BudgetError(
                f"an array on the device {self.name}",
                needs=asked_for(str(error)),
                allowed=self.runtime.left(),
            ) from error

    def put(self, values: NDArray[Any], /) -> Any:
        """Return `values` as an array on this device; on the CPU, itself."""
        if self.is_host:
            return values
        return self.xp.asarray(values, device=self.handle)

    def zeros(self, shape: tuple[int, ...], dtype: str = "float64") -> Any:
        """Return zeros on this device."""
        kind = getattr(self.xp, dtype)
        return self.xp.zeros(shape, dtype=kind, device=self.handle)

    def empty(self, shape: tuple[int, ...], dtype: str) -> Any:
        """Return an array on this device that has yet to be written."""
        kind = getattr(self.xp, dtype)
        return self.xp.empty(shape, dtype=kind, device=self.handle)


def _numpy() -> Device:
    import array_api_compat.numpy as xp

    return Device("cpu", xp)


CPU = _numpy()


def _cupy() -> Device:
    try:
        cupy = importlib.import_module("cupy")
        xp = importlib.import_module("array_api_compat.cupy")
    except ImportError as error:
        raise UsageError(
            "E_DEVICE",
            f"--device cuda needs CuPy, which does not load ({error})",
            advice="pip install 'hf-spectra[cuda12]' or '[cuda13]', or use"
            " --device cpu",
        ) from error
    if not cupy.is_available():
        raise UsageError(
            "E_DEVICE",
            "CuPy finds no CUDA device",
            advice="check nvidia-smi, or use --device cpu",
        )
    runtime = CupyRuntime(cupy, importlib.import_module("cupyx"))
    return Device("cuda", xp, cupy.cuda.Device(), runtime)


def _torch(name: str) -> Device:
    where = name.partition(":")[2] or "cpu"
    try:
        torch = importlib.import_module("torch")
        xp = importlib.import_module("array_api_compat.torch")
    except ImportError as error:
        raise UsageError(
            "E_DEVICE",
            f"--device {name} needs torch, which does not load ({error})",
            advice="pip install 'hf-spectra[torch]', or use --device cpu",
        ) from error
    if where.startswith("cuda") and not torch.cuda.is_available():
        raise UsageError(
            "E_DEVICE",
            "torch finds no CUDA device",
            advice="check nvidia-smi, or use --device cpu",
        )
    handle = torch.device(where)
    if handle.type == "cpu":
        return Device(name, xp, handle)
    if handle.index is None:
        # What limits its memory asks for a number.
        handle = torch.device("cuda", torch.cuda.current_device())
    return Device(name, xp, handle, TorchRuntime(torch, handle))


def open_device(name: str, /) -> Device:
    """Return the device called `name`; ``auto`` prefers CUDA where it works.

    Raises
    ------
    UsageError
        When the name is unknown or its library or hardware is missing.
    """
    if name == "auto":
        try:
            return _cupy()
        except UsageError:
            return CPU
    if name == "cpu":
        return CPU
    if name == "cuda":
        return _cupy()
    if name in {"torch:cpu", "torch:cuda"} or name.startswith("torch:cuda:"):
        return _torch(name)
    raise UsageError(
        "E_DEVICE",
        f"there is no device {name!r}",
        advice="use auto, cpu, cuda, torch:cpu or torch:cuda",
    )


def is_out_of_memory(error: Exception, /) -> bool:
    """Return whether a device had no room for an array.

    CuPy's and torch's errors have their name in common, and no base.
    """
    return type(error).__name__ == "OutOfMemoryError"


def to_host(values: Any, /) -> NDArray[Any]:
    """Return the NumPy array that holds the same values."""
    if is_numpy_array(values):
        return np.asarray(values)
    if is_cupy_array(values):
        return np.asarray(values.get())
    if is_torch_array(values):
        return np.asarray(values.cpu().numpy())
    return np.from_dlpack(values)
