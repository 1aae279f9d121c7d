"""The headline: ``spectra run`` on 500 adapters, from files to report.

The adapters have the shape of the Mistral-7B LoRAs: rank 16; q, k and v of 32
layers; bfloat16. One fresh process does all of it: Gram matrices, sides,
spectra of each checkpoint, overlaps of pairs, leave-one-group-out, 200 draws
of the strength null, the report. Side nulls are off: each costs more than what
`overlap` draws unasked.

    python -m benchmarks.headline [--members 500] [--layers 32] [--keep FOLDER]
"""

import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks import adapters
from benchmarks.adapters import HIDDEN, MODULES, RANK
from benchmarks.figures import Row, at_most, finish, options, sgemm_rate
from spectra.backend.threads import cores

GOAL_SECONDS, GOAL_BYTES = 480.0, 1e9

_CHILD = """
import json, sys, time
from contextlib import contextmanager
from spectra.cli import console
from spectra.cli.main import run

stages, observer = {}, console.observer

@contextmanager
def timed(name):
    started = time.perf_counter()
    with observer(name) as told:
        yield told
    stages[name] = time.perf_counter() - started

console.observer = timed
try:
    run()
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
    """Measure."""
    parser = options(__doc__)
    parser.add_argument("--members", type=int, default=500)
    parser.add_argument("--layers", type=int, default=32)
    parser.add_argument("--keep", type=Path, help="the adapters' folder")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        folder = asked.keep or Path(scratch) / "adapters"
        if not folder.exists():
            adapters.write(folder, asked.members, asked.layers)
        took, stages, peak = run(folder, Path(scratch) / "report")
    n = 3 * asked.layers
    whole = (asked.members, asked.layers) == (500, 32)
    least = sum(
        asked.members * (asked.members + 1) * RANK**2 * (HIDDEN + out)
        for out in MODULES.values()
    ) * asked.layers / (cores() * sgemm_rate())  # fmt: skip
    what = f"spectra run, {asked.members} adapters, {n} layers, all of it"
    stages["start and report"] = took - sum(stages.values())
    rows = [
        at_most(what, took, "s", GOAL_SECONDS if whole else None),
        at_most(
            what, took / least, "times the floor", None,
            ours=f"{took:.0f} s",
            beside=f"its Gram matrices at sgemm's rate {least:.0f} s",
        ),
        at_most(
            "its peak of memory", peak / 1e6, "MB",
            GOAL_BYTES / 1e6 if whole else None,
        ),
    ]  # fmt: skip
    rows += [
        Row(f"its stage: {name}", f"{seconds:.0f} s, {seconds / took:.0%}")
        for name, seconds in stages.items()
    ]
    finish(rows, asked.json)


if __name__ == "__main__":
    main()
