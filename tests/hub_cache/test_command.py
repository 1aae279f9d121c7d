"""``spectra cache`` as a user types it."""

import json
import os
import re
import signal
import subprocess
import sys
from dataclasses import dataclass

import pytest

from spectra.cli.main import run
from spectra.hub.spool import Spool
from spectra.weights.bytes import MemorySource
from tests.hub_cache.sources import ORIGIN, content_of, key_of
from tests.hub_cache.test_spool import fetch


@dataclass
class Done:
    returncode: int
    stdout: str
    stderr: str


@pytest.fixture
def spectra(monkeypatch, capsys):
    """Return a function that runs a command in this process."""

    def call(*words, cache):
        monkeypatch.setenv("SPECTRA_CACHE", str(cache))
        monkeypatch.setattr(sys, "argv", ["spectra", "cache", *words])
        with pytest.raises(SystemExit) as ended:
            run()
        return Done(ended.value.code, *capsys.readouterr())

    signals = (signal.SIGINT, signal.SIGTERM)
    before = [signal.getsignal(number) for number in signals]
    yield call
    for number, handler in zip(signals, before, strict=True):
        signal.signal(number, handler)


@pytest.fixture
def cache(tmp_path):
    with Spool(tmp_path / "spool") as spool:
        fetch(spool, content_of(2**20))
        fetch(spool, content_of(100))
    return tmp_path


def test_ls(spectra, cache):
    done = spectra("ls", cache=cache)
    assert (done.returncode, done.stderr) == (0, "")
    head, *rows, total = done.stdout.splitlines()
    assert head.split() == ["origin", "MiB", "last", "use"]
    assert [row.split()[:2] for row in rows] == [
        [ORIGIN, "1.0"], [ORIGIN, "0.0"]
    ]  # fmt: skip
    assert total == f"2 files, 1.0 MiB in {cache / 'spool'}"
    document = json.loads(spectra("ls", "--json", cache=cache).stdout)
    assert document["bytes"] == 2**20 + 100
    assert document["folder"] == str(cache / "spool")
    first = document["files"][0]
    assert first.keys() == {"path", "origin", "bytes", "used", "whole"}
    assert first["origin"] == ORIGIN
    assert re.fullmatch(r"20\d\d-.*\+00:00", first["used"])


def test_ls_of_nothing(spectra, tmp_path):
    done = spectra("ls", cache=tmp_path / "none")
    assert done.stdout.startswith("0 files, 0.0 MiB in ")
    assert not (tmp_path / "none").exists()


def test_prune_says_what_was_freed(spectra, cache):
    done = spectra("prune", "--to", "0.5MiB", cache=cache)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines() == [
        f"removed {ORIGIN}", "freed 1.0 MiB; 0.0 MiB are left"
    ]  # fmt: skip
    with Spool(cache / "spool") as spool:
        assert spool.find(key_of(content_of(100)))
        done = spectra("prune", "--all", cache=cache)
        assert f"in use: {ORIGIN}" in done.stdout.splitlines()
    done = spectra("prune", "--older-than", "0", "--json", cache=cache)
    document = json.loads(done.stdout)
    assert (document["freed"], document["bytes"]) == (100, 0)
    assert [row["origin"] for row in document["removed"]] == [ORIGIN]
    assert document["held"] == []


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "spectra: E_PRUNE: "),
        (["--to", "lots"], "'lots' is not an amount"),
        (["--older-than", "-1"], "--older-than"),
    ],
)
def test_prune_without_a_measure_removes_nothing(
    spectra, cache, words, message
):
    done = spectra("prune", *words, cache=cache)
    assert done.returncode == 2
    assert message in done.stderr
    assert "Traceback" not in done.stderr
    assert json.loads(spectra("ls", "--json", cache=cache).stdout)["bytes"]


def test_verify_names_what_is_damaged_and_removes_it_when_told(spectra, cache):
    done = spectra("verify", cache=cache)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == "2 files, 0 damaged\n"
    with Spool(cache / "spool") as spool:
        path = spool.find(key_of(content_of(100)))
    path.write_bytes(bytes(100))
    done = spectra("verify", "--json", cache=cache)
    assert done.returncode == 7
    (line,) = done.stderr.splitlines()
    assert line.startswith(f"spectra: E_DAMAGED: {ORIGIN} in {path.parent} ")
    assert line.endswith("spectra cache verify --repair")
    document = json.loads(done.stdout)
    assert (document["files"], document["repaired"]) == (2, False)
    assert document["damaged"][0]["path"] == str(path.parent)
    assert path.exists()
    done = spectra("verify", "--repair", cache=cache)
    assert (done.returncode, done.stdout) == (7, "2 files, 1 damaged\n")
    assert not path.exists()
    assert spectra("verify", cache=cache).returncode == 0


def test_hostile_origins_reach_no_terminal(spectra, tmp_path):
    with Spool(tmp_path / "spool") as spool:
        content = content_of(3)
        spool.fetch(
            MemorySource(content), key_of(content), origin="\x1b[31m\u202e"
        )
    for words in (["ls"], ["prune", "--all"]):
        done = spectra(*words, cache=tmp_path)
        assert "\x1b" not in done.stdout
        assert "\\x1b[31m\\u202e" in done.stdout


def test_a_process_of_its_own(cache):
    done = subprocess.run(
        [sys.executable, "-m", "spectra", "cache", "ls", "--json"],
        env=os.environ | {"SPECTRA_CACHE": str(cache)},
        capture_output=True,
        check=True,
    )
    assert done.stderr == b""
    assert len(json.loads(done.stdout)["files"]) == 2


def test_help_has_examples(spectra, tmp_path):
    assert "Example: spectra cache" in spectra("-h", cache=tmp_path).stdout
    for name in ("ls", "prune", "verify"):
        done = spectra(name, "--help", cache=tmp_path)
        assert f"Example: spectra cache {name}" in done.stdout
