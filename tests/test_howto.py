"""What the how-to pages show is carried out, block by block."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from tests.blocks import blocks as blocks_of
from tests.blocks import shell
from tests.checkpoints import adapters
from tests.hub import Hub, Repository
from tests.test_readme import TAG, client, shelf

__all__ = ["shelf"]

PAGES = Path(__file__).resolve().parents[1] / "docs" / "howto"
REFUSED = 9


def blocks(page: str, language: str) -> list[str]:
    """Return a page's blocks, all of which are in that language."""
    found = blocks_of(PAGES / page, language)
    assert found == blocks_of(PAGES / page)
    return found


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return a folder that holds `adapters/`, and `tuned/` of `base/`."""
    shapes = {"layer.0.q": (24, 16), "layer.1.q": (24, 16)}
    made, _ = adapters(tmp_path / "adapters", [4] * 6, shapes)
    for i, each in enumerate(sorted(made.iterdir())):
        each.rename(made / f"member-{i}")
    rng = np.random.default_rng(1)
    base = {f"h.{i}.weight": rng.standard_normal((12, 10)) for i in range(2)}
    for name in ("base", *(f"tuned/{i}" for i in range(6))):
        moved = 0.0 if name == "base" else 0.01
        place = tmp_path / name
        place.mkdir(parents=True)
        weights = {
            key: (value + moved * rng.standard_normal(value.shape)).astype(
                "f4"
            )
            for key, value in base.items()
        }
        save_file(weights, place / "model.safetensors")
    return tmp_path


def test_own_folder(folder: Path) -> None:
    *steps, gate = blocks("own-folder.md", "sh")
    for step in steps:
        done = shell(step, folder)
        assert done.returncode == 0, (step, done.stderr)
    for name in ("report", "report-999"):
        assert (folder / name / "report.html").is_file()
    done = shell(gate, folder)
    assert done.returncode == 0, done.stderr
    assert (folder / "report.json").read_text().startswith("{")


def test_the_gate_of_a_pipeline_closes(folder: Path) -> None:
    """Six members of one random start: the same command ends with 9."""
    one = load_file(folder / "adapters/member-0/adapter_model.safetensors")
    for each in (folder / "adapters").iterdir():
        file = each / "adapter_model.safetensors"
        own = load_file(file)
        kept = {n: one[n] if "lora_A" in n else w for n, w in own.items()}
        save_file(kept, file)
    done = shell(blocks("own-folder.md", "sh")[-1], folder)
    assert done.returncode == REFUSED, done.stderr
    assert "E_VERDICT" in done.stderr


def test_hub_query(shelf: list[Repository], tmp_path: Path) -> None:
    """With the names of a shelf in place of the capitals."""
    with Hub(shelf, page=2) as hub:
        env = client(hub, tmp_path / "home")
        env["SPECTRA_CACHE"] = str(tmp_path / "cache")
        for step in blocks("hub-query.md", "sh"):
            text = step.replace("ORG/BASE", "org/base")
            done = shell(text.replace("ORG", "owner-0"), tmp_path, env)
            assert done.returncode == 0, (step, done.stderr)
    mine = [r for r in shelf if TAG in r.tags and r.author == "owner-0"]
    lines = (tmp_path / "population.jsonl").read_text().splitlines()
    assert all(any(r.id in line for line in lines) for r in mine)
    for name in ("report", "first"):
        assert (tmp_path / name / "report.html").is_file()


def test_gpu_page_without_one(tmp_path: Path) -> None:
    (block,) = blocks("gpu.md", "sh")
    lines = block.splitlines()
    assert lines[0].startswith("pip install 'hf-spectra[cuda12]'")
    done = shell(lines[1], tmp_path)
    assert done.returncode == 0
    assert "cuda" in done.stdout


@pytest.mark.gpu
def test_gpu_page(folder: Path) -> None:
    (block,) = blocks("gpu.md", "sh")
    done = shell("\n".join(block.splitlines()[1:]), folder)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    "page", ["new-null.md", "new-metric.md", "new-format.md"]
)
def test_pages_of_python(
    page: str,
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(folder)
    shutil.rmtree(folder / "tuned")
    code = "\n".join(blocks(page, "python"))
    exec(compile(code, page, "exec"), {"__name__": page})  # noqa: S102
    assert capsys.readouterr().out.strip()


def test_each_page_is_tested_and_listed() -> None:
    source = Path(__file__).read_text(encoding="utf-8")
    index = (PAGES.parent / "README.md").read_text(encoding="utf-8")
    for page in PAGES.glob("*.md"):
        assert f'"{page.name}"' in source
        assert f"(howto/{page.name})" in index
