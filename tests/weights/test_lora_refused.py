"""Adapters that are refused by name, and factors that nothing scales."""

import numpy as np
import pytest
from safetensors.numpy import save_file

from spectra.core.errors import Quarantine
from spectra.weights.lora.refused import VARIANTS
from spectra.weights.scan import scan
from tests.weights.keys import sort_keys

TENSORS = {
    "DoRA": ("dora_scale", "lora_magnitude_vector.default.weight"),
    "LoHa": ("hada_w1_a", "hada_t2"),
    "LoKr": ("lokr_w1", "lokr_w2_b", "lokr_t2"),
    "LoCon with a core tensor": ("lora_mid.weight",),
    "AdaLoRA": ("lora_E", "lora_E.default"),
    "VeRA": ("vera_lambda_b", "vera_A.default"),
    "IA3": ("ia3_l",),
    "OFT": ("oft_blocks", "oft_diag", "oft_R.default.weight", "boft_s"),
    "GLoRA": ("glora_Ad",),
    "a full difference": ("diff",),
    "an MLX adapter": ("lora_a", "lora_b"),
}


def test_each_variant_has_an_example():
    assert set(TENSORS) == {name for name, _ in VARIANTS}


@pytest.mark.parametrize(
    ("kind", "name"),
    [(kind, name) for kind, names in TENSORS.items() for name in names],
)
@pytest.mark.parametrize("beside", [True, False])
def test_variants_are_refused_by_name(kind, name, beside):
    module = "lora_unet_mid_block_x"
    keys = {f"{module}.{name}": ["F32", [6, 6]]}
    if beside:
        keys |= {
            f"{module}.lora_down.weight": ["F32", [2, 6]],
            f"{module}.lora_up.weight": ["F32", [5, 2]],
        }
    with pytest.raises(Quarantine, match="not scale") as caught:
        sort_keys(keys, {})
    assert caught.value.code == "ADAPTER_CONFIG"
    assert kind in caught.value.detail


@pytest.mark.parametrize("name", ["diff", "diff_b", "w_norm", "b_norm"])
def test_differences_of_vectors_are_left_out(name):
    keys = {
        "lora_unet_x.lora_down.weight": ["F32", [2, 6]],
        "lora_unet_x.lora_up.weight": ["F32", [5, 2]],
        f"lora_unet_x.{name}": ["F32", [5]],
    }
    found = sort_keys(keys, {})
    assert len(found.layers) == 1
    assert [(s.tensor, s.reason) for s in found.skipped] == [
        (f"lora_unet_x.{name}", "SKIP_NOT_UPDATE")
    ]


@pytest.mark.parametrize(
    ("A", "B"),
    [
        ("q.lora_A.weight", "q.lora_B.weight"),
        ("transformer.h.0.q.lora_A.weight", "transformer.h.0.q.lora_B.weight"),
        ("diffusion_model.q.lora_A.weight", "diffusion_model.q.lora_B.weight"),
        ("base_model.model.q.lora_A.weight",
         "base_model.model.q.lora_B.weight"),
        ("q.lora_A", "q.lora_B"),
        ("q.lora_A.vision.weight", "q.lora_B.vision.weight"),
        ("e.lora_embedding_A", "e.lora_embedding_B"),
        ("b.processor.proj_lora1.down.weight",
         "b.processor.proj_lora1.up.weight"),
        ("lora_controlnet", "q.down"),
    ],
)  # fmt: skip
def test_factors_are_never_full_matrices(tmp_path, A, B):
    save_file(
        {A: np.ones((2, 6), np.float32), B: np.ones((5, 2), np.float32)},
        tmp_path / "stray.safetensors",
    )
    catalog = scan([tmp_path])
    assert not catalog.models
    (entry,) = catalog.quarantine
    assert entry.code == "ADAPTER_CONFIG"


def test_factors_of_any_name_count_by_their_alphas():
    keys = {
        "diffusion_model.q.lora_A.weight": ["F32", [2, 6]],
        "diffusion_model.q.lora_B.weight": ["F32", [5, 2]],
        "diffusion_model.q.alpha": ["F32", []],
    }
    alphas = {"diffusion_model.q.alpha": 8.0}
    ((key, source),) = sort_keys(keys, {}, alphas).layers
    assert (key.name, source.scale) == ("q", 4.0)
    # Where one is not given, nothing says what that means.
    keys["diffusion_model.k.lora_A.weight"] = ["F32", [2, 6]]
    keys["diffusion_model.k.lora_B.weight"] = ["F32", [5, 2]]
    with pytest.raises(Quarantine) as caught:
        sort_keys(keys, {}, alphas)
    assert caught.value.code == "ADAPTER_CONFIG"


@pytest.mark.parametrize(
    "name",
    [
        "att.w_lora.lora.0.weight",
        "flora.weight",
        "explora_a.weight",
        "net.diff.weight",
        "different.weight",
        "soft_r.weight",
    ],
)
def test_full_weights_may_have_such_names(name):
    ((key, _),) = sort_keys({name: ["F32", [4, 6]]}, {}).layers
    assert key.kind == "dense"
