"""Ranges, signed links, the log and the end of the hub of the tests."""

import http.client
import socket
import threading
import time
from pathlib import Path

import pytest

from tests.hub import Fault, Hub, Repository, Stranger
from tests.hub_server.models import BASE, TOKEN
from tests.hub_server.raw import Got, follow, get

DIGITS = b"0123456789"
SMALL, LARGE = "/a/b/resolve/main/file", "/a/b/resolve/main/w.safetensors"
MODEL = Repository("a/b", {"file": DIGITS, "w.safetensors": DIGITS})
ETAG = MODEL.contents["file"].blob


@pytest.mark.parametrize("path", [SMALL, LARGE])
@pytest.mark.parametrize(
    ("asked", "status", "body", "said"),
    [
        ("", 200, DIGITS, None),
        ("bytes=2-4", 206, b"234", "bytes 2-4/10"),
        ("bytes=7-99", 206, b"789", "bytes 7-9/10"),
        ("bytes=7-", 206, b"789", "bytes 7-9/10"),
        ("bytes=-4", 206, b"6789", "bytes 6-9/10"),
        ("bytes=-99", 206, DIGITS, "bytes 0-9/10"),
        ("bytes=10-", 416, b"", "bytes */10"),
        ("bytes=4-2", 200, DIGITS, None),
        ("bytes=0-1,4-5", 200, DIGITS, None),
        ("lines=0-1", 200, DIGITS, None),
    ],
)
def test_ranges(
    path: str, asked: str, status: int, body: bytes, said: str | None
) -> None:
    with Hub([MODEL]) as hub:
        got = follow(hub.endpoint + path, {"Range": asked} if asked else {})
        assert (got.status, got.body) == (status, body)
        assert got["Content-Range"] == said
        assert got["Content-Length"] == str(len(body))
        assert got["Accept-Ranges"] == "bytes"
        assert [each.sent for each in hub.traffic] == [0, len(body)]
        assert len(hub.cdn.requests) == (path == LARGE)


@pytest.mark.parametrize(
    ("header", "etag", "status"),
    [
        ("If-Range", f'"{ETAG}"', 206),
        ("If-Range", '"other"', 200),
        ("If-Match", f'"{ETAG}"', 206),
        ("If-Match", "*", 206),
        ("If-Match", '"other"', 412),
    ],
)
def test_ranges_on_condition(header: str, etag: str, status: int) -> None:
    with Hub([MODEL]) as hub:
        asked = {"Range": "bytes=1-2", header: etag}
        assert follow(hub.endpoint + SMALL, asked).status == status


def test_where_a_file_lies() -> None:
    with Hub([MODEL]) as hub:
        for method in ("HEAD", "GET"):
            got = get(hub.endpoint + LARGE, method=method)
            assert got.status == 302
            assert got["X-Linked-Size"] == "10"
            sha256 = MODEL.contents["w.safetensors"].sha256
            assert got["X-Linked-Etag"] == f'"{sha256}"'
            assert got["X-Repo-Commit"] == MODEL.sha
            assert got["Location"].startswith(hub.cdn.endpoint)
            got = get(hub.endpoint + SMALL, method=method)
            assert got.status == 307
            assert got["Location"].startswith("/api/resolve-cache/")
        cdn = [follow(hub.endpoint + LARGE)["ETag"] for _ in range(2)]
        assert cdn[0] == cdn[1] != f'"{sha256}"'


def test_only_a_signed_link_opens_the_cdn() -> None:
    with Hub([MODEL]) as hub:
        link = get(hub.endpoint + LARGE)["Location"]
        assert get(link).status == 200
        assert get(link.partition("?")[0]).status == 403
        assert get(link.replace("Signature=", "Signature=0")).status == 403
        assert get(link.replace("b/", "c/")).status == 403
        hub.shelf.lifetime = -1
        assert get(get(hub.endpoint + LARGE)["Location"]).status == 403


def test_a_file_larger_than_it_looks(tmp_path: Path) -> None:
    path = tmp_path / "sparse"
    with path.open("wb") as file:
        file.truncate(400_000_000)
        file.seek(399_999_990)
        file.write(DIGITS)
    with Hub([Repository("a/b", {"w.safetensors": path})]) as hub:
        link = get(hub.endpoint + LARGE)["Location"]
        got = get(link, {"Range": "bytes=399999989-"})
        assert got.body == b"\0" + DIGITS
        assert hub.bytes_sent == 11
        with hub.watched() as seen:
            line = socket.create_connection(("127.0.0.1", hub.cdn.server_port))
            line.sendall(
                b"GET " + link.partition(hub.cdn.endpoint)[2].encode()
            )
            line.sendall(b" HTTP/1.1\r\n\r\n")
            assert line.recv(15) == b"HTTP/1.1 200 OK"
            line.close()
        (broken,) = seen
        assert broken.sent < 4_000_000


def test_one_connection_and_the_log_of_it() -> None:
    with Hub([BASE], token=TOKEN) as hub:
        line = http.client.HTTPConnection("127.0.0.1", hub.server_port)
        bearer = {"Authorization": f"Bearer {TOKEN}", "X-A": "1"}
        for _ in range(2):
            line.request("GET", "/api/models?limit=1", headers=bearer)
            answer = line.getresponse()
            body = answer.read()
        assert len(hub.connections) == 1
        line.close()
        first, second = hub.requests
        assert first == second
        assert first.method == "GET"
        assert first.path == "/api/models"
        assert first.query == {"limit": ["1"]}
        assert first.url == f"{hub.endpoint}/api/models?limit=1"
        assert first.headers["authorization"] == f"Bearer {TOKEN}"
        assert first.headers["x-a"] == "1"
        assert (first.status, first.sent) == (200, len(body))
        assert hub.traffic == hub.requests
        assert get(f"{hub.endpoint}/none/at/all/there").status == 404


def test_closing_waits_for_nobody() -> None:
    before = threading.active_count()
    fault = Fault("no-headers", value=60, path="/api/whoami-v2")
    lines = []
    with Hub([BASE]) as hub, hub.fault(fault):
        for path in ("/api/models", "/api/whoami-v2"):
            line = socket.create_connection(("127.0.0.1", hub.server_port))
            line.sendall(f"GET {path} HTTP/1.1\r\n\r\n".encode())
            lines.append(line)
        assert lines[0].recv(15) == b"HTTP/1.1 200 OK"
        while len(hub.requests) < 2:
            time.sleep(0.01)
        started = time.monotonic()
    assert time.monotonic() - started < 1
    assert threading.active_count() == before
    for line in lines:
        line.close()


def test_a_mistake_of_the_hub_is_not_swallowed() -> None:
    def ask() -> None:
        with Hub([BASE]) as hub:
            hub.shelf.repositories = None  # type: ignore[assignment]
            assert get(f"{hub.endpoint}/api/models").status == 0

    with pytest.raises(AttributeError):
        ask()


def test_a_stranger_keeps_all_that_it_is_told() -> None:
    with Stranger(b"{}", status=201) as stranger:
        got: Got = get(f"{stranger.endpoint}/x/y?z=1", {"A-B": "c"})
        assert (got.status, got.body) == (201, b"{}")
        (told,) = stranger.requests
        assert (told.path, told.query) == ("/x/y", {"z": ["1"]})
        assert told.headers["a-b"] == "c"
