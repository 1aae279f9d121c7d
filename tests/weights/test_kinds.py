"""Names of real models' tensors, and what these are for."""

import pytest

from spectra.weights.kinds import KINDS, kind_of

QUERY, KEY, VALUE, FUSED, OUTPUT, ATTENTION, MLP, EMBEDDING = KINDS[:8]
NORM, BIAS, CONVOLUTION, OTHER = KINDS[8:]

NAMES = {
    "bert.encoder.layer.0.attention.self.query.weight": QUERY,
    "bert.encoder.layer.0.attention.self.query.bias": BIAS,
    "bert.encoder.layer.0.attention.output.dense.weight": OUTPUT,
    "bert.encoder.layer.0.attention.output.LayerNorm.weight": NORM,
    "bert.encoder.layer.0.intermediate.dense.weight": MLP,
    "bert.encoder.layer.0.output.dense.weight": MLP,
    "bert.embeddings.word_embeddings.weight": EMBEDDING,
    "bert.embeddings.LayerNorm.gamma": NORM,
    "embeddings.position_ids": EMBEDDING,
    "bert.pooler.dense.weight": OTHER,
    "cls.predictions.transform.dense.weight": OTHER,
    "distilbert.transformer.layer.0.attention.q_lin.weight": QUERY,
    "distilbert.transformer.layer.0.attention.out_lin.weight": OUTPUT,
    "distilbert.transformer.layer.0.ffn.lin1.weight": MLP,
    "distilbert.transformer.layer.0.sa_layer_norm.weight": NORM,
    "h.0.attn.c_attn.weight": FUSED,
    "h.0.attn.c_proj.weight": OUTPUT,
    "h.0.mlp.c_proj.weight": MLP,
    "h.0.attn.masked_bias": BIAS,
    "h.0.ln_1.weight": NORM,
    "ln_f.bias": NORM,
    "wte.weight": EMBEDDING,
    "model.embed_tokens.weight": EMBEDDING,
    "model.layers.0.self_attn.k_proj.weight": KEY,
    "model.layers.0.self_attn.o_proj.weight": OUTPUT,
    "model.layers.0.self_attn.q_norm.weight": NORM,
    "model.layers.0.self_attn.rotary_emb.inv_freq": EMBEDDING,
    "model.layers.0.self_attn.kv_a_proj_with_mqa.weight": FUSED,
    "model.layers.0.self_attn.q_b_proj.weight": QUERY,
    "model.layers.0.mlp.gate_proj.weight": MLP,
    "model.layers.0.block_sparse_moe.experts.3.w2.weight": MLP,
    "model.layers.0.block_sparse_moe.gate.weight": MLP,
    "model.layers.0.post_attention_layernorm.weight": NORM,
    "model.norm.weight": NORM,
    "layers.0.attention.wo.weight": OUTPUT,
    "layers.0.feed_forward.w1.weight": MLP,
    "transformer.h.0.self_attention.query_key_value.weight": FUSED,
    "transformer.h.0.self_attention.dense.weight": OUTPUT,
    "transformer.h.0.mlp.dense_h_to_4h.weight": MLP,
    "transformer.blocks.0.attn.Wqkv.weight": FUSED,
    "encoder.block.0.layer.0.SelfAttention.q.weight": QUERY,
    "encoder.block.0.layer.0.SelfAttention.o.weight": OUTPUT,
    "encoder.block.0.layer.0.SelfAttention.relative_attention_bias.weight": (
        ATTENTION
    ),
    "encoder.block.0.layer.1.DenseReluDense.wo.weight": MLP,
    "encoder.block.0.layer.0.layer_norm.weight": NORM,
    "transformer.layer.0.rel_attn.q": QUERY,
    "encoder.layers.0.self_attn.in_proj_weight": FUSED,
    "encoder.layers.0.self_attn.in_proj_bias": BIAS,
    "encoder.layers.0.self_attn.out_proj.weight": OUTPUT,
    "encoder.layers.0.linear1.weight": MLP,
    "backbone.layers.0.mixer.in_proj.weight": OTHER,
    "backbone.layers.0.mixer.conv1d.weight": CONVOLUTION,
    "rwkv.blocks.0.feed_forward.key.weight": MLP,
    "rwkv.blocks.0.attention.key.weight": KEY,
    "blocks.0.attn.qkv.weight": FUSED,
    "blocks.0.attn.proj.weight": OUTPUT,
    "blocks.0.mlp.fc1.weight": MLP,
    "patch_embed.proj.weight": EMBEDDING,
    "cls_token": EMBEDDING,
    "visual.logit_scale": OTHER,
    "layer1.0.conv1.weight": CONVOLUTION,
    "layer1.0.bn1.running_mean": NORM,
    "fc.weight": OTHER,
    "lm_head.weight": OTHER,
    "down_blocks.0.attentions.0.transformer_blocks.0.attn1.to_out.0.weight": (
        OUTPUT
    ),
    "down_blocks.0.resnets.0.conv_shortcut.weight": CONVOLUTION,
    "down_blocks.0.resnets.0.time_emb_proj.weight": OTHER,
    "bert/encoder/layer_0/attention/self/query/kernel": QUERY,
    "batch_normalization_3/gamma": NORM,
    "base_model.model.layers.0.self_attn.v_proj.lora_A.weight": VALUE,
    "base_model.model.layers.0.mlp.up_proj.lora_B.default.weight": MLP,
    "_self_attention_stack.layers.0.linear2.weight": MLP,
    "_self_attention_stack.layers.0.projector.weight": OTHER,
    "w.weight": OTHER,
    "": OTHER,
    "...": OTHER,
}


@pytest.mark.parametrize("name", NAMES)
def test_a_name_tells_what_a_tensor_is_for(name: str) -> None:
    assert kind_of(name) == NAMES[name]


def test_more_than_two_axes_are_a_convolution_where_names_say_nothing() -> (
    None
):
    assert kind_of("features.0.weight", n_axes=4) == CONVOLUTION
    assert kind_of("features.0.weight", n_axes=2) == OTHER
    assert kind_of("patch_embed.proj.weight", n_axes=4) == EMBEDDING


def test_a_long_name_takes_no_time() -> None:
    """Names are foreign: none may keep the words' patterns busy."""
    for name in ("a_" * 50_000, "norm" * 20_000, "_" * 99_999, "qkv" * 30_000):
        assert kind_of(f"{name}!") in KINDS
