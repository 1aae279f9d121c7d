"""One cluster for the tests that leave it whole, one for each other."""

import os

import pytest

pytest.importorskip("distributed", reason="needs the extra dist")

from tests.cluster.machines import Machines


@pytest.fixture(scope="module")
def machines(tmp_path_factory):
    made = Machines(tmp_path_factory.mktemp("machines"))
    try:
        made.worker()
        made.worker()
        yield made
    finally:
        made.kill()


@pytest.fixture
def own_machines(tmp_path_factory):
    made = Machines(tmp_path_factory.mktemp("own"))
    try:
        yield made
    finally:
        made.kill()


@pytest.fixture
def clean_environment():
    return {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("HF_", "SPECTRA_"))
    }
