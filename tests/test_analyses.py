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
STUDIES = sorted(ANALYSES.glob("*/study.toml"))
HUB = ANALYSES / "hub_population"
PAGE = (HUB / "README.md").read_text("utf-8")
SIDES = (4096 + 4096, 1024 + 4096, 1024 + 4096)
EVR = {1: 0.0417, 4: 0.1504, 16: 0.4308, 32: 0.6598, 64: 0.9523}
MEAN_FRACTION = 0.01096


@pytest.mark.parametrize("path", STUDIES, ids=lambda path: path.parent.name)
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
