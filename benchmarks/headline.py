"""The headline: ``spectra run`` on 500 adapters, from files to report.

The adapters have the shape of the Mistral-7B LoRAs: rank 16; q, k and v of 32
layers; bfloat16. One fresh process does all of it: Gram matrices, sides,
spectra of each checkpoint, overlaps of pairs, leave-one-group-out, 200 draws
of the strength null, the report. Side nulls are off: each costs more than what
`overlap` draws unasked.

    python benchmarks/headline.py [--members 500] [--layers 32] [--keep FOLDER]
"""

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks import adapters

GOAL_SECONDS, GOAL_BYTES = 480.0, 1e9

_CHILD = """
import json, sys, time
from contextlib import contextmanager
from spectra.cli import console
from spectra.cli.main import main

stages, observer = {}, console.observer

@contextmanager
def timed(name):
    started = time.perf_counter()
    with observer(name) as told:
        yield told
    stages[name] = time.perf_counter() - started

console.observer = timed
try:
    main()
finally:
    print(json.dumps(stages), file=sys.stderr)
"""


def run(folder: Path, out: Path) -> tuple[float, dict[str, float], float]:
    """Return seconds, seconds of the stages, and the peak of memory."""
    words = [sys.executable, "-c", _CHILD, "run", str(folder), "-o", str(out)]
    started = time.perf_counter()
    done = subprocess.run(  # noqa: S603 - words of our own
        [*words, "--draws", "200"], check=True, capture_output=True, text=True
    )
    took = time.perf_counter() - started
    stages = json.loads(done.stderr.strip().splitlines()[-1])
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024
    return took, stages, peak


def main() -> None:
    """Run and print one line a figure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--members", type=int, default=500)
    parser.add_argument("--layers", type=int, default=32)
    parser.add_argument("--keep", type=Path)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        folder = asked.keep or Path(scratch) / "adapters"
        if not folder.exists():
            adapters.write(folder, asked.members, asked.layers)
        took, stages, peak = run(folder, Path(scratch) / "report")
    size = f"{asked.members} adapters, {3 * asked.layers} layers"
    print(f"spectra run, {size}: {took:.0f} s, peak {peak / 1e6:.0f} MB")
    for name, seconds in stages.items():
        print(f"  {name}: {seconds:.0f} s, {seconds / took:.0%}")
    rest = took - sum(stages.values())
    print(f"  start and report: {rest:.0f} s, {rest / took:.0%}")
    if (asked.members, asked.layers) == (500, 32):
        for what, value, goal in (
            ("seconds", took, GOAL_SECONDS),
            ("bytes", peak, GOAL_BYTES),
        ):
            verdict = "met" if value <= goal else "MISSED"
            print(f"goal of {goal:.0f} {what}: {verdict}")


if __name__ == "__main__":
    main()
