"""Spools of small pieces, and real disks that are full or read-only."""

import os
import subprocess

import pytest

from spectra.hub import partial, record
from spectra.hub.spool import Spool
from tests.hub_cache.sources import PIECE


@pytest.fixture
def small_pieces(monkeypatch):
    """Make pieces small, so that a file of many takes no time."""
    for module in (record, partial):
        monkeypatch.setattr(module, "PIECE", PIECE)


@pytest.fixture
def spool(tmp_path, small_pieces):
    with Spool(tmp_path / "spool") as made:
        yield made


@pytest.fixture
def mounted(tmp_path):
    """Return a function that mounts a folder of its own, with options."""
    folder = tmp_path / "mounted"
    folder.mkdir()

    def mount(options):
        if os.geteuid() != 0:
            pytest.skip("NOT TESTED: only root may mount a small disk")
        words = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)]
        done = subprocess.run(words, check=False, capture_output=True)
        if done.returncode:
            pytest.skip(f"NOT TESTED: no mount: {done.stderr.decode()}")
        return folder

    yield mount
    if os.path.ismount(folder):
        subprocess.run(["umount", str(folder)], check=True)
