"""Aligned networks beside chance: explicit vectors, known truths, p."""

import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy.stats import kstest

from spectra.align.calibrated import (
    Calibrated,
    align,
    by_chance,
    conclusion,
    grams,
    measures_document,
)
from spectra.align.permutation import NULLS, match_weights, permuted
from tests.align.test_permutation import network, orders_of, vector

DRAWS = 19


def calibrated(networks, draws=DRAWS, seed=0):
    """Return networks, by id, beside their nulls."""
    return Calibrated(
        grams(list(networks.values())),
        grams(align(list(networks.values()))[0]),
        {
            null.name: np.stack(
                [
                    by_chance(null, networks, seed=seed, stream=str(draw))
                    for draw in range(draws)
                ]
            )
            for null in NULLS
        },
    )


def unrelated(seed, n, widths):
    """Return networks of independent units; biases have a common mean."""
    rng = np.random.default_rng(seed)
    networks = {f"m{i}": network(rng, widths) for i in range(n)}
    for net in networks.values():
        for W in net:
            W[:, -1] += 0.5
    return networks


def copies(seed, n, widths, noise):
    """Return noisy copies of one network, each in an order of its own."""
    rng = np.random.default_rng(seed)
    shared = network(rng, widths)
    networks = {}
    for i in range(n):
        noisy = [W + noise * rng.standard_normal(W.shape) for W in shared]
        networks[f"m{i}"] = permuted(noisy, orders_of(rng, widths))
    return networks


def cosine(x, y):
    return x @ y / np.linalg.norm(x) / np.linalg.norm(y)


def test_grams_are_inner_products_layer_by_layer():
    networks = list(unrelated(0, 3, (3, 5, 2)).values())
    found = grams(networks)
    assert found.shape == (2, 3, 3)
    for layer in range(2):
        for i, j in np.ndindex(3, 3):
            expected = np.sum(networks[i][layer] * networks[j][layer])
            assert_allclose(found[layer, i, j], expected)


def test_measures_are_those_of_explicit_vectors():
    networks = unrelated(0, 7, (3, 5, 2))
    document = measures_document(calibrated(networks).whole())
    moved = [
        permuted(net, match_weights(networks["m0"], net).orders)
        for net in networks.values()
    ]
    for key, nets in (("unaligned", networks.values()), ("aligned", moved)):
        reference, *X = map(vector, nets)
        pairs = [cosine(x, y) for i, x in enumerate(X) for y in X[:i]]
        assert_allclose(document["cosine"][key], np.mean(pairs))
        with_first = np.mean([cosine(x, reference) for x in X])
        assert_allclose(document["cosine_to_reference"][key], with_first)
        X = np.array(X)
        s = np.linalg.svd(X - X.mean(axis=0), compute_uv=False)
        assert_allclose(document["evr"]["1"][key], s[0] ** 2 / np.sum(s**2))
        captured, random, whole = np.sum(
            [left_out(X, i) for i in range(len(X))], axis=0
        )
        effect = (captured - random) / whole
        assert_allclose(document["effect"]["1"][key], effect)
    assert document["evr"]["16"] is None
    assert document["effect"]["4"] is None
    assert "too few" in document["effect_reason"]
    assert "cosine_reason" not in document


def left_out(X, i):
    """Return what one direction of the others holds of one, and of it all."""
    others = np.delete(X, i, axis=0)
    m = others.mean(axis=0)
    _, s, Vh = np.linalg.svd(others - m, full_matrices=False)
    Vh = Vh[s > 1e-9 * s[0]]
    y = X[i] - m
    return (Vh[0] @ y) ** 2, np.sum((Vh @ y) ** 2) / len(Vh), y @ y


def test_p_counts_the_draws_that_reach_the_aligned_value():
    found = calibrated(unrelated(0, 4, (3, 5, 2))).whole()
    row = measures_document(found)["cosine_to_reference"]
    for name, drawn in found.drawn.items():
        values = []
        for gram in drawn[:, 0]:
            lengths = np.sqrt(np.diagonal(gram))
            values.append(np.mean((gram / np.outer(lengths, lengths))[0, 1:]))
        above = sum(value >= row["aligned"] for value in values)
        assert row["null"][name]["p"] == (1 + above) / (1 + DRAWS)
        assert_allclose(row["null"][name]["mean"], np.mean(values))
        assert_allclose(row["null"][name]["high"], np.max(values))


def test_layers_of_several_chains_are_layers_of_one_network():
    a = calibrated(unrelated(0, 3, (3, 5, 2)))
    b = calibrated(unrelated(1, 3, (4, 6, 6, 1)))
    both = Calibrated.of_all([a, b])
    assert both.aligned.shape == (5, 3, 3)
    for part in (both.layer(3), b.layer(1)):
        assert_allclose(part.unaligned, b.unaligned[[1]])
        assert_allclose(part.drawn["rotated"], b.drawn["rotated"][:, [1]])
    whole = both.whole()
    assert_allclose(whole.aligned[0], a.aligned.sum(0) + b.aligned.sum(0))
    expected = a.drawn["entries"].sum(1) + b.drawn["entries"].sum(1)
    assert_allclose(whole.drawn["entries"][:, 0], expected)


@pytest.fixture(scope="module")
def chance():
    """Return the documents of many sets of three unrelated networks."""
    sets = ((seed, unrelated(seed, 3, (3, 5, 3, 2))) for seed in range(400))
    return [
        measures_document(calibrated(nets, draws=9, seed=seed).whole())
        for seed, nets in sets
    ]


@pytest.mark.parametrize("null", [null.name for null in NULLS])
@pytest.mark.parametrize("key", ["cosine", "cosine_to_reference"])
def test_p_is_uniform_where_nothing_is_shared(chance, key, null):
    """Even where biases have a mean: no order of units is needed for it."""
    p = [document[key]["null"][null]["p"] for document in chance]
    # p takes ten values; spread each over its step.
    spread = np.random.default_rng(0).uniform(0, 0.1, len(p))
    assert kstest(np.array(p) - spread, "uniform").pvalue > 0.01


def test_alignment_alone_makes_unrelated_networks_alike(chance):
    """Always so with the reference; hence with one another, on average."""
    to_reference = [document["cosine_to_reference"] for document in chance]
    assert all(row["aligned"] > row["unaligned"] for row in to_reference)
    rows = [document["cosine"] for document in chance]
    gains = [row["aligned"] - row["unaligned"] for row in rows]
    assert np.mean(gains) > 0.05


@pytest.mark.parametrize("n", [2, 3, 6])
def test_noisy_copies_in_other_orders_are_found(n):
    document = measures_document(
        calibrated(copies(0, n, (4, 16, 16, 2), 0.1)).whole()
    )
    row = document["cosine" if n > 2 else "cosine_to_reference"]
    assert row["unaligned"] < 0.5
    assert row["aligned"] > 0.85
    for null in NULLS:
        assert row["null"][null.name]["p"] == 1 / (1 + DRAWS)
        assert row["null"][null.name]["high"] < 0.7
    text = conclusion(document, "m0", n - 1)
    assert "more alike, unit by unit" in text
    assert text.startswith(f"{n - 1} network")


def test_units_in_common_are_told_from_maps_in_common():
    """Networks of one map through random units are not alike in units."""
    rng = np.random.default_rng(0)
    reads, writes = network(rng, (6, 2, 6), biases=False)
    up = rng.standard_normal((24, 2))
    shared = [up @ reads, writes @ up.T]
    rotated = NULLS[1]
    networks = {f"m{i}": rotated.draw(shared, rng) for i in range(5)}
    document = measures_document(calibrated(networks).whole())
    null = document["cosine"]["null"]
    assert null["entries"]["p"] == 1 / (1 + DRAWS)
    assert null["rotated"]["p"] > 0.05


def row_of(entries, rotated):
    nulls = {
        "entries": {"mean": 0.1, "high": 0.2, "p": entries},
        "rotated": {"mean": 0.3, "high": 0.4, "p": rotated},
    }
    return {"unaligned": 0.01, "aligned": 0.5, "null": nulls}


@pytest.mark.parametrize(
    ("entries", "rotated", "ending"),
    [
        (0.3, 0.01, "no more alike than the same alignment makes scattered"),
        (0.3, 0.3, "no more alike than the same alignment makes scattered"),
        (0.01, 0.3, "but no more than it makes random mixtures of the units"),
        (0.05, 0.05, "scattered weights, or random mixtures of the units"),
    ],
)  # fmt: skip
def test_the_weaker_explanation_is_said_first(entries, rotated, ending):
    row = row_of(entries, rotated)
    text = conclusion({"cosine": row, "cosine_to_reference": None}, "a", 4)
    assert text.startswith(
        "4 networks, aligned to a, have a mean cosine of 0.500 with one"
        " another, 0.010 as they stand; weights scattered over the units"
        f" reach 0.100 (p {entries:.3f}), random mixtures of the units 0.300"
    )
    assert text.removesuffix(" weights.").removesuffix(".").endswith(ending)
    alone = conclusion({"cosine": None, "cosine_to_reference": row}, "a", 1)
    assert alone.startswith("1 network, aligned to a, has a cosine of 0.500")


def test_what_is_undefined_has_a_reason():
    networks = unrelated(0, 2, (3, 5, 2))
    pair = measures_document(calibrated(networks).whole())
    assert pair["cosine"] is None
    assert "one network alone" in pair["cosine_reason"]
    assert pair["cosine_to_reference"]["aligned"] > 0
    assert set(pair["evr"].values()) == {None}
    assert pair["evr_reason"]
    networks["m1"] = [0 * W for W in networks["m1"]]
    zero = measures_document(calibrated(networks).whole())
    assert zero["cosine_to_reference"] is None
    assert zero["cosine_to_reference_reason"] == "a network is zero"
    assert conclusion(zero, "m0", 1).startswith("A network is zero")


def test_a_draw_depends_on_seed_and_names_alone():
    networks = unrelated(0, 3, (3, 5, 2))
    first = by_chance(NULLS[0], networks, seed=1, stream="a")
    again = dict([("m0", networks["m0"]), *reversed(networks.items())])
    turned = by_chance(NULLS[0], again, seed=1, stream="a")
    assert list(again) == ["m0", "m2", "m1"]
    assert_allclose(turned[:, [0, 2, 1]][:, :, [0, 2, 1]], first)
    other = by_chance(NULLS[0], networks, seed=2, stream="a")
    assert not np.allclose(other, first)
    twins = networks | {"m2": networks["m1"]}
    drawn = by_chance(NULLS[0], twins, seed=1, stream="a").sum(axis=0)
    assert drawn[1, 2] < 0.95 * drawn[1, 1]
