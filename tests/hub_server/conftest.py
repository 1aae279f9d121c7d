"""A hub with one model of each sort, and the hub's own client for it."""

from collections.abc import Iterator

import pytest
from huggingface_hub import HfApi
from huggingface_hub.utils import close_session

from tests.hub import Hub
from tests.hub_server.models import ALL, TOKEN


@pytest.fixture
def hub() -> Iterator[Hub]:
    # The client keeps its connections, so it has to let go of them first.
    with Hub(ALL, token=TOKEN, grants={"org/gated", "org/private"}) as hub:
        yield hub
    close_session()


@pytest.fixture
def api(hub: Hub) -> HfApi:
    return HfApi(endpoint=hub.endpoint, token=False)


@pytest.fixture
def member(hub: Hub) -> HfApi:
    return HfApi(endpoint=hub.endpoint, token=TOKEN)
