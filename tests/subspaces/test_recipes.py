"""Each recipe against its literal twin, its chance against draws."""

import tracemalloc
from itertools import pairwise

import numpy as np
import pytest
from numpy.testing import assert_allclose
from tensorly.decomposition import partial_tucker
from tensorly.tenalg import multi_mode_dot

import spectra
from spectra.core.errors import Quarantine
from spectra.core.settings import FitSettings
from spectra.statistics.document.recipes import recipe_document
from spectra.study.tasks import work_of
from spectra.subspaces.recipes import chance, moments
from spectra.subspaces.recipes.chance import expected_shares
from spectra.subspaces.recipes.measured import as_released, measure, of_inner
from spectra.subspaces.recipes.stored import recipes_for, stored_members
from spectra.subspaces.recipes.table import CENTRINGS, RECIPES, Factors
from spectra.subspaces.recipes.tucker import hooi, hosvd
from tests.checkpoints import adapters, dense, write_dense
from tests.reference import recipes as twin

BY_NAME = {recipe.name: recipe for recipe in RECIPES}
OF_ADAPTERS = ["lora-rows-pca", "lora-cols-svd", "lora-eig"]
SHAPES = {"square": (24, 24), "wide": (12, 40), "tall": (40, 12)}


def matrices(n, shape, *, common=0.0, seed=0):
    """Return members and the same as the recipes take them."""
    rng = np.random.default_rng(seed)
    mean = common * rng.standard_normal(shape)
    held = [mean + rng.standard_normal(shape) for _ in range(n)]
    return held, lambda: iter(held)


def updates(ranks, shape, *, common=0.0, seed=0):
    rng = np.random.default_rng(seed)
    out, into = shape
    held = []
    A0 = common * rng.standard_normal((max(ranks), into))
    B0 = common * rng.standard_normal((out, max(ranks)))
    for r in ranks:
        A = A0[:r] + rng.standard_normal((r, into))
        B = B0[:, :r] + rng.standard_normal((out, r))
        held.append((A, B, 16 / r))
    return held, lambda: (Factors(*member) for member in held)


def assert_spectra(found, expected, *, tolerance=1e-8):
    """Compare to a share of the largest eigenvalue, and the traces."""
    assert len(found) == len(expected)
    for spectrum in found:
        key = spectrum.part if spectrum.mode is None else spectrum.mode
        values = expected[key]
        assert spectrum.eigenvalues.shape == values.shape
        scale = tolerance * values[0]
        assert_allclose(spectrum.eigenvalues, values, rtol=0, atol=scale)
        assert_allclose(spectrum.total, values.sum(), rtol=tolerance)
        for k in (1, 4, 16):
            share = values[:k].sum() / values.sum()
            assert_allclose(spectrum.evr(k), share, rtol=tolerance)


@pytest.mark.parametrize("common", [0.0, 1e4])
@pytest.mark.parametrize("n", [2, 5, 40])
@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
@pytest.mark.parametrize("name", ["model-axis", "rows-pca", "hosvd"])
def test_full_matrices(name, shape, n, common):
    held, members = matrices(n, shape, common=common)
    found = measure(BY_NAME[name], members)
    assert_spectra(found, twin.SPECTRA[name](held))
    assert all(not spectrum.truncated for spectrum in found)


@pytest.mark.parametrize("common", [0.0, 1e4])
@pytest.mark.parametrize("n", [2, 5, 40])
@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
@pytest.mark.parametrize("name", OF_ADAPTERS)
def test_raw_factors(name, shape, n, common):
    held, members = updates([4] * n, shape, common=common)
    expected = twin.SPECTRA[name](held)
    assert_spectra(measure(BY_NAME[name], members), expected)


@pytest.mark.parametrize(
    "name", ["model-axis", "rows-pca", "hosvd", "lora-cols-svd", "lora-eig"]
)
def test_adapters_of_mixed_ranks(name):
    held, members = updates([1, 2, 8, 4, 3], (30, 20))
    expected = twin.SPECTRA[name](held)
    assert_spectra(measure(BY_NAME[name], members), expected)


@pytest.mark.parametrize("n", [2, 5, 40])
@pytest.mark.parametrize("shape", [(8, 3, 3, 3), (32, 2, 1, 1), (6, 20)])
def test_convolutions(shape, n):
    held, members = matrices(n, shape, common=3.0)
    (found,) = measure(BY_NAME["conv-cols"], members)
    assert_spectra([found], twin.conv_cols(held))
    assert found.feature_dim == shape[0]
    assert found.n_samples == n * np.prod(shape[1:])


@pytest.mark.parametrize("centring", ["models", "scalar", "none"])
def test_readings_of_the_first_line(centring):
    held, members = matrices(6, (9, 7), common=2.0)
    found = measure(BY_NAME["hosvd"], members, centring=centring)
    assert_spectra(found, twin.hosvd(held, centring))
    assert {spectrum.centring for spectrum in found} == {centring}


def test_readings_differ_where_models_share_a_part():
    def top(common, centring):
        _, members = matrices(6, (9, 7), common=common)
        return measure(BY_NAME["hosvd"], members, centring=centring)[0].evr(1)

    assert top(5.0, "scalar") > 0.9
    assert top(5.0, "models") < 0.4
    assert_allclose(top(5.0, "models"), top(0.0, "models"), rtol=1e-9)
    # Of a constant the scalar takes all that the entries' means take.
    rng = np.random.default_rng(2)
    held = [7.0 + rng.standard_normal((9, 7)) for _ in range(6)]
    shares = [
        measure(BY_NAME["hosvd"], lambda: held, centring=centring)[0].evr(1)
        for centring in ("scalar", "none")
    ]
    assert shares[0] < 0.4
    assert shares[1] > 0.9


@pytest.mark.parametrize("common", [1e3, 1e6, 1e9])
def test_a_common_part_costs_no_digits(common):
    """Exact numbers: multiples of 2^-20 on a mean that is a whole number."""
    rng = np.random.default_rng(3)
    mean = common * rng.integers(1, 9, (10, 6))
    held = [
        mean + rng.integers(-(2**20), 2**20, (10, 6)) / 2.0**20
        for _ in range(8)
    ]
    spread = [member - mean for member in held]
    for name in ("model-axis", "rows-pca", "hosvd"):
        found = measure(BY_NAME[name], lambda: held)
        assert_spectra(found, twin.SPECTRA[name](spread), tolerance=1e-10)


@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_narrow_members_are_widened(dtype):
    held, _ = matrices(7, (12, 15), common=1.0)
    held = [member.astype(dtype) for member in held]
    for name in ("model-axis", "rows-pca", "hosvd", "conv-cols"):
        found = measure(BY_NAME[name], lambda: held)
        assert_spectra(found, twin.SPECTRA[name](held), tolerance=1e-12)


@pytest.mark.parametrize("name", BY_NAME)
def test_lesser_side_and_blocks_make_no_difference(name, monkeypatch):
    _, members = updates([3] * 5, (30, 25))
    whole = measure(BY_NAME[name], members)
    monkeypatch.setattr(moments, "_ENTRIES", 1)
    for one_block in (0, 2**30):
        monkeypatch.setattr(
            "spectra.subspaces.recipes.measured._ONE_BLOCK", one_block
        )
        for a, b in zip(whole, measure(BY_NAME[name], members), strict=True):
            scale = 1e-12 * a.eigenvalues[0]
            assert_allclose(a.eigenvalues, b.eigenvalues, atol=scale)


def test_gram_of_a_fit_is_model_axis():
    held, members = matrices(9, (8, 6), common=1e5)
    Y = np.stack([member.ravel() - held[3].ravel() for member in held])
    (direct,) = measure(BY_NAME["model-axis"], members)
    found = of_inner(Y @ Y.T, 48)
    assert_spectra([found], twin.model_axis(held))
    assert (found.free, found.feature_dim) == (direct.free, 48)
    assert found.chance(2) == direct.chance(2)


# What is said of a spectrum.


def test_rows_of_b_have_as_many_features_as_the_rank():
    _, members = updates([4] * 12, (50, 30))
    a, b = measure(BY_NAME["lora-rows-pca"], members)
    assert (a.feature_dim, a.n_samples) == (30, 48)
    assert (b.feature_dim, b.n_samples) == (4, 600)
    assert b.evr(4) == b.evr(16) == 1.0
    assert b.saturated(4)
    assert b.saturated(3)
    assert not b.saturated(2)
    assert "only r features" in b.caveat
    assert a.caveat != b.caveat


def test_an_entry_of_the_report():
    _, members = matrices(5, (6, 4))
    (found,) = measure(BY_NAME["model-axis"], members)
    entry = recipe_document(found, (1, 4))
    assert set(entry) == {
        "recipe", "feature_dim", "n_samples", "centring", "eigenvalues",
        "eigenvalues_reason", "evr", "null", "saturated", "truncated",
        "caveat",
    }  # fmt: skip
    assert entry["evr"]["4"] == entry["null"]["4"] == 1.0
    assert entry["eigenvalues"][4] is None, "one is taken by the mean"
    assert entry["saturated"] == {"1": False, "4": True}
    assert entry["truncated"] is False
    found = measure(BY_NAME["hosvd"], members)
    assert [recipe_document(s, ())["mode"] for s in found] == [0, 1, 2]
    _, members = updates([2] * 3, (6, 4))
    found = measure(BY_NAME["lora-eig"], members)
    assert [recipe_document(s, ())["part"] for s in found] == ["A", "B"]


def test_nothing_that_varies_has_no_share():
    held = [np.ones((4, 3))] * 3
    (found,) = measure(BY_NAME["rows-pca"], lambda: held)
    assert found.total == 0
    assert found.evr(1) is None
    assert recipe_document(found, (1,))["evr"] == {"1": None}


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda r: r.name)
def test_rows_of_the_table(recipe):
    assert recipe.name in twin.SPECTRA
    assert recipe.centring in CENTRINGS
    for text in (recipe.chance, recipe.caveat, recipe.source):
        assert text
    for part in recipe.parts:
        caveat = part.caveat or recipe.caveat
        assert caveat.endswith(".")
        assert ". " not in caveat
    assert len(BY_NAME) == len(RECIPES)


@pytest.mark.parametrize("n", [4, 30])
@pytest.mark.parametrize("features", [20, 360])
def test_as_released(n, features):
    rng = np.random.default_rng(4)
    held = [rng.standard_normal((25, features)) for _ in range(n)]
    (found,) = measure(BY_NAME["rows-pca"], lambda: held)
    kept = as_released(found, n_components=60)
    ratios = twin.released(held, n_components=60)
    assert len(kept.eigenvalues) == len(ratios)
    assert_allclose(kept.eigenvalues / kept.total, ratios, atol=1e-12)
    assert kept.truncated
    assert kept.evr(len(ratios)) == pytest.approx(ratios.sum())
    assert kept.evr(len(ratios) + 1) is None
    assert found.evr(len(ratios) + 1) is not None


# Chance.


@pytest.mark.parametrize(
    ("n", "d"), [(1, 9), (3, 3), (7, 500), (40, 12), (60, 60), (200, 30)]
)
def test_chance_is_the_mean_of_draws(n, d):
    rng = np.random.default_rng(5)
    drawn, deviation = twin.gaussian_shares(n, d, 400, rng)
    draws = min(chance._MOST, chance._DRAWN // min(n, d))
    off = np.abs(expected_shares(n, d) - drawn)
    noise = deviation * np.sqrt(1 / 400 + 1 / draws)
    assert (off <= 4 * noise + 1e-12).all()
    assert (noise < 0.01).all()


@pytest.mark.parametrize(("n", "d"), [(300, 300), (300, 900), (2000, 300)])
def test_limit_is_close_to_what_is_drawn(n, d, monkeypatch):
    drawn = expected_shares(n, d)
    limit = chance._limit(min(n, d), max(n, d))
    assert_allclose(limit, drawn, rtol=0.01)
    assert limit[-1] == pytest.approx(1.0)


def test_beyond_what_is_drawn_the_limit_is_taken():
    shares = expected_shares(2000, 1500)
    assert shares.shape == (1500,)
    assert (np.diff(shares) >= 0).all()
    rng = np.random.default_rng(6)
    drawn, _ = twin.gaussian_shares(2000, 1500, 1, rng)
    # One draw: its largest eigenvalue strays by a hundredth.
    assert_allclose(shares, drawn, rtol=0.02)
    assert_allclose(shares[15:], drawn[15:], rtol=0.005)


def test_chance_of_many_models_or_many_rows():
    shares = expected_shares(19, 10**7)
    assert_allclose(shares, np.arange(1, 20) / 19, rtol=4e-3)
    shares = expected_shares(10**6, 24)
    assert_allclose(shares, np.arange(1, 25) / 24, rtol=0.011)


def test_chance_is_what_others_have_found():
    """Of 100 random ViT matrices, as models and by rows; science 4.1, 2.2."""
    models = expected_shares(99, 768 * 768)
    assert_allclose(models[[0, 15]], [0.0104, 0.1648], rtol=5e-3)
    rows = expected_shares(99 * 768, 768)
    assert_allclose(rows[[0, 15]], [0.00157, 0.0249], rtol=5e-3)
    for n, rank in ((20_000, 398), (10**9, 461)):
        assert 1 + np.argmax(expected_shares(n, 768) >= 0.6) == rank


@pytest.mark.parametrize("name", BY_NAME)
def test_chance_of_a_recipe_is_what_it_finds_in_gaussian_members(name):
    """Means of 40 populations."""
    recipe = BY_NAME[name]
    adapters_too = recipe.of == "adapters"
    totals, predicted = {}, {}
    for seed in range(40):
        if adapters_too:
            _, members = updates([3] * 6, (40, 28), seed=seed)
        else:
            _, members = matrices(6, (20, 28), seed=seed)
        for spectrum in measure(recipe, members):
            key = spectrum.part, spectrum.mode
            shares = np.array([spectrum.evr(k) for k in (1, 2, 4)])
            totals[key] = totals.get(key, 0) + shares / 40
            predicted[key] = [spectrum.chance(k) for k in (1, 2, 4)]
    for key, shares in totals.items():
        assert_allclose(shares, predicted[key], rtol=0.02)


@pytest.mark.parametrize("name", ["model-axis", "rows-pca", "hosvd"])
def test_chance_of_updates_counts_their_ranks(name):
    """Of one norm: it is what chance assumes."""
    totals, predicted = {}, {}
    for seed in range(20):
        held, _ = updates([2] * 6, (120, 90), seed=seed)
        scales = [1 / np.linalg.norm(B @ A) for A, B, _ in held]
        maps = [
            Factors(A, B, scale)
            for (A, B, _), scale in zip(held, scales, strict=True)
        ]
        for spectrum in measure(BY_NAME[name], lambda maps=maps: maps):
            shares = np.array([spectrum.evr(k) for k in (1, 4)])
            key = spectrum.mode
            totals[key] = totals.get(key, 0) + shares / 20
            predicted[key] = [spectrum.chance(k) for k in (1, 4)]
    for key, shares in totals.items():
        assert_allclose(shares, predicted[key], rtol=0.06)


# Refusals.


@pytest.mark.parametrize("name", ["rows-pca", "hosvd"])
def test_what_is_too_wide_is_refused_by_its_size(name):
    _, members = matrices(3, (20, 24))
    with pytest.raises(Quarantine, match=r"20|24") as told:
        measure(BY_NAME[name], members, limit=19)
    assert told.value.code == "LIMIT_DIM"
    assert "19 is the most" in told.value.detail


def test_few_samples_of_many_features_are_not_refused():
    held, members = updates([2] * 3, (50, 60))
    found = measure(BY_NAME["lora-cols-svd"], members, limit=6)
    assert_spectra(found, twin.lora_cols_svd(held))
    with pytest.raises(Quarantine, match="6 samples of 60 features"):
        measure(BY_NAME["lora-cols-svd"], members, limit=5)


def test_no_mean_of_factors_of_different_ranks():
    _, members = updates([2, 3], (8, 9))
    with pytest.raises(Quarantine, match="2 and 3 samples") as told:
        measure(BY_NAME["lora-rows-pca"], members)
    assert told.value.code == "SHAPE_MISMATCH"


def test_shapes_of_members_have_to_agree():
    held = [np.ones((4, 3)), np.ones((4, 5))]
    for name in ("model-axis", "rows-pca", "hosvd"):
        with pytest.raises(Quarantine, match="SHAPE_MISMATCH"):
            measure(BY_NAME[name], lambda: held)


@pytest.mark.parametrize("name", ["model-axis", "conv-cols"])
def test_one_model_is_too_few(name):
    with pytest.raises(Quarantine, match="TOO_FEW_MEMBERS"):
        measure(BY_NAME[name], lambda: [np.ones((4, 3))])


@pytest.mark.parametrize("name", OF_ADAPTERS)
def test_full_matrices_have_no_factors(name):
    with pytest.raises(TypeError, match="raw factors"):
        measure(BY_NAME[name], lambda: [np.ones((4, 3))] * 2)


@pytest.mark.parametrize("change", [-1, 1])
def test_members_that_change_are_seen(change):
    held, _ = matrices(4, (5, 6))
    readings = iter([held, held[: 4 + change] if change < 0 else held * 2])
    with pytest.raises(Quarantine, match="SOURCE_CHANGED"):
        measure(BY_NAME["rows-pca"], lambda: next(readings))


def test_what_is_not_finite_is_refused():
    held, members = matrices(3, (4, 5))
    held[1][2, 3] = np.nan
    with pytest.raises(Quarantine):
        measure(BY_NAME["rows-pca"], members)


# Algorithm 1: factors, core and error.

RANKS = {0: 3, 1: 4, 2: 5}
SUBSETS = [(0,), (1,), (2,), (0, 1), (0, 2), (1, 2), (0, 1, 2)]


def smooth(n, shape, *, seed=0, common=3.0):
    """Return members whose modes fall off, as real ones do."""
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((n, *shape))
    for mode, size in enumerate(X.shape):
        Q = np.linalg.qr(rng.standard_normal((size, size)))[0]
        X = np.moveaxis(X, mode, -1) @ (Q * np.arange(1, size + 1) ** -0.7)
        X = np.moveaxis(X, -1, mode)
    held = list(X + common * rng.standard_normal(shape))
    return held, lambda: iter(held)


def rebuilt(tucker, n):
    return np.stack([tucker.member(i) for i in range(n)])


def assert_consistent(tucker, held, centring):
    """Check what a decomposition says of itself."""
    X, mean = twin.tensor(held, centring)
    approximation = twin.project(X, tucker.factors)
    scale = np.linalg.norm(X)
    found = rebuilt(tucker, len(held))
    assert_allclose(found, mean + approximation, atol=1e-8 * scale)
    error = np.linalg.norm(X - approximation)
    assert tucker.error == pytest.approx(error, rel=1e-8, abs=1e-10 * scale)
    assert tucker.energy == pytest.approx(scale**2, rel=1e-10)
    for U in tucker.factors:
        if U is not None:
            assert_allclose(U.T @ U, np.eye(U.shape[1]), atol=1e-12)


@pytest.mark.parametrize("centring", ["models", "scalar", "none"])
@pytest.mark.parametrize("modes", SUBSETS, ids=str)
def test_hosvd_beside_the_tensor_in_memory(modes, centring):
    held, members = smooth(7, (10, 12))
    found = hosvd(members, modes=modes, ranks=RANKS, centring=centring)
    assert_consistent(found, held, centring)
    X, _ = twin.tensor(held, centring)
    tails = 0.0
    for mode in range(3):
        U, r = found.factors[mode], RANKS[mode]
        if mode not in modes:
            assert U is None
            continue
        V, s, _ = np.linalg.svd(twin.unfold(X, mode), full_matrices=False)
        assert_allclose(U @ U.T, V[:, :r] @ V[:, :r].T, atol=1e-8)
        tails += (s[r:] ** 2).sum()
    assert found.bound == pytest.approx(tails**0.5, rel=1e-8)
    assert found.error <= found.bound * (1 + 1e-12)
    sizes = (7, 10, 12)
    expected = [RANKS[i] if i in modes else sizes[i] for i in range(3)]
    assert found.ranks == tuple(expected)


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
@pytest.mark.parametrize("n", [2, 5, 40])
def test_tau_one_loses_nothing(n, shape):
    held, members = smooth(n, shape, common=1e3)
    found = hosvd(members, tau=1.0)
    scale = np.sqrt(found.energy)
    assert found.error < 1e-12 * scale
    assert_allclose(rebuilt(found, n), np.stack(held), atol=1e-12 * 1e4)


def test_tau_one_of_few_entries_and_many_models():
    """Models in a space of 6 dimensions, without loss."""
    held, members = matrices(20, (2, 3))
    found = hosvd(members, tau=1.0)
    assert found.ranks == (6, 2, 3)
    assert_allclose(rebuilt(found, 20), np.stack(held), atol=1e-12)


@pytest.mark.parametrize("tau", [0.3, 0.6, 0.9, 0.99])
def test_tau_takes_the_fewest_directions(tau):
    held, members = smooth(9, (14, 11), seed=1)
    found = hosvd(members, tau=tau)
    spectra_of = twin.hosvd(held)
    for mode, r in enumerate(found.ranks):
        shares = np.cumsum(spectra_of[mode]) / spectra_of[mode].sum()
        assert r == 1 + np.argmax(shares >= tau)
    assert found.error <= found.bound
    assert found.error**2 <= 3 * (1 - tau) * found.energy


def test_readings_of_line_one_have_other_means():
    held, members = smooth(6, (8, 9), common=4.0)
    entry = hosvd(members, ranks=RANKS)
    scalar = hosvd(members, ranks=RANKS, centring="scalar")
    assert_allclose(entry.centre, np.mean(held, axis=0))
    assert_allclose(scalar.centre, np.mean(held))
    assert scalar.centre.size == 1
    assert scalar.energy > 2 * entry.energy
    assert_allclose(hosvd(members, tau=1, centring="none").centre, 0)


@pytest.mark.parametrize("modes", SUBSETS, ids=str)
def test_hosvd_and_hooi_beside_tensorly(modes):
    held, members = smooth(8, (11, 13), seed=2)
    X, mean = twin.tensor(held)
    start = hosvd(members, modes=modes, ranks=RANKS)
    for rounds, ours in (
        (0, start),
        (4, hooi(members, start, rounds=4, tolerance=-1.0)),
    ):
        (core, factors), _ = partial_tucker(
            X,
            rank=[RANKS[mode] for mode in modes],
            modes=list(modes),
            n_iter_max=rounds,
            tol=0,
        )
        theirs = mean + multi_mode_dot(core, factors, modes=modes)
        assert_allclose(rebuilt(ours, 8), theirs, atol=1e-8)
        mine = np.sort(np.abs(ours.core).ravel())
        assert_allclose(mine, np.sort(np.abs(core).ravel()), atol=1e-8)


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("centring", ["models", "scalar"])
def test_hooi_is_never_worse(seed, centring):
    held, members = smooth(6, (12, 9), seed=seed)
    start = hosvd(members, ranks={0: 2, 1: 3, 2: 2}, centring=centring)
    errors = [start.error]
    for rounds in (1, 2, 50):
        better = hooi(members, start, rounds=rounds)
        assert better.ranks == start.ranks
        assert_consistent(better, held, centring)
        errors.append(better.error)
    assert all(b <= a for a, b in pairwise(errors))
    assert errors[-1] < errors[0] * (1 - 1e-6)
    again = hooi(members, better, rounds=5)
    assert again.error == pytest.approx(better.error, rel=1e-6)


def test_hooi_stops_where_nothing_is_gained():
    _, members = smooth(5, (6, 7))
    start = hosvd(members, tau=1.0)
    readings = []

    def counted():
        readings.append(1)
        return members()

    better = hooi(counted, start, rounds=50)
    assert better.error <= start.error
    assert len(readings) < 20


def test_hosvd_of_updates():
    held, members = updates([1, 3, 2, 4], (12, 10))
    found = hosvd(members, tau=0.8)
    assert_consistent(found, held, "models")
    better = hooi(members, found)
    assert_consistent(better, held, "models")
    assert better.error <= found.error


@pytest.mark.parametrize(
    "options", [{}, {"tau": 0.0}, {"tau": 1.1}, {"tau": 0.5, "ranks": RANKS}]
)
def test_one_of_tau_and_ranks_is_asked_for(options):
    _, members = matrices(3, (4, 5))
    with pytest.raises(ValueError, match="either tau"):
        hosvd(members, **options)


@pytest.mark.parametrize(
    ("modes", "size"), [((0,), 9), ((1,), 12), ((0, 2), 14)]
)
def test_a_mode_too_wide_is_refused(modes, size):
    _, members = matrices(9, (12, 14))
    with pytest.raises(Quarantine, match=f"a mode of {size} rows") as told:
        hosvd(members, modes=modes, tau=0.5, limit=size - 1)
    assert told.value.code == "LIMIT_DIM"


def test_ranks_above_what_there_is_are_cut():
    _, members = matrices(9, (2, 3))
    found = hosvd(members, ranks={0: 99, 1: 99, 2: 99})
    assert found.ranks == (6, 2, 3)


# Memory.


@pytest.mark.parametrize("name", ["model-axis", "rows-pca", "hosvd"])
def test_never_more_than_a_few_members_are_held(name, monkeypatch):
    """200 members of 480 kB: below 6 of them and two moment matrices."""
    monkeypatch.setattr(moments, "_ENTRIES", 1)
    first = np.random.default_rng(8).standard_normal((200, 300))

    def members():
        for i in range(200):
            yield np.roll(first, 7 * i)

    tracemalloc.start()
    try:
        measure(BY_NAME[name], members)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 8 * (6 * 200 * 300 + 2 * 300**2)


def test_nor_by_a_decomposition(monkeypatch):
    monkeypatch.setattr(moments, "_ENTRIES", 1)
    first = np.random.default_rng(9).standard_normal((150, 200))

    def members():
        for i in range(60):
            yield np.roll(first, 7 * i)

    tracemalloc.start()
    try:
        start = hosvd(members, ranks={0: 20, 1: 30, 2: 180})
        hooi(members, start, rounds=1)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    cores = 3 * 20 * 30 * 180
    assert peak < 8 * (6 * 150 * 200 + 5 * 200**2 + cores)


# Files, and real populations.


def tasks_of(folder, **settings):
    catalog = spectra.scan(folder)
    return work_of(catalog.value, FitSettings(**settings)).tasks


def test_members_of_full_weights_from_their_files(tmp_path):
    shapes = {"block.0.up.weight": (9, 7), "block.0.down.weight": (7, 9)}
    folder, maps, base = dense(tmp_path, 4, shapes, spread=0.5)
    for task in tasks_of(folder):
        members = stored_members(task)
        assert [r.of for r in recipes_for(task)] == ["any"] * 3
        expected = [m[f"{task.key.name}.weight"] for m in maps.values()]
        for _ in range(2):
            assert_allclose(list(members()), expected, rtol=0)
        found = measure(BY_NAME["rows-pca"], members)
        assert_spectra(found, twin.rows_pca(expected))
    for task in tasks_of(folder, base=str(tmp_path / "base")):
        name = f"{task.key.name}.weight"
        expected = [m[name] - base[name] for m in maps.values()]
        assert_allclose(list(stored_members(task)()), expected, rtol=0)


def test_members_of_adapters_from_their_files(tmp_path):
    shapes = {"layer.0.q": (9, 7)}
    folder, maps = adapters(tmp_path, [2, 3, 4], shapes, dtype="BF16")
    (task,) = tasks_of(folder)
    assert {r.name for r in recipes_for(task)} == BY_NAME.keys() - {
        "conv-cols"
    }
    found = list(stored_members(task)())
    for member, layers in zip(found, maps.values(), strict=True):
        A, B, scale = layers["layer.0.q"]
        assert_allclose(member.A, A, rtol=0)
        assert_allclose(member.B, B, rtol=0)
        assert member.scale == scale


def test_members_of_convolutions_from_their_files(tmp_path):
    rng = np.random.default_rng(7)
    held = [rng.standard_normal((6, 4, 3, 3)).astype("f4") for _ in range(3)]
    for i, kernel in enumerate(held):
        write_dense(tmp_path / f"m{i}", {"conv.weight": kernel})
    (task,) = tasks_of(tmp_path)
    assert "conv-cols" in {r.name for r in recipes_for(task)}
    found = measure(BY_NAME["conv-cols"], stored_members(task))
    assert_spectra(found, twin.conv_cols(held))


REAL = ["ani", "jeffy-massive", "sceptr", "chgnet", "minilm-lora"]


@pytest.mark.parametrize("folder", [*REAL, "minilm-lora-same-seed"])
def test_real_populations(populations, folder):
    for task in tasks_of(populations / folder)[:3]:
        members = stored_members(task)
        held = [
            (m.A, m.B, m.scale) if isinstance(m, Factors) else m
            for m in members()
        ]
        for recipe in recipes_for(task):
            found = measure(recipe, members)
            assert_spectra(found, twin.SPECTRA[recipe.name](held))


def test_one_seed_looks_like_a_shared_subspace_of_raw_factors(populations):
    """What the caveat says: A shares its start, and nothing was learned."""
    shares = {}
    for folder in ("minilm-lora", "minilm-lora-same-seed"):
        task = tasks_of(populations / folder)[0]
        members = stored_members(task)
        a, _ = measure(BY_NAME["lora-cols-svd"], members)
        shares[folder] = a.evr(8) / a.chance(8)
    assert shares["minilm-lora"] < 1.5
    assert shares["minilm-lora-same-seed"] > 3
