"""The targets, made once: each check sets up what it reads."""

import pytest

from tests.fuzz.targets import targets


@pytest.fixture(scope="session")
def known(tmp_path_factory):
    return targets(tmp_path_factory.mktemp("fuzz").resolve())
