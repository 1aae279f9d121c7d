"""Ranges of a file: the right bytes whatever passes, a code for the rest."""

import random
import threading
import tracemalloc
from pathlib import Path

import pytest

from spectra.core.errors import Quarantine
from spectra.hub.client import Client
from spectra.hub.failures import HubError
from spectra.hub.ranges import RemoteFile
from spectra.weights.bytes import ByteSource
from tests.hub import Fault, Hub, Repository
from tests.hub_client.settings import (
    FILES,
    LARGE,
    REPO,
    SMALL,
    connected,
    population,
    read,
    remote,
)

PREFIX = 128 * 1024
BOTH = pytest.mark.parametrize("path", ["large.safetensors", "small.txt"])


def fault_id(fault: object) -> str:
    if isinstance(fault, Fault):
        return f"{fault.kind}-{fault.value}-{fault.where}"
    return str(fault)


def test_it_is_a_source_of_bytes(hub: Hub, client: Client) -> None:
    file: ByteSource = remote(hub, client)
    assert hub.requests == []
    assert isinstance(file, ByteSource)


@BOTH
def test_the_first_answer_tells_what_it_is(
    hub: Hub, client: Client, path: str
) -> None:
    file, content = remote(hub, client, path), FILES[path]
    assert file.nbytes == len(content)
    known = hub.repositories[REPO].contents[path]
    assert file.etag == (known.sha256 if path[0] == "l" else known.blob)
    assert client.traffic.requests == len(hub.traffic) == 2
    assert client.traffic.nbytes == hub.bytes_sent == PREFIX


def test_a_header_costs_one_piece(hub: Hub, client: Client) -> None:
    file = remote(hub, client)
    for start, stop in ((0, 8), (8, 5000), (5000, PREFIX), (7, 8)):
        assert read(file, start, stop) == LARGE[start:stop]
    assert client.traffic.nbytes == PREFIX
    assert client.traffic.requests == 2


def test_a_long_header_is_fetched_once(hub: Hub, client: Client) -> None:
    file = remote(hub, client)
    read(file, 0, 8)
    assert read(file, 8, 1_000_008) == LARGE[8:1_000_008]
    assert client.traffic.nbytes == 1_000_008


def test_what_is_known_needs_no_first_piece(hub: Hub, client: Client) -> None:
    sha256 = hub.repositories[REPO].contents["large.safetensors"].sha256
    file = remote(hub, client, nbytes=len(LARGE), etag=sha256)
    assert read(file, 1000, 900_000) == LARGE[1000:900_000]
    assert client.traffic.nbytes == 899_000
    assert client.traffic.requests == 2


def test_the_link_is_used_again(hub: Hub, client: Client) -> None:
    file = remote(hub, client, nbytes=len(LARGE))
    for start in range(PREFIX, 2_000_000, 100_000):
        assert read(file, start, start + 9) == LARGE[start : start + 9]
    hub.settle()
    assert len(hub.requests) == 1


def test_a_link_that_has_expired_is_asked_for_again() -> None:
    with (
        Hub(population()) as hub,
        connected(hub, token=None) as client,
    ):
        file = remote(hub, client)
        read(file, 0, 8)
        hub.cdn.secret = "another"  # noqa: S105 - old links are void
        assert read(file, 2**20, 2**20 + 99) == LARGE[2**20 : 2**20 + 99]
        assert [each.status for each in hub.traffic] == [
            302, 206, 403, 302, 206,
        ]  # fmt: skip


def test_a_link_that_is_always_refused_is_given_up() -> None:
    with (
        Hub(population(), lifetime=-10.0) as hub,
        connected(hub, token=None) as client,
    ):
        with pytest.raises(Quarantine) as caught:
            read(remote(hub, client), 0, 8)
        assert caught.value.code == "LINK_REFUSED"
        hub.settle()
        assert len(hub.traffic) == 6


def test_nothing_is_asked_of_an_empty_file(hub: Hub, client: Client) -> None:
    file = remote(hub, client, "empty.txt", nbytes=0)
    assert file.nbytes == 0
    assert read(file, 0, 0) == b""
    assert hub.requests == []


def test_an_empty_file_is_learnt_of(hub: Hub, client: Client) -> None:
    file = remote(hub, client, "empty.txt")
    assert file.nbytes == 0
    assert read(file, 0, 0) == b""
    hub.settle()
    assert len(hub.requests) == 2


@pytest.mark.parametrize(
    ("start", "stop"), [(0, len(LARGE) + 1), (len(LARGE), len(LARGE) + 1)]
)
def test_nothing_lies_beyond_the_end(
    hub: Hub, client: Client, start: int, stop: int
) -> None:
    with pytest.raises(Quarantine) as caught:
        read(remote(hub, client), start, stop)
    assert caught.value.code == "ST_TRUNCATED_DATA"


def test_many_buffers_need_few_requests(hub: Hub, client: Client) -> None:
    rng = random.Random(3)
    wanted = [
        (start, bytearray(9_900)) for start in range(0, 2_990_000, 10_000)
    ]
    rng.shuffle(wanted)
    file = remote(hub, client, nbytes=len(LARGE))
    file.read_many([(start, memoryview(each)) for start, each in wanted])
    for start, buffer in wanted:
        assert buffer == LARGE[start : start + len(buffer)]
    assert client.traffic.requests == 3
    assert client.traffic.nbytes < 1.05 * sum(len(each) for _, each in wanted)


def test_far_ranges_are_not_joined(hub: Hub, client: Client) -> None:
    file = remote(hub, client, nbytes=len(LARGE))
    wanted = [(start, bytearray(100)) for start in (200_000, 2_900_000)]
    file.read_many([(start, memoryview(each)) for start, each in wanted])
    assert client.traffic.nbytes == 200


@pytest.mark.parametrize(
    "fault",
    [
        *(Fault("cut", value=n, where="cdn") for n in (0, 1, 7, 8, 499_999)),
        Fault("reset", where="cdn"),
        Fault("reset", value=1, where="cdn", times=3),
        Fault("reset-before-headers", where="hub"),
        Fault("reset-before-headers", where="cdn", times=2),
        Fault("status", value=500, where="cdn"),
        Fault("status", value=503, where="hub", times=5),
        Fault("429", value="none", where="cdn"),
        Fault("429", value="ratelimit", where="hub"),
        Fault("429", value="retry-after-date", where="cdn"),
        Fault("slow", value=0.1),
        Fault("cut", value=100_000, where="cdn", times=None),
        Fault("wrong-start", times=2),
        Fault("wrong-total", times=2),
        Fault("wrong-length", times=2),
        Fault("html", times=2, where="cdn"),
        Fault(
            "redirect", value="/org/model/resolve/SHA/large.safetensors?x=1"
        ),
    ],
    ids=fault_id,
)
def test_what_passes_leaves_every_bit(
    hub: Hub, client: Client, fault: Fault
) -> None:
    if fault.kind == "redirect":
        sha = hub.repositories[REPO].sha
        fault = Fault("redirect", value=fault.value.replace("SHA", sha))
    file = remote(hub, client, nbytes=len(LARGE))
    with hub.fault(fault):
        assert read(file, 150_000, 650_000) == LARGE[150_000:650_000]
    assert any(each.faults for each in hub.traffic)


def test_a_broken_body_goes_on_from_its_last_byte(
    hub: Hub, client: Client
) -> None:
    file = remote(hub, client, nbytes=len(LARGE))
    with hub.fault(Fault("cut", value=300_001, where="cdn")):
        assert read(file, 150_000, 650_000) == LARGE[150_000:650_000]
    asked = [each.headers["range"] for each in hub.cdn.requests]
    assert asked == ["bytes=150000-649999", "bytes=450001-649999"]
    assert client.traffic.nbytes == 500_000


HOSTILE = [
    (Fault("wrong-start", times=None), "RANGE_MISMATCH"),
    (Fault("wrong-end", times=None), "RANGE_MISMATCH"),
    (Fault("wrong-total", times=None), "RANGE_MISMATCH"),
    (Fault("star-total", times=None), "RANGE_MISMATCH"),
    (Fault("two-content-ranges", times=None), "RANGE_MISMATCH"),
    (Fault("multipart", times=None), "RANGE_MISMATCH"),
    (Fault("wrong-length", times=None, value=1), "RANGE_MISMATCH"),
    (Fault("wrong-length", times=None, value=-1), "RANGE_MISMATCH"),
    (Fault("gzip", times=None), "ENCODING"),
    (Fault("gzip-bomb", times=None), "ENCODING"),
    (Fault("changed"), "SOURCE_CHANGED"),
    (Fault("changed-commit"), "SOURCE_CHANGED"),
    (Fault("etag-path", times=None), "SOURCE_CHANGED"),
    (Fault("status", value=404), "REPO_GONE"),
]


@BOTH
@pytest.mark.parametrize(("fault", "code"), HOSTILE, ids=fault_id)
def test_what_cannot_be_trusted_is_never_used(
    hub: Hub, client: Client, fault: Fault, code: str, path: str
) -> None:
    content = hub.repositories[REPO].contents[path]
    etag = content.sha256 if path[0] == "l" else content.blob
    file = remote(hub, client, path, etag=etag, nbytes=content.size)
    with hub.fault(fault), pytest.raises(Quarantine) as caught:
        read(file, PREFIX, PREFIX + 50_000)
    assert caught.value.code == code
    assert client.traffic.nbytes == 0


@BOTH
@pytest.mark.parametrize(
    ("fault", "code"),
    [
        row
        for row in HOSTILE
        if row[0].kind not in {"changed-commit", "status"}
    ],
    ids=fault_id,
)
def test_nor_once_it_began_well(
    hub: Hub, client: Client, fault: Fault, code: str, path: str
) -> None:
    file = remote(hub, client, path)
    read(file, 0, 8)
    with hub.fault(fault), pytest.raises(Quarantine) as caught:
        read(file, PREFIX, PREFIX + 50_000)
    assert caught.value.code == code
    assert client.traffic.nbytes == PREFIX


@BOTH
def test_a_mismatch_is_tried_twice_more(
    hub: Hub, client: Client, path: str
) -> None:
    file = remote(hub, client, path, nbytes=len(FILES[path]))
    with (
        hub.fault(Fault("wrong-start", times=None)),
        pytest.raises(Quarantine),
    ):
        read(file, PREFIX, PREFIX + 10)
    hub.settle()
    assert len(hub.traffic) == 6


def test_a_change_in_the_middle_is_seen(hub: Hub, client: Client) -> None:
    file = remote(hub, client, nbytes=len(LARGE))
    with (
        hub.fault(
            Fault("cut", value=300_000, where="cdn"),
            Fault("changed", where="cdn", after=1),
        ),
        pytest.raises(Quarantine) as caught,
    ):
        read(file, 150_000, 650_000)
    assert caught.value.code == "SOURCE_CHANGED"


def test_a_plan_that_no_longer_holds_is_seen(hub: Hub, client: Client) -> None:
    for known in ({"nbytes": 7}, {"etag": "0" * 64}):
        with pytest.raises(Quarantine) as caught:
            read(remote(hub, client, **known), 0, 7)  # type: ignore[arg-type]
        assert caught.value.code == "SOURCE_CHANGED"


def test_another_length_of_a_small_file_is_no_match(
    hub: Hub, client: Client
) -> None:
    with pytest.raises(Quarantine) as caught:
        read(remote(hub, client, "small.txt", nbytes=7), 0, 7)
    assert caught.value.code == "RANGE_MISMATCH"


@pytest.mark.parametrize("fault", [Fault("drip"), Fault("drip", value=60_000)])
def test_a_drip_is_given_up(hub: Hub, client: Client, fault: Fault) -> None:
    file = remote(hub, client, nbytes=len(LARGE))
    with hub.fault(fault), pytest.raises(HubError) as caught:
        read(file, 150_000, 2_650_000)
    assert caught.value.code == "E_NETWORK"
    hub.settle()
    assert len(hub.cdn.requests) == 6


def test_a_refusal_by_the_hub_is_the_repositorys(
    hub: Hub, client: Client
) -> None:
    with pytest.raises(Quarantine) as caught:
        read(remote(hub, client, "none.txt"), 0, 1)
    assert caught.value.code == "ENTRY"
    file = RemoteFile(client, REPO, "0" * 40, "small.txt")
    with pytest.raises(Quarantine) as caught:
        read(file, 0, 1)
    assert caught.value.code == "REVISION"


def test_a_gated_file_says_where_to_agree() -> None:
    gated = Repository("org/gated", {"a.txt": b"a"}, gated="manual")
    with Hub([gated]) as hub, connected(hub, token=None) as client:
        file = RemoteFile(client, "org/gated", gated.sha, "a.txt")
        with pytest.raises(Quarantine) as caught:
            read(file, 0, 1)
        assert caught.value.code == "GATED"
        assert f"{hub.endpoint}/org/gated" in caught.value.detail


@pytest.mark.parametrize(
    "path",
    ["", "/etc/passwd", "../a", "a/../../victim/private", "a//b", "./a"],
)
def test_a_path_stays_in_its_repository(
    hub: Hub, client: Client, path: str
) -> None:
    with pytest.raises(Quarantine) as caught:
        remote(hub, client, path)
    assert caught.value.code == "INDEX_PATH"
    assert hub.requests == []


@pytest.mark.parametrize(
    ("repo", "commit"),
    [
        ("../x", "0" * 40),
        ("a/b/c", "0" * 40),
        ("a/b", "main"),
        ("a/b", "0" * 39),
    ],
)
def test_a_branch_is_no_commit(client: Client, repo: str, commit: str) -> None:
    with pytest.raises(ValueError, match="at a commit"):
        RemoteFile(client, repo, commit, "a")


def test_odd_names_of_files_are_asked_for_as_they_are() -> None:
    names = ("a b.txt", "%2e%2e.txt", "a?b#c.txt", "ü/é.txt", "a%2fb.txt")
    odd = Repository("org/odd", {name: name.encode() for name in names})
    with Hub([odd]) as hub, connected(hub, token=None) as client:
        for name in names:
            file = RemoteFile(client, "org/odd", odd.sha, name)
            assert read(file, 0, file.nbytes) == name.encode()


# Servers that do not know ranges.


def test_a_server_without_ranges_is_read_in_one_pass(
    hub: Hub, client: Client
) -> None:
    wanted = [
        (start, bytearray(1000)) for start in range(0, 2_000_000, 90_000)
    ]
    file = remote(hub, client)
    with hub.fault(Fault("ignore-range", times=None)):
        read(file, 0, 8)
        file.read_many([(start, memoryview(each)) for start, each in wanted])
    for start, buffer in wanted:
        assert buffer == LARGE[start : start + 1000]
    hub.settle()
    assert len(hub.cdn.requests) == 2
    assert client.traffic.nbytes < PREFIX + 1_981_000 + 2 * 65_536


def test_a_cut_of_that_pass_is_mended(hub: Hub, client: Client) -> None:
    file = remote(hub, client, nbytes=len(LARGE))
    with hub.fault(
        Fault("ignore-range", times=None),
        Fault("cut", value=900_000, where="cdn"),
    ):
        assert read(file, 800_000, 1_000_000) == LARGE[800_000:1_000_000]


def test_too_much_to_throw_away_is_refused(hub: Hub) -> None:
    with (
        connected(hub, max_stream=2_000_000) as client,
        hub.fault(Fault("ignore-range", times=None)),
    ):
        file = remote(hub, client, nbytes=len(LARGE))
        assert read(file, 1_500_000, 1_500_009) == LARGE[1_500_000:1_500_009]
        before = client.traffic.nbytes
        with pytest.raises(Quarantine) as caught:
            read(file, 1_500_009, 1_500_010)
        assert caught.value.code == "RANGE_IGNORED"
        assert client.traffic.nbytes == before


def test_416_for_a_range_within_the_file_is_tried_again(
    hub: Hub, client: Client
) -> None:
    file = remote(hub, client, nbytes=len(LARGE))
    read(file, 0, 8)
    with hub.fault(Fault("status", value=416, where="cdn")):
        assert read(file, 2**20, 2**20 + 9) == LARGE[2**20 : 2**20 + 9]
    with (
        hub.fault(Fault("status", value=416, where="cdn", times=None)),
        pytest.raises(Quarantine) as caught,
    ):
        read(file, 2**20, 2**20 + 9)
    assert caught.value.code == "RANGE_MISMATCH"


@pytest.fixture(scope="module")
def huge(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a file of 400 MB that takes no room."""
    path = tmp_path_factory.mktemp("huge") / "huge.safetensors"
    with path.open("wb") as file:
        file.truncate(400_000_000)
        file.seek(5_000_000)
        file.write(LARGE[:1000])
    return path


def test_a_huge_body_costs_what_is_wanted_of_it(huge: Path) -> None:
    with (
        Hub([Repository(REPO, {huge.name: huge})]) as hub,
        connected(hub, token=None) as client,
        hub.fault(Fault("ignore-range", times=None)),
    ):
        file = remote(hub, client, huge.name)
        tracemalloc.start()
        try:
            assert file.nbytes == 400_000_000
            assert client.traffic.nbytes <= PREFIX + 65_536
            assert read(file, 5_000_000, 5_001_000) == LARGE[:1000]
            assert client.traffic.nbytes <= PREFIX + 5_001_000 + 2 * 65_536
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        assert peak < 3 * 2**20


def test_memory_stays_that_of_the_buffer(huge: Path) -> None:
    buffer = bytearray(30_000_000)
    with (
        Hub([Repository(REPO, {huge.name: huge})]) as hub,
        connected(hub, token=None) as client,
    ):
        file = remote(hub, client, huge.name)
        tracemalloc.start()
        try:
            file.read_into(4_900_000, memoryview(buffer))
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
    assert buffer[100_000:101_000] == LARGE[:1000]
    assert peak < 3 * 2**20


def test_many_threads_read_one_file(hub: Hub) -> None:
    errors: list[int] = []
    with connected(hub, connections=4) as client:
        file = remote(hub, client)

        def work(seed: int) -> None:
            rng = random.Random(seed)
            for _ in range(10):
                start = rng.randrange(len(LARGE) - 50_000)
                if read(file, start, start + 50_000) != LARGE[start:][:50_000]:
                    errors.append(start)

        with hub.fault(Fault("cut", where="cdn", times=20, after=5)):
            threads = [
                threading.Thread(target=work, args=(seed,))
                for seed in range(8)
            ]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
    assert errors == []
    assert client.traffic.requests >= len(hub.traffic)


def test_small_files_come_from_the_hub_itself(
    hub: Hub, client: Client
) -> None:
    file = remote(hub, client, "small.txt")
    assert read(file, 0, len(SMALL)) == SMALL
    assert hub.cdn.requests == []
