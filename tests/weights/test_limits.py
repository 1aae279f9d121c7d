"""Every cap is an option: one less refuses what it just lets through."""

import dataclasses
import json
import re
from pathlib import Path

import pytest

import spectra
from spectra.core.errors import Quarantine
from spectra.weights.features.vocabulary import read_vocabulary
from spectra.weights.folders import open_folder
from spectra.weights.limits import Limits, limits_of, limits_of_environment
from tests.cli.test_cli import spectra as command
from tests.weights.files import built, entry, file_of, zeros_file

W = {"w" * 12: ("F32", (6, 5))}
RAW = file_of(W)
HEADER = len(RAW) - 120


def one(folder, raw=RAW):
    folder.mkdir()
    (folder / "model.safetensors").write_bytes(raw)


def two_tensors(folder):
    one(folder, file_of({**W, "v": ("F32", (6, 5))}))


def many_axes(folder):
    one(folder, file_of({"w.weight": ("F32", (6, 5, 1)), **W}))


def shards(folder):
    for n in (1, 2):
        name = f"model-{n:05}-of-00002.safetensors"
        zeros_file(folder / name, {f"w{n}": ("F32", (6, 5))})
    (folder / "config.json").write_text("{}")


INDEX = json.dumps({"weight_map": {"w" * 12: "s.safetensors"}})


def indexed(folder):
    zeros_file(folder / "s.safetensors", W)
    (folder / "model.safetensors.index.json").write_text(INDEX)


def configured(folder):
    one(folder)
    (folder / "config.json").write_text('{"a": 1}')


def nested(folder):
    one(folder)
    (folder / "config.json").write_text('{"a": [[[]]]}')


CARD = "---\nlicense: mit\n---\n"


def card(folder):
    one(folder)
    (folder / "README.md").write_text(CARD)


VOCABULARY = "a\nb\n"


def vocabulary(folder):
    one(folder)
    (folder / "vocab.txt").write_text(VOCABULARY)


CASES = {
    "header_bytes": (one, HEADER - 8, "ST_HEADER_TOO_BIG"),
    "tensors": (two_tensors, 2, "ST_TENSOR_COUNT"),
    "name_bytes": (one, 12, "ST_NAME"),
    "depth": (nested, 4, "CONFIG_UNREADABLE"),
    "ndim": (many_axes, 3, "SKIP_NDIM"),
    "shards": (shards, 2, "INDEX_LIMIT"),
    "index_bytes": (indexed, len(INDEX), "INDEX_LIMIT"),
    "config_bytes": (configured, 8, "CONFIG_UNREADABLE"),
    "card_bytes": (card, CARD.index("mit") + 3, "no licence"),
    "vocabulary_bytes": (vocabulary, len(VOCABULARY), "VOCABULARY"),
    "tensor_bytes": (one, 120, "LIMIT_TENSOR_BYTES"),
    "min_side": (one, 5, "LIMIT_DIM"),
}


def what_is_wrong(folder):
    """Return codes of a scan and a vocabulary, and if a licence was read."""
    catalog = spectra.scan(folder).value
    codes = {record.code for record in catalog.quarantine}
    codes |= {
        skipped.reason for model in catalog.models for skipped in model.skipped
    }
    if (folder / "README.md").exists() and catalog.models[0].license != "mit":
        codes.add("no licence")
    if (folder / "vocab.txt").exists():
        try:
            listed = open_folder(folder, root=folder)
            read_vocabulary(listed, limits=limits_of_environment())
        except Quarantine as fault:
            codes.add(fault.code)
    return codes


@pytest.mark.parametrize("name", [f.name for f in dataclasses.fields(Limits)])
def test_a_cap_is_where_it_says(tmp_path, monkeypatch, name):
    write, least, code = CASES[name]
    folder = tmp_path / "p"
    write(folder)
    assert what_is_wrong(folder) == set()
    monkeypatch.setenv("SPECTRA_CAPS", f"{name}={least}")
    assert what_is_wrong(folder) == set()
    monkeypatch.setenv("SPECTRA_CAPS", f"ndim=8 {name}={least - 1}")
    assert code in what_is_wrong(folder)


def test_the_option_lets_a_longer_header_through(tmp_path):
    name = "n" * 1000
    header = {"__metadata__": {name: "x" * 30_000_000}}
    raw = built({**header, "w": entry("F32", [6, 5], 0, 120)}, bytes(120))
    one(tmp_path / "p", raw)
    refused = command("scan", tmp_path / "p")
    assert refused.returncode == 3
    assert "header_bytes = 25000000" in refused.stderr
    found = command("scan", tmp_path / "p", "--cap", "header_bytes=100MB")
    assert (found.returncode, found.stderr) == (0, "")


def test_no_cap_of_that_name(tmp_path):
    wrong = command("fit", tmp_path, "-o", tmp_path / "x", "--cap", "size=3")
    assert wrong.returncode == 2
    assert wrong.stderr.startswith("spectra: E_CAP: there is no cap 'size'")
    assert len(wrong.stderr.splitlines()) == 1


def test_the_caps_are_documented():
    page = Path(__file__).parents[2] / "docs" / "caps.md"
    text = page.read_text("utf-8")
    rows = re.findall(r"^\| `(\w+)` \| ([\d ]+) \|", text, re.MULTILINE)
    documented = {name: int(value.replace(" ", "")) for name, value in rows}
    assert documented == dataclasses.asdict(limits_of(()))
