"""How long an answer asks to wait, and that all threads do."""

import threading
import time
from email.utils import formatdate

import pytest

from spectra.hub.failures import HubError
from spectra.hub.throttle import Throttle, pause_asked
from tests.hub_client.settings import quick

NOW = 1_700_000_000


def date(seconds: float) -> str:
    return formatdate(NOW + seconds, usegmt=True)


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"retry-after": "5"}, 5.0),
        ({"retry-after": " 2.5 "}, 2.5),
        ({"retry-after": "0"}, None),
        ({"retry-after": "-5"}, None),
        ({"retry-after": "soon"}, None),
        ({"retry-after": "nan"}, None),
        ({"retry-after": "9" * 5000}, None),
        ({"retry-after": ""}, None),
        ({"retry-after": date(7), "date": date(0)}, 7.0),
        ({"retry-after": date(-7), "date": date(0)}, None),
        ({"retry-after": "Wed, 99 Nov 2026 99:00:00 GMT"}, None),
        ({"retry-after": "100000"}, 100_000.0),
        ({"ratelimit": '"resolvers";r=0;t=55'}, 55.0),
        ({"ratelimit": '"resolvers";r=3;t=55'}, None),
        ({"ratelimit": '"resolvers";r=0;t=-55'}, None),
        ({"ratelimit": '"resolvers";r=0;t=' + "9" * 5000}, None),
        ({"ratelimit": "garbage"}, None),
        ({"ratelimit": '"api";r=0;t=9', "retry-after": "4"}, 9.0),
        ({}, None),
    ],
)
def test_the_pause_of_a_429(
    headers: dict[str, str], seconds: float | None
) -> None:
    assert pause_asked(429, headers) == seconds


def test_a_date_without_a_clock_of_the_server_is_taken_by_ours() -> None:
    later = formatdate(time.time() + 100, usegmt=True)
    found = pause_asked(429, {"retry-after": later})
    assert found == pytest.approx(100, abs=3)


def test_retry_after_concerns_refusals_only() -> None:
    assert pause_asked(200, {"retry-after": "5"}) is None
    assert pause_asked(503, {"retry-after": "5"}) == 5.0


def test_every_thread_of_the_pool_waits() -> None:
    throttle = Throttle(quick())
    assert throttle.learn("files", 429, {"retry-after": "0.2"})
    begin, ends = time.monotonic(), []

    def ask() -> None:
        throttle.wait("files")
        ends.append(time.monotonic() - begin)

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    throttle.wait("api")
    assert time.monotonic() - begin < 0.1
    for thread in threads:
        thread.join()
    assert min(ends) > 0.15
    assert max(ends) < 1.0


def test_a_longer_pause_is_not_shortened() -> None:
    throttle = Throttle(quick())
    throttle.learn("api", 429, {"retry-after": "0.2"})
    throttle.learn("api", 429, {"retry-after": "0.001"})
    begin = time.monotonic()
    throttle.wait("api")
    assert time.monotonic() - begin > 0.15


def test_nobody_waits_for_hours() -> None:
    throttle = Throttle(quick(retry_after=10.0))
    with pytest.raises(HubError, match="until 2") as caught:
        throttle.learn("api", 429, {"retry-after": "100000"})
    assert (caught.value.code, caught.value.exit_code) == ("E_RATE_LIMIT", 4)
    throttle.wait("api")


def test_what_is_nearly_spent_is_no_error() -> None:
    throttle = Throttle(quick(retry_after=10.0))
    assert not throttle.learn("api", 200, {"ratelimit": '"api";r=0;t=299'})
    throttle.wait("api")


def test_a_stop_ends_every_wait() -> None:
    throttle = Throttle(quick())
    throttle.learn("api", 429, {"retry-after": "60"})
    threading.Timer(0.05, throttle.stop).start()
    begin = time.monotonic()
    with pytest.raises(HubError, match="closed"):
        throttle.wait("api")
    assert time.monotonic() - begin < 2
