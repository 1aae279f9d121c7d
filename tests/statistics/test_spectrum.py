"""Norms, ranks and laws of one spectrum, beside their definitions."""

import math

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy.integrate import quad
from scipy.optimize import brentq
from scipy.special import airy
from scipy.stats import kstest

from spectra.statistics.spectrum import marchenko_pastur as module
from spectra.statistics.spectrum.gavish_donoho import (
    hard_threshold,
    known_noise,
    optimal_rank,
    unknown_noise,
)
from spectra.statistics.spectrum.marchenko_pastur import (
    LEVEL,
    edge_law,
    fit_mp,
    mp_cdf,
    mp_density,
    mp_edges,
    mp_median,
    mp_quantile,
    ratio_p,
    tracy_widom_sf,
)
from spectra.statistics.spectrum.norms import Norms, norms, whole

EPS = float(np.finfo(np.float64).eps)
RATIOS = (1.0, 0.9, 0.25, 0.01, 1e-6)
SHAPES = ((60, 60), (40, 160), (160, 40))


def spectrum(W):
    return np.linalg.svd(W, compute_uv=False)


def noise(rng, shape, sigma=1.0):
    return sigma * rng.standard_normal(shape)


def planted(rng, shape, values):
    """Return noise of unit variance and a signal of these values."""
    m, n = shape
    k = len(values)
    U = np.linalg.qr(rng.standard_normal((m, k)))[0]
    V = np.linalg.qr(rng.standard_normal((n, k)))[0]
    return noise(rng, shape) + U * values @ V.T


def edges_of(q):
    return (1 - math.sqrt(q)) ** 2, (1 + math.sqrt(q)) ** 2


# Norms and ranks


@pytest.mark.parametrize("shape", [(7, 11), (11, 7), (9, 9)])
def test_norms_are_their_definitions(shape):
    W = np.random.default_rng(0).standard_normal(shape)
    found = norms(spectrum(W), shape, eps=EPS)
    assert_allclose(found.frobenius, np.linalg.norm(W))
    assert_allclose(found.sv_max, np.linalg.norm(W, 2))
    assert_allclose(found.nuclear, np.linalg.norm(W, "nuc"))
    gram = W @ W.T
    energy, first = np.trace(gram), np.linalg.eigvalsh(gram)[-1]
    assert_allclose(found.stable_rank, energy / first)
    density = gram / energy
    assert_allclose(found.participation_ratio, 1 / np.sum(density**2))
    p = np.linalg.eigvalsh(density)[-min(shape) :]
    assert_allclose(found.effective_rank, np.prod(p**-p))
    assert found.hard_rank == np.linalg.matrix_rank(W) == min(shape)


def test_logarithms_are_those_of_weightwatcher():
    """Its `apply_norm_metrics` takes eigenvalues, squares, for norms."""
    s = spectrum(noise(np.random.default_rng(1), (20, 30)))
    evals = s * s
    found = norms(s, (20, 30), eps=EPS)
    assert_allclose(found.log_norm, np.log10(np.sum(evals)))
    assert_allclose(found.log_spectral_norm, np.log10(np.max(evals)))
    assert_allclose(found.stable_rank, np.sum(evals) / np.max(evals))
    p = evals / np.sum(evals)
    entropy = -np.sum(p * np.log(p)) / np.log(found.hard_rank)
    ours = np.log(found.effective_rank) / np.log(found.hard_rank)
    assert_allclose(ours, entropy)


@pytest.mark.parametrize("k", [1, 3, 8])
def test_equal_values_are_counted(k):
    s = np.r_[np.full(k, 0.3), np.zeros(8 - k)]
    found = norms(s, (8, 20), eps=EPS)
    ranks = (found.stable_rank, found.effective_rank)
    assert_allclose([*ranks, found.participation_ratio], k)
    assert found.hard_rank == k


def test_what_storage_rounds_is_not_rank():
    rng = np.random.default_rng(2)
    W = rng.standard_normal((50, 5)) @ rng.standard_normal((5, 80))
    s = spectrum(W.astype(np.float32).astype(np.float64))
    single = float(np.finfo(np.float32).eps)
    assert norms(s, (50, 80), eps=single).hard_rank == 5
    assert norms(s, (50, 80), eps=EPS).hard_rank == 50


def test_hard_rank_is_that_of_the_longer_side():
    s = np.array([1.0, 150 * EPS])
    assert norms(s, (2, 100), eps=EPS).hard_rank == 2
    assert norms(s, (200, 2), eps=EPS).hard_rank == 1


def test_zeros_have_no_norms_and_no_bulk():
    zeros = np.zeros(4)
    expected = Norms(0.0, 0.0, 0.0, None, None, 0.0, 0.0, None, 0)
    assert norms(zeros, (4, 6), eps=EPS) == expected
    fit = fit_mp(zeros, (4, 6))
    assert (fit.sigma, fit.lower, fit.upper, fit.num_spikes) == (0, 0, 0, 0)
    undefined = (fit.sigma_mp, fit.edge_p, fit.mp_softrank, fit.ks)
    assert undefined == (None, None, None, None)
    assert optimal_rank(zeros, (4, 6)) == 0


@pytest.mark.parametrize("exponent", [-660, -40, 40, 660])
def test_powers_of_two_scale_exactly(exponent):
    shape = (30, 70)
    W = planted(np.random.default_rng(3), shape, np.array([60.0, 30.0]))
    s, c = spectrum(W), 2.0**exponent
    a, b = norms(s, shape, eps=EPS), norms(c * s, shape, eps=EPS)
    for name in ("frobenius", "sv_max", "nuclear"):
        assert getattr(b, name) == c * getattr(a, name)
    for name in ("stable_rank", "effective_rank", "participation_ratio"):
        assert getattr(b, name) == getattr(a, name)
    assert b.hard_rank == a.hard_rank
    logs = (b.log_norm - a.log_norm, b.log_spectral_norm - a.log_spectral_norm)
    assert_allclose(logs, 2 * exponent * np.log10(2))
    a, b = fit_mp(s, shape), fit_mp(c * s, shape)
    for name in ("sigma", "lower", "upper"):
        assert getattr(b, name) == c * getattr(a, name)
    for name in ("sigma_mp", "num_spikes", "edge_p", "mp_softrank", "ks"):
        assert getattr(b, name) == getattr(a, name)
    assert hard_threshold(c * s, shape) == c * hard_threshold(s, shape)


@pytest.mark.parametrize("size", [1e-200, 1e200])
def test_squares_that_are_no_numbers_are_not_needed(size):
    s = size * np.array([3.0, 2.0, 1.0, 1e-9])
    found = norms(s, (4, 5), eps=EPS)
    assert_allclose(found.frobenius, size * math.sqrt(14))
    assert_allclose(found.log_norm, math.log10(14) + 2 * math.log10(size))
    assert_allclose(found.stable_rank, 14 / 9)
    assert 0 < fit_mp(s, (4, 5)).upper < math.inf
    # And beside each other: the lesser is nothing.
    both = np.array([1e200, 1e-200])
    assert_allclose(norms(both, (2, 2), eps=EPS).effective_rank, 1)
    assert fit_mp(both, (2, 2)).num_spikes == 0


@pytest.mark.parametrize(
    ("s", "said"),
    [(np.ones(3), "singular values of a"), (np.arange(4.0), "descending")],
)
@pytest.mark.parametrize(
    "function",
    [whole, lambda *a: norms(*a, eps=EPS), fit_mp, hard_threshold],
)
def test_a_part_of_a_spectrum_is_refused(function, s, said):
    with pytest.raises(ValueError, match=said):
        function(s, (4, 5))


@pytest.mark.parametrize(
    ("shape", "expected"), [((500, 500), 125), ((200, 800), 88.9)]
)
def test_stable_rank_of_noise_is_predicted(shape, expected):
    n, d = shape
    prediction = n / (1 + math.sqrt(n / d)) ** 2
    assert_allclose(prediction, expected, rtol=1e-3)
    s = spectrum(noise(np.random.default_rng(4), shape))
    assert_allclose(
        norms(s, shape, eps=EPS).stable_rank, prediction, rtol=0.05
    )


# The law


@pytest.mark.parametrize("q", RATIOS)
def test_density_sums_to_one_with_unit_mean(q):
    a, b = edges_of(q)
    middle, half = (a + b) / 2, (b - a) / 2

    # Between the edges a sine takes the roots out of the integrand.
    def integral(power, share=1.0):
        def integrand(t):
            x = np.array([middle - half * math.cos(t)])
            density = mp_density(x, q)[0]
            return x[0] ** power * density * half * math.sin(t)

        return quad(integrand, 0, share * math.pi, epsabs=1e-11)[0]

    assert_allclose(integral(0), 1, rtol=1e-7)
    assert_allclose(integral(1), 1, rtol=1e-7)
    assert_allclose(integral(2), 1 + q, rtol=1e-7)
    for share in (0.01, 0.3, 0.5, 0.95):
        x = middle - half * math.cos(share * math.pi)
        cdf = mp_cdf(np.array([x]), q)[0]
        assert_allclose(cdf, integral(0, share), rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("q", RATIOS)
def test_nothing_lies_outside_the_edges(q):
    a, b = edges_of(q)
    x = np.array([-1.0, 0.5 * a, a, b, b + 1e-9, 9.0])
    assert_array_equal(mp_density(x, q), 0)
    assert_allclose(mp_cdf(x, q), [0, 0, 0, 1, 1, 1], atol=1e-15)


def test_square_law_is_the_quarter_circle():
    s = np.linspace(0, 2, 50)
    arc = s * np.sqrt(4 - s**2) / 2 + 2 * np.arcsin(s / 2)
    assert_allclose(mp_cdf(s**2, 1.0), arc / math.pi, atol=1e-15)


@pytest.mark.parametrize("q", RATIOS)
@pytest.mark.parametrize("p", [0.0, 0.01, 0.5, 0.99, 1.0])
def test_quantile_inverts_the_distribution(q, p):
    x = mp_quantile(p, q)
    assert_allclose(mp_cdf(np.array([x]), q)[0], p, atol=1e-9)


def test_median_is_that_of_a_large_matrix():
    rng = np.random.default_rng(5)
    for shape in ((300, 300), (150, 600)):
        s = spectrum(noise(rng, shape))
        q = min(shape) / max(shape)
        found = np.median(s**2) / max(shape)
        assert_allclose(found, mp_median(q), rtol=0.03)


def test_edges_are_those_of_either_orientation():
    assert mp_edges(2.0, 9, 25) == mp_edges(2.0, 25, 9) == (4.0, 16.0)
    assert mp_edges(1.0, 4, 4) == (0.0, 4.0)
    assert edge_law(9, 25) == edge_law(25, 9)


def tracy_widom(x):
    """Return the law as the determinant of Ferrari and Spohn (2005)."""
    nodes, weights = np.polynomial.legendre.leggauss(60)
    t, w = 8 * (nodes + 1), 8 * weights
    kernel = airy(t[:, None] + t + x)[0] * np.sqrt(np.outer(w, w))
    return np.linalg.det(np.eye(60) - kernel)


def test_tracy_widom_is_near_its_definition():
    # Johnstone 2001: 5 % and 1 % lie above these.
    assert_allclose(tracy_widom(0.9793), 0.95, atol=1e-5)
    assert_allclose(tracy_widom(2.0234), 0.99, atol=1e-5)
    for x in np.linspace(-6, 6, 61):
        assert_allclose(tracy_widom_sf(x), 1 - tracy_widom(x), atol=1.2e-3)
    ends = (tracy_widom_sf(-30), tracy_widom_sf(99))
    assert_allclose(ends, (1, 0), atol=1e-99)


def test_slope_is_the_second_derivative_of_the_distribution():
    h = 1e-3
    for x in np.linspace(-8, 6, 29):
        tail = [tracy_widom_sf(x + d) for d in (-h, 0, h)]
        second = -(tail[0] - 2 * tail[1] + tail[2]) / h**2
        assert_allclose(module._slope(x), second, atol=1e-6)
    assert module._slope(-10) == 0


@pytest.fixture(scope="module")
def small():
    rng = np.random.default_rng(20)
    return [spectrum(noise(rng, (20, 60))) for _ in range(1500)]


def test_edge_of_small_matrices_is_centred_and_scaled(small):
    centre, width = edge_law(20, 60)
    x = (np.array([s[0] for s in small]) ** 2 - centre) / width
    error = 1.268 / math.sqrt(len(x))
    assert_allclose(np.mean(x), -1.2065336, atol=3 * error)
    assert_allclose(np.std(x), 1.2679813, rtol=0.05)


def test_that_the_noise_is_estimated_is_allowed_for(small):
    chances = [ratio_p(s, 20, 60) for s in small]
    assert kstest(chances, "uniform").pvalue > 0.01


@pytest.mark.parametrize("shape", [(2, 2), (5, 40), (60, 60), (500, 2000)])
def test_a_larger_first_value_is_less_likely(shape):
    rest = np.ones(min(shape) - 1)
    chances = [
        ratio_p(np.r_[first, rest], *shape)
        for first in np.geomspace(1, 100, 300)
    ]
    assert np.all(np.diff(chances) <= 0)
    assert 0 <= chances[-1] <= chances[0] <= 1


# Fits


@pytest.fixture(scope="module")
def fits():
    rng = np.random.default_rng(6)
    return {
        shape: [fit_mp(spectrum(noise(rng, shape)), shape) for _ in range(200)]
        for shape in SHAPES
    }


@pytest.mark.parametrize("shape", SHAPES)
def test_noise_has_no_spikes(fits, shape):
    spiky = sum(fit.num_spikes > 0 for fit in fits[shape])
    assert spiky <= 0.05 * len(fits[shape])


@pytest.mark.parametrize("shape", SHAPES)
def test_chances_at_the_edge_of_noise_are_uniform(fits, shape):
    chances = [fit.edge_p for fit in fits[shape]]
    assert kstest(chances, "uniform").pvalue > 0.01


@pytest.mark.parametrize("shape", SHAPES)
def test_spikes_and_their_chance_agree(fits, shape):
    for fit in fits[shape]:
        assert (fit.edge_p < LEVEL) == (fit.num_spikes > 0)


@pytest.mark.parametrize("shape", [(400, 400), (200, 800), (800, 200)])
def test_noise_is_fitted_within_a_percent(shape):
    s = spectrum(noise(np.random.default_rng(7), shape, 0.02))
    fit = fit_mp(s, shape)
    lower, upper = mp_edges(0.02, *shape)
    assert_allclose(fit.sigma, 0.02, rtol=0.01)
    assert_allclose(fit.upper, upper, rtol=0.01)
    assert_allclose(fit.lower, lower, rtol=0.01)
    assert_allclose(fit.sigma_mp, 1, rtol=1e-12)
    assert_allclose(
        (fit.lower, fit.upper), (s[-1], s[0]), rtol=0.03, atol=0.02
    )
    assert_allclose(fit.mp_softrank, (fit.upper / s[0]) ** 2)
    assert fit.ks < 4 / min(shape)
    assert fit.bulk_min == fit.lower**2
    assert fit.bulk_max == fit.upper**2


# The last two would hide in their own mean, were it asked first.
@pytest.mark.parametrize(
    ("share", "strength"), [(0.05, 1.5), (0.05, 20), (0.4, 3), (0.4, 1e6)]
)
@pytest.mark.parametrize("shape", [(100, 100), (100, 400), (400, 100)])
def test_planted_spikes_are_found_exactly(shape, share, strength):
    k = round(share * min(shape))
    values = np.full(k, strength * sum(np.sqrt(shape)))
    W = planted(np.random.default_rng(8), shape, values)
    fit = fit_mp(spectrum(W), shape)
    assert fit.num_spikes == k
    assert fit.edge_p < LEVEL
    # The signal takes k directions of either side from the noise.
    _, upper = mp_edges(1.0, *(side - k for side in shape))
    assert_allclose((fit.sigma, fit.upper), (1, upper), rtol=0.04)
    expected = np.prod(shape) ** 0.5 / np.linalg.norm(W)
    assert_allclose(fit.sigma_mp, expected, rtol=0.04)


def test_graded_spikes_are_found_exactly():
    shape = (300, 300)
    values = np.linspace(1.3, 5, 15) * 2 * math.sqrt(300)
    W = planted(np.random.default_rng(9), shape, values)
    assert fit_mp(spectrum(W), shape).num_spikes == 15


@pytest.mark.parametrize("shape", SHAPES)
def test_distance_is_that_of_scipy(shape):
    values = np.full(3, 4 * sum(np.sqrt(shape)))
    s = spectrum(planted(np.random.default_rng(10), shape, values))
    fit = fit_mp(s, shape)
    m, n = (side - fit.num_spikes for side in shape)
    x = (s[fit.num_spikes :] / fit.sigma) ** 2 / max(m, n)
    expected = kstest(x, lambda y: mp_cdf(y, min(m, n) / max(m, n)))
    assert_allclose(fit.ks, expected.statistic, rtol=1e-9)


def test_orientation_does_not_matter():
    W = planted(np.random.default_rng(11), (30, 90), np.array([50.0, 40.0]))
    s = spectrum(W)
    assert fit_mp(s, (30, 90)) == fit_mp(s, (90, 30))
    assert norms(s, (30, 90), eps=EPS) == norms(s, (90, 30), eps=EPS)
    assert hard_threshold(s, (30, 90)) == hard_threshold(s, (90, 30))


@pytest.mark.parametrize("shape", [(1, 1), (1, 9), (9, 1)])
def test_one_value_says_nothing_of_noise(shape):
    s = np.array([2.0])
    fit = fit_mp(s, shape)
    assert (fit.num_spikes, fit.edge_p) == (0, None)
    assert_allclose(fit.sigma, 2 / math.sqrt(max(shape)))
    assert norms(s, shape, eps=EPS).hard_rank == 1


def test_low_rank_without_noise_is_all_spikes():
    s = np.r_[5.0, 2.0, 1.0, np.zeros(17)]
    fit = fit_mp(s, (20, 30))
    assert (fit.num_spikes, fit.sigma, fit.upper) == (3, 0, 0)
    assert (fit.mp_softrank, fit.ks) == (0, None)
    assert optimal_rank(s, (20, 30)) == 3
    one = np.r_[1.0, np.zeros(19)]
    assert fit_mp(one, (20, 30)).num_spikes == 1
    assert optimal_rank(one, (20, 30)) == 1


def test_a_constant_spectrum_is_no_noise_and_has_no_spikes():
    fit = fit_mp(np.ones(50), (50, 50))
    assert fit.num_spikes == 0
    assert fit.edge_p == 1
    assert fit.ks > 0.5
    assert optimal_rank(np.ones(50), (50, 50)) == 0


# The optimal hard threshold


def test_known_noise_is_cut_at_four_over_root_three():
    assert_allclose(known_noise(1.0), 4 / math.sqrt(3), rtol=1e-15)


def test_unknown_noise_is_cut_at_2_858_medians():
    assert_allclose(unknown_noise(1.0), 2.858, atol=5e-4)


@pytest.mark.parametrize("beta", [0.05, 0.25, 0.5, 0.75, 1.0])
def test_unknown_noise_is_cut_by_its_definition(beta):
    """The median by quadrature."""
    a, b = edges_of(beta)

    def below(x):
        return quad(lambda y: mp_density(np.array([y]), beta)[0], a, x)[0]

    median = brentq(lambda x: below(x) - 0.5, a, b)
    known = math.sqrt(
        2 * (beta + 1)
        + 8 * beta / ((beta + 1) + math.sqrt(beta**2 + 14 * beta + 1))
    )
    assert_allclose(unknown_noise(beta), known / math.sqrt(median), rtol=1e-6)


@pytest.mark.parametrize("beta", np.linspace(0.01, 1, 34))
def test_unknown_noise_is_near_the_published_cubic(beta):
    cubic = 0.56 * beta**3 - 0.95 * beta**2 + 1.82 * beta + 1.43
    assert_allclose(unknown_noise(beta), cubic, atol=0.02)


@pytest.mark.parametrize("shape", SHAPES)
def test_strong_signals_are_kept_and_noise_is_not(shape):
    rng = np.random.default_rng(12)
    values = np.full(3, 3 * sum(np.sqrt(shape)))
    assert optimal_rank(spectrum(planted(rng, shape, values)), shape) == 3
    assert optimal_rank(spectrum(noise(rng, shape)), shape) == 0


def test_at_the_threshold_keeping_costs_as_much_as_dropping():
    shape, rng = (400, 400), np.random.default_rng(13)
    cut = known_noise(1.0)
    # A signal x has the value x + 1/x, in units of the noise.
    x = (cut + math.sqrt(cut**2 - 4)) / 2
    signal = np.zeros(shape)
    signal[0, 0] = x * math.sqrt(400)
    U, s, Vh = np.linalg.svd(signal + noise(rng, shape))
    kept = np.linalg.norm(s[0] * np.outer(U[:, 0], Vh[0]) - signal)
    assert_allclose(kept / np.linalg.norm(signal), 1, rtol=0.1)
