"""Completion in shells: of commands, their options and values."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from spectra.cli.commands import COMMANDS
from tests.cli.test_start import (
    SPECTRA,
    imported,
    of_an_empty_program,
    packages,
)

NAMED = "import sys; sys.argv[0] = 'spectra'\n"
PROGRAMS = Path(sys.executable).parent
PRESS = """
eval "$(spectra --show-completion)"
COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1))
_spectra_completion spectra
printf '%s\\n' "${COMPREPLY[@]}"
"""
"""What bash does when Tab is pressed behind such words."""


def environment(**more):
    path = f"{PROGRAMS}{os.pathsep}{os.environ['PATH']}"
    return os.environ | {"PATH": path} | more


def tab(*words):
    """Return what a real bash offers in place of the last word."""
    done = subprocess.run(
        ["bash", "--norc", "-c", PRESS, "bash", *words],
        env=environment(),
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    assert done.stderr == ""
    return set(done.stdout.split())


@pytest.mark.skipif(shutil.which("bash") is None, reason="no bash on PATH")
@pytest.mark.parametrize(
    ("words", "offered"),
    [
        (("spectra", ""), set(COMMANDS)),
        (("spectra", "re"), {"reconstruct", "report"}),
        (("spectra", "report", "--fi"), {"--figures"}),
        (("spectra", "fit", "--pre"), {"--precision"}),
        (("spectra", "fit", "--precision", ""), {"f32", "f64"}),
        (("spectra", "cache", "pr"), {"prune"}),
        (("spectra", "cache", "ls", "--q"), {"--quiet"}),
    ],
)
def test_bash_completes(words, offered):
    assert tab(*words) == offered


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_every_shell_gets_a_script(shell):
    done = subprocess.run(
        ["spectra"],
        env=environment(_SPECTRA_COMPLETE=f"source_{shell}"),
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    assert f"_SPECTRA_COMPLETE=complete_{shell}" in done.stdout
    if shutil.which(shell):
        check = [shell, "-n", "/dev/stdin"]
        subprocess.run(check, input=done.stdout, text=True, check=True)


def test_to_complete_options_is_as_quick_as_to_show_them(monkeypatch):
    monkeypatch.setenv("_SPECTRA_COMPLETE", "complete_bash")
    monkeypatch.setenv("COMP_WORDS", "spectra fit --ra")
    monkeypatch.setenv("COMP_CWORD", "2")
    modules = imported(NAMED + SPECTRA)
    allowed = of_an_empty_program("one", "--help") | {"shellingham"}
    assert packages(modules) <= allowed | {"spectra"}
    assert "spectra.cli.fit" in modules
