"""What the tests of the client have in common."""

import random
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from spectra.hub.client import Client
from spectra.hub.endpoint import Endpoint
from spectra.hub.limits import NetworkLimits
from spectra.hub.ranges import RemoteFile
from tests.hub import Hub, Repository

SECRET = "hf_TheSecretOfTheTests"  # noqa: S105 - opens a hub on the loopback
LARGE = random.Random(1).randbytes(3_000_000)
SMALL = random.Random(2).randbytes(200_000)
FILES = {"large.safetensors": LARGE, "small.txt": SMALL, "empty.txt": b""}
REPO = "org/model"


def quick(**changes: Any) -> NetworkLimits:
    """Return limits that nobody has to wait for."""
    values: dict[str, Any] = {
        "connect": 2.0,
        "first_byte": 3.0,
        "backoff": 0.002,
        "backoff_cap": 0.01,
        **changes,
    }
    return NetworkLimits(**values)


@contextmanager
def connected(
    hub: Hub, /, token: str | None = SECRET, **limits: Any
) -> Iterator[Client]:
    """Give a client of a hub."""
    endpoint = Endpoint(hub.endpoint, token or False)
    with Client(endpoint, limits=quick(**limits)) as client:
        yield client


def population() -> list[Repository]:
    return [
        Repository(REPO, FILES),
        *(Repository(f"org/model-{i}", {"a.txt": b"a"}) for i in range(4)),
    ]


def remote(
    hub: Hub, client: Client, path: str = "large.safetensors", **known: Any
) -> RemoteFile:
    commit = hub.repositories[REPO].sha
    return RemoteFile(client, REPO, commit, path, **known)


def read(file: RemoteFile, start: int, stop: int) -> bytes:
    buffer = bytearray(stop - start)
    file.read_into(start, memoryview(buffer))
    return bytes(buffer)
