"""Adapters whose configuration and factors cannot both be true."""

import json

import numpy as np
from safetensors.numpy import save_file

from tests.hostile.case import Case, refused

__all__ = ["adapters"]

_A, _B = (f"base_model.model.q.lora_{side}.weight" for side in "AB")
_CONFIG = {"peft_type": "LORA", "r": 2, "lora_alpha": 4}

_WRONG = {
    "r-0": {"r": 0},
    "r-negative": {"r": -2},
    "r-text": {"r": "2"},
    "r-true": {"r": True},
    "r-float": {"r": 2.0},
    "r-huge": {"r": 2**40},
    "r-of-another": {"r": 8},
    "alpha-text": {"lora_alpha": "4"},
    "alpha-huge": {"lora_alpha": 1e308},
    "alpha-0": {"lora_alpha": 0},
    "alpha-null": {"lora_alpha": None},
    "rslora-text": {"use_rslora": "yes"},
    "dora": {"use_dora": True},
    "something-new": {"use_something_new": True},
    "pissa": {"init_lora_weights": "pissa"},
    "another-kind": {"peft_type": "LOHA"},
    "no-kind": {"peft_type": None},
    "pattern-is-list": {"rank_pattern": [1]},
    "pattern-never-ends": {"rank_pattern": {"(a+)+b": 2}},
    "pattern-is-none": {"alpha_pattern": {"(": 2}},
    "pattern-of-text": {"alpha_pattern": {"q": "2"}},
}

_NO_CONFIG = {
    "cut": "{",
    "nan": '{"peft_type": "LORA", "r": 2, "lora_alpha": NaN}',
    "list": "[]",
    "deep": '{"a":' * 99,
    "long": json.dumps(_CONFIG) + " " * 2**20,
}


def adapters():
    """Return the cases."""
    return {
        **{
            f"A25-{name}": refused(
                _adapter(json.dumps({**_CONFIG, **change})), "ADAPTER_CONFIG"
            )
            for name, change in _WRONG.items()
        },
        **{
            f"A25-config-{name}": refused(_adapter(text), "ADAPTER_CONFIG")
            for name, text in _NO_CONFIG.items()
        },
        "A25-no-config": refused(_adapter(None), "ADAPTER_CONFIG"),
        "A25-factors-differ": refused(
            _adapter(json.dumps(_CONFIG), B=(7, 3)), "SHAPE_MISMATCH"
        ),
        "A25-sound": Case(_adapter(json.dumps(_CONFIG)), layers=1),
    }


def _adapter(config, B=(7, 2)):
    def write(folder):
        rng = np.random.default_rng(0)
        save_file(
            {
                name: rng.standard_normal(shape).astype(np.float32)
                for name, shape in ((_A, (2, 5)), (_B, B))
            },
            folder / "adapter_model.safetensors",
        )
        if config is not None:
            (folder / "adapter_config.json").write_text(config)

    return write
