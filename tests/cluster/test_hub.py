"""Workers stream from a hub themselves; what they are told is a text."""

import subprocess
import sys

import pytest

import spectra
from tests.cluster.relay import overhearing
from tests.hub import Hub
from tests.study.hub_population import TAG, repositories
from tests.test_readme import client

TOKEN = "hf_TheSecretOfTheseTests0123"  # noqa: S105 - of the loopback
PIECE = 32


@pytest.fixture
def hub():
    with Hub(repositories(12), token=TOKEN) as hub:
        yield hub


def fit(out, env, *words):
    done = subprocess.run(
        [sys.executable, "-m", "spectra", "fit", "--filter", TAG,
         "-o", str(out), *words],
        env=env, check=False, capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return out.read_bytes()


def pieces_of(body):
    """Return what of a file's numbers would be recognised anywhere."""
    start = 8 + int.from_bytes(body[:8], "little")
    return {
        body[i : i + PIECE] for i in range(start, len(body) - PIECE, PIECE)
    }


def test_no_token_and_no_array_is_in_a_task(
    hub, own_machines, tmp_path, clean_environment
):
    plain = clean_environment | client(hub, tmp_path / "home")
    theirs = {
        **client(hub, tmp_path / "their-home"), "HF_TOKEN": TOKEN,
        "SPECTRA_CACHE": str(tmp_path / "their-cache"),
    }  # fmt: skip
    own_machines.worker(**theirs)
    own_machines.worker(**theirs)
    alone = fit(
        tmp_path / "one.h5",
        plain | {"SPECTRA_CACHE": str(tmp_path / "one-cache")},
    )
    mine = plain | {
        "HF_TOKEN": TOKEN, "SPECTRA_CACHE": str(tmp_path / "cache"),
    }  # fmt: skip
    with (
        overhearing(own_machines.address) as heard,
        hub.watched() as requests,
    ):
        run = fit(tmp_path / "two.h5", mine, "--scheduler", heard.address)
    assert run == alone

    assert TOKEN.encode() not in heard.asked + heard.answered
    commits = [repo.sha.encode() for repo in hub.repositories.values()]
    assert all(commit in heard.asked for commit in commits)
    told = bytes(heard.asked)
    for repo in hub.repositories.values():
        for name, body in repo.files.items():
            if name.endswith(".safetensors"):
                assert not any(piece in told for piece in pieces_of(body))

    asked = [r for r in requests if r.path.endswith(".safetensors")]
    assert any(
        r.headers.get("authorization") == f"Bearer {TOKEN}" for r in asked
    )
    assert not any((tmp_path / "cache" / "spool").rglob("*"))
    assert any((tmp_path / "their-cache" / "spool").rglob("*"))


def test_the_wire_hears_what_is_said(own_machines, tmp_path):
    """So that silence about a token means something."""
    own_machines.worker()
    with overhearing(own_machines.address) as heard:
        from distributed import Client

        with Client(heard.address) as other:
            assert other.submit(str.lower, TOKEN).result() == TOKEN.lower()
    assert TOKEN.encode() in heard.asked
    assert TOKEN.lower().encode() in heard.answered
    assert spectra.__name__.encode() not in heard.asked
