"""Which layers follow one another: what is recognised, what is refused."""

import pytest

from spectra.align.chains import ChainLayer, find_chains


def linear(*shapes, name="net.{}", bias=True, step=2):
    """Return the tensors of linear layers, numbered as in a Sequential."""
    tensors = {}
    for place, (out, into) in enumerate(shapes):
        layer = name.format(place * step)
        tensors[f"{layer}.weight"] = (out, into)
        if bias:
            tensors[f"{layer}.bias"] = (out,)
    return tensors


PLAIN = linear((8, 4), (6, 8), (1, 6))


def test_a_chain_is_told_layer_by_layer():
    assert find_chains(linear((8, 4), (1, 8))) == (
        (
            ChainLayer("net.0", "net.0.weight", "net.0.bias", (8, 4)),
            ChainLayer("net.2", "net.2.weight", "net.2.bias", (1, 8)),
        ),
    )


@pytest.mark.parametrize(
    ("tensors", "names"),
    [
        (PLAIN, ["net.0", "net.2", "net.4"]),
        (linear((8, 4), (1, 8), bias=False), ["net.0", "net.2"]),
        (linear((8, 4), (1, 8), name="fc{}", step=1), ["fc0", "fc1"]),
        (linear((8, 4), (1, 8), name="layer_{}"), ["layer_0", "layer_2"]),
        (linear((8, 4), (1, 8), name="{}"), ["0", "2"]),
        (linear((8, 4), (1, 8), name="a.b.Dense_{}"), ["a.b.Dense_0",
                                                       "a.b.Dense_2"]),
        # In order of number, not of text.
        (dict(sorted(linear(*[(8, 8)] * 11, (1, 8), name="fc{}",
                            step=1).items())),
         [f"fc{i}" for i in range(12)]),
        # Squares between are no sign of layers side by side.
        (linear((8, 4), (8, 8), (8, 8), (4, 8)),
         ["net.0", "net.2", "net.4", "net.6"]),
        # One layer may have no bias, and what is no matrix is no layer.
        ({k: s for k, s in PLAIN.items() if k != "net.2.bias"},
         ["net.0", "net.2", "net.4"]),
        (PLAIN | {"scale": (4,), "steps": ()}, ["net.0", "net.2", "net.4"]),
        # Keras.
        ({"dense_1.kernel": (8, 4), "dense_1.bias": (8,),
          "dense_2.kernel": (1, 8)}, ["dense_1", "dense_2"]),
    ],
)  # fmt: skip
def test_recognised(tensors, names):
    (chain,) = find_chains(tensors)
    assert [layer.name for layer in chain] == names


def test_networks_side_by_side_are_chains_in_order_of_name():
    tensors = linear((8, 4), (1, 8), name="O.{}")
    tensors |= linear((6, 4), (1, 6), name="H.{}")
    found = find_chains(tensors)
    assert [[layer.name for layer in chain] for chain in found] == [
        ["H.0", "H.2"],
        ["O.0", "O.2"],
    ]


REFUSED = {
    "nothing": {},
    "one layer": linear((8, 4)),
    "shapes that do not follow": linear((8, 4), (1, 7)),
    "inputs first": linear((4, 8), (8, 1)),
    "squares that may lie side by side": linear((8, 8), (8, 8)),
    "a normalisation between": PLAIN | {"net.1.weight": (8,)},
    "a normalisation in the module": PLAIN | {"net.norm.weight": (8,)},
    "a convolution": linear((8, 4), (1, 8)) | {"net.0.weight": (8, 4, 3, 3)},
    "a bias of another length": PLAIN | {"net.0.bias": (4,)},
    "a bias alone": PLAIN | {"net.6.bias": (4,)},
    "two kinds of layer": {"fc1.weight": (8, 4), "hidden2.weight": (1, 8)},
    "a gate": {"w1.weight": (8, 4), "w2.weight": (4, 8), "w3.weight": (8, 4)},
    "weight and kernel": PLAIN | {"net.0.kernel": (8, 4)},
    "an embedding before": PLAIN | {"embedding.weight": (99, 4)},
    "a head after": PLAIN | {"head.weight": (3, 1)},
    "a transformer's": {
        "h.0.attention.q.weight": (4, 4),
        **linear((16, 4), (4, 16), name="h.0.mlp.fc{}"),
    },
    "outputs that fit another's inputs": {
        **linear((8, 4), (2, 8), name="encoder.{}"),
        **linear((8, 2), (4, 8), name="decoder.{}"),
    },
}  # fmt: skip


@pytest.mark.parametrize("tensors", REFUSED.values(), ids=REFUSED)
def test_refused(tensors):
    assert find_chains(tensors) == ()


def test_all_or_nothing():
    """A chain beside matrices of unknown place is none."""
    beside = linear((8, 4), (1, 7), name="other.{}")
    assert find_chains(PLAIN) != ()
    assert find_chains(PLAIN | beside) == ()
