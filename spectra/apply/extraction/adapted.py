"""A network of transformers with the weights that an adapter gives it.

Added to the weights themselves, as PEFT's ``merge_and_unload`` does, in
double precision: the network is then one as any other.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import nn
from transformers.pytorch_utils import Conv1D

from spectra.apply.extraction.adapter import Adapter
from spectra.apply.extraction.asked import unusable
from spectra.core.errors import Quarantine, UsageError
from spectra.core.tensors import REAL_DTYPES, TensorRef
from spectra.core.text import natural, printable
from spectra.weights.dtypes import decode_into
from spectra.weights.families import bare_name
from spectra.weights.lora.modules import Module
from spectra.weights.soundness import fault_in
from spectra.weights.stream import read_low_rank

__all__ = ["Adapted", "adapt"]

_PIECE = 1 << 22
"""Entries of an update that are made at a time."""

_TURNED = (Conv1D, nn.Embedding)
"""Layers that keep their weight in x out."""

_PLAIN = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d)


@dataclass(frozen=True, slots=True)
class Adapted:
    """What became of an adapter.

    Attributes
    ----------
    updated
        Weights of the network that it changed.
    unused
        Names in the adapter of what is of no part of the network, such as a
        head.
    """

    updated: tuple[str, ...]
    unused: tuple[str, ...]


def adapt(model: Any, adapter: Adapter, /, *, tower: str = "") -> Adapted:
    """Change the weights of a network as an adapter says.

    Parameters
    ----------
    model
        Of transformers; it is changed.
    adapter
        Trained on it, or on it with a head.
    tower
        What stands before the network's names where it is a part of another.

    Raises
    ------
    UsageError
        E_EXTRACT where the adapter does not fit the network.
    Quarantine
        Where the adapter cannot be read, or holds what is no number.
    """
    work = _Work(model, adapter, tower)
    for module in adapter.modules:
        work.add(module)
    for name, ref in adapter.weights.items():
        work.put(name, ref)
    if not work.updated:
        raise unusable(
            f"no weight of the adapter is of a layer of {work.network}",
            "name the base that it was trained on",
        )
    return Adapted(_sorted(work.updated), _sorted(work.unused))


@dataclass(slots=True)
class _Work:
    """A network, an adapter, and what has become of it."""

    model: Any
    adapter: Adapter
    tower: str
    updated: list[str] = field(default_factory=list)
    unused: list[str] = field(default_factory=list)
    modules: Mapping[str, str] = field(init=False)
    weights: Mapping[str, Any] = field(init=False)
    names: Mapping[str, str] = field(init=False)
    holders: Counter[int] = field(init=False)

    def __post_init__(self) -> None:
        """Look at what the network has."""
        found = dict(self.model.named_modules())
        self.modules = _by_bare_name(name for name in found if name)
        self.weights = self.model.state_dict(keep_vars=True)
        self.names = _by_bare_name(self.weights)
        every = self.model.named_parameters(remove_duplicate=False)
        self.holders = Counter(id(weight) for _, weight in every)

    @property
    def network(self) -> str:
        """Return its class."""
        return type(self.model).__name__

    def add(self, module: Module) -> None:
        """Add an update to the weight of its layer."""
        name = self._place(module.target, self.modules)
        if name is None:
            self.unused += [module.A.name, module.B.name]
            return
        layer = self.model.get_submodule(name)
        if not isinstance(layer, (*_PLAIN, *_TURNED)):
            raise self._misfit(
                module.target, f"is a {type(layer).__name__} there"
            )
        weight = self._own(f"{name}.weight")
        matrix = weight.T if isinstance(layer, _TURNED) else weight.flatten(1)
        if tuple(matrix.shape) != module.shape:
            raise self._misfit(
                module.target,
                f"is of {' x '.join(map(str, matrix.shape))} there, its update"
                f" of {' x '.join(map(str, module.shape))}",
            )
        update = read_low_rank(module.source, self.adapter.reader)
        if update.fault is not None:
            raise _of(module.A, update.fault)
        out, into = module.shape
        step = max(1, _PIECE // into)
        for start in range(0, out, step):
            rows = torch.from_numpy(update.rows(start, start + step))
            piece = matrix[start : start + step]
            piece.copy_(piece.double() + rows.to(piece.device))

    def put(self, name: str, ref: TensorRef) -> None:
        """Let a tensor stand for one of the network's."""
        found = self._place(name, self.names)
        if found is None:
            self.unused.append(ref.name)
            return
        weight = self._own(found)
        if tuple(weight.shape) != ref.shape or ref.dtype not in REAL_DTYPES:
            raise self._misfit(
                name,
                f"is of {list(weight.shape)} there, the adapter's of"
                f" {list(ref.shape)}, {ref.dtype}",
            )
        values = np.empty(ref.shape)
        decode_into(
            self.adapter.reader.read(ref, 0, ref.size), ref.dtype, values
        )
        fault = fault_in(values, ref.dtype)
        if fault is not None:
            raise _of(ref, fault)
        weight.copy_(torch.from_numpy(values))

    def _place(self, name: str, names: Mapping[str, str]) -> str | None:
        """Return the network's name; None where it is of no part of it."""
        bare = bare_name(name).removeprefix(self.tower)
        found = names.get(bare)
        if found is None and any(
            part.partition(".")[0] == bare.partition(".")[0]
            for part in self.modules
        ):
            raise self._misfit(name, "is not in it")
        return found

    def _own(self, name: str) -> Any:
        """Return a weight that is of one layer alone, without its graph."""
        weight = self.weights[name]
        if self.holders[id(weight)] > 1:
            raise unusable(
                f"the adapter changes {name}, which {self.network} has in"
                " several layers",
                "write it into its base by PEFT's merge_and_unload",
            )
        self.updated.append(name)
        return weight.detach()

    def _misfit(self, name: str, what: str) -> UsageError:
        return unusable(
            f"the adapter does not fit {self.network}:"
            f" {printable(name, 80)} {what}",
            "name the base that it was trained on",
        )


def _by_bare_name(names: Iterable[str]) -> dict[str, str]:
    """Return names by what is left of them without known wrappers.

    Two that come to one are told apart by no adapter.
    """
    found: dict[str, list[str]] = {}
    for name in names:
        found.setdefault(bare_name(name), []).append(name)
    return {bare: held[0] for bare, held in found.items() if len(held) == 1}


def _sorted(names: Iterable[str]) -> tuple[str, ...]:
    return tuple(sorted(names, key=natural))


def _of(ref: TensorRef, fault: Quarantine) -> Quarantine:
    return Quarantine(fault.code, f"{printable(ref.name, 80)} {fault.detail}")
