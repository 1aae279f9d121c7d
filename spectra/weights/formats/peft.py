"""LoRA adapters as PEFT saves them."""

from spectra.core.errors import Quarantine
from spectra.weights.adapters import read_adapter_config
from spectra.weights.documents import read_object
from spectra.weights.folders import Folder
from spectra.weights.formats.raw import (
    Format,
    RawCheckpoint,
    check_not_empty,
    read_file,
)
from spectra.weights.limits import Limits

__all__ = ["PEFT"]

_CONFIG = "adapter_config.json"
_FULL = "config.json"
_ENDING = ".safetensors"
_WEIGHTS = "adapter_model.safetensors"


def _claims(folder: Folder) -> bool:
    return _WEIGHTS in folder.files or _is_renamed(folder)


def _is_renamed(folder: Folder) -> bool:
    """Return whether one file under another name is all that is described."""
    alone = len(folder.ending(_ENDING)) == 1
    return alone and _CONFIG in folder.files and _FULL not in folder.files


def _read(folder: Folder, limits: Limits) -> RawCheckpoint:
    (weights,) = {_WEIGHTS} & folder.files.keys() or folder.ending(_ENDING)
    if _CONFIG not in folder.files:
        raise Quarantine(
            "ADAPTER_CONFIG",
            f"no {_CONFIG} beside {_WEIGHTS}, so the scale is unknown",
        )
    fields = read_object(
        folder,
        _CONFIG,
        code="ADAPTER_CONFIG",
        nbytes=limits.config_bytes,
        depth=limits.depth,
    )
    adapter = read_adapter_config(fields)
    file, header = read_file(folder, weights, limits=limits)
    check_not_empty(header.tensors)
    return RawCheckpoint(
        (file,), header.tensors, header.metadata, fields, adapter
    )


PEFT = Format("PEFT LoRA adapter", _claims, _read)
