"""Each fault that no second try mends does what its row says."""

import gzip
import json
import zlib
from collections.abc import Iterator
from urllib.parse import urljoin

import pytest

from tests.hub import Fault, Hub, Repository, Stranger
from tests.hub_server.raw import Got, follow, get

BODY = bytes(range(200))
DIGITS = b"0123456789"
MODEL = Repository("a/b", {"w.safetensors": BODY, "c.json": DIGITS})
PATH = "/a/b/resolve/main/w.safetensors"
SMALL = "/a/b/resolve/main/c.json"


@pytest.fixture
def hub() -> Iterator[Hub]:
    with Hub([MODEL], page=1) as hub:
        yield hub


def ranged(hub: Hub, asked: str = "bytes=10-109", /) -> Got:
    return follow(hub.endpoint + PATH, {"Range": asked})


def listed(hub: Hub) -> Got:
    return get(f"{hub.endpoint}/api/models")


@pytest.mark.parametrize(
    ("kind", "asked", "said", "body"),
    [
        ("wrong-start", "bytes=10-109", "bytes 11-110/200", BODY[11:111]),
        ("wrong-start", "bytes=10-199", "bytes 9-198/200", BODY[9:199]),
        ("wrong-start", "bytes=0-", "bytes 1-199/200", BODY[1:]),
        ("wrong-end", "bytes=10-109", "bytes 10-108/200", BODY[10:109]),
        ("wrong-end", "bytes=10-10", "bytes 10-11/200", BODY[10:12]),
        ("wrong-total", "bytes=10-109", "bytes 10-109/201", BODY[10:110]),
        ("star-total", "bytes=10-109", "bytes 10-109/*", BODY[10:110]),
    ],
)
def test_another_range(
    hub: Hub, kind: str, asked: str, said: str, body: bytes
) -> None:
    hub.faults.append(Fault(kind))
    got = ranged(hub, asked)
    assert (got.status, got["Content-Range"], got.body) == (206, said, body)
    assert got["Content-Length"] == str(len(body))
    assert not got.error


def test_a_range_ignored(hub: Hub) -> None:
    hub.faults.append(Fault("ignore-range"))
    got = ranged(hub)
    assert (got.status, got["Content-Range"], got.body) == (200, None, BODY)
    assert ranged(hub).status == 206


def test_two_ranges_said(hub: Hub) -> None:
    hub.faults.append(Fault("two-content-ranges"))
    got = ranged(hub)
    said = got.headers.get_all("Content-Range")
    assert said == ["bytes 10-109/200", "bytes 11-110/200"]
    assert got.body == BODY[10:110]


def test_a_range_in_parts(hub: Hub) -> None:
    hub.faults.append(Fault("multipart"))
    got = ranged(hub)
    assert got.status == 206
    assert got["Content-Type"] == "multipart/byteranges; boundary=PART"
    assert got["Content-Range"] is None
    head = b"--PART\r\nContent-Range: bytes 10-109/200\r\n\r\n"
    assert got.body == head + BODY[10:110] + b"\r\n--PART--\r\n"


@pytest.mark.parametrize("more", [2, -2])
def test_another_length(hub: Hub, more: int) -> None:
    hub.faults.append(Fault("wrong-length", value=more))
    got = ranged(hub)
    assert got["Content-Range"] == "bytes 10-109/200"
    assert got["Content-Length"] == str(100 + more)
    assert got.body == (BODY[10:110] + b"\0\0")[: 100 + more]


def test_gzip_that_nobody_asked_for(hub: Hub) -> None:
    hub.faults.append(Fault("gzip", times=2))
    got = ranged(hub)
    assert (got.status, got["Content-Encoding"]) == (206, "gzip")
    assert gzip.decompress(got.body) == BODY[10:110]
    assert json.loads(gzip.decompress(listed(hub).body))[0]["id"] == "a/b"


@pytest.mark.parametrize("size", [2, 1000, 2**20 + 2, 5_000_000])
def test_a_bomb(hub: Hub, size: int) -> None:
    hub.faults.append(Fault("gzip-bomb", times=2, value=size))
    for got in (listed(hub), ranged(hub)):
        assert got["Content-Encoding"] == "gzip"
        assert len(got.body) < 100 + size / 50
        plain = zlib.decompress(got.body, 16 + zlib.MAX_WBITS)
        assert gzip.decompress(got.body) == plain
        assert (len(plain), json.loads(plain)) == (size, [])


@pytest.mark.parametrize("path", [PATH, SMALL])
def test_a_file_that_changes(hub: Hub, path: str) -> None:
    url = hub.endpoint + path
    first = follow(url)
    hub.faults.append(Fault("changed", value=4))
    second, third = follow(url), follow(url)
    assert second["ETag"] == third["ETag"] != first["ETag"]
    assert second.body == third.body != first.body
    assert len(second.body) == len(first.body)
    assert second.body[:4] == first.body[:4]
    part = {"Range": "bytes=2-5"}
    assert follow(url, part).body == second.body[2:6]
    stale = {"If-Match": first["ETag"]}
    assert follow(url, part | stale).status == 412
    stale = {"If-Range": first["ETag"]}
    assert follow(url, part | stale).status == 200
    head = get(url, method="HEAD")
    assert len(head["ETag"]) == 42
    assert head["ETag"] != f'"{MODEL.contents["c.json"].blob}"'


def test_a_commit_that_changes(hub: Hub) -> None:
    hub.faults.append(Fault("changed-commit", after=1))
    commits = [
        get(hub.endpoint + PATH, method="HEAD")["X-Repo-Commit"]
        for _ in range(3)
    ]
    assert commits[0] == MODEL.sha != commits[1] == commits[2]


def test_other_bytes_under_right_headers(hub: Hub) -> None:
    true = ranged(hub)
    hub.faults.append(Fault("evil-body", times=3, value=50))
    evil, whole = ranged(hub), follow(hub.endpoint + PATH)
    same = ("ETag", "Content-Range", "Content-Length", "Last-Modified")
    assert [evil[name] for name in same] == [true[name] for name in same]
    assert evil.body[:40] == true.body[:40]
    pairs = zip(evil.body[40:], true.body[40:], strict=True)
    assert all(a ^ b == 1 for a, b in pairs)
    assert evil.body == whole.body[10:110]
    assert listed(hub).body[50:] != listed(hub).body[50:]


def test_a_path_for_an_etag(hub: Hub) -> None:
    hub.faults.append(Fault("etag-path", times=2))
    got = get(hub.endpoint + PATH, method="HEAD")
    assert got["ETag"] == got["X-Linked-Etag"] == '"../../../ESCAPED"'
    small = get(hub.endpoint + SMALL)
    assert small["ETag"] == '"../../../ESCAPED"'
    assert small["X-Linked-Etag"] is None


@pytest.mark.parametrize(
    "target", ["file:///etc/passwd", "http://10.0.0.1/", "https://x.invalid"]
)
def test_a_redirect(hub: Hub, target: str) -> None:
    hub.faults.append(Fault("redirect", where="hub", value=target))
    got = get(hub.endpoint + PATH)
    assert (got.status, got["Location"]) == (302, target)


def test_a_redirect_to_a_stranger(hub: Hub) -> None:
    with Stranger() as stranger:
        there = f"{stranger.endpoint}/elsewhere"
        with hub.fault(Fault("redirect", value=there)):
            assert follow(hub.endpoint + PATH).body == b"[]"
        assert [each.path for each in stranger.requests] == ["/elsewhere"]


def test_a_loop_and_many_hops(hub: Hub) -> None:
    with hub.fault(Fault("redirect", times=None)):
        assert follow(hub.endpoint + SMALL)["Location"] == SMALL
        assert len({each.url for each in hub.requests}) == 1
    hub.requests.clear()
    with hub.fault(Fault("redirect", times=5, value="hops")):
        last = follow(hub.endpoint + SMALL)
    assert [each.status for each in hub.requests] == [302] * 5 + [307]
    assert len({each.url for each in hub.requests}) == 6
    assert hub.requests[-1].query == {"hop": ["5"]}
    assert follow(urljoin(hub.endpoint, last["Location"])).body == DIGITS


def test_a_next_page_elsewhere(hub: Hub) -> None:
    there = "http://127.0.0.2:9/api/models?cursor=1"
    hub.faults.append(Fault("next-link", value=there))
    assert listed(hub)["Link"] == f'<{there}>; rel="next"'
    hub.faults.append(Fault("next-link", times=None))
    here = f'<{hub.endpoint}/api/models>; rel="next"'
    assert [listed(hub)["Link"] for _ in range(2)] == [here, here]


def test_pages_without_end(hub: Hub) -> None:
    hub.faults.append(Fault("next-link", times=None, value="endless"))
    url, seen = f"{hub.endpoint}/api/models?limit=1", set()
    for _ in range(10):
        seen.add(url)
        got = get(url)
        assert got.status == 200
        url = got["Link"].partition("<")[2].partition(">")[0]
    assert len(seen) == 10
    assert json.loads(got.body) == []


@pytest.mark.parametrize("size", [3, 99_999, 3_000_001])
def test_a_huge_listing(hub: Hub, size: int) -> None:
    hub.faults.append(Fault("huge-json", value=size))
    got = listed(hub)
    assert (got.status, got["Content-Length"]) == (200, None)
    assert len(got.body) == size
    assert set(json.loads(got.body)) == {0}
    assert hub.requests[-1].sent == size
