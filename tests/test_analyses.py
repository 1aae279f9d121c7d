"""The written studies can be carried out, and their figures follow."""

import itertools
import json
import math
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save

import spectra
from analyses.minilm_adapt import tables as adapted
from analyses.minilm_merge import figure as merge_figure
from analyses.minilm_merge import tables as merge_tables
from analyses.minilm_merge.directions import Projection, weights
from analyses.random_init.draw import SHAPES, draw
from analyses.universal_subspace import figure, published, tables
from analyses.universal_subspace.checks import checks
from spectra.core.catalog import Catalog, Checkpoint, LayerKey, LowRankSource
from spectra.core.settings import FitSettings
from spectra.core.tensors import FileRef, TensorRef
from spectra.hub.record import PIECE
from spectra.study.plan import plan
from spectra.study.studyfile import read_study
from spectra.study.tasks import work_of
from spectra.study.work import products_of
from spectra.subspaces.lowrank import low_rank_memory
from spectra.weights.grouping import group
from tests.hub import Hub, Repository

ANALYSES = Path(__file__).resolve().parents[1] / "analyses"
STUDIES = sorted(ANALYSES.glob("*/*.toml"))
HUB = ANALYSES / "hub_population"
PAGE = (HUB / "README.md").read_text("utf-8")
UNIVERSAL = tables.PAGE.read_text("utf-8")
SIDES = (4096 + 4096, 1024 + 4096, 1024 + 4096)
EVR = {1: 0.0417, 4: 0.1504, 16: 0.4308, 32: 0.6598, 64: 0.9523}
MEAN_FRACTION = 0.01096


@pytest.mark.parametrize(
    "path", STUDIES, ids=lambda path: f"{path.parent.name}-{path.stem}"
)
def test_a_study_can_be_read(path):
    study = read_study(path)
    assert study.population.sources or study.population.asks
    out = Path(study.report.out)
    assert out.is_relative_to(path.parent.relative_to(ANALYSES.parent))
    assert (path.parent / "README.md").is_file()


def cell(value, digits=4):
    return f"{value:.{digits}f}".removeprefix("0")


def test_the_figures_of_the_hub_population():
    weights = 32 * 16 * sum(SIDES)
    pieces = math.ceil(4 * weights / PIECE)
    hub = 500 * (2 + 1 + 1)  # a configuration, a header's hop, the file's
    assert f"| {weights:,} |" in PAGE
    assert f"| {4 * 500 * weights / 1e9:.1f} GB |" in PAGE
    assert f"pieces of {PIECE >> 20} MiB: {pieces} an adapter" in PAGE
    assert f"| fetch | {500 * (pieces + 1):,} requests |" in PAGE
    assert f"| scan | {500 * 2 * 2:,} requests |" in PAGE
    assert f"at most {500 * (4 + pieces + 1):,} requests" in PAGE
    assert f"{hub:,} if those to the CDN do not count" in PAGE


def test_what_the_hub_population_needs():
    nbytes = 4 * 500 * 32 * 16 * sum(SIDES)
    run_file = 96 * 8 * (500 * (4 * 500 + 40) + 2 * 20 * 64**2)
    layers = [dict(adapter(i).layers) for i in range(500)]
    query = LayerKey("layers.0.q_proj", (4096, 4096), "low-rank")
    memory = low_rank_memory(
        query.shape,
        [held[query] for held in layers],
        rank=16,
        dtype=np.float32,
        save=False,
    )
    catalog = Catalog(*group([adapter(i) for i in range(500)]))
    settings = FitSettings()
    products = sum(
        products_of(task, settings)
        for task in work_of(catalog, settings).tasks
    )
    seconds = nbytes / 5e7, products / 5e10, nbytes / 1e9
    network, arithmetic, disk = (f"{each:.0f} s" for each in seconds)
    # The run file, and the units that it is made of.
    assert f"| disk | {(nbytes + 2 * run_file) / 1e9:.1f} GB |" in PAGE
    assert f"{run_file / 1e9:.1f} GB for the run file, and as much" in PAGE
    assert f"| memory | {memory / 2**30:.1f} GiB a worker |" in PAGE
    together = seconds[0] + seconds[1] / 2 + seconds[2]
    assert f"about {together / 60:.0f} minutes | two workers" in PAGE
    assert f"{network} for the network at 50 MB/s" in PAGE
    assert f"{arithmetic} for {products / 1e12:.1f} 10^12 products" in PAGE
    assert f"{disk} for the disk" in PAGE


def adapter(i):
    """Return one of the five hundred as a scan describes it; no bytes."""
    at = f"hf://Lots-of-LoRAs/m{i}@{i:040x}/adapter_model.safetensors"
    layers, end = [], 0
    for n, (name, out) in itertools.product(
        range(32), (("q", 4096), ("k", 1024), ("v", 1024))
    ):
        pair = []
        for side, shape in (("A", (16, 4096)), ("B", (out, 16))):
            start, end = end, end + 4 * math.prod(shape)
            ref = TensorRef(at, f"{n}.{name}.{side}", start, end, "F32", shape)
            pair.append(ref)
        key = LayerKey(f"layers.{n}.{name}_proj", (out, 4096), "low-rank")
        layers.append((key, LowRankSource(*pair, 2.0)))
    file = FileRef(at, end, 0, "", f"{i:064x}")
    return Checkpoint(f"m{i}", f"{i:040x}", at, (file,), tuple(sorted(layers)))


def test_the_plan_of_the_five_hundred(tmp_path, monkeypatch):
    """What the product plans for these shapes is what the page says."""
    monkeypatch.setenv("SPECTRA_CACHE", str(tmp_path))
    monkeypatch.setenv("HF_HOME", str(tmp_path))
    monkeypatch.setattr("spectra.backend.memory.resident_bytes", lambda: 0)
    monkeypatch.setattr("spectra.study.reading._room", lambda: 2**50)
    monkeypatch.setattr("spectra.study.plan.product_rate", lambda: 5e10)
    models, architectures = group([adapter(i) for i in range(500)])
    found = plan(Catalog(models, architectures), FitSettings(workers=2))
    assert (found.n_models, found.n_layers, found.workers) == (500, 96, 2)
    assert found.bytes_to_fetch == 4 * 500 * 32 * 16 * sum(SIDES)
    assert (found.whole_files, found.ranged_files) == (500, 0)
    assert f"| fetch | {found.requests:,} requests |" in PAGE
    assert f"| disk | {found.disk_bytes / 1e9:.1f} GB |" in PAGE
    assert f"about {found.seconds / 60:.0f} minutes" in PAGE


def test_the_hundred_agree_with_one_another():
    """The squared error is (1 - mean fraction)(1 - EVR)."""
    rows = re.findall(r"\| EVR at (\d+) \| (\S+) \| (\S+) \| (\S+) \|", PAGE)
    assert [int(k) for k, *_ in rows] == list(EVR)
    for k, evr, chance, error in rows:
        assert evr == cell(EVR[int(k)])
        assert chance == cell(int(k) / 99)
        found = math.sqrt((1 - MEAN_FRACTION) * (1 - float(evr)))
        assert float(error) == pytest.approx(found, abs=5e-4)
    assert f"| mean fraction | {cell(MEAN_FRACTION, 5)} |" in PAGE


def by_norms_alone(k):
    """Return bounds at k of 500 from the shares at k / 5 of 100.

    A concave curve lies above its chords, and below those on either side
    when they are drawn on.
    """
    known = {0: 0.0, **{5 * j: evr for j, evr in EVR.items()}, 500: 1.0}
    chords = list(itertools.pairwise(known.items()))
    lines = [y + (k - x) * (Y - y) / (X - x) for (x, y), (X, Y) in chords]
    here = sum(x <= k for (x, _), _ in chords) - 1
    beside = lines[max(0, here - 1) : here] + lines[here + 1 : here + 2]
    return lines[here], min(beside)


@pytest.mark.parametrize("k", [4, 16, 32, 64])
def test_sharing_and_norms_predict_other_curves(k):
    low, high = (cell(bound, 3) for bound in by_norms_alone(k))
    shared, chance = cell(EVR[k], 3), cell(k / 499, 3)
    assert f"| {k} | {shared} | {low} to {high} | {chance} |" in PAGE


def test_the_mean_that_is_predicted():
    cosine = (100 * MEAN_FRACTION - 1) / 99
    assert f"a mean cosine\n  of {cell(cosine, 5)};" in PAGE
    fraction = (1 + 499 * cosine) / 500
    assert f"a mean fraction of {cell(fraction)} (chance .0020)" in PAGE
    r2 = (500 * cosine - 1) / 499
    assert f"r2.mean of -{cell(-r2)}." in PAGE


def test_one_mean_left_out_of_five():
    """r2.mean follows from the mean cosine, whatever the vectors are."""
    x = np.random.default_rng(0).standard_normal((5, 9)) + 0.3
    x /= np.linalg.norm(x, axis=1, keepdims=True)
    others = (x.sum(0) - x) / 4
    cosine = ((x @ x.T).sum() - 5) / 20
    r2 = 1 - ((x - others) ** 2).sum() / 5
    assert r2 == pytest.approx((5 * cosine - 1) / 4)


def shelf():
    """Return adapters under the names that the study looks for."""
    layer = "base_model.model.model.layers.0.self_attn.{}.lora_{}.weight"
    config = {"peft_type": "LORA", "r": 2, "lora_alpha": 4}
    for i in range(6):
        rng = np.random.default_rng(i)
        tensors = {
            layer.format(name, side): rng.standard_normal(shape).astype("f4")
            for name in ("q_proj", "k_proj", "v_proj", "o_proj")
            for side, shape in (("A", (2, 12)), ("B", (10, 2)))
        }
        yield Repository(
            f"Lots-of-LoRAs/task-{i}",
            {
                "adapter_config.json": json.dumps(config).encode(),
                "adapter_model.safetensors": save(tensors),
            },
            base_models=("adapter", ("mistralai/Mistral-7B-Instruct-v0.2",)),
        )


def test_the_hub_population_on_a_hub_of_six(tmp_path):
    """The page's own commands, with the same names on the loopback."""
    commands = re.findall(r"^spectra .*$", PAGE, re.MULTILINE)
    assert [shlex.split(line)[1] for line in commands] == ["plan", "run"]
    with Hub(shelf()) as hub:
        env = os.environ | {
            "HF_ENDPOINT": hub.endpoint,
            "HF_HOME": str(tmp_path / "home"),
            "SPECTRA_CACHE": str(tmp_path / "cache"),
            "NO_PROXY": "127.0.0.1",
        }
        for line in commands:
            words = shlex.split(line)[1:]
            words = [
                str(HUB / "study.toml") if ".toml" in w else w for w in words
            ]
            out = ["-o", str(tmp_path / "out")] if words[0] == "run" else []
            done = subprocess.run(
                [sys.executable, "-m", "spectra", *words, *out, "--json"],
                env=env,
                capture_output=True,
                text=True,
                check=False,
            )
            assert done.returncode == 0, done.stderr
            document = json.loads(done.stdout)
            if words[0] == "plan":
                assert (document["n_models"], document["n_layers"]) == (6, 3)
    names = [layer["name"].rpartition(".")[2] for layer in document["layers"]]
    assert sorted(names) == ["k_proj", "q_proj", "v_proj"]
    assert document["population"]["n_models"] == 6


@pytest.mark.slow
def test_random_models_show_what_was_published(tmp_path):
    """The query of 100 random ViT-B/16: the study's own files and figures."""
    query = next(name for name in SHAPES if "query" in name)
    draw(tmp_path / "members", names=(query,))
    settings = read_study(ANALYSES / "random_init" / "study.toml")
    run = spectra.fit(
        spectra.scan(tmp_path / "members"), recipe=settings.fit.recipe
    )
    document = spectra.overlap(run, k=settings.overlap.k).document
    (layer,) = document["layers"]
    assert layer["verdict"] == "not-shared"
    shares = layer["model_axis"]["evr"]
    published = {1: 0.0104, 4: 0.0414, 16: 0.1648, 32: 0.3281, 64: 0.6515}
    for k, share in published.items():
        assert shares[str(k)] == pytest.approx(share, abs=2.5e-4)
    page = (ANALYSES / "random_init" / "README.md").read_text("utf-8")
    row = " | ".join(cell(shares[str(k)]) for k in published)
    assert f"| query, 768 x 768 | {row} | `not-shared` |" in page
    (rows,) = [e for e in layer["recipes"] if e["recipe"] == "rows-pca"]
    for what, values in (("query, 76,800 rows", rows["evr"]),
                         ("chance", rows["null"])):  # fmt: skip
        row = " | ".join(cell(values[k], 5) for k in ("1", "16", "64"))
        assert f"| {what} | {row} |" in page


def written(name, page=UNIVERSAL):
    """Return the rows of a table, of the universal subspace's page."""
    _, _, rest = page.partition(f"<!-- {name} -->")
    lines = rest.partition("<!-- end -->")[0].strip().splitlines()
    return [line.strip("| ").split(" | ") for line in lines[2:]]


NUMBER = re.compile(r"-?\d*\.\d+|-?\d+")


def assert_same(found, row):
    """Words are equal, and numbers but for the rounding of the last digit."""
    found, row = " | ".join(found), " | ".join(row)
    assert NUMBER.sub("#", found) == NUMBER.sub("#", row)
    values = [[float(n) for n in NUMBER.findall(t)] for t in (found, row)]
    assert values[0] == pytest.approx(values[1], abs=1.01e-3)


def test_what_is_said_of_published_figures():
    for found, row in zip(
        published.published(), written("published"), strict=True
    ):
        assert_same(found, row)


def test_the_figure_shows_what_the_tables_say():
    drawn = figure.draw(written("models"), written("sides"))
    assert tables.FIGURE.read_text("utf-8") == drawn


def test_shares_in_the_text_are_those_of_the_tables():
    lines = UNIVERSAL.splitlines()
    rows = "\n".join(line for line in lines if line.startswith("|"))
    text = "\n".join(line for line in lines if not line.startswith("|"))
    found = re.findall(r"(\d\d)\.(\d)\s%", text)
    assert len(found) > 10
    for whole, tenth in found:
        assert f" .{whole}{tenth} " in rows


@pytest.mark.parametrize(
    "population",
    [
        pytest.param(
            each,
            id=each.name,
            marks=() if each.name == "jeffy" else pytest.mark.slow,
        )
        for each in tables.POPULATIONS
    ],
)
def test_do_populations_share_a_subspace(population, populations, tmp_path):
    document = tables.carried_out(population, populations, tmp_path)
    found = tables.measured([(population, document)])
    for name in tables.TITLES:
        rows = [row for row in written(name) if row[0] == population.title]
        for got, row in zip(found[name], rows, strict=True):
            assert_same(got, row)
    if population.name == "jeffy":
        held = document["layers"][0]["model_axis"]["held_out"]
        share, chance = held["captured"]["4"], held["captured_random"]["4"]
        assert f"carry {100 * share:.1f} % of what a held-out" in UNIVERSAL
        percent = cell(100 * chance, 1)
        assert f"random ones\n  {percent} %" in UNIVERSAL


def test_what_the_surprises_are_made_of(populations):
    for found, row in zip(checks(populations), written("checks"), strict=True):
        assert_same(found, row)


def adapted_record():
    return json.loads(adapted.RECORD.read_text("utf-8"))


def test_the_page_of_held_out_tasks_is_what_was_recorded():
    record, page = adapted_record(), adapted.PAGE.read_text("utf-8")
    assert adapted.with_tables(page, record) == page
    assert page.count("<!-- end -->") == len(adapted.TABLES)
    assert adapted.FIGURE.read_text("utf-8") == adapted.draw(record)
    rows = "\n".join(re.findall(r"^\|.*$", page, re.MULTILINE))
    text = "\n".join(re.findall(r"^[^|\n].*$", page, re.MULTILINE))
    said = re.findall(r"[-+]?\.\d{3}(?: ± \.\d{3})?", text)
    assert len(said) > 5
    assert [value for value in said if value not in rows] == []


def test_held_out_tasks_were_learned_in_the_same_ways():
    record = adapted_record()
    rows = record["results"]
    held_out = [row["tag"] for row in record["neighbours"]]
    found = {(r["arm"], r["tag"], r["seed"]) for r in rows
             if r["part"] == "held-out"}  # fmt: skip
    every = itertools.product(
        adapted.arms(record), held_out, record["settings"]["seeds"]
    )
    assert found == set(every)
    assert len(held_out) == 6
    tuned = {r["tag"] for r in rows if r["part"] == "tuning"}
    assert not tuned & {*held_out}
    assert len(rows) == len(found) + sum(r["part"] == "tuning" for r in rows)


def test_an_interval_is_that_of_student():
    """Six differences: t with five degrees of freedom, 2.5706."""
    values = np.array([0.1, 0.3, 0.2, 0.0, 0.4, 0.2])
    mean, half = adapted.interval(values)
    assert mean == pytest.approx(0.2)
    spread = math.sqrt(sum((v - 0.2) ** 2 for v in values) / 5 / 6)
    assert half == pytest.approx(2.5706 * spread, rel=1e-4)


MERGES = json.loads(merge_tables.RECORD.read_text("utf-8"))
MERGE_PAGE = merge_tables.PAGE.read_text("utf-8")


def test_the_tables_of_merges_are_those_of_the_record():
    found = merge_tables.measured(MERGES)
    for name in merge_tables.TITLES:
        for got, row in zip(
            found[name], written(name, MERGE_PAGE), strict=True
        ):
            assert_same(got, row)
    drawn = merge_figure.draw(
        {name: written(name, MERGE_PAGE) for name in found}
    )
    assert merge_tables.FIGURE.read_text("utf-8") == drawn


def test_numbers_in_the_text_of_merges_are_in_its_tables():
    _, _, text = MERGE_PAGE.partition("## Answer")
    answer, _, rest = text.partition("## Prediction")
    _, _, surprises = rest.partition("## What did not come out")
    rows = re.findall(r"^\|.*$", MERGE_PAGE, re.MULTILINE)
    cells = " | ".join(rows)
    known = set(re.findall(r"-?\.\d+", cells))
    known |= set(re.findall(r"-?\.\d+ ± \.\d+", cells))
    found = re.findall(r"-?\.\d\d+(?: ± \.\d+)?", answer)
    found += re.findall(r"-?\.\d{3}(?: ± \.\d+)?", surprises)
    assert len(found) > 30
    assert [each for each in found if each not in known] == []


def test_every_task_is_merged_once_and_has_examples_of_its_own():
    members = sorted(itertools.chain(*MERGES["groups"].values()))
    assert members == list(range(32))
    assert all(len(group) == 8 for group in MERGES["groups"].values())
    assert all(task["tune"] == 64 for task in MERGES["tasks"])
    assert {task["test"] for task in MERGES["tasks"]} <= {*range(118, 129)}


def test_adapters_alone_are_as_good_as_when_they_were_trained():
    (row,) = (row for row in MERGES["rows"] if row.get("part") == "all")
    for task, right in zip(MERGES["tasks"], row["right"], strict=True):
        assert right == round(task["trained"] * task["all"])


def test_an_equal_merge_in_the_subspace_is_the_mean():
    gaps = [row["gap"] for row in MERGES["rows"] if row["what"] == "subspace"]
    assert len(gaps) == 4
    assert max(gaps) < 1e-6


@pytest.mark.parametrize("held_out", [False, True])
@pytest.mark.parametrize("basis", ["leading", "secondary", "random"])
def test_a_projection_is_a_sum_of_members(held_out, basis):
    rng = np.random.default_rng(5)
    X = rng.normal(size=(9, 60)) * rng.uniform(0.3, 3, size=(9, 1))
    G = X @ X.T
    how = Projection(held_out, basis, 3)
    others = np.delete(X, 4, axis=0) if held_out else X
    mean = others.mean(axis=0)
    x = X[4] - mean
    V = np.linalg.svd(others - mean)[2][: len(others) - 1]
    a, inside, whole = weights(G, 4, how, np.random.default_rng(0))
    y = a @ X - mean
    assert (inside, whole) == pytest.approx((y @ y, x @ x))
    assert y @ x == pytest.approx(y @ y)
    if basis == "random":
        assert y == pytest.approx(V.T @ (V @ y), abs=1e-10)
        draws = [weights(G, 4, how, rng)[1] for _ in range(2000)]
        chance = 3 / len(V) * np.sum((V @ x) ** 2)
        assert np.mean(draws) == pytest.approx(chance, rel=0.05)
    else:
        V = V[3:6] if basis == "secondary" else V[:3]
        assert y == pytest.approx(V.T @ (V @ x), abs=1e-10)
