"""The arithmetic of docs/scale.md: catalogues, schedule, and what is said."""

import re

import pytest

from benchmarks import scale
from benchmarks.scale import POPULATIONS, Site, Unit, makespan, units_of
from spectra.study import work
from spectra.weights.records import checkpoint_from, checkpoint_record
from tests.test_docs import DOCS

PAGE = (DOCS / "scale.md").read_text(encoding="utf-8")
RATE = 1e9


def site(nodes=1, workers=1, line=1e6, caches=1):
    return Site("here", nodes, workers, line, caches)


@pytest.mark.parametrize("population", POPULATIONS, ids=lambda each: each.name)
def test_a_population_is_one_that_a_scan_could_find(population):
    one = scale.Population(
        population.name, 2, population.shapes, population.dtype,
        population.rank, population.shards,
    )  # fmt: skip
    catalog = one.catalog()
    for model in catalog.models:
        assert checkpoint_from(checkpoint_record(model)) == model
    stored = sum(
        population.rank * (out + into) if population.rank else out * into
        for out, into in population.shapes.values()
    ) * scale.WIDTHS[population.dtype]  # fmt: skip
    assert catalog.models[0].nbytes == stored + 8 * population.shards
    said = scale.size(stored * population.n)
    assert f"| {population.name} | {said} |" in PAGE


def test_one_worker_does_all_one_after_another():
    units = [Unit(0, 0, 3e9), Unit(0, 0, 1e9), Unit(0, 0, 2e9)]
    assert makespan(units, site(), RATE) == 6
    assert makespan(units, site(workers=2), RATE) == 3
    assert makespan(units, site(nodes=2), RATE) == 3
    assert makespan(units, site(workers=9), RATE) == 3


def test_a_line_is_shared_by_the_workers_of_a_machine():
    units = [Unit(4_000_000, 0, 0)] * 4
    assert makespan(units, site(workers=4), RATE) == 16
    assert makespan(units, site(nodes=4), RATE) == 4


def test_reading_and_computing_go_on_at_the_same_time():
    assert makespan([Unit(2_000_000, 0, 5e9)], site(), RATE) == 5
    assert makespan([Unit(9_000_000, 0, 5e9)], site(), RATE) == 9


def test_the_quota_is_one_for_all():
    units = [Unit(0, 50, 0)] * 10
    slow = makespan(units, site(nodes=10), RATE, quota=100)
    assert slow == 4 * scale.QUOTA_SECONDS
    assert makespan(units, site(nodes=10), RATE, quota=500) == 0


def test_each_cache_is_filled_once():
    def took(caches):
        place = site(nodes=4, caches=caches)
        return makespan([], place, RATE, whole=(5_000_000, 100), quota=100)

    assert took(1) == 5
    assert took(4) == 3 * scale.QUOTA_SECONDS


def test_what_the_page_says_of_bytes():
    text = re.search(r"500 x 32 x 16 x \((.*?)\) x 2 = ([0-9.]+) GB", PAGE)
    both = sum(map(int, text[1].split(" + ")))
    assert 500 * 32 * 16 * both * 2 / 1e9 == pytest.approx(
        float(text[2]), 0.01
    )
    for n, said in ((500, "2 MB of 500"), (2000, "32 MB of\n  2,000"),
                    (10_000, "800 MB of 10,000")):  # fmt: skip
        assert said in PAGE
        assert scale.size(8 * n * n).split()[0] == said.split()[0]


def test_units_are_all_layers_and_all_bytes():
    small = scale.Population(
        "small", 3, {"a": (64, 32), "b": (32, 64)}, "F32", rank=4
    )
    reading, units = units_of(small)
    assert len(units) == 2
    assert len(reading.whole) == 3
    assert [unit.nbytes for unit in units] == [0, 0]
    large = scale.Population("large", 3, {"a": (2**14, 2**14)}, "F32")
    reading, units = units_of(large)
    assert reading.whole == ()
    assert units[0].nbytes == 3 * 4 * 2**28
    assert units[0].requests == 3 * 16


def test_when_pairs_take_as_long_as_reading():
    assert 2 * work._ENTRY == 1400
    assert round(2 * work._FACTOR / 16, -1) == 240
    assert "from about 1,400 full weights on" in PAGE
    assert "from about 240 adapters of rank 16 on" in PAGE
