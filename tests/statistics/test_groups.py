"""Who belongs together, against a union-find written out."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given as for_all
from hypothesis import strategies as st
from numpy.testing import assert_allclose

from spectra.core.errors import UsageError
from spectra.core.settings import OverlapSettings
from spectra.statistics.kinship.groups import (
    effective_number,
    given,
    initialisation,
    lineage,
    start_thresholds,
)
from spectra.statistics.kinship.relations import relate, rows_of
from tests.reference.naive import naive_fit
from tests.statistics.planted import fit_of, strong

SETTINGS = OverlapSettings()


def related(fit, settings=SETTINGS):
    layers, n = fit.layers, len(fit.models)
    return relate(layers, n, start_thresholds(settings))


def parts(labels):
    """Return a partition as a set of sets of members."""
    return {
        frozenset(i for i, other in enumerate(labels) if other == label)
        for label in labels
        if label is not None
    }


def union_find(n, pairs):
    leader = list(range(n))
    for i, j in pairs:
        old, new = leader[i], leader[j]
        leader = [new if x == old else x for x in leader]
    return parts(leader)


def with_cosines(cosines):
    """Return maps (n, m, 1) of norm one with the cosines of a matrix."""
    values, vectors = np.linalg.eigh(cosines)
    return (vectors * np.sqrt(np.maximum(values, 0)))[:, :, None]


@for_all(st.integers(2, 9), st.integers(0, 999))
def test_lineage_joins_chains_of_pairs_above_the_threshold(n, seed):
    rng = np.random.default_rng(seed)
    maps = rng.standard_normal((n, 3, 1))
    X = maps[:, :, 0]
    X = X / np.linalg.norm(X, axis=1, keepdims=True)
    pairs = [(i, j) for i in range(n) for j in range(i) if X[i] @ X[j] > 0.5]
    found = lineage(related(fit_of(maps)), SETTINGS)
    assert parts(found.labels) == union_find(n, pairs)
    assert found.count == len(parts(found.labels))


def test_labels_count_up_by_first_appearance():
    maps = np.eye(4)[[2, 0, 2, 3, 0]][:, :, None] * [[[1.0]]]
    maps = maps * np.arange(1, 6)[:, None, None]
    found = lineage(related(fit_of(maps)), SETTINGS)
    assert found.labels == (0, 1, 0, 2, 1)
    assert found.sizes() == {0: 2, 1: 2, 2: 1}
    assert found.sizes(without={2: 0}) == {0: 1, 1: 2, 2: 1}


def test_opposite_updates_are_not_related():
    maps = np.stack([np.eye(3), -np.eye(3)])
    assert lineage(related(fit_of(maps)), SETTINGS).count == 2


@pytest.mark.parametrize(
    ("cosine", "kind", "count"),
    [(0.89, "dense", 2), (0.91, "dense", 1),
     (0.49, "difference", 2), (0.51, "difference", 1)],
)  # fmt: skip
def test_whole_weights_and_updates_have_thresholds_of_their_own(
    cosine, kind, count
):
    maps = with_cosines(np.array([[1, cosine], [cosine, 1]]))
    base = {"base": None} if kind == "dense" else {}
    fit = fit_of(maps, **base)
    assert fit.layers[0].kind == kind
    found = lineage(related(fit), SETTINGS)
    assert found.count == count
    assert found.threshold == (0.9 if kind == "dense" else 0.5)


def test_the_stable_range_is_where_the_partition_is_the_same():
    C = np.eye(5)
    for i, j, cosine in ((0, 1, 0.82), (2, 3, 0.33)):
        C[i, j] = C[j, i] = cosine
    found = lineage(related(fit_of(with_cosines(C))), SETTINGS)
    assert parts(found.labels) == union_find(5, [(0, 1)])
    assert found.stable == (0.35, 0.8)


def test_all_common_layers_count_by_their_energy():
    a, b = strong(np.random.default_rng(0), 2)
    strongly, weakly = np.stack([a, a + 0.1 * b]), np.stack([b, -b])
    together = fit_of(strongly, 0.3 * weakly)
    X = [
        np.r_[x.ravel(), 0.3 * y.ravel()]
        for x, y in zip(strongly, weakly, strict=True)
    ]
    expected = X[0] @ X[1] / np.linalg.norm(X[0]) / np.linalg.norm(X[1])
    assert_allclose(related(together).updates[0, 1], expected)
    assert lineage(related(together), SETTINGS).count == 1
    assert lineage(related(fit_of(strongly, 3 * weakly)), SETTINGS).count == 2


def test_only_layers_of_both_count():
    a, b = strong(np.random.default_rng(0), 2)
    models = {
        "m0": {"common": a, "first": 9 * b},
        "m1": {"common": a + 0.1 * b, "second": 9 * b},
        "m2": {"first": b, "second": a},
    }
    base = dict.fromkeys(("common", "first", "second"), np.zeros_like(a))
    found = related(naive_fit(models, base=base))
    assert found.updates[0, 1] > 0.99
    assert_allclose(found.updates[0, 2], 1.0)
    assert abs(found.updates[1, 2]) < 0.1
    energies = [np.sum(x**2) for x in (a, 9 * b)]
    assert_allclose(found.energies[0], sum(energies))


def test_members_without_a_common_layer_are_not_compared():
    a, b, c, d = strong(np.random.default_rng(0), 4)
    fit = naive_fit(
        {
            "m0": {"x": a},
            "m1": {"x": a + b},
            "m2": {"y": a},
            "m3": {"y": a - c},
            "m4": {"alone": d},
        }
    )
    relations = related(fit)
    assert np.isnan(relations.weights[0, 2])
    assert relations.has_layer.tolist() == [True] * 4 + [False]
    assert lineage(relations, SETTINGS).labels == (0, 1, 2, 3, None)


def adapters_of(starts, rng, layers=3):
    """Return adapters; `starts[layer][i]` is the start of member i there."""
    A = {}
    models = {f"m{i}": {} for i in range(len(starts[0]))}
    for layer in range(layers):
        for i, start in enumerate(starts[layer]):
            if (layer, start) not in A:
                A[layer, start] = rng.standard_normal((4, 30))
            moved = A[layer, start] + 0.2 * rng.standard_normal((4, 30))
            B = rng.standard_normal((20, 4))
            models[f"m{i}"][f"layer.{layer}"] = (moved, B, 2.0)
    return models


def test_one_start_is_found_behind_unrelated_updates():
    rng = np.random.default_rng(0)
    fit = naive_fit(adapters_of([[0, 0, 1, 2, 0, 3]] * 3, rng))
    relations = related(fit)
    found = initialisation(relations, SETTINGS)
    assert parts(found.labels) == union_find(6, [(0, 1), (1, 4)])
    assert found.stable == (0.15, 0.6)
    assert found.threshold == 0.3
    assert lineage(relations, SETTINGS).count == 6


def test_most_layers_must_say_that_a_start_is_shared():
    rng = np.random.default_rng(0)
    agree = [[0, 0, 1], [0, 0, 1], [0, 1, 1]]
    fit = naive_fit(adapters_of(agree, rng))
    assert initialisation(related(fit), SETTINGS).labels == (0, 0, 1)
    half = [[0, 0], [0, 0], [0, 1], [0, 1]]
    fit = naive_fit(adapters_of(half, rng, layers=4))
    assert initialisation(related(fit), SETTINGS).labels == (0, 1)


def test_factors_of_other_ranks_share_no_start():
    rng = np.random.default_rng(0)
    A, B = rng.standard_normal((4, 30)), rng.standard_normal((20, 4))
    models = {"m0": {"l": (A, B, 1.0)}, "m1": {"l": (A[:2], B[:, :2], 1.0)}}
    found = initialisation(related(naive_fit(models)), SETTINGS)
    assert found.labels == (0, 1)


def test_full_weights_have_no_initialisation_groups():
    fit = fit_of(strong(np.random.default_rng(0), 3))
    assert initialisation(related(fit), SETTINGS) is None


def test_a_threshold_off_the_grid_is_counted_too():
    settings = OverlapSettings(initialisation_threshold=0.97)
    fit = naive_fit(adapters_of([[0, 0, 1]] * 3, np.random.default_rng(0)))
    found = initialisation(related(fit, settings), settings)
    assert found.labels == (0, 1, 2)
    assert found.stable == (0.97, 0.97)


def test_copies_are_spoken_for_by_the_member_that_was_kept():
    a, b, c = strong(np.random.default_rng(0), 3)
    fit = naive_fit(
        {
            "m0": {"x": a, "y": b},
            "m1": {"x": a, "y": c},
            "m2": {"x": a, "y": b},
            "m3": {"x": 0 * a, "y": 0 * b},
            "m4": {"x": 0 * a, "y": 0 * b},
        }
    )
    assert rows_of(fit.layers[0]) == {0: 0, 3: 1, 1: 0, 2: 0, 4: 1}
    relations = related(fit)
    # m1 is a copy in one layer only; m2 and m4 are copies everywhere.
    assert relations.twins == {2: 0, 4: 3}
    assert_allclose(relations.weights[0, 2], 1.0)
    assert_allclose(relations.energies, [2, 2, 2, 0, 0])
    # Zeros have no direction, and yet a copy belongs to its twin.
    assert lineage(relations, SETTINGS).labels == (0, 1, 0, 2, 2)


def test_a_copy_of_two_different_members_is_no_duplicate():
    a, b, c = strong(np.random.default_rng(0), 3)
    fit = naive_fit(
        {
            "m0": {"x": a, "y": b},
            "m1": {"x": c, "y": a},
            "m2": {"x": a, "y": a},
        }
    )
    assert related(fit).twins == {}


def test_a_copy_of_a_member_that_was_set_aside_is_nobody():
    fit = fit_of(strong(np.random.default_rng(0), 3))
    layer = dataclasses.replace(fit.layers[0], duplicates=((4, 3),))
    assert rows_of(layer) == {0: 0, 1: 1, 2: 2}


def test_updates_decide_where_there_are_any():
    rng = np.random.default_rng(0)
    head = strong(rng, 1)[0]
    models = adapters_of([[0, 1, 2]] * 3, rng)
    for i, layers in enumerate(models.values()):
        layers["head"] = head + 1e-3 * i
    models["m3"] = {"head": head - 1e-3}
    found = lineage(related(naive_fit(models)), SETTINGS)
    # m3 has whole weights alone, and those are alike.
    assert len(set(found.labels)) == 1
    assert found.threshold is None
    assert "0.9" in found.reason
    del models["m3"]
    assert lineage(related(naive_fit(models)), SETTINGS).count == 3


def test_given_groups_replace_lineage_and_bind_copies():
    a, b = strong(np.random.default_rng(0), 2)
    fit = naive_fit({"m0": {"x": a}, "m1": {"x": b}, "m2": {"x": a}})
    groups = {"m0": "p", "m1": "p", "m2": "q", "other": "r"}
    found = given(groups, ["m0", "m1", "m2"], related(fit))
    assert found.labels == (0, 0, 0)
    with pytest.raises(UsageError, match=r"1 of 3 members.*m1") as raised:
        given({"m0": "p", "m2": "q"}, ["m0", "m1", "m2"], related(fit))
    assert raised.value.code == "E_GROUPS"


def test_members_without_a_layer_need_no_group():
    a, b, c = strong(np.random.default_rng(0), 3)
    fit = naive_fit({"m0": {"x": a}, "m1": {"x": b}, "m2": {"y": c}})
    found = given({"m0": "p", "m1": "q"}, ["m0", "m1", "m2"], related(fit))
    assert found.labels == (0, 1, None)


def test_the_effective_number_is_kishs_and_at_most_the_groups():
    shares = [{0: 0.5, 1: 0.25, 2: 0.25}, {0: 0.5, 1: 0.5}]
    w = np.array([1.0, 0.75, 0.25])
    assert_allclose(effective_number(shares, 9), w.sum() ** 2 / np.sum(w**2))
    assert effective_number([{0: 0.5, 1: 0.5}], 1) == 1.0
    assert effective_number([{}], 3) is None
