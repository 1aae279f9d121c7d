"""LAPACK that fails, lies or cannot count: rows D2, D3, D4 of the faults."""

import re
from pathlib import Path

import numpy as np
import pytest
import scipy.linalg

from spectra.core.errors import Quarantine
from spectra.linalg import solvers
from spectra.linalg.gram import eigenpairs
from tests.linalg.test_solvers import (
    LIES,
    check,
    failing,
    longer,
    matrix,
    not_finite,
    problem,
    scaled,
    spoilt,
)

FAILURE = np.linalg.LinAlgError("SVD did not converge")


def zeros(*parts):
    """Return what MKL once did: nothing, and no error."""
    return tuple(part * 0 for part in parts)


def unsorted(*parts):
    """Return them in another order that gives the matrix back too."""
    first, *others = parts
    if first.ndim == 1:
        return first[::-1], others[0][:, ::-1]
    (s, last) = others if len(others) == 2 else (None, others[0])
    if s is None:  # Q and R have no order: something else.
        return first[:, ::-1], last
    return first[:, ::-1], s[::-1], last[::-1]


def short(*parts):
    """Return a direction that is another's, and not its own."""
    changed = tuple(part.copy() for part in parts)
    for part in changed:
        if part.ndim == 2:
            part[:, -1] = part[:, 0]
    return changed


WRONG = [zeros, not_finite, longer, scaled, unsorted, short]
KINDS = {"eigh": np.linalg, "qr": np.linalg, "svd": np.linalg}


def problems(name):
    """Return ordinary, defective and graded matrices."""
    graded = matrix(30, 12) * np.logspace(0, -14, 12)
    found = [problem(name), problem(name, rank=1), problem(name, m=1, n=1),
             problem(name, dtype="float32")]  # fmt: skip
    return [*found, graded.T @ graded if name == "eigh" else graded]


@pytest.mark.parametrize("name", KINDS)
def test_d2_what_does_not_converge_is_done_by_the_next(name, monkeypatch):
    matrices = problems(name)
    with monkeypatch.context() as patch:
        patch.setattr(np.linalg, name, failing(FAILURE))
        found = [getattr(solvers, name)(A) for A in matrices]
    for A, parts in zip(matrices, found, strict=True):
        check(name, A, parts)


@pytest.mark.parametrize("wrong", WRONG)
@pytest.mark.parametrize("name", KINDS)
def test_d3_what_is_wrong_is_done_by_the_next(name, wrong, monkeypatch):
    honest = getattr(np.linalg, name)
    asked = []

    def counted(*args, **options):
        asked.append(args)
        return wrong(*map(np.asarray, honest(*args, **options)))

    matrices = [problem(name), problem(name, dtype="float32")]
    with monkeypatch.context() as patch:
        patch.setattr(np.linalg, name, counted)
        found = [getattr(solvers, name)(A) for A in matrices]
    assert len(asked) == 2
    for A, parts in zip(matrices, found, strict=True):
        check(name, A, parts)


def rotated(A, U, s, Vh):
    """Return unit vectors with the right products that are not orthogonal."""
    V = np.linalg.qr(matrix(*Vh.shape))[0].T @ Vh
    U = A @ V.T
    s = np.linalg.norm(U, axis=0)
    order = np.argsort(-s)
    return (U / s)[:, order], s[order], V[order]


def beside(A, U, s, Vh):
    """Return right vectors that are longer by what A makes zero of."""
    return U, s, Vh + np.linalg.svd(A)[2][-1:]


def negative(A, U, s, Vh):
    return U, -s[::-1], -Vh


@pytest.mark.parametrize(
    ("shape", "lie"),
    [((20, 6), rotated), ((6, 20), rotated), ((6, 20), beside),
     ((1, 1), negative), ((9, 1), negative)],
)  # fmt: skip
def test_d3_triplets_that_are_nearly_right(shape, lie, monkeypatch):
    A = matrix(*shape)
    wrong = lie(A, *np.linalg.svd(A, full_matrices=False))
    with monkeypatch.context() as patch:
        patch.setattr(np.linalg, "svd", lambda *args, **options: wrong)
        found = solvers.svd(A)
    check("svd", A, found)


@pytest.mark.parametrize("name", LIES)
def test_d3_what_is_right_is_asked_for_once(name, monkeypatch):
    """Of matrices with zeros, repeated values and graded columns too."""
    error = AssertionError("decomposed again")
    with monkeypatch.context() as patch:
        for driver in ("eigh", "svd", "qr"):
            patch.setattr(scipy.linalg, driver, failing(error))
        for A in (*problems(name), np.eye(9), np.zeros((5, 5)),
                  np.full((8, 8), 3.0), np.diag([1e-300, 1e-310, 0]),
                  1e160 * problem(name), 1e-160 * problem(name)):  # fmt: skip
            getattr(solvers, name)(A)


def by_gram(monkeypatch, A):
    with monkeypatch.context() as patch:
        for where in (np.linalg, scipy.linalg):
            patch.setattr(where, "svd", failing(FAILURE))
        return solvers.svd(A)


@pytest.mark.parametrize("n", [1, 2, 40])
def test_d2_gram_is_the_last_of_singular_values(n, monkeypatch):
    """In float64, by a power of two: exact, where that is possible."""
    for shape in ((50, n), (n, 50), (n, n)):
        Q = [np.linalg.qr(matrix(d, d))[0][:, : min(shape)] for d in shape]
        s = np.linspace(1, 0.01, min(shape))
        A = (Q[0] * s) @ Q[1].T
        for scale in (1.0, 2.0**-600, 2.0**600):
            U, found, Vh = by_gram(monkeypatch, A * scale)
            check("svd", A, (U, found / scale, Vh))
        # What is zero up to rounding may be part of it.
        s[s < 0.5] = 0
        A = (Q[0] * s) @ Q[1].T
        check("svd", A, by_gram(monkeypatch, A))


def test_d2_what_gram_cannot_tell_is_no_answer(monkeypatch):
    Q = np.linalg.qr(matrix(7, 7))[0]
    with pytest.raises(Quarantine) as caught:
        by_gram(monkeypatch, Q * np.logspace(0, -6, 7) @ Q.T)
    assert caught.value.code == "NO_CONVERGENCE"


@pytest.mark.parametrize("how", [failing(FAILURE), None], ids=["ends", "lies"])
@pytest.mark.parametrize("name", [*KINDS, "eigvalsh", "svdvals"])
def test_d2_nothing_is_returned_without_proof(name, how, monkeypatch):
    A = problem("eigh" if name.startswith("eig") else name)
    for where in (np.linalg, scipy.linalg):
        for each in ("eigh", "eigvalsh", "svd", "svdvals", "qr"):
            honest = getattr(where, each)
            wrong = how or spoilt_by_zeros(honest)
            monkeypatch.setattr(where, each, wrong)
    with pytest.raises(Quarantine, match="NO_CONVERGENCE"):
        getattr(solvers, name)(A)


def spoilt_by_zeros(honest):
    def solve(*args, **options):
        found = honest(*args, **options)
        if isinstance(found, tuple):
            return zeros(*found)
        return found * 0

    return solve


@pytest.mark.parametrize("driver", ["ev", "evr", "evx"])
def test_d2_each_driver_of_eigenpairs_is_tried(driver, monkeypatch):
    honest = scipy.linalg.eigh

    def only(C, **options):
        if options["driver"] != driver:
            raise FAILURE
        return honest(C, **options)

    C = problem("eigh")
    with monkeypatch.context() as patch:
        patch.setattr(scipy.linalg, "eigh", only)
        for name in ("eigh", "eigvalsh"):
            patch.setattr(np.linalg, name, failing(FAILURE))
        pairs, values = solvers.eigh(C), solvers.eigvalsh(C)
    check("eigh", C, pairs)
    np.testing.assert_allclose(values, pairs[0], atol=1e-12 * pairs[0][-1])


@pytest.mark.parametrize("wrong", [zeros, not_finite, scaled, None])
def test_d2_the_leading_ones_fall_back_on_all(wrong, monkeypatch):
    C = problem("eigh", 60, 40)
    exact = np.linalg.eigvalsh(C)[::-1]
    honest = scipy.linalg.eigh
    how = failing(FAILURE) if wrong is None else spoilt(honest, wrong)
    monkeypatch.setattr(scipy.linalg, "eigh", how)
    values, vectors = eigenpairs(C, 5)
    np.testing.assert_allclose(values, exact[:5], rtol=1e-12)
    np.testing.assert_allclose(C @ vectors, vectors * values, atol=1e-11)


def test_d3_of_a_stack_only_what_is_wrong_is_done_again(monkeypatch):
    A = matrix(6, 30).reshape(6, 5, 6)
    C, honest = A @ A.transpose(0, 2, 1), np.linalg.eigh
    exact, sizes = honest(C), []

    def solve(C):
        sizes.append(C.shape)
        values, V = honest(C)
        if C.ndim > 2:
            V[3] = 0
        return values, V

    monkeypatch.setattr(np.linalg, "eigh", solve)
    values, V = solvers.eigh(C)
    assert sizes == [(6, 5, 5), *[(5, 5)] * 6]
    np.testing.assert_array_equal(values, exact[0])
    np.testing.assert_array_equal(V, exact[1])


@pytest.mark.parametrize("name", ["svd", "svdvals", "qr"])
def test_d3_stacks_are_proven_and_mended(name, monkeypatch):
    """One of five is wrong: the others are what they were, and it is right."""
    A, honest = matrix(5, 8 * 3).reshape(5, 8, 3), getattr(np.linalg, name)
    exact = honest(A) if name != "svd" else honest(A, full_matrices=False)
    exact = exact if isinstance(exact, tuple) else (exact,)

    def solve(A, **options):
        found = honest(A, **options)
        parts = found if isinstance(found, tuple) else (found,)
        if A.ndim > 2:
            parts[-1][3] = 0
        return found

    monkeypatch.setattr(np.linalg, name, solve)
    found = getattr(solvers, name)(A)
    found = found if isinstance(found, tuple) else (found,)
    for part, expected in zip(found, exact, strict=True):
        np.testing.assert_allclose(part, expected, atol=1e-14)


@pytest.mark.parametrize("wrong", [zeros, scaled, not_finite, None])
def test_d3_a_solution_that_is_none_is_found_by_the_next(wrong, monkeypatch):
    A, b, honest = matrix(9, 9), matrix(9, 1)[:, 0], np.linalg.solve

    def lie(A, b):
        if wrong is None:
            raise FAILURE
        return honest(A, b) * (1 + 1e-6) if wrong is scaled else (
            wrong(honest(A, b))[0])  # fmt: skip

    monkeypatch.setattr(np.linalg, "solve", lie)
    np.testing.assert_allclose(A @ solvers.solve(A, b), b, atol=1e-12)
    monkeypatch.setattr(scipy.linalg, "solve", failing(FAILURE))
    np.testing.assert_allclose(A @ solvers.solve(A, b), b, atol=1e-12)
    monkeypatch.setattr(scipy.linalg, "lstsq", failing(FAILURE))
    with pytest.raises(Quarantine, match="no solve of a 9 x 9 matrix"):
        solvers.solve(A, b)


def test_d3_of_nothing_there_are_factors():
    Q, R = solvers.qr(np.zeros((0, 0)))
    assert (Q.shape, R.shape) == ((0, 0), (0, 0))
    values, V = solvers.eigh(np.zeros((0, 0)))
    assert (values.shape, V.shape) == ((0,), (0, 0))


def test_d3_nobody_else_asks_lapack():
    """What is decomposed elsewhere would have no proof."""
    asks = re.compile(
        r"linalg\.(eig|svd|qr|solve|lstsq|inv|pinv|chol)\w*\(|LinAlgError"
    )
    root = Path(solvers.__file__).parents[1]
    found = {
        str(path.relative_to(root))
        for path in root.rglob("*.py")
        if asks.search(path.read_text("utf-8"))
    }
    # The first asks whether there is a device that can.
    assert found == {"backend/probe.py", "linalg/solvers.py"}


def test_d3_matrices_that_are_symmetric_up_to_something_larger():
    """LAPACK reads one triangle; the other is what cancellation left."""
    G = np.full((30, 30), 1e8) + problem("eigh", 40, 30) * 1e-9
    G = G - G.mean(axis=0)
    C = G - G.mean(axis=1)[:, None]
    assert np.abs(C - C.T).max() > 1e-3 * np.abs(C).max()
    values, V = solvers.eigh(C)
    expected, vectors = np.linalg.eigh(C)
    np.testing.assert_array_equal(values, expected)
    np.testing.assert_array_equal(V, vectors)
    np.testing.assert_array_equal(solvers.eigvalsh(C), np.linalg.eigvalsh(C))


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("name", [*KINDS, "eigvalsh", "svdvals"])
def test_d1_what_is_not_finite_never_reaches_lapack(name, bad, monkeypatch):
    error = AssertionError("asked all the same")
    for where in (np.linalg, scipy.linalg):
        for each in ("eigh", "eigvalsh", "svd", "svdvals", "qr"):
            monkeypatch.setattr(where, each, failing(error))
    A = np.eye(5)
    A[1, 2] = A[2, 1] = bad
    with pytest.raises(Quarantine, match="infinities or NaN"):
        getattr(solvers, name)(A)


SIDES = [(1, 1, True), (46_340, 46_340, True), (46_341, 46_340, True),
         (46_341, 46_341, False), (2**31 - 1, 1, False), (2**25, 64, False),
         (2**24, 64, True), (1, 2**26, False)]  # fmt: skip


@pytest.mark.parametrize(("m", "n", "fits"), SIDES)
def test_d4_scipys_lapack_counts_in_32_bits(m, n, fits):
    assert solvers.fits_32_bits(m, n) is fits
    assert solvers.fits_32_bits(n, m) is fits


def test_d4_what_does_not_fit_is_not_given_to_scipy(monkeypatch):
    monkeypatch.setattr(solvers, "fits_32_bits", lambda m, n: False)
    error = AssertionError("asked all the same")
    for each in ("eigh", "svd", "qr"):
        monkeypatch.setattr(scipy.linalg, each, failing(error))
    C = problem("eigh", 60, 40)
    values, _ = eigenpairs(C, 5)
    np.testing.assert_allclose(values, np.linalg.eigvalsh(C)[:-6:-1])
    monkeypatch.setattr(np.linalg, "svd", failing(FAILURE))
    with pytest.raises(Quarantine, match="NO_CONVERGENCE"):
        solvers.svd(C)


@pytest.mark.parametrize("peak", [5e-324, 1e-310, 1e-200, 0.5, 1.0, 65504.0,
                                  1e200, np.finfo(float).max])  # fmt: skip
def test_d5_scaling_is_exact(peak):
    A = np.array([[peak, -peak / 2], [0.0, peak / 4]])
    scale = solvers.power_of_two(A)
    assert np.frexp(scale)[0] == 0.5, "a power of two"
    assert 2.0**-52 <= peak * scale < 1
    np.testing.assert_array_equal(A * scale / scale, A)


@pytest.mark.parametrize("scale", [2.0**-1000, 2.0**-600, 2.0**600, 2.0**900])
@pytest.mark.parametrize("name", KINDS)
def test_d5_decompositions_of_any_size_have_their_proof(
    name, scale, monkeypatch
):
    A = problem(name)
    expected = [np.asarray(part) for part in getattr(np.linalg, name)(
        A, **({"full_matrices": False} if name == "svd" else {}))]  # fmt: skip
    for error in (None, FAILURE):
        if error is not None:
            monkeypatch.setattr(np.linalg, name, failing(error))
        found = list(getattr(solvers, name)(A * scale))
        place = 0 if name == "eigh" else 1
        np.testing.assert_allclose(
            np.abs(found[place] / scale), np.abs(expected[place]),
            rtol=1e-12, atol=1e-12 * np.abs(expected[place]).max(),
        )  # fmt: skip
