"""Reading ahead: in order, within its bounds, and no thread stays."""

import threading
import time

import pytest

from spectra.core.errors import Quarantine
from spectra.hub.ahead import Job, ReadAhead
from spectra.weights.bytes import MemorySource
from tests.hub import Fault, Hub
from tests.hub_client.settings import LARGE, connected, remote


class Watched:
    """A source that notes how much is read of it at once."""

    def __init__(self, seconds: float = 0.0) -> None:
        self.lock = threading.Lock()
        self.seconds = seconds
        self.reads = self.most_reads = self.now = self.most = self.begun = 0

    @property
    def nbytes(self) -> int:
        return 2**40

    def read_into(self, start: int, buffer: memoryview, /) -> None:
        with self.lock:
            self.begun += 1
            self.reads += 1
            self.now += buffer.nbytes
            self.most_reads = max(self.reads, self.most_reads)
            self.most = max(self.now, self.most)
        time.sleep(self.seconds)
        if start == 13:
            raise Quarantine("SOURCE_CHANGED", "the unlucky one")
        buffer[:1] = bytes([start % 251])
        with self.lock:
            self.reads -= 1
            self.now -= buffer.nbytes


def jobs(source: Watched, count: int, nbytes: int = 10) -> list[Job]:
    return [Job(lambda: source, start, nbytes) for start in range(count)]


@pytest.fixture(autouse=True)
def no_thread_stays() -> object:
    before = set(threading.enumerate())
    yield
    left = [
        t for t in threading.enumerate() if t.name.startswith("read-ahead")
    ]
    assert set(left) <= before


def test_results_come_in_order() -> None:
    source = Watched()
    with ReadAhead(
        jobs(source, 13), connections=5, bytes_in_flight=1000
    ) as contents:
        assert [content[0] for content in contents] == list(range(13))


def test_several_are_read_at_once_and_no_more() -> None:
    source = Watched(0.02)
    with ReadAhead(
        jobs(source, 12), connections=3, bytes_in_flight=1000
    ) as contents:
        assert len(list(contents)) == 12
    assert source.most_reads == 3


def test_bytes_in_flight_are_bounded() -> None:
    source = Watched(0.005)
    with ReadAhead(
        jobs(source, 12), connections=8, bytes_in_flight=25
    ) as contents:
        time.sleep(0.1)
        assert source.begun == 2
        assert len(list(contents)) == 12
    assert source.most <= 25


def test_a_job_above_the_bound_is_read_alone() -> None:
    source = Watched(0.01)
    mixed = [
        Job(lambda: source, start, 100 if start == 2 else 10)
        for start in range(5)
    ]
    with ReadAhead(mixed, connections=4, bytes_in_flight=30) as contents:
        assert [len(each) for each in contents] == [10, 10, 100, 10, 10]
    assert source.most == 100


def test_an_error_comes_at_its_turn() -> None:
    source = Watched()
    with ReadAhead(
        jobs(source, 16), connections=4, bytes_in_flight=1000
    ) as contents:
        for start in range(13):
            assert next(contents)[0] == start
        with pytest.raises(Quarantine, match="unlucky"):
            next(contents)
        assert [content[0] for content in contents] == [14, 15]


def test_an_opening_that_fails_is_an_error_of_its_job() -> None:
    def fails() -> MemorySource:
        raise Quarantine("REPO_GONE", "not there")

    with ReadAhead(
        [Job(fails, 0, 1)], connections=1, bytes_in_flight=1
    ) as contents:
        with pytest.raises(Quarantine, match="not there"):
            next(contents)
        assert list(contents) == []


def test_leaving_drops_what_has_not_begun() -> None:
    source = Watched(0.01)
    with ReadAhead(
        jobs(source, 1000), connections=2, bytes_in_flight=40
    ) as contents:
        next(contents)
    assert source.begun < 20
    assert list(contents) == []


def test_nothing_to_read() -> None:
    with ReadAhead([], connections=2, bytes_in_flight=1) as contents:
        assert list(contents) == []


def test_an_interrupt_ends_the_reads_under_way(hub: Hub) -> None:
    begin = time.monotonic()
    with (
        hub.fault(Fault("slowloris", value=0.05, where="cdn", times=None)),
        connected(hub, first_byte=30.0, connections=2) as client,
    ):
        file = remote(hub, client, nbytes=len(LARGE))
        work = [Job(lambda: file, 10**6 + i, 10**5) for i in range(4)]
        with (  # noqa: PT012 - the interrupt comes in the middle
            pytest.raises(KeyboardInterrupt),
            ReadAhead(
                work,
                connections=2,
                bytes_in_flight=10**9,
                abort=client.close,
            ),
        ):
            while len(hub.requests) < 2:
                time.sleep(0.01)
            raise KeyboardInterrupt
    assert time.monotonic() - begin < 5
    hub.closing.set()
    hub.cdn.closing.set()


def test_files_of_a_hub_are_read_ahead(hub: Hub) -> None:
    with (
        hub.fault(Fault("cut", where="cdn", times=5)),
        connected(hub, connections=4) as client,
    ):
        file = remote(hub, client)
        starts = range(0, 2_900_000, 100_000)
        work = [Job(lambda: file, start, 100_000) for start in starts]
        with ReadAhead(
            work, connections=4, bytes_in_flight=350_000
        ) as contents:
            for start, content in zip(starts, contents, strict=True):
                assert content == LARGE[start : start + 100_000]
