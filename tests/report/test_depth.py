"""Where in the network a layer lies."""

import fnmatch
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spectra.report.depth import depth_rows, module_of
from tests.report.sample import HOSTILE


@pytest.mark.parametrize(
    ("name", "module", "index"),
    [
        ("encoder.layer.11.output.dense", "encoder.layer.*.output.dense", 11),
        ("h.0.attn.c_attn", "h.*.attn.c_attn", 0),
        ("layers/7/mlp/wi", "layers/*/mlp/wi", 7),
        ("layers.2.experts.5.w1", "layers.*.experts.5.w1", 2),
        ("block.1.layer.0.SelfAttention.q",
         "block.*.layer.0.SelfAttention.q", 1),
        ("text_encoder_2.layers.4.q", "text_encoder_2.layers.*.q", 4),
        ("conv1.attn2_3", "conv1.attn2_3", None),
        ("3", "*", 3),
        ("", "", None),
        ("a." + "9" * 5000, "a." + "9" * 5000, None),
        ("a.\u0663.b", "a.\u0663.b", None),
    ],
)  # fmt: skip
def test_the_first_whole_number_counts_the_layer(
    name: str, module: str, index: int | None
) -> None:
    assert module_of(name) == (module, index)


@given(st.lists(st.sampled_from(["a", "b1", "0", "12", "_3", "x9"])))
def test_words_say_the_same(words: list[str]) -> None:
    at = next((i for i, word in enumerate(words) if word.isdigit()), None)
    module, index = module_of(".".join(words))
    if at is None:
        assert (module, index) == (".".join(words), None)
        return
    assert index == int(words[at])
    assert module.split(".") == [*words[:at], "*", *words[at + 1 :]]
    assert fnmatch.fnmatchcase(".".join(words), module)


def test_rows_hold_each_layers_own_effect(measured: dict[str, Any]) -> None:
    rows = depth_rows(measured)
    assert [row["index"] for row in rows] == list(range(8))
    assert {row["module"] for row in rows} == {"layers.*.self_attn.q_proj"}
    for row, layer in zip(rows, measured["layers"], strict=True):
        effect = layer["model_axis"]["held_out"]["effect"]
        assert row["layer"] == layer["name"]
        assert row["verdict"] == layer["verdict"]
        assert row["low"] <= row["excess"] <= row["high"]
        told = [row[key] for key in ("k", "excess", "low", "high")]
        assert told == [effect[key] for key in ("k", "value", "low", "high")]


def test_a_layer_without_an_effect_keeps_its_row(
    hostile_report: dict[str, Any],
) -> None:
    first, second, third, *_ = hostile_report["layers"]
    first["model_axis"]["held_out"] = None
    second["model_axis"]["held_out"]["effect"] = {
        "k": None, "value": None, "low": None, "high": None,
        "reason": "fewer than three groups",
    }  # fmt: skip
    del third["model_axis"]["held_out"]["effect"]["low"]
    rows = depth_rows(hostile_report)
    assert [row["layer"] for row in rows] == [*HOSTILE]
    assert rows[0]["excess"] is rows[1]["excess"] is rows[1]["k"] is None
    assert rows[2]["excess"] is not None
    assert rows[2]["low"] is None
