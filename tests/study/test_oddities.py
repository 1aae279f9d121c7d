"""D11: twelve checkpoints of one architecture, with one oddity each."""

import numpy as np
import pytest
from safetensors.numpy import load_file

import spectra
from tests.checkpoints import write_dense

SHAPES = {
    "embed": (30, 8),
    "l.0.attn.q_proj": (8, 8),
    "l.0.attn.k_proj": (4, 8),
    "l.0.attn.v_proj": (4, 8),
    "l.0.down": (8, 20),
    "l.0.up": (20, 8),
}


def plain(layers):
    """Leave it as it is."""


def larger_vocabulary(layers):
    layers["embed"] = np.ones((31, 8))


def turned_round(layers):
    layers["l.0.up"] = layers["l.0.up"].T


def a_layer_less(layers):
    del layers["l.0.down"]


def fused(layers):
    parts = [layers.pop(f"l.0.attn.{x}_proj") for x in "qkv"]
    layers["l.0.attn.qkv_proj"] = np.concatenate(parts)


def a_block_more(layers):
    layers["l.1.up"] = layers["l.0.up"] * 2


def with_a_prefix(layers):
    for name in list(layers):
        layers[f"model.{name}"] = layers.pop(name)


def wider(layers):
    layers["l.0.up"] = np.ones((24, 8))
    layers["l.0.down"] = np.ones((8, 24))


def one_by_one_convolutions(layers):
    layers["l.0.up"] = layers["l.0.up"].reshape(20, 8, 1, 1)


def without_a_shape(layers):
    layers["l.0.up"] = layers["l.0.up"].ravel()


def with_a_head(layers):
    layers["lm_head"] = layers["embed"] * 2


def renamed(layers):
    layers["l.0.fc1"] = layers.pop("l.0.up")


ODDITIES = {
    # What each has not in common with the others, and what no other has.
    plain: ([], []),
    larger_vocabulary: (["embed"], [("embed", "31 x 8")]),
    turned_round: (["l.0.up"], [("l.0.up", "8 x 20")]),
    a_layer_less: (["l.0.down"], []),
    fused: (
        ["l.0.attn.q_proj", "l.0.attn.k_proj", "l.0.attn.v_proj"],
        [("l.0.attn.qkv_proj", "16 x 8")],
    ),
    a_block_more: ([], [("l.1.up", "20 x 8")]),
    with_a_prefix: ([], []),
    wider: (
        ["l.0.up", "l.0.down"],
        [("l.0.up", "24 x 8"), ("l.0.down", "8 x 24")],
    ),
    one_by_one_convolutions: ([], []),
    without_a_shape: (["l.0.up"], []),
    with_a_head: ([], [("lm_head", "30 x 8")]),
    renamed: (["l.0.up"], [("l.0.fc1", "20 x 8")]),
}


@pytest.fixture
def run(tmp_path):
    rng = np.random.default_rng(11)
    for oddity in ODDITIES:
        layers = {n: rng.standard_normal(s) for n, s in SHAPES.items()}
        oddity(layers)
        named = {f"{name}.weight": W for name, W in layers.items()}
        write_dense(tmp_path / oddity.__name__, named)
    return spectra.fit(spectra.scan(tmp_path))


def test_d11_layers_meet_by_name_and_shape_alone(run):
    ids = [model.id for model in run.value.models]
    assert len(ids) == 12
    found = {
        layer.name: (layer.shape, {ids[i] for i in layer.members})
        for layer in run.value.layers
    }
    assert found == {
        name: (
            shape,
            {
                oddity.__name__
                for oddity, (lost, _) in ODDITIES.items()
                if name not in lost
            },
        )
        for name, shape in SHAPES.items()
    }


def test_d11_what_meets_nothing_is_told(run):
    told = [
        (each.id, each.layer, each.detail)
        for each in run.value.left_out
        if each.code == "ALONE"
    ]
    assert len(told) == len(run.value.left_out)
    assert sorted(told) == sorted(
        (oddity.__name__, layer,
         f"no other checkpoint has a {shape} layer of that name")
        for oddity, (_, lone) in ODDITIES.items()
        for layer, shape in lone
    )  # fmt: skip
    assert run.value.quarantine == ()


def test_d11_nothing_is_cut_or_filled(run, tmp_path):
    """Singular values are those of what lies in the files."""
    ids = [model.id for model in run.value.models]
    found = spectra.scan(tmp_path).value.models
    catalog = {model.id: model for model in found}
    for layer in run.value.layers:
        for place, member in enumerate(layer.members):
            (source,) = [
                source
                for key, source in catalog[ids[member]].layers
                if key.name == layer.name
            ]
            W = stored(tmp_path / ids[member], source.weight.name)
            assert W.size == np.prod(layer.shape)
            s = np.linalg.svd(W.reshape(layer.shape), compute_uv=False)
            np.testing.assert_allclose(
                layer.singular_values[place, : len(s)], s, rtol=1e-5
            )


def stored(folder, name):
    (file,) = folder.glob("*.safetensors")
    return load_file(file)[name]
