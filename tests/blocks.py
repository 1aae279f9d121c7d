"""The blocks of code on a page of the documents, and how they are typed."""

import os
import subprocess
import sys
from pathlib import Path

from markdown_it import MarkdownIt

__all__ = ["blocks", "commands", "shell"]


def blocks(page: Path, language: str | None = None) -> list[str]:
    """Return a page's blocks in order: fenced ones, and indented ones too."""
    found = [
        each
        for each in MarkdownIt().parse(page.read_text(encoding="utf-8"))
        if each.type in {"fence", "code_block"}
    ]
    return [each.content for each in found if language in {None, each.info}]


def commands(text: str) -> list[str]:
    """Return the lines of a block; one that ends in a backslash goes on."""
    return text.replace("\\\n", "").splitlines()


def shell(
    text: str, cwd: Path, env: dict[str, str] | None = None
) -> "subprocess.CompletedProcess[str]":
    """Run lines as they stand, `spectra` being that of this environment."""
    ours = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("HF_", "SPECTRA_"))
    }
    path = os.pathsep.join([str(Path(sys.executable).parent), ours["PATH"]])
    return subprocess.run(
        ["/bin/sh", "-e", "-c", text],
        cwd=cwd, env=ours | {"PATH": path} | (env or {}), check=False,
        capture_output=True, text=True, timeout=300,
    )  # fmt: skip
