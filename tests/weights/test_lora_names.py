"""What the modules of adapters are called in the model."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spectra.weights.families import read_families
from spectra.weights.lora.kohya import KOHYA
from spectra.weights.lora.ldm import diffusers_name
from tests.weights.keys import key_list, sort_keys


def published(levels, *, attention_up):
    """Return the two names of each block, as sd-scripts writes them down."""
    names = {}
    for i in range(levels):
        for j in range(2):
            n = 3 * i + j + 1
            names[f"input_blocks_{n}_0"] = f"down_blocks_{i}_resnets_{j}"
            names[f"input_blocks_{n}_1"] = f"down_blocks_{i}_attentions_{j}"
        for j in range(3):
            n = 3 * i + j
            names[f"output_blocks_{n}_0"] = f"up_blocks_{i}_resnets_{j}"
            names[f"output_blocks_{n}_1"] = f"up_blocks_{i}_attentions_{j}"
        if i < levels - 1:
            names[f"input_blocks_{3 * (i + 1)}_0_op"] = (
                f"down_blocks_{i}_downsamplers_0_conv"
            )
            place = 2 if i in attention_up else 1
            names[f"output_blocks_{3 * i + 2}_{place}_conv"] = (
                f"up_blocks_{i}_upsamplers_0_conv"
            )
    for j in range(2):
        names[f"middle_block_{2 * j}"] = f"mid_block_resnets_{j}"
        names[f"time_embed_{2 * j}"] = f"time_embedding_linear_{j + 1}"
        names[f"label_emb_0_{2 * j}"] = f"add_embedding_linear_{j + 1}"
    names["middle_block_1"] = "mid_block_attentions_0"
    names["input_blocks_0_0"] = "conv_in"
    names["out_2"] = "conv_out"
    return names


@pytest.mark.parametrize(
    ("levels", "attention_up"),
    [(4, (1, 2, 3)), (3, (0, 1))],
    ids=["SD 1 and 2", "SDXL"],
)
def test_the_names_of_blocks_are_one_to_one(levels, attention_up):
    names = published(levels, attention_up=attention_up)
    found = {there: diffusers_name(there) for there in names}
    assert found == names
    assert len(set(names.values())) == len(names)
    assert all(diffusers_name(here) == here for here in names.values())


@pytest.mark.parametrize(
    ("inner", "expected"),
    [
        ("in_layers_2", "conv1"),
        ("emb_layers_1", "time_emb_proj"),
        ("out_layers_3", "conv2"),
        ("skip_connection", "conv_shortcut"),
    ],
)
def test_the_names_inside_of_blocks(inner, expected):
    assert diffusers_name(f"input_blocks_5_0_{inner}") == (
        f"down_blocks_1_resnets_1_{expected}"
    )


def known_words():
    pattern = read_families().words.pattern
    inner = pattern[pattern.index("<word>") + 6 : pattern.index(r"|\d+)")]
    return inner.split("|")


@given(
    st.lists(
        st.sampled_from(known_words()) | st.integers(0, 99).map(str),
        min_size=1,
        max_size=9,
    )
)
def test_names_of_known_words_are_divided_in_one_way(words):
    module = "lora_unet_" + "_".join(words)
    if module == "lora_unet_" + diffusers_name("_".join(words)):
        assert KOHYA.layer(module) == "unet." + ".".join(words)


@pytest.mark.parametrize(
    ("module", "layer"),
    [
        ("lora_te_text_model_encoder_layers_3_mlp_fc1",
         "text_encoder.text_model.encoder.layers.3.mlp.fc1"),
        ("lora_te1_text_model_encoder_layers_3_mlp_fc1",
         "text_encoder.text_model.encoder.layers.3.mlp.fc1"),
        ("lora_te2_text_projection", "text_encoder_2.text_projection"),
        ("lora_te3_encoder_block_0_layer_0_SelfAttention_q",
         "lora_te3_encoder_block_0_layer_0_SelfAttention_q"),
        ("lora_unet_double_blocks_0_img_attn_qkv",
         "unet.double_blocks.0.img_attn.qkv"),
        ("lora_unet_joint_blocks_0_context_block_attn_qkv",
         "lora_unet_joint_blocks_0_context_block_attn_qkv"),
        ("lora_unet_input_blocks_0_0_x", "lora_unet_input_blocks_0_0_x"),
        ("lora_unet_to_q_", "lora_unet_to_q_"),
        ("lora_unet_", "lora_unet_"),
        ("lycoris_blocks_0_attn", "lycoris_blocks_0_attn"),
        ("diffusion_model.blocks.0.attn.q", "diffusion_model.blocks.0.attn.q"),
    ],
)  # fmt: skip
def test_names_of_kohya(module, layer):
    assert KOHYA.layer(module) == layer


def test_two_modules_that_come_to_one_name_keep_their_own():
    blocks = ("down_blocks_1_attentions_0", "input_blocks_4_1")
    keys = {}
    for block in blocks:
        module = f"lora_unet_{block}_proj_in"
        keys[f"{module}.lora_down.weight"] = ["F32", [2, 6]]
        keys[f"{module}.lora_up.weight"] = ["F32", [5, 2]]
    assert [key.name for key, _ in sort_keys(keys, {}).layers] == [
        f"lora_unet_{block}_proj_in" for block in blocks
    ]


def test_updates_of_attention_processors_alone_need_no_component():
    module = "mid_block.attentions.0.transformer_blocks.0.attn1"
    keys = {
        f"{module}.processor.to_out_lora.down.weight": ["F32", [2, 6]],
        f"{module}.processor.to_out_lora.up.weight": ["F32", [5, 2]],
    }
    ((key, _),) = sort_keys(keys, {}).layers
    assert key.name == f"{module}.to_out.0"


def test_the_key_lists_of_three_tools_meet():
    shared = set.intersection(
        *(
            set(key_list(name)["expect"])
            for name in ("kohya-sd", "diffusers-sd", "diffusers-old")
        )
    )
    assert len(shared) >= 15
    for name in ("kohya-sd", "kohya-sdxl"):
        assert len(shared & set(key_list(name)["expect"])) >= 8
