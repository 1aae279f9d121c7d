"""The hub's own client lists models by conditions, in order and in pages."""

import time
from dataclasses import replace

import pytest
from huggingface_hub import HfApi
from huggingface_hub.errors import BadRequestError
from huggingface_hub.utils import close_session

from tests.hub import Hub, Repository
from tests.hub_server.models import (
    ADAPTER,
    BASE,
    FILES,
    PUBLIC,
    WEIGHTS,
)


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ({}, PUBLIC),
        ({"filter": "safetensors"}, PUBLIC[:3]),
        ({"filter": ["safetensors", "peft"]}, ["ann/Adapter"]),
        ({"filter": ["peft", "none"]}, []),
        ({"filter": "base_model:adapter:org/base"}, ["ann/Adapter"]),
        ({"filter": "base_model:org/base"}, ["ann/Adapter"]),
        ({"filter": ["license:mit", "transformers"]}, ["org/base"]),
        ({"search": "aDAPT"}, ["ann/Adapter"]),
        ({"author": "ann"}, ["ann/Adapter"]),
        ({"author": "an"}, []),
        ({"gated": True}, ["org/gated"]),
        ({"gated": False, "author": "org"}, ["org/base", "org/disabled"]),
        ({"pipeline_tag": "text-generation"}, ["org/base"]),
        ({"num_parameters": "min:6B,max:128B"}, ["org/base"]),
        ({"num_parameters": "min:7.5B"}, []),
        ({"num_parameters": "max:7000M"}, ["org/base"]),
        ({"sort": "downloads", "limit": 2}, ["ann/Adapter", "org/base"]),
        ({"sort": "created_at", "limit": 1}, ["org/base"]),
        ({"limit": 1}, ["org/base"]),
    ],
)
def test_queries(
    api: HfApi, query: dict[str, object], found: list[str]
) -> None:
    assert [each.id for each in api.list_models(**query)] == found


def test_a_listing_with_expand_has_those_keys_alone(
    api: HfApi, hub: Hub
) -> None:
    expand = ["sha", "siblings", "gated", "tags", "baseModels", "cardData"]
    (found,) = api.list_models(search="adapter", expand=expand)
    assert found.sha == ADAPTER.sha
    assert [each.rfilename for each in found.siblings] == list(FILES)
    assert found.base_models == {
        "relation": "adapter",
        "models": [{"id": "org/base"}],
    }
    assert found.gated is False
    assert (found.private, found.downloads, found.card_data) == (None,) * 3
    (found,) = api.list_models(search="base", expand=["safetensors", "config"])
    assert found.safetensors.total == 7_000_000_000
    assert found.config == {"model_type": "t"}
    with pytest.raises(BadRequestError):
        list(api.list_models(expand=["nonsense"]))
    (found,) = api.list_models(author="ann", full=True, cardData=True)
    assert (found.sha, found.author) == (ADAPTER.sha, "ann")


@pytest.mark.parametrize(
    "query",
    [
        {"trained_dataset": "x", "apps": "ollama"},
        {"num_parameters": "6B"},
        {"sort": "name"},
        {"inference": "warm"},
    ],
)
def test_what_the_hub_does_not_know_is_refused(
    api: HfApi, query: dict[str, object]
) -> None:
    with pytest.raises(BadRequestError):
        list(api.list_models(**query))


def test_pages() -> None:
    many = [replace(BASE, id=f"o/m{i:02d}") for i in range(10)]
    with Hub(many, page=3) as hub:
        api = HfApi(endpoint=hub.endpoint, token=False)
        found = [each.id for each in api.list_models(filter=["mit", "mit"])]
        assert found == []
        with hub.watched() as seen:
            found = [each.id for each in api.list_models(filter="safetensors")]
        assert found == [each.id for each in many]
        assert [each.query.get("cursor") for each in seen] == [
            None,
            ["3"],
            ["6"],
            ["9"],
        ]
        assert all(each.query["filter"] == ["safetensors"] for each in seen)
        assert hub.bytes_sent == sum(each.sent for each in hub.requests)
    close_session()


def test_ten_thousand_models() -> None:
    files = {"adapter_model.safetensors": WEIGHTS, "config.json": b"{}"}
    many = [Repository(f"o/m{i}", files, ("peft",)) for i in range(10_000)]
    with Hub(many) as hub:
        api = HfApi(endpoint=hub.endpoint, token=False)
        expand = ["sha", "siblings", "tags", "gated"]
        started = time.monotonic()
        found = list(api.list_models(filter="peft", expand=expand))
        seconds = time.monotonic() - started
        assert len({each.sha for each in found}) == len(many)
        assert len(hub.requests) == 10
        assert seconds < 4  # the client's own work is in it
    close_session()
