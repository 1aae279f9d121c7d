"""Adapters whose update is not ``scale * B @ A``: known, and not guessed."""

import re
from collections.abc import Iterable

from spectra.core.errors import Quarantine
from spectra.core.tensors import TensorRef
from spectra.core.text import printable

__all__ = ["VARIANTS", "check_no_factors", "check_plain"]

_DIFFERENCE = "a full difference"

VARIANTS: tuple[tuple[str, str], ...] = (
    ("DoRA", "lora_magnitude_vector|dora_scale"),
    ("LoHa", "hada_[wt][12](_[ab])?"),
    ("LoKr", "lokr_[wt][12](_[ab])?"),
    ("LoCon with a core tensor", "lora_mid"),
    ("AdaLoRA", "lora_E|ranknum"),
    ("VeRA", "vera_(lambda_[bd]|[AB])"),
    ("IA3", "ia3_l"),
    ("OFT", "b?oft_(blocks|diag|R|r|s)"),
    ("GLoRA", "glora_[A-Z][a-z]?"),
    (_DIFFERENCE, r"diff(?!\.)"),
    ("an MLX adapter", "lora_[ab]"),
)
"""What it is, and the words that only its tensors are named by."""

_VARIANT = re.compile(
    r"(?:.*[._])?(?:"
    + "|".join(f"(?P<v{n}>{words})" for n, (_, words) in enumerate(VARIANTS))
    + r")(?:\..*)?"
)

# Of any dialect, also one that no row knows.
_FACTOR = re.compile(
    r"(.*[._])?(lora((_embedding|_linear_layer)?[._](A|B|down|up)|_controlnet)"
    r"|\w+_lora\d*\.(down|up))(\..*)?"
)


def check_plain(tensors: Iterable[TensorRef], /) -> None:
    """Raise Quarantine where a tensor belongs to one of `VARIANTS`.

    A difference that is a vector, of a norm or a bias, is none of a map.
    """
    for ref in tensors:
        found = _VARIANT.fullmatch(ref.name)
        if found is None:
            continue
        kind = VARIANTS[int((found.lastgroup or "v0")[1:])][0]
        if kind != _DIFFERENCE or len(ref.shape) > 1:
            raise Quarantine(
                "ADAPTER_CONFIG",
                f"tensor {printable(ref.name, 80)} belongs to {kind}, whose"
                " update is not scale * B @ A",
            )


def check_no_factors(tensors: Iterable[TensorRef], /) -> None:
    """Raise Quarantine where a factor would be taken for a full matrix."""
    for ref in tensors:
        if _FACTOR.fullmatch(ref.name):
            raise Quarantine(
                "ADAPTER_CONFIG",
                f"tensor {printable(ref.name, 80)} is a factor of an update,"
                " and no adapter_config.json, alpha or metadata says how much"
                " it counts",
            )
