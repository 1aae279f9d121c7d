"""Features of a checkpoint that lies on a hub."""

import h5py
import numpy as np

import spectra
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
