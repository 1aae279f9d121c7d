"""Each fault that goes away does what its row says."""

import json
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from email.utils import parsedate_to_datetime

import pytest

from tests.hub import KINDS, Fault, Hub, Repository
from tests.hub_server.raw import Got, follow, get

BODY = bytes(range(200))
MODEL = Repository("a/b", {"w.safetensors": BODY, "c.json": b"{}"})
PATH = "/a/b/resolve/main/w.safetensors"


@pytest.fixture
def hub() -> Iterator[Hub]:
    with Hub([MODEL]) as hub:
        yield hub


def ranged(hub: Hub) -> Got:
    return follow(hub.endpoint + PATH, {"Range": "bytes=10-109"})


def listed(hub: Hub) -> Got:
    return get(f"{hub.endpoint}/api/models")


@pytest.mark.parametrize("sent", [0, 1, 7, 99])
@pytest.mark.parametrize(
    ("kind", "error"),
    [("cut", "IncompleteRead"), ("reset", "ConnectionResetError")],
)
def test_a_body_that_breaks_off(
    hub: Hub, kind: str, sent: int, error: str
) -> None:
    with hub.fault(Fault(kind, value=sent)):
        got = ranged(hub)
        assert (got.status, got["Content-Length"]) == (206, "100")
        assert got.body == BODY[10 : 10 + sent]
        assert got.error == error
        assert hub.cdn.requests[-1].sent == sent
        assert ranged(hub).body == BODY[10:110]


def test_a_reset_before_the_headers(hub: Hub) -> None:
    hub.faults.append(Fault("reset-before-headers", where="cdn"))
    assert ranged(hub).error == "ConnectionResetError"
    assert ranged(hub).error == ""


def test_a_drip_lasts(hub: Hub) -> None:
    hub.faults.append(Fault("drip", value=3, after=1))
    assert len(ranged(hub).body) == 100
    for _ in range(4):
        got = ranged(hub)
        assert (len(got.body), got.error) == (3, "IncompleteRead")


def test_a_pause(hub: Hub) -> None:
    started = time.monotonic()
    with hub.fault(Fault("slow", where="cdn", value=0.2)):
        assert ranged(hub).body == BODY[10:110]
    assert 0.2 <= time.monotonic() - started < 1


def test_nothing_comes(hub: Hub) -> None:
    with hub.fault(Fault("no-headers", value=0.2)):
        assert listed(hub).error == "RemoteDisconnected"
    with hub.fault(Fault("no-headers", value=60)):
        got = get(f"{hub.endpoint}/api/models", seconds=0.1)
        assert got.error == "TimeoutError"


def test_a_slow_loris(hub: Hub) -> None:
    started = time.monotonic()
    with hub.fault(Fault("slowloris", value=0.003)):
        assert ranged(hub).body == BODY[10:110]
    assert 0.3 <= time.monotonic() - started < 2


@pytest.mark.parametrize("code", [408, 429, 500, 502, 503, 504])
def test_a_status(hub: Hub, code: int) -> None:
    hub.faults.append(Fault("status", times=2, value=code))
    codes = [listed(hub).status for _ in range(3)]
    assert codes == [code, code, 200]
    assert [each.status for each in hub.requests] == codes


@pytest.mark.parametrize(
    ("variant", "after"),
    [
        ("retry-after-seconds", "1"),
        ("retry-after-negative", "-5"),
        ("retry-after-garbage", "soon"),
        ("retry-after-huge", "100000"),
        ("ratelimit", None),
        ("none", None),
    ],
)
def test_too_many_requests(hub: Hub, variant: str, after: str | None) -> None:
    hub.faults.append(Fault("429", value=variant))
    got = listed(hub)
    assert got.status == 429
    assert got["Retry-After"] == after
    limited = '"resolvers";r=0;t=1' if variant == "ratelimit" else None
    assert got["RateLimit"] == limited
    assert listed(hub).status == 200


def test_too_many_requests_until_a_date(hub: Hub) -> None:
    hub.faults.append(Fault("429", value="retry-after-date"))
    date = parsedate_to_datetime(listed(hub)["Retry-After"])
    assert 0 < date.timestamp() - time.time() <= 2.1


def test_a_listing_that_breaks_off(hub: Hub) -> None:
    whole = listed(hub).body
    hub.faults.append(Fault("cut-json"))
    with hub.watched() as seen:
        assert ranged(hub).status == 206
        got = listed(hub)
    assert (got.status, got.error) == (200, "")
    assert whole.startswith(got.body)
    with pytest.raises(json.JSONDecodeError):
        json.loads(got.body)
    assert [each.faults for each in seen] == [(), (), ("cut-json",)]


def test_a_captive_portal(hub: Hub) -> None:
    hub.faults.append(Fault("html"))
    got = listed(hub)
    assert (got.status, got["Content-Type"][:9]) == (200, "text/html")
    assert got.body.startswith(b"<!doctype html>")


def test_which_answers_a_fault_fits(hub: Hub) -> None:
    hub.faults.append(
        Fault("status", where="cdn", after=1, value=500),
        Fault("status", path="*/c.json", value=501),
        Fault("status", where="hub", path="/api/models", value=502),
    )
    assert [ranged(hub).status for _ in range(3)] == [206, 500, 206]
    assert get(f"{hub.endpoint}/a/b/resolve/main/c.json").status == 501
    assert [listed(hub).status for _ in range(2)] == [502, 200]
    assert len(list(hub.faults)) == 3
    hub.faults.clear()
    assert not list(hub.faults)


def test_many_at_once_are_counted_once_each(hub: Hub) -> None:
    hub.faults.append(Fault("status", times=7, after=5))
    with ThreadPoolExecutor(8) as pool:
        codes = list(pool.map(lambda _: listed(hub).status, range(40)))
    assert codes.count(503) == 7


def test_a_fault_that_is_none() -> None:
    with pytest.raises(ValueError, match="nonsense"):
        Fault("nonsense")
    assert len(KINDS) == 28
