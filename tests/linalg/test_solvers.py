"""Device solvers that fail or lie: what is returned is right all the same."""

import numpy as np
import pytest
import torch

from spectra.backend.device import to_host
from spectra.linalg import solvers
from spectra.linalg.gram import eigenpairs
from spectra.linalg.svd import block_krylov
from tests.seam import DEVICES, device, sine  # noqa: F401 - a fixture

RNG = np.random.default_rng(8)
SHAPES = [(1, 1), (2, 1), (7, 7), (40, 12), (300, 24)]


def matrix(m, n, dtype="float64", rank=None):
    rank = rank or min(m, n)
    return (
        RNG.standard_normal((m, rank)) @ RNG.standard_normal((rank, n))
    ).astype(dtype)


def failing(error):
    def solve(*args, **options):
        raise error

    return solve


def spoilt(honest, change):
    def solve(*args, **options):
        return change(*honest(*args, **options))

    return solve


def not_finite(*parts):
    return tuple(part + np.nan for part in parts)


def longer(*parts):
    """Return them with vectors that are a little longer than one."""
    return tuple(p * 1.0001 if p.ndim == 2 else p for p in parts)


def scaled(*parts):
    """Return them with values that are off by a millionth."""
    return tuple(p if p.ndim == 2 else p * (1 + 1e-6) for p in parts)


def made_up(first, *others):
    """Return a product that is right, of factors that are not orthonormal."""
    return first * 1.0001, *others[:-1], others[-1] / 1.0001


def permuted(Q, R):
    """Return orthonormal columns of another matrix."""
    return torch.flip(Q, (1,)), R


def negative(U, s, Vh):
    """Return what cuSOLVER's gesvd once did: a sign that V should have."""
    return U * -1, s * -1, Vh


def unsorted_pairs(values, V):
    order = [1, 0, *range(2, V.shape[1])]
    return (
        torch.stack([values[i] for i in order]),
        torch.stack([V[:, i] for i in order], dim=1),
    )


FAILURES = {
    "numpy": np.linalg.LinAlgError("did not converge"),
    "torch": torch.linalg.LinAlgError("linalg.eigh: failed to converge"),
    "cusolver": RuntimeError("cusolver error: CUSOLVER_STATUS_EXECUTION"),
}
LIES = {
    "eigh": [not_finite, longer, scaled, unsorted_pairs],
    "qr": [not_finite, longer, made_up, permuted],
    "svd": [not_finite, longer, made_up, scaled, negative],
}


def check(name, A, found):
    found = [np.asarray(to_host(part)) for part in found]
    tolerance = 1e3 * np.finfo(A.dtype).eps * max(1.0, np.abs(A).max())
    if name == "eigh":
        values, V = found
        np.testing.assert_allclose(
            values, np.linalg.eigvalsh(A), atol=tolerance
        )
        np.testing.assert_allclose((V * values) @ V.T, A, atol=tolerance)
    elif name == "qr":
        Q, R = found
        np.testing.assert_allclose(Q @ R, A, atol=tolerance)
        np.testing.assert_allclose(Q.T @ Q, np.eye(Q.shape[1]), atol=tolerance)
    else:
        U, s, Vh = found
        exact = np.linalg.svd(A, compute_uv=False)
        np.testing.assert_allclose(s, exact, atol=tolerance)
        np.testing.assert_allclose((U * s) @ Vh, A, atol=tolerance)
        one = np.eye(len(s))
        np.testing.assert_allclose(U.T @ U, one, atol=tolerance)
        np.testing.assert_allclose(Vh @ Vh.T, one, atol=tolerance)


def problem(name, m=30, n=12, dtype="float64", rank=None):
    A = matrix(m, n, dtype, rank)
    return A.T @ A if name == "eigh" else A


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("rank", [None, 1])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("name", LIES)
def test_what_is_right_is_left_alone(name, shape, rank, dtype, monkeypatch):
    A = problem(name, *shape, dtype, rank)
    put = DEVICES["torch"]().put(A)
    with monkeypatch.context() as patch:
        error = AssertionError("decomposed on the host")
        patch.setattr(np.linalg, name, failing(error))
        found = getattr(solvers, name)(put)
    check(name, A, found)


@pytest.mark.parametrize("name", LIES)
def test_zero_has_its_decompositions(device, name):
    zero = np.zeros((5, 5))
    check(name, zero, getattr(solvers, name)(device.put(zero)))


@pytest.mark.parametrize("failure", FAILURES)
@pytest.mark.parametrize("name", LIES)
@pytest.mark.parametrize("library", ["strict", "torch"])
def test_what_fails_is_done_on_the_host(library, name, failure, monkeypatch):
    device, A = DEVICES[library](), problem(name)
    linalg = device.xp.linalg
    monkeypatch.setattr(linalg, name, failing(FAILURES[failure]))
    found = getattr(solvers, name)(device.put(A))
    assert type(found[0]) is type(device.put(A))
    check(name, A, found)


@pytest.mark.parametrize(
    ("name", "lie"),
    [(name, lie) for name, lies in LIES.items() for lie in lies],
)
def test_what_is_wrong_without_a_word_is_done_on_the_host(
    name, lie, monkeypatch
):
    device, A = DEVICES["torch"](), problem(name)
    linalg = device.xp.linalg
    honest = getattr(linalg, name)
    monkeypatch.setattr(linalg, name, spoilt(honest, lie))
    check(name, A, getattr(solvers, name)(device.put(A)))


@pytest.mark.parametrize(
    "change",
    [
        lambda values: values,
        lambda values: values * np.nan,
        lambda values: values * (1 + 1e-6),
        lambda values: values * torch.tensor([-1.0, 1, 1, 1, 1]),
        lambda values: values * 0 + values.mean(-1, True),
        lambda values: torch.flip(values, (-1,)),
    ],
    ids=["right", "nan", "scaled", "a sign", "mean", "flipped"],
)
def test_eigenvalues_alone_have_the_sums(change, monkeypatch):
    A = RNG.standard_normal((3, 4, 6, 5))
    C = np.swapaxes(A, -1, -2) @ A
    device = DEVICES["torch"]()
    honest, exact = device.xp.linalg.eigvalsh, np.linalg.eigvalsh(C)
    monkeypatch.setattr(
        device.xp.linalg, "eigvalsh", lambda C: change(honest(C))
    )
    found = to_host(solvers.eigvalsh(device.put(C)))
    np.testing.assert_allclose(found, exact, atol=1e-12)


def test_eigenvalues_alone_are_left_where_they_are_right(monkeypatch):
    C = np.stack([np.eye(4), np.zeros((4, 4)), np.full((4, 4), 2.0)])
    put, exact = DEVICES["torch"]().put(C), np.linalg.eigvalsh(C)
    error = AssertionError("decomposed on the host")
    monkeypatch.setattr(np.linalg, "eigvalsh", failing(error))
    found = to_host(solvers.eigvalsh(put))
    np.testing.assert_allclose(found, exact, atol=1e-14)


def test_a_lack_of_memory_is_not_a_failure_of_the_solver(monkeypatch):
    device, error = DEVICES["torch"](), torch.OutOfMemoryError("no room")
    monkeypatch.setattr(device.xp.linalg, "eigh", failing(error))
    with pytest.raises(torch.OutOfMemoryError):
        solvers.eigh(device.put(np.eye(3)))


def test_a_matrix_that_is_not_quite_symmetric_is_no_failure(monkeypatch):
    """A product in float32 need not be: the mean of both halves is solved."""
    C = problem("eigh")
    C[0, 5] *= 1 + 1e-7
    put = DEVICES["torch"]().put(C)
    exact = np.linalg.eigvalsh((C + C.T) / 2)
    error = AssertionError("decomposed on the host")
    monkeypatch.setattr(np.linalg, "eigh", failing(error))
    found = to_host(solvers.eigh(put)[0])
    np.testing.assert_allclose(found, exact, atol=1e-12)


@pytest.mark.parametrize("library", ["strict", "torch"])
def test_decompositions_made_of_them_stay_right(library, monkeypatch):
    device = DEVICES[library]()
    X = matrix(60, 90)
    left, s, right = np.linalg.svd(X, full_matrices=False)
    for name in ("eigh", "qr"):
        error = np.linalg.LinAlgError("did not converge")
        monkeypatch.setattr(device.xp.linalg, name, failing(error))
    values, U = map(to_host, eigenpairs(device.put(X @ X.T), 5))
    np.testing.assert_allclose(values, s[:5] ** 2, rtol=1e-10)
    assert sine(left[:, :5], U) < 1e-6
    U, found, V = map(to_host, block_krylov(device.put(X), 5))
    np.testing.assert_allclose(found, s[:5], rtol=1e-8)
    assert sine(right[:5].T, V) < 1e-4
