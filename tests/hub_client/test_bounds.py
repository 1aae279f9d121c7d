"""Every wait has an end."""

import time

import pytest

from spectra.hub.client import Client
from spectra.hub.endpoint import Endpoint
from spectra.hub.failures import HubError, Transient
from spectra.hub.http import httpx
from spectra.hub.lane import Lane
from spectra.hub.limits import NetworkLimits
from tests.hub import Fault, Hub
from tests.hub_client.settings import LARGE, connected, quick, read, remote
from tests.hub_client.wire import Raw

SHORT = {
    "connect": 0.2,
    "first_byte": 0.3,
    "floor_seconds": 0.3,
    "floor_rate": 1000.0,
    "attempts": 2,
}


def test_no_headers(hub: Hub) -> None:
    begin = time.monotonic()
    with (
        hub.fault(Fault("no-headers", times=None)),
        connected(hub, **SHORT) as client,
    ):
        with pytest.raises(HubError) as caught:
            client.json("/api/models")
        assert caught.value.code == "E_NETWORK"
        assert "no byte in time" in str(caught.value)
        assert time.monotonic() - begin < 2
        hub.closing.set()


def test_a_header_that_trickles_never_lets_a_read_time_out() -> None:
    begin = time.monotonic()
    with (
        Raw(b"HTTP/1.1 200 OK\r\nX-Long: " + b"x" * 10_000, pace=0.02) as url,
        Client(Endpoint(url, False), limits=short_limits()) as client,
        pytest.raises(HubError, match=r"no answer within 0\.5 s"),
    ):
        client.json("/api/models")
    assert time.monotonic() - begin < 3


def test_interim_answers_without_end() -> None:
    begin = time.monotonic()
    with (
        Raw(b"HTTP/1.1 103 Early Hints\r\n\r\n" * 500, pace=0.02) as url,
        Client(Endpoint(url, False), limits=short_limits()) as client,
        pytest.raises(HubError) as caught,
    ):
        client.json("/api/models")
    assert caught.value.code == "E_NETWORK"
    assert time.monotonic() - begin < 3


def test_a_trickle_below_the_floor(hub: Hub) -> None:
    begin = time.monotonic()
    with (
        hub.fault(Fault("slowloris", value=0.02, where="cdn", times=None)),
        connected(hub, **SHORT) as client,
    ):
        file = remote(hub, client, nbytes=len(LARGE))
        with pytest.raises(HubError, match="too slow") as caught:
            read(file, 10**6, 2 * 10**6)
        assert caught.value.code == "E_NETWORK"
        assert time.monotonic() - begin < 3
        hub.cdn.closing.set()


def test_a_trickle_above_the_floor_has_an_end_too(hub: Hub) -> None:
    begin = time.monotonic()
    with (
        hub.fault(Fault("slowloris", value=0.01, where="cdn", times=None)),
        connected(
            hub, **SHORT | {"floor_rate": 1.0}, total=0.4, total_rate=1e9
        ) as client,
    ):
        file = remote(hub, client, nbytes=len(LARGE))
        with pytest.raises(HubError, match="too slow for so long"):
            read(file, 10**6, 2 * 10**6)
        assert time.monotonic() - begin < 3
        hub.cdn.closing.set()


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"\r\n\r\n",
        b"nonsense\r\n\r\n",
        b"HTTP/1.1 999 Odd\r\n\r\n",
        b"HTTP/1.1 abc OK\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n[]",
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\n[]",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n[]",
        b"HTTP/1.1 200 OK\r\nBad Header: hf_LeakedSecret\r\n\r\n[]",
        b"HTTP/1.1 200 OK\r\nX: " + b"x" * 300_000,
        b"HTTP/1.1 302 Found\r\n\r\n",
        b"HTTP/1.1 302 Found\r\nLocation: \x00\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n\xef\xbb",
        b'HTTP/1.1 200 OK\r\nContent-Length: 12\r\n\r\n\xef\xbb\xbf{"a": 1}',
        b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nNaN",
        b"HTTP/1.1 200 OK\r\nContent-Length: 80000\r\n\r\n" + b"[" * 80_000,
    ],
)
def test_nonsense_is_an_error_of_ours(answer: bytes) -> None:
    with (
        Raw(answer) as url,
        Client(Endpoint(url, False), limits=short_limits()) as client,
        pytest.raises(HubError) as caught,
    ):
        client.json("/api/models")
    assert len(str(caught.value)) < 400
    assert str(caught.value).isprintable()
    assert "LeakedSecret" not in str(caught.value)


def short_limits() -> NetworkLimits:
    return quick(**SHORT)


def test_a_lane_that_has_ended_waits_for_no_new_connection(hub: Hub) -> None:
    """An end that comes before the connection is not missed."""
    url = httpx.URL(f"{hub.endpoint}/api/models")
    tls = httpx.create_ssl_context()
    lane = Lane(tls, quick(first_byte=20.0), lambda *_: None)
    lane.end()
    begin = time.monotonic()
    with (
        hub.fault(Fault("no-headers", value=20, times=None)),
        pytest.raises(Transient),
        lane.get(url, {}),
    ):
        pytest.fail("nothing answers")
    lane.close()
    assert time.monotonic() - begin < 5
    hub.closing.set()


class CutAndSeen(Lane):
    """A lane whose connection both ends have closed once it is cut."""

    def cut(self) -> None:
        super().cut()
        time.sleep(0.3)


def test_a_connection_cut_before_its_peer_is_known(hub: Hub) -> None:
    """A socket that both ends have closed has no peer's address any more."""
    asked: list[str] = []
    lane = CutAndSeen(
        httpx.create_ssl_context(), quick(), lambda _, peer: asked.append(peer)
    )
    lane.end()
    with (
        pytest.raises(Transient) as caught,
        lane.get(httpx.URL(f"{hub.endpoint}/api/models"), {}),
    ):
        pytest.fail("nothing answers")
    lane.close()
    assert asked == []
    assert caught.value.error.code == "E_NETWORK"
