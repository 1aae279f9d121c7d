"""What ``spectra scan`` prints: all of few checkpoints, little of many."""

import json
import subprocess
import sys

import numpy as np
import pytest

from tests.checkpoints import write_dense


def command(*words):
    return subprocess.run(
        [sys.executable, "-m", "spectra", "scan", *map(str, words)],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


@pytest.fixture(scope="module")
def many(tmp_path_factory):
    """Write 30 architectures, each of 3 copies; but the last of 5 others."""
    folder = tmp_path_factory.mktemp("many")
    for i in range(30):
        tensors = {f"w{i}": np.eye(2 + i), "b": np.ones(4)}
        for j in range(3 if i < 29 else 5):
            own = np.full((2, 2), i + 1.0 + j * (i == 29))
            write_dense(folder / f"m{i:02}-{j}", tensors | {f"v{i}": own})
    return folder


def test_copies_are_named_with_what_they_equal(tmp_path):
    for name, value in [("a", 1), ("\x1b[1mb", 1), ("c", 1), ("d", 2)]:
        write_dense(tmp_path / name, {"w": np.full((3, 4), value)})
    write_dense(tmp_path / "e", {"w": np.full((3, 4), 2)})
    done = command(tmp_path)
    assert done.returncode == 0
    # In the order of names, in which an escape comes first.
    assert done.stdout.splitlines()[-2:] == [
        "a and 1 more have the same tensors as \\x1b[1mb",
        "e has the same tensors as d",
    ]


def test_a_broken_checkpoint_is_no_tensor(tmp_path):
    write_dense(tmp_path / "a", {"w": np.eye(4)})
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "model.safetensors").write_bytes(b"no")
    done = command(tmp_path)
    assert done.returncode == 3
    assert "ST_PREFIX" in done.stderr
    assert "refused" not in done.stdout


def test_many_are_told_in_few_lines(many):
    done = command(many)
    assert (done.returncode, done.stderr) == (0, "")
    _, *lines = done.stdout.splitlines()
    rows, rest = lines[:20], lines[20:]
    # The largest architecture first.
    assert rows[0].split()[1:] == ["5", "2", "m29-0"]
    assert rows[1].split()[1:] == ["3", "2", "m00-0"]
    assert rest[0] == "and 10 more architectures"
    assert len(rest) == 23
    for i, line in enumerate(rest[1:21]):
        assert line == (
            f"m{i:02}-1 and 1 more have the same tensors as m{i:02}-0"
        )
    assert rest[21] == "and so on, of 9 more originals"
    assert rest[22] == "tensors that are no layers: 92 SKIP_NOT_MATRIX"


def test_the_document_is_whole(many):
    document = json.loads(command(many, "--json").stdout)
    assert len(document["architectures"]) == 30
    assert sum(bool(m["duplicate_of"]) for m in document["models"]) == 58
