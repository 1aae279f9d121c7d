"""The written studies can be carried out, and their figures follow."""

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

from spectra.hub.record import PIECE
from spectra.study.studyfile import read_study
from tests.hub import Hub, Repository

ANALYSES = Path(__file__).resolve().parents[1] / "analyses"
STUDIES = sorted(ANALYSES.glob("*/study.toml"))
HUB = ANALYSES / "hub_population"
PAGE = (HUB / "README.md").read_text("utf-8")


@pytest.mark.parametrize("path", STUDIES, ids=lambda path: path.parent.name)
def test_a_study_can_be_read(path):
    study = read_study(path)
    assert study.population.sources or study.population.asks
    out = Path(study.report.out)
    assert out.is_relative_to(path.parent.relative_to(ANALYSES.parent))
    assert (path.parent / "README.md").is_file()


def test_the_figures_of_the_hub_population():
    sides = (4096 + 4096, 1024 + 4096, 1024 + 4096)
    weights = 32 * 16 * sum(sides)
    pieces = math.ceil(4 * weights / PIECE)
    assert f"| {weights:,} |" in PAGE
    assert f"| {4 * 500 * weights / 1e9:.1f} GB |" in PAGE
    assert f"pieces of {PIECE >> 20} MiB: {pieces} an adapter" in PAGE
    assert f"| fetch | {500 * (pieces + 1):,} requests |" in PAGE
    assert f"| scan | {500 * 2 * 2:,} requests |" in PAGE
    for k, real in ((1, 0.0417), (4, 0.1504), (16, 0.4308)):
        chance = f"{k / 99:.4f}".removeprefix("0")
        assert f"| EVR at {k} | {f'{real:.4f}'[1:]} | {chance} |" in PAGE


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
