"""LoRA of a diffusion pipeline, under the name that diffusers gives it."""

from spectra.weights.folders import Folder
from spectra.weights.formats.raw import (
    Format,
    RawCheckpoint,
    check_not_empty,
    read_file,
)
from spectra.weights.limits import Limits

__all__ = ["DIFFUSERS"]

_WEIGHTS = "pytorch_lora_weights.safetensors"


def _claims(folder: Folder) -> bool:
    return _WEIGHTS in folder.files


def _read(folder: Folder, limits: Limits) -> RawCheckpoint:
    file, header = read_file(folder, _WEIGHTS, limits=limits)
    check_not_empty(header.tensors)
    return RawCheckpoint(
        (file,), header.tensors, header.metadata, alpha_is_rank=True
    )


DIFFUSERS = Format("diffusers LoRA", _claims, _read)
