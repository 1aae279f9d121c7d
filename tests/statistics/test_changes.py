"""Steps that go another way: where they are planted, and nowhere else."""

import numpy as np
import pytest
from scipy.stats import kstest

from spectra.statistics.streams import generator
from spectra.statistics.trajectory.changes import FEWEST, changes
from tests.reference.changes import best_division, exact_p, scatter

DRAWS = 99


def unit(vectors):
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def found(vectors, *, alpha=0.01, draws=199, stream=0):
    vectors = unit(vectors)
    return changes(
        vectors @ vectors.T, draws=draws, alpha=alpha, rng=generator(stream)
    )


def turned(rng, counts, noise=0.3, d=30):
    """Return steps along one direction after another, and noise."""
    ways = np.linalg.qr(rng.standard_normal((d, len(counts))))[0].T
    along = np.repeat(ways, counts, axis=0)
    return along + noise * rng.standard_normal(along.shape) / np.sqrt(d)


@pytest.mark.parametrize("seed", range(20))
def test_the_division_is_that_of_the_twin(seed):
    rng = np.random.default_rng(seed)
    vectors = unit(rng.standard_normal((int(rng.integers(6, 15)), 4)))
    split, *_ = found(vectors, alpha=0.0)
    at, gain = best_division(vectors)
    assert (split.start, split.stop, split.at) == (0, len(vectors), at)
    assert split.explained == pytest.approx(gain / scatter(vectors))


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_p_is_the_share_of_all_orders(seed):
    rng = np.random.default_rng(seed)
    vectors = unit(turned(rng, (3, 4), noise=2.0))
    expected = exact_p(vectors)
    (split,) = found(vectors, alpha=0.0, draws=4000)
    spread = np.sqrt(expected * (1 - expected) / 4000)
    assert abs(split.p - expected) < 4 * spread


def test_the_least_p_is_that_of_the_clearest_change():
    vectors = turned(np.random.default_rng(0), (3, 3), noise=0.0)
    (split,) = found(vectors, alpha=0.0)
    assert split.least_p == pytest.approx(0.1)
    assert exact_p(unit(vectors)) == pytest.approx(0.1)
    least = [
        found(turned(np.random.default_rng(0), (m, m)), alpha=0.0)[0].least_p
        for m in (4, 5, 12)
    ]
    assert least == pytest.approx([2 / 70, 2 / 252, 1 / 200])


# Each returns a function that makes steps whose order in time means nothing.


def independent(rng):
    return lambda: rng.standard_normal((12, 20))


def one_way(rng):
    way = rng.standard_normal(20)
    return lambda: way + 0.5 * rng.standard_normal((9, 20))


def shuffled(rng):
    """Steps of two ways and uneven lengths, in random order."""

    def draw():
        steps = turned(rng, (10, 5), noise=0.5)
        return rng.permutation(steps) * np.exp(rng.standard_normal((15, 1)))

    return draw


@pytest.mark.parametrize("mechanism", [independent, one_way, shuffled])
def test_p_is_uniform_where_the_order_of_steps_means_nothing(mechanism):
    rng = np.random.default_rng(3)
    draw = mechanism(rng)
    p = np.array([
        found(draw(), alpha=0.0, draws=DRAWS, stream=trial)[0].p
        for trial in range(400)
    ])  # fmt: skip
    spread = p - rng.random(400) / (1 + DRAWS)
    assert kstest(spread, "uniform").pvalue > 0.01


def test_alpha_bounds_how_often_a_run_without_change_is_divided():
    draw = one_way(np.random.default_rng(4))
    divided = [
        any(split.p <= 0.05 for split in found(draw(), alpha=0.05, draws=DRAWS,
                                               stream=trial))
        for trial in range(400)
    ]  # fmt: skip
    # 400 runs would have 20, and seldom over 33.
    assert sum(divided) <= 33


@pytest.mark.parametrize("first", [5, 8, 12])
def test_a_change_is_found_where_it_is_planted(first):
    vectors = turned(np.random.default_rng(first), (first, 20 - first))
    at = [split.at for split in found(vectors) if split.p <= 0.01]
    assert at == [first]


def test_several_changes_are_found_in_their_order():
    vectors = turned(np.random.default_rng(0), (12, 12, 14))
    splits = found(vectors)
    assert [s.at for s in splits if s.p <= 0.01] == [12, 24]
    ends = [(s.start, s.stop) for s in splits]
    assert (0, 38) in ends
    # Each part was tested: the last tests found nothing more.
    for segment in ((0, 12), (12, 24), (24, 38)):
        (split,) = [s for s in splits if (s.start, s.stop) == segment]
        assert split.p > 0.01
    assert [s.at for s in splits] == sorted(s.at for s in splits)


def test_a_segment_is_divided_where_p_is_at_most_alpha():
    vectors = np.random.default_rng(0).standard_normal((14, 6))
    (split,) = found(vectors, alpha=0.0)
    assert len(found(vectors, alpha=split.p - 1e-9)) == 1
    assert len(found(vectors, alpha=split.p)) > 1


def test_a_part_is_tested_with_its_own_steps():
    """A division of a part says nothing of the other part."""
    vectors = turned(np.random.default_rng(0), (12, 12, 14))
    alone = found(vectors[24:], alpha=0.0)[0]
    within = next(s for s in found(vectors) if s.start == 24)
    assert within.at == 24 + alone.at
    assert within.explained == pytest.approx(alone.explained)


def test_a_straight_way_has_no_change():
    (split,) = found(np.ones((12, 3)))
    assert split.p == 1
    assert split.explained == 0


def test_a_slow_turn_is_found_as_well():
    """As docs/trajectory.md says."""
    angle = np.linspace(0, np.pi / 2, 20)
    vectors = np.stack([np.cos(angle), np.sin(angle)], axis=1)
    assert found(vectors)[0].p == 1 / 200


def test_few_steps_are_not_tested():
    rng = np.random.default_rng(0)
    assert found(rng.standard_normal((FEWEST - 1, 4))) == ()
    assert len(found(rng.standard_normal((FEWEST, 4)))) == 1


def test_the_seed_decides():
    vectors = np.random.default_rng(0).standard_normal((14, 6))
    assert found(vectors) == found(vectors)
    assert found(vectors, stream=1)[0].p != found(vectors)[0].p
