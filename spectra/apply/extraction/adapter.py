"""What an adapter of PEFT changes in the network that it was trained on."""

from collections.abc import Mapping
from dataclasses import dataclass

from spectra.core.catalog import Checkpoint
from spectra.core.errors import Quarantine
from spectra.core.tensors import TensorRef
from spectra.weights.bytes import Opener
from spectra.weights.factors import sort_low_rank
from spectra.weights.formats.raw import RawCheckpoint
from spectra.weights.limits import Limits
from spectra.weights.lora import naming_of
from spectra.weights.lora.modules import ROOT, Module, modules_of
from spectra.weights.stream import TensorReader

__all__ = ["Adapter", "read_adapter"]

_ORIGINAL = ".original_module."
"""Beside what PEFT trained in full: what the base has."""

_AROUND = (".modules_to_save.default", ".modules_to_save", ".base_layer")
"""What PEFT puts into the name of a weight that it saves whole."""


@dataclass(frozen=True, slots=True)
class Adapter:
    """Updates, and weights that stand for the base's own.

    Attributes
    ----------
    modules
        Updates ``scale * B @ A``.
    weights
        Whole tensors by their names in the base: biases, and what was trained
        in full. So is whatever else the file holds: nothing is passed over.
    reader
        Reads both.
    """

    modules: tuple[Module, ...]
    weights: Mapping[str, TensorRef]
    reader: TensorReader


def read_adapter(
    raw: RawCheckpoint, opener: Opener, /, *, limits: Limits
) -> Adapter:
    """Return what an adapter changes.

    Parameters
    ----------
    raw
        One of PEFT.
    opener
        Opens its files.
    limits
        Caps on them.

    Raises
    ------
    Quarantine
        As of `sort_low_rank`; ADAPTER_CONFIG where its updates are not of all
        tokens.
    """
    if raw.config.get("alora_invocation_tokens"):
        raise Quarantine(
            "ADAPTER_CONFIG",
            "alora_invocation_tokens is set: the update is of some tokens"
            " alone",
        )
    naming = naming_of(raw)
    if naming is None:
        raise AssertionError("claimed by its configuration")
    layers = sort_low_rank(raw, naming, opener, limits=limits).layers
    modules = modules_of(
        Checkpoint("", None, "", raw.files, layers), raw.tensors
    )
    taken = {ref.name for each in modules for ref in (each.A, each.B)}
    weights = {
        _in_the_base(ref.name): ref
        for ref in raw.tensors
        if ref.name not in taken and _ORIGINAL not in ref.name
    }
    files = {file.path: file for file in raw.files}
    return Adapter(modules, weights, TensorReader(files, opener))


def _in_the_base(name: str) -> str:
    name = name.removeprefix(ROOT)
    for around in _AROUND:
        name = name.replace(f"{around}.", ".")
    return name
