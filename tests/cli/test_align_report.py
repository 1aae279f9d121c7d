"""``spectra align -o``: what is written is what is said."""

import csv
import json
import shlex

import pytest

from tests.cli.test_cli import spectra as typed
from tests.report.test_page import Walk
from tests.study.test_alignment import models

__all__ = ["models"]


def test_the_files_are_the_document_and_the_page_makes_them_again(
    models, tmp_path
):
    scores = tmp_path / "scores.csv"
    scores.write_text(
        "id,score\n" + "".join(f"{m.name},{i}\n" for i, m in enumerate(models))
    )
    words = ("align", *(m.name for m in models), "--metric", "cka", "--draws",
             19, "--scores", scores, "-o", "out")  # fmt: skip
    done = typed(*words, "--json", cwd=models[0].parent)
    assert (done.returncode, done.stderr) == (0, "")
    document = json.loads(done.stdout)
    out = models[0].parent / "out"
    assert json.loads((out / "alignment.json").read_text()) == document
    with (out / "alignment.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [float(row["value"]) for row in rows] == [
        pair["value"] for pair in document["pairs"]
    ]
    page = (out / "alignment.html").read_text()
    assert document["convergence"][0]["text"].split("'")[0] in page
    before = (out / "alignment.json").read_bytes()
    commands = Walk(page).text["pre"][0]
    command = shlex.split(commands.splitlines()[1])[1:]
    again = typed(*command[:-1], "out", cwd=models[0].parent)
    assert again.returncode == 0, again.stderr
    assert again.stdout.splitlines()[-1] == "look at out/alignment.html"
    assert (out / "alignment.json").read_bytes() == before


@pytest.mark.parametrize("out", ["m0.npy", "taken"])
def test_what_is_not_ours_is_refused_before_any_work(models, out):
    folder = models[0].parent
    (folder / "taken").mkdir()
    (folder / "taken" / "alignment.csv").write_text("mine")
    done = typed("align", "nowhere.npy", models[1], "-o", folder / out)
    assert (done.returncode, done.stdout) == (2, "")
    (line,) = done.stderr.splitlines()
    assert line.startswith("spectra: E_OUTPUT: ")
    assert "was not made by this command" in line
