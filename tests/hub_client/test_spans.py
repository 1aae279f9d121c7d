"""Requests for ranges: each wanted byte once, and hardly any other."""

import random

from hypothesis import given
from hypothesis import strategies as st

from spectra.hub.scatter import Scatter
from spectra.hub.spans import Span, coalesce

RANGES = st.lists(
    st.tuples(st.integers(0, 400), st.integers(0, 60)).map(
        lambda pair: (pair[0], pair[0] + pair[1])
    ),
    max_size=30,
)


@given(RANGES, st.integers(0, 30), st.integers(1, 120), st.floats(0, 0.2))
def test_spans_keep_their_promises(
    wanted: list[tuple[int, int]], gap: int, span: int, waste: float
) -> None:
    spans = coalesce(wanted, gap=gap, span=span, waste=waste)
    asked = {byte for start, stop in wanted for byte in range(start, stop)}
    fetched = [byte for each in spans for byte in range(each.start, each.stop)]
    assert len(fetched) == len(set(fetched))
    assert asked <= set(fetched)
    for each in spans:
        inside = asked & set(range(each.start, each.stop))
        assert len(inside) == each.wanted > 0
        assert each.stop - each.start <= span
        assert each.waste <= waste * each.wanted
        assert {each.start, each.stop - 1} <= asked
    assert len(fetched) <= (1 + waste) * len(asked)
    assert list(spans) == sorted(spans)


@given(RANGES)
def test_no_gap_is_longer_than_allowed(wanted: list[tuple[int, int]]) -> None:
    asked = {byte for start, stop in wanted for byte in range(start, stop)}
    for each in coalesce(wanted, gap=3, span=10_000, waste=1.0):
        unwanted = [b for b in range(each.start, each.stop) if b not in asked]
        runs = sum(byte - 1 not in unwanted for byte in unwanted)
        assert len(unwanted) <= 3 * runs


def test_a_file_without_holes_is_one_request() -> None:
    wanted = [(start, start + 7) for start in range(0, 700, 7)]
    random.Random(0).shuffle(wanted)
    found = coalesce(wanted, gap=0, span=10_000, waste=0)
    assert found == (Span(0, 700, 700),)


@given(RANGES, st.integers(1, 50))
def test_a_stream_is_put_where_it_is_wanted(
    wanted: list[tuple[int, int]], width: int
) -> None:
    content = random.Random(0).randbytes(500)
    buffers = [bytearray(stop - start) for start, stop in wanted]
    targets = [
        (start, memoryview(buffer))
        for (start, _), buffer in zip(wanted, buffers, strict=True)
    ]
    scatter = Scatter(0, targets)
    for start in range(0, len(content), width):
        scatter.put(content[start : start + width])
    assert scatter.position == len(content)
    assert buffers == [content[start:stop] for start, stop in wanted]
