"""The command as a user types it: a real process, its output and exit code."""

import csv
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from spectra.store.journal import journal
from tests.checkpoints import adapters, dense, write_dense

COMMANDS = (
    "scan", "plan", "fit", "overlap", "basis", "compare", "match", "align",
    "stitch", "units", "features", "lineage", "inspect", "diff", "project",
    "compress", "reconstruct", "merge", "report", "run", "demo", "verify",
    "doctor", "cache",
)  # fmt: skip


def spectra(*words, cwd=None, env=None):
    return subprocess.run(
        [sys.executable, "-m", "spectra", *map(str, words)],
        cwd=cwd,
        env=os.environ | (env or {}),
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


@pytest.fixture
def population(tmp_path):
    folder, _ = adapters(tmp_path / "p", [4] * 6, {"q": (24, 16)})
    return folder


@pytest.fixture
def broken(population):
    """The population with one file that is no safetensors."""
    path = population / "a03" / "adapter_model.safetensors"
    path.write_bytes(b"<html>not found</html>")
    return population


def test_the_whole_chain(population, tmp_path):
    out = tmp_path
    steps = [
        ("scan", population, "-o", out / "catalog.jsonl"),
        ("plan", out / "catalog.jsonl"),
        ("fit", out / "catalog.jsonl", "-o", out / "run.h5"),
        ("overlap", out / "run.h5", "-k", "2"),
        ("report", out / "run.h5", "-o", out / "report"),
        ("basis", out / "run.h5", "-o", out / "basis.safetensors", "-k", "2"),
    ]
    for step in steps:
        done = spectra(*step)
        assert done.returncode == 0, done.stderr
        assert done.stderr == ""
        assert done.stdout
    files = {path.name for path in (out / "report").iterdir()}
    assert files == {
        "report.html", "report.json", "report.md",
        "layers.csv", "models.csv", "pairs.csv",
    }  # fmt: skip
    document = json.loads((out / "report" / "report.json").read_text())
    assert document["schema"] == "spectra-report/1"
    assert document["layers"][0]["model_axis"]["evr"].keys() >= {"2", "4"}
    with (out / "report" / "models.csv").open() as file:
        assert len(list(csv.DictReader(file))) == 6


def test_scan_says_what_it_leaves_out(tmp_path):
    for i in range(2):
        tensors = {"w": np.eye(4) + i, "b": np.ones(4), "v": np.ones(3)}
        write_dense(tmp_path / f"m{i}", tensors)
    done = spectra("scan", tmp_path)
    assert "tensors that are no layers: 4 SKIP_NOT_MATRIX" in done.stdout


def test_fit_says_what_it_leaves_out(tmp_path):
    for i in range(3):
        own = np.random.default_rng(i).standard_normal((4, 5))
        write_dense(tmp_path / "p" / f"m{i}", {"same": np.eye(4), "own": own})
    write_dense(tmp_path / "p" / "other", {"z": np.eye(7)})
    done = spectra("fit", tmp_path / "p", "-o", tmp_path / "run.h5")
    assert done.returncode == 0
    assert "left out: 1 ALONE, 1 TOO_FEW_MEMBERS" in done.stdout


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help_with_an_example(command):
    done = spectra(command, "--help")
    assert done.returncode == 0
    assert re.search(rf"Example: spectra {command}", done.stdout)


def test_no_command_is_missing_from_the_test_above():
    listed = re.findall(r"^  (\w+)  ", spectra("--help").stdout, re.MULTILINE)
    assert tuple(listed) == COMMANDS


@pytest.mark.parametrize(
    ("words", "keys"),
    [
        (["scan", "P"], {"models", "architectures", "quarantine"}),
        (["plan", "P"], {
            "n_models", "n_layers", "bytes_to_read", "requests",
            "memory_bytes", "disk_bytes", "seconds",
        }),
        (["fit", "P", "-o", "r.h5"], {"run", "layers", "quarantine"}),
        (["run", "P", "-o", "out"], {"schema", "population", "layers"}),
        (["doctor"], {"versions", "devices"}),
    ],
)  # fmt: skip
def test_json_is_exactly_one_document(words, keys, population, tmp_path):
    words = [str(population) if word == "P" else word for word in words]
    done = spectra(*words, "--json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout).keys() >= keys


def test_json_of_commands_on_a_run(population, tmp_path):
    run = tmp_path / "run.h5"
    spectra("fit", population, "-o", run)
    report = json.loads(spectra("overlap", run, "--json").stdout)
    assert report["layers"][0]["name"] == "q"
    files = json.loads(
        spectra("report", run, "-o", tmp_path / "r", "--format", "md",
                "--json").stdout
    )  # fmt: skip
    assert files == {"files": [str(tmp_path / "r" / "report.md")]}
    basis = json.loads(
        spectra("basis", run, "-o", tmp_path / "b.st", "--json").stdout
    )
    assert basis["layers"] == ["q"]


def test_a_broken_file_is_quarantined_and_the_rest_goes_on(broken, tmp_path):
    done = spectra("run", broken, "-o", tmp_path / "out")
    assert done.returncode == 3
    (line,) = done.stderr.splitlines()
    assert line.startswith("spectra: NOT_SAFETENSORS: ")
    assert "a03" in line
    assert "kept 5/6" in line
    document = json.loads((tmp_path / "out" / "report.json").read_text())
    assert document["population"]["n_scanned"] == 6
    assert document["population"]["n_models"] == 5
    (record,) = document["quarantine"]
    assert record["code"] == "NOT_SAFETENSORS"
    again = spectra("run", broken, "-o", tmp_path / "out", "--quarantine-ok")
    assert again.returncode == 0


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (["fit", "nowhere", "-o", "r.h5"], "E_SOURCE"),
        (["fit", "-o", "r.h5"], "E_SOURCE"),
        (["fit", "P", "-o", "r.h5", "--device", "tpu"], "E_DEVICE"),
        (
            ["fit", "P", "-o", "r.h5", "--layers", "zzz"],
            "E_NOTHING_TO_COMPARE",
        ),
        (["fit", "P", "-o", "r.h5", "--base", "nowhere"], "E_SOURCE"),
        (["overlap", "nowhere.h5"], "E_NO_RUN"),
        (["report", "nowhere.h5", "-o", "x"], "E_NO_RUN"),
        (["run", "P", "-o", "x", "--format", "pdf"], "E_FORMAT"),
        (["run", "nowhere.toml"], "E_STUDY"),
        (["fit", "P", "-o", "."], "E_OUTPUT"),
        (["fit", "P", "-o", ""], "E_OUTPUT"),
    ],
)
def test_bad_input_is_one_line_and_starts_nothing(
    words, code, population, tmp_path
):
    words = [str(population) if word == "P" else word for word in words]
    folder = tmp_path / "empty"
    folder.mkdir()
    done = spectra(*words, cwd=folder)
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert line.startswith(f"spectra: {code}: ")
    assert done.stdout == ""
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize(
    "words",
    [["fit", "x"], ["fit"], ["nothing"],
     ["fit", "x", "-o", "r", "--rank", "0"],
     ["overlap", "r.h5", "--draws", "3"], ["plan", "x", "--memory", "lots"],
     ["fit", "x", "-o", "r.h5", "--precision", "f16"]],
)  # fmt: skip
def test_bad_options_exit_with_2(words):
    done = spectra(*words)
    assert done.returncode == 2
    assert done.stdout == ""
    assert "Traceback" not in done.stderr


def test_a_budget_that_fits_nothing_is_exit_code_8(population, tmp_path):
    done = spectra(
        "fit", population, "-o", tmp_path / "r.h5", "--memory", "1MiB"
    )
    assert done.returncode == 8
    assert done.stderr.startswith("spectra: E_MEMORY: layer q needs")
    assert not (tmp_path / "r.h5").exists()


@pytest.fixture
def read_only(tmp_path):
    """Return a folder that nobody can write to: root needs a real mount."""
    folder = tmp_path / "locked"
    folder.mkdir(mode=0o500)
    if os.geteuid() != 0:
        yield folder
        return
    mount = ["mount", "-t", "tmpfs", "-o", "ro", "tmpfs", str(folder)]
    if subprocess.run(mount, check=False, capture_output=True).returncode:
        pytest.skip("root may write anywhere, and mounts are not allowed")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def test_a_read_only_folder_is_exit_code_5(population, read_only):
    done = spectra("fit", population, "-o", read_only / "r.h5")
    assert done.returncode == 5
    assert done.stderr.startswith("spectra: E_READ_ONLY: ")


def test_an_output_that_cannot_be_made_is_exit_code_5(population, tmp_path):
    (tmp_path / "file").write_text("")
    done = spectra("fit", population, "-o", tmp_path / "file" / "r.h5")
    assert done.returncode == 5
    assert done.stderr.startswith("spectra: E_STORAGE: ")


def test_a_reader_that_goes_away_is_no_error(population):
    process = subprocess.Popen(
        [sys.executable, "-m", "spectra", "scan", str(population), "--json"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    process.stdout.close()
    stderr = process.stderr.read()
    process.stderr.close()
    assert process.wait(timeout=60) == 0
    assert stderr == b""


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)]
)
@pytest.mark.slow
def test_signals_stop_a_fit_which_then_goes_on(tmp_path, number, code):
    shapes = {f"l{i}": (300, 400) for i in range(60)}
    for i in range(8):
        rng = np.random.default_rng(i)
        write_dense(
            tmp_path / "p" / f"m{i}",
            {name: rng.standard_normal(s) for name, s in shapes.items()},
        )
    out = tmp_path / "out"
    command = [sys.executable, "-m", "spectra", "fit", str(tmp_path / "p"),
               "-o", str(out / "run.h5")]  # fmt: skip
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 60
    units, unit = out / "run.h5.work", "*." + "[0-9a-f]" * 64
    while not list(units.glob(unit)) and time.monotonic() < deadline:
        time.sleep(0.01)
    process.send_signal(number)
    _, stderr = process.communicate(timeout=10)
    assert process.returncode == code, stderr
    (line,) = stderr.splitlines()
    assert line.startswith("spectra: E_INTERRUPTED: stopped as asked; kept ")
    n_kept = int(re.search("kept ([0-9]+)/60 layers", line)[1])
    assert 0 < n_kept < 60
    assert n_kept <= len(list(units.glob(unit)))
    assert list(out.iterdir()) == [units]
    subprocess.run(command, check=True)
    assert list(out.iterdir()) == [out / "run.h5"]
    fresh = tmp_path / "fresh.h5"
    subprocess.run([*command[:-1], str(fresh)], check=True)
    assert fresh.read_bytes() == (out / "run.h5").read_bytes()


@pytest.mark.parametrize("words", ["fit p -o", "overlap"])
def test_a_second_writer_gets_one_line(population, tmp_path, words):
    run = tmp_path / "run.h5"
    assert spectra("fit", population, "-o", run).returncode == 0
    command = (*words.split(), run)
    with journal(run):
        done = spectra(*command, cwd=tmp_path)
    assert (done.returncode, done.stdout) == (5, "")
    assert done.stderr == (
        f"spectra: E_RUN_LOCKED: {run} is being written (process {os.getpid()}"
        f" on {socket.gethostname()}); wait until that has ended, or choose"
        " another -o\n"
    )
    assert spectra(*command, cwd=tmp_path).returncode == 0


def test_a_study_file_does_what_its_options_would(population, tmp_path):
    (tmp_path / "study.toml").write_text(
        f"""
        [population]
        sources = ["{population.name}"]
        [fit]
        rank = 3
        memory = "1GiB"
        [overlap]
        k = [2]
        [report]
        out = "{tmp_path / "from-study"}"
        formats = ["json"]
        """
    )
    assert spectra("run", tmp_path / "study.toml").returncode == 0
    (path,) = (tmp_path / "from-study").glob("report.*")
    study = json.loads(path.read_text())
    assert study["settings"]["fit"]["rank"] == 3
    assert "2" in study["layers"][0]["model_axis"]["evr"]
    options = spectra(
        "run", population, "-o", tmp_path / "out", "--rank", 3, "-k", 2,
        "--json",
    )  # fmt: skip
    assert json.loads(options.stdout)["layers"] == study["layers"]


def test_options_win_over_the_study_file_and_the_environment(
    population, tmp_path
):
    (tmp_path / "study.toml").write_text(
        f"""
        [population]
        sources = ["{population}"]
        [fit]
        rank = 3
        [report]
        out = "{tmp_path / "out"}"
        """
    )
    study = tmp_path / "study.toml"

    def rank(*words, **env):
        done = spectra("run", study, "--json", *words, env=env)
        return json.loads(done.stdout)["settings"]["fit"]["rank"]

    assert rank() == 3
    assert rank(SPECTRA_RANK="2") == 2
    assert rank("--rank", 1, SPECTRA_RANK="2") == 1


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[fti]\nrank = 1", "did you mean 'fit'"),
        ("[fit]\nrnak = 1", "did you mean 'rank'"),
        ("[fit]\nrank = 'four'", "rank is a str"),
        ("[population]\nlimit = 'many'", "limit is a str"),
        ("fit = 3", "not a table"),
        ("[fit", "cannot read"),
    ],
)
def test_a_study_file_with_a_mistake_is_refused(text, words, tmp_path):
    (tmp_path / "study.toml").write_text(text)
    done = spectra("run", tmp_path / "study.toml")
    assert done.returncode == 2
    assert done.stderr.startswith("spectra: E_STUDY: ")
    assert words in done.stderr


def test_hostile_names_reach_no_terminal(tmp_path):
    folder, _, _ = dense(tmp_path, 3, {"w": (8, 9)})
    (folder / "m00").rename(folder / "\x1b[31mred\u202egnp")
    done = spectra("run", folder, "-o", tmp_path / "out")
    assert done.returncode == 0, done.stderr
    assert "\x1b" not in done.stdout + done.stderr
    scan = spectra("scan", folder)
    assert "\x1b" not in scan.stdout
    assert "\\x1b[31mred\\u202egnp" in scan.stdout


def test_tables_fit_a_terminal_of_80_columns(population, tmp_path):
    """Run under a real pseudo-terminal."""
    run = tmp_path / "run.h5"
    spectra("fit", population, "-o", run)
    done = subprocess.run(
        ["script", "-qec",
         f"{sys.executable} -m spectra overlap {run}", "/dev/null"],
        env=os.environ | {"COLUMNS": "80", "TERM": "dumb"},
        capture_output=True,
        text=True,
        check=True,
    )  # fmt: skip
    table = [line for line in done.stdout.splitlines() if "  " in line]
    assert any("r2.mean" in line for line in table)
    assert all(len(line.rstrip()) <= 80 for line in table)


def test_groups_from_a_file(population, tmp_path):
    run, groups = tmp_path / "run.h5", tmp_path / "groups.csv"
    spectra("fit", population, "-o", run)
    groups.write_text("".join(f"a0{i},g{i // 2}\n" for i in range(6)))
    done = spectra("overlap", run, "--groups", groups, "--json")
    assert json.loads(done.stdout)["population"]["n_groups"] == 3
    groups.write_text("a00\n")
    done = spectra("overlap", run, "--groups", groups)
    assert done.returncode == 2
    assert "line 1" in done.stderr


def test_both_names_are_installed():
    for name in ("spectra", "hf-spectra"):
        path = Path(sys.executable).with_name(name)
        done = subprocess.run(
            [path, "--version"], capture_output=True, text=True, check=True
        )
        assert done.stdout.startswith("spectra 0.")
