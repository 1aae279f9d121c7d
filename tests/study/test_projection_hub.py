"""A newcomer on a hub, beside a run of the hub's checkpoints."""

import numpy as np
import pytest

import spectra
from tests.hub import Hub, Repository
from tests.study.hub_population import TAG, peft, sharded
from tests.study.test_hub import serve, surroundings

__all__ = ["surroundings"]


@pytest.fixture
def hub(monkeypatch):
    shelf = [
        Repository(f"owner/{make.__name__}-{i}", make(rng), (TAG,))
        for make in (peft, sharded)
        for i in range(8)
        if (rng := np.random.default_rng(i)) is not None
    ]
    with serve(shelf, monkeypatch) as hub:
        assert isinstance(hub, Hub)
        yield hub


@pytest.mark.parametrize("make", ["peft", "sharded"])
def test_a_newcomer_on_a_hub(hub, tmp_path, make):
    names = [f"owner/{make}-{i}" for i in range(8)]
    run = spectra.fit(spectra.scan(*names[:7]), tmp_path / "run.h5")
    found = spectra.project(run, names[7]).document
    sha = hub.repositories[names[7]].sha
    assert (found["model"], found["revision"]) == (names[7], sha)
    assert found["n_common"] == len(run.layers) == 2
    for repo in (hub.repositories[name] for name in names):
        for name, body in repo.files.items():
            path = tmp_path / "local" / repo.id.replace("/", "-") / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(body)
    *members, last = sorted((tmp_path / "local").iterdir())
    local = spectra.project(spectra.fit(spectra.scan(*members)), last)
    for one, other in zip(found["layers"], local.layers, strict=True):
        for key in ("captured", "captured_random", "r2_mean", "deviation"):
            assert one[key] == other[key]
    again = spectra.project(run, names[3])
    assert again.document["word"] == "member"
    assert again.document["member"] == names[3]
