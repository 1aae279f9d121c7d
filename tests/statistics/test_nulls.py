import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy.stats import ortho_group

from spectra.core.errors import UsageError
from spectra.statistics.nulls.draws import Members, NullDraws, draw_null
from spectra.statistics.nulls.table import (
    NULLS,
    _factors,
    adjusted_p,
    chosen_nulls,
    false_discovery_rates,
    unrelated,
)
from spectra.statistics.streams import generator
from spectra.statistics.vectors import centred, deviations
from tests.reference.naive import naive_fit
from tests.statistics.planted import fit_of, planted, strong

STRENGTH = NULLS[0]
IDS = [f"m{i:03d}" for i in range(40)]


def members_of(fit):
    layer = fit.layers[0]
    return Members(deviations(layer, IDS), layer, are_updates=True)


def axis_of(maps):
    return members_of(fit_of(maps))


def evr(gram, k):
    eigenvalues = np.linalg.eigvalsh(centred(gram))[::-1]
    return eigenvalues[:k].sum() / eigenvalues.sum()


def moments(cosines):
    """Mean, mean square and mean triple product of off-diagonal entries."""
    n = cosines.shape[1]
    i, j = np.triu_indices(n, 1)
    off = cosines[:, i, j]
    triple = [
        cosines[:, a, b] * cosines[:, b, c] * cosines[:, c, a]
        for a in range(n)
        for b in range(a)
        for c in range(b)
    ]
    return off.mean(), np.mean(off**2), np.mean(triple)


def test_draws_have_the_moments_of_haar_rotated_updates():
    rng = np.random.default_rng(0)
    lengths, draws = np.array([1.0, 2.0, 0.5, 1.5, 1.0]), 4000
    # Spectra as unlike as can be: one direction, two, all alike.
    spectra = np.array(
        [[1, 0, 0], [3, 1, 0], [1, 1, 1], [5, 2, 1], [1, 0.1, 0]], float
    )
    spectra *= (lengths / np.linalg.norm(spectra, axis=1))[:, None]
    left = ortho_group.rvs(3, size=5 * draws, random_state=rng)
    right = ortho_group.rvs(4, size=5 * draws, random_state=rng)[:, :3]
    maps = (left * np.tile(spectra, (draws, 1))[:, None, :]) @ right
    X = maps.reshape(draws, 5, 12)
    haar = X @ X.transpose(0, 2, 1)
    scale = np.outer(lengths, lengths)
    drawn = scale * unrelated(5, 12, draws, rng)
    found, expected = moments(drawn / scale), moments(haar / scale)
    assert_allclose(found[0], expected[0], atol=0.006)
    assert_allclose(found[1:], expected[1:], rtol=0.1)
    assert_allclose(found[1:], [1 / 12, 1 / 144], rtol=0.1)
    for k in (1, 2):
        a = np.array([evr(G, k) for G in drawn])
        b = np.array([evr(G, k) for G in haar])
        assert_allclose(a.mean(), b.mean(), atol=0.01)


@pytest.mark.parametrize(("n", "size"), [(5, 40), (9, 4), (6, 6), (4, 1)])
def test_cosines_are_those_of_explicit_random_directions(n, size):
    rng = np.random.default_rng(1)
    draws = 3000
    X = rng.standard_normal((draws, n, size))
    X /= np.linalg.norm(X, axis=2, keepdims=True)
    explicit = X @ X.transpose(0, 2, 1)
    found = unrelated(n, size, draws, rng)
    assert_allclose(np.diagonal(found, axis1=1, axis2=2), 1.0)
    assert (np.linalg.matrix_rank(found) == min(n, size)).all()
    assert np.linalg.eigvalsh(found).min() > -1e-12
    # The last pair is where a wrong number of degrees of freedom shows.
    for i, j in ((1, 0), (n - 1, n - 2)):
        assert_allclose(
            np.quantile(found[:, i, j], [0.1, 0.5, 0.9]),
            np.quantile(explicit[:, i, j], [0.1, 0.5, 0.9]),
            atol=0.05 if size > 1 else 2.1,
        )
    tops = [np.linalg.eigvalsh(G)[:, -1] for G in (found, explicit)]
    assert_allclose(tops[0].mean(), tops[1].mean(), rtol=0.01)


@pytest.mark.parametrize("size", [100, 150, 4000])
def test_a_draw_is_of_one_factor_however_many_are_drawn(size):
    lengths = np.linspace(1, 2, 250)
    rng, alone = np.random.default_rng(0), np.random.default_rng(0)
    for G in unrelated(250, size, 3, rng, lengths=lengths):
        (L,) = _factors(250, size, 1, alone)
        assert not np.triu(L, 1).any()
        L *= (lengths / np.linalg.norm(L, axis=1))[:, None]
        assert_allclose(G, L @ L.T, atol=1e-12)


def test_shared_directions_are_found():
    rng = np.random.default_rng(0)
    axis = axis_of(planted(rng, 0.2, n=20, shape=(16, 16)))
    null = draw_null(STRENGTH, axis, (1, 4), draws=199, rng=rng)
    assert_allclose(null.p, 1 / 200)
    assert null.standardised(4)[0] > 5


def test_every_null_draws_as_many_as_asked_in_batches(monkeypatch):
    axis = axis_of(strong(np.random.default_rng(0), 6, (16, 4)))
    monkeypatch.setattr(
        "spectra.statistics.nulls.draws._BATCH_BYTES", 8 * 36 * 50
    )
    for null in NULLS:
        found = draw_null(null, axis, (1, 4, 16), draws=199, rng=generator(0))
        assert found.drawn.shape == (199, 2)
        assert found.levels == (1, 4)
        assert (np.diff(found.drawn, axis=1) >= 0).all()


def test_no_null_for_two_members_nor_for_members_that_do_not_differ():
    rng = np.random.default_rng(0)
    pair = axis_of(strong(rng, 2, (4, 4)))
    why = draw_null(STRENGTH, pair, (1,), draws=9, rng=rng)
    assert "three members" in why
    # One entry of a member is off by one unit in the last place.
    models = {}
    for i in range(3):
        models[IDS[i]] = {"l": np.ones((8, 8))}
        models[IDS[i]]["l"][i, i] += 2.3e-16
    fit = naive_fit(models)
    equal = members_of(fit)
    assert equal.axis.energy > 0
    assert draw_null(STRENGTH, equal, (1,), draws=9, rng=rng) == why


def test_p_counts_draws_at_least_as_high():
    drawn = np.array([[0.1], [0.2], [0.3], [0.4]])
    for observed, expected in ((0.5, 1), (0.4, 2), (0.25, 3), (0.0, 5)):
        null = NullDraws((1,), np.array([observed]), drawn)
        assert_allclose(null.p, expected / 5)


def test_shares_that_are_one_on_both_sides_are_no_finding():
    drawn = 1.0 - 1e-16 * np.arange(9.0)[:, None]
    null = NullDraws((4,), np.array([1.0]), drawn)
    assert null.p == 1.0
    assert adjusted_p([null], 4) == [1.0]


def test_adjusted_p_is_westfall_and_young_by_the_book():
    rng = np.random.default_rng(3)
    layers = [
        NullDraws(
            (1, 4), shift + scale * rng.random(2), scale * rng.random((99, 2))
        )
        for shift, scale in ((0.2, 0.1), (0.0, 1.0), (0.3, 0.5))
    ]
    short = NullDraws((1,), np.array([0.9]), rng.random((99, 1)))
    found = adjusted_p([layers[0], "none", layers[1], short, layers[2]], 4)
    assert np.isnan(found[1])
    assert np.isnan(found[3])
    z, drawn_z = [], []
    for layer in layers:
        column = layer.drawn[:, 1]
        z.append((layer.observed[1] - column.mean()) / column.std(ddof=1))
        drawn_z.append((column - column.mean()) / column.std(ddof=1))
    for place, score in zip((0, 2, 4), z, strict=True):
        higher = sum(
            max(scores[b] for scores in drawn_z) >= score for b in range(99)
        )
        assert_allclose(found[place], (1 + higher) / 100)


def test_the_rate_of_false_findings_is_benjamini_and_hochbergs():
    rng = np.random.default_rng(4)
    drawn = rng.random((99, 1))
    values = (0.995, 0.98, 0.5, 0.97)
    layers = [NullDraws((1,), np.array([v]), drawn) for v in values]
    found = false_discovery_rates([*layers, "none"], 1)
    p = np.array([layer.p[0] for layer in layers])
    order = np.argsort(p)
    rates = p[order] * 4 / np.arange(1, 5)
    expected = np.minimum.accumulate(rates[::-1])[::-1]
    assert_allclose(np.array(found)[order], expected)
    assert np.isnan(found[4])


def test_the_first_null_is_always_drawn_and_unknown_ones_are_refused():
    names = [null.name for null in chosen_nulls(("permuted-rows",))]
    assert names == ["strength", "permuted-rows"]
    assert chosen_nulls(("side-strength",)) == NULLS[:1]
    with pytest.raises(UsageError, match="no null 'haar'") as refused:
        chosen_nulls(("strength", "haar"))
    assert refused.value.code == "E_NULL"
    assert "side-strength" in refused.value.advice


def test_what_a_null_lacks_is_said():
    maps = strong(np.random.default_rng(0), 6, (4, 4))
    layer = fit_of(maps).layers[0]
    whole = Members(deviations(layer, IDS), layer, are_updates=False)
    few = Members(deviations(layer, IDS), layer, are_updates=True)
    for null in NULLS[3:]:
        why = draw_null(null, whole, (1,), draws=9, rng=generator(0))
        assert "common start" in why
    why = draw_null(NULLS[4], few, (1,), draws=9, rng=generator(0))
    assert why == "4 rows are fewer than 16"


def test_more_layers_never_make_p_smaller():
    rng = np.random.default_rng(3)
    layers = [
        NullDraws((1,), 0.9 + 0.2 * rng.random(1), rng.random((199, 1)))
        for _ in range(12)
    ]
    alone = [adjusted_p([layer], 1)[0] for layer in layers]
    together = adjusted_p(layers, 1)
    assert (np.array(together) >= alone).all()
    assert max(together) > max(alone)


def test_each_seed_and_purpose_has_its_own_stream():
    names = [(0, "a", "b"), (0, "ab"), (1, "a", "b"), (0, "b", "a"), (0,)]
    drawn = {tuple(generator(*name).random(2)) for name in names}
    assert len(drawn) == len(names)
    again = generator(0, "a", "b").random(2)
    assert tuple(again) in drawn
