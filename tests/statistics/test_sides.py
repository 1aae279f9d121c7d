import dataclasses

import numpy as np
from numpy.testing import assert_allclose

from spectra.statistics.sides.findings import side_document
from spectra.statistics.sides.pairs import pair_overlap
from spectra.statistics.sides.side import Side
from tests.reference.naive import naive_fit
from tests.statistics.planted import fit_of, strong

LEVELS = (1, 4, 16)


def adapters(rng, n, rank, shared, shape=(24, 60)):
    """Return adapters of equal singular values; some have one common A."""
    common = np.linalg.qr(rng.standard_normal((shape[1], rank)))[0].T
    models = {}
    for i in range(n):
        A = np.linalg.qr(rng.standard_normal((shape[1], rank)))[0].T
        B = np.linalg.qr(rng.standard_normal((shape[0], rank)))[0]
        models[f"m{i}"] = {"l": (common if i < shared else A, B, 1.0)}
    return naive_fit(models)


def document(layer, side="input", **changes):
    fit = dataclasses.replace(getattr(layer, side), **changes)
    layer = dataclasses.replace(layer, **{side: fit})
    order = tuple(range(len(layer.members)))
    return side_document(Side(layer, side, order), levels=LEVELS)


def test_evr_is_the_uncentred_share_of_the_exact_trace():
    maps = strong(np.random.default_rng(0), 5, (7, 9)) + 0.05
    layer = fit_of(maps).layers[0]
    s = np.linalg.svd(np.hstack(list(maps)), compute_uv=False) ** 2
    found = document(layer, "output")
    assert_allclose(found["evr"]["1"], s[0] / s.sum())
    assert_allclose(found["evr"]["4"], s[:4].sum() / s.sum())
    assert found["evr"]["16"] is None
    assert "7 directions of 7" in found["evr_reason"]


def test_a_shared_factor_shows_as_the_mixture_law_says():
    rng = np.random.default_rng(1)
    for shared in (20, 40, 60):
        layer = adapters(rng, 80, 4, shared).layers[0]
        share = shared / 80
        found = document(layer)["evr"]["4"]
        assert_allclose(found, share + (1 - share) * 4 / 60, atol=0.02)
    # No such thing on the side that nobody shares.
    assert document(layer, "output")["evr"]["4"] < 0.3


def test_pair_overlap_is_one_for_equal_and_chance_for_random_spaces():
    rng = np.random.default_rng(2)
    layer = adapters(rng, 40, 4, 0).layers[0]
    found = document(layer)
    assert_allclose(found["overlap_mean"], 4 / 60, rtol=0.05)
    assert_allclose(found["overlap_null"], 4 / 60)
    same = adapters(rng, 10, 4, 10).layers[0]
    assert_allclose(document(same)["overlap_mean"], 1.0)
    assert_allclose(
        document(same)["projector_mean"][:5], [1, 1, 1, 1, 0], atol=1e-9
    )


def test_pairs_of_unequal_ranks_are_counted_by_hand():
    overlap = np.array([[2, 0.5, 0.0], [0.5, 3, 0.0], [0.0, 0.0, 0.0]])
    found = pair_overlap(overlap, np.array([2, 3, 0]), 10)
    assert_allclose(found, (0.5 / 2, 3 / 10))
    assert pair_overlap(np.zeros((2, 2)), np.array([3, 0]), 10) is None


def test_what_is_not_known_has_its_reason():
    layer = adapters(np.random.default_rng(0), 3, 2, 0).layers[0]
    some = document(layer, eigenvalues=layer.output.eigenvalues[:2])
    assert some["evr"]["1"] is not None
    assert some["evr"]["4"] is None
    assert "2 directions of" in some["evr_reason"]
    empty = dataclasses.replace(layer, ranks=np.zeros(3, int))
    found = document(empty, eigenvalues=np.zeros(24), trace=0.0)
    assert found["evr"]["1"] is None
    assert found["evr_reason"] == "every member is zero"
    assert found["overlap_mean"] is None
    assert "no two members" in found["overlap_null_reason"]
    assert found["verdict"] is None
    assert found["verdict_reason"] == "null not run"
    assert found["null"] == {}
