"""Commands in processes of their own, begun by a shell that prepares them."""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def spectra(*words, before="true", cwd=None, **environment):
    """Run a command in a shell, after `before`; stdout is kept, or not."""
    return subprocess.run(
        ["bash", "-c", f'{before} && exec "$@"', "-",
         sys.executable, "-m", "spectra", *words],
        capture_output=True, text=True, errors="surrogateescape",
        check=False, timeout=120, cwd=cwd,
        env=os.environ | {"PYTHONPATH": str(ROOT)} | environment,
    )  # fmt: skip
