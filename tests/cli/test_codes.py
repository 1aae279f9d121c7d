"""Errors that no other test meets, each by what a user does to get it."""

import importlib
import sys

import h5py
import pytest

import spectra
from spectra.api.overlap import OverlapReport
from spectra.core.catalog import Quarantined
from spectra.core.errors import SpectraError
from spectra.core.settings import HubQuery
from spectra.hub.listing import _entry
from spectra.study.scan import scan_sources
from tests.checkpoints import adapters, dense


@pytest.fixture
def population(tmp_path):
    folder, _ = adapters(tmp_path / "p", [2, 2, 2], {"q": (8, 6)})
    return folder


def code_of(call, *arguments, **named):
    with pytest.raises(SpectraError) as caught:
        call(*arguments, **named)
    return caught.value.code


def test_a_run_without_what_is_asked_of_it(population, tmp_path):
    run = spectra.fit(spectra.scan(population), tmp_path / "run.h5")
    assert code_of(run.layer, "k") == "E_NO_LAYER"
    assert code_of(OverlapReport.stored, run) == "E_NO_REPORT"


def test_a_layer_of_two_shapes(tmp_path):
    for name, shape in (("a", (8, 6)), ("b", (9, 6))):
        dense(tmp_path / name, 2, {"w": shape, "v": (5, 4)})
    run = spectra.fit(spectra.scan(tmp_path / "a" / "members",
                                   tmp_path / "b" / "members"))  # fmt: skip
    assert len(run.value.layers) == 3
    assert code_of(run.layer, "w") == "E_AMBIGUOUS_LAYER"


@pytest.mark.parametrize(
    ("code", "settings"),
    [
        ("E_PRECISION", {"precision": "f16"}),
        ("E_BASE", {"base": "{population}"}),
    ],
)
def test_settings_that_are_none(population, code, settings):
    asked = {
        name: value.format(population=population)
        for name, value in settings.items()
    }
    assert code_of(spectra.fit, spectra.scan(population), **asked) == code


def test_amounts_and_caps(monkeypatch, population):
    assert code_of(spectra.backend.memory.parse_bytes, "much") == "E_BYTES"
    for text in ("much=1", "depth", "depth=x", "depth=0", "header_bytes=1GB"):
        monkeypatch.setenv("SPECTRA_CAPS", text)
        assert code_of(spectra.scan, population) == "E_CAP"


def test_a_relation_without_a_base():
    query = HubQuery(author="a", relation="adapter")
    assert code_of(scan_sources, [], query) == "E_QUERY"


def test_a_file_that_is_no_run(tmp_path):
    path = tmp_path / "run.h5"
    with h5py.File(path, "w") as file:
        file.attrs["schema"] = "another/1"
    assert code_of(spectra.load, path) == "E_SCHEMA"


def test_a_catalogue_that_cannot_be_written(population, tmp_path):
    catalog = spectra.scan(population)
    assert code_of(catalog.save, tmp_path / "no" / "c.jsonl") == "E_WRITE"


def test_a_table_without_pandas(population, monkeypatch):
    monkeypatch.setitem(sys.modules, "pandas", None)
    report = OverlapReport(
        {"layers": []}, spectra.fit(spectra.scan(population))
    )
    assert code_of(report.to_dataframe) == "E_EXTRA"


def test_figures_without_matplotlib(population, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.style", None)
    report = spectra.overlap(spectra.fit(spectra.scan(population)))
    assert code_of(report.figures, tmp_path / "new") == "E_EXTRA"
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize(
    "row",
    [
        None,
        {},
        {"id": "../x"},
        {"id": "a/b", "sha": "main"},
        {"id": "a/b", "sha": "0" * 40, "siblings": {}},
    ],
)
def test_what_a_hub_lists_badly(row):
    found = _entry(row)
    assert isinstance(found, Quarantined)
    assert found.code == "LISTING"


def test_what_nobody_planned_for(monkeypatch, capfd):
    def broken(*arguments, **named):
        raise RuntimeError("\x1b[31mred\n")

    main = importlib.import_module("spectra.cli.main")
    monkeypatch.setattr(main, "app", broken)
    assert main._run() == 1
    out, err = capfd.readouterr()
    assert out == ""
    assert err.startswith("spectra: E_BUG: RuntimeError: ")
    assert err.count("\n") == 1
    assert "\x1b" not in err


def test_a_stop_within_an_import_is_a_stop(monkeypatch):
    """Python 3.11 makes a RuntimeError of what ends the making of a class."""
    main = importlib.import_module("spectra.cli.main")

    class Told:
        def __set_name__(self, owner, name):
            raise main._Stopped(15)

    def importing(*arguments, **named):
        type("Made", (), {"told": Told()})

    monkeypatch.setattr(main, "app", importing)
    with pytest.raises(main._Stopped) as caught:
        main._run()
    assert caught.value.number == 15
