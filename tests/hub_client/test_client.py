"""Documents of the hub's API: whole and true, or an error that says why."""

import json
import threading

import pytest

from spectra.core.errors import AuthError, Quarantine, SpectraError
from spectra.hub.client import Client
from spectra.hub.endpoint import Endpoint
from spectra.hub.failures import HubError
from spectra.hub.pages import Page
from spectra.hub.traffic import Traffic
from tests.hub import Fault, Hub, Repository, Stranger
from tests.hub_client.settings import REPO, SECRET, connected, quick

MODELS = "/api/models"


def ids(client: Client) -> list[str]:
    return [
        model["id"] for page in client.pages(MODELS) for model in page.document
    ]


ALL = [REPO, *(f"org/model-{i}" for i in range(4))]


def test_all_pages_come(hub: Hub, client: Client) -> None:
    assert sorted(ids(client)) == sorted(ALL)
    assert client.traffic.requests == len(hub.requests) == 3
    assert client.traffic.nbytes == hub.bytes_sent


def test_a_page_tells_the_next(client: Client) -> None:
    page = client.json(
        MODELS, [("limit", 4), ("filter", "a"), ("filter", "b")]
    )
    assert page == Page([], None)
    page = client.json(MODELS)
    assert page.next is not None
    assert len(client.json(page.next).document) == 2


def test_who_asks_is_told(hub: Hub, client: Client) -> None:
    client.json(MODELS)
    (request,) = hub.requests
    assert request.headers["user-agent"].startswith("spectra/")
    assert request.headers["accept-encoding"] == "identity"
    assert request.headers["authorization"] == f"Bearer {SECRET}"
    assert "cookie" not in request.headers


@pytest.mark.parametrize(
    "fault",
    [
        Fault("cut"),
        Fault("cut", value=0),
        Fault("reset"),
        Fault("reset-before-headers"),
        Fault("status", value=500),
        Fault("status", value=503, times=3),
        Fault("status", value=408),
        Fault("slow", value=0.1),
        Fault("429", value="retry-after-seconds"),
        Fault("429", value="retry-after-negative"),
        Fault("429", value="retry-after-garbage"),
        Fault("429", value="ratelimit"),
        Fault("429", value="none"),
        Fault("html"),
        Fault("cut-json"),
        Fault("cut-json", value=0),
    ],
    ids=lambda fault: f"{fault.kind}-{fault.value}",
)
def test_what_passes_is_survived(
    hub: Hub, client: Client, fault: Fault
) -> None:
    with hub.fault(fault):
        assert sorted(ids(client)) == sorted(ALL)
    assert len(hub.requests) == 3 + (
        0 if fault.kind == "slow" else fault.times or 0
    )


def test_a_429_is_obeyed(hub: Hub, client: Client) -> None:
    import time

    begin = time.monotonic()
    with hub.fault(Fault("429", value="retry-after-seconds")):
        client.json(MODELS)
    assert time.monotonic() - begin > 0.9


@pytest.mark.parametrize(
    ("fault", "code", "requests"),
    [
        (Fault("html", times=None), "E_BAD_RESPONSE", 6),
        (Fault("cut-json", times=None), "E_BAD_RESPONSE", 6),
        (Fault("status", times=None, value=500), "E_NETWORK", 6),
        (Fault("reset", times=None), "E_NETWORK", 6),
        (Fault("drip"), "E_NETWORK", 6),
        (Fault("429", times=None, value="none"), "E_RATE_LIMIT", 6),
        (Fault("429", value="retry-after-huge"), "E_RATE_LIMIT", 1),
        (Fault("gzip"), "E_ENCODING", 1),
        (Fault("gzip-bomb"), "E_ENCODING", 1),
        (Fault("huge-json"), "E_BAD_RESPONSE", 1),
        (Fault("status", value=400), "E_BAD_RESPONSE", 1),
        *[
            (Fault("next-link", value=link), "E_PAGINATION", 1)
            for link in (
                "https://evil.example/",
                "//evil.example/api/models",
                "/victim/private/resolve/main/a",
                "file:///etc/passwd",
                "http://[bad",
            )
        ],
        (Fault("next-link"), "E_PAGINATION", 1),
        (Fault("redirect"), "E_REDIRECT", 1),
        (Fault("redirect", value="https://evil.example/api"), "E_REDIRECT", 1),
    ],
    ids=lambda value: (
        f"{value.kind}-{value.value}"
        if isinstance(value, Fault)
        else str(value)
    ),
)  # fmt: skip
def test_what_does_not_pass_has_a_code(
    hub: Hub, fault: Fault, code: str, requests: int
) -> None:
    limits = {"json_bytes": 2**20}
    with hub.fault(fault), connected(hub, **limits) as client:
        with pytest.raises(HubError) as caught:
            client.json(MODELS)
        assert caught.value.code == code
        assert caught.value.exit_code == 4
        assert client.traffic.nbytes < 2**20 + 2**17
    hub.settle()
    assert len(hub.requests) == requests


def test_a_listing_ends(hub: Hub, client: Client) -> None:
    with (
        hub.fault(Fault("next-link", value="endless", times=None)),
        connected(hub, pages=7) as patient,
        pytest.raises(HubError, match="does not end") as caught,
    ):
        list(patient.pages(MODELS))
    hub.settle()
    assert caught.value.code == "E_PAGINATION"
    assert len(hub.requests) == 7


def test_a_circle_of_pages_is_left(hub: Hub, client: Client) -> None:
    second = client.json(MODELS).next
    assert second is not None
    third = client.json(second).next
    with hub.fault(
        Fault("next-link", after=2, value=second),
    ):
        assert third
        with pytest.raises(HubError) as caught:
            list(client.pages(MODELS))
    assert caught.value.code == "E_PAGINATION"


REFUSED = [
    Repository("org/gated", {"a.txt": b"a"}, gated="manual"),
    Repository("org/private", {"a.txt": b"a"}, private=True),
    Repository("org/disabled", {"a.txt": b"a"}, disabled=True),
    Repository("org/old", {"a.txt": b"a"}, moved_to="org/new"),
    Repository("org/new", {"a.txt": b"a"}),
]


@pytest.mark.parametrize("token", [SECRET, None])
@pytest.mark.parametrize(
    ("path", "repo", "code"),
    [
        ("/api/models/org/none", "org/none", "REPO_GONE"),
        ("/api/models/org/private", "org/private", "REPO_GONE"),
        ("/api/models/org/disabled", "org/disabled", "DISABLED"),
        ("/api/models/org/old", "org/old", "MOVED"),
        ("/api/models/org/new/revision/none", "org/new", "REVISION"),
        ("/api/models/org/new/tree/main/none", "org/new", "ENTRY"),
    ],
)
def test_a_repository_is_set_aside(
    path: str, repo: str, code: str, token: str | None
) -> None:
    with (
        Hub(REFUSED, token=SECRET) as hub,
        connected(hub, token=token) as client,
    ):
        with pytest.raises(Quarantine) as caught:
            client.json(path, repo=repo)
        assert caught.value.code == code
        assert repo in caught.value.detail
        hub.settle()
        assert len(hub.requests) == 1


def test_a_token_that_is_none_ends_the_run(hub: Hub) -> None:
    with connected(hub, token="hf_Wrong") as client:  # noqa: S106
        for repo in (None, REPO):
            with pytest.raises(AuthError) as caught:
                client.json(MODELS, repo=repo)
            assert caught.value.code == "E_AUTH"
            assert caught.value.exit_code == 6
            assert "hf_Wrong" not in str(caught.value)
    hub.settle()
    assert len(hub.requests) == 2


def test_a_missing_token_ends_the_run(hub: Hub) -> None:
    with connected(hub, token=None) as client, pytest.raises(AuthError):
        client.json("/api/whoami-v2")


def test_the_hubs_words_cannot_harm() -> None:
    evil = "\x1b[31m<script> Bearer hf_LeakedSecret " + "x" * 5000
    headers = {"X-Error-Code": "RepoNotFound", "X-Error-Message": evil}
    with (
        Stranger(b"", status=404, headers=headers) as stranger,
        connected(stranger) as client,  # type: ignore[arg-type]
        pytest.raises(Quarantine) as caught,
    ):
        client.json("/api/models/a/b", repo="a/b")
    assert "\x1b" not in str(caught.value)
    assert "LeakedSecret" not in str(caught.value)
    assert len(str(caught.value)) < 400


def test_offline_asks_nobody(
    hub: Hub, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(HubError) as caught:
        client.json(MODELS)
    assert caught.value.code == "E_OFFLINE"
    assert hub.requests == []


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("http://127.0.0.1:1", "refuses connections"),
        ("https://nowhere.invalid", "cannot be resolved"),
    ],
)
def test_a_hub_that_is_not_there(url: str, words: str) -> None:
    endpoint = Endpoint(url, False)
    with Client(endpoint, limits=quick()) as client:
        with pytest.raises(HubError, match=words) as caught:
            client.json(MODELS)
        assert caught.value.code == "E_NETWORK"
        assert client.traffic == Traffic(requests=6)


def test_tls_that_fails_is_not_tried_again(hub: Hub) -> None:
    url = hub.endpoint.replace("http:", "https:")
    with Client(Endpoint(url, False), limits=quick()) as client:
        with pytest.raises(HubError, match="TLS fails") as caught:
            client.json(MODELS)
        assert caught.value.code == "E_NETWORK"
        assert client.traffic == Traffic(requests=1)


def test_a_path_cannot_lead_away(client: Client) -> None:
    for path in ("@evil.example/", "https://evil.example/", "", "x"):
        with pytest.raises(ValueError, match="not a"):
            client.json(path)


def test_many_threads_ask_at_once(hub: Hub) -> None:
    results: list[list[str]] = []
    with connected(hub, connections=3) as client:
        threads = [
            threading.Thread(target=lambda: results.append(ids(client)))
            for _ in range(12)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert [sorted(found) for found in results] == [sorted(ALL)] * 12
    assert client.traffic.requests == len(hub.requests) == 36


def test_closing_ends_what_is_under_way(hub: Hub) -> None:
    caught: list[SpectraError] = []
    before = threading.active_count()

    def ask(client: Client) -> None:
        try:
            client.json(MODELS)
        except SpectraError as error:
            caught.append(error)

    with (
        hub.fault(Fault("no-headers", times=None)),
        connected(hub, connections=2, first_byte=30.0) as client,
    ):
        threads = [
            threading.Thread(target=ask, args=(client,)) for _ in range(4)
        ]
        for thread in threads:
            thread.start()
        while len(hub.requests) < 2:
            threading.Event().wait(0.01)
        client.close()
        for thread in threads:
            thread.join(5)
    assert [error.code for error in caught] == ["E_NETWORK"] * 4
    hub.closing.set()
    hub.settle()
    assert before + 4 >= threading.active_count()


def test_a_cookie_is_not_kept() -> None:
    headers = {
        "Content-Type": "application/json",
        "Set-Cookie": "a=b; Path=/",
    }
    with (
        Stranger(json.dumps([]).encode(), headers=headers) as stranger,
        connected(stranger) as client,  # type: ignore[arg-type]
    ):
        client.json(MODELS)
        client.json(MODELS)
        assert ["cookie" in each.headers for each in stranger.requests] == [
            False, False,
        ]  # fmt: skip
