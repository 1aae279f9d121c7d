"""Words and shares beside a base, of populations whose truth was planted."""

import json
from dataclasses import replace

import numpy as np
import pytest
from numpy.testing import assert_allclose

from spectra.statistics.chance import random_overlap
from spectra.statistics.sides.base import base_document
from spectra.statistics.sides.null import side_nulls
from tests.reference.naive import naive_fit

LEVELS = (1, 4, 16)
SHAPE = (64, 72)


def start(rng, shape=SHAPE):
    """Return a base and its singular vectors, the right ones completed."""
    W = rng.standard_normal(shape)
    U, _, Vh = np.linalg.svd(W)
    return W, U, Vh.T


def within(rng, U, V, n, q):
    """Return n maps of q random directions in the spans of U and of V."""
    maps = []
    for _ in range(n):
        P, Q = (
            X @ np.linalg.qr(rng.standard_normal((X.shape[1], q)))[0]
            for X in (U, V)
        )
        maps.append((P * rng.uniform(1, 2, q)) @ Q.T)
    return maps


def fitted(W, maps, rank=16):
    models = {f"m{i:03d}": {"w": W + x} for i, x in enumerate(maps)}
    return naive_fit(models, base={"w": W}, rank=rank).layers[0]


def document(layer, levels=LEVELS):
    found = base_document(layer, levels)
    json.dumps(found, allow_nan=False)
    return found["base_alignment"]


def sides(found):
    return found["output_side"], found["input_side"]


def test_random_members_give_chance_and_no_word():
    rng, n, q = np.random.default_rng(11), 30, 8
    W, U, V = start(rng)
    found = document(fitted(W, within(rng, U, V, n, q)))
    for side, d in zip(sides(found), SHAPE, strict=True):
        assert side["word"] == "neither"
        assert side["word_k"] == 4
        assert "word_reason" not in side
        for end in ("top", "bottom"):
            for k in LEVELS:
                row = side[end][str(k)]
                mean, deviation = random_overlap(k, q, d)
                assert_allclose(row["chance"], max(k, q) / d)
                assert_allclose(row["chance_std"], deviation)
                # n independent subspaces, of which it is the mean.
                near = 4 * deviation / np.sqrt(n)
                assert abs(row["overlap"] - mean) < near
                assert_allclose(row["ratio"], row["overlap"] / mean)
                assert row["energy_chance"] == k / d
                assert abs(row["energy"] / row["energy_chance"] - 1) < 0.5
        expected = 1 - 64 / d
        assert_allclose(side["outside_chance"], expected)
        assert_allclose(side["outside"], expected, atol=0.03)
        left = side["without_top"]["left"]
        assert_allclose(left, 0.75, atol=0.03)
        assert side["without_top"]["left_chance"] == 0.75


def test_members_in_one_end_of_the_base_are_called_by_it():
    """Leading directions on the output side, last ones on the input side."""
    rng = np.random.default_rng(1)
    W, U, V = start(rng)
    layer = fitted(W, within(rng, U[:, :16], V[:, 48:64], 6, 4))
    output, input_ = sides(document(layer))
    assert output["word"] == "top"
    assert input_["word"] == "bottom"
    assert_allclose(output["top"]["16"]["overlap"], 1, atol=1e-9)
    assert_allclose(output["top"]["16"]["energy"], 1, atol=1e-9)
    assert_allclose(output["top"]["16"]["ratio"], 64 / 16, atol=1e-9)
    assert_allclose(output["bottom"]["16"]["overlap"], 0, atol=1e-9)
    assert_allclose(input_["bottom"]["16"]["overlap"], 1, atol=1e-9)
    assert_allclose(input_["outside"], 0, atol=1e-9)
    # Each of the 16 last directions has a quarter of four in sixteen.
    assert_allclose(input_["bottom"]["4"]["overlap"], 1 / 4, atol=0.15)
    assert output["without_top"]["left"] < 1e-9
    assert_allclose(input_["without_top"]["left"], 1)


def test_members_beyond_what_the_base_spans():
    rng = np.random.default_rng(1)
    W, U, V = start(rng)
    layer = fitted(W, within(rng, U[:, 24:40], V[:, 64:], 6, 4))
    output, input_ = sides(document(layer))
    assert output["word"] == input_["word"] == "neither"
    assert_allclose(input_["outside"], 1)
    assert_allclose(input_["top"]["16"]["overlap"], 0, atol=1e-9)


def test_members_in_both_ends():
    rng = np.random.default_rng(1)
    W, U, V = start(rng)
    first = within(rng, U[:, :8], V[:, :8], 6, 4)
    last = within(rng, U[:, 56:], V[:, 56:64], 6, 4)
    maps = [x + y for x, y in zip(first, last, strict=True)]
    for side in sides(document(fitted(W, maps))):
        assert side["word"] == "both"


def test_one_random_start_in_common_is_not_called():
    """Its members all have the overlap of one subspace: they are one draw."""
    rng, d, q, called = np.random.default_rng(4), 512, 8, 0
    W, U, V = start(rng, (32, 32))
    layer = fitted(W, within(rng, U, V, 2, 2))
    for _ in range(300):
        frame = np.linalg.qr(rng.standard_normal((d, q)))[0]
        hits = np.sum(frame**2, axis=1)
        base = replace(layer.output.base, hits=hits, profile=hits / q)
        side = replace(layer.output, base=base)
        many = replace(
            layer, shape=(d, d), output=side, input=side,
            ranks=np.full(2, q),
        )  # fmt: skip
        called += document(many)["output_side"]["word"] != "neither"
    assert called <= 2


@pytest.mark.parametrize(
    ("overlap", "d", "q", "word"),
    [
        # Twice what chance gives; its deviation is a tenth of it or less.
        (2.2 * 16 / 512, 512, 8, "top"),
        (1.9 * 16 / 512, 512, 8, "neither"),
        # 1/16 and three deviations of 0.081, those of one random direction.
        (0.28, 16, 1, "neither"),
        (0.33, 16, 1, "top"),
    ],
)
def test_an_end_is_preferred_by_both_thresholds(overlap, d, q, word):
    rng = np.random.default_rng(4)
    W, U, V = start(rng, (32, 32))
    layer = fitted(W, within(rng, U, V, 2, 2))
    k = 16 if d == 512 else 1
    hits = np.full(d, q / d)
    hits[:k] = overlap * min(k, q) / k
    base = replace(layer.output.base, hits=hits, profile=hits / hits.sum())
    side = replace(layer.output, base=base)
    layer = replace(
        layer, shape=(d, d), output=side, input=side, ranks=np.full(2, q)
    )
    found = document(layer)["output_side"]
    assert found["word_k"] == k
    assert_allclose(found["top"][str(k)]["overlap"], overlap)
    assert found["word"] == word


def test_rounding_that_is_left_has_no_spectrum():
    rng = np.random.default_rng(1)
    W, U, V = start(rng)
    layer = fitted(W, within(rng, U[:, :16], V, 3, 4))
    base = replace(layer.output.base, left=1e-9)
    layer = replace(layer, output=replace(layer.output, base=base))
    found = sides(document(layer))[0]["without_top"]
    assert found["left"] == 1e-9
    assert set(found["evr_of_rest"].values()) == {None}
    assert found["evr_of_rest_reason"] == "nothing is left"
    assert found["evr_of_all"]["1"] is not None


def test_what_is_left_has_both_denominators():
    """Half of the energy on the base's first direction, half on one of its
    middle: shares of the whole halve, shares of the rest do not."""
    rng = np.random.default_rng(2)
    W, U, V = start(rng)
    maps = [
        np.outer(U[:, 0], V[:, i]) + np.outer(U[:, 40], V[:, i + 5])
        for i in range(5)
    ]
    output, input_ = sides(document(fitted(W, maps)))
    found = output["without_top"]
    assert found["directions"] == 16
    assert_allclose(found["left"], 0.5)
    assert_allclose(found["evr_before"]["1"], 0.5)
    assert_allclose(found["evr_of_all"]["1"], 0.5)
    assert_allclose(found["evr_of_rest"]["1"], 1.0)
    assert found["left_chance"] == 1 - 16 / 64
    # Ten equal directions on the input side, all among the leading 18.
    found = input_["without_top"]
    assert found["directions"] == 18
    assert_allclose(found["evr_before"]["4"], 0.4)
    assert found["left"] < 1e-9


def test_the_spectrum_without_the_leading_directions_is_a_projection():
    rng = np.random.default_rng(9)
    W, U, V = start(rng)
    maps = within(rng, U[:, :40], V, 5, 6)
    output, _ = sides(document(fitted(W, maps)))
    Q = np.eye(64) - U[:, :16] @ U[:, :16].T
    s = np.linalg.svd(Q @ np.hstack(maps), compute_uv=False) ** 2
    total = sum(np.sum(x**2) for x in maps)
    found = output["without_top"]
    assert 0.3 < found["left"] < 0.9
    assert_allclose(found["left"], s.sum() / total)
    assert_allclose(found["evr_of_all"]["4"], s[:4].sum() / total)
    assert_allclose(found["evr_of_rest"]["4"], s[:4].sum() / s.sum())


def test_members_of_unequal_ranks_beside_their_mean_rank():
    rng = np.random.default_rng(6)
    W, U, V = start(rng)
    maps = within(rng, U, V, 3, 2) + within(rng, U, V, 1, 10)
    row = sides(document(fitted(W, maps)))[0]["top"]["4"]
    frames = [np.linalg.svd(x)[0][:, :q] for x, q in zip(
        maps, (2, 2, 2, 10), strict=True
    )]  # fmt: skip
    hits = [np.sum((U[:, :4].T @ frame) ** 2) for frame in frames]
    assert_allclose(row["overlap"], np.mean(hits) / 4)
    assert_allclose(row["chance"], 4 / 64)
    # Chance is what the mean of the products is, whatever each rank.
    expected = np.mean([4 * q / 64 for q in (2, 2, 2, 10)])
    assert_allclose(row["ratio"], np.mean(hits) / expected)


def test_intruders_are_those_of_the_members_that_were_looked_at():
    rng = np.random.default_rng(3)
    W, U, V = start(rng)
    layer = fitted(W, within(rng, U, V, 4, 2))
    counts = replace(layer.base, intruders=np.array([0, 3, -1, 1]))
    found = document(replace(layer, base=counts))["intruders"]
    assert found == {
        "members": 3, "leading": 10, "epsilon": 0.5, "mean": 4 / 3,
        "max": 3, "share_of_members": 2 / 3,
    }  # fmt: skip


def test_a_planted_intruder_reaches_the_document_and_a_known_one_does_not():
    rng = np.random.default_rng(8)
    W, U, V = start(rng)
    large = 3 * np.linalg.norm(W, 2)
    new = U.sum(axis=1) / 8
    planted = [large * np.outer(new, V[:, i]) for i in range(3)]
    known = [large * np.outer(U[:, 60], V[:, i]) for i in range(3)]
    found = document(fitted(W, planted))
    assert found["intruders"]["mean"] == found["intruders"]["max"] == 1
    assert_allclose(
        found["relative_norm"]["median"], large / np.linalg.norm(W)
    )
    assert document(fitted(W, known))["intruders"]["max"] == 0


def test_what_is_not_known_has_its_reason():
    rng = np.random.default_rng(3)
    W, U, V = start(rng, (12, 40))
    layer = fitted(W, within(rng, U, V, 3, 7))
    output, input_ = sides(document(layer, (4, 16, 64)))
    assert output["top"]["4"] is not None
    assert output["top"]["16"] is None
    assert "12 directions of the base" in output["top_reason"]
    # Seven directions of twelve are in any end of the base.
    assert output["word"] is None
    assert output["word_reason"] == "members have 7 of 12 directions"
    assert input_["word"] is not None
    assert input_["word_k"] == 1
    rest = input_["without_top"]
    assert rest["evr_of_all"]["64"] is rest["evr_of_rest"]["64"] is None
    assert "directions are known" in rest["evr_of_rest_reason"]


@pytest.mark.parametrize("shape", [(1, 5), (2, 2), (3, 9)])
def test_sides_with_hardly_a_direction(shape):
    rng = np.random.default_rng(3)
    W, U, V = start(rng, shape)
    found = document(fitted(W, within(rng, U, V, 3, 1)))
    for side in sides(found):
        assert side["word"] is None
        assert "too few to have ends" in side["word_reason"]
        assert 0 <= side["without_top"]["left"] <= 1 + 1e-9


def test_members_that_are_all_the_base():
    """Equal ones count once, so that two differ and one is zero; here both
    are made zero by hand."""
    rng = np.random.default_rng(3)
    W, U, V = start(rng)
    layer = fitted(W, within(rng, U, V, 2, 2))

    def empty(side):
        base = replace(
            side.base, profile=0 * side.base.profile,
            hits=0 * side.base.hits,
            left_eigenvalues=0 * side.base.left_eigenvalues,
        )  # fmt: skip
        return replace(
            side, trace=0.0, base=base, eigenvalues=0 * side.eigenvalues
        )

    nothing = replace(
        layer, output=empty(layer.output), input=empty(layer.input),
        ranks=0 * layer.ranks, inner=0 * layer.inner, h=0 * layer.h,
        reference_energy=0.0,
    )  # fmt: skip
    found = document(nothing)
    assert found["relative_norm"] == {"median": 0.0, "max": 0.0}
    for side in sides(found):
        assert side["top"] == dict.fromkeys(("1", "4", "16"))
        assert side["word"] is side["outside"] is None
        for key in ("top", "bottom", "word", "outside"):
            assert side[f"{key}_reason"] == "every member is zero"
        rest = side["without_top"]
        assert rest["left"] is rest["evr_of_rest"]["1"] is None
        assert rest["evr_before_reason"] == "every member is zero"


def test_without_a_base_there_is_a_reason():
    rng = np.random.default_rng(3)
    _, U, V = start(rng)
    maps = within(rng, U, V, 3, 2)
    layer = naive_fit({f"m{i}": {"w": x} for i, x in enumerate(maps)}).layers[
        0
    ]
    found = base_document(layer, LEVELS)
    assert found["base_alignment"] is None
    assert "no base was given" in found["base_alignment_reason"]
    broken = replace(layer, base_fault="the base holds NaN")
    reason = base_document(broken, LEVELS)["base_alignment_reason"]
    assert reason == "the base holds NaN"


def test_the_profile_is_what_a_null_of_the_side_takes():
    """Its shares and those outside of the base's span are one together."""
    rng = np.random.default_rng(3)
    W, U, V = start(rng)
    layer = fitted(W, within(rng, U[:, :16], V, 8, 4))
    for side, d in zip((layer.output, layer.input), SHAPE, strict=True):
        null = side_nulls(side.base.profile, 4, d)[-1]
        assert null.name == "base-aligned"
        held = null.weights / (1 + null.weights)
        m = len(side.base.profile)
        assert_allclose(held[:m], np.minimum(0.99, 4 * side.base.profile))
        assert_allclose(
            held[m:].sum(), 4 * (1 - side.base.profile.sum()), atol=1e-9
        )
    assert_allclose(layer.output.base.profile[:16].sum(), 1)
