"""A GPU beside the CPU, by CuPy and by torch: the same numbers.

`pytest -m gpu` runs these, and every kernel's own tests, where there is one.
"""

import numpy as np
import pytest

import spectra
from spectra.backend.device import CPU, to_host
from spectra.core.errors import BudgetError
from spectra.linalg.gram import eigenpairs, gram
from spectra.linalg.krylov import leading_eigenpairs, starting_block
from spectra.linalg.solvers import eigh, eigvalsh, qr, svd
from spectra.linalg.stacked import Rows, stack_eigenpairs
from spectra.linalg.svd import block_krylov, factored_svd, gram_svd
from spectra.subspaces.inner import inner_products
from spectra.subspaces.stacks import Stack, factored_products
from tests.checkpoints import adapters, dense
from tests.linalg.test_svd import heavy_tailed
from tests.seam import CUDA, DEVICES, sine
from tests.subspaces.test_inner import kept

pytestmark = pytest.mark.gpu
RNG = np.random.default_rng(11)


@pytest.fixture(params=CUDA)
def gpu(request):
    device = DEVICES[request.param]()
    with device.strict():
        yield device


@pytest.mark.parametrize("beside", [False, True], ids=["alone", "base"])
@pytest.mark.parametrize("dtypes", [("BF16",), ("F16",), ("F32", "BF16")])
@pytest.mark.parametrize("n", [9, 200])
def test_inner_products(gpu, n, dtypes, beside):
    """Over and over: a buffer that is written too early shows at times."""
    size = 9 * 16_384 + 77
    base = RNG.standard_normal(size).astype(np.float32) if beside else None
    X = RNG.standard_normal((n, size), np.float32)
    maps = kept(X, dtypes, base=base)
    expected = inner_products(maps, size, CPU, np.float32)
    runs = [inner_products(maps, size, gpu, np.float32) for _ in range(5)]
    for found in runs:
        np.testing.assert_allclose(
            found.inner, expected.inner, rtol=0, atol=1e-6 * size
        )
        np.testing.assert_allclose(found.h, expected.h, atol=1e-6 * size)
        assert found.energy == pytest.approx(expected.energy, rel=1e-6)
    norms = np.diag(expected.inner)
    np.testing.assert_allclose(np.diag(runs[0].inner), norms, rtol=1e-6)


def test_products_of_adapters(gpu):
    frames = [
        np.linalg.qr(RNG.standard_normal((40, d, 8)))[0].transpose(0, 2, 1)
        for d in (300, 200)
    ]
    s = -np.sort(-RNG.random((40, 8)))
    on_host, on_gpu = (
        factored_products(
            Stack(*map(device.put, frames), s), 4, dtype=np.float64
        )
        for device in (CPU, gpu)
    )
    for name in ("inner", "rows"):
        np.testing.assert_allclose(
            getattr(on_gpu, name), getattr(on_host, name), atol=1e-12
        )
    for side in ("output", "input"):
        one, other = getattr(on_host, side), getattr(on_gpu, side)
        np.testing.assert_allclose(other.overlap, one.overlap, atol=1e-12)
        np.testing.assert_allclose(
            other.angles.geodesic, one.angles.geodesic, atol=1e-6
        )


@pytest.mark.parametrize("n", [300, 900])
def test_eigenpairs(gpu, n):
    """By reduction, and of the larger one by products."""
    X = heavy_tailed(n, n)
    C = X @ X.T
    values, V = map(to_host, eigenpairs(gpu.put(C), 12))
    exact, U = eigenpairs(C, 12)
    np.testing.assert_allclose(values[:12], exact[:12], rtol=1e-11)
    assert sine(U[:, :12], V[:, :12]) < 1e-6


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_singular_triplets(gpu, dtype):
    X = heavy_tailed(400, 500, dtype)
    x = gpu.put(X)
    tolerance = 1e-5 if dtype == "float32" else 1e-10
    angle = 5e-3 if dtype == "float32" else 1e-5
    C = gram(gpu.xp.astype(x, gpu.xp.float64))
    pairs = (
        (gram_svd(x, C, 8), gram_svd(X, gram(X.astype(float)), 8)),
        (block_krylov(x, 8), block_krylov(X, 8)),
    )
    for found, expected in pairs:
        U, s, V = map(to_host, found)
        np.testing.assert_allclose(s, expected[1], rtol=tolerance)
        assert sine(U, expected[0]) < angle
        assert sine(V, expected[2]) < angle


def test_factors(gpu):
    A, B = RNG.standard_normal((16, 500)), RNG.standard_normal((400, 16))
    for tolerance in (0.0, 1e-7):
        found = factored_svd(
            gpu.put(A), gpu.put(B), scale=2.0, tolerance=tolerance
        )
        U, s, V = map(to_host, found)
        np.testing.assert_allclose((U * s) @ V.T, 2 * B @ A, atol=1e-9)


@pytest.mark.parametrize("shape", [(30, 8, 200), (300, 8, 1800)])
def test_sides_of_stacks(gpu, shape):
    """Formed, and where neither side is narrow by products."""
    F = RNG.standard_normal(shape)
    weights = RNG.random(shape[:2])
    exact, _ = stack_eigenpairs(Rows(F, weights), 10)
    found, _ = stack_eigenpairs(Rows(gpu.put(F), gpu.put(weights)), 10)
    np.testing.assert_allclose(to_host(found)[:10], exact[:10], rtol=1e-8)


def test_krylov(gpu):
    X = heavy_tailed(700, 900)
    C = X @ X.T
    c = gpu.put(C)
    start = starting_block(gpu.zeros((700, 0)), 20)
    values, _ = leading_eigenpairs(lambda Y: c @ Y, start, 10, tolerance=1e-13)
    exact = np.linalg.eigvalsh(C)[::-1][: len(to_host(values))]
    np.testing.assert_allclose(to_host(values), exact, rtol=1e-11)


def test_solvers_are_the_device_s_own(gpu, monkeypatch):
    """Their certificates hold: none of these is computed on the host."""

    def forbidden(*args, **options):
        raise AssertionError("decomposed on the host")

    for name in ("eigh", "eigvalsh", "qr", "svd"):
        monkeypatch.setattr(np.linalg, name, forbidden)
    for dtype in (np.float32, np.float64):
        A = gpu.put(RNG.standard_normal((600, 80)).astype(dtype))
        for solve in (qr, svd):
            solve(A)
        eigh(gpu.xp.matrix_transpose(A) @ A)
        M = gpu.put(RNG.standard_normal((30, 8, 8)).astype(dtype))
        eigvalsh(gpu.xp.matrix_transpose(M) @ M)


def test_a_lack_of_memory_is_named(gpu):
    gpu.runtime.limit(2**28)
    try:
        with (
            pytest.raises(BudgetError, match="on the device") as caught,
            gpu.strict(),
        ):
            gpu.zeros((2**28,))
        assert caught.value.needs == 2**31
        assert caught.value.allowed <= 2**28
    finally:
        gpu.runtime.limit(2**40)


@pytest.fixture(params=["full", "adapters"])
def population(request, tmp_path):
    if request.param == "full":
        shapes = {"a.weight": (64, 96), "b.weight": (160, 64)}
        folder, _, _ = dense(tmp_path, 12, shapes, dtype="BF16", spread=0.1)
        return folder, str(tmp_path / "base")
    shapes = {"q": (96, 64), "v": (48, 64)}
    return adapters(tmp_path / "p", [8] * 12, shapes, dtype="BF16")[0], None


def test_a_whole_study(gpu, population):
    """Fit, sides and nulls: all that is judged is the same."""
    folder, base = population
    catalog = spectra.scan(folder)
    runs = [
        spectra.fit(catalog, base=base, device=name, memory=2**31)
        for name in ("cpu", gpu.name)
    ]
    for one, other in zip(*(run.value.layers for run in runs), strict=True):
        scale = np.abs(one.gram).max()
        np.testing.assert_allclose(other.gram, one.gram, atol=1e-5 * scale)
        np.testing.assert_array_equal(other.ranks, one.ranks)
        np.testing.assert_allclose(
            other.singular_values, one.singular_values, rtol=1e-4
        )
        for side in ("output", "input"):
            a, b = getattr(one, side), getattr(other, side)
            np.testing.assert_allclose(
                b.eigenvalues, a.eigenvalues, atol=1e-5 * a.eigenvalues[0]
            )
            np.testing.assert_allclose(b.overlap, a.overlap, atol=1e-4)
    one, other = (spectra.overlap(run, draws=199).document for run in runs)
    for a, b in zip(one["layers"], other["layers"], strict=True):
        assert a["verdict"] == b["verdict"]
        assert len(drawn(a)) > 20
        np.testing.assert_allclose(drawn(b), drawn(a), rtol=1e-3, atol=1e-4)


def drawn(part):
    """Return what a layer's nulls say: observed, and of the draws."""
    if isinstance(part, list):
        return [value for item in part for value in drawn(item)]
    if not isinstance(part, dict):
        return []
    own = [part[key] for key in ("observed", "mean", "q95") if key in part]
    own = [value for value in own if isinstance(value, float)]
    return own + [v for item in part.values() for v in drawn(item)]
