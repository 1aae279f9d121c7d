"""PEFT: ``base_model.model.<module>.lora_A.weight``."""

import re
from collections.abc import Mapping

from spectra.weights.formats.raw import RawCheckpoint
from spectra.weights.lora.naming import Naming, Scale

__all__ = ["PEFT"]

_ROOT = "base_model.model."

# "....query.lora_A.weight", "....query.lora_A.default.weight" and, of an
# embedding, "....lora_embedding_A" or "....lora_embedding_A.default".
_FACTOR = re.compile(
    r"(?P<module>.+)\.lora_(?P<embedding>embedding_)?(?:(?P<A>A)|(?P<B>B))"
    r"(\.[^.]+)??(?(embedding)|\.weight)"
)


def _claims(raw: RawCheckpoint) -> bool:
    return raw.adapter is not None


def _layer(module: str) -> str:
    return module


def _scale(raw: RawCheckpoint, _: Mapping[str, float]) -> Scale:
    config = raw.adapter
    if config is None:
        raise AssertionError("claimed by its configuration")
    return lambda module, rank: config.checked_scale(
        module.removeprefix(_ROOT), rank
    )


PEFT = Naming("PEFT", _claims, _FACTOR, _layer, _scale, keeps_full=True)
