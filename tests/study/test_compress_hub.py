"""A population on a hub, compressed, and members made of it again."""

import json

import numpy as np
import pytest
from safetensors.numpy import load

import spectra
from tests.hub import Repository
from tests.study.hub_population import TAG, peft, sharded
from tests.study.test_hub import serve, surroundings

__all__ = ["surroundings"]


@pytest.mark.parametrize("make", [peft, sharded])
def test_members_on_a_hub(monkeypatch, tmp_path, make):
    shelf = [
        Repository(f"owner/m-{i}", make(np.random.default_rng(i)), (TAG,))
        for i in range(4)
    ]
    with serve(shelf, monkeypatch) as hub:
        names = [repository.id for repository in shelf]
        run = spectra.fit(spectra.scan(*names), precision="f64")
        found = spectra.compress(run, tmp_path / "c", k=3)
        made = spectra.reconstruct(found.path, "m-2", tmp_path / "out")
        assert made.document["revision"] == hub.repositories[names[2]].sha
    files = shelf[2].files
    kept = {path.name for path in (tmp_path / "out").iterdir()}
    wanted = {
        name
        for name in files
        if name.endswith((".safetensors", "config.json", "index.json"))
    }
    assert kept == wanted | {"reconstructed.json"}
    old, new = {}, {}
    for name in wanted:
        content = (tmp_path / "out" / name).read_bytes()
        if name.endswith(".safetensors"):
            old |= load(bytes(files[name]))
            new |= load(content)
        else:
            assert content == files[name]
    assert old.keys() == new.keys()
    if make is peft:
        old, new = products(old), products(new)
    for name, values in old.items():
        step = 2e-3 if make is peft else 1e-6  # factors are rounded anew
        largest = np.abs(values).max()
        np.testing.assert_allclose(new[name], values, atol=step * largest)


def products(factors):
    """Return B @ A of each module: factors alone have a gauge."""
    return {
        name: factors[name.replace("lora_A", "lora_B")].astype("f4") @ A
        for name, A in factors.items()
        if "lora_A" in name
    }


@pytest.mark.parametrize("scheme", ["jd-full", "jd-diag"])
def test_adapters_on_a_hub_by_shared_bases(monkeypatch, tmp_path, scheme):
    shelf = [
        Repository(f"owner/m-{i}", peft(np.random.default_rng(i)), (TAG,))
        for i in range(4)
    ]
    with serve(shelf, monkeypatch):
        run = spectra.fit(spectra.scan(*(each.id for each in shelf)))
        found = spectra.compress(run, tmp_path / "c", scheme=scheme, k=99)
        spectra.reconstruct(found.path, "m-2", tmp_path / "out")
    name = "adapter_model.safetensors"
    old = products(load(bytes(shelf[2].files[name])))
    new = products(load((tmp_path / "out" / name).read_bytes()))
    papers = (
        json.loads(bytes(shelf[2].files["adapter_config.json"])),
        json.loads((tmp_path / "out" / "adapter_config.json").read_text()),
    )
    assert old.keys() == new.keys()
    scales = [each["lora_alpha"] / each["r"] for each in papers]
    for name, values in old.items():
        wanted = scales[0] * values
        atol = 2e-3 * np.abs(wanted).max()
        np.testing.assert_allclose(scales[1] * new[name], wanted, atol=atol)
