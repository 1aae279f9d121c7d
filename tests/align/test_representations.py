"""Each metric against its definition, other libraries, and what it ignores."""

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy.stats import ortho_group
from sklearn.cross_decomposition import CCA

from spectra.align.representations import kernels, linear, neighbours
from spectra.align.representations.asked import Asked
from spectra.align.representations.metrics import METRICS, metrics_named
from spectra.align.representations.neighbours import nearest, unit_rows
from spectra.align.representations.relative import (
    Directions,
    directions,
    relative,
)
from spectra.core.errors import UsageError
from tests.reference.alignment import NAIVE, naive_cknna, naive_neighbours

BY_NAME = {metric.name: metric for metric in METRICS}
NAMES = list(BY_NAME)
K = 4


def features(seed=0, n=60, widths=(12, 15), common=4):
    """Return features of the same items that have some directions alike."""
    rng = np.random.default_rng(seed)
    z = rng.standard_normal((n, common))
    return [
        z @ rng.standard_normal((common, d)) + rng.standard_normal((n, d)) + 1
        for d in widths
    ]


def compared(name, X, Y, order=None, k=K):
    metric = BY_NAME[name]
    a, b = (metric.prepare(Z, Asked(k=k)) for Z in (X, Y))
    return metric.compare(a, b)(np.arange(len(X)) if order is None else order)


@pytest.mark.parametrize("name", NAIVE)
@pytest.mark.parametrize("widths", [(12, 15), (15, 12), (7, 7)])
def test_a_metric_is_what_its_definition_says(name, widths):
    X, Y = features(1, widths=widths)
    assert_allclose(
        compared(name, X, Y), NAIVE[name](X, Y, K), rtol=1e-6, atol=1e-12
    )


@pytest.mark.parametrize("name", [n for n in NAIVE if n != "pwcca"])
def test_of_more_columns_than_items_too(name):
    X, Y = features(2, n=25, widths=(40, 31))
    assert_allclose(compared(name, X, Y), NAIVE[name](X, Y, K), rtol=1e-6)


def test_every_metric_has_a_definition_here():
    assert set(NAIVE) | {"relative"} == set(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_a_permutation_is_that_of_the_features(name):
    """The null measures nothing anew, and gives what that would."""
    X, Y = features(3)
    order = np.random.default_rng(0).permutation(len(X))
    assert_allclose(
        compared(name, X, Y, order), compared(name, X, Y[order]), rtol=1e-5
    )
    assert abs(compared(name, X, Y, order) - compared(name, X, Y)) > 1e-3


@pytest.mark.parametrize("name", NAMES)
def test_a_representation_is_as_alike_to_itself_as_can_be(name):
    X, _ = features(4)
    if name == "cycle-knn":
        assert compared(name, X, X) == NAIVE[name](X, X, K)
    elif name == "lcs-knn":
        assert compared(name, X, X) == K
    else:
        assert_allclose(compared(name, X, X), 1, rtol=1e-6)


@pytest.mark.parametrize(
    "name", [n for n in NAMES if n not in ("rsa", "svcca")]
)
@pytest.mark.parametrize("seed", range(3))
def test_rotations_and_scales_change_nothing(name, seed):
    """But for what correlates columns, or scales them."""
    X, Y = features(seed)
    rng = np.random.default_rng(seed)
    Q = ortho_group.rvs(Y.shape[1], random_state=rng)
    assert_allclose(
        compared(name, X, rng.uniform(0.1, 10) * Y @ Q),
        compared(name, X, Y),
        rtol=1e-6,
    )


@pytest.mark.parametrize(
    "name",
    ["cka", "cka-debiased", "cka-rbf", "cka-rbf-debiased", "procrustes",
     "svcca", "pwcca"],
)  # fmt: skip
def test_where_the_origin_is_changes_nothing(name):
    X, Y = features(5)
    assert_allclose(
        compared(name, X + 3, Y - 2), compared(name, X, Y), rtol=1e-6
    )


def test_pwcca_of_any_linear_map_of_b():
    X, Y = features(6)
    M = np.random.default_rng(0).standard_normal((15, 15))
    assert_allclose(
        compared("pwcca", X, Y @ M), compared("pwcca", X, Y), rtol=1e-6
    )


@pytest.mark.parametrize("name", NAMES)
def test_what_is_said_to_be_directed_is(name):
    X, Y = features(7)
    there, back = compared(name, X, Y), compared(name, Y, X)
    is_same = np.isclose(there, back, rtol=1e-6)
    assert is_same != BY_NAME[name].is_directed


@pytest.mark.parametrize("name", NAMES)
def test_single_precision_is_near(name):
    X, Y = features(8)
    low = compared(name, X.astype(np.float32), Y.astype(np.float32))
    assert_allclose(low, compared(name, X, Y), rtol=1e-4, atol=1e-5)


# What other code says. The numbers of the released code of Huh et al. 2024
# (github.com/minyoungg/platonic-rep, metrics.py) on `platonic()`, k = 5, rows
# of unit length for the metrics of neighbours as its measure_alignment.py
# has it. Its SVCCA finds directions with random numbers, .515 to .533 here;
# the number is the one with NumPy's svd in place of them.

RELEASED = {
    "mutual-knn": 0.30333333,
    "cycle-knn": 0.66666667,
    "lcs-knn": 1.11666667,
    "edit-knn": 0.06666667,
    "cka": 0.65523187,
    "cka-debiased": 0.62191630,
    "svcca": 0.53075752,
}


def platonic():
    rng = np.random.default_rng(20240513)
    z = rng.standard_normal((60, 4))
    A = z @ rng.standard_normal((4, 12)) + rng.standard_normal((60, 12))
    B = z @ rng.standard_normal((4, 15)) + rng.standard_normal((60, 15))
    return [(X - X.mean(0)) / X.std(0, ddof=1) for X in (A, B)]


@pytest.mark.parametrize("name", RELEASED)
def test_the_released_code_says_the_same(name):
    found = compared(name, *platonic(), k=5)
    assert_allclose(found, RELEASED[name], rtol=3e-7)


def test_but_for_what_keeps_it_from_dividing_by_zero():
    """It adds 1e-6 to what it divides by, which of CKNNA shows."""
    X, Y = platonic()
    for (a, b), said in (((X, Y), 0.26712911), ((Y, X), 0.26627391)):
        assert_allclose(naive_cknna(a, b, 5, guard=1e-6), said, rtol=1e-7)
        assert_allclose(
            compared("cknna", a, b, k=5), naive_cknna(a, b, 5), rtol=1e-9
        )
        assert_allclose(compared("cknna", a, b, k=5), said, rtol=1e-4)


def test_svcca_is_of_columns_of_any_length():
    """In both precisions; a column without spread counts for none."""
    X, Y = features(9)
    scaled = X * np.random.default_rng(0).uniform(0.01, 100, 12) + 7
    constant = np.column_stack([scaled, np.full(len(X), 0.1)])
    for dtype, rtol in ((np.float64, 1e-9), (np.float32, 1e-3)):
        for other in (scaled, constant):
            assert_allclose(
                compared("svcca", other.astype(dtype), Y.astype(dtype)),
                compared("svcca", X, Y),
                rtol=rtol,
            )


def test_canonical_correlations_are_those_of_scikit_learn():
    """Its iteration stops early: a few digits are the same."""
    X, Y = features(9, widths=(10, 10))
    X, Y = X / X.std(axis=0), Y / Y.std(axis=0)
    cca = CCA(10, max_iter=10_000, tol=1e-12).fit(X, Y)
    pairs = zip(*(Z.T for Z in cca.transform(X, Y)), strict=True)
    mean = np.mean([np.corrcoef(x, y)[0, 1] for x, y in pairs])
    assert_allclose(compared("svcca", X, Y), mean, rtol=1e-6)


def test_relative_representations_by_hand():
    """With the anchors 1, 4 and 0, the others one by one."""
    X, Y = features(10, n=7)
    anchors, others = np.array([1, 4, 0]), np.array([2, 3, 5, 6])

    def cosine(a, b):
        return np.dot(a, b) / np.linalg.norm(a) / np.linalg.norm(b)

    by_item = [
        cosine(*([cosine(Z[i], Z[j]) for j in anchors] for Z in (X, Y)))
        for i in others
    ]
    a, b = (Directions(unit_rows(Z), anchors, others) for Z in (X, Y))
    found = relative(a, b)(np.arange(7))
    assert_allclose(found, np.mean(by_item), rtol=1e-12)


def test_anchors_are_at_most_half_of_the_items():
    for n, many in ((9, 4), (512, 256), (600, 256)):
        drawn = directions(np.ones((n, 2)), Asked(seed=1))
        assert len(drawn.anchors) == many
        every = np.sort(np.concatenate([drawn.anchors, drawn.others]))
        assert_array_equal(every, np.arange(n))
    other = directions(np.ones((600, 2)), Asked(seed=2))
    assert set(other.anchors) != set(drawn.anchors)


# Neighbours of many items, in blocks and runs.


@pytest.mark.parametrize("n", [2049, 2500, 3001])
@pytest.mark.parametrize("k", [1, 10, 700])
def test_neighbours_are_those_of_scikit_learn(monkeypatch, n, k):
    monkeypatch.setattr(neighbours, "_BLOCK", 700 * n)
    X = np.random.default_rng(n).standard_normal((n, 6))
    assert_array_equal(nearest(X, k).items, naive_neighbours(X, k))


def test_all_others_can_be_neighbours():
    X, _ = features(11, n=20)
    found = np.sort(nearest(X, 19).items, axis=1)
    wanted = [[j for j in range(20) if j != i] for i in range(20)]
    assert_array_equal(found, wanted)


def test_of_equals_the_first_are_nearest():
    """Rows of three kinds: those of an item's own, then all others."""
    n = 300
    X = np.eye(3)[np.arange(n) % 3]
    found = nearest(X, n - 1).items
    for i in range(n):
        others = [j for j in range(n) if j != i]
        own = [j for j in others if j % 3 == i % 3]
        rest = [j for j in others if j % 3 != i % 3]
        assert_array_equal(found[i], own + rest)


def test_a_row_of_zeros_is_no_fault():
    X, _ = features(12)
    X[5] = 0
    found = nearest(X, K)
    assert np.isfinite(found.cosines).all()
    assert 5 not in found.items[5]


@pytest.mark.parametrize("name", ["cka-rbf", "cka-rbf-debiased"])
def test_a_kernel_that_is_not_held_is_the_same(monkeypatch, name):
    X, Y = features(13)
    order = np.random.default_rng(0).permutation(len(X))
    whole = compared(name, X, Y, order)
    monkeypatch.setattr(kernels, "_HELD", 0)
    monkeypatch.setattr(kernels, "_BLOCK", 7 * 60)
    assert_allclose(compared(name, X, Y, order), whole, rtol=1e-6)


def test_the_width_of_many_items_is_that_of_some(monkeypatch):
    X, _ = features(14)
    monkeypatch.setattr(kernels, "_SAMPLE", 20)
    some = kernels.rbf(X, Asked())
    monkeypatch.undo()
    assert_allclose(some.width, kernels.rbf(X[::3], Asked()).width, rtol=1e-12)


def test_covariances_are_summed_in_blocks(monkeypatch):
    X, Y = features(15)
    whole = compared("cka-debiased", X, Y)
    monkeypatch.setattr(linear, "_BLOCK", 7)
    assert_allclose(compared("cka-debiased", X, Y), whole, rtol=1e-10)


def test_metrics_by_name():
    names = [metric.name for metric in metrics_named(("rsa", "cka", "rsa"))]
    assert names == ["cka", "rsa"]
    default = [metric.name for metric in metrics_named(())]
    assert default == ["mutual-knn", "cka-debiased"]
    with pytest.raises(UsageError, match="no metric 'ckaa'") as caught:
        metrics_named(("ckaa",))
    assert caught.value.code == "E_METRIC"
