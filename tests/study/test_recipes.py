"""``fit --recipe``: from files to the report, against the naive twins."""

import json

import numpy as np
import pytest

import spectra
from spectra.backend.memory import resident_bytes
from spectra.core.errors import UsageError
from spectra.report.rows import recipe_rows
from spectra.subspaces.recipes import tucker
from spectra.subspaces.recipes.table import RECIPES
from spectra.weights.stream import TensorReader
from tests.checkpoints import adapters, dense, write_dense
from tests.cli.test_cli import spectra as typed
from tests.reference import recipes as twin

FULL = ("model-axis", "rows-pca", "hosvd")
ADAPTERS = (*FULL, "lora-rows-pca", "lora-cols-svd", "lora-eig")


def entries_of(run):
    (layer,) = spectra.overlap(run).layers
    return layer["recipes"]


def check(entries, expected):
    """Hold spectra to those of all models in memory."""
    assert len(entries) == len(expected)
    for entry, theirs in zip(entries, expected, strict=True):
        found = np.array([x or 0.0 for x in entry["eigenvalues"]])
        values = np.sort(theirs)[::-1][: len(found)]
        np.testing.assert_allclose(found, values, atol=1e-6 * values[0])
        share = values[:4].sum() / values.sum()
        np.testing.assert_allclose(entry["evr"]["4"], share, rtol=1e-6)
        assert entry["null"]["4"] is not None
        assert entry["caveat"]


def spectra_of(name, members):
    """Return the twin's spectra, one a part or mode."""
    return list(twin.SPECTRA[name](members).values())


def test_full_weights(tmp_path):
    folder, members, _ = dense(tmp_path, 7, {"w": (12, 9)})
    held = [members[name]["w"] for name in sorted(members)]
    run = spectra.fit(spectra.scan(folder), tmp_path / "run.h5", recipe=FULL)
    entries = entries_of(run)
    for name in FULL:
        own = [e for e in entries if e["recipe"] == name]
        check(own, spectra_of(name, held))
    assert entries_of(spectra.load(tmp_path / "run.h5")) == entries
    assert [e.get("mode") for e in entries] == [None, None, 0, 1, 2]


def test_adapters(tmp_path):
    folder, members = adapters(tmp_path / "p", [3] * 6, {"q": (14, 11)})
    held = [members[name]["q"] for name in sorted(members)]
    run = spectra.fit(spectra.scan(folder), recipe=ADAPTERS)
    entries = entries_of(run)
    assert {e["recipe"] for e in entries} == set(ADAPTERS)
    for name in ADAPTERS:
        own = [e for e in entries if e["recipe"] == name]
        check(own, spectra_of(name, held))
    parts = [e.get("part") for e in entries if e["recipe"] == "lora-eig"]
    assert parts == ["A", "B"]


def test_convolutions(tmp_path):
    rng = np.random.default_rng(1)
    held = [rng.standard_normal((8, 3, 3, 3)) for _ in range(5)]
    for i, W in enumerate(held):
        write_dense(tmp_path / "p" / f"m{i}", {"c.weight": W}, "F64")
    run = spectra.fit(spectra.scan(tmp_path / "p"), recipe=["conv-cols"])
    check(entries_of(run), spectra_of("conv-cols", held))


def test_copies_and_broken_members_are_no_samples(tmp_path):
    folder, members, _ = dense(tmp_path, 6, {"w": (12, 9)})
    held = [members[name]["w"] for name in sorted(members)]
    write_dense(folder / "copy", {"w": held[0]})
    write_dense(folder / "broken", {"w": np.full((12, 9), np.nan)})
    run = spectra.fit(spectra.scan(folder), recipe=["rows-pca"])
    (entry,) = entries_of(run)
    assert entry["n_samples"] == 6 * 12
    check([entry], spectra_of("rows-pca", held))


def test_a_recipe_that_cannot_be_followed_is_told(tmp_path):
    """Of factors of different ranks there is no mean."""
    folder, _ = adapters(tmp_path / "p", [2, 3, 3, 2], {"q": (14, 11)})
    run = spectra.fit(
        spectra.scan(folder), recipe=["lora-rows-pca", "rows-pca"]
    )
    (lost,) = run.value.quarantine
    assert (lost.layer, lost.code) == ("q", "SHAPE_MISMATCH")
    assert lost.detail.startswith("lora-rows-pca: ")
    assert [e["recipe"] for e in entries_of(run)] == ["rows-pca"]


@pytest.mark.parametrize("name", ["pca", "lora-eig", "conv-cols"])
def test_what_is_no_recipe_for_these_is_refused(tmp_path, name):
    folder = dense(tmp_path, 3, {"w": (12, 9)})[0]
    done = typed("fit", folder, "-o", tmp_path / "run.h5", "--recipe", name)
    assert done.returncode == 2
    assert done.stderr.startswith("spectra: E_RECIPE: ")
    with pytest.raises(UsageError):
        spectra.scan(folder).plan(recipe=[name])


@pytest.mark.parametrize(
    "recipe",
    [
        ["rows-pca"], ["lora-cols-svd", "hosvd"], ["lora-rows-pca"],
        ["hosvd:ranks=2x2,modes=01,hooi=1"],
    ],
)  # fmt: skip
def test_plan_knows_what_is_read(tmp_path, recipe, monkeypatch):
    folder, _ = adapters(tmp_path / "p", [3] * 9, {"q": (40, 5000)})
    catalog = spectra.scan(folder)
    planned = catalog.plan(recipe=recipe)
    honest, read = TensorReader.read, []

    def counted(self, ref, start, stop):
        read.append((stop - start) * ref.nbytes // ref.size)
        return honest(self, ref, start, stop)

    monkeypatch.setattr(TensorReader, "read", counted)
    spectra.fit(catalog, recipe=recipe)
    ratio = planned.bytes_to_read / sum(read)
    assert 1 / 1.5 < ratio < 1.5
    plain = catalog.plan()
    assert planned.bytes_to_read > 2 * plain.bytes_to_read
    assert planned.memory_bytes < resident_bytes() + 2**30


def test_the_reports_show_them(tmp_path):
    folder, _ = adapters(tmp_path / "p", [3] * 6, {"q": (14, 11),
                                                   "v": (14, 11)})  # fmt: skip
    done = typed("run", folder, "-o", tmp_path / "out", "--recipe",
                 "rows-pca", "--recipe", "lora-rows-pca",
                 "--recipe", "hosvd:tau=0.5,modes=2")  # fmt: skip
    assert done.returncode == 0, done.stderr
    report = json.loads((tmp_path / "out" / "report.json").read_text())
    rows = recipe_rows(report)
    assert [row["recipe"] for row in rows] == [
        "rows-pca", "lora-rows-pca, A", "lora-rows-pca, B",
        "hosvd:tau=0.5,modes=2, mode 2",
    ]  # fmt: skip
    page = (tmp_path / "out" / "report.html").read_text()
    card = (tmp_path / "out" / "report.md").read_text()
    (mode,) = [e for e in report["layers"][0]["recipes"] if "ranks" in e]
    assert mode["ranks"][:2] == [6, 14]
    for text in (rows[-1]["caveat"], page, card):
        assert "Kept 6 x 14 x" in text
    for row in rows:
        assert row["n_layers"] == 2
        assert row["recipe"] in page
        assert row["caveat"][:40] in page
        assert f"| {row['recipe']} | 2 |" in card
        assert f"{row['evr']:.3f}" in done.stdout
        assert row["caveat"] in done.stdout
    assert rows[2]["k"] == "1"
    plain = spectra.overlap(spectra.fit(spectra.scan(folder)))
    assert all(layer["recipes"] == [] for layer in plain.layers)


def test_the_help_names_them_all():
    said = typed("fit", "--help").stdout
    words = " ".join(said.split())
    assert all(recipe.name in words for recipe in RECIPES)


def error_of(held, ours, centring):
    """Return the error of the truncated tensor, all models in memory."""
    X, _ = twin.tensor(held, centring)
    factors = [
        np.linalg.svd(twin.unfold(X, mode))[0][:, : ours["ranks"][mode]]
        for mode in range(3)
    ]
    return np.linalg.norm(X - twin.project(X, factors)) / np.linalg.norm(X)


@pytest.mark.parametrize("centring", ["models", "scalar", "none"])
def test_a_truncated_tensor_is_that_of_all_models(tmp_path, centring):
    folder, members, _ = dense(tmp_path, 7, {"w": (12, 9)})
    held = [members[name]["w"] for name in sorted(members)]
    asked = f"hosvd:ranks=3x4x5,hooi=4,centring={centring}"
    run = spectra.fit(
        spectra.scan(folder), tmp_path / "run.h5", recipe=[asked]
    )
    entries, loaded = entries_of(run), spectra.load(tmp_path / "run.h5")
    assert entries_of(loaded) == entries
    assert [found.truncation for found in loaded.value.layers[0].recipes] == [
        found.truncation for found in run.value.layers[0].recipes
    ]
    check(entries, list(twin.hosvd(held, centring).values()))
    for entry in entries:
        assert entry["centring"] == centring
        assert entry["ranks"] == [3, 4, 5]
        expected = error_of(held, entry, centring)
        assert entry["error"] == pytest.approx(expected, rel=1e-6)
        assert entry["error"] < entry["error_bound"]
        assert entry["error_refined"] < entry["error"]


def test_tau_and_modes_choose_the_ranks(tmp_path):
    folder, members = adapters(tmp_path / "p", [3] * 6, {"q": (14, 11)})
    held = [members[name]["q"] for name in sorted(members)]
    run = spectra.fit(
        spectra.scan(folder), recipe=["hosvd:tau=0.8,modes=12", "hosvd"]
    )
    entries = entries_of(run)
    assert [e.get("options") for e in entries] == [
        "tau=0.8,modes=12", "tau=0.8,modes=12", None, None, None,
    ]  # fmt: skip
    assert [e["mode"] for e in entries] == [1, 2, 0, 1, 2]
    full = twin.hosvd(held)
    fewest = [
        1 + int(np.argmax(np.cumsum(full[m]) >= 0.8 * full[m].sum()))
        for m in (1, 2)
    ]
    assert entries[0]["ranks"] == [6, *fewest]
    assert entries[0]["error_refined"] is None
    assert "ranks" not in entries[2]
    assert entries[0]["error"] == pytest.approx(
        error_of(held, entries[0], "models"), rel=1e-6
    )


@pytest.mark.parametrize(
    "wrong",
    [
        "rows-pca:tau=0.5", "hosvd:tau=0", "hosvd:tau=x", "hosvd:tau",
        "hosvd:modes=3", "hosvd:modes=11", "hosvd:modes=21",
        "hosvd:ranks=2x2", "hosvd:hooi",
        "hosvd:ranks=0x1x1", "hosvd:tau=.5,ranks=1x1x1", "hosvd:speed=2",
        "hosvd:tau=.5,tau=.6", "hosvd:centring=columns", "hosvd:hooi=0,tau=1",
    ],
)  # fmt: skip
def test_options_that_cannot_be_read_are_refused(tmp_path, wrong):
    folder = dense(tmp_path, 3, {"w": (12, 9)})[0]
    with pytest.raises(UsageError) as refused:
        spectra.scan(folder).plan(recipe=[wrong])
    assert refused.value.code == "E_RECIPE"


def test_a_core_that_is_too_large_is_told(tmp_path, monkeypatch):
    folder = dense(tmp_path, 4, {"w": (12, 9)})[0]
    monkeypatch.setattr(tucker, "CORE", 4 * 12 * 9 - 1)
    run = spectra.fit(spectra.scan(folder), recipe=["hosvd:tau=1"])
    (lost,) = run.value.quarantine
    assert lost.code == "LIMIT_DIM"
    assert "4 x 12 x 9" in lost.detail


def test_a_stored_report_shows_the_same(tmp_path):
    """Its keys are sorted as text: 16 comes before 4."""
    folder, _, _ = dense(tmp_path, 6, {"w": (40, 50)})
    run = spectra.fit(
        spectra.scan(folder), tmp_path / "run.h5", recipe=["rows-pca"]
    )
    rows = recipe_rows(spectra.overlap(run).document)
    assert rows[0]["k"] == "16"
    stored = spectra.OverlapReport.stored(spectra.load(tmp_path / "run.h5"))
    assert list(stored.layers[0]["recipes"][0]["evr"]) == ["1", "16", "4"]
    assert recipe_rows(stored.document) == rows
