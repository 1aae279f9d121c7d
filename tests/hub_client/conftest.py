"""A hub for each test."""

from collections.abc import Iterator

import pytest

from spectra.hub.client import Client
from tests.hub import Hub
from tests.hub_client.settings import SECRET, connected, population


@pytest.fixture
def hub() -> Iterator[Hub]:
    with Hub(population(), page=2, token=SECRET) as hub:
        yield hub


@pytest.fixture
def client(hub: Hub) -> Iterator[Client]:
    with connected(hub) as client:
        yield client


@pytest.fixture(autouse=True)
def surroundings(monkeypatch: pytest.MonkeyPatch) -> None:
    """No setting of the machine has a say."""
    for name in ("HF_ENDPOINT", "SPECTRA_HUB_HOSTS", "HF_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
