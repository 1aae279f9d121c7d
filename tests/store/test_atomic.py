"""Drafts: whole files appear, and nobody's draft but the dead's is taken."""

import os
import subprocess
import sys

from spectra.store.atomic import replacing


def test_drafts_of_processes_that_are_no_more_are_taken_away(tmp_path):
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    drafts = {
        f".a[1].txt.{ended.pid}.tmp": False,
        f".a[1].txt.{os.getppid()}.tmp": True,
        f".a[1].txt.{10**30}.tmp": False,
        f".b.txt.{ended.pid}.tmp": True,
        ".a[1].txt.x.tmp": True,
    }
    for name in drafts:
        (tmp_path / name).touch()
    with replacing(tmp_path / "a[1].txt") as draft:
        draft.write_text("new")
    found = {path.name for path in tmp_path.iterdir()}
    left = {name for name, stays in drafts.items() if stays}
    assert found == left | {"a[1].txt"}
