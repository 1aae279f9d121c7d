"""The ``adapter_config.json`` of a merged adapter."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

__all__ = ["differing", "merged_config"]

_AGREED: Mapping[str, tuple[type, Any]] = {
    "base_model_name_or_path": (str, None),
    "fan_in_fan_out": (bool, False),
    "revision": (str, None),
    "task_type": (str, None),
}
"""What is taken over where all parents say the same: of which type, and what
stands there otherwise."""

_WHERE = (
    "target_modules",
    "exclude_modules",
    "layers_to_transform",
    "layers_pattern",
)
"""Which modules of the base have an adapter."""


def merged_config(
    configs: Sequence[Mapping[str, Any]],
    rank: int,
    targets: Sequence[str],
    /,
    *,
    is_whole: bool,
) -> dict[str, Any]:
    """Return the configuration of an update of scale 1.

    Parameters
    ----------
    configs
        The parents'.
    rank
        Of every module.
    targets
        Names of the modules, in the base.
    is_whole
        Whether these are all that any parent has. What the parents say of
        which modules they are for then holds here too, where they agree.
    """
    whole = is_whole and not any(map(_is_odd, configs))
    is_named = whole and all(_agree(configs, key) for key in _WHERE)
    first = configs[0]
    where = {key: first.get(key) for key in _WHERE if first.get(key)}
    return {
        "peft_type": "LORA",
        **{key: _agreed(configs, key) for key in _AGREED},
        "r": rank,
        "lora_alpha": rank,
        "use_rslora": False,
        "rank_pattern": {},
        "alpha_pattern": {},
        "lora_dropout": 0.0,
        "bias": "none",
        "modules_to_save": None,
        "inference_mode": True,
        **(where if is_named else {"target_modules": sorted(targets)}),
    }


def differing(configs: Sequence[Mapping[str, Any]], /) -> tuple[str, ...]:
    """Return which of the keys that would be taken over parents differ in."""
    return tuple(key for key in _AGREED if not _agree(configs, key))


def _agreed(configs: Sequence[Mapping[str, Any]], key: str) -> Any:
    kind, otherwise = _AGREED[key]
    value = configs[0].get(key)
    is_it = isinstance(value, kind) and _agree(configs, key)
    return value if is_it else otherwise


def _agree(configs: Sequence[Mapping[str, Any]], key: str) -> bool:
    return len({_comparable(config.get(key)) for config in configs}) == 1


def _comparable(value: Any) -> str:
    """Return a text of a value; lists are sets, and nothing is false."""
    if isinstance(value, list):
        value = sorted(value, key=str)
    return json.dumps(value or None, sort_keys=True)


def _is_odd(config: Mapping[str, Any]) -> bool:
    """Return whether it names no modules of its own."""
    targets = config.get("target_modules")
    return not targets or not isinstance(targets, str | list)
