"""diffusers: ``unet.<module>.lora_A.weight``, and what it wrote before.

An update counts as its metadata says, else by its alphas, else once: an
alpha that is not given is the rank. Nobody but diffusers means that, so a
file must say by its names, its own name or its metadata that it is one.

References
----------
``get_peft_kwargs``, ``state_dict_utils.py`` and
``LORA_ADAPTER_METADATA_KEY`` of diffusers 0.42.
"""

import re
from collections.abc import Mapping

from spectra.core.errors import Quarantine
from spectra.weights.adapters import AdapterConfig, read_adapter_config
from spectra.weights.formats.raw import RawCheckpoint
from spectra.weights.limits import Limits
from spectra.weights.lora.naming import (
    Naming,
    Scale,
    alpha_over_rank,
    in_pipeline,
)
from spectra.weights.strict_json import JsonError, parse

__all__ = ["DIFFUSERS"]

_METADATA = "lora_adapter_metadata"

# "....to_q.lora_A.weight", "....to_q.lora.down.weight",
# "....processor.to_q_lora.down.weight", "....lora_linear_layer.up.weight".
_FACTOR = re.compile(
    r"(?P<module>.+?)(?:[._]lora(?:_linear_layer)?[._]"
    r"(?:(?P<A>A|down)|(?P<B>B|up))(?:\.[^.]+)??\.weight|\.(?P<alpha>alpha))"
)
_OLD = re.compile(r".+[._]lora(_linear_layer)?\.(down|up)\.weight")
_PIPELINE = re.compile(
    r"(unet|text_encoder(_\d)?|transformer(_\d)?\.(single_)?transformer_blocks)"
    r"\..+"
)

# Before modules kept their own names.
_RENAMED = tuple(
    (re.compile(pattern), name)
    for pattern, name in (
        (r"\.self_attn\.to_(q|k|v|out)$", r".self_attn.\1_proj"),
        (r"(\.processor|\.attn[12])\.to_out$", r"\1.to_out.0"),
        (r"\.processor(?=\.)", ""),
    )
)


def _claims(raw: RawCheckpoint) -> bool:
    roles = [(ref, DIFFUSERS.role(ref)) for ref in raw.tensors]
    factors = {
        ref.name: role[0] for ref, role in roles if role and role[1] != "alpha"
    }
    if not factors:
        return False
    alphas = {role[0] for _, role in roles if role and role[1] == "alpha"}
    return (
        raw.alpha_is_rank
        or _METADATA in raw.metadata
        or alphas >= set(factors.values())
        or any(_OLD.fullmatch(n) or _PIPELINE.fullmatch(n) for n in factors)
    )


def _layer(module: str) -> str:
    for pattern, name in _RENAMED:
        module = pattern.sub(name, module)
    return in_pipeline(module)


def _scale(raw: RawCheckpoint, alphas: Mapping[str, float]) -> Scale:
    if _METADATA not in raw.metadata:
        return alpha_over_rank(raw, alphas)
    if alphas:
        raise Quarantine(
            "ADAPTER_CONFIG", f"both alphas and {_METADATA} give a scale"
        )
    configs = _configs(raw.metadata[_METADATA])

    def scale(module: str, rank: int) -> float:
        for prefix, config in configs.items():
            if module.startswith(prefix):
                return config.checked_scale(module.removeprefix(prefix), rank)
        return 1.0

    return scale


def _configs(text: str) -> Mapping[str, AdapterConfig]:
    """Return the configuration of the modules that begin in some way.

    The longest of the beginnings comes first; that of a file of one model
    alone is empty.
    """
    try:
        content = parse(text.encode(), depth=Limits().depth)
    except JsonError as fault:
        raise Quarantine(
            "ADAPTER_CONFIG", f"{_METADATA}: {fault.detail}"
        ) from fault
    if not isinstance(content, dict):
        raise Quarantine("ADAPTER_CONFIG", f"{_METADATA} is not a JSON object")
    fields: dict[str, dict[str, object]] = {}
    for key, value in content.items():
        component, dot, field = key.rpartition(".")
        fields.setdefault(component + dot, {})[field] = value
    return {
        prefix: read_adapter_config(fields[prefix])
        for prefix in sorted(fields, key=len, reverse=True)
    }


DIFFUSERS = Naming("diffusers", _claims, _FACTOR, _layer, _scale)
