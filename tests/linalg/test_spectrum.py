"""All singular values of one matrix, against NumPy's, and their proof."""

import numpy as np
import pytest
import scipy.linalg

from spectra.linalg import solvers
from spectra.linalg.spectrum import CERTIFIED, of_gram, of_matrix
from tests.linalg.test_ladder import FAILURE
from tests.linalg.test_solvers import failing, matrix, spoilt

SHAPES = [(1, 1), (5, 1), (40, 7), (200, 33), (300, 300), (500, 129)]


def pieces(X, n=7):
    return np.array_split(X, n)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("rank", [None, 1])
def test_both_ways_give_numpys_values(shape, rank):
    X = matrix(*shape, rank=rank)
    exact = np.linalg.svd(X, compute_uv=False)
    whole, streamed = of_matrix(X), of_gram(pieces(X), shape[1])
    np.testing.assert_allclose(whole.s, exact, atol=1e-14 * exact[0])
    # What lies below 1e-8 of the largest is the root of rounding.
    np.testing.assert_allclose(streamed.s, exact, atol=2e-7 * exact[0])
    large = exact > 1e-3 * exact[0]
    np.testing.assert_allclose(streamed.s[large], exact[large], rtol=1e-9)
    for found in (whole, streamed):
        assert found.certificate.residual < 1e-13
        assert found.certificate.orthogonality < 1e-13
        k = min(CERTIFIED, shape[1])
        assert found.V.shape == (shape[1], k)
        if rank is None:
            np.testing.assert_allclose(
                np.linalg.norm(X @ found.V, axis=0), exact[:k], rtol=1e-9
            )
        known = exact > 1e-12 * exact[0]
        assert np.count_nonzero(found.s > found.floor) == known.sum()
    assert of_matrix(X.T).V.shape == (shape[1], min(CERTIFIED, shape[1]))


@pytest.mark.parametrize("scale", [2.0**-900, 2.0**-40, 2.0**900])
def test_the_whole_is_that_of_any_size(scale):
    X = matrix(30, 20)
    one, other = of_matrix(X), of_matrix(X * scale)
    np.testing.assert_array_equal(other.s, one.s * scale)
    assert other.certificate == one.certificate


def test_zeros_have_a_spectrum():
    for found in (of_matrix(np.zeros((9, 4))), of_gram([np.zeros((9, 4))], 4)):
        np.testing.assert_array_equal(found.s, np.zeros(4))
        assert found.certificate.residual == 0.0


@pytest.mark.parametrize("n", [1, 16, 31, 32, 33, 100, 700])
def test_all_values_and_a_few_vectors(n):
    X = matrix(n + 3, n)
    C = X.T @ X
    k = min(n, CERTIFIED)
    values, V = solvers.all_and_leading(C, k)
    exact = np.linalg.eigvalsh(C)
    np.testing.assert_allclose(values, exact, atol=1e-13 * exact[-1])
    assert V.shape == (n, k)
    np.testing.assert_allclose(
        C @ V, V * values[n - k :], atol=1e-12 * exact[-1]
    )
    np.testing.assert_allclose(V.T @ V, np.eye(k), atol=1e-12)


WRONG = {
    "ends": failing(FAILURE),
    "zeros": lambda honest: spoilt(honest, lambda *p: tuple(x * 0 for x in p)),
    "off": lambda honest: spoilt(
        honest, lambda w, V: (w * (1 + 1e-6), V * (1 + 1e-6))
    ),
}


@pytest.mark.parametrize("how", WRONG)
def test_what_is_wrong_is_decomposed_once_more(how, monkeypatch):
    C = matrix(90, 60)
    C = C.T @ C
    exact = np.linalg.eigvalsh(C)
    honest, wrong = scipy.linalg.eigh_tridiagonal, WRONG[how]

    def lie(d, e, **options):
        if how == "ends":
            return wrong()
        if options.get("eigvals_only"):
            return honest(d, e, **options) * (how != "zeros")
        return wrong(honest)(d, e, **options)

    monkeypatch.setattr(scipy.linalg, "eigh_tridiagonal", lie)
    values, V = solvers.all_and_leading(C, 5)
    np.testing.assert_allclose(values, exact, atol=1e-13 * exact[-1])
    np.testing.assert_allclose(C @ V, V * values[-5:], atol=1e-12 * exact[-1])
