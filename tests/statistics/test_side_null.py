"""Sides beside their nulls, from explicit adapters."""

import dataclasses

import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy.stats import kstest

from spectra.core.settings import OverlapSettings
from spectra.statistics.sides import null as side_null
from spectra.statistics.sides.findings import side_document, study_side
from spectra.statistics.sides.null import draw_sides, seconds, side_nulls
from spectra.statistics.sides.side import sides_of
from spectra.statistics.sides.stability import side_stability
from spectra.subspaces.result import BaseSide
from tests.reference.naive import naive_fit

SHAPE = (30, 40)
LEVELS = (1, 4)


def frame(rng, d, q):
    return np.linalg.qr(rng.standard_normal((d, q)))[0]


def layer_of(frames, s=None, *, as_adapters=False):
    """Return a layer of maps with the given input frames (n, d, q)."""
    rng = np.random.default_rng(0)
    models = {}
    for i, V in enumerate(frames):
        q = V.shape[1]
        s_i = np.ones(q) if s is None else s[i]
        U = frame(rng, SHAPE[0], q)
        A = V.T * s_i[:, None]
        models[f"m{i:03d}"] = {"l": (A, U, 1.0) if as_adapters else U @ A}
    return naive_fit(models, rank=frames[0].shape[1]).layers[0]


def input_side(layer):
    ids = [f"m{i:03d}" for i in range(len(layer.members))]
    return sides_of(layer, ids)[1]


def document(layer, n_starts=None, **settings):
    side = input_side(layer)
    asked = OverlapSettings(**settings)
    n_starts = len(layer.members) if n_starts is None else n_starts
    found = study_side(side, n_starts, asked, levels=(1, 4, 16))
    return side_document(side, levels=(1, 4, 16), found=found, settings=asked)


def random_frames(rng, n, q=3, d=SHAPE[1]):
    return [frame(rng, d, q) for _ in range(n)]


STRENGTH = side_nulls(None, 1, SHAPE[1])[0]


@pytest.mark.parametrize("small", [2**20, 0])
def test_frames_are_orthonormal_and_as_long_as_the_singular_values(
    monkeypatch, small
):
    monkeypatch.setattr(side_null, "_SMALL", small)
    s = np.array([[3.0, 2.0], [1.0, 0.0]])
    T = side_null._frames(STRENGTH, s, 9, np.random.default_rng(0))
    for rows, lengths in zip(T, s, strict=True):
        assert_allclose(rows @ rows.T, np.diag(lengths**2), atol=1e-5)


def test_equal_norms_give_the_share_that_haar_frames_give():
    """100 rank-16 updates, d = 1024, singular values 0.6^i: 0.159."""
    rng = np.random.default_rng(0)
    s = np.tile(0.6 ** np.arange(16), (100, 1))
    T = side_null._frames(STRENGTH, s, 1024, rng)
    vectors = side_null._leading(T.reshape(-1, 1024), rng)
    energies = np.sum(s**2, axis=1)
    share = side_null._shares(T, vectors, energies, 0 * energies, (16,))
    assert_allclose(share, 0.159, atol=0.002)


@pytest.mark.parametrize("rows", [300, 700])
def test_the_krylov_space_holds_the_leading_energy(monkeypatch, rows):
    rng = np.random.default_rng(1)
    T = rng.standard_normal((rows, 400)) * rng.exponential(1, (rows, 1))
    exact = np.linalg.svd(T, compute_uv=False)[:16] ** 2
    for limit in (512, 0):
        monkeypatch.setattr(side_null, "_EXACT", limit)
        Q = side_null._leading(T, rng)[:, :16]
        assert_allclose(Q.T @ Q, np.eye(16), atol=1e-10)
        assert_allclose(np.sum((T @ Q) ** 2), exact.sum(), rtol=1e-5)


def p_values(n, *, profile=None, measured=False, populations=400):
    """Return p of k = 1 and 4 of populations as a null says.

    Frames are QR factors of normal rows, as strong along the base's
    directions as its profile says, and turned within their row space; the
    product makes its own from singular vectors.
    """
    rng, d = np.random.default_rng(0), SHAPE[1]
    known = side_nulls(profile, 3, d)[-1]
    spread = np.ones(d) if profile is None else np.sqrt(known.weights)
    any_layer = layer_of(random_frames(rng, n), as_adapters=True)
    found = []
    for _ in range(populations):
        s = rng.exponential(1, (n, 3))
        layer = dataclasses.replace(
            any_layer, singular_values=s, inner=np.diag(np.sum(s**2, axis=1))
        )
        T = np.concatenate(
            [lengths[:, None] * turned(rng, spread) for lengths in s]
        )
        energy = np.linalg.svd(T, compute_uv=False) ** 2
        null = known
        if measured:
            along = np.sum(T[:, : len(profile)] ** 2, axis=0) / energy.sum()
            null = side_nulls(along, 3, d)[-1]
        draws = draw_sides(null, input_side(layer), LEVELS, draws=19, rng=rng)
        shares = [energy[:k].sum() / energy.sum() for k in LEVELS]
        rank = np.sum(draws.every >= shares, axis=0)
        # p takes 20 values: spread each over its own twentieth.
        found.append((rank + rng.uniform(size=len(LEVELS))) / 20)
    return np.array(found)


def turned(rng, spread):
    """Return three orthonormal rows in random order of importance: (3, d)."""
    tall = rng.standard_normal((len(spread), 3)) * spread[:, None]
    return frame(rng, 3, 3) @ np.linalg.qr(tall)[0].T


BASE = np.full(4, 0.125)
"""Half of the energy lies along the first four directions of the base."""


@pytest.mark.parametrize("profile", [None, BASE])
@pytest.mark.slow
def test_p_is_uniform_where_the_null_holds(profile):
    """400 populations of uneven strengths, 19 draws each."""
    for p in p_values(8, profile=profile).T:
        assert kstest(p, "uniform").pvalue > 0.01


@pytest.mark.slow
def test_a_profile_of_the_members_themselves_errs_towards_not_shared():
    """What leading directions hold by chance is taken for the base's."""
    p = p_values(24, profile=BASE, measured=True, populations=200)
    for level in (0.05, 0.1, 0.2):
        assert np.all(np.mean(p <= level, axis=0) < level)
    assert np.all(np.mean(p <= 0.1, axis=0) < 0.08)


def test_a_direction_of_all_is_shared_and_random_ones_are_not():
    rng = np.random.default_rng(3)
    apart = document(layer_of(random_frames(rng, 24, d=100)))
    assert apart["verdict"] == "not-shared"
    common = rng.standard_normal(100)
    frames = [
        np.linalg.qr(np.column_stack([common, frame(rng, 100, 2)]))[0]
        for _ in range(24)
    ]
    shared = document(layer_of(frames))
    assert shared["verdict"] == "shared"
    null = shared["null"]["side-strength"]
    assert null["draws"] == 20
    first = null["evr"]["1"]
    assert first["observed"] > 0.3
    assert first["mean"] < 0.1
    assert first["p"] == 1 / 21
    assert first["z"] > 3
    alone = null["evr_one_per_group"]["1"]
    assert_allclose(list(alone.values()), list(first.values()))
    assert shared["consensus"][0]["shared_by"] == 24
    assert shared["consensus"][1]["shared_by"] < 6
    assert "random directions" in shared["reasons"][0]


def test_what_37_of_48_share_is_counted():
    rng = np.random.default_rng(4)
    common = rng.standard_normal(SHAPE[1])
    frames = random_frames(rng, 48)
    for i in range(37):
        own = frame(rng, SHAPE[1], 2)
        frames[i] = np.linalg.qr(np.column_stack([common, own]))[0]
    first, second = document(layer_of(frames))["consensus"][:2]
    assert (first["shared_by"], first["of"]) == (37, 48)
    assert_allclose(first["mean"], 37 / 48, atol=0.03)
    assert_allclose(first["chance"], 3 / 40)
    assert second["shared_by"] < 15


def test_one_frame_of_one_start_is_initialisation_not_sharing():
    rng = np.random.default_rng(5)
    start = frame(rng, SHAPE[1], 3)
    frames = [start] * 12 + random_frames(rng, 12)
    found = document(layer_of(frames, as_adapters=True), n_starts=13)
    assert found["verdict"] == "shared-initialisation"
    assert "one member of each group" in found["reasons"][0]
    null = found["null"]["side-strength"]
    assert null["evr"]["4"]["z"] > 3
    assert null["evr_one_per_group"]["4"]["z"] < 3
    all_one = document(layer_of([start] * 12, as_adapters=True), n_starts=1)
    assert all_one["verdict"] == "shared-initialisation"
    few = document(layer_of(random_frames(rng, 4)))
    assert few["verdict"] == "too-few-models"


def test_relatives_without_a_common_start_are_lineage():
    rng = np.random.default_rng(6)
    frames = [frame(rng, SHAPE[1], 3)] * 8 + random_frames(rng, 10)
    layer = layer_of(frames, as_adapters=True)
    assert np.count_nonzero(layer.fold_of >= 0) == 11
    found = document(layer, n_starts=18)
    assert found["verdict"] == "shared-lineage"


def test_dear_nulls_are_drawn_only_when_asked_for(monkeypatch):
    rng = np.random.default_rng(7)
    layer = layer_of(random_frames(rng, 8))
    monkeypatch.setattr("spectra.statistics.sides.findings.AFFORDABLE", 0.0)
    found = document(layer)
    assert found["verdict"] is None
    assert "--null side-strength" in found["verdict_reason"]
    assert found["null"] == {}
    asked = document(layer, null=("side-strength",))
    assert asked["verdict"] == "not-shared"
    assert seconds(500, 16, 4096, 20) > 20
    assert seconds(48, 8, 384, 20) < 2


def test_the_order_of_members_changes_no_draw():
    rng = np.random.default_rng(8)
    layer = layer_of(random_frames(rng, 6), rng.exponential(1, (6, 3)))
    order = [3, 1, 5, 0, 2, 4]
    turned = dataclasses.replace(
        layer,
        members=tuple(layer.members[i] for i in order),
        singular_values=layer.singular_values[order],
        inner=layer.inner[np.ix_(order, order)],
        h=layer.h[order],
        fold_of=layer.fold_of[order],
    )
    draws = [
        draw_sides(
            STRENGTH, input_side(x), LEVELS, draws=3,
            rng=np.random.default_rng(0),
        )
        for x in (layer, turned)
    ]  # fmt: skip
    assert_allclose(draws[0].every, draws[1].every)
    assert_allclose(draws[0].split_half, draws[1].split_half)


def test_energy_beyond_the_known_directions_is_spread_evenly():
    rng = np.random.default_rng(9)
    layer = layer_of(random_frames(rng, 6))
    cut = dataclasses.replace(
        layer, singular_values=layer.singular_values[:, :1]
    )
    draws = draw_sides(STRENGTH, input_side(cut), (4,), draws=20, rng=rng)
    # A third of the energy in six directions, the rest in all forty.
    tops = []
    for _ in range(200):
        X = rng.standard_normal((6, 40))
        X /= np.linalg.norm(X, axis=1, keepdims=True)
        tops.append(np.sum(np.linalg.svd(X, compute_uv=False)[:4] ** 2))
    expected = np.mean(tops) / 18 + 2 / 3 * 4 / 40
    assert_allclose(draws.every.mean(), expected, atol=0.01)


@pytest.mark.parametrize("small", [2**24, 0])
@pytest.mark.parametrize(
    ("d", "q", "top", "held"),
    [(64, 8, 8, 0.5), (256, 16, 16, 0.5), (256, 16, 16, 0.2), (64, 4, 4, 0.1)],
)
def test_base_aligned_frames_have_the_profile_of_the_base(
    monkeypatch, small, d, q, top, held
):
    monkeypatch.setattr(side_null, "_SMALL", small)
    rng, n = np.random.default_rng(10), 300
    profile = np.full(top, held / top) * np.linspace(1.2, 0.8, top)
    null = side_nulls(profile, q, d)[1]
    assert null.name == "base-aligned"
    s = np.tile(0.7 ** np.arange(q), (n, 1))
    T = side_null._frames(null, s, d, rng)
    for rows, lengths in zip(T[:3], s, strict=False):
        assert_allclose(rows @ rows.T, np.diag(lengths**2), atol=1e-5)
    shares = np.sum(T**2, axis=(0, 1)) / np.sum(s**2)
    # The equivalent is that of many dimensions: 0.484 in 64.
    assert_allclose(shares[:top].sum(), held, atol=0.018)
    assert_allclose(shares[:top], profile, atol=0.012)


def test_the_base_is_in_the_null_where_there_is_one():
    rng = np.random.default_rng(3)
    layer = layer_of(random_frames(rng, 12))
    assert set(document(layer)["null"]) == {"side-strength"}
    m = min(SHAPE)
    profile = np.full(m, 0.5 / m)
    base = BaseSide(profile, np.zeros(m), 4, 1.0, None)
    side = dataclasses.replace(layer.input, base=base)
    found = document(dataclasses.replace(layer, input=side))["null"]
    assert list(found) == ["side-strength", "base-aligned"]


def test_halves_agree_where_directions_are_shared():
    rng = np.random.default_rng(11)
    common = frame(rng, SHAPE[1], 2)
    frames = [
        np.linalg.qr(np.column_stack([common, frame(rng, SHAPE[1], 1)]))[0]
        for _ in range(40)
    ]
    s = np.tile([2.5, 2.4, 0.5], (40, 1))
    layer = layer_of(frames, s)
    stable = side_stability(layer.input.folds, (1, 2, 4), rng)
    assert stable.folds == 20
    assert stable.k == 2
    assert stable.split_half[1] > 0.98
    assert stable.davis_kahan < 1
    noise = layer_of(random_frames(rng, 40))
    loose = side_stability(noise.input.folds, (1, 2, 4), rng)
    assert loose.split_half[1] < 0.3
    assert loose.davis_kahan > 1
    shown = document(noise)["stability"]
    assert shown["davis_kahan"] == "vacuous"
    for k in ("1", "4"):
        assert abs(shown["split_half"][k] - shown["split_half_null"][k]) < 0.15


def test_split_halves_of_a_side_are_those_of_explicit_sums():
    rng = np.random.default_rng(12)
    layer = layer_of(random_frames(rng, 4, q=2), rng.exponential(1, (4, 2)))
    found = side_stability(layer.input.folds, (1,), rng)
    updates = []
    for i in range(4):
        fold = layer.input.folds.sums[layer.fold_of[i]]
        updates.append(fold)
    pairs = [((0, 1), (2, 3)), ((0, 2), (1, 3)), ((0, 3), (1, 2))]
    values, bounds = [], []
    for a, b in pairs:
        first, second = (updates[i] + updates[j] for i, j in (a, b))
        u, v = (np.linalg.eigh(x)[1][:, -1] for x in (first, second))
        values.append((u @ v) ** 2)
        gap = min(
            -np.diff(np.linalg.eigvalsh(x)[::-1])[found.k - 1]
            for x in (first, second)
        )
        bounds.append(2 * np.linalg.norm(first - second, 2) / gap)
    assert min(values) - 1e-9 < found.split_half[0] < max(values) + 1e-9
    assert np.min(np.abs(np.array(bounds) - found.davis_kahan)) < 1e-6


def test_fewer_than_four_folds_have_no_halves():
    rng = np.random.default_rng(13)
    found = document(layer_of(random_frames(rng, 3)))["stability"]
    assert found["split_half"] == {"1": None, "4": None, "16": None}
    assert "four folds" in found["reasons"][0]
