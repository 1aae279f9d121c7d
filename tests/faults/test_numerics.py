"""Table D: what numbers, and what computes with them, can do wrong.

D2, D3, D4 are in ``tests/linalg/test_ladder.py``, D9 in ``test_same_bits.py``.
"""

import json
import os
import pty
import subprocess
import sys
import textwrap

import numpy as np
import pytest

from tests.checkpoints import write_dense

LINE = "** On entry to DLASCL parameter number 4 had an illegal value"

TALKS = f"""
    import ctypes, os, sys
    import numpy as np

    honest = np.linalg.eigh

    def eigh(C):
        # By C's own buffer, as Fortran does it, and past every buffer.
        ctypes.CDLL(None).puts(b" {LINE}")
        os.write(1, b" {LINE}\\n")
        return honest(C)

    np.linalg.eigh = eigh
    from spectra.cli import main
    main()
"""
"""The command line, with a LAPACK that prints what it thinks of a matrix."""


def command(*arguments, talks=False, **options):
    start = ["-c", textwrap.dedent(TALKS)] if talks else ["-m", "spectra"]
    return subprocess.run(
        [sys.executable, *start, *map(str, arguments)],
        capture_output=True, text=True, check=False, **options,
    )  # fmt: skip


@pytest.fixture(scope="module")
def population(tmp_path_factory):
    """Members with layers that hold NaN, infinities, huge and tiny numbers."""
    folder = tmp_path_factory.mktemp("numerics") / "p"
    rng = np.random.default_rng(0)
    spoil = [lambda W: W, lambda W: W * np.nan, lambda W: W * np.inf,
             lambda W: W * 1e300, lambda W: W * 1e-300, lambda W: W * 0,
             lambda W: W * 1e-5]  # fmt: skip
    for i in range(len(spoil)):
        layers = {
            f"l{j}": spoil[(i + j) % len(spoil)](
                rng.standard_normal((9, 12)) + 0.1
            )
            for j in range(3)
        } | {"sound": rng.standard_normal((40, 30))}
        write_dense(folder / f"m{i}", layers, "F64")
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("talks", [False, True])
def test_d1_stdout_is_one_json_document(population, tmp_path, talks):
    run = tmp_path / "run.h5"
    for arguments in (
        ("scan", population),
        ("fit", population, "-o", run),
        ("overlap", run, "--draws", "199"),
        ("run", population, "-o", tmp_path / "all", "--draws", "199"),
    ):
        done = command(*arguments, "--json", talks=talks)
        assert done.returncode in {0, 3}, done.stderr
        assert isinstance(json.loads(done.stdout), dict)
        assert "NaN" not in done.stdout.replace("infinities or NaN", "")
        said = LINE in done.stderr
        assert said == (talks and arguments[0] != "scan")
        assert "Warning" not in done.stderr


@pytest.mark.parametrize("closed", [1, 2])
def test_d1_a_stream_that_is_closed(population, closed):
    arguments = [sys.executable, "-m", "spectra", "scan", str(population)]
    done = subprocess.run(
        ["sh", "-c", f'exec "$@" {closed}>&-', "sh", *arguments, "--json"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    if closed == 2:
        assert isinstance(json.loads(done.stdout), dict)


def test_d1_a_terminal_is_still_one(population):
    """Tables have its width, and no stream leads anywhere else."""
    ours, theirs = pty.openpty()
    os.set_inheritable(theirs, True)
    code = """
        import os, sys
        from spectra.cli.streams import keep_stdout
        os.write(1, b"before ")
        keep_stdout()
        os.write(1, b"native ")
        from rich.console import Console
        Console().print(sys.stdout.isatty(), Console().is_terminal,
                        sys.stdout.fileno() > 2, sys.stdout.encoding)
        print(os.get_inheritable(sys.stdout.fileno()))
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)], stdout=theirs,
        stderr=subprocess.PIPE, check=True,
    )  # fmt: skip
    os.close(theirs)
    said = os.read(ours, 1000).decode()
    os.close(ours)
    assert done.stderr == b"native "
    assert "native" not in said
    assert said.split()[0] == "before"
    assert "False" in said.split()[-1]
    assert said.count("True") == 3
