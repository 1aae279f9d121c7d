"""What the other pages show is carried out, block by block."""

import csv
import dataclasses
import importlib.util
import inspect
import json
import re
import shlex
import shutil
from pathlib import Path

import h5py
import numpy as np
import pyarrow.parquet
import pytest
import yaml
from safetensors import safe_open
from safetensors.numpy import load_file
from typer.core import TyperCommand

import spectra
from spectra.cli.commands import COMMANDS, command_of
from spectra.core.settings import FitSettings
from spectra.study.keys import NOT_PART_OF_THE_RESULT
from tests.blocks import blocks as blocks_of
from tests.blocks import commands, shell
from tests.checkpoints import adapters, factors, write_adapter
from tests.hub import Hub
from tests.hub_client.settings import SECRET
from tests.test_howto import folder
from tests.test_readme import client

__all__ = ["folder"]

ROOT = Path(__file__).resolve().parents[1]
NOT_RUN = {
    "m + sum_l c_il v_l,    c_il = <v_l, x_i - m>": "a formula",
    "minimise  mean_i || x_i - U S_i V^T ||^2": "a formula",
}
"""Blocks that are not carried out, by their first line, and why."""
ELSEWHERE = {
    "README.md": "tests/test_readme.py",
    "docs/adapt.md": "tests/apply/test_adaptation.py",
    "docs/howto/": "tests/test_howto.py",
    "docs/reference/": "tests/test_reference.py",
}
"""Pages, and folders of them, whose blocks are those of another test."""
NOT_OURS = {
    ".": "an environment that `python -m venv` made",
    "apt-cache": "Debian's, and answers after `apt-get update`",
    "apt-get": "Debian's, and asks a mirror",
    "pip": "asks a package index",
}
"""Commands on the pages of analyses that are not looked at, and why."""
NO_RUN = 2
LONG = (
    "docs/verdict.md",
    *(
        page.relative_to(ROOT).as_posix()
        for page in sorted((ROOT / "analyses").glob("*/README.md"))
    ),
)
"""Pages whose commands take minutes and more, or a network."""


def blocks(name: str) -> list[str]:
    """Return the blocks of a page of docs/ that are to be carried out."""
    found = blocks_of(ROOT / "docs" / name)
    return [each for each in found if each.rstrip("\n") not in NOT_RUN]


def typed(text: str, cwd: Path, env: dict[str, str] | None = None) -> str:
    """Return what is printed by lines that have to end well."""
    done = shell(text, cwd, env)
    assert done.returncode == 0, (text, done.stderr)
    return done.stdout


def population(path: Path, names: list[str], layers: list[str]) -> None:
    """Write an adapter of rank 4 for each name."""
    shapes = dict.fromkeys(layers, (24, 16))
    adapters(path, [4] * len(names), shapes)
    for name, each in zip(names, sorted(path.iterdir()), strict=True):
        each.rename(path / name)


def fitted(path: Path) -> None:
    """Make `run.h5` of `adapters/`, with its report."""
    run = spectra.fit(spectra.scan(path / "adapters"), path / "run.h5")
    spectra.overlap(run)


def update(path: Path, layer: str) -> np.ndarray:
    """Return what an adapter adds to a layer."""
    config = json.loads((path / "adapter_config.json").read_text())
    weights = load_file(path / "adapter_model.safetensors")
    A, B = (
        weights[f"base_model.model.{layer}.lora_{side}.weight"].astype("f8")
        for side in "AB"
    )
    return config["lora_alpha"] / config["r"] * B @ A


def pages() -> list[str]:
    """Return every page of the checkout, by its place."""
    folders = ("", "docs", "cache", "analyses", "benchmarks")
    found = {
        page
        for name in folders
        for page in (ROOT / name).glob("**/*.md" if name else "*.md")
    }
    return sorted(page.relative_to(ROOT).as_posix() for page in found)


@pytest.fixture
def features(tmp_path: Path) -> Path:
    """Return a folder with `a.npy` to `e.npy` and `accuracy.csv`."""
    rng = np.random.default_rng(0)
    common = rng.standard_normal((40, 5))
    lines = ["id,score"]
    for width, name in enumerate("abcde", 8):
        turned = common @ rng.standard_normal((5, width))
        noise = 0.3 * (width - 7) * rng.standard_normal((40, width))
        np.save(tmp_path / f"{name}.npy", turned + noise)
        lines.append(f"{name},{1 - 0.1 * (width - 7)}")
    (tmp_path / "accuracy.csv").write_text("\n".join(lines) + "\n")
    return tmp_path


def test_align(features: Path) -> None:
    competence, report = blocks("align.md")
    printed = typed(competence, features)
    for metric in ("mutual-knn", "cka-debiased"):
        rows = re.findall(rf"(?m)^\w\.npy +\w\.npy +{metric} ", printed)
        assert len(rows) == 10
        (said,) = re.findall(rf"(?m)^{metric}: alignment .*$", printed)
        assert "Spearman" in said
        assert said.endswith("5 models resolve no p below 0.017")
    typed(report, features)
    made = features / "alignment"
    names = {"alignment.html", "alignment.json", "alignment.csv"}
    assert {each.name for each in made.iterdir()} == names
    document = json.loads((made / "alignment.json").read_text())
    assert document["settings"]["metric"] == ["mutual-knn", "cknna"]
    with (made / "alignment.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == len(document["pairs"]) == 3 + 6
    assert rows[0].keys() == document["pairs"][0].keys() | {"#escaped"}


def test_stitch(features: Path) -> None:
    (block,) = blocks("stitch.md")
    every, one = commands(block)
    rows = typed(every, features).splitlines()[1:4]
    kinds = ["linear", "affine", "orthogonal"]
    assert [row.split()[0] for row in rows] == kinds
    assert "wrote map.safetensors" in typed(one, features)
    with safe_open(features / "map.safetensors", "np") as file:
        assert file.metadata()["kind"] == "affine"
        assert file.get_tensor("weight").shape == (9, 8)
        assert file.get_tensor("bias").shape == (9,)


def test_codes(tmp_path: Path) -> None:
    (line,) = blocks("codes.md")
    done = shell("spectra overlap run.h5", tmp_path)
    assert (done.returncode, done.stderr) == (NO_RUN, line)


def test_compress(tmp_path: Path) -> None:
    population(
        tmp_path / "adapters",
        [f"adapter-{i}" for i in range(18)],
        ["h.0.attn.q", "h.0.mlp"],
    )
    fitted(tmp_path)
    example, _ = blocks("compress.md")
    for line, layers in zip(commands(example), (2, 1, 2, 0), strict=True):
        printed = typed(line, tmp_path)
        assert printed.count("\nh.") == layers
        assert not layers or "nothing saved" in printed
    made, old = tmp_path / "adapter-7", tmp_path / "adapters" / "adapter-7"
    names = {each.name for each in old.iterdir()} | {"reconstructed.json"}
    assert {each.name for each in made.iterdir()} == names
    said = json.loads((made / "reconstructed.json").read_text())
    assert (said["model"], said["scheme"]) == ("adapter-7", "jd-full")
    lost = update(made, "h.0.mlp") - update(old, "h.0.mlp")
    share = np.sum(lost**2) / np.sum(update(old, "h.0.mlp") ** 2)
    (layer,) = [e for e in said["layers"] if e["name"] == "h.0.mlp"]
    assert share == pytest.approx(layer["error"], abs=1e-5)


def test_a_row_of_compress(tmp_path: Path) -> None:
    _, block = blocks("compress.md")
    (tmp_path / "spectra").symlink_to(ROOT / "spectra")
    printed = typed(block, tmp_path)
    page = (ROOT / "docs" / "compress.md").read_text("utf-8")
    figures = re.findall(r"demo \| `jd-full` \| 16 \| 1 \| (.*) \|", page)[0]
    _, starts, error, held_out = figures.split(" | ")
    row = rf"(?m)^encoder.* 16 +32 +{error} +{held_out}$"
    assert re.search(row, printed)
    assert f"saving starts at {starts} members" in printed


@pytest.mark.slow
def test_features(tmp_path: Path) -> None:
    from tests.study.tiny_networks import bert, gpt2

    bert(tmp_path / "bert")
    gpt2(tmp_path / "gpt2")
    rng = np.random.default_rng(0)
    parts = {
        f"bert.encoder.layer.{i}.attention.self.value": factors(rng, 16, 3, 16)
        for i in range(2)
    }
    write_adapter(tmp_path / "adapter", parts, 600)
    lines = "".join(f"w{i} w{2 * i} w{40 - i}\n" for i in range(20))
    (tmp_path / "lines.txt").write_text(lines)
    plain, adapted = blocks("features.md")
    assert re.search(r"(?m)^bert\.h5 +gpt2\.h5 ", typed(plain, tmp_path))
    printed = typed(adapted, tmp_path)
    assert re.search(r"(?m)^bert\.h5 +adapted\.h5 ", printed)
    for name in ("bert", "gpt2", "adapted"):
        with h5py.File(tmp_path / f"{name}.h5") as file:
            assert file.attrs["schema"] == "spectra-features/1"
            shapes = [file[f"mean/{i}"].shape for i in range(3)]
            assert shapes == [(20, 16)] * 3
            last = file["mean/2"][:]
            if name == "bert":
                before = last
    assert np.abs(last - before).max() > 1e-3


def test_lineage(populations: Path, tmp_path: Path) -> None:
    (tree,) = blocks("lineage.md")
    spectra.fit(spectra.scan(populations / "sceptr"), tmp_path / "run.h5")
    printed = typed("spectra lineage run.h5", tmp_path)
    assert printed.startswith(tree + "\n")


def test_merge(tmp_path: Path) -> None:
    population(tmp_path / "adapters", ["a", "b", "c"], ["q", "v"])
    for name in "ab":
        shutil.copytree(tmp_path / "adapters" / name, tmp_path / name)
    (block,) = blocks("merge.md")
    parents = [update(tmp_path / "adapters" / n, "q") for n in "abc"]
    sums = [np.mean(parents, axis=0), 0.7 * parents[0] + 0.3 * parents[1]]
    merged = tmp_path / "merged"
    for line in commands(block):
        typed(line, tmp_path)
        method = re.findall("--method ([a-z]+)", line)[0]
        card = (merged / "README.md").read_text()
        assert f" LoRA adapters merged by {method}\n" in card
        config = json.loads((merged / "adapter_config.json").read_text())
        assert config["r"] == (32 if method == "ties" else 4)
        if method != "ties":
            U, s, Vh = np.linalg.svd(sums.pop(0))
            best = U[:, :4] * s[:4] @ Vh[:4]
            assert np.abs(update(merged, "q") - best).max() < 1e-6
    assert sums == []


def test_merge_full(folder: Path) -> None:
    for i, name in enumerate("ab"):
        shutil.copytree(folder / "tuned" / str(i), folder / name)
    (block,) = blocks("merge-full.md")
    base, a, b = (
        load_file(folder / name / "model.safetensors")
        for name in ("base", "a", "b")
    )
    merged = folder / "merged"
    mean, ties, arithmetic, mergekit = commands(block)
    typed(mean, folder)
    tuned = [
        load_file(each / "model.safetensors")
        for each in (folder / "tuned").iterdir()
    ]
    for name, W in load_file(merged / "model.safetensors").items():
        expected = np.mean([each[name] for each in tuned], axis=0)
        np.testing.assert_allclose(W, expected, rtol=1e-5)
    typed(ties, folder)
    kept = load_file(merged / "model.safetensors")
    moved = sum(np.count_nonzero(kept[n] != base[n]) for n in base)
    size = sum(W.size for W in base.values())
    assert 0.3 * size <= moved <= 0.6 * size
    typed(arithmetic, folder)
    with safe_open(merged / "model.safetensors", "np") as file:
        assert {file.get_slice(n).get_dtype() for n in base} == {"BF16"}
    for name, W in load_file(merged / "model.safetensors").items():
        summed = base[name] + 0.4 * (a[name] + b[name] - 2 * base[name])
        np.testing.assert_allclose(W.astype("f4"), summed, rtol=1 / 128)
    typed(mergekit, folder)
    said = yaml.safe_load((folder / "ties.yaml").read_text())
    assert said["merge_method"] == "ties"
    merged_of = [each["model"]["model"]["path"] for each in said["models"]]
    assert [Path(each).name for each in merged_of] == ["a", "b"]


@pytest.mark.slow
def test_publish(folder: Path) -> None:
    fitted(folder)
    lines, told, push, load = blocks("publish.md")
    html = folder / "report" / "report.html"
    with Hub([], token=SECRET, grants={"ORG/"}) as hub:
        env = client(hub, folder / "home")
        env |= {"HF_TOKEN": SECRET, "SPECTRA_CACHE": str(folder / "cache")}
        said = re.escape(told.replace("https://huggingface.co", hub.endpoint))
        for words, form in (
            (" N ", r" \d+ "), (" SIZE", r" [\d.]+ [kM]?B"), (", ...", ", .*"),
        ):  # fmt: skip
            said = said.replace(re.escape(words), form)
        for line in commands(lines):
            done = shell(line, folder, env)
            assert done.returncode == 0, done.stderr
            assert re.search(said, done.stderr)
            repository = hub.datasets.repositories["ORG/NAME"]
            assert repository.private
            assert repository.files["report.html"] == html.read_bytes()
        names = {"run.h5", "report.html", "report.json", "README.md"}
        assert names <= repository.files.keys()
        code = (
            "import spectra",
            "run = spectra.load('run.h5')",
            "report = spectra.overlap(run, seed=1)",
            push,
            load,
            "print(report.verdict, len(run.models))",
        )
        (folder / "page.py").write_text("\n".join(code))
        printed = typed("python page.py", folder, env)
        new = hub.datasets.repositories["ORG/NAME"]
    assert new.files["report.html"] == html.read_bytes()
    assert new.files["report.html"] != repository.files["report.html"]
    report = spectra.OverlapReport.stored(spectra.load(folder / "run.h5"))
    assert printed.splitlines()[-1] == f"{report.verdict} 6"


def test_report(folder: Path) -> None:
    fitted(folder)
    (block,) = blocks("report.md")
    typed(block, folder)
    tables = {f"{name}.parquet" for name in ("layers", "models", "pairs")}
    texts = {f"report.{ending}" for ending in ("html", "json", "md")}
    made = folder / "report"
    assert {each.name for each in made.iterdir()} == tables | texts
    schema = pyarrow.parquet.read_schema(made / "layers.parquet")
    assert "davis_kahan_word" in schema.names
    assert "#escaped" not in schema.names


def test_study(tmp_path: Path) -> None:
    layers = ["h.0.q_proj", "h.0.k_proj", "h.0.v_proj"]
    names = [f"mistral-{i}" for i in range(4)]
    population(tmp_path / "adapters", [*names, "llama-1"], layers)
    more = [f"mistral-{i}" for i in range(4, 7)]
    population(tmp_path / "others", more, layers)
    (tmp_path / "more.txt").write_text("others\n")
    (block,) = blocks("study.md")
    (tmp_path / "study.toml").write_text(block)
    typed("spectra run study.toml", tmp_path)
    made = tmp_path / "study-report"
    written = {"catalog.jsonl", "run.h5", "report.html", "report.json"}
    assert {each.name for each in made.iterdir()} == written
    report = json.loads((made / "report.json").read_text())
    models = report["population"]["models"]
    assert [each["id"] for each in models] == [*names, *more]
    layer, _ = report["layers"]
    assert {e["name"] for e in report["layers"]} == {*layers} - {layers[1]}
    assert {"2", "8"} <= layer["model_axis"]["evr"].keys()
    fit, overlap = report["settings"]["fit"], report["settings"]["overlap"]
    assert fit["rank"] == 16
    keys = {each.name for each in dataclasses.fields(FitSettings)}
    assert keys - fit.keys() == {*NOT_PART_OF_THE_RESULT}
    assert (overlap["draws"], overlap["seed"]) == (999, 7)


def words_of(block: str) -> list[list[str]]:
    """Return the words of each command of a block, comments left out."""
    lines = [part for e in commands(block) for part in e.split("&&")]
    return [shlex.split(line, comments=True) for line in lines]


def takes(words: list[str], page: Path, patch: pytest.MonkeyPatch) -> bool:
    """Say whether a command is there and takes these words; run nothing."""
    match words:
        case ["spectra", verb, *options]:
            command_of(verb).make_context(verb, list(options))
            studies = [each for each in options if each.endswith(".toml")]
            return all((ROOT / each).is_file() for each in studies)
        case ["python", "-m", name, *options]:
            if not name.startswith("analyses."):
                return importlib.util.find_spec(name) is not None
        case ["python", file, *options]:
            assert (page.parent / file).is_file()
            name = f"analyses.{page.parent.name}.{Path(file).stem}"
        case [first, *_]:
            return first in NOT_OURS or re.match(r"\w+=", first) is not None
        case _:
            return False
    module = importlib.import_module(name)
    if hasattr(module, "arguments"):
        patch.setattr("sys.argv", [name, *options])
        module.arguments()
    elif hasattr(module, "main"):
        inspect.signature(module.main).bind(*options)
    return hasattr(module, "main") or not options


@pytest.mark.parametrize("name", LONG)
def test_long_commands_are_there(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(ROOT)
    page = ROOT / name
    listed = [words for each in blocks_of(page) for words in words_of(each)]
    assert listed
    assert [e for e in listed if not takes(e, page, monkeypatch)] == []


def test_the_versions_that_trained_the_demo() -> None:
    folder = ROOT / "analyses" / "minilm_lora"
    (block,) = blocks_of(folder / "README.md")
    record = json.loads((folder / "record.json").read_text())
    pinned = dict(re.findall(r"\s(\w+)==([\d.]+)", block))
    assert len(pinned) == 6
    for name, version in pinned.items():
        assert record["versions"][name].partition("+")[0] == version


def options_of(command: TyperCommand) -> set[str]:
    """Return the options of a command, and of those below it."""
    parts = [command, *getattr(command, "commands", {}).values()]
    return {
        option
        for part in parts
        for each in part.params
        for option in (*each.opts, *each.secondary_opts)
    }


def test_every_command_in_a_sentence_is_there() -> None:
    inline = re.compile(r"`spectra ([a-z]+)\b([^`]*)`")
    said = {
        (name, verb, option)
        for name in pages()
        for verb, rest in inline.findall((ROOT / name).read_text("utf-8"))
        for option in ("", *re.findall(r"(?<!\S)--?[a-z][\w-]*", rest))
    }
    assert {verb for _, verb, _ in said} <= COMMANDS.keys()
    known = {verb: options_of(command_of(verb)) | {""} for verb in COMMANDS}
    assert [e for e in sorted(said) if e[2] not in known[e[1]]] == []


def test_every_page_with_a_block_is_carried_out() -> None:
    source = Path(__file__).read_text("utf-8")
    missing = [
        name
        for name in pages()
        if blocks_of(ROOT / name)
        and f'blocks("{Path(name).name}")' not in source
        and not any(name.startswith(each) for each in ELSEWHERE)
        and name not in LONG
    ]
    assert missing == []


def test_what_is_not_run_is_there() -> None:
    found = [text for name in pages() for text in blocks_of(ROOT / name)]
    assert NOT_RUN.keys() <= {text.rstrip("\n") for text in found}
    for place, test in ELSEWHERE.items():
        assert (ROOT / place).exists()
        assert Path(place).name in (ROOT / test).read_text("utf-8")
