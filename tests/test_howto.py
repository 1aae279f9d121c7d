"""What the how-to pages show is carried out, block by block."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import types
from contextlib import ExitStack
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


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


@pytest.mark.slow
def test_cluster_of_machines(folder: Path) -> None:
    """Those of the page on the loopback, the hub's checkpoints in a folder."""
    page = PAGES / "cluster.md"
    install, local, machines, gpus = blocks_of(page, "sh")
    assert len(blocks_of(page)) == 4 + len(blocks_of(page, "python"))
    assert install == "pip install 'hf-spectra[dist]'\n"
    done = shell(local.replace("run.h5", "local.h5"), folder)
    assert done.returncode == 0, done.stderr

    port = free_port()
    *started, fit = (
        line.split("#")[0]
        .replace("--host HOST", f"--host 127.0.0.1 --port {port}")
        .replace("HOST:8786", f"127.0.0.1:{port}")
        .replace("ORG/NAME ORG/OTHER", "adapters/")
        for line in machines.splitlines()
    )
    path = os.pathsep.join(
        [str(Path(sys.executable).parent), os.environ["PATH"]]
    )
    with (folder / "machines.log").open("wb") as log, ExitStack() as held:
        for line in started:
            process = held.enter_context(
                subprocess.Popen(
                    line.split(), cwd=folder, env=os.environ | {"PATH": path},
                    stdout=log, stderr=log, start_new_session=True,
                )
            )  # fmt: skip
            held.callback(os.killpg, process.pid, signal.SIGKILL)
        done = shell(fit, folder)
    assert "2 layers -> run.h5" in done.stdout, done.stderr
    one, two = ((folder / f"{n}.h5").read_bytes() for n in ("local", "run"))
    assert one == two

    (at, *_, fit) = gpus.splitlines()
    words = fit.split()[1:]
    assert at.startswith("CUDA_VISIBLE_DEVICES=0 dask worker tcp://HOST:8786")
    assert "--device cuda" in fit
    help_ = shell("spectra fit --help", folder).stdout
    assert all(word in help_ for word in words if word.startswith("--"))


@pytest.mark.slow
def test_cluster_of_slurm(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With Dask's own processes in the place of jobs."""
    from distributed import LocalCluster

    class Cluster(LocalCluster):
        def __init__(self, **options: object) -> None:
            assert set(options) == {
                "cores", "processes", "memory", "walltime",
            }  # fmt: skip
            super().__init__(
                n_workers=0, threads_per_worker=1, dashboard_address=None
            )

        def scale(self, jobs: int) -> None:
            super().scale(min(jobs, 2))

    stand_in = types.ModuleType("dask_jobqueue")
    stand_in.SLURMCluster = Cluster  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "dask_jobqueue", stand_in)
    monkeypatch.chdir(folder)
    (code,) = blocks_of(PAGES / "cluster.md", "python")
    names: dict[str, object] = {"__name__": "cluster.md"}
    exec(code.replace("/shared/adapters", "adapters"), names)  # noqa: S102
    names["cluster"].close()  # type: ignore[attr-defined]
    assert (folder / "run.h5").is_file()


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
