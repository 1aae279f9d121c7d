"""What README.md shows is carried out as it stands there."""

import json
import os
import re
import runpy
import shlex
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from spectra.cli.commands import COMMANDS, command_of
from tests.checkpoints import adapters
from tests.hub import Hub, Repository

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text("utf-8")
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
INLINE = re.compile(r"`([^`\n]+)`")
ADAPTER_FILES = {"adapter_config.json", "adapter_model.safetensors"}
TAG = "base_model:adapter:org/base"


def section(title: str) -> str:
    return README.partition(f"\n## {title}\n")[2].partition("\n## ")[0]


def block(title: str, language: str) -> str:
    """Return the one block in that language below a heading."""
    blocks: list[tuple[str, str]] = BLOCK.findall(section(title))
    (text,) = [text for name, text in blocks if name == language]
    return text


def python(*words: str, cwd: Path, env: dict[str, str] | None = None) -> str:
    """Return what a child process prints that has to end well."""
    ours = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("HF_", "SPECTRA_"))
    }
    done = subprocess.run(
        [sys.executable, *words],
        cwd=cwd,
        env=ours | (env or {}),
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return a folder that holds `adapters/`."""
    shapes = {"layer.0.q": (24, 16), "layer.1.q": (24, 16)}
    adapters(tmp_path / "adapters", [4] * 6, shapes)
    return tmp_path


@pytest.fixture
def shelf(tmp_path: Path) -> list[Repository]:
    """Return eight adapters, two of them of another base than `TAG` says.

    Each name is taken twice, so that no id is clear without its owner.
    """
    made, _ = adapters(tmp_path / "made", [4] * 8, {"q": (24, 16)})
    return [
        Repository(
            f"owner-{i % 2}/adapter-{i // 2}",
            {each.name: each.read_bytes() for each in path.iterdir()}
            | {"README.md": b"# A card", "optimizer.pt": b"no"},
            (TAG if i not in {2, 3} else TAG + "-large", "peft"),
        )
        for i, path in enumerate(sorted(made.iterdir()))
    ]


def client(hub: Hub, home: Path) -> dict[str, str]:
    """Return the environment in which the hub's client knows only `hub`."""
    return {
        "HF_ENDPOINT": hub.endpoint,
        "HF_HOME": str(home),
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "HF_HUB_DISABLE_XET": "1",
        "NO_PROXY": "127.0.0.1",
    }


def test_the_commands_on_a_folder(folder: Path) -> None:
    install, *lines = block("On your own folder", "sh").splitlines()
    assert install == "pip install ."
    gone = folder / "gone"
    for line in lines:
        command, _, comment = line.partition("#")
        words = shlex.split(command)
        if words[1] in {"overlap", "report"}:  # `fit` alone reads weights
            (folder / "adapters").rename(gone)
        before = set(folder.rglob("*"))
        python("-m", *words, cwd=folder)
        new = set(folder.rglob("*")) - before
        out = [folder / words[words.index("-o") + 1]] if "-o" in words else []
        files = [out[0] / name for name in re.findall(r"\w+\.\w+", comment)]
        assert {*out, *files} <= new, line
        if gone.exists():
            gone.rename(folder / "adapters")
    assert "three CSV tables" in section("On your own folder")
    assert len(list((folder / "report").glob("*.csv"))) == 3


def test_the_lines_of_python(
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    script = folder / "readme.py"
    script.write_text(block("In Python", "python"))
    monkeypatch.chdir(folder)
    made = runpy.run_path(str(script))
    assert capsys.readouterr().out == made["report"].verdict + "\n"
    assert made["report"].verdict
    layers = made["report"].to_dataframe()["name"].tolist()
    assert layers == ["layer.0.q", "layer.1.q"]
    assert made["subspace"].coefficients.shape == (6, 4)
    assert (folder / "run.h5").is_file()


def test_the_commands_on_a_hub(
    shelf: list[Repository], tmp_path: Path
) -> None:
    """With the names of this shelf in place of the capitals."""
    plan, run, three = block("On a hub query", "sh").splitlines()
    names = {
        "ORG/MODEL-A": shelf[0].id,
        "ORG/MODEL-B": shelf[1].id,
        "ORG/MODEL-C": shelf[4].id,
        "ORG/BASE": "org/base",
        "ORG": "owner-0",
    }
    with Hub(shelf, page=2) as hub:
        env = client(hub, tmp_path / "home")
        env["SPECTRA_CACHE"] = str(tmp_path / "cache")
        for line in (plan, run, three):
            text = line.partition("#")[0]
            for capitals, name in names.items():
                text = text.replace(capitals, name)
            text = text.replace("/checkpoint-500", "")
            printed = python("-m", *shlex.split(text), cwd=tmp_path, env=env)
            assert "repositories:" in printed or line != plan
    report = json.loads((tmp_path / "report" / "report.json").read_text())
    found = [each["id"] for each in report["population"]["models"]]
    mine = [r.id for r in shelf if TAG in r.tags and r.author == "owner-0"]
    assert found == mine
    assert all(m["revision"] for m in report["population"]["models"])
    assert (tmp_path / "three" / "report.html").is_file()
    fetched = {Path(r.path).name for r in hub.requests if "resolve" in r.path}
    assert fetched == ADAPTER_FILES


def test_the_cache_of_the_hubs_client(
    shelf: list[Repository], tmp_path: Path
) -> None:
    home = tmp_path / "home"
    code = (
        "from huggingface_hub import snapshot_download\n"
        f"for name in {[each.id for each in shelf]}:\n"
        "    snapshot_download(name)\n"
    )
    with Hub(shelf) as hub:
        python("-c", code, cwd=tmp_path, env=client(hub, home))
    words = ("scan", str(home / "hub"), "-o", "c.jsonl", "--json")
    listing = json.loads(python("-m", "spectra", *words, cwd=tmp_path))
    assert listing["quarantine"] == []
    found = {each["id"]: each["revision"] for each in listing["models"]}
    assert found == {each.id: each.sha for each in shelf}


def test_every_command_and_option_named_is_there() -> None:
    code = INLINE.findall(README)
    verbs = [text.split()[1] for text in code if text.startswith("spectra ")]
    assert verbs
    assert set(verbs) <= COMMANDS.keys()
    options = [text.split()[0] for text in code if text.startswith("--")]
    assert options
    known = {
        name
        for verb in ("fit", "run")
        for each in command_of(verb).params
        for name in each.opts
    }
    assert set(options) <= known


def test_every_target_of_make_is_there() -> None:
    named = re.findall(r"(?:^|`)make ([\w-]+)", README, re.MULTILINE)
    assert named
    text = (ROOT / "Makefile").read_text("utf-8")
    assert set(named) <= set(re.findall(r"^([\w-]+):", text, re.MULTILINE))


def test_what_installing_needs() -> None:
    project = PROJECT["project"]
    (version,) = re.findall(r"Python (\S+) or newer", README)
    assert project["requires-python"] == f">={version}"
    extras = re.findall(r"pip install '\.\[(\w+)\]'", README)
    extras += re.findall(r"`'\.\[(\w+)\]'`", README)
    assert extras
    assert set(extras) <= project["optional-dependencies"].keys()


def test_the_demo_is_as_large_as_told() -> None:
    demo = ROOT / "spectra" / "demo_population"
    many = len(list((demo / "independent").iterdir()))
    twins = len(list((demo / "same-seed").iterdir()))
    text = section("Two commands")
    assert f"`make demo` takes {many + twins} adapters" in text
    assert f"{many} of them were trained from {many} random starts" in text
    assert f"{twins} from one." in text


def test_the_map_is_the_order_of_imports() -> None:
    rows = re.findall(r"^\| (`.+?) \|", section("The map"), re.MULTILINE)
    folders = [folder for row in rows for folder in INLINE.findall(row)]
    assert [each for each in folders if not (ROOT / each).is_dir()] == []
    layers = PROJECT["tool"]["importlinter"]["contracts"][0]["layers"]
    order = [
        f"spectra/{name}"
        for layer in reversed(layers)
        for name in re.findall(r"\w+", layer)
        if (ROOT / "spectra" / name).is_dir()
    ]
    assert order == [each for each in folders if each.startswith("spectra/")]
