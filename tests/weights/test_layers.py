import pytest

from spectra.core.errors import Quarantine
from spectra.weights.layers import check_not_quantised, sort_dense
from spectra.weights.limits import Limits
from spectra.weights.naming import layer_names
from tests.weights.keys import references, sort_keys

PLAIN = {"a.weight": ["F32", [4, 4]]}


@pytest.mark.parametrize(
    ("name", "dtype", "shape", "reason"),
    [
        ("a.weight", "F32", [], "SKIP_NOT_MATRIX"),
        ("a.weight", "F32", [7], "SKIP_NOT_MATRIX"),
        ("a.weight", "F32", [1, 7], "SKIP_NOT_MATRIX"),
        ("a.weight", "F32", [7, 1], "SKIP_NOT_MATRIX"),
        ("a.weight", "F32", [7, 1, 1, 1], "SKIP_NOT_MATRIX"),
        ("a.bias", "F32", [7, 7], "SKIP_NOT_MATRIX"),
        ("experts.gate_up_proj", "BF16", [4, 6, 8], "SKIP_NOT_MATRIX"),
        ("pos_embed", "F32", [1, 17, 32], "SKIP_NOT_MATRIX"),
        ("a.weight", "F32", [0, 7], "SKIP_EMPTY"),
        ("a.weight", "F32", [2, 0, 3], "SKIP_EMPTY"),
        ("a.weight", "F32", [2] * 9, "SKIP_NDIM"),
        ("a.weight", "I8", [7, 7], "SKIP_INTEGER"),
        ("a.weight", "U16", [7, 7], "SKIP_INTEGER"),
        ("a.mask", "BOOL", [7, 7], "SKIP_INTEGER"),
        ("a.weight", "F4", [8, 8], "SKIP_DTYPE"),
        ("a.weight", "C64", [8, 8], "SKIP_DTYPE"),
        ("bn.num_batches_tracked", "I64", [], "SKIP_BOOKKEEPING"),
        ("bn.running_mean", "F32", [7], "SKIP_BOOKKEEPING"),
        ("h.0.attn.bias", "F32", [1, 1, 9, 9], "SKIP_BOOKKEEPING"),
        ("h.0.attn.bias", "BOOL", [1, 1, 9, 9], "SKIP_BOOKKEEPING"),
        ("x.rotary_emb.inv_freq", "F32", [16], "SKIP_BOOKKEEPING"),
        ("embeddings.position_ids", "I64", [1, 512], "SKIP_BOOKKEEPING"),
    ],
)
def test_a14_what_is_left_out(name, dtype, shape, reason):
    found = sort_keys({name: [dtype, shape]}, {})
    assert not found.layers
    assert [(s.tensor, s.reason) for s in found.skipped] == [(name, reason)]


@pytest.mark.parametrize(
    ("name", "shape", "expected"),
    [
        ("conv.weight", [8, 4, 3, 3], (8, 36)),
        ("conv.weight", [8, 1, 3, 3], (8, 9)),
        ("conv.weight", [8, 4, 5], (8, 20)),
        ("conv.kernel", [3, 3, 4, 8], (8, 36)),
        ("dense.kernel", [4, 8], (8, 4)),
        ("attention/query/kernel", [6, 2, 4], (8, 6)),
        ("attention/out/kernel", [2, 4, 6], (6, 8)),
        ("coefs_.0", [4, 8], (8, 4)),
        ("coefs_0", [4, 8], (8, 4)),
        ("coef_", [4, 8], (4, 8)),
        ("in_proj_weight", [9, 4], (9, 4)),
        ("a.weight", [2, 3], (2, 3)),
    ],
)
def test_a14_the_map_that_a_tensor_is(name, shape, expected):
    ((key, source),) = sort_keys({name: ["F32", shape]}, {}).layers
    assert key.shape == expected
    assert key.kind == "dense"
    assert source.transposed == (source.weight.shape[-1] == expected[0])


def test_a28_a_layer_over_a_limit_is_set_aside_alone():
    keys = {
        "wide.weight": ["F32", [40_000, 40_000]],
        "long.weight": ["F32", [2**21, 2**12]],
        "good.weight": ["F32", [40_000, 8]],
    }
    found = sort_keys(keys, {})
    assert [key.name for key, _ in found.layers] == ["good"]
    assert [(name, code) for name, code, _ in found.refused] == [
        ("long", "LIMIT_TENSOR_BYTES"),
        ("wide", "LIMIT_DIM"),
    ]
    wide = Limits(min_side=40_000, tensor_bytes=2**40)
    roomy = sort_dense(references(keys), {}, limits=wide)
    assert len(roomy.layers) == 3


@pytest.mark.parametrize(
    ("keys", "config"),
    [
        (PLAIN, {"quantization_config": {"bits": 4}}),
        (PLAIN, {"quantization": {"group_size": 64, "bits": 4}}),
        (PLAIN, {"compression_config": {"quant_method": "sparseml"}}),
        (PLAIN, {"text_config": {"quantization_config": {"bits": 4}}}),
        ({"a.qweight": ["I32", [4, 4]], "a.qzeros": ["I32", [1, 1]]}, {}),
        ({"a.weight": ["U8", [8, 1]], "a.weight.absmax": ["F32", [1]]}, {}),
        ({"a.weight": ["I8", [4, 4]], "a.SCB": ["F32", [4]]}, {}),
        (
            {
                "a.weight": ["F8_E4M3", [4, 4]],
                "a.weight_scale_inv": ["F32", [1, 1]],
            },
            {},
        ),
        # MLX.
        (
            {
                "a.weight": ["U32", [4, 1]],
                "a.scales": ["F16", [4, 1]],
                "a.biases": ["F16", [4, 1]],
            },
            {},
        ),
        ({"a.weight": ["F4", [4, 4]]}, {}),
        (PLAIN | {"a.weight.quant_state.bitsandbytes__nf4": ["U8", [9]]}, {}),
        (PLAIN | {"a.absmax": ["F32", [4]]}, {}),
        (PLAIN | {"a.quant_map": ["F32", [16]]}, {}),
        (PLAIN | {"a.weight_packed": ["I32", [4, 1]]}, {}),
        (PLAIN | {"a.weight_scale": ["F32", [1]]}, {}),
        (PLAIN | {"a.weight_scale_2": ["F32", [1]]}, {}),
        (PLAIN | {"a.scale_weight": ["F32", []]}, {}),
        (PLAIN | {"e.gate_up_proj_blocks": ["U8", [2, 4, 4]]}, {}),
        (PLAIN | {"a.W_q": ["U8", [4, 4]]}, {}),
        (PLAIN | {"a.g_idx": ["I32", [4]]}, {}),
    ],
)
def test_quantised_checkpoints_are_refused(keys, config):
    with pytest.raises(Quarantine) as caught:
        check_not_quantised(references(keys), config)
    assert caught.value.code == "QUANTISED"
    assert "dequantised" in caught.value.detail


@pytest.mark.parametrize("dtype", ["F64", "F32", "F16", "BF16", "F8_E5M2"])
@pytest.mark.parametrize(
    "config",
    [{}, {"quantization_config": None}, {"text_config": {"quantization": {}}}],
)
def test_weights_are_not_codes(dtype, config):
    keys = {"a.weight": [dtype, [4, 4]], "a.mask": ["BOOL", [4, 4]]}
    check_not_quantised(references(keys), config)


def test_plain_8_bit_floats_are_not_quantised():
    keys = {"a.weight": ["F8_E4M3", [4, 4]]}
    check_not_quantised(references(keys), {})
    assert len(sort_keys(keys, {}).layers) == 1


def named(*names):
    return dict(layer_names(names))


@pytest.mark.parametrize(
    "name",
    [
        "encoder.layer.0.attention.self.query.weight",
        "bert.encoder.layer.0.attention.self.query.weight",
        "module.bert.encoder.layer.0.attention.self.query.weight",
        "_orig_mod.module.encoder.layer.0.attention.self.query.weight",
        "base_model.model.encoder.layer.0.attention.self.query",
        "base_model.model.bert.encoder.layer.0.attention.self.query",
        "auto_model.encoder.layer.0.attention.self.query.weight",
    ],
)
def test_wrappers_are_taken_away(name):
    bare = "encoder.layer.0.attention.self.query"
    assert named(name) == {name: bare}


def test_two_towers_keep_their_names_apart():
    names = (
        "bert.encoder.layer.0.output.dense.weight",
        "vit.encoder.layer.0.output.dense.weight",
    )
    assert named(*names) == {
        name: name.removesuffix(".weight") for name in names
    }
    assert named("a.weight", "a") == {"a.weight": "a.weight", "a": "a"}


def test_a_name_is_never_emptied():
    for name in ("model.", "weight", ".weight", "model.weight", "bert."):
        assert all(named(name).values())
