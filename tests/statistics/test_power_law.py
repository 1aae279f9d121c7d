import contextlib
import dataclasses
import io
import math
import tracemalloc
import warnings
from importlib import import_module

import numpy as np
import pytest
from numpy.testing import assert_allclose

from spectra.statistics.spectrum import power_law
from spectra.statistics.spectrum.power_law import fit_power_law

SEED = 2009
EPS = np.finfo(float).eps
STATUSES = {"OK", "TOO_FEW", "FLAT", "NO_FIT"}


def squares(W):
    return np.linalg.svd(W, compute_uv=False) ** 2


def wishart(rng, n, aspect):
    return squares(rng.standard_normal((n, int(aspect * n))))


def pareto(rng, n, alpha):
    return (1 - rng.random(n)) ** (-1 / (alpha - 1))


def student(rng, n):
    return squares(rng.standard_t(rng.uniform(1.5, 6), (n, 2 * n)))


def spiked(rng, n):
    spikes = np.exp(rng.uniform(1, 6, 1 + n // 20)) * n
    return np.concatenate([wishart(rng, n, 3)[len(spikes) :], spikes])


def repeated(rng, n):
    return np.ceil(8 * pareto(rng, n, rng.uniform(1.5, 4))) / 8


def graded(rng, n):
    steps = np.logspace(0, -rng.uniform(1, 60), n)
    return steps * np.exp(0.1 * rng.standard_normal(n))


def deficient(rng, n):
    return np.append(student(rng, n), np.zeros(int(rng.integers(1, n))))


KINDS = {
    "square": lambda rng, n: wishart(rng, n, 1),
    "oblong": lambda rng, n: wishart(rng, n, 1.5),
    "long": lambda rng, n: wishart(rng, n, 8),
    "shallow": lambda rng, n: pareto(rng, n, rng.uniform(1.1, 2.5)),
    "steep": lambda rng, n: pareto(rng, n, rng.uniform(2.5, 8)),
    "student": student,
    "spiked": spiked,
    "repeated": repeated,
    "graded": graded,
    "deficient": deficient,
}


def spectra_of(kind, sizes):
    rng = np.random.default_rng([SEED, *kind.encode()])
    return [KINDS[kind](rng, n) for n in sizes]


@pytest.fixture(scope="module")
def package():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return import_module("powerlaw")


def packaged(package, x):
    """Return the package's fit with no bound on alpha.

    Its default bound of 3 on alpha has it choose another xmin, and a bound
    of 1 or 100 has it drop candidates that come within 0.01 of it. Where
    alpha leaves (1.5, 3] it maximises a likelihood made from x**-alpha, which
    is out of range for a steep tail far from one: no spectrum here is such.
    """
    with (
        warnings.catch_warnings(),
        np.errstate(all="ignore"),
        contextlib.redirect_stdout(io.StringIO()),
        contextlib.redirect_stderr(io.StringIO()),
    ):
        warnings.simplefilter("ignore")
        ranges = {"alpha": (None, None)}
        return package.Fit(x, parameter_ranges=ranges, verbose=0)


# Ten kinds of twenty spectra; the package needs a second for the largest.
SIZES = np.geomspace(20, 600, 20).astype(int)


@pytest.mark.parametrize(
    "sizes",
    [
        pytest.param(SIZES[:13], id="small"),
        pytest.param(SIZES[13:], id="large", marks=pytest.mark.slow),
    ],
)
@pytest.mark.parametrize("kind", KINDS)
def test_equals_the_powerlaw_package(package, kind, sizes):
    for x in spectra_of(kind, sizes):
        theirs, ours = packaged(package, x), fit_power_law(x)
        named = f"{kind}, {len(x)} values"
        assert ours.status == "OK", named
        assert ours.xmin == theirs.xmin, named
        assert ours.n_tail == theirs.n_tail, named
        assert_allclose(
            [ours.alpha, ours.D, ours.sigma],
            [theirs.alpha, theirs.D, theirs.sigma],
            rtol=1e-9,
            err_msg=named,
        )


def naive(values):
    """Return alpha, xmin, D and the size of the tail, from the definition."""
    distinct = sorted({float(x) for x in values if x > 0})
    best = None
    for xmin in distinct[:-2]:
        tail = [float(x) for x in values if x >= xmin]
        n = len(tail)
        alpha = 1 + n / math.fsum(math.log(x / xmin) for x in tail)
        D = 0.0
        for x in set(tail):
            below = sum(1 for y in tail if y < x) / n
            D = max(D, abs(1 - (x / xmin) ** (1 - alpha) - below))
        if best is None or best[2] > D:
            best = alpha, xmin, D, n
    return best


@pytest.mark.parametrize("kind", KINDS)
def test_equals_a_naive_twin(kind):
    for x in spectra_of(kind, (23, 60)):
        fit = fit_power_law(x)
        alpha, xmin, D, n = naive(x)
        assert (fit.xmin, fit.n_tail) == (xmin, n)
        assert_allclose(
            [fit.alpha, fit.D, fit.sigma],
            [alpha, D, (alpha - 1) / math.sqrt(n)],
            rtol=1e-12,
        )


def test_the_two_largest_are_no_candidates(package):
    # Many of one value and one above it: nearest to a law, but hardly one.
    x = np.repeat([1.0, 2.0, 3.0, 4.0, 5.0, 6.0], [1, 1, 1, 1, 200, 1])
    fit = fit_power_law(x)
    assert fit.xmin == naive(x)[1] == packaged(package, x).xmin < 5


def test_of_equally_near_tails_the_longest_is_taken(monkeypatch):
    x = spectra_of("student", [40])[0]
    same = np.zeros(len(x) - 2)
    monkeypatch.setattr(power_law, "_distances", lambda *_: same)
    assert fit_power_law(x).xmin == x.min()


def test_narrow_tails_keep_their_digits():
    x = 1 + np.arange(30.0) ** 2 * 2.0**-45
    fit = fit_power_law(x)
    tail = x[x >= fit.xmin]
    logs = math.fsum(map(math.log1p, (tail - fit.xmin) / fit.xmin))
    assert_allclose(fit.alpha, 1 + len(tail) / logs, rtol=1e-12)


# Tiny ones, denormal; large ones, whose sum or square overflows.
UNITS = (5e-324, 1e-310, 1e-300, 1e-20, 1.0, 1e20, 1e300, 1e308)


def in_units(unit):
    one = np.array([unit])
    ramp = np.linspace(1, 0.1, 30)
    return {
        "one value": one,
        "one beside zeros": np.append(np.zeros(20), one),
        "two values": unit * np.array([1, 0.5]),
        "seven values": unit * np.linspace(1, 0.5, 7),
        "all equal": np.repeat(one, 9),
        "equal up to rounding": unit * (1 + EPS * (np.arange(40) % 7)),
        "almost equal": unit * (1 + 1e-14 * np.arange(40)),
        "a spike above equals": unit * np.append(np.full(20, 1e-3), 1),
        "rank one and noise": unit * np.append(1e-17 * ramp, 1),
        "two levels": unit * np.repeat([1, 0.5], 20),
        "three levels": unit * np.repeat([1, 0.5, 0.25], 7),
        "four levels": unit * np.repeat([1, 0.5, 0.25, 0.125], 7),
        "ramp": unit * ramp,
        "steps": unit * np.repeat(ramp, 4),
        "ramp and zeros": unit * np.append(ramp, np.zeros(70)),
    }


def stepped(rng, n):
    levels = {
        f"{k} levels": rng.integers(0, k + 1, n).astype(float)
        for k in range(1, 6)
    }
    return {
        "denormal integers": 5e-324 * np.arange(n),
        "integers": np.arange(float(n)),
        **levels,
    }


def of_matrices(rng, n):
    column = rng.standard_normal((n, 1))
    rotation = np.linalg.qr(rng.standard_normal((n, n)))[0]
    return {
        "outer product": squares(column @ column.T),
        "identity": squares(np.eye(n)),
        "rotation": squares(rotation),
        "anywhere": np.exp2(rng.uniform(-1074, 1023, n)),
    }


ENDS = ((1, 1e-300), (1e300, 1), (1e308, 5e-324), (1, 1 - 1e-15))


def degenerate():
    rng = np.random.default_rng(SEED)
    families = {
        **{unit: in_units(unit) for unit in UNITS},
        **{
            ends: {f"{n}": np.geomspace(*ends, n) for n in (2, 7, 8, 30, 600)}
            for ends in ENDS
        },
        **{f"stepped {n}": stepped(rng, n) for n in (7, 8, 9, 12, 50)},
        **{f"matrix {n}": of_matrices(rng, n) for n in (1, 7, 8, 9, 30)},
        "zeros": {f"{n}": np.zeros(n) for n in (0, 1, 8, 100)},
        "a step up": {"of one rounding": np.append(np.ones(50), 1 + EPS)},
    }
    return {
        f"{family}: {name}": x
        for family, spectra in families.items()
        for name, x in spectra.items()
    }


DEGENERATE = degenerate()


def test_d10_two_hundred_degenerate_spectra_have_a_status_and_no_nan():
    assert len(DEGENERATE) == 200
    seen = set()
    for name, x in DEGENERATE.items():
        assert np.isfinite(x).all(), name
        with (
            warnings.catch_warnings(),
            np.errstate(all="raise", under="ignore"),
        ):
            warnings.simplefilter("error")
            fit = fit_power_law(x)
        numbers = (fit.alpha, fit.xmin, fit.D, fit.sigma)
        seen.add(fit.status)
        if fit.status != "OK":
            assert numbers == (None,) * 4, name
            assert fit.n_tail == 0, name
            continue
        assert all(type(n) is float and math.isfinite(n) for n in numbers)
        assert fit.alpha > 1, name
        assert 0 <= fit.D <= 1, name
        assert fit.sigma > 0, name
        assert fit.xmin in x, name
        assert fit.n_tail == np.count_nonzero(x >= fit.xmin) >= 3, name
    assert seen == STATUSES


# The smallest number has no half, and so no levels.
@pytest.mark.parametrize("unit", UNITS[1:])
def test_the_status_says_what_is_missing(unit):
    expected = {
        "one value": "TOO_FEW",
        "one beside zeros": "TOO_FEW",
        "two values": "TOO_FEW",
        "seven values": "TOO_FEW",
        "all equal": "FLAT",
        "equal up to rounding": "FLAT",
        "two levels": "NO_FIT",
        "three levels": "NO_FIT",
    }
    if unit > 1e-300:
        # Below, the steps of the ramp are no finer than the numbers.
        expected |= dict.fromkeys(("four levels", "ramp", "steps"), "OK")
        expected |= {"almost equal": "OK", "rank one and noise": "OK"}
    spectra = in_units(unit)
    found = {name: fit_power_law(spectra[name]).status for name in expected}
    assert found == expected


def test_zeros_do_not_count():
    x = spectra_of("student", [40])[0]
    assert fit_power_law(np.append(x, np.zeros(60))) == fit_power_law(x)


def test_lists_are_taken():
    x = [1.0, 2.0, 3.0, 5.0, 8.0, 13.0, 21.0, 34.0]
    assert fit_power_law(x) == fit_power_law(np.array(x))


@pytest.mark.parametrize("alpha", [1.5, 2.0, 2.5, 3.5, 6.0])
def test_alpha_of_a_sample_is_recovered(alpha):
    rng = np.random.default_rng([SEED, int(10 * alpha)])
    for _ in range(4):
        fit = fit_power_law(pareto(rng, 2000, alpha))
        assert abs(fit.alpha - alpha) < 3 * fit.sigma


def test_the_tail_begins_where_the_law_does():
    rng = np.random.default_rng(SEED)
    bulk = rng.uniform(0.01, 1, 1000)
    fit = fit_power_law(np.append(bulk, pareto(rng, 1000, 2.5)))
    assert 0.8 < fit.xmin < 1.5
    assert abs(fit.alpha - 2.5) < 3 * fit.sigma


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("power", [-700, -40, 3, 900])
def test_the_unit_does_not_matter(kind, power):
    x = spectra_of(kind, [90])[0]
    fit = fit_power_law(x)
    scaled = dataclasses.replace(fit, xmin=math.ldexp(fit.xmin, power))
    assert fit_power_law(np.ldexp(x, power)) == scaled


@pytest.mark.parametrize("kind", KINDS)
def test_the_order_does_not_matter(kind):
    rng = np.random.default_rng(SEED)
    x = spectra_of(kind, [90])[0]
    assert fit_power_law(rng.permutation(x)) == fit_power_law(x)


@pytest.mark.parametrize("block", [1, 100, 1000])
@pytest.mark.parametrize("kind", KINDS)
def test_blocks_do_not_matter(monkeypatch, kind, block):
    x = spectra_of(kind, [90])[0]
    whole = fit_power_law(x)
    monkeypatch.setattr(power_law, "BLOCK", block)
    assert fit_power_law(x) == whole


def test_memory_does_not_grow_with_the_square():
    x = pareto(np.random.default_rng(SEED), 4096, 2.5)
    tracemalloc.start()
    try:
        fit_power_law(x)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 2**25
