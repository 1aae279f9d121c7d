"""What a fresh interpreter has imported: nothing before it is needed."""

import subprocess
import sys
from functools import cache

import pytest

from spectra.cli.commands import COMMANDS, command_of
from tests.checkpoints import adapters

CACHE = tuple(("cache", verb) for verb in ("ls", "prune", "verify"))
NO_COMMAND = ((), ("--help",), ("--version",))
SPECTRA = "from spectra.cli import main as run"
EMPTY = """
import typer
run = typer.Typer(rich_markup_mode=None)
@run.command()
def one(): ...
@run.command()
def two(): ...
"""
IMPORTED = """
import sys
try:
    run()
finally:
    print(*sys.modules, file=sys.stderr)
"""


def imported(program, *words):
    """Return the modules in a process when it ends."""
    done = subprocess.run(
        [sys.executable, "-c", program + IMPORTED, *map(str, words)],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    return set(done.stderr.splitlines()[-1].split())


def packages(modules):
    """Return whose modules these are, the standard library left out."""
    tops = {name.partition(".")[0] for name in modules}
    public = {top for top in tops if not top.startswith("_")}
    return public - sys.stdlib_module_names


@cache
def of_an_empty_program(*words):
    return packages(imported(EMPTY, *words))


def test_the_empty_program_is_one_of_typer():
    assert "typer" in of_an_empty_program("--help")
    assert "typer" in of_an_empty_program("one", "--help")


@pytest.mark.parametrize("words", NO_COMMAND, ids=" ".join)
def test_without_a_command_typer_is_all(words):
    modules = imported(SPECTRA, *words)
    assert packages(modules) == of_an_empty_program("--help") | {"spectra"}
    assert not modules & {f"spectra.cli.{name}" for name in COMMANDS}


@pytest.mark.parametrize(
    "words", [*((name,) for name in COMMANDS), *CACHE], ids=" ".join
)
def test_for_the_help_of_a_command_typer_is_all(words):
    modules = imported(SPECTRA, *words, "--help")
    allowed = of_an_empty_program("one", "--help")
    assert packages(modules) == allowed | {"spectra"}
    assert f"spectra.cli.{words[0]}" in modules


def test_the_package_itself_imports_nothing():
    modules = imported("import spectra\nrun = spectra.__dir__")
    assert packages(modules) == {"spectra"}
    assert "importlib.metadata" not in modules


@pytest.mark.parametrize("name", COMMANDS)
def test_the_line_in_the_list_is_the_first_of_the_help(name):
    first, _, _ = command_of(name).help.partition("\n\n")
    assert COMMANDS[name] == " ".join(first.split())


def test_what_commands_on_local_files_leave_alone(tmp_path):
    folder, _ = adapters(tmp_path / "p", [4] * 6, {"q": (24, 16)})
    run = tmp_path / "run.h5"
    tops = {
        words[0]: packages(imported(SPECTRA, *words))
        for words in (
            ("scan", folder),
            ("fit", folder, "-o", run),
            ("overlap", run),
            ("lineage", run),
            ("report", run, "-o", tmp_path / "report"),
        )
    }
    assert (tmp_path / "report" / "report.html").exists()
    assert not tops["scan"] & {"scipy", "h5py"}
    for name in ("overlap", "lineage", "report"):
        assert not tops[name] & {"huggingface_hub", "httpx", "httpx2"}
    for name in ("scan", "fit", "overlap", "lineage"):
        assert "jinja2" not in tops[name]
    assert not {"torch", "cupy", "pandas"} & set().union(*tops.values())
