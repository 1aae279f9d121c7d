"""Features of a checkpoint that lies on a hub."""

import h5py
import numpy as np

import spectra
from tests.checkpoints import factors, write_adapter
from tests.hub import Repository
from tests.study.test_hub import serve, surroundings
from tests.study.tiny_networks import bert

__all__ = ["surroundings"]


def test_a_checkpoint_on_a_hub(tmp_path, monkeypatch):
    folder, texts = tmp_path / "bert", tmp_path / "t"
    bert(folder)
    texts.write_text("w1 w2\nw3\n")
    files = {each.name: each.read_bytes() for each in folder.iterdir()}
    with serve([Repository("owner/bert", files)], monkeypatch) as hub:
        found = spectra.features("owner/bert", tmp_path / "h.h5", texts=texts)
        sha = hub.repositories["owner/bert"].sha
    assert (found.document["model"], found.document["revision"]) == (
        "owner/bert", sha
    )  # fmt: skip
    spectra.features(folder, tmp_path / "f.h5", texts=texts)
    with (
        h5py.File(tmp_path / "h.h5") as one,
        h5py.File(tmp_path / "f.h5") as other,
    ):
        assert one.attrs["fingerprint"] == other.attrs["fingerprint"]
        for i in range(3):
            np.testing.assert_array_equal(
                one[f"mean/{i}"][:], other[f"mean/{i}"][:]
            )


def test_an_adapter_and_its_base_on_a_hub(tmp_path, monkeypatch):
    folder, adapter, texts = (tmp_path / name for name in ("b", "a", "t"))
    bert(folder)
    pair = factors(np.random.default_rng(0), 16, 2, 16)
    module = "bert.encoder.layer.0.attention.self.value"
    write_adapter(adapter, {module: pair}, 90)
    texts.write_text("w1 w2\nw3\n")
    held = [
        Repository(
            f"owner/{each.name}",
            {file.name: file.read_bytes() for file in each.iterdir()},
        )
        for each in (folder, adapter)
    ]
    with serve(held, monkeypatch) as hub:
        found = spectra.features(
            "owner/a", tmp_path / "h.h5", base="owner/b", texts=texts
        ).document
        revisions = [hub.repositories[f"owner/{n}"].sha for n in "ab"]
    assert (found["model"], found["base"]["model"]) == ("owner/a", "owner/b")
    assert [found["revision"], found["base"]["revision"]] == revisions
    spectra.features(adapter, tmp_path / "f.h5", base=folder, texts=texts)
    spectra.features(folder, tmp_path / "b.h5", texts=texts)
    one, other, alone = (
        h5py.File(tmp_path / f"{name}.h5")["mean/2"][:] for name in "hfb"
    )
    np.testing.assert_array_equal(one, other)
    assert np.abs(one - alone).max() > 0.01
