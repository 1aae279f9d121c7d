"""kohya's sd-scripts: ``lora_unet_<module>.lora_down.weight`` and ``.alpha``.

Modules are named with underscores for dots. They are split again where every
word of them is one of Stable Diffusion, its text encoders or FLUX, so that
they meet the same modules of diffusers and PEFT; other names stay as they
are.

References
----------
``networks/lora.py`` and ``networks/lora_flux.py`` of kohya-ss/sd-scripts.
"""

import re

from spectra.weights.families import read_families
from spectra.weights.formats.raw import RawCheckpoint
from spectra.weights.lora.ldm import diffusers_name
from spectra.weights.lora.naming import (
    Naming,
    alpha_over_rank,
    in_pipeline,
)

__all__ = ["KOHYA"]

# LyCORIS has the same tensors under names of its own modules.
_FACTOR = re.compile(
    r"(?P<module>.+)\."
    r"(?:lora_(?:(?P<A>down)|(?P<B>up))\.weight|(?P<alpha>alpha))"
)

# Stable Diffusion 1 and 2 have one text encoder, SDXL, SD 3 and FLUX several.
# The third is T5, which pipelines number differently: it keeps its name.
_COMPONENTS = (
    ("lora_unet_", "unet."),
    ("lora_te_", "text_encoder."),
    ("lora_te1_", "text_encoder."),
    ("lora_te2_", "text_encoder_2."),
)


def _claims(raw: RawCheckpoint) -> bool:
    return any(
        ref.name.endswith((".lora_down.weight", ".lora_up.weight"))
        for ref in raw.tensors
    )


def _layer(module: str) -> str:
    for prefix, component in _COMPONENTS:
        if module.startswith(prefix):
            words = _words(diffusers_name(module.removeprefix(prefix)))
            dotted = ".".join(words)
            return in_pipeline(component + dotted) if words else module
    return module


def _words(name: str) -> list[str]:
    """Return the words of a name with underscores; none if one is unknown."""
    found, at = [], 0
    while at < len(name):
        word = read_families().words.match(name, at)
        if word is None:
            return []
        found.append(word["word"])
        at = word.end()
    return found


KOHYA = Naming("kohya", _claims, _FACTOR, _layer, alpha_over_rank)
