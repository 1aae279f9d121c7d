"""The updates of a basis, added to the layers of a torch model.

The one module beside `spectra.backend` that knows torch: it is imported by
whoever holds a model of it.
"""

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn.functional import linear

from spectra.apply.adaptation.forms import Core, Layer
from spectra.core.errors import UsageError
from spectra.core.text import printable
from spectra.subspaces.recipes.table import Factors

__all__ = ["Hooked", "attach", "module_of", "shape_of"]

Tensor = Any
Module = Any


@dataclass(frozen=True, slots=True)
class Hooked:
    """A layer of a model, with an update that is trained.

    Attributes
    ----------
    module
        Its name in the model.
    layer
        Frozen factors and core, as tensors where the module is.
    trained
        The only parameter.
    handle
        Takes the update away again.
    is_turned
        Whether the module keeps its weight (in, out), as Conv1D does.
    """

    module: str
    layer: Layer
    trained: Tensor
    handle: Any
    is_turned: bool

    def numbers(self) -> NDArray[Any]:
        """Return what is trained, as it is now."""
        return np.array(self.trained.detach().cpu().numpy())

    def update(self) -> Factors:
        """Return the update as it is now, in float64, (out, in)."""
        held = self.layer
        layer = Layer(
            _to_host(held.A),
            _to_host(held.B),
            _mapped(held.core, _to_host),
            held.start,
        )
        return layer.update(self.numbers().astype(np.float64))


def module_of(model: Module, target: str, /) -> tuple[str, Module]:
    """Return the module of a model that an adapter calls so, and its name.

    Parameters
    ----------
    model
        The base model, or one that holds it.
    target
        The name in the base model; it may be the end of the one here.

    Raises
    ------
    UsageError
        E_ADAPT where there is none, or more than one.
    """
    named: Mapping[str, Module] = dict(model.named_modules())
    if target in named:
        return target, named[target]
    found = [name for name in named if name.endswith(f".{target}")]
    if len(found) != 1:
        raise UsageError(
            "E_ADAPT",
            f"the model has {len(found)} modules {printable(target)!r}",
            advice="hand over the base model of the population, or leave the"
            " layer out with layers=",
        )
    return found[0], named[found[0]]


def shape_of(module: Module, /) -> tuple[int, int] | None:
    """Return (out, in) of a Linear or a transformers' Conv1D, else None."""
    if isinstance(module, torch.nn.Linear):
        out, into = module.weight.shape
        return out, into
    if _is_conv1d(module):
        into, out = module.weight.shape
        return out, into
    return None


def attach(module: Module, name: str, layer: Layer, /) -> Hooked:
    """Add an update to what a module puts out.

    Parameters
    ----------
    module, name
        A Linear or a Conv1D, and what it is called.
    layer
        The update.

    Notes
    -----
    The large factors are kept in the dtype of the module's weight; the core
    and the trained numbers in float32, or in what is wider.
    """
    place, dtype = module.weight.device, module.weight.dtype
    if not dtype.is_floating_point:
        dtype = torch.float32
    wide = torch.promote_types(dtype, torch.float32)

    def frozen(values: NDArray[Any], kind: Any = wide) -> Tensor:
        kind = kind if values.dtype.kind == "f" else torch.int64
        return torch.tensor(values, dtype=kind, device=place)

    held = Layer(
        frozen(layer.A, dtype),
        frozen(layer.B, dtype),
        _mapped(layer.core, frozen),
        layer.start,
    )
    trained = torch.nn.Parameter(frozen(layer.start))

    def add(_: Module, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor:
        h = linear(inputs[0].to(dtype), held.A).to(wide)
        h = held.core(trained, h).to(dtype)
        return output + linear(h, held.B).to(output.dtype)

    handle = module.register_forward_hook(add)
    return Hooked(name, held, trained, handle, _is_conv1d(module))


def _is_conv1d(module: Module) -> bool:
    """Return whether it is one, without importing transformers for it."""
    kind = type(module)
    return kind.__name__ == "Conv1D" and kind.__module__.startswith(
        "transformers."
    )


def _mapped(core: Core, change: Any) -> Core:
    """Return a core with another kind of array."""
    arrays = {f.name: change(getattr(core, f.name)) for f in fields(core)}
    return replace(core, **arrays)


def _to_host(values: Tensor) -> NDArray[Any]:
    wide = values.double() if values.is_floating_point() else values
    return np.asarray(wide.cpu().numpy())
