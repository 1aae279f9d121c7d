import math
import re
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spectra.core.errors import Quarantine
from spectra.weights.adapters import read_adapter_config
from tests.weights.keys import sort_keys

PLAIN = {"peft_type": "LORA", "r": 4, "lora_alpha": 8}
QUERY = "encoder.layer.0.attention.self.query"


def code(call, *args):
    with pytest.raises(Quarantine) as caught:
        call(*args)
    return caught.value.code


def factors(A, B, module=f"base_model.model.{QUERY}", dtype="F32"):
    return {
        f"{module}.lora_A.weight": [dtype, A],
        f"{module}.lora_B.weight": [dtype, B],
    }


def test_scale():
    assert read_adapter_config(PLAIN).scale_of(QUERY) == 2.0
    root = read_adapter_config(PLAIN | {"use_rslora": True})
    assert root.scale_of(QUERY) == pytest.approx(8 / math.sqrt(4))


@pytest.mark.parametrize(
    "change",
    [
        {"r": 0},
        {"r": -1},
        {"r": 4.0},
        {"r": True},
        {"r": None},
        {"r": "4"},
        {"r": 10**9},
        {"lora_alpha": "16"},
        {"lora_alpha": 1e308},
        {"lora_alpha": math.nan},
        {"lora_alpha": math.inf},
        {"lora_alpha": 0},
        {"lora_alpha": -8},
        {"lora_alpha": True},
        {"lora_alpha": None},
        {"use_rslora": "true"},
        {"use_rslora": 1},
        {"use_rslora": 0},
        {"use_dora": True},
        {"use_qalora": True},
        {"use_bdlora": {"nblocks": 2}},
        {"use_something_new": True},
        {"kasa_config": {}, "use_kasa": True},
        {"kasa_config": {"a": 1}},
        {"arrow_config": {"top_k": 3}},
        {"layer_replication": [[0, 2]]},
        {"target_parameters": ["experts.gate_up_proj"]},
        {"peft_type": "LOHA"},
        {"peft_type": "ADALORA"},
        {"peft_type": None},
        {"init_lora_weights": "pissa"},
        {"init_lora_weights": "pissa_niter_4"},
        {"init_lora_weights": "olora"},
        {"init_lora_weights": "loftq"},
        {"init_lora_weights": "lora_ga"},
        {"rank_pattern": ["query"]},
        {"rank_pattern": {"query": 0}},
        {"rank_pattern": {"query": 2.5}},
        {"alpha_pattern": {"query": "8"}},
        {"alpha_pattern": {"(": 8}},
        {"alpha_pattern": {"(a+)+": 8}},
        {"alpha_pattern": {"(?s:.)": 8}},
        {"alpha_pattern": {".*.*.*": 8}},
        # Python warns of these, and may read them otherwise one day.
        {"alpha_pattern": {"[[a]": 8}},
        {"alpha_pattern": {"[^[a]": 8}},
        {"alpha_pattern": {"[]--a]": 8}},
        {"alpha_pattern": {"x[a&&b]": 8}},
        {"alpha_pattern": {"a" * 1000: 8}},
    ],
)
def test_a25_a_scale_is_never_guessed(change):
    assert code(read_adapter_config, PLAIN | change) == "ADAPTER_CONFIG"


def test_a25_no_field_has_a_default():
    for name in PLAIN:
        rest = {key: value for key, value in PLAIN.items() if key != name}
        assert code(read_adapter_config, rest) == "ADAPTER_CONFIG"


@pytest.mark.parametrize(
    "start", [True, False, None, "gaussian", "eva", "Gaussian", "orthogonal"]
)
def test_starts_that_leave_the_base_alone(start):
    config = read_adapter_config(PLAIN | {"init_lora_weights": start})
    assert config.rank == 4


def peft_pattern_key(keys, name):
    """Return what PEFT's get_pattern_key returns, written from its doc."""
    for key in keys:
        if re.match(rf"(.*\.)?({key})$", name):
            return key
    return name


modules = st.lists(
    st.sampled_from(["layer", "0", "10", "query", "query_key", "q", "dense"]),
    min_size=1,
    max_size=5,
).map(".".join)
patterns = st.one_of(
    modules,
    st.sampled_from(
        [
            r"layer\.\d+\.query",
            "^layer.0",
            "q|dense",
            "(q|query)",
            r"\d\.q.*",
            "[lq].*e",
            "layer.*",
            "er.0.q",
            "",
            "query$",
        ]
    ),
)


@given(st.dictionaries(patterns, st.integers(1, 99), max_size=4), modules)
def test_patterns_match_as_in_peft(table, module):
    config = read_adapter_config(
        PLAIN | {"rank_pattern": table, "alpha_pattern": table}
    )
    expected = table.get(peft_pattern_key(table, module))
    assert config.rank_of(module) == (expected or 4)
    assert config.scale_of(module) == (expected or 8) / (expected or 4)


def test_a_hostile_pattern_ends():
    config = read_adapter_config(PLAIN | {"rank_pattern": {"[a.]*b[a.]*c": 2}})
    start = time.process_time()
    assert config.rank_of("a." * 500 + "d") == 4
    assert time.process_time() - start < 2


@pytest.mark.parametrize(
    ("A", "B", "expected"),
    [
        ([4, 6], [6, 3], "SHAPE_MISMATCH"),
        ([4], [6, 4], "SHAPE_MISMATCH"),
        ([4, 0], [6, 4], "SHAPE_MISMATCH"),
        ([5, 6], [6, 5], "ADAPTER_CONFIG"),
    ],
)
def test_a25_factors_that_disagree(A, B, expected):
    assert code(sort_keys, factors(A, B), PLAIN) == expected


def test_a25_a_factor_alone():
    keys = factors([4, 6], [6, 4])
    del keys[f"base_model.model.{QUERY}.lora_B.weight"]
    assert code(sort_keys, keys, PLAIN) == "SHAPE_MISMATCH"


def test_a25_two_adapters_in_one_file():
    keys = factors([4, 6], [6, 4])
    for name, value in list(keys.items()):
        keys[name.replace(".weight", ".other.weight")] = value
    assert code(sort_keys, keys, PLAIN) == "SHAPE_MISMATCH"


@pytest.mark.parametrize(
    "name", ["lora_magnitude_vector", "lora_magnitude_vector.weight"]
)
def test_a25_dora_that_its_configuration_hides(name):
    keys = factors([4, 6], [6, 4])
    keys[f"base_model.model.{QUERY}.{name}"] = ["F32", [6]]
    assert code(sort_keys, keys, PLAIN) == "ADAPTER_CONFIG"


def test_factors_in_integers_are_quantised():
    keys = factors([4, 6], [6, 4], dtype="I8")
    assert code(sort_keys, keys, PLAIN) == "QUANTISED"


def test_what_stands_beside_the_updates():
    root = "base_model.model"
    keys = factors([4, 6], [6, 4])
    keys |= factors([4, 6], [1, 4], module=f"{root}.score")
    keys |= {
        f"{root}.classifier.weight": ["F32", [3, 6]],
        f"{root}.pooler.modules_to_save.default.dense.weight": ["F32", [6, 6]],
        f"{root}.pooler.original_module.weight": ["F32", [6, 6]],
        f"{root}.embed.base_layer.weight": ["F32", [9, 6]],
        f"{root}.embed.token_adapter.trainable_tokens_delta": ["F32", [2, 6]],
        f"{root}.classifier.bias": ["F32", [3]],
        f"{root}.{QUERY}.lora_B.bias": ["F32", [6]],
        f"{root}.head.weight": ["I8", [3, 6]],
    }
    found = sort_keys(keys, PLAIN)
    assert [(key.name, key.kind) for key, _ in found.layers] == [
        ("classifier", "dense"),
        (QUERY, "low-rank"),
        ("pooler.dense", "dense"),
    ]
    assert {entry.tensor: entry.reason for entry in found.skipped} == {
        f"{root}.pooler.original_module.weight": "SKIP_NOT_UPDATE",
        f"{root}.embed.base_layer.weight": "SKIP_NOT_UPDATE",
        f"{root}.embed.token_adapter.trainable_tokens_delta": (
            "SKIP_NOT_UPDATE"
        ),
        f"{root}.classifier.bias": "SKIP_NOT_UPDATE",
        f"{root}.{QUERY}.lora_B.bias": "SKIP_NOT_UPDATE",
        f"{root}.head.weight": "SKIP_INTEGER",
        f"{root}.score.lora_A.weight": "SKIP_NOT_MATRIX",
        f"{root}.score.lora_B.weight": "SKIP_NOT_MATRIX",
    }


@pytest.mark.parametrize("fan_in_fan_out", [False, True])
def test_fan_in_fan_out_changes_nothing(fan_in_fan_out):
    config = PLAIN | {"fan_in_fan_out": fan_in_fan_out}
    ((key, source),) = sort_keys(factors([4, 6], [9, 4]), config).layers
    assert key.shape == (9, 6)
    assert source.scale == 2.0
