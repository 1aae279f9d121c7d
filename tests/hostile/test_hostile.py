"""Two hundred strangers' folders, each with its one verdict.

Rows A1 to A28 of the catalogue of faults, by the command that a user types.
"""

import json
import subprocess
import sys
import time
from collections import namedtuple

import pytest

from tests.hostile.adapters import adapters
from tests.hostile.folders import folders
from tests.hostile.values import values

Ran = namedtuple("Ran", "code out err seconds nbytes")

SECONDS, MEMORY = 120, 1.5 * 2**30

MEASURED = """
import resource, subprocess, sys

code = subprocess.call([sys.executable, "-m", "spectra", *sys.argv[2:]])
with open(sys.argv[1], "w") as file:
    print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss, file=file)
sys.exit(code)
"""
"""Of a child of this process, ru_maxrss would begin with what tests hold."""

AUDITED = """
import sys
import spectra

sound, hostile = sys.argv[1:]
spectra.scan(sound)
"\\u00e9".encode("unicode_escape")  # a codec is imported when it is used
refused = ("pickle.", "marshal.", "os.system", "os.exec", "os.posix_spawn",
           "os.fork", "os.startfile", "subprocess.", "exec", "compile",
           "ctypes.", "socket.", "import", "os.remove", "os.rename",
           "os.mkdir", "shutil.", "webbrowser.", "urllib.")
seen = []


def hook(event, args):
    if event == "open" and args[1] is not None and set(args[1]) & set("wax+"):
        seen.append((event, args))
    if event == "import" and args[0] in sys.modules:
        return
    if event.startswith(refused):
        seen.append((event, args))


sys.addaudithook(hook)
catalog = spectra.scan(hostile)
print(len(seen), seen[:5])
assert len(catalog.value.quarantine) > 100
assert not seen
"""


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """Return the folder of all, the cases, and what must never be made."""
    root = tmp_path_factory.mktemp("hostile") / "all"
    canary = root.parent / "canary"
    cases = {**folders(canary), **adapters(), **values()}
    for name, case in cases.items():
        (root / name).mkdir(parents=True)
        case.write(root / name)
    yield root, cases
    assert not canary.exists()


def ran(folder, *arguments):
    """Return exit code, stdout, stderr, seconds and most bytes held."""
    started = time.monotonic()
    peak = folder / "peak"
    done = subprocess.run(
        [sys.executable, "-c", MEASURED, str(peak), *map(str, arguments)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    took = time.monotonic() - started
    nbytes = 1024 * int(peak.read_text())
    return Ran(done.returncode, done.stdout, done.stderr, took, nbytes)


def test_every_folder_has_its_one_verdict(written, tmp_path):
    root, cases = written
    done = ran(tmp_path, "scan", root, "--json")
    found = json.loads(done.out)
    assert_exact(found["quarantine"], cases, of_files)
    layers = {m["id"]: m["n_layers"] for m in found["models"]}
    layers = {name: n for name, n in layers.items() if n}
    assert layers == {
        name: case.layers for name, case in cases.items() if case.layers
    }
    assert len(cases) >= 100
    assert done.code == 3
    assert done.seconds < SECONDS
    assert done.nbytes < MEMORY


def test_what_is_sound_is_measured_and_reported(written, tmp_path):
    root, cases = written
    out = tmp_path / "report"
    done = ran(tmp_path, "run", root, "-o", out, "--json", "--quarantine-ok")
    assert done.code == 0
    found = json.loads(done.out)
    assert found == json.loads((out / "report.json").read_text())
    assert_exact(
        found["quarantine"],
        cases,
        lambda case: of_files(case) | of_weights(case),
    )
    assert "\x1b" not in done.err
    assert done.nbytes < MEMORY


def test_r8_nothing_of_them_is_run(written, tmp_path):
    root, _ = written
    command = [sys.executable, "-c", AUDITED, str(root / "A26-first"), root]
    subprocess.run(command, check=True)


def of_files(case):
    return case.faults


def of_weights(case):
    return {("w", case.unfit)} if case.unfit else set()


def assert_exact(records, cases, expected):
    """Check what was set aside, case by case."""
    owners = {
        f"all/{name}/{case.below}" if case.below else name: name
        for name, case in cases.items()
    }
    found = {name: set() for name in cases}
    for record in records:
        found[owners[record["id"]]].add((record["layer"], record["code"]))
    wrong = {
        name: (found[name], expected(case))
        for name, case in cases.items()
        if found[name] != expected(case)
    }
    assert not wrong
