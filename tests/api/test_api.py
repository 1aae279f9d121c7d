"""The objects a Python user holds."""

import json
import subprocess
import sys
from html.parser import HTMLParser

import numpy as np
import pytest

import spectra
from spectra.core.errors import UsageError
from tests.checkpoints import adapters


@pytest.fixture(scope="module")
def chain(tmp_path_factory):
    folder = tmp_path_factory.mktemp("api")
    population, members = adapters(folder / "p", [4] * 7, {"q": (24, 16)})
    catalog = spectra.scan(population)
    run = spectra.fit(catalog, folder / "run.h5")
    return catalog, run, spectra.overlap(run, draws=199), members


def test_the_chain_of_the_readme(chain):
    catalog, run, report, _ = chain
    assert len(catalog) == 7
    assert repr(catalog).startswith("Catalog(7 checkpoints")
    assert repr(run) == "Run(7 checkpoints, 1 layers)"
    assert repr(report) == "OverlapReport(1 not-shared)"
    assert report.verdict == report.document["verdict"]["text"]
    assert run.layers == ("q",)


def test_functions_keep_working_after_their_first_use(chain):
    """A folder of the package must not take the name of a function."""
    _, run, _, _ = chain
    assert spectra.overlap(run).document == spectra.overlap(run).document
    assert callable(spectra.scan)
    assert callable(spectra.fit)


def test_a_loaded_run_is_the_run(chain):
    _, run, report, _ = chain
    again = spectra.load(run.path)
    assert again.models == run.models
    assert spectra.OverlapReport.stored(again).document == report.document


def test_a_run_without_a_report_says_how_to_make_one(chain, tmp_path):
    catalog, _, _, _ = chain
    run = spectra.fit(catalog, tmp_path / "r.h5")
    with pytest.raises(UsageError, match="spectra overlap"):
        spectra.OverlapReport.stored(run)


def test_a_run_may_stay_in_memory(chain):
    catalog, _, report, _ = chain
    memory = spectra.fit(catalog)
    assert memory.path is None
    assert spectra.overlap(memory).document["layers"] == report.layers


def test_the_subspace_is_the_one_of_the_maps(chain):
    _, run, _, members = chain
    factors = [layers["q"] for layers in members.values()]
    X = np.stack([(s * B @ A).reshape(-1) for A, B, s in factors])
    subspace = run.subspace("q", 3)
    centred = X - X.mean(axis=0)
    directions = centred.T @ subspace.coefficients
    np.testing.assert_allclose(directions.T @ directions, np.eye(3), atol=1e-6)
    np.testing.assert_allclose(
        centred @ directions, subspace.coordinates, atol=1e-7
    )
    assert repr(subspace) == "Subspace('q', k=3, members=7)"
    assert run.subspace("q", 100).coefficients.shape == (7, 6)


def test_a_layer_that_is_not_there(chain):
    with pytest.raises(UsageError, match="has no layer 'z'"):
        chain[1].layer("z")


def test_tables(chain):
    table = chain[2].to_dataframe()
    assert len(table) == 1
    assert table["verdict"].tolist() == ["not-shared"]
    assert table["model_axis.evr.4"].iloc[0] > 0


def test_json_and_html(chain):
    _, _, report, _ = chain
    assert json.loads(report.to_json()) == report.document
    assert report.to_html().startswith("<!doctype html>")


class Balanced(HTMLParser):
    """Fails on a tag that is closed without having been opened."""

    def __init__(self):
        super().__init__()
        self.open, self.text = [], ""

    def handle_starttag(self, tag, attrs):
        self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text += data


def test_notebooks_show_a_table_of_each(chain):
    catalog, run, report, _ = chain
    shown = {"low-rank-": catalog, "24 x 16": run, "not-shared": report}
    for word, value in shown.items():
        parser = Balanced()
        parser.feed(value._repr_html_())
        assert parser.open == []
        assert word in parser.text


@pytest.mark.parametrize(
    "name", [name for name in spectra.__all__ if name[0].isupper()]
)
def test_every_result_shows_itself_in_a_notebook(name):
    assert callable(getattr(spectra, name)._repr_html_)


def test_saving_writes_the_files_asked_for(chain, tmp_path):
    files = chain[2].save(tmp_path / "r", formats=["json", "md"])
    assert [path.name for path in files] == ["report.json", "report.md"]


def test_the_core_runs_without_torch():
    """As after a plain install: torch is not found."""
    code = """
import sys

class NoTorch:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == "torch":
            raise ModuleNotFoundError(name)

sys.meta_path.insert(0, NoTorch())
import spectra.cli.main, spectra.api.chain, spectra.api.compare
import spectra.study.basis, spectra.study.fit, spectra.study.plan
import spectra.report
"""
    subprocess.run([sys.executable, "-c", code], check=True)
