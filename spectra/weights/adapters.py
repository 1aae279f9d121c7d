"""What an adapter_config.json says about the scale of its updates.

References
----------
``LoraModel._create_and_replace`` and ``get_pattern_key`` of PEFT 0.21.
"""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from spectra.core.errors import Quarantine
from spectra.core.text import printable

__all__ = ["AdapterConfig", "checked_alpha", "read_adapter_config"]

# Variants that change the map, or what the map is added to. Any other
# `use_...` that is set is refused too: a later PEFT may have more of them.
_REFUSED = (
    "kasa_config",
    "arrow_config",
    "monteclora_config",
    "layer_replication",
    "target_parameters",
)
# Starts that leave the base as it was. PiSSA, OLoRA, CorDA, LoftQ and LoRA-GA
# change it, so that B @ A is not what training added to the published base.
_PLAIN_STARTS = (None, True, False, "gaussian", "eva", "orthogonal", "mica")

_LARGEST_ALPHA = 2.0**20
_LARGEST_RANK = 2**16

# Foreign regular expressions may take exponential time. What module names
# need is kept: no quantified group, few quantifiers, no extension, and no set
# that a later Python may read as sets of sets, of which this one warns.
_DANGEROUS = re.compile(
    r"\)[*+?{]|\(\?|\\[1-9]|[*+?}][*+{]"
    r"|\[\^?\]?[^]]*(?:\[|--|&&|~~|\|\|)"
)
_QUANTIFIER = re.compile(r"[*+{]")
_QUANTIFIERS = 2
_PATTERN_LENGTH = 512
_PATTERNS = 4096

Number = TypeVar("Number", int, float)


@dataclass(frozen=True, slots=True)
class AdapterConfig:
    """Rank and scale of a LoRA adapter, module by module.

    Attributes
    ----------
    rank, alpha
        Of modules that no pattern names.
    rslora
        Scale by ``alpha / sqrt(rank)`` instead of ``alpha / rank``.
    rank_pattern, alpha_pattern
        Exceptions; the first whose expression matches the end of a module's
        name, from the start or after a dot, holds.
    base_model
        What the adapter says it was trained on.
    """

    rank: int
    alpha: float
    rslora: bool = False
    rank_pattern: tuple[tuple[str, int], ...] = ()
    alpha_pattern: tuple[tuple[str, float], ...] = ()
    base_model: str | None = None

    def rank_of(self, module: str, /) -> int:
        """Return the rank of a module, named as in the base model."""
        return _exception(self.rank_pattern, module, self.rank)

    def scale_of(self, module: str, /) -> float:
        """Return the factor before ``B @ A`` of a module."""
        rank = self.rank_of(module)
        alpha = _exception(self.alpha_pattern, module, self.alpha)
        return alpha / (math.sqrt(rank) if self.rslora else rank)

    def checked_scale(self, module: str, rank: int, /) -> float:
        """Return `scale_of` a module, or raise if its factors differ in rank.

        Parameters
        ----------
        module
            Named as in the base model.
        rank
            That its factors have.

        Raises
        ------
        Quarantine
            ADAPTER_CONFIG, where the configuration says another one.
        """
        if rank != self.rank_of(module):
            raise _refused(
                f"rank {self.rank_of(module)} of {printable(module, 80)}, its"
                f" factors have {rank}"
            )
        return self.scale_of(module)


def read_adapter_config(fields: Mapping[str, Any], /) -> AdapterConfig:
    """Return the scale of an adapter from its configuration.

    ``fan_in_fan_out`` says that the base stores its weight in x out. The
    factors are (rank, in) and (out, rank) all the same, and so is their
    product: nothing depends on it here.

    Parameters
    ----------
    fields
        The content of adapter_config.json.

    Returns
    -------
    AdapterConfig
        Validated.

    Raises
    ------
    Quarantine
        ADAPTER_CONFIG, where a field is absent, impossible, or asks for a
        variant of LoRA in which the update is not ``scale * B @ A``.
    """
    _check_variant(fields)
    base = fields.get("base_model_name_or_path")
    return AdapterConfig(
        rank=_rank("r", fields.get("r")),
        alpha=checked_alpha("lora_alpha", fields.get("lora_alpha")),
        rslora=_flag("use_rslora", fields),
        rank_pattern=tuple(
            (key, _rank(key, value))
            for key, value in _patterns("rank_pattern", fields)
        ),
        alpha_pattern=tuple(
            (key, checked_alpha(key, value))
            for key, value in _patterns("alpha_pattern", fields)
        ),
        base_model=base if isinstance(base, str) and base else None,
    )


def checked_alpha(name: str, value: Any, /) -> float:
    """Return an alpha that may be one; ADAPTER_CONFIG where it may not."""
    if type(value) not in (int, float) or not 0 < value <= _LARGEST_ALPHA:
        raise _refused(f"alpha {printable(name, 80)} = {_shown(value)}")
    return float(value)


def _check_variant(fields: Mapping[str, Any]) -> None:
    if fields.get("peft_type") != "LORA":
        kind = printable(str(fields.get("peft_type")), 40)
        raise _refused(f"peft_type {kind} is not LORA")
    for name, value in fields.items():
        variant = name.startswith("use_") and name != "use_rslora"
        if (variant or name in _REFUSED) and value:
            raise _refused(
                f"{printable(name, 40)} is set: the update is not plainly"
                " scale * B @ A"
            )
    start = fields.get("init_lora_weights")
    plain = start.lower() if isinstance(start, str) else start
    if plain not in _PLAIN_STARTS:
        raise _refused(
            f"init_lora_weights {printable(str(start), 40)} may change the"
            " base, so that B @ A is not what training added; save it with"
            " path_initial_model_for_weight_conversion"
        )


def _rank(name: str, value: Any) -> int:
    if type(value) is not int or not 0 < value <= _LARGEST_RANK:
        raise _refused(f"rank {printable(name, 80)} = {_shown(value)}")
    return value


def _flag(name: str, fields: Mapping[str, Any]) -> bool:
    value = fields.get(name)
    if value is not None and not isinstance(value, bool):
        raise _refused(f"{name} = {_shown(value)} is not true or false")
    return bool(value)


def _patterns(
    name: str, fields: Mapping[str, Any]
) -> tuple[tuple[str, Any], ...]:
    found = fields.get(name) or {}
    if not isinstance(found, dict) or len(found) > _PATTERNS:
        raise _refused(f"{name} is not a table of at most {_PATTERNS} rows")
    for pattern in found:
        _check_pattern(pattern)
    return tuple(found.items())


def _check_pattern(pattern: str) -> None:
    if (
        len(pattern) > _PATTERN_LENGTH
        or _DANGEROUS.search(pattern)
        or len(_QUANTIFIER.findall(pattern)) > _QUANTIFIERS
    ):
        raise _refused(
            f"pattern {printable(pattern, 80)} may never end, or mean two"
            " things"
        )
    try:
        re.compile(pattern)
    except (re.error, OverflowError) as error:
        raise _refused(
            f"pattern {printable(pattern, 80)} is not an expression: {error}"
        ) from error


def _exception(
    patterns: tuple[tuple[str, Number], ...], module: str, default: Number
) -> Number:
    ends = [0, *(mark.end() for mark in re.finditer(r"\.", module))]
    for pattern, value in patterns:
        expression = re.compile(pattern)
        if any(expression.fullmatch(module, end) for end in ends):
            return value
    return default


def _shown(value: Any) -> str:
    return printable(repr(value), 40)


def _refused(what: str) -> Quarantine:
    return Quarantine("ADAPTER_CONFIG", what)
