"""What a terminal of 80 columns shows: tables, progress, or with --quiet less.

Under a real pseudo-terminal.
"""

import json
import os
import re
import shutil
import subprocess
import sys

import pytest

import spectra
from spectra.cli.commands import COMMANDS, command_of
from spectra.core.events import Progress
from spectra.study.basis import write_basis
from tests.checkpoints import adapters
from tests.cli.test_cli import spectra as typed

STEPS = """
import time
from spectra.cli import console
from spectra.core.events import Progress
with console.observer("fitting") as draw:
    for i in range(3):
        name = f"layer.{i}." + "x" * 60
        draw(Progress("fit", i + 1, 3, name, 3840000, 3840000 * (i + 1),
                      11520000))
        time.sleep(0.01)
"""
ESCAPE = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
LAYERS = {
    f"base_model.encoder.layer.{i}.attention.self.query": (24, 16)
    for i in range(3)
}

pytestmark = pytest.mark.skipif(
    shutil.which("script") is None, reason="no script(1) on PATH"
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Return a folder with six adapters in p/ and the run of them."""
    home = tmp_path_factory.mktemp("terminal")
    adapters(home / "p", [4] * 6, LAYERS)
    run = spectra.fit(spectra.scan(home / "p"), home / "run.h5")
    spectra.overlap(run)
    adapters(home / "more", [4] * 6, LAYERS)
    spectra.fit(spectra.scan(home / "more"), home / "more.h5")
    return home


def on_a_terminal(words, cwd, term="dumb"):
    """Return what a terminal is sent, stdout and stderr together."""
    done = subprocess.run(
        ["script", "-qec", f"{sys.executable} {words}", "/dev/null"],
        cwd=cwd,
        env=os.environ | {"COLUMNS": "80", "TERM": term},
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    return done.stdout


@pytest.mark.slow
@pytest.mark.parametrize(
    "words",
    [
        "scan p", "plan p", "overlap run.h5", "lineage run.h5",
        "inspect p/a00", "diff p/a00 p/a01", "project run.h5 p/a00",
        "compare run.h5 more.h5", "units --help", "doctor",
    ],
)  # fmt: skip
def test_tables_fit_and_no_cell_is_cut_away(words, folder):
    lines = on_a_terminal(f"-m spectra {words}", folder).splitlines()
    rows = [line.rstrip() for line in lines if "  " in line.strip()]
    assert rows or words in {"plan p", "lineage run.h5"}
    assert max(map(len, rows), default=0) <= 80
    assert "…" not in "".join(rows)


@pytest.mark.parametrize("name", COMMANDS)
def test_help_fits_and_examples_stand_on_lines_of_their_own(name):
    command = command_of(name)
    context = command.make_context(
        f"spectra {name}", [], resilient_parsing=True, terminal_width=78
    )
    lines = command.get_help(context).splitlines()
    assert max(map(len, lines)) <= 80
    examples = [line for line in lines if "Example:" in line]
    assert examples
    for line in examples:
        assert line.startswith(f"  Example: spectra {name}")
        assert line.count("Example:") == 1


def test_progress_tells_layers_bytes_rate_and_time(tmp_path):
    (tmp_path / "steps.py").write_text(STEPS)
    sent = on_a_terminal("steps.py", tmp_path, term="xterm")
    shown = ESCAPE.sub("", sent)
    assert re.search(
        r"fitting \S+ 3/3, 11\.5 MB of 11\.5 MB, \S+ .?B/s 00:00 layer",
        shown,
    )
    lines = re.split(r"[\r\n]+", shown)
    assert max(map(len, lines)) <= 80


def test_quiet_prints_nothing_but_documents(folder):
    for words in ("scan p", "overlap run.h5", "lineage run.h5", "cache ls"):
        done = typed(*words.split(), "--quiet", cwd=folder)
        assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    done = typed("scan", "p", "--quiet", "--json", cwd=folder)
    assert len(json.loads(done.stdout)["models"]) == 6


def test_quiet_still_tells_what_was_set_aside(tmp_path):
    adapters(tmp_path / "p", [4] * 6, LAYERS)
    (tmp_path / "p" / "a03" / "adapter_model.safetensors").write_bytes(b"no")
    done = typed("scan", "p", "--quiet", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (3, "")
    assert done.stderr.startswith("spectra: ")


def test_a_fit_counts_the_bytes_of_its_tensors(tmp_path):
    adapters(tmp_path / "p", [4] * 6, {"q": (24, 16), "v": (40, 8)})
    told: list[Progress] = []
    run = tmp_path / "run.h5"
    spectra.fit(spectra.scan(tmp_path / "p"), run, on_event=told.append)
    q, v = (6 * 4 * 4 * (out + in_) for out, in_ in ((24, 16), (40, 8)))
    assert {event.nbytes_total for event in told} == {q + v}
    assert {(event.subject, event.nbytes) for event in told} == {
        ("q", q), ("v", v)
    }  # fmt: skip
    first, last = told
    assert first.nbytes_done == first.nbytes
    assert last.nbytes_done == q + v


@pytest.mark.parametrize(
    ("stage", "work"),
    [
        ("basis", lambda run, p, out, watch: write_basis(
            run.value, out / "b.safetensors", k=2, axis="model",
            on_event=watch)),
        ("project", lambda run, p, out, watch: spectra.project(
            run, p / "a01", on_event=watch)),
        ("merge", lambda run, p, out, watch: spectra.merge(
            p, out / "merged", method="mean", on_event=watch)),
        ("trim", lambda run, p, out, watch: spectra.merge(
            p, out / "merged", method="ties", on_event=watch)),
    ],
)  # fmt: skip
def test_what_reads_weights_counts_their_bytes(stage, work, tmp_path):
    adapters(tmp_path / "p", [4] * 6, {"q": (24, 16), "v": (40, 8)})
    run = spectra.fit(spectra.scan(tmp_path / "p"), tmp_path / "run.h5")
    told: list[Progress] = []
    work(run, tmp_path / "p", tmp_path, told.append)
    ours = [event for event in told if event.stage == stage]
    assert {event.nbytes > 0 for event in ours} == {True}
    read = [event.nbytes for event in ours if event.total == ours[-1].total]
    assert sum(read) % ours[-1].nbytes_total == 0
    assert ours[-1].nbytes_done == ours[-1].nbytes_total > 0
    assert ours[-1].done == ours[-1].total
