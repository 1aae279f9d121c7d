"""C8, F3, F9: stdout is left, closed or full; names stay text there."""

import os
import shutil
import subprocess
import sys

import pytest

from tests.checkpoints import adapters, dense
from tests.faults.commands import ROOT, spectra

SLOW = pytest.mark.slow
STEERING = ("\x1b", "\x07", "\x9b", "\r", "\u202e", "\u2066", "\u200f")


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    folder = tmp_path_factory.mktemp("readers")
    adapters(folder / "p", [2, 3] * 3, {"q": (14, 11)})
    for words in ("fit p -o run.h5", "overlap run.h5"):
        assert spectra(*words.split(), cwd=folder).returncode == 0
    return folder


def left_by_its_reader(words, cwd, *, stream="stdout"):
    """Return the exit code and the rest of what is said."""
    process = subprocess.Popen(
        [sys.executable, "-m", "spectra", *words],
        cwd=cwd, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    getattr(process, stream).close()
    other = process.stderr if stream == "stdout" else process.stdout
    said = other.read()
    other.close()
    return process.wait(timeout=60), said


@pytest.mark.parametrize(
    "words",
    [
        "--help",
        "scan p",
        *(pytest.param(w, marks=SLOW) for w in (
            "scan --help", "plan p", "overlap run.h5", "lineage run.h5",
            "overlap run.h5 --json", "report run.h5 -o out", "verify run.h5",
        )),
    ],
)  # fmt: skip
def test_who_leaves_is_not_complained_of(place, words):
    """C8: SIGPIPE; and a whole line may have been read before."""
    assert left_by_its_reader(words.split(), place) == (0, b"")
    head = f"{sys.executable} -m spectra {words} | head -1; exit $PIPESTATUS"
    done = subprocess.run(
        ["bash", "-c", head], cwd=place, capture_output=True, check=False,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, b"")
    assert done.stdout.count(b"\n") == 1


def test_an_error_that_nobody_reads_has_its_exit_code(place):
    words = ("scan", "not-there")
    assert left_by_its_reader(words, place, stream="stderr") == (2, b"")


@pytest.mark.parametrize("words", ["--help", "scan p", "scan p --json"])
def test_closed(place, words):
    done = spectra(*words.split(), before="exec >&-", cwd=place)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@pytest.mark.parametrize("words", ["overlap run.h5", "scan p --json"])
def test_full(place, words):
    done = spectra(*words.split(), before="exec >/dev/full", cwd=place)
    assert done.returncode == 5
    assert done.stderr == (
        "spectra: E_DISK_FULL: cannot write standard output (No space left on"
        " device); nothing that was there before is lost; free space or choose"
        " another place, then run again\n"
    )


@pytest.fixture(scope="module")
def hostile(tmp_path_factory):
    """A population whose members are called what steers a terminal."""
    folder = tmp_path_factory.mktemp("names")
    members, _, _ = dense(folder, 6, {"w": (8, 9), "v": (7, 6)})
    for number, text in enumerate(STEERING):
        old = members / f"m{number:02d}"
        if old.exists():
            old.rename(members / f"{text}]0;x{number}")
        else:
            shutil.copytree(members / f"{STEERING[0]}]0;x0", members / text)
    (members / "bad\n\x1b[2J" / "x").mkdir(parents=True)
    (members / "bad\n\x1b[2J" / "model.safetensors").write_bytes(b"no")
    return members


@pytest.mark.slow
def test_no_name_steers_a_terminal(hostile, tmp_path):
    """F3, F4: on stdout and stderr of whatever command."""
    run = tmp_path / "run.h5"
    commands = (
        ["scan", hostile], ["plan", hostile], ["scan", hostile, "--json"],
        ["fit", hostile, "-o", run], ["overlap", run], ["lineage", run],
        ["match", hostile, "--draws", "20"], ["compare", run, run],
        ["verify", run], ["basis", run, "-o", tmp_path / "b.safetensors"],
        ["fit", hostile / "bad\n\x1b[2J", "-o", tmp_path / "n.h5"],
        ["scan", "\x1b[31m\u202e"], ["lineage", tmp_path / "\x1b[31m\r"],
    )  # fmt: skip
    shown = ""
    for words in commands:
        done = spectra(*words)
        text = done.stdout + done.stderr
        assert [c for c in STEERING if c in text] == [], words
        assert "Traceback" not in text
        assert "E_BUG" not in text
        lines = done.stderr.splitlines()
        assert all(line.startswith("spectra: ") for line in lines), lines
        shown += text
    assert "\\x1b]0;x0" in shown
    assert "\\u202e" in shown
    assert "bad\\n\\x1b[2J" in shown
