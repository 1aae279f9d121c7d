"""Parts of a population from inner products, against explicit vectors."""

import json
from dataclasses import asdict, fields, is_dataclass, replace

import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy.linalg import subspace_angles

from spectra.statistics.model_axis import convergence, resampling
from spectra.statistics.model_axis import stability as module
from spectra.statistics.model_axis.effect import resamples
from spectra.statistics.model_axis.stability import (
    stability,
    stability_document,
)
from spectra.statistics.nulls.table import unrelated
from spectra.statistics.vectors import (
    Deviations,
    centred,
    deviation_norms,
    deviations,
)
from tests.statistics.planted import fit_of, planted, strong

LEVELS = (1, 2, 4)
LABELS = (3, 3, 0, 1, 5, 1, 2, 6, 4, 6, 6, 7, 8, 9, 9, 10, 11, 12, 12, 13)
SPLITS, DRAWS = 12, 60


def axis_of(X, floor=1e-9):
    """Return members given as rows, as the statistics see them."""
    K = centred(X @ X.T)
    eigenvalues = np.maximum(0.0, np.linalg.eigvalsh(K)[:0:-1])
    return Deviations(
        members=tuple(range(len(X))),
        K=K,
        eigenvalues=eigenvalues,
        floor=floor * eigenvalues[0],
        squared_norms=deviation_norms(K),
        energies=np.sum(X**2, axis=1),
        mean_fraction=None,
        size=X.shape[1],
    )


def population(seed=0, n=20, size=40):
    """Return members of unequal strength around a few strong directions."""
    rng = np.random.default_rng(seed)
    lengths = np.exp(0.5 * rng.standard_normal((n, 1)))
    X = lengths * rng.standard_normal((n, size))
    X[:, :2] *= 5
    return X + 2 * rng.standard_normal(size)


def found_of(X, labels=LABELS, levels=LEVELS, seed=7, **options):
    options = {"splits": SPLITS, "draws": DRAWS} | options
    rng = np.random.default_rng(seed)
    return stability(axis_of(X), labels, levels, rng=rng, **options)


def document_of(X, labels=LABELS, levels=LEVELS, **options):
    return stability_document(found_of(X, labels, levels, **options), levels)


# The slow, literal twin: vectors, their SVD, and one loop a definition.


class Twin:
    """The same random choices, then every definition by explicit vectors."""

    def __init__(self, X, labels=LABELS, seed=7, splits=SPLITS, draws=DRAWS):
        self.X, self.rng = X, np.random.default_rng(seed)
        names = list(dict.fromkeys(labels))
        self.groups = [
            [i for i, label in enumerate(labels) if label == name]
            for name in names
        ]
        g = len(names)
        self.orders = [self.rng.permutation(g) for _ in range(splits)]
        self.weights = resamples(g, draws, self.rng).astype(int)
        self.halves = [
            (self.members(order[: g // 2]), self.members(order[g // 2 :]))
            for order in self.orders
        ]

    def members(self, order):
        return [i for place in order for i in self.groups[place]]


def leading(Y, k):
    _, _, Vh = np.linalg.svd(Y - Y.mean(axis=0), full_matrices=False)
    return Vh[:k].T


def overlap(Y, Z, k):
    angles = subspace_angles(leading(Y, k), leading(Z, k))
    return np.mean(np.cos(angles) ** 2)


def moment(Y):
    Y = Y - Y.mean(axis=0)
    return Y.T @ Y / len(Y)


def spectrum(Y):
    singular = np.linalg.svd(Y - Y.mean(axis=0), compute_uv=False)
    return singular**2


def test_split_half_is_the_mean_of_squared_cosines_of_principal_angles():
    X = population()
    found, twin = found_of(X), Twin(X)
    expected = [
        np.mean([overlap(X[a], X[b], k) for a, b in twin.halves])
        for k in LEVELS
    ]
    assert_allclose(found.split_half, expected, rtol=1e-8)


def test_the_null_is_a_draw_a_split_with_the_members_own_norms():
    X = population()
    found, twin = found_of(X), Twin(X)
    lengths = np.sqrt(deviation_norms(centred(X @ X.T)))
    rows = []
    for a, b in twin.halves:
        (cosines,) = unrelated(20, 40, 1, twin.rng)
        Y = lengths[:, None] * np.linalg.cholesky(cosines)
        rows.append([overlap(Y[a], Y[b], k) for k in LEVELS])
    assert_allclose(found.split_half_null, np.mean(rows, axis=0), rtol=1e-8)


def test_the_null_of_equal_norms_is_that_of_random_subspaces():
    X = strong(np.random.default_rng(0), 60, (400, 1))[..., 0]
    found = found_of(X, range(60), (1, 4, 16), splits=50)
    assert_allclose(found.split_half_null[1:], [0.01, 0.04], rtol=0.1)


def test_the_bound_is_that_of_explicit_operators():
    X = population()
    found, twin = found_of(X), Twin(X)
    smallest = min(len(half) for pair in twin.halves for half in pair)
    gaps = -np.diff(spectrum(X))[: smallest - 2]
    k = int(np.argmax(gaps)) + 1
    assert found.k == k
    bounds = []
    for a, b in twin.halves:
        first, second = moment(X[a]), moment(X[b])
        gap = min(
            -np.diff(np.linalg.eigvalsh(S)[::-1])[k - 1]
            for S in (first, second)
        )
        bounds.append(2 * np.linalg.norm(first - second, 2) / gap)
    assert_allclose(found.bound, np.median(bounds), rtol=1e-8)


def test_intervals_are_of_groups_repeated_as_often_as_they_are_drawn():
    X = population()
    found, twin = found_of(X), Twin(X)
    shares, gaps, ratios = [], [], []
    for row in twin.weights:
        drawn = [i for g, w in enumerate(row) for i in twin.groups[g] * w]
        values = spectrum(X[drawn])
        shares.append(np.cumsum(values)[[k - 1 for k in LEVELS]] / sum(values))
        gaps.append(1 - values[found.k] / values[found.k - 1])
        ratios.append(sum(values) ** 2 / sum(values**2))
    values, k = spectrum(X)[:-1], found.k
    observed = [sum(values[:level]) / sum(values) for level in LEVELS]
    cases = [
        *zip(found.bootstrap.evr, observed, np.transpose(shares), strict=True),
        (found.bootstrap.relative_gap, 1 - values[k] / values[k - 1], gaps),
        (
            found.bootstrap.participation_ratio,
            sum(values) ** 2 / sum(values**2),
            ratios,
        ),
    ]
    for interval, value, drawn in cases:
        bias = np.mean(drawn) - value
        low, high = np.percentile(drawn, [2.5, 97.5]) - bias
        assert_allclose(
            list(asdict(interval).values()),
            [value, low, min(high, 1.0) if value < 1 else high, bias],
            rtol=1e-7,
        )


def test_curves_are_those_of_explicit_subsamples():
    X = population()
    found, twin = found_of(X).saturation, Twin(X)
    sizes, k, column = (3, 7, 10, 14), 2, LEVELS.index(2)
    n, excess, overlaps, held = np.zeros((4, 10, 4))
    for i, order in enumerate(twin.orders[:10]):
        out = X[twin.members(order[10:])]
        for j, size in enumerate(sizes):
            Y = X[twin.members(order[:size])]
            values, V = spectrum(Y), leading(Y, k)
            n[i, j] = len(Y)
            chance = k / (len(Y) - 1)
            excess[i, j] = sum(values[:k]) / sum(values) - chance
            overlaps[i, j] = overlap(Y, X, k)
            away = out - Y.mean(axis=0)
            held[i, j] = np.sum((away @ V) ** 2) / np.sum(away**2)
    assert_allclose(found.n, n.mean(axis=0))
    assert_allclose(found.evr_excess[:, column], excess.mean(axis=0))
    assert_allclose(found.overlap[:, column], overlaps.mean(axis=0))
    captured = found.captured[:, column]
    assert_allclose(captured[:3], held.mean(axis=0)[:3])
    assert np.isnan(captured[3])
    gains = held[:, 2] - held[:, 1]
    error = np.std(gains, ddof=1) / np.sqrt(10)
    assert_allclose(found.gain[column], gains.mean())
    assert_allclose(found.error[column], error)


def test_distances_are_of_nested_parts_from_either_half():
    labels = np.random.default_rng(1).permutation(np.arange(50) % 33)
    X = population(n=50)
    found, twin = found_of(X, labels.tolist()), Twin(X, labels.tolist())
    n, apart = np.zeros((2, SPLITS, 3))
    for i, order in enumerate(twin.orders):
        for j, (first, second) in enumerate(((4, 4), (8, 8), (16, 17))):
            a = twin.members(order[:first])
            b = twin.members(order[16 : 16 + second])
            n[i, j] = 2 * len(a) * len(b) / (len(a) + len(b))
            apart[i, j] = np.linalg.norm(moment(X[a]) - moment(X[b]), 2)
    curve = found.convergence
    assert_allclose(curve.n, n.mean(axis=0))
    assert_allclose(curve.distance, apart)
    deviations = X - X.mean(axis=0)
    norm = np.linalg.norm(deviations.T @ deviations, 2) / len(X)
    assert_allclose(curve.norm, norm)
    x, y = np.log(n.mean(axis=0)), np.log(apart.mean(axis=0))
    slope = np.cov(x, y)[0, 1] / np.var(x, ddof=1)
    assert_allclose(curve.slope, slope)


@pytest.mark.parametrize("rows", [1, 3, 60])
@pytest.mark.parametrize("size", [1, 20, 300])
def test_the_norm_is_that_of_the_explicit_operator(rows, size):
    rng = np.random.default_rng(rows)
    X, signs = rng.standard_normal((rows, size)), rng.choice([-1.0, 1.0], rows)
    expected = np.linalg.norm(X.T @ np.diag(signs) @ X, 2)
    assert_allclose(convergence._norm(X, signs), expected)
    assert_allclose(convergence._norm(X, -signs), expected)
    assert convergence._norm(0 * X, signs) == 0.0


LIES = {
    "longer": lambda value, v: (value * 1.001, v),
    "elsewhere": lambda value, v: (value, v[::-1]),
    "zero": lambda value, v: (value * 0, v),
    "nan": lambda value, v: (value * np.nan, v),
}


@pytest.mark.parametrize("lie", LIES.values(), ids=LIES)
def test_a_norm_without_proof_is_taken_from_all_eigenvalues(lie, monkeypatch):
    rng = np.random.default_rng(1)
    X, signs = rng.standard_normal((20, 100)), np.repeat([1.0, -1.0], 10)
    honest = convergence.eigsh

    def solve(*args, **options):
        return lie(*honest(*args, **options))

    monkeypatch.setattr(convergence, "eigsh", solve)
    found = convergence._norm(X, signs)
    exact = np.abs(np.linalg.eigvalsh((X.T * signs) @ X)).max()
    assert_allclose(found, exact, rtol=1e-12)


# What is known because it was put there.


def common(share, n, directions=4, size=1000):
    rng = np.random.default_rng(n)
    return planted(rng, share, n, directions, (size, 1))[..., 0]


def test_planted_directions_are_found_again_in_the_other_half():
    n = 300
    document = document_of(common(0.9, n), range(n), (1, 4, 16))
    assert document["split_half"]["4"] > 0.98
    # The other twelve are noise: they have nothing in common.
    assert 0.24 < document["split_half"]["16"] < 0.26
    assert document["split_half_null"]["4"] < 0.01
    assert document["davis_kahan_k"] == document["eigengap"]["k"] == 4
    assert 0.3 < document["davis_kahan"] < 1
    assert document["eigengap"]["low"] > 0.8
    assert document["saturation"]["still_growing"] is False
    assert document["saturation"]["overlap"]["4"][0] > 0.98


def test_noise_agrees_as_much_as_the_null_and_its_bound_is_vacuous():
    rng, found = np.random.default_rng(0), []
    for _ in range(30):
        X = rng.standard_normal((60, 500))
        document = document_of(X, range(60), (4, 16), draws=2)
        assert document["davis_kahan"] == "vacuous"
        assert document["saturation"]["still_growing"] is False
        found.append([
            list(document[key].values())
            for key in ("split_half", "split_half_null")
        ])  # fmt: skip
    observed, null = np.mean(found, axis=0)
    assert_allclose(observed, null, rtol=0.1)
    assert_allclose(null, [4 / 500, 16 / 500], rtol=0.1)


def test_unequal_norms_are_in_the_null_as_well():
    # Few members carry all: halves agree on nothing, whatever their EVR.
    rng, found = np.random.default_rng(1), []
    for _ in range(30):
        lengths = np.exp(rng.standard_normal((60, 1)))
        X = lengths * rng.standard_normal((60, 300))
        one = found_of(X, range(60), (4,), draws=2)
        assert one.bootstrap.evr[0].value > 0.3
        found.append([one.split_half[0], one.split_half_null[0]])
    observed, null = np.mean(found, axis=0)
    assert_allclose(observed, null, rtol=0.1)


def test_what_few_members_have_of_the_directions_is_still_growing():
    document = document_of(common(0.8, 24), range(24), (1, 4))["saturation"]
    quarter, half, most, all_ = document["captured"]["4"]
    assert quarter < half < most < 0.8
    assert all_ is None
    assert document["still_growing"] is True
    assert document["text"].endswith("still growing")
    assert "k = 4 " in document["text"]


def test_a_gain_must_be_large_and_sure():
    saturation = found_of(population()).saturation
    changed = {f.name: getattr(saturation, f.name) for f in fields(saturation)}
    for gain, error, growing in (
        (0.02, 0.009, True),
        (0.02, 0.011, False),
        (0.009, 0.001, False),
        (-0.5, 0.001, False),
    ):
        changed |= {"gain": np.array([gain]), "error": np.array([error])}
        assert type(saturation)(**changed).is_growing(0) is growing


@pytest.mark.parametrize(
    ("X", "slope", "tolerance"),
    [
        # An effective rank of 2, well below the 20 members of the least part.
        (
            np.random.default_rng(0).standard_normal((320, 5))
            * [3.0, 2.0, 1.0, 1.0, 0.5],
            -0.5,
            0.1,
        ),
        # An effective rank of 320.
        (np.eye(320), -1.0, 1e-6),
    ],
    ids=["few directions", "orthogonal"],
)
def test_the_slope_is_that_of_the_law(X, slope, tolerance):
    found = found_of(X, range(320), (1,), splits=50, draws=2).convergence
    assert found.n.tolist() == [20, 40, 80, 160]
    assert_allclose(found.slope, slope, atol=tolerance)


def test_the_interval_lies_around_the_value_that_copies_exceed():
    X = np.eye(40) + 1e-3 * np.random.default_rng(0).standard_normal((40, 40))
    share = document_of(X, range(40), (4,))["bootstrap"]["evr"]["4"]
    assert_allclose(share["value"], 4 / 39, rtol=0.03)
    assert share["low"] < share["value"] < share["high"]
    # Not one resample would have reached so low a value.
    assert share["bias"] > share["value"]


def test_the_interval_ends_where_values_do():
    document = document_of(np.eye(40), range(40), (1, 4))["bootstrap"]
    assert document["evr"]["1"]["low"] == 0.0
    assert document["participation_ratio"]["high"] == 39
    X = population(n=8)
    X[:, 0] *= 20
    document = document_of(X, range(8), (1, 4))["bootstrap"]
    assert document["evr"]["1"]["high"] == 1.0
    assert document["participation_ratio"]["low"] == 1.0


def test_resamples_without_the_direction_have_no_gap():
    X = population(n=6)
    many = np.array([[1, 1, 1, 1, 1, 1], [2, 1, 0, 1, 1, 1]])
    few = np.array([[3, 3, 0, 0, 0, 0], [0, 0, 6, 0, 0, 0]])
    options = {"levels": (1,), "gap_at": 2}
    gaps = [
        resampling.bootstrap(
            axis_of(X), range(6), weights.astype(float), **options
        ).relative_gap
        for weights in (many, np.vstack([few, many]))
    ]
    assert gaps[0] == gaps[1]


@pytest.mark.parametrize("few", [True, False])
def test_the_interval_is_as_wide_as_samples_differ(few):
    rng = np.random.default_rng(2)
    values, widths = [], []
    for _ in range(60):
        X = rng.standard_normal((80, 12)) / np.arange(1, 13)
        labels = np.arange(80) // 2 if few else np.arange(80)
        X = X[labels] if few else X
        interval = found_of(
            X + 1e-3 * rng.standard_normal(X.shape), labels.tolist(), (1,),
            splits=2,
        ).bootstrap.evr[0]  # fmt: skip
        values.append(interval.value)
        widths.append(interval.high - interval.low)
    assert_allclose(np.mean(widths), 3.92 * np.std(values), rtol=0.3)


# Groups, seeds, order and scale.


def test_no_part_has_some_members_of_a_group_without_the_others(monkeypatch):
    seen = []

    def watched(cases, count, /, *, floor):
        seen.extend(set(places.tolist()) for _, places in cases)
        return resampling.parts(cases, count, floor=floor)

    monkeypatch.setattr(module, "parts", watched)
    found_of(population())
    groups = [set(group) for group in Twin(population()).groups]
    assert len(seen) > 4 * SPLITS
    for places in seen:
        assert all(group <= places or not group & places for group in groups)
    first, second = seen[:2]
    assert first | second == set(range(20))
    assert not first & second


def test_near_copies_do_not_stand_on_both_sides():
    rng = np.random.default_rng(0)
    runs = np.repeat(rng.standard_normal((12, 500)), 5, axis=0)
    X = runs + 0.05 * rng.standard_normal(runs.shape)
    alike = np.repeat(np.arange(12), 5).tolist()
    assert found_of(X, alike, (11,)).split_half[0] < 0.05
    assert found_of(X, range(60), (11,)).split_half[0] > 0.9


def test_the_same_seed_gives_the_same_numbers():
    X = population()
    assert document_of(X, seed=1) == document_of(X, seed=1)
    assert document_of(X, seed=1) != document_of(X, seed=2)


def test_other_levels_change_nothing_but_themselves():
    few, more = found_of(population()), found_of(population(), levels=(2, 5))
    assert_allclose(few.split_half[1], more.split_half[0])
    assert_allclose(few.split_half_null[1], more.split_half_null[0])
    assert_allclose(few.bound, more.bound)
    assert few.convergence.slope == more.convergence.slope


def flat(value):
    """Return every number below a value, in one order."""
    if is_dataclass(value):
        value = asdict(value)
    if isinstance(value, dict):
        value = tuple(value.values())
    if isinstance(value, list | tuple):
        return [number for part in value for number in flat(part)]
    if isinstance(value, np.ndarray):
        return value.ravel().tolist()
    return [np.nan if value is None else value]


def test_a_factor_changes_distances_only():
    labels = [f"g{i % 33}" for i in range(50)]
    X = population(n=50)
    small, large = found_of(X, labels), found_of(1e3 * X, labels)
    assert_allclose(
        large.convergence.distance, 1e6 * small.convergence.distance
    )
    assert_allclose(large.convergence.slope, small.convergence.slope)
    for name in ("split_half", "split_half_null", "k", "bound"):
        assert_allclose(getattr(large, name), getattr(small, name))
    for name in ("bootstrap", "saturation"):
        assert_allclose(
            flat(getattr(large, name)), flat(getattr(small, name)), atol=1e-9
        )


def test_the_order_of_the_listing_changes_nothing():
    maps = planted(np.random.default_rng(0), 0.5, 20, shape=(8, 8))
    order = np.random.default_rng(1).permutation(20)
    found = []
    for listing in (np.arange(20), order):
        ids = [f"m{i:02d}" for i in listing]
        axis = deviations(fit_of(maps[listing]).layers[0], ids)
        # Groups are numbered by who comes first in the listing.
        names = list(dict.fromkeys(LABELS[i] for i in listing))
        labels = [names.index(LABELS[listing[i]]) for i in axis.members]
        found.append(
            stability(
                axis, labels, LEVELS, rng=np.random.default_rng(3), splits=5
            )
        )
    assert_allclose(flat(found[0]), flat(found[1]), rtol=1e-7, atol=1e-9)


# What cannot be said.


@pytest.mark.parametrize(
    ("X", "labels"),
    [
        (population(n=9), (0, 0, 0, 1, 1, 1, 2, 2, 2)),
        (np.ones((6, 5)), range(6)),
    ],
    ids=["three groups", "no deviation"],
)
def test_nothing_is_said_of_too_few_groups_or_of_nothing(X, labels):
    document = document_of(X, labels)
    assert found_of(X, labels) is None
    for key in (
        "split_half", "split_half_null", "davis_kahan", "davis_kahan_k",
        "eigengap", "bootstrap", "saturation", "convergence",
    ):  # fmt: skip
        assert document.pop(key) is None
        assert "four lineage groups" in document.pop(f"{key}_reason")
    assert document == {}


def test_four_members_have_halves_without_a_gap():
    document = document_of(population(n=4), range(4), (1, 2, 16))
    assert document["split_half"]["1"] > 0
    assert document["split_half"]["2"] is None
    assert "fewer directions" in document["split_half_reason"]
    for key in ("davis_kahan", "davis_kahan_k", "eigengap"):
        assert document[key] is None
        assert "three members" in document[f"{key}_reason"]
    assert document["bootstrap"]["evr"]["2"]["value"] > 0
    assert document["bootstrap"]["evr"]["16"] is None
    assert document["saturation"]["captured"]["1"][0] is None
    assert document["saturation"]["captured"]["1"][1] > 0
    assert document["convergence"]["slope"] is None


def test_halves_of_three_members_have_one_gap():
    assert document_of(population(n=6), range(6))["davis_kahan_k"] == 1


def test_the_gap_is_not_one_of_noise():
    axis = replace(
        axis_of(population(n=8)),
        eigenvalues=np.array([9.0, 8.0, 7.5, 7.0, 6.0, 1.0, 0.5]),
        floor=6.5,
    )
    # The largest gap follows an eigenvalue of noise, or is of no half.
    assert module._largest_gap(axis, 8) == 1
    assert module._largest_gap(replace(axis, floor=0.1), 8) == 5
    assert module._largest_gap(replace(axis, floor=0.1), 6) == 1


def test_directions_below_the_floor_are_not_compared():
    rng = np.random.default_rng(0)
    X = 1e-4 * rng.standard_normal((40, 60))
    X[:, :3] += rng.standard_normal((40, 3))
    # Noise of 1e-8 a number: 7e-9 of the largest eigenvalue is below it.
    for floor, kept in ((1e-6, [True, False]), (1e-12, [True, True])):
        found = stability(
            axis_of(X, floor), range(40), (3, 4),
            rng=np.random.default_rng(0), splits=4, draws=9,
        )  # fmt: skip
        assert np.isfinite(found.split_half).tolist() == kept
        assert np.isfinite(found.saturation.overlap[-1]).tolist() == kept
    assert found.k in {1, 2, 3}


def lacking(value, path=""):
    """Yield where a document has null without a reason beside it."""
    if isinstance(value, dict):
        for key, inner in value.items():
            if f"{key}_reason" not in value:
                yield from lacking(inner, f"{path}/{key}")
    elif isinstance(value, list):
        for inner in value:
            yield from lacking(inner, path)
    elif value is None:
        yield path


@pytest.mark.parametrize("n", [4, 5, 8, 20, 40])
def test_the_document_is_json_with_a_reason_for_each_null(n):
    X = population(n=n)
    document = document_of(X, range(n), (1, 4, 16))
    assert list(lacking(document)) == []
    assert json.loads(json.dumps(document, allow_nan=False)) == document


def test_the_documents_figures_are_those_found():
    found, levels = found_of(common(0.9, 80), range(80)), (1, 2, 4)
    document = stability_document(found, levels)
    assert document["splits"] == SPLITS
    assert document["split_half"]["4"] == found.split_half[2]
    assert document["split_half_null"]["2"] == found.split_half_null[1]
    gap = asdict(found.bootstrap.relative_gap)
    assert document["eigengap"] == {
        "k": found.k, "relative_gap": gap["value"], "low": gap["low"],
        "high": gap["high"], "bias": gap["bias"],
    }  # fmt: skip
    boot, curve = document["bootstrap"], document["saturation"]
    assert boot["resamples"] == DRAWS
    assert boot["evr"]["2"] == asdict(found.bootstrap.evr[1])
    assert boot["participation_ratio"] == asdict(
        found.bootstrap.participation_ratio
    )
    assert curve["orders"] == 10
    assert curve["n"] == [20, 40, 60, 80]
    for key in ("evr_excess", "overlap", "captured"):
        column = getattr(found.saturation, key)[:3, 2]
        assert curve[key]["4"][:3] == column.tolist()
    assert document["convergence"] == {
        "slope": found.convergence.slope, "expected": -0.5,
        "n": [5, 10, 20, 40],
        "distance": (
            found.convergence.distance.mean(axis=0) / found.convergence.norm
        ).tolist(),
    }  # fmt: skip
