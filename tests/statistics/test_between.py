"""Populations of one run, their sides, and who is an independent witness."""

import json
from dataclasses import replace
from itertools import combinations, product

import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy.linalg import subspace_angles
from scipy.stats import kstest

from spectra.core.settings import OverlapSettings
from spectra.statistics.kinship.groups import start_thresholds
from spectra.statistics.kinship.relations import relate
from spectra.statistics.populations.between import between, pairs_of
from spectra.statistics.populations.comparison import compare, pairs_document
from spectra.statistics.populations.crossed import divisions_of
from spectra.statistics.populations.crossed_sides import contrast
from spectra.statistics.populations.likeness import MEANINGS
from spectra.statistics.sides.side import sides_of
from tests.reference.naive import naive_fit
from tests.statistics.planted import fit_of
from tests.statistics.test_populations_compared import (
    assert_reasons,
    assert_same,
    planted,
    word,
)
from tests.test_docs import (
    first_cells,
    keys_of,
    text_of,
    words_in_code_type,
)

GROUPS = np.array([0, 0, 1, 2, 3, 3, 4, 5, 6, 7, 7, 8])
"""Of 6 members of a and 6 of b."""


@pytest.fixture(scope="module")
def directions():
    rng = np.random.default_rng(0)
    Q, _ = np.linalg.qr(rng.standard_normal((400, 8)))
    return Q[:, :4], Q[:, 4:]


def low_rank(rng, ranks, U=None, shape=(20, 16)):
    """Return maps of these ranks; their last output direction lies in U."""
    maps = []
    for rank in ranks:
        L = rng.standard_normal((shape[0], rank))
        if U is not None:
            L[:, -1] = 4 * U @ rng.standard_normal(U.shape[1])
        maps.append(L @ rng.standard_normal((rank, shape[1])))
    return np.array(maps)


# Sides.


def naive_contrast(bases, parts, labels, dimension):
    """Return means between and within a, by the angles of each pair."""

    def excess(i, j):
        U, V = bases[i], bases[j]
        if labels[i] == labels[j] or not min(U.shape[1], V.shape[1]):
            return []
        cosines = np.cos(subspace_angles(U, V))
        chance = max(U.shape[1], V.shape[1]) / dimension
        return [(np.mean(cosines**2) - chance) / (1 - chance)]

    def mean(pairs):
        return np.mean([value for i, j in pairs for value in excess(i, j)])

    a, b = parts
    return mean(product(a, b)), mean(combinations(a, 2))


@pytest.mark.parametrize("which", [0, 1])
def test_a_side_is_what_pairs_of_explicit_subspaces_give(which):
    rng = np.random.default_rng(2)
    ranks = [2, 3, 2, 4, 2, 3, 3, 3, 2, 1, 2, 4]
    maps = low_rank(rng, ranks, np.eye(20)[:, :2])
    fit = fit_of(maps)
    (layer,) = fit.layers
    side = sides_of(layer, [m.id for m in fit.models])[which]
    bases = []
    for x, rank in zip(maps, ranks, strict=True):
        U, _, Vh = np.linalg.svd(x)
        bases.append((U if which == 0 else Vh.T)[:, :rank])
    a, b = range(6), range(6, 12)
    divisions = divisions_of(GROUPS, 6, 25, np.random.default_rng(2))
    found = contrast(side, (a, b), GROUPS, divisions)
    d = (20, 16)[which]
    across, within = naive_contrast(bases, (a, b), GROUPS, d)
    assert_allclose(found.between, across)
    assert_allclose(found.within[0], within)
    assert_allclose(
        found.within[1], naive_contrast(bases, (b, a), GROUPS, d)[1]
    )
    drawn = [
        naive_contrast(
            bases, (np.flatnonzero(first), np.flatnonzero(~first)), GROUPS, d
        )[0]
        for first in divisions
    ]
    assert found.p == (1 + np.sum(np.array(drawn) <= across + 1e-9)) / 26
    assert 2 / 26 <= found.p < 1


def test_p_of_a_side_is_uniform_where_labels_are_random():
    p, labels = [], np.arange(14)
    fit = fit_of(low_rank(np.random.default_rng(0), [2] * 14))
    side, _ = sides_of(fit.layers[0], [member.id for member in fit.models])
    for seed in range(400):
        rng = np.random.default_rng(seed)
        L = rng.standard_normal((14, 20, 2))
        L[:, :3, 0] *= 4
        U = np.hstack(np.linalg.qr(L)[0])
        overlap = (U.T @ U) ** 2
        overlap = overlap.reshape(14, 2, 14, 2).sum(axis=(1, 3))
        layer = replace(side.layer, output=replace(side.fit, overlap=overlap))
        divisions = divisions_of(labels, 6, 79, rng)
        found = contrast(
            replace(side, layer=layer), (range(6), range(6, 14)), labels,
            divisions,
        )  # fmt: skip
        p.append(found.p)
    jitter = np.random.default_rng(0).uniform(size=len(p)) / 80
    assert kstest(np.array(p) - jitter, "uniform").pvalue > 0.01


@pytest.mark.parametrize("same", [True, False])
def test_what_members_write_to_is_common_or_not(same):
    rng = np.random.default_rng(3)
    U, V = np.eye(20)[:, :1], np.eye(20)[:, 1:2]
    maps = np.concatenate(
        [low_rank(rng, [2] * 8, U), low_rank(rng, [2] * 8, U if same else V)]
    )
    (layer,) = compare(
        fit_of(maps), range(8), range(8, 16), OverlapSettings()
    )["layers"]
    output, inner = layer["output_side"], layer["input_side"]
    assert layer["draws"] == 199
    assert min(output["within"]) > 0.4
    assert abs(inner["between"]) < 0.1
    assert inner["p"] > 0.05
    if same:
        assert output["between"] > 0.4
        assert output["p"] > 0.05
    else:
        assert output["between"] < 0.1
        assert output["p"] == 0.005


def test_a_side_without_room_or_without_pairs_has_no_value():
    rng = np.random.default_rng(4)
    whole = compare(
        fit_of(rng.standard_normal((12, 6, 9))), range(6), range(6, 12),
        OverlapSettings(),
    )  # fmt: skip
    (layer,) = whole["layers"]
    # Six directions of each member are all that there are.
    assert layer["output_side"] is None
    assert layer["input_side"]["between"] is not None
    alone = compare(
        fit_of(low_rank(rng, [2] * 3)), (0,), (1, 2), OverlapSettings()
    )
    (layer,) = alone["layers"]
    assert layer["output_side"]["within"][0] is None
    assert layer["output_side"]["p"] is None
    assert layer["draws"] == 0
    for document in (whole, alone):
        assert_reasons(document)


# Witnesses, and orders.


def test_members_of_one_random_start_are_one_witness():
    rng = np.random.default_rng(5)
    A = rng.standard_normal((14, 3, 60))
    A[:6] = A[0] + 0.1 * rng.standard_normal((6, 3, 60))
    models = {
        f"m{i:02d}": {"q": (A[i], rng.standard_normal((20, 3)), 1.0)}
        for i in range(14)
    }
    (layer,) = compare(
        naive_fit(models), range(7), range(7, 14), OverlapSettings()
    )["layers"]
    assert layer["n_groups"] == [2, 7]
    assert layer["verdict"] == "too-few"


def test_directions_of_one_population_alone_are_not_common(directions):
    P, _ = directions
    layer, _ = word([(0.4, P)], [])
    assert layer["verdict"] in {"different", "undecided"}
    for way in ("a_to_b", "b_to_a"):
        assert layer[way]["effect"]["4"]["low"] < 0.02
    assert layer["overlap"]["value"]["4"] < 0.1


def test_the_other_way_round_is_the_mirror_image(directions):
    P, Q = directions
    rng = np.random.default_rng(6)
    maps = np.concatenate(
        [planted(rng, 10, [(0.4, P)]), planted(rng, 14, [(0.2, P), (0.2, Q)])]
    )
    fit, a, b = fit_of(maps), range(10), range(10, 24)
    (one,) = compare(fit, a, b, OverlapSettings())["layers"]
    (other,) = compare(fit, b, a, OverlapSettings())["layers"]
    assert_same(one["overlap"]["cosines"], other["overlap"]["cosines"])
    for way, turned in (("a_to_b", "b_to_a"), ("b_to_a", "a_to_b")):
        for key in ("captured", "captured_random", "captured_secondary"):
            assert_same(one[way][key], other[turned][key])
        for k in ("1", "4"):
            assert_same(one[way]["effect"][k], other[turned]["effect"][k])
    assert_allclose(
        one["output_side"]["within"], other["output_side"]["within"][::-1]
    )
    assert one["verdict"] == other["verdict"]
    # Of other divisions, for the parts have other sizes.
    assert_allclose(one["p"], other["p"], atol=0.1)


def test_a_draw_is_one_division_in_all_layers(directions):
    """A layer that says the same again takes nothing from p."""
    maps = planted(np.random.default_rng(7), 16, [(0.3, directions[0])])
    alone, twice = (
        compare(fit_of(*layers), range(8), range(8, 16), OverlapSettings())
        for layers in ((maps,), (maps, maps))
    )
    assert [layer["p"] for layer in twice["layers"]] == [
        alone["layers"][0]["p"]
    ] * 2


def test_every_key_is_explained_and_every_explained_key_is_there(directions):
    _, document = word([(0.4, directions[0])], [], n=6)
    said, in_layer = document_of(
        fit_of(planted(np.random.default_rng(13), 12, [])), named(6, 6)
    )
    page = text_of("compare.md")
    keys = {
        key
        for key in keys_of([document, {"populations": [said, in_layer]}])
        if not key.endswith("_reason")
    }
    assert keys - words_in_code_type(page) == set()
    assert first_cells(page) - keys - MEANINGS.keys() == set()
    assert [word for word in MEANINGS if f"`{word}`" not in page] == []


# The populations that groups name.


def pairs_in(fit, groups, **settings):
    chosen = OverlapSettings(groups=groups, **settings)
    relations = relate(fit.layers, len(fit.models), start_thresholds(chosen))
    return pairs_of(fit.models, relations, chosen), chosen


def document_of(fit, groups, **settings):
    pairs, chosen = pairs_in(fit, groups, **settings)
    found = [between(layer, pairs, chosen) for layer in fit.layers]
    names = [layer.name for layer in fit.layers]
    return pairs_document(pairs, names, found, chosen)


def named(*sizes):
    """Return a group for each member: g0 for the first few, and so on."""
    groups = np.repeat(np.arange(len(sizes)), sizes)
    return {f"m{i:03d}": f"g{group}" for i, group in enumerate(groups)}


def test_groups_of_a_run_are_compared_as_two_runs_are(directions):
    P, Q = directions
    rng = np.random.default_rng(8)
    layers = [
        np.concatenate([
            planted(rng, 11, [(0.5, P)]), planted(rng, 12, [(0.5, x)]),
            planted(rng, 13, [(0.5, Q)]),
        ])
        for x in (P, Q)
    ]  # fmt: skip
    fit = fit_of(*layers)
    said, in_layer = document_of(fit, named(11, 12, 13))
    parts = {"g0": range(11), "g1": range(11, 23), "g2": range(23, 36)}
    for place, (x, y) in enumerate(combinations(parts, 2)):
        alone = compare(
            fit, parts[x], parts[y], OverlapSettings(), names=(x, y)
        )
        pair = said["pairs"][place]
        assert pair.pop("verdict") == alone["verdict"]
        assert pair == alone["populations"]
        for own, layer in zip(in_layer, alone["layers"], strict=True):
            of_pair = own[place]
            assert of_pair.pop("names") == [x, y]
            assert of_pair.items() <= layer.items()
    words = [[pair["verdict"] for pair in layer] for layer in in_layer]
    assert words == [
        ["common", "different", "different"],
        ["different", "different", "common"],
    ]
    assert said["left_out"] == []


def test_the_four_with_most_witnesses_are_compared():
    rng = np.random.default_rng(9)
    maps = rng.standard_normal((44, 8, 20))
    # Nine members of g1 are five witnesses.
    maps[7:11] = maps[6] + 0.1 * rng.standard_normal((4, 8, 20))
    pairs, _ = pairs_in(fit_of(maps), named(6, 9, 7, 8, 4, 10))
    kept = [pair.names for pair in pairs.pairs]
    assert kept == list(combinations(("g0", "g2", "g3", "g5"), 2))
    assert pairs.left_out == ("g1", "g4")
    first = pairs.pairs[0]
    assert first.members(0) == tuple(range(6))
    assert first.members(1) == tuple(range(15, 22))
    # Five are enough.
    assert len(pairs_in(fit_of(maps[-10:]), named(5, 5))[0].pairs) == 1


def test_who_has_no_layer_needs_no_group():
    fit = fit_of(np.random.default_rng(14).standard_normal((12, 5, 9)))
    more = replace(
        fit, models=(*fit.models, replace(fit.models[0], id="left out"))
    )
    pairs, _ = pairs_in(more, named(6, 6))
    assert [pair.names for pair in pairs.pairs] == [("g0", "g1")]


@pytest.mark.parametrize("sizes", [(12,), (8, 4), (1,) * 12])
def test_where_there_are_no_two_populations_it_is_said(sizes):
    rng = np.random.default_rng(10)
    fit = fit_of(rng.standard_normal((12, 5, 9)))
    said, in_layer = document_of(fit, named(*sizes))
    assert said["pairs"] is None
    assert "5 independent members" in said["pairs_reason"]
    assert said["left_out"] == sorted({f"g{i}" for i in range(len(sizes))})
    assert in_layer == [[]]


def test_a_member_that_a_layer_lacks_is_not_missed(directions):
    rng = np.random.default_rng(11)
    full, part = planted(rng, 12, []), planted(rng, 6, [])
    said, in_layer = document_of(fit_of(full, part), named(6, 6))
    (first,), (second,) = in_layer
    assert first["n_models"] == [6, 6]
    assert second["n_models"] == [6, 0]
    assert second["verdict"] == "too-few"
    json.dumps(said, allow_nan=False)
    for layer in in_layer:
        assert_reasons(layer)


def test_the_order_of_members_changes_nothing(directions):
    maps = planted(np.random.default_rng(12), 18, [(0.3, directions[0])])
    groups, base = named(8, 10), {"layer": np.zeros((20, 20))}
    models = {name: {"layer": x} for name, x in zip(groups, maps, strict=True)}
    order = np.random.default_rng(0).permutation(list(groups))
    turned = {name: models[name] for name in order}
    (one,), (other,) = (
        document_of(naive_fit(each, base=base), groups)[1][0]
        for each in (models, turned)
    )
    assert one["names"] == other["names"]
    keys = ("overlap", "a_to_b", "b_to_a", "means", "output_side")
    for key in keys:
        assert_same(one[key], other[key])
    assert one["p"] == other["p"]
